//! Monitors outlive the daemon: the service manager keeps their sockets while one daemon ends and the next begins.
//!
//! ```text
//!   attached ──► the socket: FDSTORE, FDNAME=m7          (so that it survives a crash)
//!            └─► the memory: a line {"keep":"m7",…}      (who it is; the manager keeps the memory too)
//!   stopped  ──► the memory: the sessions, half-read messages and all, then {"end":…}
//!
//!   next start:   socket, line and session ──► Client::resume    no event is lost, nothing is negotiated, no gap
//!                 socket and line only     ──► Client::recover   the last daemon was cut off: a gap
//!                 socket without a line    ──► closed; the QEMU dials again, or is dialled
//! ```
//!
//! Without a manager, or with one that keeps nothing, all of this comes to nothing.

mod memory;

use super::systemd::Manager;
use super::systemd::inherited::Inherited;
use crate::exit::tell;
use crate::log_limiter::{LogKind, LogLimiter, Origin};
use memory::{Memory, Remembered};
use qev_link::{Client, Resumed};
use qev_qmp::Greeting;
use qev_qmp::client::Session;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the manager calls the memory.
const MEMORY: &str = "qev-memory";

/// How long a connection's task may take to give out its session.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ids of commands: each daemon that takes over after a crash begins with a new block of them.
const IDS: u64 = 1 << 32;

/// What the next daemon has to know of a machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// How it is reached: `dial-in`, `dial-out`.
    pub(crate) way: &'static str,
    /// Where.
    pub(crate) place: String,
    /// The path of its monitor, when it is its alone.
    pub(crate) path: Option<PathBuf>,
    /// What the configuration calls it.
    pub(crate) configured: Option<String>,
    /// What it says its name is.
    pub(crate) name: Option<String>,
    /// What it says its UUID is.
    pub(crate) uuid: Option<String>,
    /// Which process it is.
    pub(crate) session: Option<String>,
    /// What it greeted with.
    pub(crate) greeting: Greeting,
    /// Whether out-of-band execution was negotiated.
    pub(crate) oob: bool,
}

/// The monitors that the manager keeps for the next daemon. Clones are for the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    manager: Manager,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    next: u64,
    held: BTreeMap<String, Held>,
    sessions: BTreeMap<String, Session>,
}

/// One monitor that the manager keeps. When this is dropped, it keeps it no longer, unless its session was taken apart.
#[derive(Debug)]
pub(crate) struct Kept {
    shared: Arc<Shared>,
    name: String,
}

/// A monitor that the last daemon had.
#[derive(Debug)]
pub(crate) struct TakenBack {
    pub(crate) held: Held,
    pub(crate) kept: Kept,
    pub(crate) resumed: Resumed,
    /// The last daemon was cut off: what it had read and not kept is lost.
    pub(crate) was_cut_off: bool,
}

impl Handover {
    /// Takes back what the last daemon left with the manager.
    pub(crate) fn start(manager: &Manager, inherited: &mut Inherited) -> (Handover, Vec<TakenBack>) {
        let streams = std::mem::take(&mut inherited.streams);
        let files = std::mem::take(&mut inherited.files);
        if !manager.is_there() {
            return (Handover::default(), Vec::new());
        }
        match Handover::open(manager, streams, files) {
            Ok(started) => started,
            Err(error) => {
                tell(&format!("monitors will not stay open while qev is restarted: {error}"));
                (Handover::default(), Vec::new())
            }
        }
    }

    fn open(
        manager: &Manager,
        streams: Vec<(String, UnixStream)>,
        files: Vec<(String, std::fs::File)>,
    ) -> io::Result<(Handover, Vec<TakenBack>)> {
        let left = files.into_iter().find(|(name, _)| name == MEMORY).map(|(_, file)| file);
        let (mut memory, mut remembered) = match left {
            Some(file) => Memory::read(file)?,
            None => {
                let memory = Memory::new()?;
                manager.store(MEMORY, &[memory.as_fd()])?;
                (memory, Remembered::default())
            }
        };
        let mut back = Vec::new();
        let mut held = BTreeMap::new();
        for (name, stream) in streams {
            match remembered.held.remove(&name) {
                Some(known) => {
                    held.insert(name.clone(), known.clone());
                    back.push((name, stream, known));
                }
                // Nobody knows whose it is: closed.
                None => manager.forget(&name)?,
            }
        }
        // From here on a crash finds these again, and no session: each is gone on with once.
        let generation = remembered.generation + 1;
        memory.begin(generation, &held)?;
        let state = State { memory, next: remembered.next, held, sessions: BTreeMap::new() };
        let shared = Arc::new(Shared { manager: manager.clone(), state: Mutex::new(state) });
        let taken = back.into_iter().map(|(name, stream, held)| {
            let session = remembered.sessions.remove(&name);
            let was_cut_off = session.is_none();
            let session = session.unwrap_or_else(|| Session {
                oob: held.oob,
                next_id: generation.saturating_mul(IDS),
                ..Session::default()
            });
            let resumed = Resumed { stream, greeting: held.greeting.clone(), session };
            TakenBack { held, kept: Kept { shared: Arc::clone(&shared), name }, resumed, was_cut_off }
        });
        let taken = taken.collect();
        Ok((Handover { shared: Some(shared) }, taken))
    }

    /// Whether sockets are kept at all.
    pub(crate) fn is_there(&self) -> bool {
        self.shared.is_some()
    }

    /// Leaves a monitor's socket with the manager. Where that does not work the monitor is as good as any, until the end.
    pub(crate) fn keep(&self, socket: &OwnedFd, held: Held, log: &LogLimiter) -> Option<Kept> {
        let shared = self.shared.as_ref()?;
        let mut state = shared.lock();
        let name = format!("m{}", state.next);
        state.next += 1;
        // First the line: a socket that nobody knows of is closed, a line without a socket does no harm.
        let noted = state.memory.keep(&name, &held);
        state.held.insert(name.clone(), held);
        drop(state);
        let kept = Kept { shared: Arc::clone(shared), name };
        match noted.and_then(|()| shared.manager.store(&kept.name, &[socket.as_fd()])) {
            Ok(()) => Some(kept),
            Err(error) => {
                let line = format!("a monitor will not stay open while qev is restarted: {error}");
                log.log(Origin::Qev, LogKind::NotKept, &line);
                None
            }
        }
    }

    /// Writes down the sessions that were taken apart. To be done last: what was received is in the journal.
    pub(crate) fn finish(&self) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.lock();
        let sessions = std::mem::take(&mut state.sessions);
        if let Err(error) = state.memory.finish(&sessions) {
            tell(&format!("the next qev will not know where this one stopped: {error}"));
        }
    }
}

impl Kept {
    /// Takes the session of this monitor apart and keeps it for the next daemon. Whether that worked: then the subscription
    /// has what was received, and ends. If it did not, nothing has changed.
    pub(crate) async fn hand_over(&self, client: &Client) -> bool {
        let Ok(Some(session)) = tokio::time::timeout(PATIENCE, client.suspend()).await else { return false };
        self.shared.lock().sessions.insert(self.name.clone(), session);
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let State { memory, held, sessions, .. } = &mut *state;
        if sessions.contains_key(&self.name) {
            return;
        }
        held.remove(&self.name);
        // Where it cannot be written down, a line without a socket is left: it does no harm.
        let _ = memory.drop(&self.name, held);
        drop(state);
        let _ = self.shared.manager.forget(&self.name);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
