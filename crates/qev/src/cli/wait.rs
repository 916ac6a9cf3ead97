//! `qev wait`: until an event happens. It listens first, then runs the command that should lead to it, then waits.
//!
//! ```text
//!            no socket yet: again          command ended with 0, or there is none
//!   Socket ──────────────────┐        ┌──────────────────────────────────────────► Event ──► 0
//!     │  ▲───────────────────┘        │                                              │ machine gone: 4
//!     └─► negotiated ─────────────► Command ──► its status, when that is not 0       │ time is over: 124
//! ```
//!
//! Events count from the moment at which the connection stands, so one that comes while the command still runs is one
//! that was waited for; the command is let finish. It is ended only when the time is over.

mod command;
mod descendants;
mod source;

use super::by_name::{Absence, ByName, not_asked};
use super::log::state_dir;
use super::near_misses::{NearMisses, wanted};
use super::select::{number, sequence_number};
use super::{complete, duration, in_use, typo_hints};
use crate::exit::{Exit, Failure, tell};
use crate::monitor::{Monitor, ROOM, file_name, hostname};
use crate::printer::{Clock, Format, Layout, Printer};
use crate::signals::Signals;
use command::{Command, Place};
use qev_link::{Client, ConnectError, ConnectOptions, Events, Target};
use qev_record::filter::{Glob, TextSearch, Where};
use qev_record::{Filter, Kind, Record, Severity, plain};
use rustix::process::Signal;
use source::{Said, Source, next_record};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// How soon it is looked again for a socket that is not there yet.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events are listened for before COMMAND is started, so none of its doing is missed; one that comes while it still runs \
counts. A socket that is not there yet is waited for.

    qev wait vm.sock DEVICE_DELETED -w data.device=d1 -- ssh vm eject-it
    qev wait vm.sock 'GUEST_*' SHUTDOWN --timeout 5m
    qev wait web1 SHUTDOWN --after 17        a machine of the daemon; its history after 17 counts

A machine by name that is not there yet is waited for as well. The daemon must run.

Exit codes:
    0  the event came, and COMMAND ended with 0
    N  COMMAND's own status when that is not 0, at once and whatever came; 128+N when signal N ended
       it, 126 when it cannot be run, 127 when there is no such command
    4  the machine, or the daemon, went away before the event came
  124  the time is over; COMMAND is ended then, and what it started
  and those of qev --help")]
pub(crate) struct Args {
    /// The monitor: unix:PATH, tcp:HOST:PORT, fd:N, a path, or the name of a machine that the daemon holds
    #[arg(value_parser = super::target(), add = complete::targets())]
    target: Target,

    /// The events to wait for, any of them: names or globs such as 'GUEST_*'
    #[arg(required = true, value_name = "EVENT", add = complete::events())]
    events: Vec<Glob>,

    /// Run this once events are listened for, then wait
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Only events that have this value, such as data.action=pause, or another one, data.action!=pause; repeatable, all
    /// of them
    #[arg(short, long, value_name = "PATH=VALUE")]
    r#where: Vec<Where>,

    /// Only events of this severity and above: debug, info, notice, warning, error, critical
    #[arg(long, value_name = "LEVEL", add = complete::severities())]
    severity: Option<Severity>,

    /// Only events with this text in summary, event, machine or data; without capital letters, in either case
    #[arg(short, long, value_name = "TEXT")]
    grep: Option<TextSearch>,

    /// Wait for this many events; with 0 only until the machine is there
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = number)]
    count: u64,

    /// Of a machine by name: what the journal has behind this sequence number counts, too
    #[arg(long, value_name = "SEQ", conflicts_with = "command", value_parser = sequence_number)]
    after: Option<u64>,

    /// Where the daemon keeps its state, for a machine by name
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Give up after this time, with status 124; the command's time and that of a missing socket included
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// What the records of the events look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    clock: Clock,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    typo_hints::check(&args.events, &args.r#where)?;
    let machine_width = file_name(&args.target).chars().count();
    let printer = Printer::start(Layout { format: args.output, clock: args.clock, machine_width, ..Layout::default() });
    let timeout = args.timeout;
    let (said, after) = (args.state_dir.clone(), args.after);
    let mut wait = Wait::new(args);
    let by_name = match &wait.target {
        Target::Machine(name) => Some(ByName { name: name.clone(), state_dir: state_dir(said)? }),
        _ if after.is_some() => {
            let error = "--after needs the name of a machine: only the daemon numbers what happened";
            return Err(Failure::usage(error));
        }
        _ => None,
    };
    let waited = async {
        match &by_name {
            Some(machine) => wait.run_by_name(machine, after, &printer).await,
            None => wait.run(&printer).await,
        }
    };
    let ended = match timeout {
        None => waited.await,
        Some(timeout) => match tokio::time::timeout(timeout, waited).await {
            Ok(ended) => ended,
            Err(_) => Ok(wait.give_up(timeout).await),
        },
    };
    printer.finish()?;
    ended
}

/// What is being waited for.
struct Wait {
    target: Target,
    filter: Filter,
    /// What came and was not what is waited for.
    near: NearMisses,
    /// How many events are still to come.
    left: u64,
    command: Vec<OsString>,
    running: Option<Command>,
    /// Why there is no connection yet, while there is none.
    refused: Option<ConnectError>,
}

impl Wait {
    fn new(args: Args) -> Wait {
        let filter = Filter {
            events: args.events,
            wheres: args.r#where,
            severity: args.severity,
            text: args.grep,
            ..Filter::default()
        };
        let Args { target, command, count, .. } = args;
        Wait { target, filter, near: NearMisses::default(), left: count, command, running: None, refused: None }
    }

    async fn run(&mut self, printer: &Printer) -> Result<Exit, Failure> {
        let (client, events) = self.connect().await?;
        let monitor = Monitor::of(&client, &hostname(), || file_name(&self.target)).await;
        self.act(Source::Monitor { monitor: &monitor, events }, printer).await
    }

    /// The same for a machine that the daemon holds: it is asked for what it records from now on before the command is
    /// started. What stands in the journal is looked at first, when a number is given.
    async fn run_by_name(&mut self, machine: &ByName, after: Option<u64>, printer: &Printer) -> Result<Exit, Failure> {
        let sight = machine.look().await.map_err(|error| not_asked(&machine.name, error))?;
        let mut is_gone = false;
        let mut behind = sight.last;
        if let Some(after) = after {
            let mut history = machine.records(after, false).await?;
            while let Some(record) = next_record(&mut history).await? {
                behind = record.seq.unwrap_or(behind).max(behind);
                match record.kind {
                    Kind::Detached => is_gone = true,
                    Kind::Attached => is_gone = false,
                    _ => {}
                }
                self.look_at(*record, printer).await;
                if self.left == 0 {
                    return Ok(Exit::Done);
                }
            }
        }
        if let Some(absence) = machine.look().await?.absence {
            if is_gone && matches!(absence, Absence::NotAttached { .. }) {
                tell(&format!("{absence}, and went away before {}", self.wanted()));
                return Ok(Exit::Gone);
            }
            tell(&format!("waiting: {absence}"));
        }
        let answers = machine.records(behind, true).await?;
        self.act(Source::Daemon { machine, answers, left: None }, printer).await
    }

    /// Starts the command, and listens.
    async fn act(&mut self, source: Source<'_>, printer: &Printer) -> Result<Exit, Failure> {
        // Before the command is there: it must not be left behind.
        let place = Place::here();
        let passed_on = Signals::catch(if self.command.is_empty() { &[][..] } else { place.passed_on() })?;
        if let Some((program, arguments)) = self.command.split_first() {
            // What it read there would be the monitor's words, taken from us.
            let mute = self.target == Target::Descriptor(0);
            self.running = Some(Command::start(program, arguments, mute, place)?);
        }
        self.listen(source, passed_on, printer).await
    }

    /// Connects and negotiates, as soon as there is something to connect to.
    async fn connect(&mut self) -> Result<(Client, Events), Failure> {
        loop {
            match Client::connect(&self.target, ConnectOptions::default().events(ROOM)).await {
                Err(error @ (ConnectError::NoSuchSocket { .. } | ConnectError::NobodyListens { .. })) => {
                    if self.refused.is_none() {
                        tell(&format!("waiting: {error}"));
                    }
                    self.refused = Some(error);
                    tokio::time::sleep(AGAIN).await;
                }
                connected => {
                    self.refused = None;
                    return match connected {
                        Ok(connected) => Ok(connected),
                        Err(error) => Err(in_use::failure(error).await),
                    };
                }
            }
        }
    }

    /// Until the command has ended and the events have come.
    async fn listen(
        &mut self,
        mut source: Source<'_>,
        mut passed_on: Signals,
        printer: &Printer,
    ) -> Result<Exit, Failure> {
        let mut gone = None;
        loop {
            if self.running.is_none() {
                if self.left == 0 {
                    return Ok(Exit::Done);
                }
                if let Some(reason) = gone {
                    tell(&format!("{}: {reason} before {}", plain::name(source.machine()), self.wanted()));
                    return Ok(Exit::Gone);
                }
            }
            tokio::select! {
                status = ended(&mut self.running) => {
                    self.running = None;
                    let status = status.map_err(|error| Failure::new(Exit::Failed, error).about("waiting for COMMAND"))?;
                    if !status.success() {
                        return Ok(Exit::of_command(status));
                    }
                }
                said = source.next(), if gone.is_none() => match said {
                    Said::Record(record) => self.look_at(*record, printer).await,
                    Said::Gone(reason) => gone = Some(reason),
                },
                // Passed on: what the command ends with is what we end with. Without it we would leave it behind.
                number = passed_on.next() => match &self.running {
                    Some(command) => Signal::from_named_raw(number.into()).into_iter().for_each(|signal| command.signal(signal)),
                    None => return Ok(Exit::Command(128 + number)),
                },
            }
        }
    }

    async fn look_at(&mut self, record: Record, printer: &Printer) {
        if self.left > 0 && self.filter.may_miss(&record) {
            tell(&format!("{}: {}", plain::name(&record.machine), plain::phrase(&record.summary)));
        }
        self.near.look_at(&self.filter, &record);
        if self.left > 0 && record.kind == Kind::Event && self.filter.matches(&record) {
            self.left -= 1;
            // Who read our output may have left. How we end says what happened all the same.
            let _ = printer.print(record).await;
        }
    }

    /// The time is over.
    async fn give_up(&mut self, timeout: Duration) -> Exit {
        let after = format!("timed out after {timeout:?}");
        match &self.refused {
            Some(error) => tell(&format!("{after}: {error}")),
            None if self.running.is_some() => tell(&format!("{after}: the command had not ended; ending it")),
            None => tell(&format!("{after}, before {}", self.wanted())),
        }
        if let Some(command) = self.running.take() {
            command.end().await;
        }
        Exit::TimedOut
    }

    /// `GUEST_* or SHUTDOWN came`, and what came in their place.
    fn wanted(&self) -> String {
        format!("{} came{}", wanted(&self.filter), self.near.sentence())
    }
}

/// Waits until the command has ended; for ever when there is none.
async fn ended(command: &mut Option<Command>) -> std::io::Result<ExitStatus> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}
