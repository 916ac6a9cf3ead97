//! `qev replay`: recordings, played as if they were a QEMU, for software that reads one.
//!
//! The session is a real one: greeting, negotiation and the errors of a QEMU. Events are those of the recording to the
//! byte, their timestamps too, and are not throttled a second time. A command is answered with what was answered to it
//! in the recording.

mod player;
mod recording;
mod replies;

use super::simulate::PACKAGE;
use super::simulate::serve::{self, Dial};
use crate::exit::{Exit, Failure, tell};
use crate::signals::{self, Signals};
use player::{Player, Speed};
use qev_link::{MonitorOptions, Server};
use qev_machine::parse_size;
use qev_qmp::json::print::Layout;
use qev_qmp::{Greeting, QemuVersion};
use qev_record::Glob;
use recording::Recording;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A FILE is what qev watch -o json printed, a recording of a monitor ({\"t\": 1.5, \"dir\": \"<\", \"msg\": {…}} a line), \
or events as QEMU wrote them. Several are played one after the other. It begins with the first client, and ends when \
all is played.")]
pub(crate) struct Args {
    /// What to play; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Serve a monitor at this path, as QEMU's -qmp unix:PATH,server=on,wait=off; repeatable
    #[arg(long, required_unless_present = "dial", value_name = "PATH")]
    qmp: Vec<PathBuf>,

    /// Connect a monitor to whoever listens at this path, and again a second after a loss
    #[arg(long, value_name = "PATH")]
    dial: Option<PathBuf>,

    /// Play this many times as fast
    #[arg(long, value_name = "X", default_value = "1")]
    speed: Speed,

    /// Begin again, a second after the end
    #[arg(long)]
    r#loop: bool,

    /// Only records of machines whose name matches
    #[arg(short, long, value_name = "GLOB")]
    machine: Vec<Glob>,

    /// The QEMU to be [default: the recording's, or 7.2.22]
    #[arg(long, value_name = "VERSION")]
    qemu_version: Option<QemuVersion>,

    /// Spread messages over lines, as QEMU's -mon …,pretty=on
    #[arg(long)]
    pretty: bool,

    /// Cut a client off that leaves this much unread
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = |text: &str| parse_size(text, 1))]
    max_buffer: u64,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let recording = Recording::read(&args.files, &args.machine)?;
    let summary = format!("{recording}, beginning with the first client");
    let version = args.qemu_version.or(recording.version).unwrap_or(QemuVersion::new(7, 2, 22));
    // Who replays is not to be taken for a QEMU by mistake; and nothing that is recorded can be executed out of band.
    let greeting = Greeting { version, package: PACKAGE.to_owned(), capabilities: Vec::new() };
    let options = || MonitorOptions::default().layout(if args.pretty { Layout::Pretty } else { Layout::Line });
    let dial = args.dial.as_deref().map(|path| Dial::new(path, options().name("dial")));
    let dial = dial.transpose()?;
    let max_buffer = usize::try_from(args.max_buffer).unwrap_or(usize::MAX);
    let player = Player::new(recording, args.speed, args.r#loop);
    let mut builder = Server::with_service(greeting, player).max_buffer(max_buffer).unthrottled();
    builder = builder.on_notice(|notice| serve::notice(&notice));
    for (i, path) in args.qmp.iter().enumerate() {
        builder = builder.bind(path, options().name(format!("qmp{i}")));
    }
    let mut signals = Signals::catch(signals::TO_END)?;
    let mut server = builder.start().await.map_err(|error| Failure::new(Exit::Failed, error))?;
    for path in &args.qmp {
        tell(&format!("serving {}", path.display()));
    }
    if let Some(path) = &args.dial {
        tell(&format!("serving whoever listens at {}", path.display()));
    }
    tell(&summary);
    Ok(serve::exit(serve::serve(&mut server, dial, signals.any(), |_, _| {}).await))
}
