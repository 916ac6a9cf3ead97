//! How the open files that the process may have (`RLIMIT_NOFILE`) are divided among what takes them.
//!
//! ```text
//!   RLIMIT_NOFILE ─┬─ reserve: our own files, the journal, its readers      never given to a peer
//!                  └─ pool ─┬─ machines and shared monitors, together 7/8
//!                           ├─ HTTP connections, 1/4
//!                           ├─ clients of shared monitors, 1/8
//!                           └─ clients of qev.sock, 1/8
//! ```
//!
//! Every connection that a peer can cause needs a [`DescriptorPermit`] first. A kind that has used its part is refused, and
//! the pool ends before the limit does. So peers that connect and stay silent cannot take the descriptors that the journal
//! needs to begin its next segment.
//!
//! The parts add up to more than the pool, because few hosts have all kinds at once.

use qev_link::ConnectError;
use rustix::process::{Resource, getrlimit};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The daemon's own descriptors: standard streams, event queues, listeners, the open segment, two `virsh`, and what the
/// journal opens when it begins a segment or rewrites old ones.
const OWN: usize = 48;

/// The descriptors of threads that read the journal: a sixteenth of the limit, and no more than this. A reader of a segment
/// opens up to four files.
const READERS: usize = 64;

/// What one of each kind takes, in descriptors. A machine is a connection and a handle of its process; an HTTP client and a
/// client of `qev.sock` may have a sealed segment open as well.
const PER_MACHINE: usize = 2;
const PER_SHARED_MONITOR: usize = 1;
const PER_SHARED_MONITOR_CLIENT: usize = 1;
const PER_HTTP_CONNECTION: usize = 2;
const PER_CONTROL_CLIENT: usize = 2;

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescriptorUse {
    /// A machine's monitor and its process.
    Machine,
    /// The socket at which a machine's monitor is shared.
    SharedMonitor,
    /// A client of a shared monitor.
    SharedMonitorClient,
    /// A connection to the page or the API.
    HttpConnection,
    /// A client of `qev.sock`.
    ControlClient,
}

impl DescriptorUse {
    const fn cost(self) -> usize {
        match self {
            DescriptorUse::Machine => PER_MACHINE,
            DescriptorUse::SharedMonitor => PER_SHARED_MONITOR,
            DescriptorUse::SharedMonitorClient => PER_SHARED_MONITOR_CLIENT,
            DescriptorUse::HttpConnection => PER_HTTP_CONNECTION,
            DescriptorUse::ControlClient => PER_CONTROL_CLIENT,
        }
    }
}

/// Counts of descriptors, one per kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    machines: usize,
    shared_monitors: usize,
    shared_monitor_clients: usize,
    http_connections: usize,
    control_clients: usize,
}

impl Counts {
    fn of(&self, kind: DescriptorUse) -> usize {
        match kind {
            DescriptorUse::Machine => self.machines,
            DescriptorUse::SharedMonitor => self.shared_monitors,
            DescriptorUse::SharedMonitorClient => self.shared_monitor_clients,
            DescriptorUse::HttpConnection => self.http_connections,
            DescriptorUse::ControlClient => self.control_clients,
        }
    }

    fn of_mut(&mut self, kind: DescriptorUse) -> &mut usize {
        match kind {
            DescriptorUse::Machine => &mut self.machines,
            DescriptorUse::SharedMonitor => &mut self.shared_monitors,
            DescriptorUse::SharedMonitorClient => &mut self.shared_monitor_clients,
            DescriptorUse::HttpConnection => &mut self.http_connections,
            DescriptorUse::ControlClient => &mut self.control_clients,
        }
    }

    fn sum(&self) -> usize {
        let Counts { machines, shared_monitors, shared_monitor_clients, http_connections, control_clients } = self;
        machines + shared_monitors + shared_monitor_clients + http_connections + control_clients
    }
}

/// The descriptors that are given out to peers.
#[derive(Debug)]
pub(crate) struct Descriptors {
    used: Mutex<Counts>,
    freed: Notify,
    /// The limit of each kind, in descriptors.
    parts: Counts,
    /// The limit of machines and shared monitors together, in descriptors.
    machines_and_shared_monitors: usize,
    /// The limit of everything together, in descriptors.
    pool: usize,
}

/// The right to hold the descriptors of one connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
    descriptors: Arc<Descriptors>,
    kind: DescriptorUse,
}

impl Descriptors {
    /// Divides what this process may have now.
    pub(crate) fn of_process() -> Arc<Descriptors> {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        Descriptors::new(limit.unwrap_or(usize::MAX / 2))
    }

    /// Divides a limit of so many open files.
    pub(crate) fn new(limit: usize) -> Arc<Descriptors> {
        let reserve = OWN + (limit / 16).min(READERS);
        let pool = limit.saturating_sub(reserve);
        let machines_and_shared_monitors = pool - pool / 8;
        // One of each kind is possible whatever the limit is, while the pool has room.
        let part = |part: usize, kind: DescriptorUse| part.max(kind.cost());
        let parts = Counts {
            machines: part(machines_and_shared_monitors, DescriptorUse::Machine),
            shared_monitors: part(limit / 8, DescriptorUse::SharedMonitor),
            shared_monitor_clients: part(limit / 8, DescriptorUse::SharedMonitorClient),
            http_connections: part(pool / 4, DescriptorUse::HttpConnection),
            control_clients: part(pool / 8, DescriptorUse::ControlClient),
        };
        let (used, freed) = (Mutex::default(), Notify::new());
        Arc::new(Descriptors { used, freed, parts, machines_and_shared_monitors, pool })
    }

    /// Returns how many of a kind there may be at most.
    pub(crate) fn most(&self, kind: DescriptorUse) -> usize {
        self.parts.of(kind) / kind.cost()
    }

    /// Takes the descriptors of one connection, if its kind and the pool have room.
    pub(crate) fn try_take(self: &Arc<Descriptors>, kind: DescriptorUse) -> Option<DescriptorPermit> {
        let mut used = self.lock();
        let cost = kind.cost();
        let has_room = used.of(kind) + cost <= self.parts.of(kind) && used.sum() + cost <= self.pool;
        let of_machines = matches!(kind, DescriptorUse::Machine | DescriptorUse::SharedMonitor);
        let together = used.machines + used.shared_monitors + cost;
        if !has_room || of_machines && together > self.machines_and_shared_monitors {
            return None;
        }
        *used.of_mut(kind) += cost;
        Some(DescriptorPermit { descriptors: Arc::clone(self), kind })
    }

    /// The same, but waits until there is room. Nothing is taken when the future is dropped.
    pub(crate) async fn take(self: &Arc<Descriptors>, kind: DescriptorUse) -> DescriptorPermit {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(permit) = self.try_take(kind) {
                return permit;
            }
            freed.await;
        }
    }

    /// Counts descriptors that are open already: the connections that a previous daemon left.
    pub(crate) fn take_open(self: &Arc<Descriptors>, kind: DescriptorUse) -> DescriptorPermit {
        *self.lock().of_mut(kind) += kind.cost();
        DescriptorPermit { descriptors: Arc::clone(self), kind }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // What is behind the lock is whole at every moment.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a monitor is not connected to when no descriptors are left for it.
pub(crate) fn no_descriptors(socket: String) -> ConnectError {
    ConnectError::Io { socket, source: rustix::io::Errno::MFILE.into() }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        let mut used = self.descriptors.lock();
        let of_kind = used.of_mut(self.kind);
        *of_kind = of_kind.saturating_sub(self.kind.cost());
        drop(used);
        self.descriptors.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DescriptorUse::{ControlClient, HttpConnection, Machine, SharedMonitor, SharedMonitorClient};

    /// Takes as many of a kind as there are.
    fn fill(descriptors: &Arc<Descriptors>, kind: DescriptorUse) -> Vec<DescriptorPermit> {
        std::iter::from_fn(|| descriptors.try_take(kind)).collect()
    }

    #[track_caller]
    fn check(limit: usize, kind: DescriptorUse, expected: usize) {
        assert_eq!(fill(&Descriptors::new(limit), kind).len(), expected, "{kind:?} of {limit}");
    }

    #[test]
    fn each_kind_has_a_part_of_the_limit() {
        check(20_000, Machine, 8_701);
        check(20_000, SharedMonitor, 2_500);
        check(20_000, SharedMonitorClient, 2_500);
        check(20_000, HttpConnection, 2_486);
        check(20_000, ControlClient, 1_243);
        check(1 << 19, HttpConnection, 65_522);
    }

    #[test]
    fn small_limits_leave_room_for_one_of_each_kind() {
        check(64, Machine, 5);
        check(64, HttpConnection, 1);
        check(64, ControlClient, 1);
        check(52, ControlClient, 0);
    }

    #[test]
    fn all_kinds_together_leave_the_reserve() {
        for limit in [64, 128, 1024, 20_000, 1 << 20] {
            let descriptors = Descriptors::new(limit);
            let all: Vec<_> = [HttpConnection, SharedMonitor, SharedMonitorClient, ControlClient, Machine]
                .map(|kind| fill(&descriptors, kind))
                .into();
            let used = descriptors.lock().sum();
            assert!(used + OWN + READERS.min(limit / 16) <= limit, "{used} of {limit} are given out");
            drop(all);
            assert_eq!(descriptors.lock().sum(), 0);
        }
    }

    #[test]
    fn machines_cannot_take_the_descriptors_of_the_api() {
        let descriptors = Descriptors::new(1024);
        let _machines = fill(&descriptors, Machine);
        assert!(descriptors.try_take(HttpConnection).is_some() && descriptors.try_take(ControlClient).is_some());
    }

    #[tokio::test]
    async fn a_waiting_taker_gets_what_is_freed() {
        let descriptors = Descriptors::new(64);
        let mut machines = fill(&descriptors, Machine);
        let waiting = tokio::spawn({
            let descriptors = Arc::clone(&descriptors);
            async move { descriptors.take(Machine).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(machines.pop());
        waiting.await.unwrap();
    }
}
