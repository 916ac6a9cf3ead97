//! `qev machines`: who is attached, silent, held, gone; with `--discover` every QEMU on this host.
//!
//! The daemon is asked. Where none runs, the journal tells who was there when one did.

mod table;

use super::complete;
use super::machine_names::Known;
use crate::daemon::absence;
use crate::daemon::control::client::{self, AskError};
use crate::daemon::control::machine_line;
use crate::daemon::discover::{self, Ours, Report};
use crate::daemon::journal_dir;
use crate::daemon::recorder::in_words;
use crate::daemon::roster::MachineStatus;
use crate::exit::{Exit, Failure, tell};
use crate::places::{Places, state_dir_to_read};
use crate::printer::{Clock, Format};
use qev_journal::Reader;
use qev_qmp::Value;
use qev_qmp::json::print::{Layout, Order};
use qev_record::filter::Glob;
use qev_record::plain;
use rustix::termios::tcgetwinsize;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where no daemon runs, the journal says who was there when one did.

    qev machines               who is attached to the daemon, and who was
    qev machines --discover    every QEMU on this host, and what would attach it

On a terminal that is too narrow for the table, the columns on its right are left out, and a note has lines of its own. \
Nothing is left out of a pipe, or with -o json.")]
pub(crate) struct Args {
    /// Show every QEMU on this host: who manages it, who holds its monitor, and the line that would attach it
    #[arg(long)]
    discover: bool,

    /// Only machines whose name or identity matches; repeatable, any of them
    #[arg(short, long, value_name = "GLOB", conflicts_with = "discover", add = complete::machines())]
    machine: Vec<Glob>,

    /// Where the daemon keeps its state
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Text for people, or JSON Lines
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    clock: Clock,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let state_dir = match &args.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => state_dir_to_read().map_err(Failure::usage),
    };
    let lines = if args.discover {
        let (machines, has_daemon) = match &state_dir {
            Ok(dir) => (machines(dir).await.unwrap_or_default(), client::machines(dir).await.is_ok()),
            Err(_) => (Vec::new(), false),
        };
        let reports = discover::report(discover::all(Path::new("/proc")), &ours(&machines, has_daemon)).await;
        reports.iter().map(|report| discovered(report, args.output)).collect()
    } else {
        let state_dir = state_dir?;
        let all = machines(&state_dir).await?;
        let wanted: Vec<_> = all.iter().filter(|machine| is_wanted(machine, &args.machine)).cloned().collect();
        if wanted.is_empty() {
            tell(&nothing(&all, &args.machine, &state_dir).await);
        }
        match args.output {
            Format::Json => wanted.iter().map(|machine| machine_line(machine).trim_end().to_owned()).collect(),
            Format::Text if wanted.is_empty() => Vec::new(),
            Format::Text => table::lines(&wanted, &args.clock.zone(), width()),
        }
    };
    let mut out = anstream::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Done)
}

/// What the daemon knows, or what the journal does where none runs.
async fn machines(state_dir: &Path) -> Result<Vec<MachineStatus>, Failure> {
    match client::machines(state_dir).await {
        Ok((machines, _)) => {
            return Ok(machines.iter().filter_map(|machine| MachineStatus::parse(&machine.status)).collect());
        }
        Err(AskError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let failed = |error: Box<dyn std::error::Error>| Failure::new(Exit::Failed, error);
    let dir = journal_dir(state_dir);
    let read = tokio::task::spawn_blocking(move || absence::in_journal(&Reader::open(&dir)?));
    let known = read.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
    for problem in known.problems {
        tell(&format!("some machines may be missing: {}", in_words(&problem)));
    }
    Ok(absence::standing(&known.absences).into_iter().map(absence::Absence::into_status_without_a_daemon).collect())
}

/// What a QEMU could be attached to: the daemon's sockets that machines dialled, else where a daemon listens by default.
fn ours(machines: &[MachineStatus], has_daemon: bool) -> Ours {
    let attached = machines.iter().filter(|machine| machine.state == "attached");
    let mut attach: Vec<PathBuf> = attached
        .clone()
        .filter(|machine| machine.way == "dial-in")
        .map(|machine| machine.place.clone().into())
        .collect();
    attach.extend(Places::of_user().ok().map(|places| places.run_dir.join("attach.sock")));
    Ours { attached: attached.filter_map(|machine| machine.pid).collect(), attach, has_daemon }
}

fn is_wanted(machine: &MachineStatus, globs: &[Glob]) -> bool {
    let matches = |name: &str| globs.iter().any(|glob| glob.matches(name));
    globs.is_empty() || matches(&machine.machine) || machine.machine_id.as_deref().is_some_and(matches)
}

/// What is to be said where there is no machine to show.
async fn nothing(all: &[MachineStatus], globs: &[Glob], state_dir: &Path) -> String {
    let known = Known {
        names: all.iter().map(|machine| machine.machine.to_string()).collect(),
        ids: all.iter().filter_map(|machine| machine.machine_id.as_deref().map(str::to_owned)).collect(),
    };
    if let Some(unmatched) = known.unmatched(globs) {
        return unmatched;
    }
    let who = match client::machines(state_dir).await {
        Ok(_) => format!("the daemon of {} knows no machine yet", state_dir.display()),
        Err(_) => format!("no daemon runs for {}, and its journal knows no machine", state_dir.display()),
    };
    format!("{who}; qev machines --discover shows every QEMU on this host")
}

/// How many characters a line may have on the terminal that shows the table, if one does.
fn width() -> Option<usize> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(&out).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// One QEMU of this host.
fn discovered(report: &Report, format: Format) -> String {
    if format == Format::Text {
        let mut text = report.sentence();
        if let Some(line) = &report.attach {
            text.push_str(&format!("\n    {}", plain::Plain::new(line, usize::MAX)));
        }
        return text;
    }
    Value::from(report.to_object()).print(Order::Given, Layout::Line)
}
