//! What is counted of machines for `/metrics`: events, gaps, ends.
//!
//! Only what is on disk is counted, once. How many series there may be is bounded, since names come from machines:
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | series in all | 20,000 | those of machines that were not heard for an hour are forgotten; where that is not enough, counted with `machine="other"`, and in `qev_metrics_series_dropped_total` |
//! | series of a machine | 200 | counted with `event="other"` |
//! | a label | 64 characters, none of which acts | cut |

use super::machines::key;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use qev_qmp::{EventName, Timestamp};
use qev_record::{Kind, Record, Severity, plain};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// How many series there may be.
pub(crate) const SERIES: usize = 20_000;
pub(crate) const SERIES_OF_A_MACHINE: usize = 200;

/// A machine that was not counted for so long may be forgotten for others, and how often it is looked for such: seconds.
const QUIET: i64 = 3600;
const LOOK_AGAIN: i64 = 60;

/// What stands for what has no series of its own.
const OTHER: &str = "other";

/// A label's value: any text, cleaned and cut, written so that no reader takes its end for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(Arc<str>);

impl Label {
    pub(crate) fn new(text: &str) -> Label {
        Label(plain::name(text).to_string().into())
    }
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                c => encoder.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Labels of a series, by their names.
pub(crate) type Labels<const N: usize> = [(&'static str, Label); N];

/// The counters. Clones are for the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    events: Family<Labels<3>, Counter>,
    detached: Family<Labels<2>, Counter>,
    gaps: Family<Labels<1>, Counter>,
    journal_gaps: Counter,
    dropped: Counter,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Event(EventName, Severity),
    Detached(Severity),
    Gap,
}

impl What {
    fn of(record: &Record) -> Option<What> {
        match (&record.kind, &record.event) {
            (Kind::Event, Some(event)) => Some(What::Event(event.clone(), record.severity)),
            (Kind::Detached, _) => Some(What::Detached(record.severity)),
            (Kind::Gap, _) => Some(What::Gap),
            _ => None,
        }
    }

    /// The same, of an event without a series of its own.
    fn other(self) -> What {
        match self {
            What::Event(_, severity) => What::Event(EventName::from(OTHER), severity),
            what => what,
        }
    }

    /// The same, as one of all machines: only names that QEMU has are told apart.
    fn of_other(self) -> What {
        match self {
            What::Event(event, severity) if event.is_known() => What::Event(event, severity),
            what => what.other(),
        }
    }
}

impl Counted {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("qev_events", "Events that are in the journal, since qev was started", self.events.clone());
        registry.register(
            "qev_detached",
            "Machines whose monitor went away: critical is one that was killed",
            self.detached.clone(),
        );
        registry.register("qev_gaps", "Times in which events of a machine may be missing", self.gaps.clone());
        registry.register(
            "qev_journal_gaps",
            "Losses of records that were in the journal, by damage or removal of its files",
            self.journal_gaps.clone(),
        );
        registry.register(
            "qev_metrics_series_dropped",
            "Records that are counted with machine=other since there are too many series",
            self.dropped.clone(),
        );
    }

    /// What the one task that counts needs to do so.
    pub(crate) fn counting(&self) -> Counting {
        Counting { counted: self.clone(), machines: HashMap::new(), series: 0, most: SERIES, looked: None }
    }

    /// What has a counter has one no longer.
    fn forget(&self, machine: &Label, what: &What) {
        let machine = ("machine", machine.clone());
        match what {
            What::Event(event, severity) => {
                self.events.remove(&[machine, ("event", Label::new(event.as_str())), of(*severity)])
            }
            What::Detached(severity) => self.detached.remove(&[machine, of(*severity)]),
            What::Gap => self.gaps.remove(&[machine]),
        };
    }

    fn counter(&self, machine: &Label, what: &What) -> Counter {
        let machine = ("machine", machine.clone());
        match what {
            What::Event(event, severity) => {
                self.events.get_or_create_owned(&[machine, ("event", Label::new(event.as_str())), of(*severity)])
            }
            What::Detached(severity) => self.detached.get_or_create_owned(&[machine, of(*severity)]),
            What::Gap => self.gaps.get_or_create_owned(&[machine]),
        }
    }
}

fn of(severity: Severity) -> (&'static str, Label) {
    ("severity", Label::new(severity.as_str()))
}

/// The counters at hand, so that a record costs no label.
#[derive(Debug)]
pub(crate) struct Counting {
    counted: Counted,
    machines: HashMap<Arc<str>, OfMachine>,
    series: usize,
    most: usize,
    /// When it was last looked for machines to forget.
    looked: Option<Timestamp>,
}

#[derive(Debug)]
struct OfMachine {
    label: Label,
    /// When its last record was received.
    heard: Timestamp,
    counters: Vec<(What, Counter)>,
}

impl Counting {
    /// Counts a record, if it is one that is.
    pub(crate) fn count(&mut self, record: &Record) {
        if record.seq.is_none() {
            return;
        }
        let Some(mut what) = What::of(record) else { return };
        if !record.is_of_machine() {
            if what == What::Gap {
                self.counted.journal_gaps.inc();
            }
            return;
        }
        let machine = key(&record.machine);
        if let Some(of_machine) = self.machines.get_mut(&**machine) {
            of_machine.heard = record.received;
            if let Some(counter) = of_machine.counter(&what) {
                counter.inc();
                return;
            }
            if of_machine.counters.len() >= SERIES_OF_A_MACHINE {
                what = what.other();
                if let Some(counter) = of_machine.counter(&what) {
                    counter.inc();
                    return;
                }
            }
        }
        if self.series >= self.most {
            self.forget_quiet(record.received);
        }
        if self.series >= self.most {
            self.counted.dropped.inc();
            self.counted.counter(&Label::new(OTHER), &what.of_other()).inc();
            return;
        }
        if let What::Event(event, severity) = &what
            && event.as_str().len() > plain::NAME
        {
            // What is kept is no longer than what is shown of it.
            what = What::Event(EventName::from(&*plain::name(event.as_str()).to_string()), *severity);
        }
        let counted = &self.counted;
        let of_machine = self.machines.entry(machine.into_owned()).or_insert_with(|| OfMachine {
            label: Label::new(&record.machine),
            heard: record.received,
            counters: Vec::new(),
        });
        if let Some(counter) = of_machine.counter(&what) {
            counter.inc();
            return;
        }
        let counter = counted.counter(&of_machine.label, &what);
        counter.inc();
        of_machine.counters.push((what, counter));
        self.series = self.series.saturating_add(1);
    }

    /// Forgets the machines that were not heard for long: where machines come and go, those that are there are told.
    fn forget_quiet(&mut self, now: Timestamp) {
        let since = |time: Timestamp| now.seconds.saturating_sub(time.seconds);
        if self.looked.is_some_and(|looked| (0..LOOK_AGAIN).contains(&since(looked))) {
            return;
        }
        self.looked = Some(now);
        let is_quiet = |of_machine: &OfMachine| since(of_machine.heard) > QUIET;
        // Two names may look the same in a label: its series stays while one of them is there.
        let kept: HashSet<_> =
            self.machines.values().filter(|one| !is_quiet(one)).map(|one| one.label.clone()).collect();
        self.machines.retain(|_, of_machine| {
            let is_quiet = is_quiet(of_machine);
            if is_quiet {
                self.series = self.series.saturating_sub(of_machine.counters.len());
                for (what, _) in of_machine.counters.iter().filter(|_| !kept.contains(&of_machine.label)) {
                    self.counted.forget(&of_machine.label, what);
                }
            }
            !is_quiet
        });
    }
}

impl OfMachine {
    fn counter(&self, what: &What) -> Option<&Counter> {
        self.counters.iter().find(|(known, _)| known == what).map(|(_, counter)| counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::event;
    use prometheus_client::encoding::text::encode_registry;

    fn kept(mut record: Record) -> Record {
        record.seq = Some(1);
        record
    }

    fn text(counted: &Counted) -> Vec<String> {
        let mut registry = Registry::default();
        counted.register(&mut registry);
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn events_gaps_and_ends_are_counted_by_machine_once_they_are_on_disk() {
        let counted = Counted::default();
        let mut counting = counted.counting();
        for record in [event("a", "STOP", 1), kept(event("a", "STOP", 1)), kept(event("a", "GUEST_PANICKED", 2))] {
            counting.count(&record);
        }
        let at = Timestamp::from_micros(0);
        counting.count(&kept(Record::gap("h1", "a", at, qev_record::Gap::default(), "not attached")));
        counting.count(&kept(Record::gap("h1", "qev", at, qev_record::Gap::default(), "not attached")));
        counting.count(&kept(Record::gap_of_journal("h1", at, qev_record::Gap::default(), "a segment was damaged")));
        let mut killed = kept(Record::detached("h1", "b", at, "killed"));
        killed.severity = Severity::Critical;
        counting.count(&killed);
        counting.count(&kept(Record::attached("h1", "b", at)));
        assert_eq!(
            text(&counted),
            [
                r#"qev_detached_total{machine="b",severity="critical"} 1"#,
                r#"qev_events_total{machine="a",event="GUEST_PANICKED",severity="critical"} 1"#,
                r#"qev_events_total{machine="a",event="STOP",severity="notice"} 1"#,
                r#"qev_gaps_total{machine="a"} 1"#,
                r#"qev_gaps_total{machine="qev"} 1"#,
                "qev_journal_gaps_total 1",
                "qev_metrics_series_dropped_total 0",
            ]
        );
    }

    #[test]
    fn what_a_machine_calls_itself_cannot_end_its_label() {
        let counted = Counted::default();
        let mut counting = counted.counting();
        let name = "a\"} 1\nb\\\u{202e}";
        counting.count(&kept(event(name, "STOP", 1)));
        let expected = r#"qev_events_total{machine="a\"} 1\\nb\\\\u{202e}",event="STOP",severity="notice"} 1"#;
        assert_eq!(text(&counted)[0], expected);
    }

    #[test]
    fn one_machine_that_makes_up_events_does_not_take_the_room_of_the_others() {
        let counted = Counted::default();
        let mut counting = counted.counting();
        for n in 0..1000 {
            counting.count(&kept(event("a", &format!("EVENT_{n}{}", "x".repeat(70)), n)));
        }
        let lines = text(&counted);
        assert_eq!(counting.series, SERIES_OF_A_MACHINE + 1);
        let other = r#"qev_events_total{machine="a",event="other",severity="notice"} 800"#;
        assert!(lines.iter().any(|line| line == other), "{lines:#?}");
    }

    #[test]
    fn series_beyond_the_bound_are_counted_together_and_that_is_said() {
        let counted = Counted::default();
        let mut counting = Counting { most: 2, ..counted.counting() };
        for (machine, name) in [("a", "STOP"), ("b", "STOP"), ("c", "STOP"), ("c", "STOP"), ("d", "MADE_UP")] {
            counting.count(&kept(event(machine, name, 1)));
        }
        counting.count(&kept(event("a", "STOP", 1)));
        let name = |machine: &str, event: &str, n: u64| {
            format!(r#"qev_events_total{{machine="{machine}",event="{event}",severity="notice"}} {n}"#)
        };
        assert_eq!(
            text(&counted),
            [
                name("a", "STOP", 2),
                name("b", "STOP", 1),
                name("other", "STOP", 2),
                name("other", "other", 1),
                "qev_journal_gaps_total 0".to_owned(),
                "qev_metrics_series_dropped_total 3".to_owned(),
            ]
        );
        assert_eq!(counting.machines.len(), 2);
    }

    #[test]
    fn where_machines_come_and_go_those_that_are_gone_make_room() {
        let counted = Counted::default();
        let mut counting = Counting { most: 3, ..counted.counting() };
        let mut count = |machine: &str, seconds: i64| {
            let mut record = kept(event(machine, "STOP", 1));
            record.received = Timestamp { seconds, microseconds: 0 };
            counting.count(&record);
        };
        count("old", 0);
        count("quiet", 10);
        count("steady", 20);
        count("soon", 30);
        count("steady", 3650);
        // An hour and a bit later the two that were quiet are forgotten, the steady one is not.
        count("new", 3660);
        let name = |machine: &str, n: u64| {
            format!(r#"qev_events_total{{machine="{machine}",event="STOP",severity="notice"}} {n}"#)
        };
        assert_eq!(
            text(&counted),
            [
                name("new", 1),
                name("other", 1),
                name("steady", 2),
                "qev_journal_gaps_total 0".to_owned(),
                "qev_metrics_series_dropped_total 1".to_owned(),
            ]
        );
        assert_eq!(counting.series, 2);
    }
}
