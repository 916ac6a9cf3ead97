//! The writer: one for a directory, owned by one thread.

mod place;
mod resume;

use crate::age::OfNewest;
use crate::clock::Now;
use crate::compact;
use crate::contents::{self, Entry};
use crate::deleted::{Deleted, Deletion};
use crate::error::{AppendError, OpenError, SegmentError};
use crate::files::{Files, Place};
use crate::high_water::{HighWaterFile, HighWaterMark};
use crate::lock::Lock;
use crate::options::Options;
use crate::reader::Reader;
use crate::recover::{self, End, Finding};
use crate::retain::{Retained, Retention};
use crate::segment::{RECORDS_A_SEGMENT, Segment};
use crate::sessions::Sessions;
use crate::shallow;
use crate::store;
use qev_qmp::Timestamp;
use qev_record::Record;
use resume::locked;
use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The right and the means to append to a journal.
///
/// It has no thread and reads no clock: [`Journal::append`] returns when the records are on disk, and what depends on
/// the time is told it.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    options: Options,
    /// The next sequence number.
    next: i64,
    /// Where the newest segment begins.
    first_of_newest: i64,
    /// `None` after an error: it is opened anew then.
    newest: Option<Segment>,
    /// Segments that are complete and could not be made single files yet, because somebody was reading them.
    unsealed: Vec<PathBuf>,
    findings: Vec<Finding>,
    /// Losses that nobody has asked for yet.
    losses: Vec<Box<str>>,
    /// What was put right since this was asked last, a sentence each.
    warnings: Vec<Box<str>>,
    /// How far numbers are reserved; `None` when its file is to be opened.
    high_water: Option<HighWaterFile>,
    retention: Retention,
    /// The sessions that are open, as the newest segment has them.
    sessions: Sessions,
    /// How old the newest segment is, from what was seen of it.
    seen: Option<OfNewest>,
    /// Which records were deleted, and whether the newest segment lacks some of that.
    deleted: Deleted,
    is_deleted_to_write: bool,
    /// A segment was sealed since it was last looked for what is to be deleted.
    is_retention_due: bool,
    /// `None` when the file that was locked is not there any more.
    lock: Option<Lock>,
}

impl Journal {
    /// Opens the journal in a directory, which is made when it is not there.
    ///
    /// What a crash left behind is put right; a damaged newest segment is set aside, and [`Journal::findings`] says so.
    ///
    /// # Errors
    ///
    /// When another process writes to it, when a segment is of a newer version, when the directory cannot be written
    /// to.
    pub fn open(dir: &Path, options: Options) -> Result<Journal, OpenError> {
        let failed = |source| OpenError::Directory { dir: dir.into(), source };
        place::make(dir)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let lock = Lock::take(&dir)?;
        let mut journal = Journal {
            dir,
            options,
            next: 1,
            first_of_newest: 1,
            newest: None,
            unsealed: Vec::new(),
            findings: Vec::new(),
            losses: Vec::new(),
            warnings: Vec::new(),
            high_water: None,
            retention: Retention::default(),
            sessions: Sessions::default(),
            seen: None,
            deleted: Deleted::default(),
            is_deleted_to_write: false,
            is_retention_due: false,
            lock: Some(lock),
        };
        journal.recover()?;
        journal.retention.begin(u64::try_from(journal.first_of_newest).unwrap_or_default());
        // On a full disk this fails, and is tried again by who appends.
        let _ = journal.reserve(0);
        Ok(journal)
    }

    /// What was found wrong and put right since it was opened.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What of the journal was lost since this was asked last, with the numbers of the records and why: a reason for a gap
    /// each.
    pub fn take_losses(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.losses)
    }

    /// What was found wrong and put right since this was asked last, and no [`Finding`] says, a sentence each: for the log.
    pub fn take_warnings(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether a segment was sealed since [`Journal::retain`] was called last: now there may be something to delete.
    pub fn is_retention_due(&self) -> bool {
        self.is_retention_due
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last sequence number that was given out, whether its record is still kept or not; `None` when none was.
    pub fn last_seq(&self) -> Option<u64> {
        u64::try_from(self.next.saturating_sub(1)).ok().filter(|last| *last > 0)
    }

    /// The sequence number of the oldest record that is kept, `None` when there is none: as far as the names of the
    /// segments tell.
    pub fn first_seq(&self) -> Option<u64> {
        let first = contents::segments(&self.dir).ok()?.first()?.first;
        self.last_seq().filter(|last| *last >= first).map(|_| first)
    }

    /// Appends records in their order, as one group. When it returns they are on disk and have their sequence numbers.
    ///
    /// What is nested deeper than the 1024 levels that JSON from QEMU has becomes a string with its text, in the records
    /// given too: it could not be read any more.
    ///
    /// # Errors
    ///
    /// When they cannot be written, because the disk is full for example: then none of them is kept, none has a number,
    /// and a later call may succeed. When it was found afterwards that the segment's file is not where it was, too:
    /// [`AppendError::Gone`].
    pub fn append(&mut self, records: &mut [Record]) -> Result<(), AppendError> {
        records.iter_mut().for_each(shallow::make);
        let first = self.append_all(records)?;
        for (seq, record) in (first..).zip(records) {
            record.seq = Some(seq);
        }
        Ok(())
    }

    /// Appends records that others have, too. Gives back the number of the first; the others' follow. The records
    /// themselves have none afterwards.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn append_shared(&mut self, records: &mut [Arc<Record>]) -> Result<u64, AppendError> {
        for record in records.iter_mut().filter(|record| shallow::is_needed(record)) {
            shallow::make(Arc::make_mut(record));
        }
        self.append_all(records)
    }

    /// Notes that everything that was received until `now` is in the journal, so that a gap after a crash begins there. To
    /// be called now and then while nothing comes. Does nothing while no session is open.
    ///
    /// # Errors
    ///
    /// When it cannot be written. Nothing is lost then, and a later call may succeed.
    pub fn heard(&mut self, now: Timestamp) -> Result<(), AppendError> {
        let Some(mut segment) = self.newest.take_if(|segment| !segment.is_complete && segment.place() == Place::Ours)
        else {
            return Ok(());
        };
        if !self.sessions.is_empty()
            && let Err(error) = segment.hear(now, &mut self.sessions)
        {
            // It is opened anew.
            let path = segment.path.clone();
            return Err(AppendError::Segment(SegmentError::from(error).while_opening(&path)));
        }
        self.newest = Some(segment);
        Ok(())
    }

    /// Appends records; gives back the number of the first.
    fn append_all(&mut self, records: &[impl Borrow<Record>]) -> Result<u64, AppendError> {
        let first = u64::try_from(self.next).unwrap_or_default();
        let Some(oldest) = records.first() else { return Ok(first) };
        let count = i64::try_from(records.len()).ok().filter(|n| n.unsigned_abs() <= RECORDS_A_SEGMENT);
        let count = count.ok_or(AppendError::TooMany { records: records.len() })?;
        let next = self.next.checked_add(count).ok_or(AppendError::NoNumbers)?;
        let now = oldest.borrow().received;
        if let Err(damaged) = self.write(now, count, records)? {
            self.set_aside(&damaged).map_err(AppendError::Segment)?;
            // The new segment is empty: this is no damage that was there before.
            let path = self.path_of_newest();
            self.write(now, count, records)?
                .map_err(|problem| AppendError::Segment(SegmentError::damaged(problem).while_opening(&path)))?;
        }
        debug_assert_eq!(self.next, next);
        Ok(first)
    }

    /// Writes a group; in the inner error is what damage was met in the newest segment.
    fn write(
        &mut self,
        now: Timestamp,
        count: i64,
        records: &[impl Borrow<Record>],
    ) -> Result<Result<(), String>, AppendError> {
        match self.place() {
            Place::Ours => {}
            Place::Replaced => {
                let path = self.path_of_newest();
                return Err(AppendError::Gone { path, lost: self.lose_place() });
            }
            place => self.close_newest(place),
        }
        self.take_place().map_err(AppendError::Segment)?;
        if let Err(error) = self.reserve(count) {
            // As after each error the segment is opened anew.
            self.close_newest(Place::Ours);
            return Err(AppendError::Segment(error));
        }
        let next = self.next;
        let mut segment = match self.ready(now, count) {
            Ok(segment) => segment,
            Err((path, SegmentError::Damaged(problem))) if path.exists() => return Ok(Err(problem)),
            Err((path, error)) => return Err(AppendError::Segment(error.while_opening(&path))),
        };
        let path = segment.path.clone();
        let records = (next..).zip(records.iter().map(Borrow::borrow));
        let appended = segment.append(records, Some(&mut self.sessions));
        let place = segment.place();
        self.newest = Some(segment);
        if let Err(error) = appended {
            let is_locked = place == Place::Ours && store::is_about_lock(&error);
            self.close_newest(if is_locked { Place::Locked } else { place });
            return match SegmentError::from(error) {
                SegmentError::Damaged(problem) => Ok(Err(problem)),
                SegmentError::Sqlite(source) => Err(AppendError::Store { path, source }),
                other => Err(AppendError::Segment(other.while_opening(&path))),
            };
        }
        // The numbers were not given out yet: where the group is lost they are used for the same again.
        match place {
            Place::Ours => {}
            Place::Replaced => return Err(AppendError::Gone { path, lost: self.lose_place() }),
            place => {
                self.close_newest(place);
                if !self.has_all_up_to(next.saturating_add(count).saturating_sub(1)) {
                    let lost = "SQLite's log beside it was removed or cut while qev wrote to it".into();
                    return Err(AppendError::Gone { path, lost });
                }
            }
        }
        self.next = next.saturating_add(count);
        self.mark_committed();
        Ok(Ok(()))
    }

    /// Takes the newest segment, open and with room for so many records.
    fn ready(&mut self, now: Timestamp, count: i64) -> Result<Segment, (PathBuf, SegmentError)> {
        let mut path = self.path_of_newest();
        if self.newest.is_none() && !path.exists() {
            self.first_of_newest = self.next;
            path = self.path_of_newest();
        }
        let at = |error| (path.clone(), error);
        let mut segment = match self.newest.take() {
            Some(segment) => segment,
            None if !path.exists() => self.begin().map_err(at)?,
            None => {
                let segment = self.open_newest(&path).map_err(at)?;
                match self.take_newest(segment).map_err(at)? {
                    Some(segment) => segment,
                    None => self.begin().map_err(|error| (self.path_of_newest(), error))?,
                }
            }
        };
        if self.is_full(&mut segment, now, count).map_err(at)? {
            self.seal(segment);
            self.first_of_newest = self.next;
            segment = self.begin().map_err(|error| (self.path_of_newest(), error))?;
        }
        Ok(segment)
    }

    fn begin(&self) -> Result<Segment, SegmentError> {
        let Options { synchronous, .. } = self.options;
        let segment = Segment::begin(&self.dir, self.first_of_newest, synchronous, (&self.sessions, &self.deleted))?;
        segment.limit_log(self.options.segment_bytes)?;
        Ok(segment)
    }

    fn open_newest(&mut self, path: &Path) -> Result<Segment, SegmentError> {
        let segment = match Segment::open(path, self.options.synchronous) {
            Err(SegmentError::Sqlite(error)) if store::is_about_lock(&error) => {
                let holder = Files::of(path).holder(path);
                self.warnings.push(format!("the segment {}: {}", path.display(), locked(holder.as_ref())).into());
                store::make_private(path)?;
                Segment::open(path, self.options.synchronous)?
            }
            opened => opened?,
        };
        segment.limit_log(self.options.segment_bytes)?;
        Ok(segment)
    }

    fn is_full(&self, segment: &mut Segment, now: Timestamp, count: i64) -> Result<bool, SegmentError> {
        if segment.is_complete || segment.is_of_older_version {
            return Ok(true);
        }
        if segment.records == 0 {
            return Ok(false);
        }
        let numbers = self.next.saturating_add(count).saturating_sub(segment.first);
        Ok(numbers.unsigned_abs() > RECORDS_A_SEGMENT
            || is_older(segment.started, now, self.options.segment_age)
            // What every segment begins with does not count, or many sessions would leave no room for records.
            || segment.bytes()? >= self.options.segment_bytes.saturating_add(self.sessions.bytes()))
    }

    /// Seals a segment, now or, when somebody is reading it, later.
    fn seal(&mut self, segment: Segment) {
        self.is_retention_due = true;
        let path = segment.path.clone();
        if segment.seal().is_err() {
            self.unsealed.push(path);
        }
    }

    /// Seals what somebody was reading when it should have been sealed. What fails again is left for the next time.
    fn seal_the_rest(&mut self) {
        let synchronous = self.options.synchronous;
        let is_sealed = |path: &Path| Segment::open(path, synchronous).and_then(Segment::seal).is_ok();
        self.unsealed.retain(|path| path.exists() && !is_sealed(path));
    }

    /// Deletes what is oldest as [`Options`] say, and begins a new segment when the newest is old enough. To be called
    /// every minute or so, when [`Journal::is_retention_due`] says so, when appending failed, and again soon when it says
    /// that there is more to be done: a call takes some milliseconds.
    ///
    /// # Errors
    ///
    /// When a file cannot be deleted.
    pub fn retain(&mut self, now: impl Into<Now>) -> Result<Retained, OpenError> {
        let now = now.into();
        self.is_retention_due = false;
        let lost = match self.place() {
            Place::Ours => None,
            Place::Replaced => Some(self.lose_place()),
            place => {
                self.close_newest(place);
                None
            }
        };
        self.take_place()?;
        self.look_after_numbers();
        if let Some(segment) = self.newest.take() {
            let Options { segment_age, keep_age, .. } = self.options;
            let seen = OfNewest::look(self.seen, (segment.first, segment.last), now);
            self.seen = Some(seen);
            // Either clock will do: that a segment ends too early costs nothing.
            let is_old = is_older(segment.started, now.wall, segment_age)
                || seen.was_begun_before(now, segment_age)
                || keep_age
                    .is_some_and(|keep| is_older(segment.newest, now.wall, keep) || seen.was_written_before(now, keep));
            if segment.records > 0 && is_old {
                self.retention.sealed(u64::try_from(segment.first).unwrap_or_default(), seen);
                self.seal(segment);
                self.first_of_newest = self.next;
            } else {
                self.newest = Some(segment);
            }
        }
        if self.newest.is_none() {
            // On a full disk this fails, and what is deleted now may help. It is tried again by who appends.
            self.newest = self.ready(now.wall, 0).ok();
        }
        self.seal_the_rest();
        self.is_retention_due = false;
        let retained = self.retention.retain(&self.dir, &self.options, now);
        self.note_deleted();
        let mut retained = retained?;
        self.losses.extend(retained.lost.clone());
        retained.problem = lost.or(retained.problem);
        Ok(retained)
    }

    /// Writes down what retention deleted.
    fn note_deleted(&mut self) {
        self.losses.append(&mut self.retention.losses);
        for run in self.retention.deleted.drain(..) {
            self.deleted.add(run);
            self.is_deleted_to_write = true;
        }
        if self.is_deleted_to_write
            && let Some(segment) = &mut self.newest
        {
            // On a full disk it is tried again with the next call.
            self.is_deleted_to_write = segment.write_deleted(&self.deleted).is_err();
        }
    }

    /// Finds where the journal ends, and puts right what a crash left behind.
    fn recover(&mut self) -> Result<(), OpenError> {
        compact::tidy(&self.dir).map_err(|error| error.while_opening(&self.dir))?;
        self.set_orphaned_logs_aside()?;
        let directory = |source| OpenError::Directory { dir: self.dir.clone(), source };
        let mut older = contents::segments(&self.dir).map_err(directory)?;
        let damaged = contents::damaged(&self.dir).map_err(directory)?;
        // Behind a segment that was set aside another one was begun: when there is none, the crash came in between.
        let newest_damaged = damaged.last().map(|entry| entry.first);
        let newest = older.pop_if(|newest| newest_damaged.is_none_or(|damaged| damaged < newest.first));
        if let Some(damaged) = newest_damaged.filter(|_| newest.is_none()) {
            self.go_on_behind(damaged);
        }
        let ends = older.iter().skip(1).chain(&newest).map(|next| next.first);
        let unknown = u64::try_from(self.next).unwrap_or_default();
        for (entry, end) in older.iter().zip(ends.map(End::Before).chain([End::Unknown(unknown)])) {
            if !store::is_sealed(&entry.path) {
                self.finish_sealing(entry, end)?;
            }
        }
        let Some(newest) = newest else {
            self.resume_numbers(None);
            return self.begin_newest();
        };
        self.first_of_newest = i64::try_from(newest.first).unwrap_or(i64::MAX);
        match self.open_newest(&newest.path) {
            Ok(segment) => {
                self.next = self.next.max(segment.last.saturating_add(1));
                let is_behind = self.next > segment.last.saturating_add(1);
                let path = Some(&*newest.path).filter(|_| !segment.is_complete);
                if self.resume_numbers(path) || is_behind || segment.is_complete {
                    self.seal(segment);
                    self.first_of_newest = self.next;
                    return self.begin_newest();
                }
                self.newest = Some(segment);
                self.load_sessions();
                Ok(())
            }
            Err(SegmentError::Damaged(problem)) => {
                self.go_on_behind(newest.first);
                if let Some(known) = HighWaterMark::read(&self.dir) {
                    let behind = i64::try_from(known.reserved.saturating_add(1)).unwrap_or(i64::MAX);
                    self.next = self.next.max(behind);
                    self.first_of_newest = self.next;
                }
                let end = End::Unknown(u64::try_from(self.next).unwrap_or_default());
                self.found(recover::set_aside(&newest.path, newest.first, end, &problem)?);
                self.begin_newest()
            }
            Err(error) => Err(error.while_opening(&newest.path)),
        }
    }

    /// Begins the newest segment, which does not exist. On a full disk the next group begins it: retention, which may make
    /// room, needs an open journal.
    fn begin_newest(&mut self) -> Result<(), OpenError> {
        self.load_sessions();
        self.newest = match self.begin() {
            Ok(segment) => Some(segment),
            Err(error) if error.is_full_disk() => None,
            Err(error) => return Err(error.while_opening(&self.path_of_newest())),
        };
        Ok(())
    }

    /// Finds out which sessions are open, and which records were deleted. What cannot be read is damage, which is told by who
    /// meets it while writing.
    fn load_sessions(&mut self) {
        let loaded = Reader::open(&self.dir).and_then(|reader| Sessions::load(&reader));
        self.sessions = loaded.map_or_else(|_| Sessions::default(), |(sessions, _)| sessions);
        let found = std::mem::take(&mut self.deleted);
        self.is_deleted_to_write = !found.is_empty();
        self.deleted = Deleted::load(&contents::segments(&self.dir).unwrap_or_default());
        self.deleted.extend(found);
    }

    /// A crash came between the end of a segment and its sealing, or somebody was reading it.
    fn finish_sealing(&mut self, entry: &Entry, end: End) -> Result<(), OpenError> {
        match Segment::open(&entry.path, self.options.synchronous) {
            Ok(segment) => {
                self.seal(segment);
                Ok(())
            }
            Err(SegmentError::Damaged(problem)) => {
                self.found(recover::set_aside(&entry.path, entry.first, end, &problem)?);
                Ok(())
            }
            Err(error) => Err(error.while_opening(&entry.path)),
        }
    }

    /// The newest segment was found damaged while it was written to.
    fn set_aside(&mut self, problem: &str) -> Result<(), OpenError> {
        self.newest = None;
        let path = self.path_of_newest();
        let first = u64::try_from(self.first_of_newest).unwrap_or_default();
        let end = End::Before(u64::try_from(self.next).unwrap_or_default());
        self.found(recover::set_aside(&path, first, end, problem)?);
        self.first_of_newest = self.next;
        Ok(())
    }

    fn found(&mut self, finding: Finding) {
        self.losses.extend(finding.loss().map(String::into_boxed_str));
        self.findings.push(finding);
    }

    /// Where numbers go on when nobody knows where a segment ended.
    fn go_on_behind(&mut self, first: u64) {
        let next = first.saturating_add(RECORDS_A_SEGMENT);
        let next = i64::try_from(next).unwrap_or(i64::MAX);
        // A gap tells of what was lost of them; the others were never used.
        let first = i64::try_from(first).unwrap_or(i64::MAX);
        self.deleted.add(Deletion::told(first, next.saturating_sub(1)));
        self.next = self.next.max(next);
        self.first_of_newest = self.next;
    }
}

/// Whether a time is longer ago than an age. Not, when it is not known or lies in the future.
fn is_older(time: Option<i64>, now: Timestamp, age: Duration) -> bool {
    let past = now.micros().zip(time).and_then(|(now, time)| u128::try_from(i128::from(now) - i128::from(time)).ok());
    past.is_some_and(|past| past > age.as_micros())
}
