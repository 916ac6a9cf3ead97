//! Which records somebody wants: by event, machine, severity, time, and by what stands in them.
//!
//! What is given of one sort is one wish: any of the event globs, any of the machine globs, all of the conditions.

mod condition;
mod glob;
mod lookup;
mod text_search;

pub use condition::{Operator, Where, WhereError};
pub use glob::{Glob, GlobError};
pub use text_search::{TextSearch, TextSearchError};

use crate::record::{Kind, Record};
use crate::severity::Severity;
use qev_qmp::Timestamp;

/// Which records are wanted. The default is: all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Names of events, any of them, in upper or lower case. A record of another kind than [`Kind::Event`] has none,
    /// and is not wanted when events are named; see [`Filter::may_miss`].
    pub events: Vec<Glob>,
    /// Conditions, all of them.
    pub wheres: Vec<Where>,
    /// Names or identities of machines, any of them.
    pub machines: Vec<Glob>,
    /// This severity and above.
    pub severity: Option<Severity>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received at this time or earlier.
    pub until: Option<Timestamp>,
    /// Records that have this text; see [`TextSearch`].
    pub text: Option<TextSearch>,
    /// Gaps, too, that may hide what is wanted ([`Filter::may_miss`]), whatever is asked of the events.
    pub gaps: bool,
}

/// Members of a record that are an event's: a gap has none of them, and may hide those.
const OF_EVENTS: [&str; 7] = ["event", "data", "timestamp", "extra", "departs", "severity", "summary"];

impl Filter {
    /// Whether a record is wanted. The cheap questions come first.
    pub fn matches(&self, record: &Record) -> bool {
        if self.gaps && self.may_miss(record) {
            let mut conditions = self.wheres.iter().filter(|condition| !OF_EVENTS.contains(&condition.member()));
            return conditions.all(|condition| condition.matches(record));
        }
        self.severity.is_none_or(|severity| record.severity >= severity)
            && self.in_time(record)
            && self.names_event(record)
            && self.names_machine(record)
            && self.wheres.iter().all(|condition| condition.matches(record))
            && self.text.as_ref().is_none_or(|text| text.matches(record))
    }

    /// Whether a gap may hide records that are wanted: one of the wanted machines or of the journal itself, in the wanted
    /// time, where nothing is known about what is missing or a wanted event is. Who waits for an event should be told.
    pub fn may_miss(&self, record: &Record) -> bool {
        record.kind == Kind::Gap
            && self.in_time(record)
            && (self.names_machine(record) || !record.is_of_machine())
            && (self.events.is_empty()
                || record.missed.is_empty()
                || record.missed.keys().any(|name| any_event(&self.events, name.as_str())))
    }

    fn in_time(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.received >= since)
            && self.until.is_none_or(|until| record.received <= until)
    }

    fn names_event(&self, record: &Record) -> bool {
        self.events.is_empty() || record.event.as_ref().is_some_and(|name| any_event(&self.events, name.as_str()))
    }

    fn names_machine(&self, record: &Record) -> bool {
        let is_one = |name: &str| self.machines.iter().any(|glob| glob.matches(name));
        self.machines.is_empty() || is_one(&record.machine) || record.machine_id.as_deref().is_some_and(is_one)
    }
}

fn any_event(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches_ignoring_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Gap;
    use qev_qmp::{Event, Message};

    const AT: Timestamp = Timestamp { seconds: 1_795_347_310, microseconds: 942_911 };

    fn event(line: &str) -> Event {
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    fn panicked() -> Record {
        let mut record =
            Record::event("h1", "web1", AT, &event(r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#));
        record.machine_id = Some("7f3c".into());
        record
    }

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
    }

    fn check(filter: &Filter, expected: bool) {
        assert_eq!(filter.matches(&panicked()), expected, "{filter:?}");
    }

    #[test]
    fn nothing_asked_for_is_everything() {
        check(&Filter::default(), true);
    }

    #[test]
    fn gaps_that_may_hide_what_is_wanted_are_wanted_when_that_is_asked_for() {
        let gap = |missed: &[&str]| {
            let missed = missed.iter().map(|name| ((*name).into(), 1)).collect();
            Record::gap("h1", "web1", AT, Gap { missed, ..Gap::default() }, "not attached")
        };
        let wheres = |text: &str| vec!["data.action=pause".parse().unwrap(), text.parse().unwrap()];
        let filter = Filter { events: globs(&["GUEST_*"]), gaps: true, ..Filter::default() };
        let on = |text: &str| Filter { wheres: wheres(text), severity: Some(Severity::Critical), ..filter.clone() };
        assert!(filter.matches(&gap(&[])) && filter.matches(&gap(&["STOP", "GUEST_PANICKED"])));
        assert!(!filter.matches(&gap(&["STOP"])));
        assert!(on("host=h1").matches(&gap(&[])) && !on("host=h2").matches(&gap(&[])));
        assert!(!on("kind=event").matches(&gap(&[])), "who asks for events wants events");
        let of_db = Filter { machines: globs(&["db*"]), ..filter.clone() };
        assert!(!of_db.matches(&gap(&[])));
        let of_journal = Record::gap_of_journal("h1", AT, Gap::default(), "a segment was damaged");
        assert!(of_db.matches(&of_journal), "the journal may have lost records of any machine");
        assert!(!Filter { gaps: false, events: Vec::new(), ..of_db }.matches(&of_journal));
        assert!(!Filter { gaps: false, ..filter.clone() }.matches(&gap(&[])));
        assert!(!filter.matches(&Record::attached("h1", "web1", AT)));
        check(&filter, true);
    }

    #[test]
    fn events_are_any_of_those_named() {
        let named = |patterns| Filter { events: globs(patterns), ..Filter::default() };
        check(&named(&["SHUTDOWN", "GUEST_*"]), true);
        check(&named(&["guest_panicked"]), true);
        check(&named(&["QUORUM_*"]), false);
        let attached = Record::attached("h1", "web1", AT);
        assert!(!named(&["*"]).matches(&attached));
        assert!(Filter::default().matches(&attached));
    }

    #[test]
    fn machines_are_any_of_those_named_by_name_or_identity() {
        let named = |patterns| Filter { machines: globs(patterns), ..Filter::default() };
        check(&named(&["db*", "web?"]), true);
        check(&named(&["7f3c"]), true);
        check(&named(&["WEB1"]), false);
    }

    #[test]
    fn conditions_are_all_met() {
        let wheres = |texts: &[&str]| Filter {
            wheres: texts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Filter::default()
        };
        check(&wheres(&["data.action=pause", "severity=critical"]), true);
        check(&wheres(&["data.action=pause", "severity=debug"]), false);
    }

    #[test]
    fn a_text_is_searched_for_beside_everything_else() {
        let text = |text: &str, events: &[&str]| Filter {
            text: Some(text.parse().unwrap()),
            events: globs(events),
            ..Filter::default()
        };
        check(&text("panicked", &[]), true);
        check(&text("panicked", &["STOP"]), false);
        check(&text("rebooted", &[]), false);
        let gap = Record::gap("h1", "web1", AT, Gap::default(), "not attached");
        assert!(Filter { gaps: true, ..text("panicked", &["GUEST_*"]) }.matches(&gap), "it may hide one");
    }

    #[test]
    fn severity_means_that_and_above() {
        for (severity, expected) in [(Severity::Debug, true), (Severity::Critical, true)] {
            check(&Filter { severity: Some(severity), ..Filter::default() }, expected);
        }
        let mut stop = Record::event("h1", "web1", AT, &event(r#"{"event": "STOP"}"#));
        let error = Filter { severity: Some(Severity::Error), ..Filter::default() };
        assert!(!error.matches(&stop));
        stop.severity = Severity::Critical;
        assert!(error.matches(&stop));
    }

    #[test]
    fn times_are_inclusive() {
        let before = Timestamp { seconds: AT.seconds - 1, ..AT };
        let span = |since, until| Filter { since, until, ..Filter::default() };
        check(&span(Some(AT), Some(AT)), true);
        check(&span(Some(before), None), true);
        check(&span(None, Some(before)), false);
    }

    #[test]
    fn a_gap_concerns_those_who_wait_for_what_may_be_in_it() {
        let wants = |patterns| Filter { events: globs(patterns), machines: globs(&["web1"]), ..Filter::default() };
        let gap = |machine: &str, missed: &[(&str, u64)]| {
            let missed = missed.iter().map(|(name, n)| ((*name).into(), *n)).collect();
            Record::gap("h1", machine, AT, Gap { missed, ..Gap::default() }, "not attached")
        };
        assert!(wants(&["SHUTDOWN"]).may_miss(&gap("web1", &[])));
        assert!(wants(&["SHUTDOWN"]).may_miss(&gap("web1", &[("SHUTDOWN", 1)])));
        assert!(!wants(&["SHUTDOWN"]).may_miss(&gap("web1", &[("RTC_CHANGE", 9)])));
        assert!(!wants(&["SHUTDOWN"]).may_miss(&gap("db1", &[])));
        assert!(!wants(&["*"]).may_miss(&panicked()));
    }
}
