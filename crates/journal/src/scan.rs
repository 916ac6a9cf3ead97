//! One segment, read: its blocks, and of those in which something may match the rows.

use crate::block::{Block, Blocks};
use crate::contents::Entry;
use crate::dictionary::{Source, What, index};
use crate::error::SegmentError;
use crate::histogram::Histogram;
use crate::query::Query;
use crate::row::{self, Row, RowError};
use crate::store;
use crate::wanted::Wanted;
use qev_record::Record;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::PathBuf;

/// A page ends with this many records …
const PAGE_RECORDS: usize = 1024;

/// … or with this many bytes.
const PAGE_BYTES: usize = 1 << 20;

/// When so many blocks in a row cannot be read, the rest of the segment is given up.
const HOPELESS: u32 = 8;

/// When so many rows of a span are not what was written, the rest of it is given up.
const DAMAGED: usize = 4096;

/// Sequence numbers above one and up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    low: i64,
    high: i64,
}

/// A segment under a query.
#[derive(Debug)]
pub(crate) struct Scan {
    path: PathBuf,
    newest_first: bool,
    wanted: Wanted,
    /// What is still to be read.
    spans: VecDeque<Span>,
    /// Up to which number it reaches, when it is complete.
    last: Option<i64>,
    /// How many spans in a row could not be read, and what was not read of the last of them.
    failures: u32,
    failed: Option<Span>,
    /// What is wrong with the summaries, until it was said.
    problem: Option<SegmentError>,
    /// Open between pages only if nobody is in the way of anybody: when the segment is sealed.
    sealed: Option<Connection>,
}

impl Scan {
    pub(crate) fn open(entry: &Entry, query: &Query) -> Result<Scan, SegmentError> {
        let (db, is_immutable) = store::open_for_reading(&entry.path)?;
        let mut wanted = Wanted::new(&query.filter);
        wanted.read(&db)?;
        let (mut spans, problem) = spans(&db, query, &wanted, |_| false)?;
        if query.newest_first {
            spans.make_contiguous().reverse();
        }
        let last = last_of(&db);
        let sealed = is_immutable.then_some(db);
        let (path, newest_first) = (entry.path.clone(), query.newest_first);
        Ok(Scan { path, newest_first, wanted, spans, last, failures: 0, failed: None, problem, sealed })
    }

    /// Reads on until there is a page of records that match, or the segment is at its end. Whether it is not.
    ///
    /// After an error the next call goes on behind the block that could not be read.
    pub(crate) fn read_page(&mut self, page: &mut VecDeque<Record>) -> Result<bool, SegmentError> {
        if let Some(problem) = self.problem.take() {
            // Any record of the segment may be one that was passed over.
            self.failed = self.unread().map(|(low, high)| Span { low, high });
            return Err(problem);
        }
        if self.spans.is_empty() {
            return Ok(false);
        }
        self.failures = self.failures.saturating_add(1);
        self.failed = None;
        let known = self.sealed.take();
        let is_known = known.is_some();
        let (db, is_immutable) = match known {
            Some(db) => (db, true),
            None => store::open_for_reading(&self.path)?,
        };
        while page.is_empty()
            && let Some(span) = self.spans.pop_front()
        {
            // Dictionaries and records of one moment; a moment each, so that the writer's checkpoints get on.
            let moment = db.unchecked_transaction()?;
            if !is_known {
                self.wanted.read(&moment)?;
            }
            let mut rest = span;
            if let Err(error) = self.read_span(&moment, &mut rest, page) {
                self.failed = Some(rest);
                return Err(error);
            }
            self.failures = 0;
        }
        self.sealed = is_immutable.then_some(db);
        Ok(!self.spans.is_empty())
    }

    /// Reads a span, of which `rest` is what was not read.
    fn read_span(&mut self, db: &Connection, rest: &mut Span, page: &mut VecDeque<Record>) -> Result<(), SegmentError> {
        let mut select_source = store::prepare(db, Source::SELECT_ONE)?;
        let mut statement = store::prepare(db, &select_rows(&self.wanted, self.newest_first))?;
        let mut rows = statement.query([rest.low, rest.high])?;
        let (mut bytes, mut damaged) = (0_usize, Vec::new());
        while let Some(row) = rows.next()? {
            let row = match Row::read(row) {
                Ok(row) => row,
                Err(RowError { seq: Some(seq) }) if damaged.len() < DAMAGED => {
                    damaged.push(seq);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // A damaged page may lead to another one's records, to the same ones again and again even.
            if row.seq <= rest.low || row.seq > rest.high {
                return Err(SegmentError::damaged(format!("record {} stands where it does not belong", row.seq)));
            }
            if self.newest_first {
                rest.high = row.seq.saturating_sub(1);
            } else {
                rest.low = row.seq;
            }
            match self.wanted.record(&row, &mut select_source) {
                Ok(Some(record)) => {
                    bytes = bytes.saturating_add(row.bytes());
                    page.push_back(record);
                }
                Ok(None) => {}
                Err(SegmentError::Damaged(_)) if damaged.len() < DAMAGED => damaged.push(row.seq),
                Err(error) => return Err(error),
            }
            if page.len() >= PAGE_RECORDS || bytes >= PAGE_BYTES {
                if rest.low < rest.high {
                    self.spans.push_front(*rest);
                }
                break;
            }
        }
        if damaged.is_empty() {
            return Ok(());
        }
        // All others of the span were read, or are read next.
        self.failures = 0;
        let (first, last) = (damaged.iter().min().copied(), damaged.iter().max().copied());
        if let (Some(first), Some(last)) = (first, last) {
            *rest = Span { low: first.saturating_sub(1), high: last };
        }
        Err(SegmentError::damaged(row::not_what_was_written(damaged)))
    }

    /// Whether it is of no use to read on after an error.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.failures >= HOPELESS || self.spans.is_empty()
    }

    /// What the last error stands for: the numbers above the first and up to the second. `None` when nothing of the segment could
    /// be read.
    pub(crate) fn take_failed(&mut self) -> Option<(i64, i64)> {
        self.failed.take().map(|Span { low, high }| (low, high))
    }

    /// All that was not read yet: the numbers above the first and up to the second.
    pub(crate) fn unread(&self) -> Option<(i64, i64)> {
        let spans = || self.failed.iter().chain(&self.spans);
        Some((spans().map(|span| span.low).min()?, spans().map(|span| span.high).max()?))
    }

    /// Up to which number the segment reaches, when it is complete.
    pub(crate) fn reached(&self) -> Option<u64> {
        self.last.and_then(|last| u64::try_from(last).ok())
    }
}

/// The last number of a segment that is complete, when that can be read.
fn last_of(db: &Connection) -> Option<i64> {
    db.query_row("SELECT last FROM segment", [], |row| row.get(0)).ok().flatten()
}

/// How many wanted records there are of each entry of the dictionary `what`; order and limit do not matter.
///
/// A block that is wanted as a whole is counted by its summary. Gives back up to which number the segment reaches, when it
/// is complete.
pub(crate) fn count(
    entry: &Entry,
    query: &Query,
    mut add: impl FnMut(&What, u64),
) -> Result<Option<u64>, SegmentError> {
    let (db, _) = store::open_for_reading(&entry.path)?;
    let db = db.unchecked_transaction()?;
    let mut wanted = Wanted::new(&query.filter);
    wanted.read(&db)?;
    let mut counts: Vec<u64> = vec![0; wanted.whats.entries.len()];
    let mut count = |what: i64, n: u64| {
        if let Some(count) = index(what).and_then(|at| counts.get_mut(at)) {
            *count = count.saturating_add(n);
        }
    };
    let (low, high) = query.span();
    let is_counted = |block: &Block| {
        let is_whole = block.first > low && block.last <= high && wanted.wants_all_of(block);
        for (what, n) in block.whats.iter().filter(|(what, _)| is_whole && wanted.wants_what(*what)) {
            count(*what, n.unsigned_abs());
        }
        is_whole
    };
    // Records whose summary cannot be read are counted one by one.
    let (spans, _) = spans(&db, query, &wanted, is_counted)?;
    let mut select_source = store::prepare(&db, Source::SELECT_ONE)?;
    let mut statement = store::prepare(&db, &select_rows(&wanted, false))?;
    for span in &spans {
        let mut rows = statement.query([span.low, span.high])?;
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            let is_wanted = wanted.may_want(&row)
                && (wanted.is_certain(&row) || wanted.record(&row, &mut select_source)?.is_some());
            if is_wanted {
                count(row.what, 1);
            }
        }
    }
    let counted = wanted.whats.entries.iter().zip(counts).filter(|(_, n)| *n > 0);
    counted.filter_map(|(what, n)| Some((what.as_ref()?, n))).for_each(|(what, n)| add(what, n));
    Ok(last_of(&db).and_then(|last| u64::try_from(last).ok()))
}

/// A record that must be made to be looked into costs as much as so many that need not.
const MAKING: u64 = 4;

/// SQLite leaves out so many records in the time that it takes to read one.
const LEAVING_OUT: u64 = 16;

/// So many records are in a block that has its summary.
const A_BLOCK: u64 = 1024;

/// Counts the wanted records of a segment by time and severity, the newest first, until so much was read in all.
pub(crate) fn histogram(
    entry: &Entry,
    query: &Query,
    budget: u64,
    histogram: &mut Histogram,
) -> Result<(), SegmentError> {
    let (db, _) = store::open_for_reading(&entry.path)?;
    let db = db.unchecked_transaction()?;
    let mut wanted = Wanted::new(&query.filter);
    wanted.read(&db)?;
    let (low, high) = query.span();
    let is_counted = |block: &Block| {
        let place = block.received.and_then(|(min, max)| {
            let place = histogram.place(min)?;
            (histogram.place(max) == Some(place)).then_some(place)
        });
        let Some(place) = place else { return false };
        let is_whole = block.first > low && block.last <= high && wanted.wants_all_of(block);
        for (what, n) in block.whats.iter().filter(|(what, _)| is_whole && wanted.wants_what(*what)) {
            if let Ok(what) = wanted.whats.get(*what) {
                histogram.add(place, what, n.unsigned_abs());
            }
        }
        is_whole
    };
    let (spans, _) = spans(&db, query, &wanted, is_counted)?;
    let mut select_source = store::prepare(&db, Source::SELECT_ONE)?;
    let mut statement = store::prepare(&db, &select_rows(&wanted, true))?;
    for span in spans.iter().rev() {
        if histogram.read >= budget {
            histogram.is_complete = false;
            return Ok(());
        }
        let before = histogram.read;
        let mut rows = statement.query([span.low, span.high])?;
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            histogram.read = histogram.read.saturating_add(1);
            let is_wanted = wanted.may_want(&row)
                && (wanted.is_certain(&row) || {
                    histogram.read = histogram.read.saturating_add(MAKING - 1);
                    wanted.record(&row, &mut select_source)?.is_some()
                });
            let place = row.received.and_then(|received| histogram.place(received));
            if let Some(place) = place.filter(|_| is_wanted) {
                histogram.add(place, wanted.whats.get(row.what)?, 1);
            }
            // What has no summary yet is one span, however long it is.
            if histogram.read >= budget {
                histogram.is_complete = false;
                return Ok(());
            }
        }
        let looked_at = span.high.saturating_sub(span.low).unsigned_abs().min(A_BLOCK) / LEAVING_OUT;
        histogram.read = histogram.read.max(before.saturating_add(looked_at));
    }
    Ok(())
}

/// The spans in which something may be wanted, the oldest first: blocks, without those that are done with, and what has
/// no summary yet.
fn spans(
    db: &Connection,
    query: &Query,
    wanted: &Wanted,
    mut is_done: impl FnMut(&Block) -> bool,
) -> Result<(VecDeque<Span>, Option<SegmentError>), SegmentError> {
    let (low, high) = query.span();
    let mut spans = VecDeque::new();
    let mut add = |span: Span| {
        if span.low < span.high {
            spans.push_back(span);
        }
    };
    let mut behind = low;
    let Blocks { blocks, damaged } = Block::read_all(db, low, wanted.asks_for_source())?;
    for block in blocks {
        // What a damaged summary was about is looked at as if it had none.
        if !damaged.is_empty() {
            add(Span { low: behind, high: block.first.saturating_sub(1).min(high) });
        }
        behind = block.last;
        if !is_done(&block) && wanted.may_want_of(&block) {
            add(Span { low: block.first.saturating_sub(1).max(low), high: block.last.min(high) });
        }
    }
    add(Span { low: behind, high });
    let problem = damaged.first().map(|last| {
        let count = damaged.len();
        SegmentError::damaged(format!(
            "{count} of its summaries are not what was written, the first that of the block with record {last}"
        ))
    });
    Ok((spans, problem))
}

fn select_rows(wanted: &Wanted, newest_first: bool) -> String {
    let (columns, condition) = (row::COLUMNS, wanted.condition());
    let order = if newest_first { "DESC" } else { "ASC" };
    format!("SELECT {columns} FROM record WHERE seq > ?1 AND seq <= ?2{condition} ORDER BY seq {order}")
}
