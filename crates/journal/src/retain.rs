//! Deleting the oldest segments: a file each, never a record.

use crate::contents::{self, Entry, beside};
use crate::error::OpenError;
use crate::journal::is_older;
use crate::options::Options;
use crate::store;
use qev_qmp::Timestamp;
use std::fs;
use std::path::Path;

/// What [`Journal::retain`](crate::Journal::retain) deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// How many segments.
    pub segments: usize,
    /// How many bytes.
    pub bytes: u64,
}

/// Deletes the oldest segments as the options say; the newest always stays.
pub(crate) fn delete_old(dir: &Path, options: &Options, now: Timestamp) -> Result<Retained, OpenError> {
    let directory = |source| OpenError::Directory { dir: dir.into(), source };
    let segments = contents::segments(dir).map_err(directory)?;
    let mut retained = Retained::default();
    let Some((newest, older)) = segments.split_last() else { return Ok(retained) };
    // Without SQLite's log beside it: that is some megabytes at most, comes and goes, and is no reason to delete history.
    let mut left = fs::metadata(&newest.path).map_or(0, |metadata| metadata.len());
    left = older.iter().fold(left, |sum, entry| sum.saturating_add(contents::bytes_of(&entry.path)));
    for (n, entry) in older.iter().enumerate() {
        let is_too_much = options.keep_bytes.is_some_and(|keep| left > keep);
        let is_too_old =
            || options.keep_age.is_some_and(|keep| is_older(written_until(older.get(n..), now), now, keep));
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

/// When the newest record of the first of these segments was received. Where that lies in the future, the clock was
/// wrong: then the segments behind it tell until when it was written at the latest, so that one wrong record does not
/// keep it, and all behind it, for ever.
fn written_until(segments: Option<&[Entry]>, now: Timestamp) -> Option<i64> {
    let now = now.micros()?;
    segments?.iter().filter_map(|entry| newest_in(&entry.path)).find(|newest| *newest <= now)
}

/// When the newest record of a sealed segment was received.
fn newest_in(path: &Path) -> Option<i64> {
    let (db, _) = store::open_for_reading(path).ok()?;
    db.query_row("SELECT newest FROM segment", [], |row| row.get(0)).ok()?
}
