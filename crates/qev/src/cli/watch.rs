//! `qev watch`: events as they happen, straight from the monitors.
//!
//! Each monitor has a task that turns what it says into records; one loop selects and counts them; a thread prints.

use super::duration;
use super::select::Select;
use crate::exit::{Exit, Failure};
use crate::monitor::{Monitor, ROOM, file_name, hostname};
use crate::printer::{Closed, Format, Printer};
use qev_link::{Client, ConnectError, ConnectOptions, EventItem, Events, Target};
use qev_record::{Filter, Record};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many records of all monitors may wait to be looked at. When they do, monitors go on being read, and each keeps
/// what its subscription has room for.
const QUEUE: usize = 256;

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
    let monitor = Monitor::of(&client, &host, || file_name(&target)).await;
    let _ = relay(&monitor, events, &notes).await;
}

/// What one monitor says, as records, until it ends or nobody wants to know any more.
async fn relay(
    monitor: &Monitor,
    mut events: Events,
    notes: &mpsc::Sender<Note>,
) -> Result<(), mpsc::error::SendError<Note>> {
    notes.send(Note::Record(Box::new(monitor.attached()))).await?;
    loop {
        let item = events.next().await;
        if let Some(record) = monitor.record(&item) {
            notes.send(Note::Record(Box::new(record))).await?;
        }
        if let EventItem::Ended(_) = item {
            return Ok(());
        }
    }
}
