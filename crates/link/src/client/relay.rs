//! A subscription in which answers to commands stand among the events, where they stood on the wire.
//!
//! ```text
//!   connection's task ── event ──► queue ──► Relay::next
//!                     ── answer ─►   │         in one order
//! ```
//!
//! Who passes on both to somebody else needs it: an event that a command led to comes before or after its reply, and that
//! means something.

use super::Client;
use super::events::{Capacity, Entry, Events};
use super::execute::{Order, ReplyTo, Submission};
use qev_qmp::Json;
use tokio::sync::mpsc::error::TrySendError;

/// A subscription with answers.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Client,
    events: Events,
}

/// A command that somebody wants passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What its answer is to be known by.
    pub(crate) ticket: u64,
    pub(crate) command: String,
    pub(crate) arguments: Option<Json>,
    pub(crate) oob: bool,
}

/// Why a command was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The connection's task has enough to do: wait with [`Relay::has_room`]. The command is given back.
    Full(Box<Passed>),
    /// The connection has ended.
    Ended,
}

impl Relay {
    /// Everything that comes from now on. At its bound it loses the oldest events, and says how many; never an answer.
    pub(crate) fn new(client: &Client, capacity: Capacity) -> Relay {
        Relay { client: client.clone(), events: client.subscribe(capacity) }
    }

    /// Gives a command to the connection's task. Its answer comes as an entry, unless the connection ends before.
    pub(crate) fn submit(&self, passed: Passed) -> Result<(), NotTaken> {
        let Passed { ticket, command, arguments, oob } = passed;
        let reply = ReplyTo::Relay(self.events.answers(), ticket);
        let submission = Submission { command, arguments, oob, reply };
        self.client.orders.try_send(Order::Execute(Box::new(submission))).map_err(|error| match error {
            TrySendError::Full(Order::Execute(back)) => {
                let Submission { command, arguments, oob, .. } = *back;
                NotTaken::Full(Box::new(Passed { ticket, command, arguments, oob }))
            }
            TrySendError::Full(_) | TrySendError::Closed(_) => NotTaken::Ended,
        })
    }

    /// Waits until a command may be given, or the connection has ended.
    pub(crate) async fn has_room(&self) {
        let _ = self.client.orders.reserve().await;
    }

    /// The next event or answer. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&self) -> Entry {
        loop {
            if let Some(entry) = self.events.try_entry() {
                return entry;
            }
            self.events.filled().await;
        }
    }
}
