//! `qev share`: one monitor for many clients, without a daemon.

use crate::config::Allow;
use crate::daemon::share::policy::{Permit, Ruled};
use crate::daemon::share::{CLIENTS, MEMORY, log_notice};
use crate::exit::{Exit, Failure, tell};
use crate::log_limiter::{self, LogLimiter};
use crate::monitor::file_name;
use crate::signals::{self, Signals};
use qev_link::share::{Admission, Budget, Gate, Notice};
use qev_link::{Access, Client, ConnectOptions, Peer, Share, Target};
use qev_record::filter::Glob;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A monitor serves one client. This holds it, and serves any number at another socket; each sees a QEMU: its greeting, \
a negotiation of its own, its own replies, and all events in their order:

    qev share vm.sock --qmp shared.sock --allow operate --command 'device_*'

By default a client may ask: a list of queries, and nothing that changes anything. Who may be a client the mode \
of the socket says. It ends with 4 when the machine goes away, with 0 on Ctrl-C.")]
pub(crate) struct Args {
    /// The monitor to be shared: unix:PATH, tcp:HOST:PORT, fd:N or a path
    #[arg(value_parser = super::target())]
    target: Target,

    /// Serve clients at this socket
    #[arg(long, value_name = "PATH")]
    qmp: PathBuf,

    /// What clients may do
    #[arg(long, value_enum, default_value_t)]
    allow: Allow,

    /// With --allow operate, only commands that are called so, and queries; a glob, repeatable
    #[arg(long, value_name = "GLOB")]
    command: Vec<Glob>,

    /// The mode of the socket's file, such as 0660: who may write to it may be a client; by default 0600
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = crate::config::mode)]
    mode: u32,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    if let Target::Machine(name) = &args.target {
        return Err(super::by_name::no_socket(name));
    }
    if !args.command.is_empty() && args.allow != Allow::Operate {
        return Err(Failure::usage("only --allow operate has a list of commands").about("--command"));
    }
    let mut signals = Signals::catch(signals::TO_END)?;
    crate::daemon::serve::raise_open_files();
    let (client, events) = match Client::connect(&args.target, ConnectOptions::default()).await {
        Ok(connected) => connected,
        Err(error) => return Err(super::in_use::failure(error).await),
    };
    drop(events);
    let log = Arc::<LogLimiter>::default();
    tokio::spawn(log_limiter::report(Arc::downgrade(&log)));
    let gate = Arc::new(AtTheDoor {
        machine: file_name(&args.target).into(),
        permit: Permit { allow: args.allow, commands: args.command },
        log,
    });
    let access = Access { mode: Some(args.mode), group: None };
    let budget = Budget::new(MEMORY, CLIENTS);
    let started = Share::start(&client, &args.qmp, access, gate, budget);
    let mut share = started.map_err(|error| Failure::new(Exit::Failed, error))?;
    tell(&format!("sharing {} at {}: {}", args.target, share.path().get().display(), args.allow.name()));
    tokio::select! {
        reason = share.ended() => {
            tell(&format!("{}: {reason}", args.target));
            Ok(Exit::Gone)
        }
        () = signals.any() => Ok(Exit::Done),
    }
}

/// Everyone may do the same.
struct AtTheDoor {
    machine: Arc<str>,
    permit: Permit,
    log: Arc<LogLimiter>,
}

impl Gate for AtTheDoor {
    fn admit(&self, peer: Peer) -> Result<Admission, String> {
        let (machine, log) = (Arc::clone(&self.machine), Arc::clone(&self.log));
        let policy = Arc::new(Ruled { machine, peer, permit: self.permit.clone(), log, _descriptor: None });
        Ok(Admission { policy, audit: None })
    }

    fn notice(&self, notice: Notice) {
        log_notice(&self.log, &notice, &notice.to_string());
    }
}
