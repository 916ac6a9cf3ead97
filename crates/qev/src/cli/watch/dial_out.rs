//! One monitor that is connected to, from its beginning to its end, and again when that is wanted.
//!
//! ```text
//!               connected                    ended
//!   Connecting ───────────► Relaying ────────────────────► over; with --reconnect:
//!     ▲   │ not yet, --reconnect                            │
//!     │   ▼                                                 │
//!   Waiting, 0.25 s … 10 s ◄────────────────────────────────┘
//! ```
//!
//! What is missed between two connections is shown: a gap stands before the second `attached`.

use super::{Note, Notes, relay};
use crate::exit::tell;
use crate::monitor::{Monitor, ROOM, file_name};
use crate::printer::now;
use qev_link::{Client, ConnectError, ConnectOptions, Target};
use qev_record::record::Gap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Follows one monitor.
pub(super) async fn follow(target: Target, host: Arc<str>, reconnect: bool, notes: Notes) {
    let mut backoff = Backoff::default();
    let mut lost = None;
    let mut told = String::new();
    loop {
        match Client::connect(&target, ConnectOptions::default().events(ROOM)).await {
            Ok((client, events)) => {
                let since = Instant::now();
                told.clear();
                let monitor = Monitor::of(&client, &host, || file_name(&target)).await;
                // The events keep the connection.
                drop(client);
                let gap = lost.map(|from| monitor.gap(Gap { from: Some(from), ..Gap::default() }, "not connected"));
                if relay(&monitor, gap, events, &notes).await.is_err() || !reconnect {
                    return;
                }
                lost = Some(now());
                backoff.was_connected(since.elapsed());
            }
            Err(error) if reconnect && may_change(&error) => {
                let message = format!("waiting: {error}");
                if message != told {
                    tell(&message);
                    told = message;
                }
            }
            Err(error) => {
                // The loop may have ended already; then nobody wants to know.
                let _ = notes.send(Note::NotConnected(error)).await;
                return;
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Whether it may be otherwise in a while, with nobody changing what QEMU or we are told to do.
fn may_change(error: &ConnectError) -> bool {
    !matches!(
        error,
        ConnectError::MachineName { .. }
            | ConnectError::NotASocket { .. }
            | ConnectError::HumanMonitor { .. }
            | ConnectError::NotQmp { .. }
            | ConnectError::NegotiationRefused { .. }
    )
}

/// How long to wait before the next attempt: twice as long each time, from the beginning after a connection that lasted.
#[derive(Debug)]
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(10);

    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Backoff::LAST);
        wait
    }

    /// A machine that comes and goes at once should not be asked four times a second.
    fn was_connected(&mut self, lasted: Duration) {
        if lasted >= Backoff::LAST {
            *self = Backoff::default();
        }
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(Backoff::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_to_ten_seconds_and_begins_anew_after_a_connection_that_lasted() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.was_connected(Duration::from_secs(9));
        assert_eq!(backoff.next(), Backoff::LAST);
        backoff.was_connected(Duration::from_secs(10));
        assert_eq!(backoff.next(), Backoff::FIRST);
    }
}
