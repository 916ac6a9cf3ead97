//! The files of the newest segment: whether what SQLite has open is what others find under the same names.
//!
//! Somebody may remove, replace or cut them under the writer. SQLite does not notice: it writes to the files that it has
//! open, and what it commits there is lost when it closes them.

use crate::contents::{self, FileId, beside};
use crate::lock_file::{self, Holder};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// Where the files of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// They have their names.
    Ours,
    /// SQLite's log beside the segment, or the index of it, was removed or replaced.
    LogRemoved,
    /// SQLite's log is smaller than it was.
    LogCut,
    /// The segment's file was removed or replaced.
    Replaced,
    /// They have their names, but another process holds a lock that SQLite needs to write.
    Locked,
}

/// The files that SQLite has open for a segment.
#[derive(Debug)]
pub(crate) struct Files {
    segment: Option<FileId>,
    log: Option<FileId>,
    index: Option<FileId>,
    log_path: PathBuf,
    index_path: PathBuf,
    /// How large the log was when it was last looked at.
    log_bytes: u64,
}

impl Files {
    /// The files of a segment that SQLite has just read something from: it has all of them open then.
    pub(crate) fn of(path: &Path) -> Files {
        let (log_path, index_path) = (beside(path, "-wal"), beside(path, "-shm"));
        let log = fs::metadata(&log_path).ok();
        Files {
            segment: contents::file_id(path),
            log: log.as_ref().map(contents::id_of),
            index: contents::file_id(&index_path),
            log_path,
            index_path,
            log_bytes: log.as_ref().map_or(0, Metadata::len),
        }
    }

    /// Where they are now.
    pub(crate) fn place(&mut self, path: &Path) -> Place {
        if self.segment.is_none() || contents::file_id(path) != self.segment {
            return Place::Replaced;
        }
        let log = fs::metadata(&self.log_path).ok();
        let is_same = self.log.is_some() && log.as_ref().map(contents::id_of) == self.log;
        if !is_same || self.index.is_none() || contents::file_id(&self.index_path) != self.index {
            return Place::LogRemoved;
        }
        let bytes = log.as_ref().map_or(0, Metadata::len);
        if bytes < self.log_bytes {
            return Place::LogCut;
        }
        self.log_bytes = bytes;
        Place::Ours
    }

    /// Which process holds a lock of SQLite's on them, and is not this one.
    pub(crate) fn holder(&self, path: &Path) -> Option<Holder> {
        lock_file::holder_of_range(&self.index_path).or_else(|| lock_file::holder_of_range(path))
    }

    /// Removes what is beside the segment and cannot be read together with it: the index always, from which SQLite would
    /// not see what is in the log, and a log that is another one than SQLite had.
    pub(crate) fn remove_strange(&self, path: &Path) {
        let log = contents::file_id(&self.log_path);
        if contents::file_id(path) != self.segment {
            return;
        }
        if log != self.log {
            let _ = fs::remove_file(&self.log_path);
        }
        let _ = fs::remove_file(&self.index_path);
    }
}
