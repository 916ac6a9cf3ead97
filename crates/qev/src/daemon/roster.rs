//! Who is there: every machine that the daemon holds, held, or sees and leaves alone.

mod json;

use qev_link::share::ClientCount;
use qev_qmp::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many machines that are gone are shown.
const GONE: usize = 4096;

/// The machines, by a key that lasts as long as a machine is known. Clones are for the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    machines: Arc<Mutex<Machines>>,
    keys: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Machines {
    /// Those that are there.
    here: BTreeMap<String, MachineStatus>,
    /// Where those are lent that are there, and what counts their clients.
    lent: BTreeMap<String, (Arc<str>, ClientCount)>,
    /// Those that are gone, or silent where no monitor is known to be dialled, by identity.
    gone: BTreeMap<Arc<str>, MachineStatus>,
    /// Further paths of monitors that are attached: each, and the place under which its monitor is.
    other_paths: BTreeMap<String, String>,
}

/// What is known of one machine (one session of it, when two live ones claim the same identity).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MachineStatus {
    /// Its name, as in records.
    pub(crate) machine: Arc<str>,
    /// Its identity, when that is more than its name: its UUID.
    pub(crate) machine_id: Option<Arc<str>>,
    /// Which QEMU process of this machine.
    pub(crate) session: Option<Arc<str>>,
    /// `attached`, `detached`, `silent`, `held`, `gone`.
    pub(crate) state: &'static str,
    /// Since when it is in this state.
    pub(crate) since: Timestamp,
    /// How it is reached: `dial-in`, `dial-out`, `libvirt`.
    pub(crate) way: &'static str,
    /// Where: a socket's path, a URI.
    pub(crate) place: String,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Its run state (QEMU's `RunState`) as last heard.
    pub(crate) run_state: Option<String>,
    /// The version of its QEMU.
    pub(crate) qemu: Option<String>,
    /// How many events it sent since it was attached.
    pub(crate) events: u64,
    /// Where its monitor is lent, when it is.
    pub(crate) share: Option<SharedAt>,
    /// What is wrong, or what would attach it, in words.
    pub(crate) note: Option<String>,
}

/// Where a machine's monitor is lent, and to how many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SharedAt {
    /// The path of the socket.
    pub(crate) path: Arc<str>,
    /// How many clients are on it now.
    pub(crate) clients: usize,
}

impl Machines {
    /// The oldest of many that are gone is forgotten.
    fn keep_gone(&mut self, status: MachineStatus) {
        if self.gone.len() >= GONE {
            let oldest = self.gone.iter().min_by_key(|(_, status)| status.since).map(|(key, _)| Arc::clone(key));
            oldest.map(|key| self.gone.remove(&key));
        }
        self.gone.insert(Arc::clone(status.identity()), status);
    }
}

impl MachineStatus {
    /// One that is to be connected to, and is not: in this state, and why.
    pub(crate) fn not_attached(
        machine: &str,
        state: &'static str,
        since: Timestamp,
        place: String,
        why: String,
    ) -> MachineStatus {
        MachineStatus {
            machine: machine.into(),
            machine_id: None,
            session: None,
            state,
            since,
            way: "dial-out",
            place,
            pid: None,
            run_state: None,
            qemu: None,
            events: 0,
            share: None,
            note: Some(why),
        }
    }

    /// Whether it is one of these sessions.
    fn is_of_any(&self, sessions: &BTreeSet<Arc<str>>) -> bool {
        self.session.as_ref().is_some_and(|session| sessions.contains(session))
    }

    /// What two sessions of one machine have in common.
    fn identity(&self) -> &Arc<str> {
        self.machine_id.as_ref().unwrap_or(&self.machine)
    }
}

impl Roster {
    /// A key for a session, which no other has.
    pub(crate) fn key(&self) -> String {
        format!("session-{:012}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a machine or replaces what is known of it. It is not gone any more, if it was.
    pub(crate) fn put(&self, key: &str, status: MachineStatus) {
        let mut machines = self.lock();
        machines.gone.remove(status.identity());
        machines.here.insert(key.to_owned(), status);
    }

    /// The same for one that is seen and not attached: it says nothing of whether a machine is gone, and while it is as it
    /// was, so is since when.
    pub(crate) fn show(&self, key: &str, mut status: MachineStatus) {
        let mut machines = self.lock();
        if let Some(before) = machines.here.get(key).filter(|before| before.state == status.state) {
            status.since = before.since;
        }
        machines.here.insert(key.to_owned(), status);
    }

    /// Changes what is known of a machine, if it is there.
    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut MachineStatus)) {
        if let Some(status) = self.lock().here.get_mut(key) {
            change(status);
        }
    }

    /// The machine's monitor is lent at this path from now on, to as many as there are counted.
    pub(crate) fn lent(&self, key: &str, path: Arc<str>, clients: ClientCount) {
        self.lock().lent.insert(key.to_owned(), (path, clients));
    }

    /// It is lent no longer.
    pub(crate) fn not_lent(&self, key: &str) {
        self.lock().lent.remove(key);
    }

    /// Forgets a machine.
    pub(crate) fn remove(&self, key: &str) {
        let mut machines = self.lock();
        machines.here.remove(key);
        machines.lent.remove(key);
    }

    /// The monitor at `place` is at this path, too; or is at it no longer.
    pub(crate) fn also_at(&self, path: &str, place: Option<&str>) {
        let mut machines = self.lock();
        match place {
            Some(place) => machines.other_paths.insert(path.to_owned(), place.to_owned()),
            None => machines.other_paths.remove(path),
        };
    }

    /// A machine is gone, since then and for this reason.
    pub(crate) fn gone(&self, key: &str, since: Timestamp, reason: String) {
        let mut machines = self.lock();
        machines.lent.remove(key);
        let Some(mut status) = machines.here.remove(key) else { return };
        (status.state, status.since, status.note) = ("gone", since, Some(reason));
        machines.keep_gone(status);
    }

    /// These were gone before this daemon began, as the journal has it, or are silent; but for those that are there already.
    pub(crate) fn were_gone(&self, gone: impl IntoIterator<Item = MachineStatus>) {
        let mut machines = self.lock();
        let attached = machines.here.values().filter(|here| here.state == "attached");
        let gone_already = machines.gone.values().filter(|gone| gone.state == "gone");
        let known: BTreeSet<_> = attached.chain(gone_already).map(|one| Arc::clone(one.identity())).collect();
        for status in gone.into_iter().filter(|status| !known.contains(status.identity())) {
            machines.keep_gone(status);
        }
    }

    /// All of them, by name. One that is gone is left out while another session of it is there, or where a row tells what
    /// stands in its place; and that row, when it only says that nobody is there. A path at which an attached process does
    /// not answer is left out: the process has another monitor. Where two that are there claim one identity, or two machines
    /// have one name, each says so.
    pub(crate) fn snapshot(&self) -> Vec<MachineStatus> {
        let machines = self.lock();
        let here = machines.here.iter().map(|(key, status)| {
            let lent = machines.lent.get(key);
            let share = lent.map(|(path, clients)| SharedAt { path: Arc::clone(path), clients: clients.now() });
            MachineStatus { share, ..status.clone() }
        });
        let mut all: Vec<_> = here.collect();
        let attached: BTreeSet<Arc<str>> = all
            .iter()
            .filter(|status| status.state == "attached")
            .filter_map(|status| status.session.clone())
            .collect();
        all.retain(|status| status.state == "attached" || !status.is_of_any(&attached));
        let (mut identities, mut names) = (BTreeMap::new(), BTreeMap::new());
        for status in all.iter().filter(|status| status.state == "attached") {
            *identities.entry(Arc::clone(status.identity())).or_insert(0_usize) += 1;
            *names.entry(Arc::clone(&status.machine)).or_insert(0_usize) += 1;
        }
        let several = |counts: &BTreeMap<Arc<str>, usize>, name: &str| counts.get(name).is_some_and(|n| *n > 1);
        for status in all.iter_mut().filter(|status| status.state == "attached") {
            let paths = machines.other_paths.iter().filter(|(_, place)| **place == status.place);
            let paths = paths.map(|(path, _)| format!("{path} is this monitor too: attached as {}", status.machine));
            let others = if several(&identities, status.identity()) {
                Some("two processes use this name: a migration is in progress, or one of them is misconfigured")
            } else if several(&names, &status.machine) {
                Some("another machine has this name")
            } else {
                None
            };
            let notes: Vec<_> = status.note.take().into_iter().chain(paths).chain(others.map(str::to_owned)).collect();
            status.note = (!notes.is_empty()).then(|| notes.join("; "));
        }
        let rows: BTreeMap<Arc<str>, (String, &str)> = all
            .iter()
            .filter(|status| status.state != "attached")
            .map(|status| (Arc::clone(&status.machine), (status.place.clone(), status.state)))
            .collect();
        let silent: BTreeSet<Arc<str>> = all
            .iter()
            .filter(|status| status.state != "attached")
            .filter_map(|status| status.session.clone())
            .collect();
        let mut told = BTreeSet::new();
        let is_absent = |gone: &&MachineStatus| !identities.contains_key(gone.identity()) && !gone.is_of_any(&silent);
        let gone = machines.gone.values().filter(is_absent);
        let gone = gone.filter(|gone| {
            let row = rows.get(&gone.machine).filter(|(place, _)| gone.place.is_empty() || *place == gone.place);
            let is_told = row.is_none_or(|(_, state)| *state == "gone");
            if row.is_some() && is_told {
                told.insert(Arc::clone(&gone.machine));
            }
            is_told
        });
        let gone: Vec<_> = gone.cloned().collect();
        all.retain(|status| status.state != "gone" || !told.contains(&status.machine));
        all.extend(gone);
        all.sort_by(|one, other| (&one.machine, &one.session).cmp(&(&other.machine, &other.session)));
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Machines> {
        // What is behind the lock is whole at every moment.
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(machine: &str, machine_id: Option<&str>, session: &str) -> MachineStatus {
        MachineStatus {
            machine: machine.into(),
            machine_id: machine_id.map(Arc::from),
            session: Some(session.into()),
            state: "attached",
            since: Timestamp { seconds: 1, microseconds: 0 },
            way: "dial-in",
            place: "/run/qev/attach.sock".to_owned(),
            pid: None,
            run_state: None,
            qemu: None,
            events: 0,
            share: None,
            note: None,
        }
    }

    fn put(roster: &Roster, status: MachineStatus) -> String {
        let key = roster.key();
        roster.put(&key, status);
        key
    }

    /// Machine, session, state and note of each.
    fn check(roster: &Roster, expected: &[(&str, &str, &str, &str)]) {
        let snapshot = roster.snapshot();
        let found: Vec<_> = snapshot
            .iter()
            .map(|status| {
                let note = status.note.as_deref().unwrap_or_default();
                (&*status.machine, status.session.as_deref().unwrap_or_default(), status.state, note)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn two_sessions_of_one_machine_are_shown_as_two_and_so_are_two_machines_of_one_name() {
        let roster = Roster::default();
        let lies = "two processes use this name: a migration is in progress, or one of them is misconfigured";
        let named = "another machine has this name";
        let first = put(&roster, status("web1", Some("u1"), "pid-1@1"));
        put(&roster, status("web1", Some("u1"), "pid-2@2"));
        put(&roster, status("web2", Some("u2"), "pid-3@3"));
        check(
            &roster,
            &[
                ("web1", "pid-1@1", "attached", lies),
                ("web1", "pid-2@2", "attached", lies),
                ("web2", "pid-3@3", "attached", ""),
            ],
        );
        roster.gone(&first, Timestamp { seconds: 2, microseconds: 0 }, "killed".to_owned());
        put(&roster, status("web2", Some("u4"), "pid-4@4"));
        check(
            &roster,
            &[
                ("web1", "pid-2@2", "attached", ""),
                ("web2", "pid-3@3", "attached", named),
                ("web2", "pid-4@4", "attached", named),
            ],
        );
    }

    #[test]
    fn one_that_is_gone_says_why_until_it_is_back() {
        let roster = Roster::default();
        let key = put(&roster, status("web1", None, "pid-1@1"));
        roster.change(&key, |status| status.events += 1);
        roster.gone(&key, Timestamp { seconds: 2, microseconds: 0 }, "killed".to_owned());
        check(&roster, &[("web1", "pid-1@1", "gone", "killed")]);
        assert_eq!(roster.snapshot()[0].events, 1);
        put(&roster, status("web1", None, "pid-2@2"));
        check(&roster, &[("web1", "pid-2@2", "attached", "")]);
    }

    #[test]
    fn who_was_gone_before_this_daemon_began_is_shown_until_it_is_there() {
        let roster = Roster::default();
        put(&roster, status("web1", Some("u1"), "pid-9@9"));
        let was = |machine, machine_id, note: &str| MachineStatus {
            machine_id: Option::map(machine_id, Arc::from),
            ..MachineStatus::not_attached(machine, "gone", Timestamp::from_micros(0), String::new(), note.to_owned())
        };
        roster.were_gone([was("web1", Some("u1"), "killed"), was("web2", None, "it did not come back")]);
        let back = ("web1", "pid-9@9", "attached", "");
        check(&roster, &[back, ("web2", "", "gone", "it did not come back")]);
        put(&roster, status("web2", None, "pid-3@3"));
        check(&roster, &[back, ("web2", "pid-3@3", "attached", "")]);
    }

    #[test]
    fn a_machine_that_is_gone_is_one_row_and_so_is_what_stands_in_its_place() {
        let roster = Roster::default();
        let web1 = MachineStatus { place: "/vm/web1.qmp".to_owned(), ..status("web1", Some("u1"), "pid-1@1") };
        let key = put(&roster, web1);
        roster.gone(&key, Timestamp { seconds: 2, microseconds: 0 }, "killed".to_owned());
        let show = |place: &str, state, why: &str| {
            let since = Timestamp { seconds: 3, microseconds: 0 };
            roster.show(place, MachineStatus::not_attached("web1", state, since, place.to_owned(), why.to_owned()));
        };
        show("/vm/web1.qmp", "gone", "nobody listens");
        check(&roster, &[("web1", "pid-1@1", "gone", "killed")]);
        show("/vm/web1.qmp", "held", "held by socat");
        check(&roster, &[("web1", "", "held", "held by socat")]);
        show("/vm/web1.qmp", "gone", "nobody listens");
        show("/other/web1.qmp", "gone", "nobody listens there");
        roster.remove("/vm/web1.qmp");
        check(&roster, &[("web1", "", "gone", "nobody listens there"), ("web1", "pid-1@1", "gone", "killed")]);
    }

    #[test]
    fn a_process_that_does_not_answer_is_one_row_whatever_is_known_of_it() {
        let roster = Roster::default();
        let since = Timestamp { seconds: 3, microseconds: 0 };
        let at_path = |state| MachineStatus {
            session: Some("pid-1@1".into()),
            ..MachineStatus::not_attached("web1", state, since, "/vm/1.qmp".to_owned(), "it does not answer".to_owned())
        };
        let of_journal = MachineStatus { place: String::new(), note: Some("silent".to_owned()), ..at_path("silent") };
        roster.were_gone([of_journal.clone()]);
        check(&roster, &[("web1", "pid-1@1", "silent", "silent")]);
        roster.show("/vm/1.qmp", at_path("silent"));
        check(&roster, &[("web1", "pid-1@1", "silent", "it does not answer")]);
        // It dials in: it is attached by another monitor.
        let key = put(&roster, status("web1", None, "pid-1@1"));
        check(&roster, &[("web1", "pid-1@1", "attached", "")]);
        roster.gone(&key, since, "killed".to_owned());
        roster.remove("/vm/1.qmp");
        check(&roster, &[("web1", "pid-1@1", "gone", "killed")]);
        // One that is silent ends.
        let roster = Roster::default();
        roster.were_gone([of_journal.clone()]);
        roster.were_gone([MachineStatus { state: "gone", note: Some("it ended".to_owned()), ..of_journal }]);
        check(&roster, &[("web1", "pid-1@1", "gone", "it ended")]);
    }

    #[test]
    fn a_second_path_of_a_monitor_is_said_beside_the_first() {
        let roster = Roster::default();
        put(&roster, MachineStatus { place: "/vm/1.qmp".to_owned(), ..status("web1", None, "pid-1@1") });
        roster.also_at("/srv/x.qmp", Some("/vm/1.qmp"));
        check(&roster, &[("web1", "pid-1@1", "attached", "/srv/x.qmp is this monitor too: attached as web1")]);
        roster.also_at("/srv/x.qmp", None);
        check(&roster, &[("web1", "pid-1@1", "attached", "")]);
    }

    #[test]
    fn a_machine_is_lent_until_it_is_not_or_is_gone() {
        let roster = Roster::default();
        let is_lent = || {
            let status = roster.snapshot().remove(0);
            status.share.map(|share| (share.path.to_string(), share.clients))
        };
        let key = put(&roster, status("web1", None, "pid-1@1"));
        assert_eq!(is_lent(), None);
        let lend = || roster.lent(&key, "/run/qev/share/web1.qmp".into(), ClientCount::default());
        lend();
        assert_eq!(is_lent(), Some(("/run/qev/share/web1.qmp".to_owned(), 0)));
        roster.not_lent(&key);
        assert_eq!(is_lent(), None);
        lend();
        roster.gone(&key, Timestamp { seconds: 2, microseconds: 0 }, String::new());
        assert_eq!(is_lent(), None);
        assert!(roster.lock().lent.is_empty());
    }

    #[test]
    fn of_many_that_are_gone_the_oldest_are_forgotten() {
        let roster = Roster::default();
        for number in 0..GONE + 2 {
            let key = put(&roster, status(&format!("vm{number}"), None, ""));
            let since = Timestamp { seconds: i64::try_from(number).unwrap(), microseconds: 0 };
            roster.gone(&key, since, String::new());
        }
        let snapshot = roster.snapshot();
        assert_eq!(snapshot.len(), GONE);
        assert!(snapshot.iter().all(|status| &*status.machine != "vm0" && &*status.machine != "vm1"));
    }
}
