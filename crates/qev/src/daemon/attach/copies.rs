//! Which events are copies: every monitor of a QEMU says the same, in the same order, and each event is recorded once.
//!
//! ```text
//!   events:        e1 e2 e3 e4 e5
//!   monitor 1 said ────────────┘       recorded from it: e1 … e5
//!   monitor 2 said ──────┘             e4, e5 are awaited from it, and are copies when they come
//! ```
//!
//! An event that a monitor says and that is not awaited from it is news, and then nothing older can come from that monitor.
//! So the monitor that is ahead is the one that is recorded from, whichever that is, and it does not matter which ends first.

use crate::daemon::sessions::MonitorId;
use qev_qmp::{Event, Json};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

/// How many events are awaited from one monitor, and remembered for one that is on its way. Of a monitor that is further
/// behind, older events are recorded a second time.
const REMEMBERED: usize = 4096;

/// The events that are still to come from each monitor.
#[derive(Debug, Default)]
pub(super) struct Copies {
    hashes: RandomState,
    /// What was recorded since a monitor was announced, for when it is there.
    recent: VecDeque<u64>,
    awaited: BTreeMap<MonitorId, VecDeque<u64>>,
}

impl Copies {
    /// The monitor from which everything was recorded so far: nothing is awaited from it.
    pub(super) fn begin(&mut self, monitor: MonitorId) {
        self.awaited.entry(monitor).or_default();
    }

    /// A further monitor is there. It may say again what was recorded since it was announced.
    pub(super) fn join(&mut self, monitor: MonitorId) {
        self.awaited.insert(monitor, self.recent.clone());
    }

    pub(super) fn leave(&mut self, monitor: MonitorId) {
        self.awaited.remove(&monitor);
    }

    /// No monitor is on its way.
    pub(super) fn none_joins(&mut self) {
        if !self.recent.is_empty() {
            self.recent = VecDeque::new();
        }
        if self.awaited.len() == 1 && self.awaited.values().all(VecDeque::is_empty) {
            self.awaited = BTreeMap::new();
        }
    }

    /// Whether there is one monitor, which says nothing that was recorded already.
    pub(super) fn is_idle(&self) -> bool {
        self.recent.is_empty() && self.awaited.is_empty()
    }

    /// Whether this event, which this monitor said, was not recorded yet. It is from now on.
    pub(super) fn is_news(&mut self, monitor: MonitorId, event: &Event) -> bool {
        let hash = self.hash(event);
        if let Some(awaited) = self.awaited.get_mut(&monitor) {
            if let Some(at) = awaited.iter().position(|other| *other == hash) {
                // What was to come before it will not come: it was said before this monitor listened.
                awaited.drain(..=at);
                return false;
            }
            awaited.clear();
        }
        push(&mut self.recent, hash);
        for (_, awaited) in self.awaited.iter_mut().filter(|(other, _)| **other != monitor) {
            push(awaited, hash);
        }
        true
    }

    /// Equal for copies. One monitor may print JSON with more spaces than another.
    fn hash(&self, event: &Event) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        event.name.as_str().hash(&mut hasher);
        event.timestamp.map(|time| (time.seconds, time.microseconds)).hash(&mut hasher);
        for json in [&event.data, &event.extra] {
            let text = json.as_ref().map(Json::as_text).unwrap_or_default();
            text.split_ascii_whitespace().for_each(|part| hasher.write(part.as_bytes()));
            hasher.write_u8(0xFF);
        }
        hasher.finish()
    }
}

/// At the limit the oldest goes.
fn push(hashes: &mut VecDeque<u64>, hash: u64) {
    if hashes.len() >= REMEMBERED {
        hashes.pop_front();
    }
    hashes.push_back(hash);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qev_qmp::Message;

    fn event(line: &str) -> Event {
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    fn numbered(n: usize) -> Event {
        event(&format!(r#"{{"event": "BALLOON_CHANGE", "data": {{"actual": {n}}}}}"#))
    }

    const ONE: MonitorId = MonitorId(1);
    const TWO: MonitorId = MonitorId(2);

    #[test]
    fn a_copy_is_known_by_what_it_says_and_not_by_its_spaces() {
        let mut copies = Copies::default();
        copies.begin(ONE);
        copies.join(TWO);
        let plain = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#;
        let pretty = "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"RESET\", \"data\": {\n    \"guest\": true,\n    \"reason\": \"guest-reset\"\n}}";
        assert!(copies.is_news(ONE, &event(plain)));
        assert!(!copies.is_news(TWO, &event(pretty)));
        let later = plain.replace("microseconds\": 2", "microseconds\": 3");
        assert!(copies.is_news(TWO, &event(&later)));
        assert!(!copies.is_news(ONE, &event(&later)));
        // The same twice is said twice.
        assert!(copies.is_news(ONE, &event(plain)) && copies.is_news(ONE, &event(plain)));
        assert!(!copies.is_news(TWO, &event(plain)) && !copies.is_news(TWO, &event(plain)));
        assert!(copies.is_news(TWO, &event(plain)));
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut copies = Copies::default();
        copies.begin(ONE);
        copies.join(TWO);
        (0..3 * REMEMBERED).for_each(|n| assert!(copies.is_news(ONE, &numbered(n))));
        assert_eq!((copies.recent.len(), copies.awaited[&TWO].len()), (REMEMBERED, REMEMBERED));
        copies.leave(ONE);
        copies.none_joins();
        assert!(!copies.is_idle(), "the second has still to say what the first said");
        assert!(!copies.is_news(TWO, &numbered(3 * REMEMBERED - 1)));
        copies.none_joins();
        assert!(copies.is_idle());
    }

    proptest! {
        /// Monitor 2 is announced at some event and listens from a later one on; both say what QEMU emits, in whatever turns.
        /// One of them ends.
        #[test]
        fn each_event_is_recorded_once_and_in_order(
            count in 1_usize..60, announced in 0_usize..60, listens in 0_usize..60, turns in prop::collection::vec(any::<bool>(), 0..120),
            first_ends in any::<bool>(), ends in 0_usize..60,
        ) {
            let mut copies = Copies::default();
            let (announced, mut said) = (announced.min(count), [0, 0]);
            let mut recorded = Vec::new();
            let mut say = |copies: &mut Copies, monitor: MonitorId, at: usize| {
                if copies.is_news(monitor, &numbered(at)) {
                    recorded.push(at);
                }
            };
            while said[0] < announced {
                say(&mut copies, ONE, said[0]);
                said[0] += 1;
            }
            copies.none_joins();
            // Until it is there, the first goes on, past what the second will say too.
            let listens = (announced + listens).min(count);
            let joined = (listens + turns.len() % 7).min(count);
            while said[0] < joined {
                say(&mut copies, ONE, said[0]);
                said[0] += 1;
            }
            copies.begin(ONE);
            copies.join(TWO);
            said[1] = listens;
            let mut until = [count, count];
            until[usize::from(!first_ends)] = ends.min(count);
            for turn in turns.iter().copied().chain(std::iter::repeat_n(false, count)).chain(std::iter::repeat_n(true, count)) {
                let at = usize::from(turn);
                if said[at] < until[at] {
                    say(&mut copies, if turn { TWO } else { ONE }, said[at]);
                    said[at] += 1;
                }
            }
            let last = said[0].max(said[1]);
            prop_assert_eq!(recorded, (0..last).collect::<Vec<_>>());
        }
    }
}
