//! What can go wrong, an enum an operation; each a sentence that names the file.

use crate::lock_file::Holder;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The format that this version reads and writes: see `docs/journal.md`.
pub const FORMAT: i64 = 1;

const NEEDS_WRITER: &str = "its writer was killed, and what it left beside the file only a user who may write to the directory can put in order";

/// A journal could not be opened for writing.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes to it.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, when that is known.
        pid: Option<u32>,
        /// The same with its name, when the kernel tells.
        holder: Option<Holder>,
    },
    /// The directory could not be made or read.
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file could not be made, renamed or deleted.
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A segment has a format of another version.
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// SQLite could not open, make or repair a segment.
    Store {
        /// The segment.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Records could not be appended; none of them was.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// More records at once than a segment holds.
    TooMany {
        /// How many.
        records: usize,
    },
    /// There are no sequence numbers left.
    NoNumbers,
    /// SQLite could not write to the segment: the disk is full, say.
    Store {
        /// The segment.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The segment's file was removed or replaced by somebody else. The next call begins a new one, with the next number.
    Gone {
        /// Where it was.
        path: PathBuf,
        /// Which records went with it, in words.
        lost: Box<str>,
    },
    /// The segment could not be opened, or a new one not be begun.
    Segment(OpenError),
}

/// Records could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such directory.
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory could not be read.
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A segment has a format of another version.
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// A segment is damaged: what could be read of it was, the rest is not there.
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<str>,
    },
    /// A segment may not be read.
    File {
        /// The segment.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Its writer ended without putting what SQLite keeps beside a segment into it, and this user may not.
    NeedsWriter {
        /// The segment.
        path: PathBuf,
    },
    /// A segment could not be opened or read.
    Unreadable {
        /// The segment.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { dir, holder: Some(holder), .. } => {
                write!(f, "the journal in {} is in use by {holder}", dir.display())
            }
            OpenError::InUse { dir, pid: Some(pid), .. } => {
                write!(f, "the journal in {} is in use by process {pid}", dir.display())
            }
            OpenError::InUse { dir, pid: None, .. } => {
                write!(f, "the journal in {} is in use by another process", dir.display())
            }
            OpenError::Directory { dir, .. } => {
                write!(f, "cannot keep a journal in {}: expected a directory that can be written to", dir.display())
            }
            OpenError::File { path, .. } => write!(f, "cannot write {}", path.display()),
            OpenError::Version { path, found } => version(f, path, *found),
            OpenError::Store { path, .. } => write!(f, "cannot open the segment {} for writing", path.display()),
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::TooMany { records } => {
                write!(
                    f,
                    "cannot append {records} records at once: a segment holds {}",
                    crate::segment::RECORDS_A_SEGMENT
                )
            }
            AppendError::NoNumbers => f.write_str("the journal has no sequence numbers left"),
            AppendError::Store { path, .. } => write!(f, "cannot append to the segment {}", path.display()),
            AppendError::Gone { path, lost } => {
                write!(f, "cannot append to the segment {}: {lost}", path.display())
            }
            AppendError::Segment(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NoJournal { dir } => write!(f, "no journal in {}: there is no such directory", dir.display()),
            ReadError::Directory { dir, .. } => write!(f, "cannot read the journal in {}", dir.display()),
            ReadError::Version { path, found } => version(f, path, *found),
            ReadError::Damaged { path, problem } => write!(f, "the segment {} is damaged: {problem}", path.display()),
            ReadError::NeedsWriter { path } => write!(
                f,
                "cannot read the segment {}: {NEEDS_WRITER}: read it as that user, or start the writer",
                path.display()
            ),
            ReadError::File { path, .. } | ReadError::Unreadable { path, .. } => {
                write!(f, "cannot read the segment {}", path.display())
            }
        }
    }
}

fn version(f: &mut fmt::Formatter<'_>, path: &Path, found: i64) -> fmt::Result {
    write!(f, "the segment {} has {}", path.display(), format_and_advice(found))
}

/// A format that is not this one's, and what to do.
fn format_and_advice(found: i64) -> String {
    let advice = match found > FORMAT {
        true => "use a newer qev",
        false => "no qev writes that, the file's header was changed: restore it, or move it out of the journal",
    };
    format!("format {found}, this qev knows {FORMAT}: {advice}")
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::InUse { .. } | OpenError::Version { .. } => None,
            OpenError::Directory { source, .. } | OpenError::File { source, .. } => Some(source),
            OpenError::Store { source, .. } => Some(source),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppendError::TooMany { .. } | AppendError::NoNumbers | AppendError::Gone { .. } => None,
            AppendError::Store { source, .. } => Some(source),
            AppendError::Segment(error) => error.source(),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::NoJournal { .. } | ReadError::Version { .. } => None,
            ReadError::Damaged { .. } | ReadError::NeedsWriter { .. } => None,
            ReadError::Directory { source, .. } | ReadError::File { source, .. } => Some(source),
            ReadError::Unreadable { source, .. } => Some(source),
        }
    }
}

/// What is wrong with one segment; which one, the caller knows.
#[derive(Debug)]
pub(crate) enum SegmentError {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Version(i64),
    Damaged(String),
    NeedsWriter,
}

impl From<rusqlite::Error> for SegmentError {
    /// What the world around can do to a file is an error of SQLite's; all else that goes wrong, a column that is not there
    /// for example, is damage: each statement is right for each segment that was written.
    fn from(error: rusqlite::Error) -> SegmentError {
        use rusqlite::ErrorCode as Code;
        let is_short = |error: &rusqlite::Error| {
            error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
        };
        match error.sqlite_error_code() {
            Some(Code::SystemIoFailure) if is_short(&error) => SegmentError::Damaged(error.to_string()),
            Some(
                Code::PermissionDenied
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::OutOfMemory
                | Code::ReadOnly
                | Code::OperationInterrupted
                | Code::SystemIoFailure
                | Code::NotFound
                | Code::DiskFull
                | Code::CannotOpen
                | Code::FileLockingProtocolFailed
                | Code::TooBig
                | Code::NoLargeFileSupport
                | Code::AuthorizationForStatementDenied,
            ) => SegmentError::Sqlite(error),
            _ => SegmentError::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> SegmentError {
        SegmentError::Io(error)
    }
}

impl SegmentError {
    pub(crate) fn damaged(problem: impl Into<String>) -> SegmentError {
        SegmentError::Damaged(problem.into())
    }

    /// Returns whether the disk, or a quota on it, is full.
    pub(crate) fn is_full_disk(&self) -> bool {
        match self {
            SegmentError::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            SegmentError::Io(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            SegmentError::Version(_) | SegmentError::Damaged(_) | SegmentError::NeedsWriter => false,
        }
    }

    /// The error as a sentence, with what stands behind it.
    pub(crate) fn in_words(&self) -> String {
        match self {
            SegmentError::Sqlite(error) => format!("it cannot be read: {error}"),
            SegmentError::Io(error) => format!("it cannot be read: {error}"),
            SegmentError::Version(found) => format!("it has {}", format_and_advice(*found)),
            SegmentError::Damaged(problem) => problem.clone(),
            SegmentError::NeedsWriter => NEEDS_WRITER.to_owned(),
        }
    }

    pub(crate) fn while_opening(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            SegmentError::Sqlite(source) => OpenError::Store { path, source },
            SegmentError::Io(source) => OpenError::File { path, source },
            SegmentError::Version(found) => OpenError::Version { path, found },
            SegmentError::Damaged(problem) => {
                OpenError::File { path, source: io::Error::new(io::ErrorKind::InvalidData, problem) }
            }
            SegmentError::NeedsWriter => {
                OpenError::File { path, source: io::Error::new(io::ErrorKind::PermissionDenied, NEEDS_WRITER) }
            }
        }
    }

    pub(crate) fn while_reading(self, path: &Path) -> ReadError {
        let path = path.to_owned();
        match self {
            SegmentError::Sqlite(source) => ReadError::Unreadable { path, source },
            SegmentError::Io(source) => ReadError::File { path, source },
            SegmentError::NeedsWriter => ReadError::NeedsWriter { path },
            SegmentError::Version(found) => ReadError::Version { path, found },
            SegmentError::Damaged(problem) => ReadError::Damaged { path, problem: problem.into() },
        }
    }
}
