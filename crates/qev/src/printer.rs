//! Records on standard output: text for people, aligned and coloured by severity, or JSON Lines for programs.
//!
//! Printing has a thread of its own behind a queue with a bound: a pipe that nobody reads must not keep the program from
//! reading its monitors. When the queue is full, whoever has a record waits; what a monitor says meanwhile is buffered by
//! its subscription, and what does not fit there is counted in a gap.

use crate::exit::tell;
use crate::live_sessions::LiveSessions;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use qev_qmp::Timestamp;
use qev_record::{Record, Severity, plain};
use std::io::{self, Write as _};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// How many records may wait to be printed.
const QUEUE: usize = 1024;

/// What stands for the machine in a line about the journal itself.
const OF_JOURNAL: &str = "(journal)";

/// What records look like on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for people.
    #[default]
    Text,
    /// JSON Lines: a record a line.
    Json,
}

/// The way to the thread that prints.
pub(crate) struct Printer {
    records: mpsc::Sender<Record>,
    thread: JoinHandle<io::Result<()>>,
}

/// Nobody reads standard output any more, or it failed: [`Printer::finish`] says which.
#[derive(Debug)]
pub(crate) struct Closed;

impl Printer {
    /// Starts the thread. Columns are as wide as the longest of these names.
    pub(crate) fn start(format: Format, names: usize) -> Printer {
        Printer::printing(Lines::new(format, names, 18), None)
    }

    /// The same for records of more than one day: in text a line says the date wherever it changes.
    pub(crate) fn with_dates(format: Format) -> Printer {
        let dates = (format == Format::Text).then(Dates::default);
        Printer::printing(Lines::new(format, 8, 18), dates)
    }

    fn printing(lines: Lines, dates: Option<Dates>) -> Printer {
        if lines.format == Format::Text {
            tell_of_zone();
        }
        let (records, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::spawn(move || print(queue, lines, dates));
        Printer { records, thread }
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

    /// Waits until everything is printed.
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
pub(crate) fn tell_of_zone() {
    let Some(zone) = std::env::var_os("TZ") else { return };
    if TimeZone::try_system().is_err() {
        let zone = zone.to_string_lossy();
        tell(&format!(
            "TZ={}: this computer has no such time zone in /usr/share/zoneinfo (package tzdata), so times are in UTC",
            plain::name(&zone)
        ));
    }
}

fn print(mut queue: mpsc::Receiver<Record>, mut lines: Lines, mut dates: Option<Dates>) -> io::Result<()> {
    let mut out = anstream::stdout();
    while let Some(record) = queue.blocking_recv() {
        if let Some(date) = dates.as_mut().and_then(|dates| dates.line(&record)) {
            out.write_all(date.as_bytes())?;
        }
        let line = lines.line(&record);
        out.write_all(line.as_bytes())?;
        // Nobody should wait for a line that is there: only what is queued behind it is worth waiting for.
        if queue.is_empty() {
            out.flush()?;
        }
    }
    Ok(())
}

/// Records as lines. Columns only ever grow, so that lines stand below each other.
pub(crate) struct Lines {
    pub(crate) format: Format,
    machine: usize,
    event: usize,
    sessions: LiveSessions,
}

impl Lines {
    /// Lines whose columns for the machine and the event have at least this many characters.
    pub(crate) fn new(format: Format, machine: usize, event: usize) -> Lines {
        Lines { format, machine, event, sessions: LiveSessions::default() }
    }

    /// The record's line, with its end.
    pub(crate) fn line(&mut self, record: &Record) -> String {
        match self.format {
            Format::Json => format!("{}\n", record.to_line()),
            Format::Text => self.text(record),
        }
    }

    fn text(&mut self, record: &Record) -> String {
        let machine = match record.is_of_machine() {
            true => match self.sessions.tell_apart(record) {
                Some(process) => format!("{}[{}]", plain::name(&record.machine), plain::name(&process)),
                None => plain::name(&record.machine).to_string(),
            },
            false => OF_JOURNAL.to_owned(),
        };
        let what = match &record.event {
            Some(event) => plain::name(event.as_str()).to_string(),
            None => plain::name(record.kind.as_str()).to_string(),
        };
        self.machine = self.machine.max(machine.chars().count()).min(24);
        self.event = self.event.max(what.chars().count()).min(28);
        let style = style(record.severity);
        format!(
            "{machine:<machines$}  {time}  {style}{severity:<8}{style:#}  {what:<events$}  {style}{summary}{style:#}\n",
            machines = self.machine,
            time = time_of_day(shown_time(record)),
            severity = record.severity,
            events = self.event,
            summary = plain::phrase(&record.summary),
        )
    }
}

/// Says the date where it changes.
#[derive(Debug, Default)]
struct Dates {
    last: Option<Date>,
}

impl Dates {
    fn line(&mut self, record: &Record) -> Option<String> {
        let micros = shown_time(record).micros().unwrap_or_default();
        let date = jiff::Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::system()).date();
        let changed = self.last.replace(date) != Some(date);
        changed.then(|| format!("{0}-- {1} --{0:#}\n", Style::new().bold(), date.strftime("%a %F")))
    }
}

/// The time that people see: when it happened, if that is known, else when it was received.
fn shown_time(record: &Record) -> Timestamp {
    record.timestamp.filter(|time| time.micros().is_some()).unwrap_or(record.received)
}

/// The colour of a severity. The word stands beside it, so that nothing is said by colour alone.
pub(crate) fn style(severity: Severity) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match severity {
        Severity::Debug => Style::new().dimmed(),
        Severity::Info => Style::new(),
        Severity::Notice => colour(AnsiColor::Cyan),
        Severity::Warning => colour(AnsiColor::Yellow),
        Severity::Error => colour(AnsiColor::Red),
        Severity::Critical => colour(AnsiColor::Red).bold(),
    }
}

/// Local time to the millisecond.
fn time_of_day(time: Timestamp) -> String {
    let micros = time.micros().unwrap_or_default();
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => {
            let time = time.to_zoned(TimeZone::system());
            format!("{}.{:03}", time.strftime("%H:%M:%S"), time.millisecond())
        }
        Err(_) => "--:--:--.---".to_owned(),
    }
}

/// Now, as records have it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::event::{OtherEvent, QuorumOpType, QuorumReportBad};
    use qev_qmp::{Dialect, Event, Object};

    fn bad(node_name: &str) -> Record {
        let bad = QuorumReportBad {
            op: Some(QuorumOpType::Read),
            error: None,
            node_name: node_name.into(),
            sector_num: 8,
            sector_count: 8,
            extra: Object::new(),
        };
        let time = Timestamp::from_micros(1_795_347_310_942_235);
        Record::event("h1", "web1", time, &Event::new(&bad.into(), Some(time), Dialect::Qemu))
    }

    fn text(record: &Record) -> String {
        let line = Lines::new(Format::Text, 4, 18).line(record);
        anstream::adapter::strip_str(&line).to_string()
    }

    #[test]
    fn the_machine_comes_first_and_columns_stand_below_each_other() {
        let line = text(&bad("c1"));
        assert!(line.starts_with("web1  "), "{line}");
        assert!(
            line.ends_with("error     QUORUM_REPORT_BAD   replica c1 gave bad data: 8 sectors at 8 (read)\n"),
            "{line}"
        );
        let mut lines = Lines::new(Format::Text, 4, 18);
        let long = Record::event(
            "h1",
            "m",
            now(),
            &Event::new(&OtherEvent::new("A_VERY_LONG_NAME_OF_AN_EVENT", None).into(), None, Dialect::Qemu),
        );
        let first = lines.line(&long);
        let second = lines.line(&bad("c1"));
        let column = |line: &str| anstream::adapter::strip_str(line).to_string().find("  replica").is_some();
        assert!(!column(&first) && column(&second));
    }

    #[test]
    fn two_processes_of_one_name_are_told_apart_while_both_are_there() {
        let mut lines = Lines::new(Format::Text, 4, 18);
        let mut name = |session: &str| {
            let mut record = bad("c1");
            record.session = Some(session.into());
            anstream::adapter::strip_str(&lines.line(&record)).to_string().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(["pid-7@9", "pid-8@9", "pid-7@9"].map(&mut name), ["web1", "web1[8]", "web1[7]"]);
    }

    #[test]
    fn what_a_guest_wrote_cannot_act_on_the_terminal() {
        let mut record = bad("c\u{1b}[2J\u{202e}\r\nfake");
        record.machine = "we\u{1b}]0;x\u{7}b".into();
        let line = text(&record);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.trim_end_matches('\n').chars().all(|c| !plain::acts(c)), "{line}");
        let coloured = Lines::new(Format::Text, 4, 18).line(&record);
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}]0"));
    }
}
