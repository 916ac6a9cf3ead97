//! The sessions that are attached, by process: one QEMU is one session of its machine, however many of its monitors are
//! attached. The first monitor's task records what QEMU says; each further one is a spare, whose items go to that task.
//!
//! ```text
//!   connected ──► announce ──► negotiated, asked who it is ──► enter ──┬─ Entered::First ──► runs the session
//!                                                                      └─ Entered::Spare ──► sends to the session's inbox
//! ```
//!
//! A monitor is announced before it is negotiated, so that the session begins to remember which events it has recorded before
//! the second copy of one can come.
//!
//! One process may be many machines (`qev simulate`), so a session is known by its process and its machine.

use super::process::Process;
use qev_link::{Client, EventItem, Events, Peer};
use qev_qmp::Timestamp;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// How many monitors of one session stand by. Further ones are closed.
const SPARES: usize = 8;

/// How many items of spare monitors wait for a session's task. At this limit they are not read on, and QEMU keeps the rest.
const INBOX: usize = 64;

/// The sessions that are attached. Clones are for the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    processes: Arc<Mutex<BTreeMap<Arc<str>, OfProcess>>>,
    monitors: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct OfProcess {
    joining: Joining,
    /// The way to the task of each machine that this process is, and room for its spare monitors.
    machines: BTreeMap<Arc<str>, (mpsc::Sender<FromSpare>, Arc<Semaphore>)>,
}

/// How many monitors of a process are announced and have not entered yet. Clones are for the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joining(Arc<AtomicUsize>);

/// Names a monitor within this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MonitorId(pub(crate) u64);

/// A monitor that is connected and has not entered yet.
#[derive(Debug)]
pub(crate) struct Announced {
    id: MonitorId,
    of: Option<(Sessions, Arc<str>, Joining)>,
}

/// As what a monitor enters.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The first of its session, which it is to run.
    First(Membership),
    /// One more: what it says goes to the session's task. The permit lasts as long as it stands by.
    Spare(mpsc::Sender<FromSpare>, OwnedSemaphorePermit),
    /// As many stand by as may.
    Refused,
}

/// A session that runs. When this is dropped it has ended, and the next monitor of its process is the first again.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) inbox: mpsc::Receiver<FromSpare>,
    pub(crate) joining: Joining,
    of: Option<(Sessions, Arc<str>, Arc<str>)>,
}

/// What the task of a spare monitor sends to the task of the session.
#[derive(Debug)]
pub(crate) enum FromSpare {
    /// It is there.
    Joined(Box<Spare>),
    /// It said something.
    Item(MonitorId, Timestamp, EventItem),
}

/// A monitor that stands by.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) id: MonitorId,
    pub(crate) client: Client,
    /// What the next daemon has to know, and the socket once more, for when it takes over.
    pub(crate) held: super::handover::Held,
    pub(crate) socket: Option<Arc<OwnedFd>>,
    /// Until the session has taken note of it.
    pub(crate) announced: Option<Announced>,
    /// Dropped when nothing more is to come of it.
    pub(crate) over: oneshot::Sender<()>,
    /// To ask its task for the subscription, when it takes over.
    pub(crate) reclaim: oneshot::Sender<oneshot::Sender<Events>>,
}

impl Joining {
    /// Whether a monitor may soon say what was recorded already.
    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Sessions {
    /// A monitor of the process at the other end is connected.
    pub(crate) fn announce(&self, peer: Peer) -> Announced {
        let session = peer.pid.and_then(Process::of).map(|process| process.session());
        self.announce_session(session.as_deref())
    }

    /// The same of a monitor whose session is known; without a session it has a session of its own.
    pub(crate) fn announce_session(&self, session: Option<&str>) -> Announced {
        let id = MonitorId(self.monitors.fetch_add(1, Ordering::Relaxed));
        let of = session.map(|session| {
            let session: Arc<str> = session.into();
            let joining = self.lock().entry(Arc::clone(&session)).or_default().joining.clone();
            joining.0.fetch_add(1, Ordering::SeqCst);
            (self.clone(), session, joining)
        });
        Announced { id, of }
    }

    /// Forgets a process of which nothing is attached and nothing announced.
    fn forget(&self, session: &Arc<str>) {
        let mut processes = self.lock();
        if processes.get(session).is_some_and(|one| one.machines.is_empty() && !one.joining.is_any()) {
            processes.remove(session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, OfProcess>> {
        // What is behind the lock is whole at every moment.
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announced {
    pub(crate) fn id(&self) -> MonitorId {
        self.id
    }

    /// Which process it is of, when that is known.
    pub(crate) fn session(&self) -> Option<Arc<str>> {
        self.of.as_ref().map(|(_, session, _)| Arc::clone(session))
    }

    /// Enters the session of this machine, which is told by the key of its identity.
    pub(crate) fn enter(&self, machine: &Arc<str>) -> Entered {
        let (sender, inbox) = mpsc::channel(INBOX);
        let Some((sessions, session, joining)) = &self.of else {
            return Entered::First(Membership { inbox, joining: Joining::default(), of: None });
        };
        let mut processes = sessions.lock();
        let of_process = processes.entry(Arc::clone(session)).or_default();
        let running = of_process.machines.get(machine).filter(|(running, _)| !running.is_closed());
        if let Some((running, room)) = running {
            return match Arc::clone(room).try_acquire_owned() {
                Ok(permit) => Entered::Spare(running.clone(), permit),
                Err(_) => Entered::Refused,
            };
        }
        of_process.machines.insert(Arc::clone(machine), (sender, Arc::new(Semaphore::new(SPARES))));
        let of = Some((sessions.clone(), Arc::clone(session), Arc::clone(machine)));
        Entered::First(Membership { inbox, joining: joining.clone(), of })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some((sessions, session, joining)) = &self.of {
            joining.0.fetch_sub(1, Ordering::SeqCst);
            sessions.forget(session);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Some((sessions, session, machine)) = &self.of else { return };
        self.inbox.close();
        let mut processes = sessions.lock();
        if let Some(of_process) = processes.get_mut(session)
            && of_process.machines.get(machine).is_some_and(|(running, _)| running.is_closed())
        {
            of_process.machines.remove(machine);
        }
        drop(processes);
        sessions.forget(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_first(entered: &Entered) -> bool {
        matches!(entered, Entered::First(_))
    }

    #[test]
    fn the_second_monitor_of_a_process_is_a_spare_until_the_session_has_ended() {
        let sessions = Sessions::default();
        let (web1, web2): (Arc<str>, Arc<str>) = ("web1".into(), "web2".into());
        let first = sessions.announce_session(Some("pid-7@9"));
        let Entered::First(session) = first.enter(&web1) else { panic!("nothing was there") };
        drop(first);
        assert!(!session.joining.is_any());
        let second = sessions.announce_session(Some("pid-7@9"));
        assert!(session.joining.is_any() && !is_first(&second.enter(&web1)));
        let spares: Vec<_> = (0..SPARES).map(|_| second.enter(&web1)).collect();
        assert!(spares.iter().all(|spare| matches!(spare, Entered::Spare(..))));
        assert!(matches!(second.enter(&web1), Entered::Refused));
        drop(spares);
        assert!(matches!(second.enter(&web1), Entered::Spare(..)));
        // Another machine of the process, another process, and a monitor of which nothing is known.
        assert!(is_first(&second.enter(&web2)));
        assert!(is_first(&sessions.announce_session(Some("pid-8@9")).enter(&web1)));
        assert!(is_first(&sessions.announce_session(None).enter(&web1)));
        drop(session);
        assert!(is_first(&second.enter(&web1)));
        drop(second);
        assert!(sessions.lock().is_empty(), "nothing is kept of what has gone");
    }
}
