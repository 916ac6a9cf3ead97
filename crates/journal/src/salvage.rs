//! What can still be read of a damaged segment is copied into a sound one in its place.
//!
//! A damaged page costs the records on it. SQLite ends a walk there, so another one begins a few numbers on, and again,
//! until one succeeds: what lies behind the damage is found, too.

use crate::dictionary::{Entry as _, Source, What};
use crate::error::SegmentError;
use crate::options::Synchronous;
use crate::row::{self, Row};
use crate::segment::{RECORDS_A_SEGMENT, Segment};
use crate::store;
use qev_record::Record;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::HashMap;
use std::path::Path;

/// So often the next walk begins one number on: a page has about a hundred records. From then on it begins twice as far
/// on each time, so that a segment of which nothing is left is done with soon.
const SMALL_STEPS: u32 = 200;
const LONGEST_STEP: i64 = 1024;

/// So many records are written at once, or so many bytes.
const GROUP: usize = 1000;
const GROUP_BYTES: usize = 1 << 20;

/// The numbers of the records that were saved, as first and last of each run of them.
pub(crate) type Saved = Vec<(i64, i64)>;

/// Copies what can be read of a damaged segment into a new one in `dir`, which begins with the same number.
pub(crate) fn salvage(damaged: &Path, dir: &Path, first: i64) -> Result<Saved, SegmentError> {
    let reading = Reading { db: store::open_damaged(damaged)?, sources: HashMap::new(), whats: HashMap::new() };
    let mut writing = Writing { dir, first, segment: None, group: Vec::new(), bytes: 0, saved: Vec::new() };
    reading.read(first, &mut writing)?;
    writing.finish()
}

struct Reading {
    db: Connection,
    sources: HashMap<i64, Option<Source>>,
    whats: HashMap<i64, Option<What>>,
}

impl Reading {
    fn read(mut self, first: i64, writing: &mut Writing<'_>) -> Result<(), SegmentError> {
        let end = first.saturating_add(i64::try_from(RECORDS_A_SEGMENT).unwrap_or(i64::MAX));
        let (mut from, mut step, mut failures) = (first, 1, 0_u32);
        while from < end {
            let reached = self.walk(from, end, writing)?;
            let Some(reached) = reached else { return Ok(()) };
            (step, failures) = match failures {
                _ if reached > from => (1, 0),
                0..SMALL_STEPS => (1, failures + 1),
                _ => (LONGEST_STEP.min(step * 2), failures),
            };
            from = reached.saturating_add(step);
        }
        Ok(())
    }

    /// Reads from a number on, until the damage: then it says how far it came. Errors are those of writing.
    fn walk(&mut self, from: i64, end: i64, writing: &mut Writing<'_>) -> Result<Option<i64>, SegmentError> {
        let Reading { db, sources, whats } = self;
        let sql = format!("SELECT {} FROM record WHERE seq >= ?1 AND seq < ?2 ORDER BY seq", row::COLUMNS);
        // Without the table there is nothing to walk over.
        let Ok(mut statement) = store::prepare(db, &sql) else { return Ok(None) };
        let Ok(mut rows) = statement.query([from, end]) else { return Ok(Some(from)) };
        let mut reached = from;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(None),
                Err(_) => return Ok(Some(reached)),
            };
            // A row that cannot be read is skipped, and so is one whose number goes backwards: its page is another's.
            let Ok(row) = Row::read(row) else { continue };
            if row.seq < reached || row.seq >= end {
                return Ok(Some(reached));
            }
            let source =
                sources.entry(row.source).or_insert_with(|| one(db, Source::SELECT_ONE, row.source, Source::read));
            let what = whats.entry(row.what).or_insert_with(|| one(db, What::SELECT_ONE, row.what, What::read));
            if let (Some(source), Some(what)) = (source, what)
                && let Ok(record) = row.record(source, what)
            {
                writing.add(record, row.seq, row.bytes())?;
            }
            reached = row.seq.saturating_add(1);
        }
    }
}

fn one<E>(
    db: &Connection,
    sql: &str,
    id: i64,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<Option<E>>,
) -> Option<E> {
    store::prepare(db, sql).ok()?.query_row([id], read).optional().ok()??
}

struct Writing<'a> {
    dir: &'a Path,
    first: i64,
    segment: Option<Segment>,
    group: Vec<(i64, Record)>,
    bytes: usize,
    saved: Saved,
}

impl Writing<'_> {
    fn add(&mut self, record: Record, seq: i64, bytes: usize) -> Result<(), SegmentError> {
        self.group.push((seq, record));
        self.bytes = self.bytes.saturating_add(bytes);
        match self.saved.last_mut() {
            Some((_, last)) if last.saturating_add(1) == seq => *last = seq,
            _ => self.saved.push((seq, seq)),
        }
        if self.group.len() >= GROUP || self.bytes >= GROUP_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), SegmentError> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => self.segment.insert(Segment::create(self.dir, self.first, Synchronous::Full)?),
        };
        segment.append(self.group.iter().map(|(seq, record)| (*seq, record)), None)?;
        self.group.clear();
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Saved, SegmentError> {
        if !self.group.is_empty() {
            self.write()?;
        }
        if let Some(segment) = self.segment {
            segment.seal()?;
        }
        Ok(self.saved)
    }
}
