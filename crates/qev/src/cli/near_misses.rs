//! Events that came, had a name that was waited for, and did not meet the conditions: what is said of them when the time
//! is over. That nothing came would be wrong, and the value that came is often the answer.

use qev_qmp::EventName;
use qev_record::{Filter, Kind, Record, plain};
use std::collections::BTreeMap;

/// How many names of events are counted apart. Events of further names are not counted.
const NAMES: usize = 16;

/// What came beside what was waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct NearMisses {
    seen: BTreeMap<EventName, Seen>,
}

/// The events of one name.
#[derive(Clone, Debug)]
struct Seen {
    count: u64,
    /// How the last one was not as it was to be.
    last: String,
}

impl NearMisses {
    /// Looks at a record that may be a near miss of a filter.
    pub(crate) fn look_at(&mut self, filter: &Filter, record: &Record) {
        let Some(event) = record.event.as_ref().filter(|_| record.kind == Kind::Event) else { return };
        let by_name = Filter { events: filter.events.clone(), machines: filter.machines.clone(), ..Filter::default() };
        if filter.events.is_empty() || !by_name.matches(record) || filter.matches(record) {
            return;
        }
        let is_new = !self.seen.contains_key(event);
        if is_new && self.seen.len() >= NAMES {
            return;
        }
        let seen = self.seen.entry(event.clone()).or_insert(Seen { count: 0, last: String::new() });
        seen.count = seen.count.saturating_add(1);
        seen.last = difference(filter, record);
    }

    /// What is to be said of them behind another sentence; empty when there is nothing.
    pub(crate) fn sentence(&self) -> String {
        let sentences = self.seen.iter().map(|(event, Seen { count, last })| {
            let event = plain::name(event.as_str());
            match count {
                1 => format!("; {event} came once, {last}"),
                count => format!("; {event} came {count} times, the last {last}"),
            }
        });
        sentences.collect()
    }
}

/// How a record differs from what a filter asks for: `with data.actual=5 and without data.id`.
fn difference(filter: &Filter, record: &Record) -> String {
    let mut with = Vec::new();
    for condition in filter.wheres.iter().filter(|condition| !condition.matches(record)) {
        let path = plain::name(condition.path());
        with.push(match condition.found_in(record) {
            Some(value) => format!("with {path}={}", plain::name(&value)),
            None => format!("without {path}"),
        });
    }
    if filter.severity.is_some_and(|severity| record.severity < severity) {
        with.push(format!("of severity {}", record.severity));
    }
    if let Some(text) = filter.text.as_ref().filter(|text| !text.matches(record)) {
        with.push(format!("without the text '{}'", plain::name(&text.to_string())));
    }
    with.join(" and ")
}

/// What a filter waits for: `A or B with data.x=1 and data.y!=2`.
pub(crate) fn wanted(filter: &Filter) -> String {
    let name = |text: String| plain::name(&text).to_string();
    let names: Vec<String> = filter.events.iter().map(|glob| name(glob.to_string())).collect();
    let wheres: Vec<String> = filter.wheres.iter().map(|condition| name(condition.to_string())).collect();
    let names = if names.is_empty() { "event".to_owned() } else { names.join(" or ") };
    match wheres.is_empty() {
        true => names,
        false => format!("{names} with {}", wheres.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::{Message, Timestamp};

    fn record(line: &str) -> Record {
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
        Record::event("h1", "vm1", Timestamp::from_micros(0), &event)
    }

    fn filter(events: &[&str], wheres: &[&str]) -> Filter {
        Filter {
            events: events.iter().map(|glob| glob.parse().unwrap()).collect(),
            wheres: wheres.iter().map(|condition| condition.parse().unwrap()).collect(),
            ..Filter::default()
        }
    }

    fn check(filter: &Filter, lines: &[&str], expected: &str) {
        let mut near = NearMisses::default();
        lines.iter().for_each(|line| near.look_at(filter, &record(line)));
        assert_eq!(near.sentence(), expected, "{lines:?}");
    }

    const BALLOON: [&str; 3] = [
        r#"{"event": "BALLOON_CHANGE", "data": {"actual": 4}}"#,
        r#"{"event": "BALLOON_CHANGE", "data": {"actual": 5}}"#,
        r#"{"event": "BALLOON_CHANGE", "data": {"actual": 400000000}}"#,
    ];

    #[test]
    fn tells_how_often_it_came_and_with_which_value_last() {
        let wanted = filter(&["BALLOON_CHANGE"], &["data.actual=400000001"]);
        check(&wanted, &BALLOON[..1], "; BALLOON_CHANGE came once, with data.actual=4");
        check(&wanted, &BALLOON, "; BALLOON_CHANGE came 3 times, the last with data.actual=400000000");
        check(&wanted, &[r#"{"event": "STOP"}"#], "");
        let deleted = filter(&["DEVICE_*"], &["data.device=d1", "data.path!=/x"]);
        let line = r#"{"event": "DEVICE_DELETED", "data": {"path": "/x"}}"#;
        check(&deleted, &[line], "; DEVICE_DELETED came once, without data.device and with data.path=/x");
    }

    #[test]
    fn what_was_waited_for_is_no_near_miss() {
        check(&filter(&["BALLOON_CHANGE"], &["data.actual=4"]), &BALLOON[..1], "");
        check(&filter(&[], &["data.actual=1"]), &BALLOON, "");
    }

    #[test]
    fn names_are_counted_up_to_a_limit() {
        let mut near = NearMisses::default();
        for n in 0..100 {
            near.look_at(&filter(&["*"], &["data.x=1"]), &record(&format!(r#"{{"event": "E{n}"}}"#)));
        }
        assert_eq!(near.seen.len(), NAMES);
    }

    #[test]
    fn what_is_waited_for_is_told_with_its_conditions() {
        assert_eq!(wanted(&filter(&["A", "B_*"], &[])), "A or B_*");
        assert_eq!(wanted(&filter(&["A"], &["data.x=1", "data.y!=2"])), "A with data.x=1 and data.y!=2");
    }
}
