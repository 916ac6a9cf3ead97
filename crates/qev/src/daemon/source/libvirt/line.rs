//! The lines that `virsh qemu-monitor-event --loop --timestamp` prints.
//!
//! ```text
//! 2026-11-22 12:43:40.193+0000: event RESET for domain 'lv1': {"guest":false,"reason":"host-qmp-system-reset"}
//! 2026-11-22 12:43:40.133+0000: event STOP for domain 'lv1': <null>
//! events received: 2
//! ```
//!
//! The time is the event's own, to the millisecond. The name of a domain stands there as it is, quotes included, so the
//! place where it ends is the first after which all the rest is data.

use qev_qmp::{Event, EventName, Json, Timestamp};
use qev_record::time::from_rfc3339;

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// An event of a domain.
    Event {
        /// The domain's name.
        domain: String,
        /// What its QEMU said.
        event: Event,
    },
    /// What `virsh` says about itself, and nothing is lost by.
    Chatter,
    /// Something else: it may have been an event.
    Odd,
}

/// What this line is, which has no end any more.
pub(super) fn parse(line: &str) -> Line {
    if line.trim().is_empty() || line.starts_with("events received: ") {
        return Line::Chatter;
    }
    event(line).unwrap_or(Line::Odd)
}

fn event(line: &str) -> Option<Line> {
    let (time, rest) = line.split_once(": event ")?;
    let timestamp = from_rfc3339(time)?;
    let (name, rest) = rest.split_once(" for domain '")?;
    if name.is_empty() || name.contains(' ') {
        return None;
    }
    let mut ends = rest.match_indices("': ");
    let (domain, data) = ends.find_map(|(at, end)| {
        let data = rest.get(at + end.len()..)?;
        let data = match data {
            "<null>" => None,
            text => Some(Json::parse(text).ok().filter(|json| json.value().as_object().is_some())?),
        };
        Some((rest.get(..at)?, data))
    })?;
    let event = Event { timestamp: Some(millis(timestamp)), name: EventName::from(name), data, extra: None };
    Some(Line::Event { domain: domain.to_owned(), event })
}

/// What is finer than a millisecond, `virsh` does not know.
fn millis(time: Timestamp) -> Timestamp {
    Timestamp { microseconds: time.microseconds / 1000 * 1000, ..time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORDED: &str = include_str!("../../../../../qmp/tests/data/recordings/libvirt-virsh.txt");

    fn check(line: &str, domain: &str, name: &str, data: Option<&str>) {
        let Line::Event { domain: found, event } = parse(line) else { panic!("no event: {line}") };
        assert_eq!(found, domain, "{line}");
        assert_eq!(event.name.as_str(), name, "{line}");
        assert_eq!(event.data.as_ref().map(Json::as_text), data, "{line}");
        let time = event.timestamp.map(|time| time.microseconds % 1000);
        assert_eq!(time, Some(0), "{line}");
    }

    #[test]
    fn every_line_that_a_real_virsh_printed_is_an_event() {
        assert_eq!(RECORDED.lines().count(), 5);
        for line in RECORDED.lines() {
            assert!(matches!(parse(line), Line::Event { .. }), "{line}");
        }
        let Line::Event { event, .. } = parse(RECORDED.lines().nth(2).unwrap()) else { panic!("an event") };
        assert_eq!(event.timestamp, Some(Timestamp { seconds: 1_795_351_420, microseconds: 193_000 }));
        assert_eq!(event.data.unwrap().as_text(), r#"{"guest":false,"reason":"host-qmp-system-reset"}"#);
    }

    #[test]
    fn a_name_may_hold_what_stands_around_it() {
        let time = "2026-11-22 12:43:40.133+0000";
        check(&format!("{time}: event STOP for domain 'lv's 1': <null>"), "lv's 1", "STOP", None);
        check(
            &format!("{time}: event STOP for domain 'a': event B for domain 'b': <null>"),
            "a': event B for domain 'b",
            "STOP",
            None,
        );
        check(
            &format!(r#"{time}: event X for domain 'a': {{"b":"': <null>"}}"#),
            "a",
            "X",
            Some(r#"{"b":"': <null>"}"#),
        );
        check(&format!("{time}: event X for domain 'a': 7': {{}}"), "a': 7", "X", Some("{}"));
    }

    #[test]
    fn what_is_no_event_is_odd_unless_it_is_known_to_be_none() {
        for line in ["", "  ", "events received: 12"] {
            assert_eq!(parse(line), Line::Chatter, "{line}");
        }
        for line in [
            "hello",
            "2026-11-22 12:43:40.133+0000: event STOP for domain 'lv1': ",
            "2026-11-22 12:43:40.133+0000: event STOP for domain 'lv1': {\"a\":",
            "2026-11-22 12:43:40.133+0000: event STOP for domain 'lv1': 7",
            "2026-11-22 12:43:40.133+0000: event  for domain 'lv1': <null>",
            "yesterday: event STOP for domain 'lv1': <null>",
            "event STOP for domain 'lv1': <null>",
        ] {
            assert_eq!(parse(line), Line::Odd, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>(), cut in 0_usize..120) {
            parse(&line);
            let real = RECORDED.lines().nth(2).unwrap();
            parse(&format!("{}{line}", real.get(..cut).unwrap_or(real)));
        }
    }
}
