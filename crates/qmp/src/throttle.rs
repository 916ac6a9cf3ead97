//! At most one event a second for each key: what keeps a guest from flooding its host.
//!
//! The first event of a key goes out at once. While its second runs, later ones replace each other; when it ends, the last
//! of them goes out, *with its own timestamp*, and another second begins. When one ends with nothing held, the key is
//! forgotten. So arrival order is not timestamp order, and counts of throttled events are lower bounds.
//!
//! The state belongs to a QEMU, not to one of its clients. The caller passes the time, as a duration since any fixed point.

use crate::event::{Event, EventName};
use crate::json::Json;
use crate::message::QemuVersion;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How long a key is held back.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Which member tells events of one name apart, and since when QEMU throttles them.
struct Rule {
    event: &'static str,
    since: QemuVersion,
    key: Option<(&'static str, QemuVersion)>,
}

const fn rule(event: &'static str, since: (i64, i64), key: Option<(&'static str, (i64, i64))>) -> Rule {
    let key = match key {
        Some((member, (major, minor))) => Some((member, QemuVersion::new(major, minor, 0))),
        None => None,
    };
    Rule { event, since: QemuVersion::new(since.0, since.1, 0), key }
}

const RULES: &[Rule] = &[
    rule("BALLOON_CHANGE", (1, 2), None),
    rule("BLOCK_IO_ERROR", (9, 2), Some(("qom-path", (9, 2)))),
    rule("HV_BALLOON_STATUS_REPORT", (8, 2), None),
    rule("MEMORY_DEVICE_SIZE_CHANGE", (5, 1), Some(("qom-path", (6, 2)))),
    rule("QUORUM_FAILURE", (2, 0), None),
    rule("QUORUM_REPORT_BAD", (2, 0), Some(("node-name", (2, 6)))),
    rule("RTC_CHANGE", (1, 2), None),
    rule("VSERPORT_CHANGE", (2, 1), Some(("id", (2, 5)))),
    rule("WATCHDOG", (1, 2), None),
];

/// Whether, and by which member beside the name, a QEMU of this version throttles an event: `None` for not at all.
pub fn throttle_key(event: &str, version: QemuVersion) -> Option<Option<&'static str>> {
    let rule = RULES.iter().find(|rule| rule.event == event && version >= rule.since)?;
    Some(rule.key.filter(|(_, since)| version >= *since).map(|(member, _)| member))
}

/// Holds events back as a QEMU of one version does.
#[derive(Debug)]
pub struct Throttle {
    version: QemuVersion,
    /// The keys whose second runs.
    held: HashMap<Key, Held>,
    /// When they end, in the order in which they began, which is that of their ends. An entry that does not agree with
    /// `held` any more means nothing.
    ends: VecDeque<(Duration, Key)>,
}

/// The event's name, and the member that tells events of this name apart.
type Key = (EventName, Option<Json>);

#[derive(Debug)]
struct Held {
    until: Duration,
    last: Option<Event>,
}

impl Throttle {
    /// The throttle of a QEMU of this version.
    pub fn new(version: QemuVersion) -> Throttle {
        Throttle { version, held: HashMap::new(), ends: VecDeque::new() }
    }

    /// An event happened: it is given back if it is to be sent now, and held if not. What is due is to be taken with
    /// [`Throttle::expire`] first, or this event overtakes it.
    #[must_use = "an event that is given back is to be sent"]
    pub fn push(&mut self, event: Event, now: Duration) -> Option<Event> {
        let Some(member) = throttle_key(event.name.as_str(), self.version) else {
            return Some(event);
        };
        let key = (event.name.clone(), member.and_then(|member| event.data.as_ref()?.get(member)));
        match self.held.get_mut(&key) {
            // Its second is over, and nothing was held: as if the key were forgotten already.
            Some(held) if held.until > now || held.last.is_some() => {
                held.last = Some(event);
                None
            }
            _ => {
                self.arm(key, now);
                Some(event)
            }
        }
    }

    /// When [`Throttle::expire`] has something to do next.
    pub fn deadline(&self) -> Option<Duration> {
        self.ends.front().map(|(until, _)| *until)
    }

    /// Time has passed: what was held long enough, in the order in which its second ended.
    #[must_use = "these events are to be sent"]
    pub fn expire(&mut self, now: Duration) -> Vec<Event> {
        let mut due = Vec::new();
        while self.deadline().is_some_and(|until| until <= now) {
            let Some((until, key)) = self.ends.pop_front() else { break };
            let Some(held) = self.held.get_mut(&key).filter(|held| held.until == until) else { continue };
            match held.last.take() {
                // The timer is armed again after each event that it lets out.
                Some(event) => {
                    due.push(event);
                    self.arm(key, now);
                }
                None => _ = self.held.remove(&key),
            }
        }
        due
    }

    fn arm(&mut self, key: Key, now: Duration) {
        let until = now + PERIOD;
        self.held.insert(key.clone(), Held { until, last: None });
        self.ends.push_back((until, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BalloonChange, OtherEvent};
    use crate::json::Object;
    use crate::{Dialect, Timestamp};

    const V7_2: QemuVersion = QemuVersion::new(7, 2, 22);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn balloon(mib: i64, at: u64) -> Event {
        let time = Timestamp::from_micros(i64::try_from(at).unwrap() * 1000);
        Event::new(&BalloonChange::new(mib << 20).into(), Some(time), Dialect::Qemu)
    }

    fn bad(node: &str, op: &str) -> Event {
        let data = Object::new().with("node-name", node).with("type", op);
        Event::new(&OtherEvent::new("QUORUM_REPORT_BAD", Some(data)).into(), None, Dialect::Qemu)
    }

    #[test]
    fn the_first_goes_out_at_once_and_the_last_of_a_second_when_it_ends() {
        let mut throttle = Throttle::new(V7_2);
        assert_eq!(throttle.push(balloon(255, 4), ms(4)), Some(balloon(255, 4)));
        assert_eq!(throttle.push(balloon(200, 100), ms(100)), None);
        assert_eq!(throttle.push(balloon(128, 300), ms(300)), None);
        assert_eq!(throttle.deadline(), Some(ms(1004)));
        assert_eq!(throttle.expire(ms(1003)), []);
        assert_eq!(throttle.expire(ms(1004)), [balloon(128, 300)]);
        assert_eq!(throttle.deadline(), Some(ms(2004)));
        // Another second runs; with nothing held at its end, the key is forgotten.
        assert_eq!(throttle.push(balloon(130, 1500), ms(1500)), None);
        assert_eq!(throttle.expire(ms(2004)), [balloon(130, 1500)]);
        assert_eq!(throttle.expire(ms(3004)), []);
        assert_eq!(throttle.deadline(), None);
        assert_eq!(throttle.push(balloon(131, 3005), ms(3005)), Some(balloon(131, 3005)));
    }

    #[test]
    fn each_child_of_a_quorum_has_a_second_of_its_own_whatever_it_was_doing() {
        let mut throttle = Throttle::new(V7_2);
        assert!(throttle.push(bad("c0", "read"), ms(0)).is_some());
        assert!(throttle.push(bad("c1", "read"), ms(0)).is_some());
        assert!(throttle.push(bad("c1", "write"), ms(1)).is_none());
        let mut old = Throttle::new(QemuVersion::new(2, 5, 0));
        assert!(old.push(bad("c0", "read"), ms(0)).is_some());
        assert!(old.push(bad("c1", "read"), ms(0)).is_none(), "no key before 2.6");
    }

    #[test]
    fn a_second_that_is_over_with_nothing_held_holds_nothing() {
        let mut throttle = Throttle::new(V7_2);
        assert!(throttle.push(balloon(255, 0), ms(0)).is_some());
        assert!(throttle.push(balloon(254, 1500), ms(1500)).is_some());
        assert!(throttle.push(balloon(253, 1600), ms(1600)).is_none());
        assert_eq!(throttle.expire(ms(2499)), []);
        assert_eq!(throttle.expire(ms(2500)), [balloon(253, 1600)]);
    }

    #[test]
    fn many_keys_end_in_the_order_in_which_they_began() {
        let mut throttle = Throttle::new(V7_2);
        let nodes: Vec<String> = (0..20_000).map(|i| format!("n{i}")).collect();
        for (i, node) in (0..).zip(&nodes) {
            assert!(throttle.push(bad(node, "read"), Duration::from_micros(i)).is_some());
            assert!(throttle.push(bad(node, "write"), Duration::from_micros(i)).is_none());
        }
        let expected: Vec<Event> = nodes.iter().map(|node| bad(node, "write")).collect();
        assert_eq!(throttle.expire(ms(1020)), expected);
        assert_eq!(throttle.expire(ms(2020)), []);
        assert_eq!(throttle.deadline(), None);
    }

    #[test]
    fn panics_and_ost_are_never_held() {
        let mut throttle = Throttle::new(V7_2);
        for name in ["GUEST_PANICKED", "ACPI_DEVICE_OST", "STOP", "SOMETHING_NEW"] {
            for _ in 0..3 {
                let event = Event::new(&OtherEvent::new(name, None).into(), None, Dialect::Qemu);
                assert!(throttle.push(event, ms(0)).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn the_table_is_qemus() {
        for (event, version, expected) in [
            ("WATCHDOG", (1, 2), Some(None)),
            ("RTC_CHANGE", (1, 1), None),
            ("QUORUM_REPORT_BAD", (2, 5), Some(None)),
            ("QUORUM_REPORT_BAD", (2, 6), Some(Some("node-name"))),
            ("BALLOON_CHANGE", (1, 1), None),
            ("BALLOON_CHANGE", (1, 2), Some(None)),
            ("QUORUM_FAILURE", (10, 2), Some(None)),
            ("VSERPORT_CHANGE", (2, 4), Some(None)),
            ("VSERPORT_CHANGE", (2, 5), Some(Some("id"))),
            ("BLOCK_IO_ERROR", (9, 1), None),
            ("BLOCK_IO_ERROR", (9, 2), Some(Some("qom-path"))),
            ("MEMORY_DEVICE_SIZE_CHANGE", (6, 1), Some(None)),
            ("STOP", (10, 2), None),
        ] {
            let version = QemuVersion::new(version.0, version.1, 0);
            assert_eq!(throttle_key(event, version), expected, "{event} {version}");
        }
    }
}
