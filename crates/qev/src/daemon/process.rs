//! The process behind a monitor: which one it is, for a process id is used again, and how it ended.
//!
//! ```text
//!   the connection ends ─► /proc/PID/stat    ends or has ended, and its status is shown ──► that is how
//!                              │ gone: the parent has reaped it          │ it lives, or its status is not shown
//!                              ▼                                         ▼
//!                          PIDFD_GET_INFO on its pidfd          wait for its pidfd, 2 s at most, and look again
//!                              │ refused: Linux before 6.15              │ still there
//!                              ▼                                         ▼
//!                          not known, and never guessed          only its monitor was closed
//! ```
//!
//! | way | needs | gives |
//! |---|---|---|
//! | `PIDFD_GET_INFO` ([`qev_pidfd_info`]) | Linux 6.15; no privilege, not even the process's user | the status for as long as the pidfd is open, from the moment the parent has reaped |
//! | `/proc/PID/stat` | any Linux; the right to trace the process (its user, or `CAP_SYS_PTRACE`) | the status until the parent has reaped. The kernel sets it before it closes the process's files, so a reader who looks as soon as the connection ends may still see it |
//!
//! The kernel's process connector (netlink, `PROC_EVENT_EXIT`) is not used. It tells the status of every process of the host,
//! and needs `CAP_NET_ADMIN` before Linux 6.6, with which a daemon could change the host's network. The daemon would also wake
//! for every process that ends on the host.

mod fate;
mod kernel_log;
mod out_of_memory;
mod stat;

use super::readiness;
pub(crate) use fate::Fate;
use out_of_memory::OomWatch;
use qev_pidfd_info::Pidfd;
use stat::{Stage, Stat};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a process may take to end after its monitor was closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked for where its pidfd does not help.
const AGAIN: Duration = Duration::from_millis(20);

/// How often the control group's counter is read: an older kill by the OOM killer was of another process.
const REFRESH: Duration = Duration::from_secs(300);

const SIGKILL: u8 = 9;

/// A process that was there when this was made.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    start: u64,
    /// Open as long as the monitor is attached, so that it stays this process's. `None` where the kernel has none.
    pidfd: Option<Pidfd>,
    /// Whether the kernel shows us its status in `/proc`: it shows 0 to those who may not trace the process.
    shows_status: bool,
    /// With the time at which it was read.
    oom: Mutex<(OomWatch, Instant)>,
}

impl Process {
    /// The process with this id, if it is there.
    pub(crate) fn of(pid: u32) -> Option<Process> {
        let pidfd = Pidfd::open(pid).ok();
        // The descriptor first: what is read afterwards is read of that process, or it is gone.
        let stat = Stat::read(pid)?;
        let shows_status = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        Some(Process {
            pid,
            start: stat.start,
            pidfd,
            shows_status,
            oom: Mutex::new((OomWatch::of(pid), Instant::now())),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The process's id and when it started, in ticks since the host did: no other process on it has both.
    pub(crate) fn session(&self) -> String {
        format!("pid-{}@{}", self.pid, self.start)
    }

    /// Waits until its monitor is closed, and returns what became of it.
    pub(crate) async fn fate_after(&self, closed: impl Future<Output = ()>) -> Fate {
        tokio::pin!(closed);
        while tokio::time::timeout(REFRESH, &mut closed).await.is_err() {
            self.refresh();
        }
        self.fate(PATIENCE).await
    }

    /// Reads the control group's counter again, if that was long ago.
    pub(crate) fn refresh(&self) {
        let mut oom = self.oom();
        let (watch, read_at) = &mut *oom;
        if read_at.elapsed() >= REFRESH {
            watch.refresh();
            *read_at = Instant::now();
        }
    }

    fn oom(&self) -> MutexGuard<'_, (OomWatch, Instant)> {
        // What is behind the lock is whole at every moment.
        self.oom.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of it, now that its monitor is closed. It is given this long to end.
    pub(crate) async fn fate(&self, patience: Duration) -> Fate {
        let fate = self.status(patience).await;
        if fate == Fate::Killed(SIGKILL) && self.oom().0.has_killed(self.pid) { Fate::OutOfMemory } else { fate }
    }

    async fn status(&self, patience: Duration) -> Fate {
        let deadline = Instant::now() + patience;
        let mut pidfd = self.pidfd.as_ref().and_then(|pidfd| readiness::of(pidfd.as_fd()).ok());
        let mut seen = Seen::Lives;
        loop {
            seen = match self.look() {
                Seen::Ended(fate) => return fate,
                // What was seen on its way out, with 0 for a status that may not have been set.
                Seen::Reaped => return if let Seen::IsEnding(fate) = seen { fate } else { Fate::Gone },
                now => now,
            };
            let waited = match &mut pidfd {
                Some(pidfd) => timeout_at(deadline, pidfd.readable()).await.map(|_| ()),
                None => timeout_at(deadline, tokio::time::sleep(AGAIN)).await,
            };
            match waited {
                // It has ended, or the descriptor does not help: for the rest of the time it is looked for.
                Ok(()) => pidfd = None,
                Err(_) => {
                    return match self.look() {
                        Seen::Lives => Fate::Running,
                        Seen::IsEnding(fate) | Seen::Ended(fate) => fate,
                        Seen::Hidden | Seen::Reaped => Fate::Gone,
                    };
                }
            }
        }
    }

    /// What can be seen of it now.
    fn look(&self) -> Seen {
        let Some(stat) = Stat::read(self.pid).filter(|stat| stat.start == self.start) else {
            let status = self.pidfd.as_ref().and_then(|pidfd| pidfd.exit_status().ok().flatten());
            return match status.and_then(|status| u32::try_from(status).ok()) {
                Some(status) => Seen::Ended(Fate::from_wait_status(status)),
                None => Seen::Reaped,
            };
        };
        match (stat.stage, stat.fate()) {
            (Stage::Lives, _) => Seen::Lives,
            _ if !self.shows_status => Seen::Hidden,
            (Stage::IsEnding, fate @ Fate::Exited(0)) => Seen::IsEnding(fate),
            (_, fate) => Seen::Ended(fate),
        }
    }
}

/// What one look at a process gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Lives,
    /// It is ending with this status, or the status is not set yet.
    IsEnding(Fate),
    /// It is ending or has ended, and we may not see its status until it is reaped.
    Hidden,
    Ended(Fate),
    /// Its parent has reaped it, and the kernel does not give out the status.
    Reaped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// Long enough for whatever is bound to come.
    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> (Child, Process) {
        let child = Command::new("sh").args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    /// Whether the kernel keeps the status of a process that was reaped.
    fn kernel_keeps_status() -> bool {
        let (mut child, process) = shell("read x");
        drop(child.stdin.take());
        child.wait().unwrap();
        process.look() != Seen::Reaped
    }

    const ENDS: [(&str, Fate); 4] = [
        ("read x; exit 33", Fate::Exited(33)),
        ("read x; exit 0", Fate::Exited(0)),
        ("read x; kill -9 $$", Fate::Killed(9)),
        ("read x; kill -SEGV $$", Fate::Killed(11)),
    ];

    #[tokio::test]
    async fn the_end_is_seen_while_the_parent_has_not_reaped() {
        for (script, expected) in ENDS {
            let (mut child, process) = shell(script);
            drop(child.stdin.take());
            assert_eq!(process.fate(LONG).await, expected, "{script}");
            child.wait().unwrap();
        }
    }

    #[tokio::test]
    async fn the_end_is_known_after_the_parent_has_reaped() {
        let is_kept = kernel_keeps_status();
        for (script, expected) in ENDS {
            let (mut child, process) = shell(script);
            drop(child.stdin.take());
            child.wait().unwrap();
            assert_eq!(process.fate(LONG).await, if is_kept { expected } else { Fate::Gone }, "{script}");
        }
    }

    #[tokio::test]
    async fn every_end_is_known_of_processes_that_are_reaped_at_once() {
        if !kernel_keeps_status() {
            return;
        }
        for (signal, expected) in [("-KILL", Fate::Killed(9)), ("-SEGV", Fate::Killed(11))] {
            let started: Vec<_> = (0..24).map(|_| shell("read x")).collect();
            let (children, processes): (Vec<_>, Vec<_>) = started.into_iter().unzip();
            let pids: Vec<String> = children.iter().map(|child| child.id().to_string()).collect();
            // Waiting for a child would close its input, and end it.
            let reaper = |mut child: Child| {
                let input = child.stdin.take();
                std::thread::spawn(move || (child.wait().unwrap(), input))
            };
            let reapers: Vec<_> = children.into_iter().map(reaper).collect();
            assert!(Command::new("kill").arg(signal).args(pids).status().unwrap().success());
            for process in processes {
                assert_eq!(process.fate(LONG).await, expected);
            }
            reapers.into_iter().for_each(|reaper| drop(reaper.join().unwrap()));
        }
    }

    #[tokio::test]
    async fn one_whose_status_is_hidden_is_waited_for_until_it_is_reaped() {
        if !kernel_keeps_status() {
            return;
        }
        let (mut child, mut process) = shell("read x; kill -9 $$");
        // As it is for another user's process without a capability.
        process.shows_status = false;
        drop(child.stdin.take());
        let deadline = Instant::now() + LONG;
        while process.look() != Seen::Hidden {
            assert!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(AGAIN).await;
        }
        assert_eq!(process.fate(Duration::ZERO).await, Fate::Gone, "nobody has reaped it");
        let (fate, _) = tokio::join!(process.fate(LONG), async { child.wait().unwrap() });
        assert_eq!(fate, Fate::Killed(9));
    }

    #[tokio::test]
    async fn one_that_goes_on_is_still_there() {
        let (mut child, process) = shell("read x");
        assert_eq!(process.fate(Duration::from_millis(10)).await, Fate::Running);
        assert_eq!(process.session(), Process::of(child.id()).unwrap().session());
        drop(child.stdin.take());
        let closed = async { child.wait().map(drop).unwrap() };
        assert!(matches!(process.fate_after(closed).await, Fate::Exited(_) | Fate::Gone));
        assert!(Process::of(process.pid()).is_none());
    }
}
