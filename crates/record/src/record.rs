//! The record: one thing that happened to a machine, as qev keeps it, shows it and passes it on.
//!
//! What QEMU said stands in it as QEMU said it (`event`, `timestamp`, `data`), beside what qev says about it
//! (`severity`, `summary`) and where it came from. What qev says of its own accord has another `kind` and never an
//! `event`. As JSON a record is one line: see [`Record::to_line`] and [`Record::parse`].

mod audit;
mod line;
mod read;
mod state;

pub use audit::Audit;
pub use line::MEMBERS;
pub use read::RecordError;

use crate::meaning::Meaning;
use crate::plain;
use crate::severity::Severity;
use qev_qmp::{Event, EventName, Json, RunState, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The `machine` of a record that is about the journal itself, and so about every machine. No machine has this name.
pub const NO_MACHINE: &str = "";

/// One thing that happened to a machine.
///
/// Which members are there depends on the kind. `host` and `machine` are shared text: a task that makes many records
/// of one machine clones an [`Arc`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its place in the journal; a record without one is not (or not yet) on disk.
    pub seq: Option<u64>,
    /// What kind of thing happened.
    pub kind: Kind,
    /// The host on which qev ran.
    pub host: Arc<str>,
    /// The machine's name, for people; [`NO_MACHINE`] when the record is about the journal itself.
    pub machine: Arc<str>,
    /// The machine's identity, when that is more than its name: its UUID.
    pub machine_id: Option<Arc<str>>,
    /// Which QEMU process of this machine.
    pub session: Option<Arc<str>>,
    /// The user of the process at the other end of the monitor, as the kernel reports it: of [`Kind::Attached`], where it
    /// is known.
    pub uid: Option<u32>,
    /// By which way it came, when not straight from QEMU's monitor: `libvirt`.
    pub via: Option<Arc<str>>,
    /// When qev received it.
    pub received: Timestamp,
    /// `false` when it was shown before it could be committed.
    pub durable: Option<bool>,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in a plain sentence. From [`Record::parse`] it is what stood there, as safe as who wrote it:
    /// show it through [`crate::plain`].
    pub summary: Box<str>,
    /// Why: of [`Kind::Detached`] and [`Kind::Gap`].
    pub reason: Option<Box<str>>,
    /// From when on events may be missing: of [`Kind::Gap`].
    pub from: Option<Timestamp>,
    /// Until when events may be missing: of [`Kind::Gap`].
    pub until: Option<Timestamp>,
    /// How many events are missing, by name, as far as that is known: of [`Kind::Gap`].
    pub missed: BTreeMap<EventName, u64>,
    /// Which event: of [`Kind::Event`].
    pub event: Option<EventName>,
    /// When QEMU says that it happened.
    pub timestamp: Option<Timestamp>,
    /// The event's data as QEMU sent it; of [`Kind::State`] the answers, by the command that was asked.
    pub data: Option<Json>,
    /// What stood beside `event`, `timestamp` and `data` in QEMU's message, which no QEMU sends yet: an object.
    pub extra: Option<Json>,
    /// Where the event departs from its type in the QEMU's own schema: a list of sentences, when it was compared and
    /// does. Names and values in them come from the wire.
    pub departs: Option<Json>,
    /// Members that this version does not know, as they came.
    pub unknown: Vec<(Box<str>, Json)>,
}

/// What kind of thing happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// QEMU sent an event.
    Event,
    /// A machine's monitor was attached.
    Attached,
    /// A machine's monitor is gone.
    Detached,
    /// Events may be missing.
    Gap,
    /// What the machine said about itself when it was attached.
    State,
    /// A client of a shared monitor had a command executed.
    Audit,
    /// A kind that this version does not know.
    Other(Box<str>),
}

impl Kind {
    /// The name in records.
    pub fn as_str(&self) -> &str {
        match self {
            Kind::Event => "event",
            Kind::Attached => "attached",
            Kind::Detached => "detached",
            Kind::Gap => "gap",
            Kind::State => "state",
            Kind::Audit => "audit",
            Kind::Other(name) => name,
        }
    }
}

impl From<&str> for Kind {
    fn from(name: &str) -> Kind {
        match name {
            "event" => Kind::Event,
            "attached" => Kind::Attached,
            "detached" => Kind::Detached,
            "gap" => Kind::Gap,
            "state" => Kind::State,
            "audit" => Kind::Audit,
            other => Kind::Other(other.into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A time in which events may have been missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The last moment before it at which nothing was missing, if there was one.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
    /// How many are missing, by name, when that is known.
    pub missed: BTreeMap<EventName, u64>,
}

impl Record {
    /// A record of an event, with its severity and its sentence.
    pub fn event(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        event: &Event,
    ) -> Record {
        Record::of_event(host, machine, received, event.clone())
    }

    /// The same for an event that nobody else needs: nothing of it is copied.
    pub fn of_event(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        event: Event,
    ) -> Record {
        let Meaning { severity, sentence } = Meaning::of(&event);
        let mut record = Record::new(Kind::Event, host.into(), machine.into(), received, severity, sentence);
        let Event { timestamp, name, data, extra } = event;
        (record.event, record.timestamp, record.data, record.extra) = (Some(name), timestamp, data, extra);
        record
    }

    /// A record that a machine's monitor was attached.
    pub fn attached(host: impl Into<Arc<str>>, machine: impl Into<Arc<str>>, received: Timestamp) -> Record {
        let summary = "attached".to_owned();
        Record::new(Kind::Attached, host.into(), machine.into(), received, Severity::Info, summary)
    }

    /// A record that a machine's monitor is gone, a [`Severity::Notice`]. The caller, who may know that the machine was
    /// killed, sets another severity then.
    pub fn detached(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        reason: &str,
    ) -> Record {
        let summary = format!("detached: {}", plain::phrase(reason));
        let mut record = Record::new(Kind::Detached, host.into(), machine.into(), received, Severity::Notice, summary);
        record.reason = Some(reason.into());
        record
    }

    /// A record that events may be missing: a [`Severity::Warning`]. An error when some are known to be lost. The caller, who
    /// may know that nobody wanted them any more, sets another severity then.
    pub fn gap(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        gap: Gap,
        reason: &str,
    ) -> Record {
        let (severity, summary) = (gap.severity(), gap.sentence(reason));
        let mut record = Record::new(Kind::Gap, host.into(), machine.into(), received, severity, summary);
        record.reason = Some(reason.into());
        record.from = gap.from;
        record.until = gap.until;
        record.missed = gap.missed;
        record
    }

    /// A record that records are missing from the journal itself, of whatever machine. They were kept and are lost, so it
    /// is a [`Severity::Error`].
    pub fn gap_of_journal(host: impl Into<Arc<str>>, received: Timestamp, gap: Gap, reason: &str) -> Record {
        let mut record = Record::gap(host, NO_MACHINE, received, gap, reason);
        record.severity = Severity::Error;
        record
    }

    /// Whether this is about one machine. A record that is not is about the journal itself.
    pub fn is_of_machine(&self) -> bool {
        *self.machine != *NO_MACHINE
    }

    /// A record of what a machine said about itself when it was attached: `data` is an object with the answer to each
    /// command by the command's name, `{"query-status": {…}, "query-balloon": {…}}`.
    pub fn state(host: impl Into<Arc<str>>, machine: impl Into<Arc<str>>, received: Timestamp, data: Json) -> Record {
        let Meaning { severity, sentence } = state::meaning(&data);
        let mut record = Record::new(Kind::State, host.into(), machine.into(), received, severity, sentence);
        record.data = Some(data);
        record
    }

    /// A record that a machine is in another run state than its events said. `data` has the answer that says so by the command
    /// that was asked, as in [`Record::state`], and nothing else.
    pub fn run_state(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        state: &RunState,
        data: Json,
    ) -> Record {
        let Meaning { severity, sentence } = state::run_state(state);
        let mut record = Record::new(Kind::State, host.into(), machine.into(), received, severity, sentence);
        record.data = Some(data);
        record
    }

    /// A record that somebody had a command executed through a shared monitor. `data` is an object: `command`, its
    /// `arguments` if it had any, `left_out` with their length in bytes when they are too long to be kept, `by` with the
    /// `uid` and, if it is known, the `pid` of who wanted it, and `result`: `ok`, the class of QEMU's error, or `unanswered`.
    pub fn audit(
        host: impl Into<Arc<str>>,
        machine: impl Into<Arc<str>>,
        received: Timestamp,
        audit: &Audit,
    ) -> Record {
        let (severity, summary) = (Severity::Notice, audit.sentence());
        let mut record = Record::new(Kind::Audit, host.into(), machine.into(), received, severity, summary);
        record.data = Some(audit.data());
        record
    }

    fn new(
        kind: Kind,
        host: Arc<str>,
        machine: Arc<str>,
        received: Timestamp,
        severity: Severity,
        summary: String,
    ) -> Record {
        Record {
            seq: None,
            kind,
            host,
            machine,
            machine_id: None,
            session: None,
            uid: None,
            via: None,
            received,
            durable: None,
            severity,
            summary: summary.into(),
            reason: None,
            from: None,
            until: None,
            missed: BTreeMap::new(),
            event: None,
            timestamp: None,
            data: None,
            extra: None,
            departs: None,
            unknown: Vec::new(),
        }
    }

    /// The event as QEMU sent it, if this is one.
    pub fn to_event(&self) -> Option<Event> {
        let (data, extra) = (self.data.clone(), self.extra.clone());
        Some(Event { timestamp: self.timestamp, name: self.event.clone()?, data, extra })
    }
}

/// How many names of missing events a sentence has.
const NAMED: usize = 3;

impl Gap {
    fn severity(&self) -> Severity {
        if self.missed.is_empty() { Severity::Warning } else { Severity::Error }
    }

    fn sentence(&self, reason: &str) -> String {
        let mut sentence = match self.total() {
            0 => "events may be missing".to_owned(),
            1 => "1 event is missing".to_owned(),
            total => format!("{total} events are missing"),
        };
        let named = self.missed.iter().take(NAMED).map(|(name, n)| format!("{n} {}", plain::name(name.as_str())));
        let mut known: Vec<_> = self.span().into_iter().chain(named).collect();
        if self.missed.len() > NAMED {
            known.push("…".to_owned());
        }
        if !known.is_empty() {
            sentence.push_str(&format!(" ({})", known.join(", ")));
        }
        sentence.push_str(&format!(": {}", plain::phrase(reason)));
        sentence
    }

    fn total(&self) -> u64 {
        self.missed.values().fold(0, |total, n| total.saturating_add(*n))
    }

    fn span(&self) -> Option<String> {
        let span = self.until?.micros()?.checked_sub(self.from?.micros()?)?;
        let tenths = u64::try_from(span).ok()? / 100_000;
        Some(format!("{}.{} s", tenths / 10, tenths % 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Message;

    const AT: Timestamp = Timestamp { seconds: 1_795_347_310, microseconds: 942_911 };

    fn event(line: &str) -> Event {
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    #[test]
    fn an_event_comes_out_of_its_record_as_it_went_in() {
        for line in [
            r#"{"timestamp": {"seconds": 1795347310, "microseconds": 942235}, "event": "STOP"}"#,
            r#"{"event": "BALLOON_CHANGE", "data": {"actual":  1}}"#,
            r#"{"timestamp": "noon", "event": "X", "data": 7, "severity": "debug", "host": "mine"}"#,
        ] {
            let event = event(line);
            assert_eq!(Record::event("h1", "web1", AT, &event).to_event(), Some(event));
        }
        assert_eq!(Record::attached("h1", "web1", AT).to_event(), None);
    }

    #[test]
    fn a_machine_that_is_gone_says_why() {
        let record = Record::detached("h1", "web1", AT, "the connection was closed\u{1b}");
        assert_eq!(&*record.summary, r"detached: the connection was closed\u{1b}");
        assert_eq!(record.severity, Severity::Notice);
    }

    fn check_gap(seconds: Option<i64>, missed: &[(&str, u64)], severity: Severity, summary: &str) {
        let gap = Gap {
            from: seconds.map(|_| AT),
            until: seconds.map(|s| Timestamp { seconds: AT.seconds + s, ..AT }),
            missed: missed.iter().map(|(name, n)| (EventName::from(*name), *n)).collect(),
        };
        let record = Record::gap("h1", "web1", AT, gap, "not attached");
        assert_eq!((record.severity, &*record.summary), (severity, summary));
    }

    #[test]
    fn a_gap_says_what_is_known_about_it() {
        check_gap(None, &[], Severity::Warning, "events may be missing: not attached");
        check_gap(Some(5), &[], Severity::Warning, "events may be missing (5.0 s): not attached");
        check_gap(Some(-5), &[], Severity::Warning, "events may be missing: not attached");
        check_gap(None, &[("RTC_CHANGE", 1)], Severity::Error, "1 event is missing (1 RTC_CHANGE): not attached");
        check_gap(
            None,
            &[("A", 1), ("B", 2), ("C", u64::MAX), ("SHUTDOWN", 1)],
            Severity::Error,
            "18446744073709551615 events are missing (1 A, 2 B, 18446744073709551615 C, …): not attached",
        );
    }
}
