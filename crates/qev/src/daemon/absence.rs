//! Since when nobody listens to each machine: what makes the gap when it is attached again.
//!
//! The journal remembers across restarts. A session that is open there was attached when the last daemon died, and nobody said
//! since when it was not: it has been heard until shortly before the journal's last record. Which sessions are open the journal
//! knows whether it still has their records or not. A machine without one, whose last record of that kind is `detached`, was
//! let go then.
//!
//! A daemon that ends in order and leaves its monitors with the service manager says nothing either, for it cannot know
//! whether it is stopped or restarted. When the manager gives nothing back to the next one, that was the end: it looks the
//! same from here, and is told the same way.
//!
//! ```text
//!   at start:  journal ─► detached at T         ─┐              attached again
//!                         attached, then nothing ─┼─► absent ─────────────────────► a gap from T, then attached
//!   at its end: detached at T ───────────────────┘     │
//!                                                      │ attached when the last daemon died, and not back in 10 s
//!                                                      └───────────────────────────► a gap from T, then detached
//! ```

use super::identity::Identity;
use super::roster::MachineStatus;
use qev_journal::{OpenSessions, Query, ReadError, Reader};
use qev_qmp::Timestamp;
use qev_record::{Filter, Kind, Record, Where};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How many absent machines are remembered.
const REMEMBERED: usize = 1 << 16;

/// How far the journal is read back for machines that were let go. One that was let go before that is not shown.
const READ_BACK: u64 = 1 << 20;

/// A daemon that waits longer than this for its journal drops events, and counts them: so what came that long before its
/// last record is in the journal.
const COMMITTED_WITHIN: i64 = 5_000_000;

/// What is said of a machine that was attached when the last daemon died.
pub(crate) const NOT_BACK: &str = "it did not come back after qev was started again";

/// Which machines are absent, and since when. Clones are for the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Absences {
    absent: Arc<Mutex<BTreeMap<Arc<str>, Absence>>>,
    /// Whether the journal has been asked.
    known: Arc<watch::Sender<bool>>,
}

/// A machine that nobody listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    /// Which one.
    pub(crate) identity: Identity,
    /// The last moment at which nothing was missing.
    pub(crate) since: Timestamp,
    /// The last daemon died without saying that it let go of the machine.
    pub(crate) unsaid: bool,
    /// Which process it was then.
    pub(crate) session: Option<Arc<str>>,
    /// Why it was let go, as the journal has it.
    pub(crate) reason: Option<String>,
}

/// What the journal knows of machines.
#[derive(Debug)]
pub(crate) struct Known {
    /// Each session that was attached when the last daemon died, and each machine that was let go.
    pub(crate) absences: Vec<Absence>,
    /// What of the journal could not be read. It may have had more.
    pub(crate) problems: Vec<ReadError>,
}

/// Asks the journal which sessions are open, and which machines were let go.
///
/// # Errors
///
/// When the journal's directory cannot be read.
pub(crate) fn in_journal(reader: &Reader) -> Result<Known, ReadError> {
    let OpenSessions { attached, heard, mut problems, .. } = reader.open_sessions()?;
    let newest = Query { newest_first: true, limit: Some(1), ..Query::default() };
    let last = reader.records(&newest).find_map(Result::ok).and_then(|record| record.seq).unwrap_or_default();
    let filter = Filter { wheres: "kind=detached".parse::<Where>().into_iter().collect(), ..Filter::default() };
    let after = Some(last.saturating_sub(READ_BACK));
    let mut let_go: BTreeMap<Arc<str>, Record> = BTreeMap::new();
    for record in reader.records(&Query { filter, after, ..Query::default() }) {
        match record {
            Ok(record) => drop(let_go.insert(Identity::of_record(&record).key(), record)),
            Err(error) => problems.push(error),
        }
    }
    for record in &attached {
        let_go.remove(&Identity::of_record(record).key());
    }
    let records = let_go.into_values().chain(attached);
    Ok(Known { absences: records.map(|record| Absence::from_record(record, heard)).collect(), problems })
}

impl Absence {
    /// What follows from a machine's last record, where the journal had everything until `heard`.
    fn from_record(record: Record, heard: Option<Timestamp>) -> Absence {
        let unsaid = record.kind == Kind::Attached;
        let heard = heard
            .and_then(Timestamp::micros)
            .and_then(|heard| heard.checked_sub(COMMITTED_WITHIN))
            .map(Timestamp::from_micros);
        let since = match heard {
            Some(heard) if unsaid => heard.max(record.received),
            _ => record.received,
        };
        let identity = Identity::of_record(&record);
        Absence { identity, since, unsaid, session: record.session, reason: record.reason.map(String::from) }
    }
}

impl Absence {
    /// The machine as it is shown where no daemon runs to be asked.
    pub(crate) fn into_status_without_a_daemon(self) -> MachineStatus {
        let (state, note) = match self.unsaid {
            true => ("unknown", "attached when qev was last running, and no qev runs now"),
            false => ("gone", "no qev runs now"),
        };
        self.into_status(state, note.to_owned())
    }

    /// The machine as it is shown when it is not back.
    pub(crate) fn into_gone(self) -> MachineStatus {
        let note = self.reason.clone().unwrap_or_else(|| NOT_BACK.to_owned());
        self.into_status("gone", note)
    }

    fn into_status(self, state: &'static str, note: String) -> MachineStatus {
        let name = Arc::clone(&self.identity.machine);
        MachineStatus {
            machine_id: self.identity.machine_id,
            session: self.session,
            way: "unknown",
            ..MachineStatus::not_attached(&name, state, self.since, String::new(), note)
        }
    }
}

impl Default for Absences {
    fn default() -> Absences {
        Absences { absent: Arc::default(), known: Arc::new(watch::Sender::new(false)) }
    }
}

impl Absences {
    /// The journal has said what it knows.
    pub(crate) fn learn(&self, absences: impl IntoIterator<Item = Absence>) {
        for absence in absences {
            self.put(absence);
        }
        self.known.send_replace(true);
    }

    /// Nobody listens to this machine any more.
    pub(crate) fn put(&self, absence: Absence) {
        let mut absent = self.lock();
        let key = absence.identity.key();
        match absent.get(&key) {
            // Of two sessions the one that was heard last counts.
            Some(other) if other.since >= absence.since => return,
            None if absent.len() >= REMEMBERED => {
                absent.pop_first();
            }
            _ => {}
        }
        absent.insert(key, absence);
    }

    /// The machine is attached: since when it was not, if it ever was. Waits until the journal has been asked.
    pub(crate) async fn take(&self, identity: &Identity) -> Option<Absence> {
        // The sender is in our own hands, so it cannot be gone.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
        self.lock().remove(&identity.key())
    }

    /// Those that were attached when the last daemon died, and did not come back until now. They are let go now.
    pub(crate) fn not_back(&self, now: Timestamp) -> Vec<Absence> {
        let mut found = Vec::new();
        for absence in self.lock().values_mut().filter(|absence| absence.unsaid) {
            found.push(absence.clone());
            absence.unsaid = false;
            absence.since = now;
        }
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Absence>> {
        // What is behind the lock is whole at every moment.
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn absent(machine: &str, since: i64, unsaid: bool) -> Absence {
        let identity = Identity { machine: machine.into(), machine_id: None };
        Absence { identity, since: Timestamp { seconds: since, microseconds: 0 }, unsaid, session: None, reason: None }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_has_been_away_since_it_was_last_heard_and_only_once() {
        let absences = Absences::default();
        let web1 = absent("web1", 0, false).identity;
        absences.put(absent("web1", 7, false));
        let early = tokio::time::timeout(Duration::from_secs(9), absences.take(&web1)).await;
        assert!(early.is_err(), "the journal may know more");
        absences.learn([absent("web1", 3, true), absent("db1", 5, true)]);
        assert_eq!(absences.take(&web1).await, Some(absent("web1", 7, false)));
        assert_eq!(absences.take(&web1).await, None);
    }

    #[tokio::test]
    async fn who_was_attached_when_the_last_daemon_died_and_is_not_back_is_let_go() {
        let absences = Absences::default();
        absences.learn([absent("web1", 3, true), absent("db1", 5, false)]);
        let now = Timestamp { seconds: 20, microseconds: 0 };
        assert_eq!(absences.not_back(now), [absent("web1", 3, true)]);
        assert_eq!(absences.not_back(now), []);
        assert_eq!(absences.take(&absent("web1", 0, false).identity).await, Some(absent("web1", 20, false)));
    }

    #[test]
    fn the_journal_knows_who_was_let_go_and_who_was_attached_when_the_daemon_died() {
        let at = |seconds| Timestamp { seconds, microseconds: 0 };
        let mut db1 = Record::attached("h1", "db1", at(4));
        db1.machine_id = Some("u1".into());
        let records = [
            Record::attached("h1", "web1", at(1)),
            Record::attached("h1", "web2", at(2)),
            Record::detached("h1", "web1", at(3), "the machine shut down"),
            db1,
            Record::detached("h1", "web2", at(5), "qev was stopped"),
            Record::attached("h1", "web2", at(6)),
            Record::detached("h1", "web3", at(30), "said by another"),
        ];
        let dir = std::env::temp_dir().join(format!("qev-absence-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let mut journal = qev_journal::Journal::open(&dir, qev_journal::Options::default()).unwrap();
        journal.append(&mut records.to_vec()).unwrap();
        let known = in_journal(&Reader::open(&dir).unwrap()).unwrap();
        assert!(known.problems.is_empty(), "{:?}", known.problems);
        let mut found = known.absences;
        found.sort_by(|one, other| one.identity.cmp(&other.identity));
        drop(journal);
        std::fs::remove_dir_all(&dir).unwrap();
        let db1 = Identity { machine: "db1".into(), machine_id: Some("u1".into()) };
        assert_eq!(
            found,
            [
                Absence { identity: db1, ..absent("", 25, true) },
                Absence { reason: Some("the machine shut down".to_owned()), ..absent("web1", 3, false) },
                absent("web2", 25, true),
                Absence { reason: Some("said by another".to_owned()), ..absent("web3", 30, false) },
            ]
        );
    }

    #[test]
    fn a_session_is_known_when_retention_has_deleted_its_record() {
        let at = |seconds| Timestamp { seconds, microseconds: 0 };
        let dir = std::env::temp_dir().join(format!("qev-absence-retained-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let second = Duration::from_secs(1);
        let options = qev_journal::Options::default().keep_age(5 * second).segment_age(2 * second);
        let mut journal = qev_journal::Journal::open(&dir, options).unwrap();
        journal.append(&mut [Record::attached("h1", "web1", at(1))]).unwrap();
        (1..80).for_each(|seconds| drop(journal.retain(at(seconds)).unwrap()));
        journal.heard(at(80)).unwrap();
        let reader = Reader::open(&dir).unwrap();
        let count = reader.records(&Query::default()).count();
        let found = in_journal(&reader).unwrap().absences;
        drop(journal);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!((count, found), (0, vec![absent("web1", 75, true)]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let absences = Absences::default();
        for number in 0..=REMEMBERED {
            absences.put(absent(&format!("vm{number}"), 1, false));
        }
        assert_eq!(absences.lock().len(), REMEMBERED);
    }
}
