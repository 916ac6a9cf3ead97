//! Where numbers go on: behind the end of the journal, and behind all that were ever given out.
//!
//! ```text
//!   the newest segment ends where the file `numbers` says, or behind it ──► the next number
//!                      ends before it ──► its end is lost, a gap says which; the next number that is not reserved
//! ```

use super::Journal;
use crate::contents;
use crate::deleted::Deletion;
use crate::error::{OpenError, SegmentError};
use crate::files::Place;
use crate::high_water::{HighWaterFile, HighWaterMark};
use crate::lock_file::Holder;
use crate::recover;
use crate::segment::Segment;
use std::path::{Path, PathBuf};

impl Journal {
    /// Closes the newest segment. It is opened anew by who appends next, and what it lost is found then.
    pub(super) fn close_newest(&mut self, place: Place) {
        let Some(segment) = self.newest.take() else { return };
        if let Some(change) = match place {
            Place::Ours | Place::Replaced => None,
            Place::LogRemoved => Some("its log was removed or replaced while qev wrote to it".to_owned()),
            Place::LogCut => Some("its log was cut while qev wrote to it".to_owned()),
            Place::Locked => Some(locked(segment.holder().as_ref())),
        } {
            self.warnings.push(format!("the segment {}: {change}", segment.path.display()).into());
            // So that it is told, and looked after, soon.
            self.is_retention_due = true;
        }
        segment.close_out_of_place(place);
    }

    /// Whether the newest segment, which was closed since its log was out of place, has all records up to this one.
    pub(super) fn has_all_up_to(&mut self, last: i64) -> bool {
        let path = self.path_of_newest();
        match self.open_newest(&path) {
            Ok(segment) if segment.last == last => self.newest = Some(segment),
            _ => {}
        }
        self.newest.is_some()
    }

    /// Takes a segment that was opened as the newest one, unless it has lost its end: then it is finished, and the next one
    /// begins with the next number.
    pub(super) fn take_newest(&mut self, mut segment: Segment) -> Result<Option<Segment>, SegmentError> {
        let last = self.next.saturating_sub(1);
        segment.cut_after(last, self.options.synchronous)?;
        if segment.last >= last {
            return Ok(Some(segment));
        }
        self.lose_end(segment.last, last, Some(&segment.path));
        self.seal(segment);
        self.first_of_newest = self.next;
        Ok(None)
    }

    /// Compares where the journal ends with the file `numbers`, when it is opened. Whether its end is lost: then the next
    /// number is one that was never given out.
    pub(super) fn resume_numbers(&mut self, newest: Option<&Path>) -> bool {
        let Some(HighWaterMark { last, reserved }) = HighWaterMark::read(&self.dir) else { return false };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let end = self.next.saturating_sub(1);
        if end >= number(last) {
            return false;
        }
        self.lose_end(end, number(last), newest);
        self.next = number(reserved.max(last).saturating_add(1));
        // A gap tells of what was lost of them; the others were never used.
        self.deleted.add(Deletion::told(end.saturating_add(1), self.next.saturating_sub(1)));
        self.first_of_newest = self.next;
        true
    }

    /// Records behind `end` and up to `last` were committed and are not there any more.
    fn lose_end(&mut self, end: i64, last: i64, newest: Option<&Path>) {
        let which = match newest.and_then(Path::file_name) {
            _ if end <= 0 => format!("all records up to {last} are lost"),
            None => format!("records {} to {last} are lost", end.saturating_add(1)),
            Some(name) => format!(
                "records {} to {last} are lost (SQLite's log beside {} was removed, cut or changed)",
                end.saturating_add(1),
                name.display()
            ),
        };
        let lost: Box<str> = format!("the end of the journal is missing: {which}").into();
        self.warnings.push(lost.clone());
        self.losses.push(lost);
    }

    /// Sets logs of SQLite's aside whose segment is not there: it would take them for those of a new one.
    pub(super) fn set_orphaned_logs_aside(&mut self) -> Result<(), OpenError> {
        let directory = |source| OpenError::Directory { dir: self.dir.clone(), source };
        for log in contents::orphaned_logs(&self.dir).map_err(directory)? {
            let segment = contents::path_of(&self.dir, log.first);
            let aside =
                recover::rename(&segment).map_err(|source| OpenError::File { path: log.path.clone(), source })?;
            let (path, aside) = (log.path.display(), contents::beside(&aside, "-wal"));
            let aside = aside.display();
            self.warnings.push(format!("{path} has no segment: it was set aside as {aside}").into());
            // Without the file `numbers` nobody knows how far it reached.
            if HighWaterMark::read(&self.dir).is_none() {
                let first = log.first;
                self.go_on_behind(first);
                let name = segment.file_name().unwrap_or_default().display().to_string();
                self.losses.push(
                    format!("the segment {name} of the journal is gone: its records from {first} on are lost").into(),
                );
            }
        }
        Ok(())
    }

    /// Makes sure that so many numbers can be given out.
    pub(super) fn reserve(&mut self, count: i64) -> Result<(), OpenError> {
        let (last, next) = (unsigned(self.next.saturating_sub(1)), unsigned(self.next.saturating_add(count)));
        let failed = |source| OpenError::File { path: HighWaterFile::path_in(&self.dir), source };
        let high_water = match self.high_water.take() {
            Some(high_water) => high_water,
            None => HighWaterFile::open(&self.dir, last, self.options.synchronous).map_err(failed)?,
        };
        self.high_water.insert(high_water).reserve(next.saturating_sub(1)).map_err(failed)
    }

    /// All numbers before the next one are committed.
    pub(super) fn mark_committed(&mut self) {
        let last = unsigned(self.next.saturating_sub(1));
        if let Some(high_water) = &mut self.high_water {
            high_water.committed(last);
        }
    }

    /// Forgets the file `numbers` when it was removed: it is made anew before more numbers are given out.
    pub(super) fn look_after_numbers(&mut self) {
        self.high_water.take_if(|high_water| !high_water.is_in_place());
    }

    pub(super) fn path_of_newest(&self) -> PathBuf {
        contents::path_of(&self.dir, unsigned(self.first_of_newest))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(mut segment) = self.newest.take() {
            let place = segment.place();
            segment.close_out_of_place(place);
        }
        if let Some(high_water) = self.high_water.as_mut().filter(|_| self.lock.is_some()) {
            high_water.close();
        }
    }
}

/// What is said of a segment that another process keeps locked.
pub(super) fn locked(holder: Option<&Holder>) -> String {
    let holder = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    format!("{holder} keeps it locked, so until it is complete only its owner may open it")
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}
