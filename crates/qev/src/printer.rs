//! Records on standard output: text for people, aligned and coloured by severity, or JSON Lines for programs.
//!
//! A thread of its own prints, behind a queue with a limit: a pipe that nobody reads must not keep the program from
//! reading its monitors. When the queue is full, whoever has a record waits. What a monitor sends meanwhile is buffered by
//! its subscription, and what does not fit there is counted in a gap.

mod line;

pub(crate) use line::{Lines, style};

use crate::exit::tell;
use crate::pager::Pager;
use clap::ValueEnum;
use jiff::tz::TimeZone;
use line::Dates;
use qev_qmp::Timestamp;
use qev_record::{Record, plain};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// How many records may wait to be printed.
const QUEUE: usize = 1024;

/// What records look like on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for people.
    #[default]
    Text,
    /// JSON Lines: a record a line.
    Json,
}

/// The time zone in which people see times.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Clock {
    /// Show times in UTC instead of local time
    #[arg(long)]
    utc: bool,
}

impl Clock {
    /// What stands behind a date, where it is to be said.
    fn label(self) -> &'static str {
        if self.utc { " UTC" } else { "" }
    }

    /// The zone. Says so on standard error when it is the local one, and this computer does not have it.
    pub(crate) fn zone(self) -> TimeZone {
        if self.utc {
            return TimeZone::UTC;
        }
        warn_of_missing_zone();
        TimeZone::system()
    }
}

/// How records are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    pub(crate) clock: Clock,
    /// How wide the column of machines is at least.
    pub(crate) machine_width: usize,
    /// Say the date wherever it changes: for records of more than one day.
    pub(crate) dates: bool,
    /// Begin each line with the sequence number.
    pub(crate) seq: bool,
    /// Show the output in a pager, where it is a terminal.
    pub(crate) pager: bool,
}

/// The queue to the thread that prints.
pub(crate) struct Printer {
    records: mpsc::Sender<Record>,
    thread: JoinHandle<io::Result<()>>,
    has_pager: Arc<AtomicBool>,
}

/// Nobody reads standard output any more, or it failed: [`Printer::finish`] says which.
#[derive(Debug)]
pub(crate) struct Closed;

impl Printer {
    /// Starts the thread.
    pub(crate) fn start(layout: Layout) -> Printer {
        let Layout { format, clock, machine_width, dates, seq, pager } = layout;
        let zone = if format == Format::Text { clock.zone() } else { TimeZone::UTC };
        let mut lines = Lines::new(format, machine_width, 18).in_zone(zone.clone());
        if seq {
            lines = lines.with_seq();
        }
        let dates = (dates && format == Format::Text).then(|| Dates::new(zone, clock.label()));
        let has_pager = Arc::new(AtomicBool::new(false));
        let output = Output { pager, has_pager: Arc::clone(&has_pager), to: To::Nowhere };
        let (records, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::spawn(move || print(queue, lines, dates, output));
        Printer { records, thread, has_pager }
    }

    /// Hands a record over to be printed.
    pub(crate) async fn print(&self, record: Record) -> Result<(), Closed> {
        self.records.send(record).await.map_err(|_| Closed)
    }

    /// Waits until nobody reads standard output any more, or it failed, for who would not notice before the next record.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let records = self.records.clone();
        async move { records.closed().await }
    }

    /// Whether the output is in a pager by now: Ctrl-C is for the pager then.
    pub(crate) fn pager_state(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_pager)
    }

    /// Waits until everything is printed, and until a pager is left.
    ///
    /// # Errors
    ///
    /// When standard output failed. That its reader went away is not one.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.records);
        match self.thread.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

/// Says so when the time zone that is asked for is not on this computer: then times are in UTC.
fn warn_of_missing_zone() {
    let Some(zone) = std::env::var_os("TZ") else { return };
    if TimeZone::try_system().is_err() {
        let zone = zone.to_string_lossy();
        tell(&format!(
            "TZ={}: this computer has no such time zone in /usr/share/zoneinfo (package tzdata), so times are in UTC",
            plain::name(&zone)
        ));
    }
}

/// Standard output, or a pager in front of it. A pager is started with the first line: where there is none, messages are
/// not to be hidden by an empty screen.
struct Output {
    pager: bool,
    has_pager: Arc<AtomicBool>,
    to: To,
}

enum To {
    Nowhere,
    Standard(anstream::Stdout),
    Pager(Pager),
}

impl Output {
    fn write(&mut self, text: &str) -> io::Result<()> {
        if let To::Nowhere = self.to {
            self.to = match self.pager.then(Pager::start).flatten() {
                Some(pager) => {
                    self.has_pager.store(true, Ordering::Relaxed);
                    To::Pager(pager)
                }
                None => To::Standard(anstream::stdout()),
            };
        }
        match &mut self.to {
            To::Nowhere => Ok(()),
            To::Standard(out) => out.write_all(text.as_bytes()),
            To::Pager(pager) => pager.write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Nowhere => Ok(()),
            To::Standard(out) => out.flush(),
            To::Pager(pager) => pager.flush(),
        }
    }

    fn finish(self) {
        if let To::Pager(pager) = self.to {
            pager.wait();
        }
    }
}

fn print(
    mut queue: mpsc::Receiver<Record>,
    mut lines: Lines,
    mut dates: Option<Dates>,
    mut output: Output,
) -> io::Result<()> {
    let mut print_all = || -> io::Result<()> {
        while let Some(record) = queue.blocking_recv() {
            if let Some(date) = dates.as_mut().and_then(|dates| dates.line(&record)) {
                output.write(&date)?;
            }
            output.write(&lines.line(&record))?;
            // Nobody should wait for a line that is there: only what is queued behind it is worth waiting for.
            if queue.is_empty() {
                output.flush()?;
            }
        }
        output.flush()
    };
    let printed = print_all();
    // Whoever has more learns that nobody wants it before a pager is left.
    drop(queue);
    output.finish();
    printed
}

/// Now, as records have it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
