//! The durable, ordered record of what happened to machines: one sequence number for all, on disk before it is given out.
//!
//! A journal is a directory of segments, each one file of SQLite's, named after its first sequence number. One
//! [`Journal`] appends; any number of [`Reader`]s, in any process, read beside it. `docs/journal.md` has the format.
//!
//! | module | what it has |
//! |---|---|
//! | `contents` | the directory as the table of contents |
//! | `store` | a segment's file: tables, opening, sealing |
//! | `segment`, `files`, `dictionary`, `row`, `block`, `checksum` | what is written into it |
//! | `journal` (`place`, `resume`), `high_water`, `lock`, `lock_file`, `recover`, `salvage` | the writer |
//! | `durable` | directories and renames that survive a power cut |
//! | `sessions` | which machines are attached, whatever is deleted |
//! | `retain`, `age`, `clock`, `share`, `compact`, `gone`, `deleted` | what is deleted, whose, and how readers know |
//! | `reader`, `query`, `records`, `counts`, `histogram`, `scan`, `wanted`, `check` | readers |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use qev_journal::{Journal, Options, Query, Reader};
//! use qev_qmp::Timestamp;
//! use qev_record::Record;
//!
//! # let dir = std::env::temp_dir().join(format!("qev-journal-doc-{}", std::process::id()));
//! let mut journal = Journal::open(&dir, Options::default())?;
//! journal.append(&mut [Record::attached("h1", "web1", Timestamp::from_micros(0))])?;
//!
//! for record in Reader::open(&dir)?.records(&Query::default()) {
//!     assert_eq!(record?.seq, Some(1));
//! }
//! # drop(journal);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```

mod age;
mod block;
mod bytes;
mod check;
mod checksum;
mod clock;
mod compact;
mod contents;
mod counts;
mod deleted;
mod dictionary;
pub mod durable;
mod error;
mod files;
mod gone;
mod high_water;
mod histogram;
mod journal;
mod lock;
mod lock_file;
mod options;
mod query;
mod reader;
mod records;
mod recover;
mod retain;
mod row;
mod salvage;
mod scan;
mod segment;
mod sessions;
mod shallow;
mod share;
mod store;
mod wanted;

pub use check::{Report, SegmentReport, SetAside};
pub use clock::{Now, WallClock};
pub use counts::{Count, Counts};
pub use error::{AppendError, FORMAT, OpenError, ReadError};
pub use histogram::{Bucket, Histogram};
pub use journal::Journal;
pub use lock::Writer;
pub use lock_file::{Holder, LockError, LockFile};
pub use options::{Options, Synchronous};
pub use query::Query;
pub use reader::Reader;
pub use records::{Found, Missing, Records, Why};
pub use recover::Finding;
pub use retain::Retained;
pub use segment::RECORDS_A_SEGMENT;
pub use sessions::OpenSessions;
