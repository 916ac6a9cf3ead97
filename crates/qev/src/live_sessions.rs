//! Which processes of a machine are there at the same time, as far as records tell: in a migration on one host two QEMUs have
//! one name, and a line of text has to say which of them it is about.

use qev_record::{Kind, Record};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many machines are remembered, and how many sessions of each. At either limit those that are known are forgotten.
const MACHINES: usize = 16_384;
const SESSIONS: usize = 16;

/// The sessions of each machine of which a record was seen, and none that they ended.
#[derive(Debug, Default)]
pub(crate) struct LiveSessions {
    by_machine: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

impl LiveSessions {
    /// Takes note of a record, and returns what tells its session from others of a machine of this name that are there: its
    /// process. `None` while there is no other.
    pub(crate) fn tell_apart(&mut self, record: &Record) -> Option<String> {
        let session = record.session.as_ref()?;
        if self.by_machine.len() >= MACHINES && !self.by_machine.contains_key(&record.machine) {
            self.by_machine.clear();
        }
        let live = self.by_machine.entry(Arc::clone(&record.machine)).or_default();
        if !live.contains(session) {
            if live.len() >= SESSIONS {
                live.clear();
            }
            live.push(Arc::clone(session));
        }
        let are_several = live.len() > 1;
        if record.kind == Kind::Detached {
            live.retain(|other| other != session);
            if live.is_empty() {
                self.by_machine.remove(&record.machine);
            }
        }
        // Of `pid-4711@99` people need the process.
        are_several.then(|| session.split('@').next().unwrap_or_default().replacen("pid-", "", 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Timestamp;

    const AT: Timestamp = Timestamp { seconds: 1, microseconds: 0 };

    fn of(mut record: Record, session: &str) -> Record {
        record.session = Some(session.into());
        record
    }

    fn attached(session: &str) -> Record {
        of(Record::attached("h1", "web1", AT), session)
    }

    fn detached(session: &str) -> Record {
        of(Record::detached("h1", "web1", AT, "it ended"), session)
    }

    #[test]
    fn a_session_is_told_from_others_while_they_are_there() {
        let mut live = LiveSessions::default();
        let story = [
            (attached("pid-1@1"), None),
            (Record::attached("h1", "web1", AT), None),
            // One that ended, and the next.
            (detached("pid-1@1"), None),
            (attached("pid-2@2"), None),
            // The target of a migration, until the source ends.
            (attached("pid-3@3"), Some("3")),
            (attached("pid-2@2"), Some("2")),
            (detached("pid-2@2"), Some("2")),
            (attached("pid-3@3"), None),
            (detached("pid-3@3"), None),
        ];
        for (record, expected) in story {
            assert_eq!(live.tell_apart(&record).as_deref(), expected, "{record:?}");
        }
        assert!(live.by_machine.is_empty());
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut live = LiveSessions::default();
        for n in 0..3 * SESSIONS {
            live.tell_apart(&attached(&format!("pid-{n}@{n}")));
        }
        assert!(live.by_machine.values().all(|sessions| sessions.len() <= SESSIONS));
        for n in 0..=MACHINES {
            live.tell_apart(&of(Record::attached("h1", format!("vm{n}"), AT), "pid-1@1"));
        }
        assert!(live.by_machine.len() <= MACHINES);
    }
}
