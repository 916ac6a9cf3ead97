//! The process behind a monitor: which one it is, for a process id is used again, and how it ended.
//!
//! ```text
//!   the connection ends ─► /proc/PID/stat: is it on its way out?   yes ─► its status, while it can be seen
//!                              │ no                                        (its parent may take it away any moment)
//!                              ▼
//!                          wait for its pidfd, 2 s at most ─► still there: only its monitor was closed
//! ```
//!
//! The kernel sets a process's status before it closes its files, so whoever looks as soon as the connection ends sees it
//! nearly always. Where it was too late, or where it is another user's process, the status is not known, and never guessed.

use super::readiness;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a process may take to end after its monitor was closed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked for where the kernel has no pidfd.
const AGAIN: Duration = Duration::from_millis(20);

/// `PF_EXITING`: the process is ending, and its status is set.
const EXITING: u64 = 4;

/// A process that was there when this was made.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    start: u64,
    /// `None` where the kernel has none.
    pidfd: Option<OwnedFd>,
    /// Whether the kernel will tell us its status: it shows 0 to those who may not see it.
    open_to_us: bool,
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is still there.
    Running,
    /// It ended by itself with this status.
    Exited(u8),
    /// This signal ended it.
    Killed(u8),
    /// It is gone, and how is not known.
    Gone,
}

impl Process {
    /// The process with this id, if it is there.
    pub(crate) fn of(pid: u32) -> Option<Process> {
        let pidfd = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        // The descriptor first: what is read afterwards is read of that process, or it is gone.
        let stat = Stat::read(pid)?;
        let open_to_us = std::fs::read_link(folder(pid).join("exe")).is_ok();
        Some(Process { pid, start: stat.start, pidfd: pidfd?.ok(), open_to_us })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The process's id and when it started, in ticks since the host did: no other process on it has both.
    pub(crate) fn session(&self) -> String {
        format!("pid-{}@{}", self.pid, self.start)
    }

    /// What became of it, now that its monitor is closed. It is given this long to end.
    pub(crate) async fn fate(&self, patience: Duration) -> Fate {
        let deadline = Instant::now() + patience;
        let mut pidfd = self.pidfd.as_ref().and_then(|pidfd| readiness::of(pidfd.as_fd()).ok());
        loop {
            if let Some(fate) = self.ended() {
                return fate;
            }
            let waited = match &mut pidfd {
                Some(pidfd) => timeout_at(deadline, pidfd.readable()).await.map(|_| ()),
                None => timeout_at(deadline, tokio::time::sleep(AGAIN)).await,
            };
            match (waited, self.ended()) {
                (_, Some(fate)) => return fate,
                (Err(_), None) => return Fate::Running,
                // It has ended, or the descriptor is no help: the rest of the time it is looked for.
                (Ok(()), None) => pidfd = None,
            }
        }
    }

    /// What became of it, if it is gone or on its way.
    fn ended(&self) -> Option<Fate> {
        match Stat::read(self.pid).filter(|stat| stat.start == self.start) {
            None => Some(Fate::Gone),
            Some(stat) if stat.is_ending => Some(if self.open_to_us { stat.fate() } else { Fate::Gone }),
            Some(_) => None,
        }
    }
}

fn folder(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// What matters of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    is_ending: bool,
    start: u64,
    /// As `wait(2)` has it.
    status: u32,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read(folder(pid).join("stat")).ok()?)
    }

    fn parse(stat: &[u8]) -> Option<Stat> {
        // The second column is a name in parentheses, and may hold anything.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let columns: Vec<&str> = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
        // Counted as proc(5) does, the state is the third.
        let column = |number: usize| columns.get(number - 3).copied();
        let flags: u64 = column(9)?.parse().ok()?;
        Some(Stat {
            is_ending: matches!(column(3)?, "Z" | "X" | "x") || flags & EXITING != 0,
            start: column(22)?.parse().ok()?,
            status: column(52)?.parse().ok()?,
        })
    }

    fn fate(&self) -> Fate {
        let byte = |n: u32| u8::try_from(n & 0xFF).unwrap_or_default();
        match byte(self.status & 0x7F) {
            0 => Fate::Exited(byte(self.status >> 8)),
            signal => Fate::Killed(signal),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Running => f.write_str("still runs"),
            Fate::Exited(status) => write!(f, "ended with status {status}"),
            Fate::Killed(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Fate::Gone => f.write_str("is gone, and how it ended is not known"),
        }
    }
}

fn signal_name(signal: u8) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn shell(script: &str) -> (Child, Process) {
        let child = Command::new("sh").args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    #[tokio::test]
    async fn how_a_process_ended_is_seen_while_its_parent_has_not_asked() {
        for (script, expected) in [
            ("read x; exit 33", Fate::Exited(33)),
            ("read x; exit 0", Fate::Exited(0)),
            ("read x; kill -9 $$", Fate::Killed(9)),
            ("read x; kill -SEGV $$", Fate::Killed(11)),
        ] {
            let (mut child, process) = shell(script);
            drop(child.stdin.take());
            assert_eq!(process.fate(Duration::from_secs(60)).await, expected, "{script}");
            child.wait().unwrap();
            assert_eq!(process.fate(Duration::from_secs(60)).await, Fate::Gone, "now its parent has asked");
        }
    }

    #[tokio::test]
    async fn one_that_goes_on_is_still_there() {
        let (mut child, process) = shell("read x");
        assert_eq!(process.fate(Duration::from_millis(10)).await, Fate::Running);
        assert_eq!(process.session(), Process::of(child.id()).unwrap().session());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(Process::of(child.id()).is_none());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let mut line = b"7 (a) b) Z 1) Z 1 7 7 0 -1 4 ".to_vec();
        let rest: Vec<String> = (10..=52).map(|column| column.to_string()).collect();
        line.extend_from_slice(rest.join(" ").as_bytes());
        let stat = Stat::parse(&line).unwrap();
        assert_eq!(stat, Stat { is_ending: true, start: 22, status: 52 });
        for length in 0..line.len() - 2 {
            assert_eq!(Stat::parse(&line[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(Fate::Killed(9).to_string(), "was killed by SIGKILL");
        assert_eq!(Fate::Killed(64).to_string(), "was killed by signal 64");
        assert_eq!(Fate::Exited(33).to_string(), "ended with status 33");
    }
}
