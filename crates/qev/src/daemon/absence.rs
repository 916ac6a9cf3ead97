//! Since when nobody listens to each machine: what makes the gap when it is attached again.
//!
//! An absence is a session's: that of one process of a machine, and of the user whose process it is. Only that session can
//! end it. A process that did not exist missed nothing, so another process of the machine has a gap of its own at most: from
//! its start, when it was not attached then.
//!
//! ```text
//!   at start:  journal ─► detached at T         ─┐                    the session is attached again
//!                         attached, then nothing ─┼─► absent since T ─────────────────────────────► a gap from T, then attached
//!   at its end: detached at T ───────────────────┘       │
//!                                                        │ attached when the last daemon died, and not back in 10 s
//!                                                        └─────────────────────────────────────► a gap from T, then detached
//!
//!   another process of the machine is attached: a gap from its start, when that was before qev listened or long ago
//! ```
//!
//! The journal remembers across restarts. A session that is open there was attached when the last daemon died, and nobody said
//! since when it was not: it has been heard until shortly before the journal's last record. Which sessions are open the journal
//! knows whether it still has their records or not. A session whose last record is
//! `detached` was let go then.
//!
//! A daemon that ends in order and leaves its monitors with the service manager says nothing either, for it cannot know
//! whether it is stopped or restarted. When the manager gives nothing back to the next one, that was the end: it looks the
//! same from here, and is told the same way.
//!
//! Where no process is known (TCP, libvirt, another container), a session is told by the machine and the user alone, and it
//! has ended when the machine said that it shuts down.

use super::identity::Identity;
use super::roster::MachineStatus;
use super::session_id::{ProcessState, SessionId};
use crate::printer::now;
use qev_journal::{OpenSessions, Query, ReadError, Reader};
use qev_qmp::Timestamp;
use qev_record::{Filter, Gap, Kind, Record, Where};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How many absences are remembered, and how many of them of one machine.
const REMEMBERED: usize = 1 << 16;
const OF_ONE_MACHINE: usize = 16;

/// A process that is attached within this time, in microseconds, counts as attached from its start. It is how long a QEMU
/// takes on a busy host until it dials, or until its socket is found and connected to, which is tried every 10 s at least.
const START_WITHIN: i64 = 15_000_000;

/// How far the journal is read back for machines that were let go. One that was let go before that is not shown.
const READ_BACK: u64 = 1 << 20;

/// A daemon that waits longer than this for its journal drops events, and counts them: so what came that long before its
/// last record is in the journal.
const COMMITTED_WITHIN: i64 = 5_000_000;

/// What is said of a machine that was attached when the last daemon died.
const NOT_BACK: &str = "it did not come back after qev was started again";

/// How the reason of a `detached` record begins when the machine said that it shuts down.
pub(crate) const SHUT_DOWN: &str = "the machine shut down";

/// Which machines are absent, and since when. Clones are for the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Absences {
    absent: Arc<Mutex<Absent>>,
    /// Whether the journal has been asked.
    known: Arc<watch::Sender<bool>>,
    /// Since when this daemon can be dialled and dials. A process that started earlier was not listened to at first.
    listening_since: Timestamp,
}

#[derive(Debug, Default)]
struct Absent {
    /// By the key of the identity; of each machine the one that was put in last comes last.
    by_machine: BTreeMap<Arc<str>, Vec<Absence>>,
    count: usize,
}

/// A session that is attached now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) identity: &'a Identity,
    /// Which process, where that is known.
    pub(crate) session: Option<&'a str>,
    /// Whose process, where that is known.
    pub(crate) uid: Option<u32>,
    /// When it was attached.
    pub(crate) at: Timestamp,
}

/// What an arrival ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Since when events of this session may be missing, if any may be.
    pub(crate) gap_from: Option<Timestamp>,
    /// Other sessions of the machine that were attached when the last daemon died, and whose processes have ended since.
    pub(crate) ended: Vec<Absence>,
}

/// What is asked of the processes of sessions: of the host's, and in tests of others.
#[derive(Clone, Copy, Debug)]
struct Processes {
    state: fn(&str) -> ProcessState,
    started: fn(&str) -> Option<Timestamp>,
}

const OF_HOST: Processes = Processes {
    state: |session| session.parse().map_or(ProcessState::Ended, SessionId::state),
    started: |session| session.parse().ok().and_then(SessionId::started),
};

/// A session that nobody listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    /// Which one.
    pub(crate) identity: Identity,
    /// The last moment at which nothing was missing.
    pub(crate) since: Timestamp,
    /// The last daemon died without saying that it let go of the machine.
    pub(crate) unsaid: bool,
    /// Which process it is, where that is known.
    pub(crate) session: Option<Arc<str>>,
    /// Whose process it is, where that is known.
    pub(crate) uid: Option<u32>,
    /// Its process has ended: nothing of it is missed any more.
    pub(crate) ended: bool,
    /// Why it was let go, as the journal has it.
    pub(crate) reason: Option<String>,
}

/// What the journal knows of sessions.
#[derive(Debug)]
pub(crate) struct Known {
    /// The sessions that were let go, the oldest first, and then those that were attached when the last daemon died.
    pub(crate) absences: Vec<Absence>,
    /// What of the journal could not be read. It may have had more.
    pub(crate) problems: Vec<ReadError>,
}

/// Asks the journal which sessions are open, and which were let go.
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
    let key = |record: &Record| (Identity::of_record(record).key(), record.session.clone());
    let mut let_go: BTreeMap<_, Record> = BTreeMap::new();
    for record in reader.records(&Query { filter, after, ..Query::default() }) {
        match record {
            Ok(record) => {
                let_go.insert(key(&record), record);
                if let_go.len() > REMEMBERED {
                    let_go.pop_first();
                }
            }
            Err(error) => problems.push(error),
        }
    }
    for record in &attached {
        let_go.remove(&key(record));
    }
    let mut let_go: Vec<_> = let_go.into_values().collect();
    let_go.sort_by_key(|record| record.seq);
    let records = let_go.into_iter().chain(attached);
    Ok(Known { absences: records.map(|record| Absence::from_record(record, heard)).collect(), problems })
}

/// Of these, the oldest first, those that stand for their machines: all sessions that were attached when the last daemon
/// died, and of a machine without one the session that was heard last.
pub(crate) fn standing(absences: &[Absence]) -> Vec<Absence> {
    let mut last: BTreeMap<Arc<str>, &Absence> = BTreeMap::new();
    let mut found = Vec::new();
    for absence in absences {
        let key = absence.identity.key();
        if absence.unsaid {
            found.push(absence.clone());
        }
        if !last.get(&key).is_some_and(|other| other.unsaid) {
            last.insert(key, absence);
        }
    }
    found.extend(last.into_values().filter(|absence| !absence.unsaid).cloned());
    found
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
        let ended = record.reason.as_deref().is_some_and(|reason| reason.starts_with(SHUT_DOWN));
        let (session, uid, reason) = (record.session, record.uid, record.reason.map(String::from));
        Absence { identity, since, unsaid, session, uid, ended, reason }
    }

    /// Whether it is that of this session.
    fn is_of(&self, arrival: &Arrival<'_>) -> bool {
        self.session.as_deref() == arrival.session && (self.session.is_some() || self.uid == arrival.uid)
    }

    /// What the process of the session does now; `None` when no process is known.
    pub(crate) fn process_state(&self) -> Option<ProcessState> {
        self.session.as_deref().map(OF_HOST.state)
    }

    /// What is to be recorded of a session that was attached when the last daemon died, and is not: a gap, and that it is
    /// detached.
    pub(crate) fn records(&self, host: &Arc<str>, time: Timestamp) -> [Record; 2] {
        let machine = &self.identity.machine;
        let gap = Gap { from: Some(self.since), until: Some(time), ..Gap::default() };
        let gap = Record::gap(Arc::clone(host), Arc::clone(machine), time, gap, "qev was not running");
        let detached = Record::detached(Arc::clone(host), Arc::clone(machine), time, &self.not_back());
        [gap, detached].map(|mut record| {
            record.machine_id.clone_from(&self.identity.machine_id);
            record.session.clone_from(&self.session);
            record.uid = self.uid.filter(|_| record.kind == Kind::Detached);
            record
        })
    }

    /// That it did not come back, in words.
    fn not_back(&self) -> String {
        match self.process_state() {
            Some(ProcessState::Ended) | None => NOT_BACK.to_owned(),
            Some(ProcessState::Alive) => format!("{NOT_BACK}; its process still runs"),
            Some(ProcessState::Stopped) => format!("{NOT_BACK}; its process is stopped by a signal"),
        }
    }

    /// The machine as it is shown where no daemon runs to be asked.
    pub(crate) fn into_status_without_a_daemon(self) -> MachineStatus {
        let (state, note) = match self.unsaid {
            true => ("unknown", "attached when qev was last running, and no qev runs now"),
            false => ("gone", "no qev runs now"),
        };
        self.into_status(state, note.to_owned())
    }

    /// The machine as it is shown when it is not back: `gone`, or `silent` while its process is there.
    pub(crate) fn into_not_back(self) -> MachineStatus {
        let pid = self.session.as_deref().and_then(|session| session.parse().ok()).map(|id: SessionId| id.pid);
        match self.process_state().filter(|state| *state != ProcessState::Ended) {
            Some(state) => {
                let note = silent_note(pid, state);
                MachineStatus { pid, ..self.into_status("silent", note) }
            }
            None => {
                let note = self.reason.clone().unwrap_or_else(|| NOT_BACK.to_owned());
                self.into_status("gone", note)
            }
        }
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

/// Why a machine whose process is there does not answer.
pub(crate) fn silent_note(pid: Option<u32>, state: ProcessState) -> String {
    let process = pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    match state {
        ProcessState::Alive => format!("it does not answer; {process} still runs"),
        ProcessState::Stopped => format!("it does not answer: {process} is stopped by a signal (SIGCONT continues it)"),
        ProcessState::Ended => format!("it does not answer: {process} has ended"),
    }
}

impl Default for Absences {
    fn default() -> Absences {
        Absences { absent: Arc::default(), known: Arc::new(watch::Sender::new(false)), listening_since: now() }
    }
}

impl Absent {
    fn put(&mut self, absence: Absence) {
        let key = absence.identity.key();
        let of_machine = self.by_machine.entry(key).or_default();
        let before = of_machine.len();
        let same =
            |other: &Absence| other.session == absence.session && (other.session.is_some() || other.uid == absence.uid);
        // Of two words about one session the later one counts.
        if of_machine.iter().any(|other| same(other) && other.since >= absence.since) {
            return;
        }
        of_machine.retain(|other| !same(other));
        if of_machine.len() >= OF_ONE_MACHINE {
            of_machine.remove(0);
        }
        of_machine.push(absence);
        self.count = self.count.saturating_add(of_machine.len()).saturating_sub(before);
        if self.count > REMEMBERED
            && let Some((_, forgotten)) = self.by_machine.pop_first()
        {
            self.count = self.count.saturating_sub(forgotten.len());
        }
    }

    fn arrive(&mut self, arrival: &Arrival<'_>, listening_since: Timestamp, processes: Processes) -> Arrived {
        let key = arrival.identity.key();
        let Some(of_machine) = self.by_machine.get_mut(&key) else { return Arrived::default() };
        let before = of_machine.len();
        let own = of_machine.iter().position(|absence| absence.is_of(arrival)).map(|at| of_machine.remove(at));
        let has_ended = |absence: &mut Absence| {
            absence.ended || absence.session.as_deref().map(processes.state) == Some(ProcessState::Ended)
        };
        let ended: Vec<_> = of_machine.extract_if(.., has_ended).collect();
        let of_user = of_machine.iter().chain(&ended).filter(|absence| absence.uid == arrival.uid);
        let last_heard = of_user.map(|absence| absence.since).max();
        let gap_from = match (own, last_heard, arrival.session.and_then(processes.started)) {
            (Some(own), ..) => (!own.ended).then_some(own.since),
            (None, Some(last_heard), Some(started)) => {
                let span = arrival.at.micros().zip(started.micros()).and_then(|(at, started)| at.checked_sub(started));
                let is_late = started < listening_since || span.is_some_and(|span| span > START_WITHIN);
                is_late.then(|| last_heard.max(started)).filter(|from| *from < arrival.at)
            }
            _ => None,
        };
        self.count = self.count.saturating_add(of_machine.len()).saturating_sub(before);
        if of_machine.is_empty() {
            self.by_machine.remove(&key);
        }
        Arrived { gap_from, ended: ended.into_iter().filter(|absence| absence.unsaid).collect() }
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

    /// Nobody listens to this session any more.
    pub(crate) fn put(&self, absence: Absence) {
        self.lock().put(absence);
    }

    /// A session is attached: since when it was not, if it ever was. Waits until the journal has been asked.
    pub(crate) async fn arrive(&self, arrival: &Arrival<'_>) -> Arrived {
        // The sender is in our own hands, so it cannot be gone.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
        self.lock().arrive(arrival, self.listening_since, OF_HOST)
    }

    /// Which machine this process is that is absent, if that is known.
    pub(crate) fn identity_of(&self, session: &str) -> Option<Identity> {
        let absent = self.lock();
        let mut all = absent.by_machine.values().flatten();
        all.find(|absence| absence.session.as_deref() == Some(session)).map(|absence| absence.identity.clone())
    }

    /// Whether this session is attached again, or forgotten.
    pub(crate) fn is_over(&self, absence: &Absence) -> bool {
        let absent = self.lock();
        let of_machine = absent.by_machine.get(&absence.identity.key());
        !of_machine.is_some_and(|all| all.iter().any(|other| other.session == absence.session))
    }

    /// Those that were attached when the last daemon died, and did not come back until now. They are let go now.
    pub(crate) fn not_back(&self, now: Timestamp) -> Vec<Absence> {
        let mut found = Vec::new();
        for absence in self.lock().by_machine.values_mut().flatten().filter(|absence| absence.unsaid) {
            found.push(absence.clone());
            absence.unsaid = false;
            absence.since = now;
        }
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Absent> {
        // What is behind the lock is whole at every moment.
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const USER: u32 = 1000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, microseconds: 0 }
    }

    fn identity(machine: &str) -> Identity {
        Identity { machine: machine.into(), machine_id: None }
    }

    fn absent(machine: &str, since: i64, unsaid: bool) -> Absence {
        let since = at(since);
        Absence { identity: identity(machine), since, unsaid, session: None, uid: None, ended: false, reason: None }
    }

    /// An absence of web1: of a session such as `pid-7@100`, which started 100 s after the host did.
    fn of_session(session: &str, since: i64) -> Absence {
        Absence { session: Some(session.into()), uid: Some(USER), ..absent("web1", since, false) }
    }

    /// The processes with these numbers have ended; all others are there.
    const SOME: Processes = Processes {
        state: |session| match session.starts_with("pid-9") {
            true => ProcessState::Ended,
            false => ProcessState::Alive,
        },
        started: |session| session.split_once('@')?.1.parse().ok().map(at),
    };

    /// Since when events of web1 are missing, when this session is attached at this time, in a daemon that listens since 50.
    fn check(absences: &[Absence], session: Option<&str>, uid: u32, attached: i64, expected: Option<i64>) -> Arrived {
        let mut absent = Absent::default();
        absences.iter().cloned().for_each(|absence| absent.put(absence));
        let identity = identity("web1");
        let arrival = Arrival { identity: &identity, session, uid: Some(uid), at: at(attached) };
        let arrived = absent.arrive(&arrival, at(50), SOME);
        assert_eq!(arrived.gap_from, expected.map(at), "{session:?} at {attached} after {absences:?}");
        let again = absent.arrive(&arrival, at(50), SOME);
        assert_eq!(again.ended, [], "only once");
        arrived
    }

    #[test]
    fn a_session_that_comes_back_has_a_gap_from_when_it_was_heard_last() {
        check(&[of_session("pid-7@10", 60)], Some("pid-7@10"), USER, 900, Some(60));
        check(&[of_session("pid-7@10", 60), of_session("pid-7@10", 40)], Some("pid-7@10"), USER, 900, Some(60));
    }

    #[test]
    fn a_process_that_did_not_exist_missed_nothing() {
        // It ended and was started again, 4 s later or the next morning.
        for started in [104, 40_000] {
            let session = format!("pid-8@{started}");
            check(&[of_session("pid-9@10", 100)], Some(&session), USER, started + 1, None);
            check(&[Absence { ended: true, ..of_session("pid-7@10", 100) }], Some(&session), USER, started + 1, None);
        }
        // A second process of the name, while the monitor of the first is away.
        check(&[of_session("pid-7@10", 100)], Some("pid-8@104"), USER, 105, None);
        // No process of the name was there before.
        check(&[], Some("pid-8@10"), USER, 900, None);
    }

    #[test]
    fn a_process_that_nobody_listened_to_at_first_has_a_gap_from_its_start() {
        // It started before this daemon, or was attached long after its start.
        check(&[of_session("pid-9@10", 20)], Some("pid-8@30"), USER, 51, Some(30));
        check(&[of_session("pid-9@10", 60)], Some("pid-8@100"), USER, 200, Some(100));
        // Its predecessor was attached still: a gap begins when the machine was heard last.
        check(&[of_session("pid-9@10", 150)], Some("pid-8@100"), USER, 200, Some(150));
    }

    #[test]
    fn another_users_process_cannot_end_an_absence() {
        let absence = of_session("pid-7@10", 60);
        let mut absent = Absent::default();
        absent.put(absence.clone());
        let identity = identity("web1");
        let arrival = Arrival { identity: &identity, session: Some("pid-8@20"), uid: Some(USER + 1), at: at(100) };
        assert_eq!(absent.arrive(&arrival, at(50), SOME), Arrived::default());
        let arrival = Arrival { session: Some("pid-7@10"), uid: Some(USER), ..arrival };
        assert_eq!(absent.arrive(&arrival, at(50), SOME).gap_from, Some(at(60)));
        // Where no process is known, the user tells.
        let remote = Absence { session: None, ..absence };
        check(std::slice::from_ref(&remote), None, USER + 1, 100, None);
        check(std::slice::from_ref(&remote), None, USER, 100, Some(60));
        check(&[Absence { ended: true, ..remote }], None, USER, 100, None);
    }

    #[test]
    fn a_session_whose_process_ended_while_no_daemon_ran_is_let_go_when_the_next_is_there() {
        let unsaid = |session| Absence { unsaid: true, ..of_session(session, 20) };
        let arrived = check(&[unsaid("pid-9@10"), unsaid("pid-7@10")], Some("pid-8@60"), USER, 61, None);
        assert_eq!(arrived.ended, [unsaid("pid-9@10")]);
        // Of what was recorded already nothing is said again.
        let arrived = check(&[of_session("pid-9@10", 20)], Some("pid-8@60"), USER, 61, None);
        assert_eq!(arrived.ended, []);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_has_been_away_since_it_was_last_heard_and_only_once() {
        let absences = Absences::default();
        let web1 = identity("web1");
        let arrival = Arrival { identity: &web1, session: None, uid: None, at: at(20) };
        absences.put(absent("web1", 7, false));
        let early = tokio::time::timeout(Duration::from_secs(9), absences.arrive(&arrival)).await;
        assert!(early.is_err(), "the journal may know more");
        absences.learn([absent("web1", 3, true), absent("db1", 5, true)]);
        assert_eq!(absences.arrive(&arrival).await.gap_from, Some(at(7)));
        assert_eq!(absences.arrive(&arrival).await, Arrived::default());
    }

    #[tokio::test]
    async fn who_was_attached_when_the_last_daemon_died_and_is_not_back_is_let_go() {
        let absences = Absences::default();
        absences.learn([absent("web1", 3, true), absent("db1", 5, false)]);
        assert_eq!(absences.not_back(at(20)), [absent("web1", 3, true)]);
        assert_eq!(absences.not_back(at(20)), []);
        let web1 = identity("web1");
        let arrival = Arrival { identity: &web1, session: None, uid: None, at: at(30) };
        assert_eq!(absences.arrive(&arrival).await.gap_from, Some(at(20)));
    }

    #[test]
    fn the_journal_knows_who_was_let_go_and_who_was_attached_when_the_daemon_died() {
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
                Absence { reason: Some(SHUT_DOWN.to_owned()), ended: true, ..absent("web1", 3, false) },
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
        assert_eq!(absences.lock().count, REMEMBERED);
        let absences = Absences::default();
        for number in 0..1000 {
            absences.put(of_session(&format!("pid-{number}@1"), number));
        }
        assert_eq!(absences.lock().count, OF_ONE_MACHINE);
    }
}
