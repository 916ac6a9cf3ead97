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
//! A descriptor that was handed to us cannot be connected again: with it, it is over when the connection is.
//!
//! What is missed between two connections is shown: a gap stands before the second `attached`.

use super::{How, Note, Notes, relay, schema};
use crate::backoff::Backoff;
use crate::exit::tell;
use crate::monitor::{Monitor, ROOM, file_name};
use crate::printer::now;
use qev_link::{Client, ConnectError, ConnectOptions, Target};
use qev_record::record::Gap;
use std::sync::Arc;
use tokio::time::Instant;

/// Follows one monitor.
pub(super) async fn follow(target: Target, host: Arc<str>, how: How, notes: Notes) {
    // A descriptor that was handed over leads nowhere a second time.
    let reconnect = how.reconnect && !matches!(target, Target::Descriptor(_));
    let mut backoff = Backoff::default();
    let mut lost = None;
    let mut told = String::new();
    loop {
        match Client::connect(&target, ConnectOptions::default().events(ROOM)).await {
            Ok((client, events)) => {
                let since = Instant::now();
                told.clear();
                let monitor = Monitor::of(&client, &host, || file_name(&target)).await;
                let schema = schema(&client, &monitor, how.validate).await;
                // The events keep the connection.
                drop(client);
                let gap = lost.map(|from| monitor.gap(Gap { from: Some(from), ..Gap::default() }, "not connected"));
                let over = relay(&monitor, schema, gap, events, &notes).await.is_err();
                if over || !reconnect {
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
            | ConnectError::NotInherited { .. }
            | ConnectError::HumanMonitor { .. }
            | ConnectError::NotQmp { .. }
            | ConnectError::NegotiationRefused { .. }
    )
}
