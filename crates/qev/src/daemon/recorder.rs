//! From machines to the journal: each machine has an outbox with a bound, one thread commits what is in them in groups.

use qev_record::Record;

/// The way from machines to the journal. Clones are for the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {}

/// One machine's way to the journal.
#[derive(Debug)]
pub(crate) struct Outbox {}

impl Recorder {
    /// An outbox for one session of one machine.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox {}
    }
}

impl Outbox {
    /// Puts a record in. At the outbox's bound it waits for the journal, 5 s at most; then room is made by dropping what
    /// matters least, which a gap record tells.
    pub(crate) async fn put(&self, _record: Record) {}
}
