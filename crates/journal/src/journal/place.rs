//! Whether what is written stands where others find it. Somebody may remove or replace the journal's files under the writer,
//! whose open files stay as they were: what is committed to them then is lost when they are closed.
//!
//! ```text
//!   commit ──► its files have their names ──► numbers are given out
//!                 ├─ only the log beside it has not: what SQLite still has is put into the segment
//!                 └─ the segment has not: the group fails, the loss is told ──► directory, lock, segment anew, next number
//! ```

use super::Journal;
use crate::contents;
use crate::durable;
use crate::error::OpenError;
use crate::files::Place;
use crate::lock::Lock;
use std::path::Path;

impl Journal {
    /// Where the files are that it writes to. Without an open segment the lock's file tells whether the directory is still
    /// there.
    pub(super) fn place(&mut self) -> Place {
        match (&mut self.newest, &self.lock) {
            (Some(segment), _) => segment.place(),
            (None, Some(lock)) if !lock.is_in_place(&self.dir) => Place::Replaced,
            (None, _) => Place::Ours,
        }
    }

    /// The newest segment's file, and maybe all others, were removed or replaced by somebody. Which records went, in words.
    pub(super) fn lose_place(&mut self) -> Box<str> {
        self.close_newest(match self.path_of_newest().exists() {
            true => Place::Replaced,
            false => Place::Ours,
        });
        self.high_water = None;
        if self.lock.as_ref().is_some_and(|lock| !lock.is_in_place(&self.dir)) {
            self.lock = None;
        }
        let others = contents::segments(&self.dir).unwrap_or_default();
        let (first, last) = (self.first_of_newest, self.next.saturating_sub(1));
        // What was let go before is not lost with it, so of all only the end is said.
        let (what, from, which) = match others.is_empty() {
            true => ("the journal's files were", 1, format!("all records up to {last} are lost")),
            false => ("its newest file was", first, format!("records {first} to {last} are lost")),
        };
        let mut lost = format!("{what} removed or replaced while qev wrote to it");
        if last >= from {
            lost.push_str(&format!(": {which}"));
        }
        let lost = lost.into_boxed_str();
        if last >= from {
            self.losses.push(lost.clone());
        }
        lost
    }

    /// Makes the directory and its lock anew, when they are gone.
    pub(super) fn take_place(&mut self) -> Result<(), OpenError> {
        if self.lock.is_some() {
            return Ok(());
        }
        make(&self.dir)?;
        self.lock = Some(Lock::take(&self.dir)?);
        // Somebody may have put another journal there: numbers go on behind its, too.
        let others = contents::segments(&self.dir).unwrap_or_default();
        if let Some(newest) = others.last().filter(|newest| i64::try_from(newest.first).is_ok_and(|n| n >= self.next)) {
            self.go_on_behind(newest.first);
        }
        Ok(())
    }
}

/// Makes a journal's directory, when it is not there, so that it is still there after a power cut.
pub(super) fn make(dir: &Path) -> Result<(), OpenError> {
    durable::create_dir_all(dir, 0o750).map_err(|source| OpenError::Directory { dir: dir.into(), source })
}
