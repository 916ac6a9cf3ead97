//! One segment, read: its dictionaries, its blocks, the rows in which something may match.

use crate::block::Block;
use crate::contents::Entry;
use crate::dictionary::{Entries, Source, What};
use crate::error::SegmentError;
use crate::query::Query;
use crate::row::{self, Row};
use crate::store;
use qev_qmp::Timestamp;
use qev_record::{Filter, Record};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A page ends with this many records …
const PAGE_RECORDS: usize = 1024;

/// … or with this many bytes.
const PAGE_BYTES: usize = 1 << 20;

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
    query: Query,
    sources: Entries<Source>,
    whats: Entries<What>,
    /// Which entries of the dictionaries a wanted record may have.
    wanted_sources: Vec<bool>,
    wanted_whats: Vec<bool>,
    /// What is still to be read.
    spans: VecDeque<Span>,
    /// Open between pages only if nobody is in the way of anybody: when the segment is sealed.
    sealed: Option<Connection>,
}

impl Scan {
    pub(crate) fn open(entry: &Entry, query: &Query) -> Result<Scan, SegmentError> {
        let (db, is_immutable) = store::open_for_reading(&entry.path)?;
        let mut scan = Scan {
            path: entry.path.clone(),
            query: query.clone(),
            sources: Entries::new(),
            whats: Entries::new(),
            wanted_sources: Vec::new(),
            wanted_whats: Vec::new(),
            spans: VecDeque::new(),
            sealed: None,
        };
        scan.read_dictionaries(&db)?;
        let (low, high) = query.span();
        let blocks = Block::read_all(&db, low)?;
        let first = i64::try_from(entry.first).unwrap_or(i64::MAX);
        let behind = blocks.last().map_or(low.max(first.saturating_sub(1)), |block| block.last);
        for block in &blocks {
            if scan.may_match(block) {
                scan.add_span(block.first.saturating_sub(1).max(low), block.last.min(high));
            }
        }
        scan.add_span(behind.max(low), high);
        if query.newest_first {
            scan.spans = scan.spans.into_iter().rev().collect();
        }
        scan.sealed = is_immutable.then_some(db);
        Ok(scan)
    }

    fn add_span(&mut self, low: i64, high: i64) {
        if low < high {
            self.spans.push_back(Span { low, high });
        }
    }

    fn read_dictionaries(&mut self, db: &Connection) -> Result<(), SegmentError> {
        self.sources.read(db)?;
        self.whats.read(db)?;
        let filter = &self.query.filter;
        for source in self.sources.entries.iter().skip(self.wanted_sources.len()) {
            self.wanted_sources.push(may_want_source(filter, source));
        }
        for what in self.whats.entries.iter().skip(self.wanted_whats.len()) {
            self.wanted_whats.push(may_want_what(filter, what));
        }
        Ok(())
    }

    fn may_match(&self, block: &Block) -> bool {
        let Filter { since, until, .. } = &self.query.filter;
        let in_time = block.received.is_none_or(|(min, max)| {
            since.is_none_or(|since| Timestamp::from_micros(max) >= since)
                && until.is_none_or(|until| Timestamp::from_micros(min) <= until)
        });
        in_time
            && block.whats.iter().any(|(what, _)| is_wanted(&self.wanted_whats, *what))
            && block.sources.iter().any(|source| is_wanted(&self.wanted_sources, *source))
    }

    /// Reads on until there is a page of records that match, or the segment is at its end. Whether it is not.
    pub(crate) fn read_page(&mut self, page: &mut VecDeque<Record>) -> Result<bool, SegmentError> {
        if self.spans.is_empty() {
            return Ok(false);
        }
        let (db, is_immutable) = match self.sealed.take() {
            Some(db) => (db, true),
            None => {
                let (db, is_immutable) = store::open_for_reading(&self.path)?;
                self.read_dictionaries(&db)?;
                (db, is_immutable)
            }
        };
        while page.is_empty()
            && let Some(span) = self.spans.pop_front()
        {
            self.read_span(&db, span, page)?;
        }
        self.sealed = is_immutable.then_some(db);
        Ok(!self.spans.is_empty())
    }

    fn read_span(&mut self, db: &Connection, span: Span, page: &mut VecDeque<Record>) -> Result<(), SegmentError> {
        let order = if self.query.newest_first { "DESC" } else { "ASC" };
        let sql = format!("SELECT {} FROM record WHERE seq > ?1 AND seq <= ?2 ORDER BY seq {order}", row::COLUMNS);
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([span.low, span.high])?;
        let mut bytes = 0_usize;
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            if let Some(record) = self.wanted(&row)? {
                bytes = bytes.saturating_add(row.bytes());
                page.push_back(record);
            }
            if page.len() >= PAGE_RECORDS || bytes >= PAGE_BYTES {
                let rest = if self.query.newest_first {
                    Span { high: row.seq.saturating_sub(1), ..span }
                } else {
                    Span { low: row.seq, ..span }
                };
                if rest.low < rest.high {
                    self.spans.push_front(rest);
                }
                break;
            }
        }
        Ok(())
    }

    /// The row's record, if it is wanted. The filter has the last word; its dictionary entries only spare its reading.
    fn wanted(&self, row: &Row<'_>) -> Result<Option<Record>, SegmentError> {
        let (source, what) = (self.sources.get(row.source)?, self.whats.get(row.what)?);
        if !is_wanted(&self.wanted_sources, row.source) || !is_wanted(&self.wanted_whats, row.what) {
            return Ok(None);
        }
        let record = row.record(source, what)?;
        Ok(self.query.filter.matches(&record).then_some(record))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn is_wanted(wanted: &[bool], id: i64) -> bool {
    let at = id.checked_sub(1).and_then(|at| usize::try_from(at).ok());
    // An entry that is not there is damage, which reading the row finds.
    at.and_then(|at| wanted.get(at)).copied().unwrap_or(true)
}

fn may_want_source(filter: &Filter, source: &Source) -> bool {
    let is_one = |name: &str| filter.machines.iter().any(|glob| glob.matches(name));
    filter.machines.is_empty() || is_one(&source.machine) || source.machine_id.as_deref().is_some_and(is_one)
}

fn may_want_what(filter: &Filter, what: &What) -> bool {
    let is_one = |name: &str| filter.events.iter().any(|glob| glob.matches_ignoring_case(name));
    filter.severity.is_none_or(|severity| what.severity >= severity)
        && (filter.events.is_empty() || what.event.as_ref().is_some_and(|event| is_one(event.as_str())))
}
