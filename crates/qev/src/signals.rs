//! Signals that would end the program, caught so that it can put in order what it has: sockets, children, records.

use crate::exit::{Exit, Failure};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a person and a service manager end a program with, and that the terminal is gone.
pub(crate) const TO_END: &[SignalKind] = &[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];

/// Signals that have no other effect any more.
#[derive(Debug, Default)]
pub(crate) struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Catches these from now on. To be called before there is something to put in order.
    pub(crate) fn catch(kinds: &[SignalKind]) -> Result<Signals, Failure> {
        Signals::try_catch(kinds).map_err(|error| Failure::new(Exit::Failed, error).about("listening for signals"))
    }

    /// The same, with the error as the kernel has it. A terminal that is gone ends nobody who was started to outlive it
    /// (`nohup`).
    pub(crate) fn try_catch(kinds: &[SignalKind]) -> io::Result<Signals> {
        let to_catch = kinds.iter().filter(|kind| **kind != SignalKind::hangup() || !is_hang_up_ignored());
        to_catch.map(|kind| Ok((*kind, signal(*kind)?))).collect::<io::Result<_>>().map(Signals)
    }

    /// The number of the next that comes; for ever, where none are caught. None is missed when the future is dropped.
    pub(crate) async fn next(&mut self) -> u8 {
        poll_fn(|context| {
            for (kind, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(u8::try_from(kind.as_raw_value()).unwrap_or_default());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for one of them.
    pub(crate) async fn any(&mut self) {
        self.next().await;
    }
}

/// Whether we were started with SIGHUP ignored. To catch it would undo that.
fn is_hang_up_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, SignalKind::hangup()))
}

/// Whether a process with this `/proc/PID/status` ignores a signal.
fn ignores(status: &str, kind: SignalKind) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default();
    kind.as_raw_value().checked_sub(1).and_then(|bit| u32::try_from(bit).ok()).is_some_and(|bit| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal as Number, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn a_signal_that_is_caught_has_its_number_and_ends_nobody() {
        let mut signals = Signals::catch(&[SignalKind::user_defined1(), SignalKind::user_defined2()]).unwrap();
        for (number, expected) in [(Number::USR2, 12), (Number::USR1, 10)] {
            kill_process(getpid(), number).unwrap();
            assert_eq!(signals.next().await, expected);
        }
        let none = tokio::time::timeout(Duration::from_millis(1), Signals::default().any()).await;
        assert!(none.is_err());
    }

    #[test]
    fn a_set_of_signals_is_read_as_the_kernel_writes_it() {
        let of =
            |set: &str| format!("Name:\tqev\nSigBlk:\t0000000000000001\nSigIgn:\t{set}\nSigCgt:\t0000000000000001\n");
        assert!(ignores(&of("0000000000001001"), SignalKind::hangup()));
        assert!(!ignores(&of("0000000000001002"), SignalKind::hangup()));
        assert!(ignores(&of("0000000000001002"), SignalKind::interrupt()));
        assert!(!ignores("Name:\tqev\n", SignalKind::hangup()));
    }
}
