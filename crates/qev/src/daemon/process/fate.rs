//! How a process ended, in words.

use std::fmt;

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is still there.
    Running,
    /// It ended by itself with this status.
    Exited(u8),
    /// This signal ended it.
    Killed(u8),
    /// The kernel's OOM killer ended it.
    OutOfMemory,
    /// It is gone, and how is not known.
    Gone,
}

impl Fate {
    /// Decodes a status in the form of `wait(2)`.
    pub(super) fn from_wait_status(status: u32) -> Fate {
        let byte = |n: u32| u8::try_from(n & 0xFF).unwrap_or_default();
        match byte(status & 0x7F) {
            0 => Fate::Exited(byte(status >> 8)),
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
            Fate::OutOfMemory => f.write_str("was killed by SIGKILL from the kernel's OOM killer (out of memory)"),
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
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_signal_and_the_status() {
        let check = |fate: Fate, expected: &str| assert_eq!(fate.to_string(), expected);
        check(Fate::Killed(9), "was killed by SIGKILL");
        check(Fate::Killed(64), "was killed by signal 64");
        check(Fate::Exited(33), "ended with status 33");
        check(Fate::OutOfMemory, "was killed by SIGKILL from the kernel's OOM killer (out of memory)");
    }

    #[test]
    fn decodes_what_wait_returns() {
        let check = |status: u32, expected: Fate| assert_eq!(Fate::from_wait_status(status), expected, "{status:#x}");
        check(0, Fate::Exited(0));
        check(33 << 8, Fate::Exited(33));
        check(9, Fate::Killed(9));
        check(0x80 | 11, Fate::Killed(11));
    }
}
