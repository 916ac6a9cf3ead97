//! What qev says about an event, with no I/O and no clock: the caller passes the time and the text.
//!
//! | module | what it has |
//! |---|---|
//! | [`record`] | the record: one thing that happened to a machine, as JSON Lines |
//! | [`input`] | lines that may be given to qev: records, events as QEMU wrote them, recordings |
//! | [`meaning`] | severity, plain sentence and advice for an event |
//! | [`explain`] | what each event is, since when, and what it carries |
//! | [`filter`] | which records somebody wants |
//! | [`plain`] | foreign text made safe to read |
//! | [`acpi`], [`size`], [`time`] | ACPI's numbers, bytes and times in words |
//!
//! ```
//! use qev_qmp::{Message, Timestamp};
//! use qev_record::Record;
//!
//! let line = br#"{"event": "BALLOON_CHANGE", "data": {"actual": 134217728}}"#;
//! if let Ok(Message::Event(event)) = Message::decode(line) {
//!     let record = Record::event("h1", "web1", Timestamp::from_micros(0), &event);
//!     assert_eq!(&*record.summary, "balloon at 128 MiB");
//! }
//! ```

pub mod acpi;
pub mod explain;
pub mod filter;
pub mod input;
pub mod meaning;
pub mod plain;
pub mod record;
pub mod severity;
pub mod size;
pub mod time;

pub use explain::{Explanation, NoSuchEvent};
pub use filter::{Filter, Glob, GlobError, Where, WhereError};
pub use input::{InputError, Line};
pub use meaning::{Meaning, advice};
pub use record::{Gap, Kind, NO_MACHINE, Record, RecordError};
pub use severity::{NoSuchSeverity, Severity};
