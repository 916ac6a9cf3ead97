//! A record as a line: text for people, or JSON.

use super::Format;
use crate::live_sessions::LiveSessions;
use anstyle::{AnsiColor, Style};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use qev_qmp::Timestamp;
use qev_record::{Record, Severity, plain};

/// What stands for the machine in a line about the journal itself.
const OF_JOURNAL: &str = "(journal)";

/// How wide the column of sequence numbers is at least.
const SEQ: usize = 6;

/// Records as lines. Columns only ever grow, so that lines stand below each other.
pub(crate) struct Lines {
    format: Format,
    machine: usize,
    event: usize,
    /// The width of the sequence number, where it is shown.
    seq: Option<usize>,
    zone: TimeZone,
    sessions: LiveSessions,
}

impl Lines {
    /// Lines whose columns of machines and events are this wide at least.
    pub(crate) fn new(format: Format, machine: usize, event: usize) -> Lines {
        Lines { format, machine, event, seq: None, zone: TimeZone::system(), sessions: LiveSessions::default() }
    }

    /// What the lines are.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The same with times in this zone.
    pub(crate) fn in_zone(self, zone: TimeZone) -> Lines {
        Lines { zone, ..self }
    }

    /// The same with the sequence number first.
    pub(crate) fn with_seq(self) -> Lines {
        Lines { seq: Some(SEQ), ..self }
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
        let seq = match &mut self.seq {
            Some(width) => {
                let seq = record.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
                *width = seq.len().max(*width);
                format!("{seq:>width$}  ", width = *width)
            }
            None => String::new(),
        };
        format!(
            "{seq}{machine:<machines$}  {time}  {style}{severity:<8}{style:#}  {what:<events$}  {style}{summary}{style:#}\n",
            machines = self.machine,
            time = time_of_day(shown_time(record), &self.zone),
            severity = record.severity,
            events = self.event,
            summary = plain::phrase(&record.summary),
        )
    }
}

/// Says the date where it changes.
#[derive(Debug)]
pub(super) struct Dates {
    zone: TimeZone,
    /// What stands behind a date.
    label: &'static str,
    last: Option<Date>,
}

impl Dates {
    pub(super) fn new(zone: TimeZone, label: &'static str) -> Dates {
        Dates { zone, label, last: None }
    }

    pub(super) fn line(&mut self, record: &Record) -> Option<String> {
        let micros = shown_time(record).micros().unwrap_or_default();
        let date = jiff::Timestamp::from_microsecond(micros).ok()?.to_zoned(self.zone.clone()).date();
        let changed = self.last.replace(date) != Some(date);
        let label = self.label;
        changed.then(|| format!("{0}-- {1}{label} --{0:#}\n", Style::new().bold(), date.strftime("%a %F")))
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

/// The time of the day to the millisecond.
fn time_of_day(time: Timestamp, zone: &TimeZone) -> String {
    let micros = time.micros().unwrap_or_default();
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => {
            let time = time.to_zoned(zone.clone());
            format!("{}.{:03}", time.strftime("%H:%M:%S"), time.millisecond())
        }
        Err(_) => "--:--:--.---".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::now;
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
    fn a_sequence_number_and_another_time_zone_are_shown_on_request() {
        let mut record = bad("c1");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let mut lines = Lines::new(Format::Text, 4, 18).in_zone(zone.clone()).with_seq();
        let mut shown = |record: &Record| anstream::adapter::strip_str(&lines.line(record)).to_string();
        assert!(shown(&record).starts_with("     -  web1  13:35:10.942  error"), "{}", shown(&record));
        record.seq = Some(1_234_567);
        assert!(shown(&record).starts_with("1234567  web1  "), "{}", shown(&record));
        let date =
            |zone, label| anstream::adapter::strip_str(&Dates::new(zone, label).line(&record).unwrap()).to_string();
        assert_eq!(date(zone, ""), "-- Sun 2026-11-22 --\n");
        assert_eq!(date(TimeZone::UTC, " UTC"), "-- Sun 2026-11-22 UTC --\n");
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
