//! The crate from outside: what a real QEMU said, and what becomes of anything that could be said.

// A test fails by panicking; outside of functions marked as tests clippy must be told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod anything;
mod golden;
mod recorded;

use qev_qmp::{Event, Message, Timestamp};
use qev_record::Record;

/// When qev received it, in every record of these tests.
const RECEIVED: Timestamp = Timestamp { seconds: 1_795_347_310, microseconds: 942_911 };

/// The event on a line as QEMU wrote it.
fn event(line: &str) -> Event {
    match Message::decode(line.as_bytes()) {
        Ok(Message::Event(event)) => event,
        other => panic!("not an event: {other:?}"),
    }
}

/// The record of the event on a line as QEMU wrote it.
fn record(line: &str) -> Record {
    Record::event("h1", "web1", RECEIVED, &event(line))
}
