//! Deleting what is old: segments by age, a file each; and, where all together are too large, the oldest of those machines
//! that have more than their share ([`crate::share`]).
//!
//! ```text
//!   older than keep_age ───────────────────────► the file is deleted
//!   larger than keep_bytes, the oldest segment:
//!     each machine in it keeps enough of its share without it ──► the file is deleted
//!     else ─► from the first segment with something that is to go: rewritten, a step a call ([`crate::compact`])
//! ```

use crate::age::{Ages, OfNewest};
use crate::clock::Now;
use crate::compact::{self, Compaction, Run};
use crate::contents::{self, Entry, beside};
use crate::deleted::Deletion;
use crate::error::OpenError;
use crate::options::Options;
use crate::row;
use crate::share::{OfSegment, Owner, Shares};
use crate::store;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What [`Journal::retain`](crate::Journal::retain) deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// How many segments.
    pub segments: usize,
    /// How many bytes, with them.
    pub bytes: u64,
    /// How many records of machines that had more than their share, out of segments that were rewritten.
    pub records: u64,
    /// Records that were damaged are not in the segment that was rewritten: which, in words.
    pub lost: Option<Box<str>>,
    /// There is more to be done: call it again, soon.
    pub more: bool,
    /// A segment was deleted whole, with records that should have stayed, since it could not be rewritten: why.
    pub problem: Option<Box<str>>,
}

/// When room is made, it is made for so many hundredths of all.
const ROOM: u64 = 6;

/// A machine that keeps so many hundredths of the level loses a segment like the others: no segment is rewritten where all
/// have about as much.
const ENOUGH: u64 = 75;

/// How many segments are looked into in one call, and how many become one.
const COUNTED: usize = 64;
const A_RUN: usize = 64;

/// So many small segments that follow one another become one.
const SMALL_ONES: usize = 8;

/// Why records are not there any more, for readers.
const BY_AGE: &str = "were deleted by retention (keep-age)";
const BY_SIZE: &str = "were deleted by retention (keep-size)";
const NOT_REWRITTEN: &str = "were deleted, since their segment could not be rewritten";

/// What is deleted, and what is being rewritten.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    shares: Shares,
    ages: Ages,
    /// Of the segments that were deleted the numbers, and why, until somebody writes that down.
    pub(crate) deleted: Vec<Deletion>,
    /// What was deleted though it should have stayed, until somebody makes gaps of it.
    pub(crate) losses: Vec<Box<str>>,
    compaction: Option<Box<Compaction>>,
}

impl Retention {
    /// A writer begins with this as its newest segment.
    pub(crate) fn begin(&mut self, first_of_newest: u64) {
        self.ages.begin(first_of_newest);
    }

    /// A segment was sealed since its last record is old.
    pub(crate) fn sealed(&mut self, first: u64, of: OfNewest) {
        self.ages.sealed(first, of);
    }

    /// Deletes what is to be deleted, or does a step of that; the newest segment always stays.
    pub(crate) fn retain(&mut self, dir: &Path, options: &Options, now: Now) -> Result<Retained, OpenError> {
        let mut retained = Retained::default();
        match self.compaction.take() {
            Some(compaction) => self.go_on(dir, compaction, &mut retained)?,
            None => {
                self.by_age(dir, options, now, &mut retained)?;
                self.by_size(dir, options, &mut retained)?;
            }
        }
        if retained.segments > 0 {
            contents::sync(dir).map_err(|source| OpenError::Directory { dir: dir.into(), source })?;
        }
        Ok(retained)
    }

    fn by_age(&mut self, dir: &Path, options: &Options, now: Now, retained: &mut Retained) -> Result<(), OpenError> {
        let Some(keep) = options.keep_age else { return Ok(()) };
        let (older, newest) = older_and_newest(dir)?;
        retained.more |= self.ages.look(&older, newest.as_ref(), now);
        for entry in &older {
            if !self.ages.is_older(entry, now, keep) {
                break;
            }
            self.delete(entry, None, BY_AGE, retained)?;
        }
        Ok(())
    }

    fn by_size(&mut self, dir: &Path, options: &Options, retained: &mut Retained) -> Result<(), OpenError> {
        let Some(keep) = options.keep_bytes else { return Ok(()) };
        let (older, newest) = older_and_newest(dir)?;
        // Without SQLite's log beside it: that is some megabytes at most, comes and goes, and is no reason to delete history.
        let newest = newest.map_or(0, |newest| fs::metadata(newest.path).map_or(0, |metadata| metadata.len()));
        let sizes: Vec<u64> = older.iter().map(|entry| contents::bytes_of(&entry.path)).collect();
        let sealed = sizes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        let mut left = newest.saturating_add(sealed);
        if left <= keep {
            return Ok(());
        }
        if !self.shares.count(&older, COUNTED) {
            retained.more = true;
            return Ok(());
        }
        // Records are counted by estimation, files are not.
        let room = keep.saturating_sub(keep / 100 * ROOM).saturating_sub(newest);
        let total = self.shares.total();
        let room = u128::from(total).saturating_mul(room.into()).checked_div(sealed.into()).unwrap_or_default();
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let (level, mut excess) = self.shares.excess(room);
        let enough = level / 100 * ENOUGH;
        for (at, (entry, bytes)) in older.iter().zip(&sizes).enumerate() {
            if left <= keep {
                return Ok(());
            }
            let of = OfSegment::read(&entry.path).unwrap_or_default();
            let can_go = of.bytes.iter().all(|(owner, bytes)| {
                *bytes <= excess.get(owner).copied().unwrap_or_default()
                    || self.shares.of(owner).saturating_sub(*bytes) >= enough
            });
            if !can_go {
                let rest = (older.get(at..).unwrap_or_default(), sizes.get(at..).unwrap_or_default());
                let to_free = self.shares.total().saturating_sub(room);
                let run = small_ones(rest, options, &self.shares)
                    .map(|run| (run, HashMap::new()))
                    .or_else(|| plan(rest.0, options, excess, to_free));
                self.compaction = run.map(|(run, to_lose)| Box::new(Compaction::new(dir, run, to_lose)));
                retained.more = self.compaction.is_some();
                return Ok(());
            }
            for (owner, bytes) in &of.bytes {
                if let Some(excess) = excess.get_mut(owner) {
                    *excess = excess.saturating_sub(*bytes);
                }
            }
            self.delete(entry, Some(of), BY_SIZE, retained)?;
            left = left.saturating_sub(*bytes);
        }
        Ok(())
    }

    /// A step of the rewriting.
    fn go_on(&mut self, dir: &Path, mut compaction: Box<Compaction>, retained: &mut Retained) -> Result<(), OpenError> {
        retained.more = true;
        match compaction.step() {
            Ok(false) => self.compaction = Some(compaction),
            Ok(true) => {
                retained.records = compaction.dropped;
                if !compaction.damaged.is_empty() {
                    let which = row::not_what_was_written(std::mem::take(&mut compaction.damaged));
                    retained.lost = Some(
                        format!("a segment of the journal was rewritten without its damaged records: {which}").into(),
                    );
                }
                let run = compaction.into_run();
                self.ages.joined(run.iter().map(|(entry, _)| entry.first));
                for (entry, of) in run {
                    self.shares.remove(entry.first, &of);
                }
            }
            Err(error) => {
                let run = compaction.into_run();
                // What cannot be deleted now is deleted at the next start.
                let _ = compact::tidy(dir);
                let Some((entry, of)) = run.into_iter().next() else { return Ok(()) };
                // The disk may be full: room is needed more than anything.
                let last = of.last;
                self.delete(&entry, Some(of), NOT_REWRITTEN, retained)?;
                let lost = format!("records {} to {last} {NOT_REWRITTEN}: {}", entry.first, error.in_words());
                self.losses.push(lost.into());
                let path = entry.path.display();
                retained.problem = Some(
                    format!("the segment {path} was deleted whole, it could not be rewritten: {}", error.in_words())
                        .into(),
                );
            }
        }
        Ok(())
    }

    fn delete(
        &mut self,
        entry: &Entry,
        of: Option<OfSegment>,
        why: &str,
        retained: &mut Retained,
    ) -> Result<(), OpenError> {
        let of = of.or_else(|| OfSegment::read(&entry.path).ok()).unwrap_or_default();
        let bytes = contents::bytes_of(&entry.path);
        fs::remove_file(&entry.path).map_err(|source| OpenError::File { path: entry.path.clone(), source })?;
        for ending in ["-wal", "-shm"] {
            // They are there only when it was never sealed.
            let _ = fs::remove_file(beside(&entry.path, ending));
        }
        self.shares.remove(entry.first, &of);
        self.deleted.push(Deletion::new(i64::try_from(entry.first).unwrap_or(i64::MAX), of.last, why));
        retained.segments = retained.segments.saturating_add(1);
        retained.bytes = retained.bytes.saturating_add(bytes);
        Ok(())
    }
}

/// The segments from the first on that has something that is to go, as far as they become one of the usual size.
fn plan(
    segments: &[Entry],
    options: &Options,
    mut excess: HashMap<Owner, u64>,
    to_free: u64,
) -> Option<(Run, HashMap<Owner, u64>)> {
    let (mut run, mut to_lose): (Run, HashMap<Owner, u64>) = (Vec::new(), HashMap::new());
    let (mut freed, mut stays) = (0_u64, 0_u64);
    for entry in segments {
        let Some(of) = readable(entry) else { if run.is_empty() { continue } else { break } };
        let losing: Vec<_> =
            of.bytes.iter().filter_map(|(owner, bytes)| Some((owner, (*bytes).min(*excess.get(owner)?)))).collect();
        let loses = losing.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        if loses == 0 && run.is_empty() {
            continue;
        }
        stays = stays.saturating_add(of.total().saturating_sub(loses));
        let follows = run.last().is_none_or(|(_, before)| follows(before, entry));
        if loses == 0 || !follows || run.len() >= A_RUN || (!run.is_empty() && stays > options.segment_bytes) {
            break;
        }
        for (owner, bytes) in losing {
            if let Some(excess) = excess.get_mut(owner) {
                *excess = excess.saturating_sub(bytes);
            }
            let sum = to_lose.entry(owner.clone()).or_default();
            *sum = sum.saturating_add(bytes);
        }
        freed = freed.saturating_add(loses);
        run.push((entry.clone(), of));
        if freed >= to_free {
            break;
        }
    }
    (!run.is_empty()).then_some((run, to_lose))
}

/// Segments that were rewritten, follow one another and are small, of which none is most of them: each record is copied
/// only a few times, however often this happens.
fn small_ones((segments, sizes): (&[Entry], &[u64]), options: &Options, shares: &Shares) -> Option<Run> {
    for (entries, sizes) in segments.windows(SMALL_ONES).zip(sizes.windows(SMALL_ONES)) {
        let sum = sizes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        let largest = sizes.iter().copied().max().unwrap_or_default();
        let are_compacted = entries.iter().all(|entry| shares.is_compacted(entry.first));
        if !are_compacted || sum > options.segment_bytes || largest > sum / 2 {
            continue;
        }
        let run: Option<Vec<_>> = entries.iter().map(|entry| Some((entry.clone(), readable(entry)?))).collect();
        let run = run.filter(|run| run.windows(2).all(|pair| matches!(pair, [(_, a), (b, _)] if follows(a, b))));
        if run.is_some() {
            return run;
        }
    }
    None
}

/// Whose records a segment has, if it is one that can be rewritten.
fn readable(entry: &Entry) -> Option<OfSegment> {
    OfSegment::read(&entry.path).ok().filter(|_| store::is_sealed(&entry.path))
}

/// Whether no number is missing between a segment and the next: else that could not be seen afterwards.
fn follows(before: &OfSegment, next: &Entry) -> bool {
    before.last.checked_add(1).and_then(|next| u64::try_from(next).ok()) == Some(next.first)
}

/// The segments before the newest one, and that.
fn older_and_newest(dir: &Path) -> Result<(Vec<Entry>, Option<Entry>), OpenError> {
    let segments = contents::segments(dir).map_err(|source| OpenError::Directory { dir: dir.into(), source });
    let mut older = segments?;
    let newest = older.pop();
    Ok((older, newest))
}
