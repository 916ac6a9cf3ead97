//! Who is there: every machine that the daemon holds, held, or sees and leaves alone.

use qev_qmp::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The machines, by a key that lasts as long as a machine is known. Clones are for the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    machines: Arc<Mutex<BTreeMap<String, MachineStatus>>>,
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
    /// What is wrong, or what would attach it, in words.
    pub(crate) note: Option<String>,
}

impl Roster {
    /// Adds a machine or replaces what is known of it.
    pub(crate) fn put(&self, key: &str, status: MachineStatus) {
        self.lock().insert(key.to_owned(), status);
    }

    /// Changes what is known of a machine, if it is known.
    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut MachineStatus)) {
        if let Some(status) = self.lock().get_mut(key) {
            change(status);
        }
    }

    /// Forgets a machine.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// All of them, by machine and session.
    pub(crate) fn snapshot(&self) -> Vec<MachineStatus> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, MachineStatus>> {
        // What is behind the lock is whole at every moment.
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
