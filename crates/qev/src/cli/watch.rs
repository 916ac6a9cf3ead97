//! `qev watch`: events as they happen, straight from the monitors.
//!
//! Each monitor has a task that turns what it says into records, whether we connected to it ([`dial_out`]) or it to us
//! ([`dial_in`]); one loop selects and counts them; a thread prints.

mod by_name;
mod dial_in;
mod dial_out;

use super::by_name::ByName;
use super::log::state_dir;
use super::near_misses::{NearMisses, wanted};
use super::select::{Select, as_options, count};
use super::{complete, duration, in_use};
use crate::exit::{Exit, Failure, tell};
use crate::introspect;
use crate::monitor::{Monitor, file_name, hostname};
use crate::printer::{Clock, Closed, Format, Layout, Printer};
use crate::signals::{self, Signals};
use qev_link::{Client, ConnectError, DialIn, EventItem, Events, Target};
use qev_qmp::{Schema, Value};
use qev_record::{Filter, Kind, Record, plain};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many records of all monitors may wait to be looked at. When they do, monitors go on being read, and each keeps
/// what its subscription has room for.
const QUEUE: usize = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It ends with 4 when its last monitor is gone (or the daemon, of a machine by name); with --reconnect or --attach it goes \
on until it is ended.

    qev watch --reconnect vm.sock            connects again when the machine comes back, and shows the gap
    qev watch --validate -o json vm.sock     a record has 'departs' where QEMU's schema says otherwise
    qev watch web1                           a machine by the name under which the daemon holds it
    qev watch --attach /run/qev/attach.sock  QEMUs connect to it: qev attach-args says what to add to them")]
pub(crate) struct Args {
    /// The monitors to watch: unix:PATH, tcp:HOST:PORT, fd:N, a path, or the name of a machine that the daemon holds
    #[arg(required_unless_present = "attach", value_name = "TARGET", value_parser = super::target())]
    #[arg(add = complete::targets())]
    targets: Vec<Target>,

    /// Listen here for QEMUs that connect by themselves (qev attach-args); repeatable
    #[arg(long, value_name = "PATH")]
    attach: Vec<PathBuf>,

    /// Connect again when a monitor is gone, or not there yet: after 0.25 s at first, 10 s at last
    #[arg(long)]
    reconnect: bool,

    /// Ask each QEMU for its own schema, and say where an event departs from it
    #[arg(long)]
    validate: bool,

    #[command(flatten)]
    select: Select,

    /// End after this many events
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    count: Option<u64>,

    /// End after this time, with status 124
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// Where the daemon keeps its state, for machines by name
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// What records look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    clock: Clock,
}

/// What a monitor's task says.
enum Note {
    Record(Box<Record>),
    NotConnected(ConnectError),
    NotWatched { name: String, error: by_name::NotWatched },
}

/// How monitors are followed.
#[derive(Clone, Copy)]
struct How {
    reconnect: bool,
    validate: bool,
}

/// The way to the loop that selects.
type Notes = mpsc::Sender<Note>;

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let filter = args.select.filter()?;
    let (notes, queue) = mpsc::channel(QUEUE);
    let host = hostname();
    let mut seen = Seen { expected: if args.attach.is_empty() { args.targets.len() } else { 0 }, ..Seen::default() };
    let names = args.targets.iter().map(|target| file_name(target).chars().count()).max().unwrap_or_default();
    // The handlers stand before the sockets do: whatever ends us, sockets of ours are removed.
    let caught = if args.attach.is_empty() { &[][..] } else { signals::TO_END };
    let mut signals = Signals::catch(caught)?;
    for path in &args.attach {
        let dial_in = DialIn::bind(path).map_err(|error| Failure::new(Exit::Failed, error))?;
        tell(&format!("listening at {}", path.display()));
        tokio::spawn(dial_in::listen(dial_in, Arc::clone(&host), args.validate, notes.clone()));
    }
    let how = How { reconnect: args.reconnect, validate: args.validate };
    for target in args.targets {
        if let Target::Machine(name) = target {
            if args.validate {
                let error = "--validate asks the monitor itself: give its socket instead of a name";
                return Err(Failure::usage(error));
            }
            let machine = ByName { name, state_dir: state_dir(args.state_dir.clone())? };
            tokio::spawn(by_name::follow(machine, args.reconnect, notes.clone()));
        } else {
            tokio::spawn(dial_out::follow(target, Arc::clone(&host), how, notes.clone()));
        }
    }
    drop(notes);

    let layout = Layout { format: args.output, clock: args.clock, machine_width: names, ..Layout::default() };
    let printer = Printer::start(layout);
    let ended = {
        let watched = watch(queue, &filter, args.count, &printer, &mut seen);
        let watched = async {
            match args.timeout {
                Some(timeout) => tokio::time::timeout(timeout, watched).await.unwrap_or(Ok(Exit::TimedOut)),
                None => watched.await,
            }
        };
        tokio::select! {
            biased;
            ended = watched => ended,
            () = printer.closed() => Err(Closed),
            () = signals.any() => Ok(Exit::Done),
        }
    };
    printer.finish()?;
    if let (Ok(exit @ (Exit::TimedOut | Exit::Gone)), Some(sentence)) = (&ended, seen.nothing(&filter)) {
        match (exit, args.timeout) {
            (Exit::TimedOut, Some(timeout)) => tell(&format!("timed out after {timeout:?}: {sentence}")),
            _ => tell(&sentence),
        }
    }
    Ok(ended.unwrap_or(Exit::Done))
}

/// How many names of machines are remembered.
const NAMES: usize = 10;

/// What there was beside what is shown: for those who look for something that is not there.
#[derive(Debug, Default)]
struct Seen {
    /// How many machines are to be attached, where that is known.
    expected: usize,
    attached: usize,
    /// Some of those that are not wanted.
    others: BTreeSet<Arc<str>>,
    /// A machine that is wanted was attached.
    is_one_wanted: bool,
    /// An event was shown.
    is_event_shown: bool,
    near: NearMisses,
}

impl Seen {
    fn look_at(&mut self, filter: &Filter, record: &Record) {
        let machines = Filter { machines: filter.machines.clone(), ..Filter::default() };
        if record.kind == Kind::Attached {
            self.attached += 1;
            if machines.matches(record) {
                self.is_one_wanted = true;
            } else if self.others.len() < NAMES {
                self.others.insert(Arc::clone(&record.machine));
            }
            if self.attached == self.expected
                && let Some(sentence) = self.no_machine(filter)
            {
                tell(&sentence);
            }
        }
        self.near.look_at(filter, record);
    }

    /// That none of the machines is wanted, when that is so.
    fn no_machine(&self, filter: &Filter) -> Option<String> {
        if filter.machines.is_empty() || self.is_one_wanted || self.others.is_empty() {
            return None;
        }
        let patterns: Vec<String> =
            filter.machines.iter().map(|glob| plain::name(&glob.to_string()).to_string()).collect();
        let names: Vec<String> = self.others.iter().map(|name| plain::name(name).to_string()).collect();
        Some(format!("no machine that is attached matches {}: there are {}", patterns.join(" or "), names.join(", ")))
    }

    /// What is to be said at the end when no event was shown that was asked for.
    fn nothing(&self, filter: &Filter) -> Option<String> {
        if self.is_event_shown || as_options(filter).is_empty() || self.attached == 0 {
            return None;
        }
        self.no_machine(filter).or_else(|| Some(format!("no {} came{}", wanted(filter), self.near.sentence())))
    }
}

/// Until the last monitor is gone, or enough is seen.
async fn watch(
    mut queue: mpsc::Receiver<Note>,
    filter: &Filter,
    count: Option<u64>,
    printer: &Printer,
    seen: &mut Seen,
) -> Result<Exit, Closed> {
    let mut left = count;
    let mut attached = false;
    let mut failed = None;
    while let Some(note) = queue.recv().await {
        match note {
            Note::NotConnected(error) => {
                let exit = in_use::failure(error).await.report();
                failed = failed.or(Some(exit));
            }
            Note::NotWatched { name, error } => {
                let exit = error.into_failure(&name).report();
                failed = failed.or(Some(exit));
            }
            Note::Record(record) => {
                attached = true;
                seen.look_at(filter, &record);
                if !Select::wants(filter, &record) {
                    continue;
                }
                tell_departures(&record);
                let is_event = record.event.is_some();
                seen.is_event_shown |= is_event;
                printer.print(*record).await?;
                if let (true, Some(left)) = (is_event, &mut left) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        return Ok(Exit::Done);
                    }
                }
            }
        }
    }
    Ok(if attached { Exit::Gone } else { failed.unwrap_or(Exit::Gone) })
}

/// Says where an event is not what its QEMU says of it. In the record of `-o json` the same stands as `departs`.
fn tell_departures(record: &Record) {
    let (Some(event), Some(departs)) = (&record.event, &record.departs) else { return };
    for sentence in departs.value().as_array().unwrap_or_default().iter().filter_map(Value::as_str) {
        let (machine, event) = (plain::name(&record.machine), plain::name(event.as_str()));
        tell(&format!("{machine}: {event} departs from QEMU's schema: {}", plain::phrase(sentence)));
    }
}

/// The schema of the QEMU that was just connected to, when events are to be compared with it.
async fn schema(client: &Client, monitor: &Monitor, validate: bool) -> Option<Schema> {
    if !validate {
        return None;
    }
    match introspect::ask(client).await {
        Ok(schema) => Some(schema),
        Err(error) => {
            let machine = plain::name(monitor.machine()).to_string();
            // It is said, and the events are shown all the same.
            Failure::from(error).about(format_args!("{machine}: events are not compared with its schema")).report();
            None
        }
    }
}

/// What one monitor says, as records, until it ends or nobody wants to know any more. A gap, if there is one, lies
/// before it.
async fn relay(
    monitor: &Monitor,
    schema: Option<Schema>,
    gap: Option<Record>,
    mut events: Events,
    notes: &Notes,
) -> Result<(), mpsc::error::SendError<Note>> {
    if let Some(gap) = gap {
        notes.send(Note::Record(Box::new(gap))).await?;
    }
    notes.send(Note::Record(Box::new(monitor.attached()))).await?;
    loop {
        let item = events.next().await;
        if let Some(mut record) = monitor.record(&item) {
            if let (Some(schema), EventItem::Event(event)) = (&schema, &item) {
                record.departs = introspect::departs(schema, event);
            }
            notes.send(Note::Record(Box::new(record))).await?;
        }
        if let EventItem::Ended(_) = item {
            return Ok(());
        }
    }
}
