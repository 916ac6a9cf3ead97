//! Signals that would end the program, caught so that it can put in order what it has: sockets, children, records.

use crate::exit::{Exit, Failure};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a person and a service manager end a program with.
pub(crate) const TO_END: &[SignalKind] = &[SignalKind::interrupt(), SignalKind::terminate()];

/// The same, and that the terminal is gone.
pub(crate) const TO_END_OR_HANG_UP: &[SignalKind] =
    &[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];

/// Signals that have no other effect any more.
#[derive(Debug, Default)]
pub(crate) struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Catches these from now on. To be called before there is something to put in order.
    pub(crate) fn catch(kinds: &[SignalKind]) -> Result<Signals, Failure> {
        Signals::try_catch(kinds).map_err(|error| Failure::new(Exit::Failed, error).about("listening for signals"))
    }

    /// The same, with the error as the kernel has it.
    pub(crate) fn try_catch(kinds: &[SignalKind]) -> io::Result<Signals> {
        kinds.iter().map(|kind| Ok((*kind, signal(*kind)?))).collect::<io::Result<_>>().map(Signals)
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
}
