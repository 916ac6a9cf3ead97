//! Whether this process may have as many files open as a fleet needs: asked before the first socket is made.
//!
//! A server that runs out of descriptors does not fail, it stops accepting, which is a strange thing to find out about
//! at machine 1,013.

use crate::exit::Failure;
use std::fmt;

/// What a process has open besides: standard streams, epoll, signals, and some to spare.
const BESIDES: u64 = 32;

/// This process may not have so many files open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooFew {
    machines: u64,
    needed: u64,
    limits: Limits,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFew { machines, needed, limits: Limits { soft, hard } } = self;
        write!(
            f,
            "{machines} machines with a client each need {needed} open files, and this process may have {soft} \
             (RLIMIT_NOFILE): "
        )?;
        if hard >= needed {
            write!(f, "run 'ulimit -n {needed}' in this shell first")
        } else {
            write!(
                f,
                "the shell may raise that to {hard} only: as root run 'ulimit -Hn {needed}' first, raise nofile in \
                 /etc/security/limits.conf, or LimitNOFILE= of the service; or start several with fewer machines"
            )
        }
    }
}

impl std::error::Error for TooFew {}

/// How many files a process may have open, and to how many it may raise that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    soft: u64,
    hard: u64,
}

/// Checks that so many machines can have so many files open, each.
///
/// # Errors
///
/// When the limit is too low: what it is, and how to raise it.
pub(super) fn check(machines: u64, each: u64) -> Result<(), Failure> {
    let needed = machines.saturating_mul(each).saturating_add(BESIDES);
    // Where the limits cannot be known, the sockets will tell.
    let limits = std::fs::read_to_string("/proc/self/limits").ok().and_then(|text| limits(&text));
    match limits {
        Some(limits) if limits.soft < needed => Err(Failure::usage(TooFew { machines, needed, limits })),
        _ => Ok(()),
    }
}

/// Reads `/proc/self/limits`.
fn limits(text: &str) -> Option<Limits> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace().map(|number| match number {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some(Limits { soft: numbers.next()??, hard: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max locked memory         unlimited            unlimited            bytes
";

    #[test]
    fn the_kernels_table_is_read() {
        assert_eq!(limits(TEXT), Some(Limits { soft: 1024, hard: 524_288 }));
        let unlimited = TEXT.replace("524288", "unlimited");
        assert_eq!(limits(&unlimited), Some(Limits { soft: 1024, hard: u64::MAX }));
        assert_eq!(limits("Max processes 1 2 processes"), None);
    }

    #[test]
    fn it_says_how_to_raise_the_limit() {
        let told = |hard| TooFew { machines: 8000, needed: 16_032, limits: Limits { soft: 1024, hard } }.to_string();
        assert!(told(20_000).ends_with("may have 1024 (RLIMIT_NOFILE): run 'ulimit -n 16032' in this shell first"));
        assert!(told(4096).contains("may raise that to 4096 only: as root run 'ulimit -Hn 16032' first"));
    }

    #[test]
    fn one_machine_always_fits() {
        assert!(check(1, 4).is_ok());
        let error = check(u64::MAX, 2).unwrap_err();
        assert!(format!("{error:?}").contains("TooFew"));
    }
}
