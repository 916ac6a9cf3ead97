//! `qev watch`: events as they happen, straight from the monitors.
//!
//! Each monitor has a task that turns what it says into records; one loop selects and counts them; a thread prints.

use super::duration;
use super::select::Select;
use crate::exit::{Exit, Failure};
use crate::printer::{Closed, Format, Printer, now};
use qev_link::{Capacity, Client, ConnectError, ConnectOptions, EventItem, Events, Target};
use qev_record::{Filter, Record, record::Gap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many records of all monitors may wait to be looked at. When they do, monitors go on being read, and each keeps
/// what its subscription has room for.
const QUEUE: usize = 256;

/// What a monitor's subscription has room for, in items and bytes: a burst should not cost anything because a terminal is
/// slow.
const ROOM: Capacity = Capacity { items: 1 << 16, bytes: 16 << 20 };

/// How long a machine may take to say its name.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The monitors to watch: unix:PATH, tcp:HOST:PORT or a path
    #[arg(required = true, value_name = "TARGET", value_parser = super::target())]
    targets: Vec<Target>,

    #[command(flatten)]
    select: Select,

    /// End after this many events
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,

    /// End after this time, with status 124
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// What records look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What a monitor's task says.
enum Note {
    Record(Box<Record>),
    NotConnected(ConnectError),
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let (notes, queue) = mpsc::channel(QUEUE);
    let host = hostname();
    let names = args.targets.iter().map(|target| file_name(target).chars().count()).max().unwrap_or_default();
    for target in args.targets {
        tokio::spawn(follow(target, Arc::clone(&host), notes.clone()));
    }
    drop(notes);

    let printer = Printer::start(args.output, names);
    let filter = args.select.filter();
    let watched = watch(queue, &filter, args.count, &printer);
    let ended = match args.timeout {
        Some(timeout) => tokio::time::timeout(timeout, watched).await.unwrap_or(Ok(Exit::TimedOut)),
        None => watched.await,
    };
    printer.finish()?;
    Ok(ended.unwrap_or(Exit::Done))
}

/// Until the last monitor is gone, or enough is seen.
async fn watch(
    mut queue: mpsc::Receiver<Note>,
    filter: &Filter,
    count: Option<u64>,
    printer: &Printer,
) -> Result<Exit, Closed> {
    let mut left = count;
    let mut attached = false;
    let mut failed = None;
    while let Some(note) = queue.recv().await {
        match note {
            Note::NotConnected(error) => {
                let exit = Failure::from(error).report();
                failed = failed.or(Some(exit));
            }
            Note::Record(record) => {
                attached = true;
                if !Select::wants(filter, &record) {
                    continue;
                }
                let is_event = record.event.is_some();
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

/// One monitor, from connecting to its end.
async fn follow(target: Target, host: Arc<str>, notes: mpsc::Sender<Note>) {
    let (client, events) = match Client::connect(&target, ConnectOptions::default().events(ROOM)).await {
        Ok(connected) => connected,
        Err(error) => {
            // The loop may have ended already; then nobody wants to know.
            let _ = notes.send(Note::NotConnected(error)).await;
            return;
        }
    };
    let machine = name(&client, &target).await;
    let _ = relay(&machine, &host, events, &notes).await;
}

/// What one monitor says, as records, until it ends or nobody wants to know any more.
async fn relay(
    machine: &Arc<str>,
    host: &Arc<str>,
    mut events: Events,
    notes: &mpsc::Sender<Note>,
) -> Result<(), mpsc::error::SendError<Note>> {
    let record = |record| notes.send(Note::Record(Box::new(record)));
    let (host, machine) = (|| Arc::clone(host), || Arc::clone(machine));
    record(Record::attached(host(), machine(), now())).await?;
    let gap = |reason: &str| {
        let time = now();
        Record::gap(host(), machine(), time, Gap { until: Some(time), ..Gap::default() }, reason)
    };
    loop {
        match events.next().await {
            EventItem::Event(event) => record(Record::event(host(), machine(), now(), &event)).await?,
            EventItem::Missed(count) => {
                let reason = format!("{count} messages came faster than they could be shown");
                record(gap(&reason)).await?;
            }
            EventItem::Garbage(garbage) => record(gap(&garbage.to_string())).await?,
            EventItem::Restarted(_) => record(gap("the monitor began a new session")).await?,
            EventItem::Ended(reason) => {
                return record(Record::detached(host(), machine(), now(), &reason.to_string())).await;
            }
            _ => {}
        }
    }
}

/// What the machine calls itself, else what its socket is called.
async fn name(client: &Client, target: &Target) -> Arc<str> {
    let answer = client.execute_with_timeout("query-name", None, NAME_TIMEOUT).await;
    let name = answer.ok().and_then(|answer| answer.get("name")?.text()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| file_name(target)).into()
}

/// The socket's file name without its ending, or the host and port.
fn file_name(target: &Target) -> String {
    match target {
        Target::Unix(path) => stem(path),
        Target::Tcp { host, port } => format!("{host}:{port}"),
        Target::Machine(name) => name.clone(),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

/// The name of this host, as the kernel knows it.
pub(crate) fn hostname() -> Arc<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}
