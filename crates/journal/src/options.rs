//! How a journal is kept: when a new segment begins, what is deleted, how sure a commit is.

use std::time::Duration;

/// How a journal is kept. The default: segments of 64 MiB or a day, nothing is ever deleted, every commit is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// A new segment begins when the newest is this large, in bytes.
    pub segment_bytes: u64,
    /// A new segment begins when the first record of the newest is this old.
    pub segment_age: Duration,
    /// [`Journal::retain`](crate::Journal::retain) deletes the oldest while all segments together are larger, in bytes:
    /// of those machines that have more than their share. What SQLite keeps beside the newest segment is not counted: it
    /// is about as large as a segment, 4 MiB at most.
    pub keep_bytes: Option<u64>,
    /// [`Journal::retain`](crate::Journal::retain) deletes segments whose newest record is older, by a clock that nobody sets:
    /// see [`Now`](crate::Now).
    pub keep_age: Option<Duration>,
    /// What a commit waits for.
    pub synchronous: Synchronous,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Until the disk has it: it survives a power cut.
    #[default]
    Full,
    /// Until the kernel has it: it survives the end of the process, not a power cut. For tests that prove the difference.
    Off,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 60 * 60),
            keep_bytes: None,
            keep_age: None,
            synchronous: Synchronous::Full,
        }
    }
}

impl Options {
    /// A new segment begins when the newest is this large, in bytes.
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// A new segment begins when the first record of the newest is this old.
    pub fn segment_age(mut self, age: Duration) -> Options {
        self.segment_age = age;
        self
    }

    /// Delete the oldest while all segments together are larger, in bytes. The newest segment always stays.
    pub fn keep_bytes(mut self, bytes: impl Into<Option<u64>>) -> Options {
        self.keep_bytes = bytes.into();
        self
    }

    /// Delete segments whose newest record is older.
    pub fn keep_age(mut self, age: impl Into<Option<Duration>>) -> Options {
        self.keep_age = age.into();
        self
    }

    /// What a commit waits for.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Options {
        self.synchronous = synchronous;
        self
    }
}
