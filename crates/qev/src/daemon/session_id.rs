//! Which process a session is, as records have it: `pid-4711@99` is process 4711, which started 99 ticks after its host.

use crate::printer::now;
use qev_qmp::Timestamp;
use std::fmt;
use std::str::FromStr;

/// How long a tick is, in microseconds: `USER_HZ` is 100 wherever a QEMU runs.
const TICK: i64 = 10_000;

/// The process of a session on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId {
    pub(crate) pid: u32,
    /// In ticks since the host was started, the time that it slept included.
    start: u64,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// It runs, or could.
    Alive,
    /// A signal or a debugger stopped it.
    Stopped,
    /// It has ended, or was never there.
    Ended,
}

/// The text does not name a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a session of a process: expected pid-NUMBER@TICKS")
    }
}

impl std::error::Error for ParseSessionIdError {}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<SessionId, ParseSessionIdError> {
        let parse = || {
            let (pid, start) = text.strip_prefix("pid-")?.split_once('@')?;
            Some(SessionId { pid: pid.parse().ok()?, start: start.parse().ok()? })
        };
        parse().ok_or(ParseSessionIdError)
    }
}

impl SessionId {
    /// What the process does now.
    pub(crate) fn state(self) -> ProcessState {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        self.state_in(&stat)
    }

    /// The same, of the text of `/proc/PID/stat`.
    fn state_in(self, stat: &str) -> ProcessState {
        // The second column is a name in parentheses, which may hold anything. Behind it are the third and the following.
        let mut columns = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        let (state, start) = (columns.next(), columns.nth(18));
        if start.and_then(|start| start.parse().ok()) != Some(self.start) {
            return ProcessState::Ended;
        }
        match state {
            Some("Z" | "X" | "x") | None => ProcessState::Ended,
            Some("T" | "t") => ProcessState::Stopped,
            Some(_) => ProcessState::Alive,
        }
    }

    /// When the process started, by the wall clock as it is now.
    pub(crate) fn started(self) -> Option<Timestamp> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        self.started_after(&uptime, now())
    }

    /// The same, by the text of `/proc/uptime` at this time: seconds since the host was started, with two decimals.
    fn started_after(self, uptime: &str, now: Timestamp) -> Option<Timestamp> {
        let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
        let (seconds, hundredths): (i64, i64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
        let ticks = seconds.checked_mul(100)?.checked_add(hundredths)?;
        let age = ticks.checked_sub(i64::try_from(self.start).ok()?)?.max(0).checked_mul(TICK)?;
        Some(Timestamp::from_micros(now.micros()?.checked_sub(age)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::process::Process;
    use std::process::{Command, Stdio};

    #[test]
    fn reads_what_a_process_is_called_and_nothing_else() {
        assert_eq!("pid-7@99".parse(), Ok(SessionId { pid: 7, start: 99 }));
        for text in ["", "pid-7", "7@99", "pid-x@9", "pid-7@", "pid--7@9"] {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text}");
        }
    }

    #[test]
    fn tells_what_a_process_does() {
        let id = SessionId { pid: 7, start: 22 };
        let stat = |state: &str| format!("7 (a) b) T 1) {state} 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23");
        assert_eq!(id.state_in(&stat("S")), ProcessState::Alive);
        assert_eq!(id.state_in(&stat("T")), ProcessState::Stopped);
        assert_eq!(id.state_in(&stat("Z")), ProcessState::Ended);
        assert_eq!(
            SessionId { start: 23, ..id }.state_in(&stat("S")),
            ProcessState::Ended,
            "the number is another's now"
        );
        assert_eq!(id.state_in(""), ProcessState::Ended);
    }

    #[test]
    fn a_process_is_as_old_as_its_ticks() {
        let id = SessionId { pid: 7, start: 1_000 };
        let now = Timestamp { seconds: 1_000_000, microseconds: 5 };
        let started = |uptime: &str| id.started_after(uptime, now);
        assert_eq!(started("12.50 30.1\n"), Some(Timestamp { seconds: 999_997, microseconds: 500_005 }));
        assert_eq!(started("9.99 30.1\n"), Some(now), "the clock of ticks is not ahead of the other");
        assert_eq!((started(""), started("x.y")), (None, None));
    }

    #[test]
    fn knows_when_a_process_started() {
        let before = crate::printer::now();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id: SessionId = Process::of(child.id()).unwrap().session().parse().unwrap();
        let after = crate::printer::now();
        let micros = |time: Timestamp| time.micros().unwrap();
        let started = micros(id.started().unwrap());
        // A tick is 10 ms long, and it counts from its beginning.
        assert!((micros(before) - 20_000..=micros(after) + 20_000).contains(&started), "{started}");
        assert_eq!(id.state(), ProcessState::Alive);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(id.state(), ProcessState::Ended);
    }
}
