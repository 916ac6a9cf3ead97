//! Damaged segments, which are set aside, and old ones, which are deleted.

use crate::contents::{self, beside};
use crate::error::OpenError;
use crate::journal::{Retained, is_older};
use crate::options::Options;
use crate::store;
use qev_qmp::Timestamp;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A damaged segment that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Box<str>,
    /// Its first sequence number.
    pub first: u64,
    /// Where numbers go on behind it.
    pub next: Option<u64>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a segment is damaged and was set aside as {}: {}", self.path.display(), self.problem)?;
        match self.next {
            Some(next) => write!(f, "; its records from {} on are lost, numbers go on at {next}", self.first),
            None => write!(f, "; its records from {} on are lost", self.first),
        }
    }
}

/// Renames a damaged segment, with what SQLite has beside it, so that nothing reads it any more.
pub(crate) fn set_aside(path: &Path, first: u64, next: Option<u64>, problem: &str) -> Result<Finding, OpenError> {
    let failed = |source| OpenError::File { path: path.into(), source };
    let mut to = beside(path, &format!(".{}", contents::DAMAGED));
    for copy in 2_u32.. {
        if !to.exists() {
            break;
        }
        to = beside(path, &format!(".{}-{copy}", contents::DAMAGED));
    }
    for ending in ["-wal", "-shm", ""] {
        match fs::rename(beside(path, ending), beside(&to, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    if let Some(dir) = path.parent() {
        contents::sync(dir).map_err(failed)?;
    }
    Ok(Finding { path: to, problem: problem.into(), first, next })
}

/// Deletes the oldest segments as the options say; the newest always stays.
pub(crate) fn delete_old(dir: &Path, options: &Options, now: Timestamp) -> Result<Retained, OpenError> {
    let directory = |source| OpenError::Directory { dir: dir.into(), source };
    let segments = contents::segments(dir).map_err(directory)?;
    let mut left: u64 = segments.iter().map(|entry| contents::bytes_of(&entry.path)).sum();
    let mut retained = Retained::default();
    let Some((_newest, older)) = segments.split_last() else { return Ok(retained) };
    for entry in older {
        let is_too_much = options.keep_bytes.is_some_and(|keep| left > keep);
        let is_too_old = || options.keep_age.is_some_and(|keep| is_older(newest_in(&entry.path), now, keep));
        if !is_too_much && !is_too_old() {
            break;
        }
        let bytes = contents::bytes_of(&entry.path);
        fs::remove_file(&entry.path).map_err(|source| OpenError::File { path: entry.path.clone(), source })?;
        for ending in ["-wal", "-shm"] {
            // They are there only when it was never sealed.
            let _ = fs::remove_file(beside(&entry.path, ending));
        }
        left = left.saturating_sub(bytes);
        retained.segments = retained.segments.saturating_add(1);
        retained.bytes = retained.bytes.saturating_add(bytes);
    }
    if retained.segments > 0 {
        contents::sync(dir).map_err(directory)?;
    }
    Ok(retained)
}

/// When the newest record of a sealed segment was received.
fn newest_in(path: &Path) -> Option<i64> {
    let (db, _) = store::open_for_reading(path).ok()?;
    db.query_row("SELECT newest FROM segment", [], |row| row.get(0)).ok()?
}
