//! The records that a query asks for, one after the other, a page at a time.

use crate::contents::Entry;
use crate::error::{ReadError, SegmentError};
use crate::query::Query;
use crate::reader::Reader;
use crate::scan::Scan;
use qev_record::Record;
use std::collections::VecDeque;

/// The answer to a [`Query`]: see [`Reader::records`](crate::Reader::records).
#[derive(Debug)]
pub struct Records {
    query: Query,
    /// Segments that were not begun yet, in the order of the query.
    segments: VecDeque<Entry>,
    failed: Option<ReadError>,
    /// To look again what there is, when a segment went while we were reading: others may have taken its place.
    reader: Reader,
    /// The one that is read.
    scan: Option<(Scan, Entry)>,
    page: VecDeque<Record>,
    left: u64,
}

/// The same as [`wanted`], after a segment was found to be there no more.
pub(crate) fn still_wanted(mut segments: Vec<Entry>, query: &Query) -> Vec<Entry> {
    // A name may lead nowhere; it must not be looked for for ever.
    segments.retain(|entry| entry.path.exists());
    wanted(segments, query)
}

/// Those segments whose sequence numbers a query asks for: each ends before the next begins.
pub(crate) fn wanted(segments: Vec<Entry>, query: &Query) -> Vec<Entry> {
    let (low, high) = query.span();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let ends: Vec<_> = segments.iter().skip(1).map(|next| number(next.first)).chain([i64::MAX]).collect();
    let is_wanted = |(entry, end): &(Entry, i64)| number(entry.first) <= high && end.saturating_sub(1) > low;
    segments.into_iter().zip(ends).filter(is_wanted).map(|(entry, _)| entry).collect()
}

impl Records {
    pub(crate) fn new(reader: Reader, query: Query) -> Records {
        let left = query.limit.unwrap_or(u64::MAX);
        let (segments, page) = (VecDeque::new(), VecDeque::new());
        let mut records = Records { query, segments, failed: None, reader, scan: None, page, left };
        records.failed = records.look(wanted).err();
        records
    }

    /// Looks which segments there are, of those that were not read yet.
    fn look(&mut self, wanted: impl Fn(Vec<Entry>, &Query) -> Vec<Entry>) -> Result<(), ReadError> {
        self.segments = wanted(self.reader.segments()?, &self.query).into();
        if self.query.newest_first {
            self.segments.make_contiguous().reverse();
        }
        Ok(())
    }

    /// A segment was read. The rest of the query is about what lies behind it, also when a segment that was rewritten
    /// meanwhile has what another one had.
    fn is_done(&mut self, entry: &Entry, reached: Option<u64>) {
        if self.query.newest_first {
            let before = self.query.before.map_or(entry.first, |before| before.min(entry.first));
            self.query.before = Some(before);
        } else if let Some(reached) = reached {
            self.query.after = Some(self.query.after.map_or(reached, |after| after.max(reached)));
        }
    }

    /// Reads on until there is a record, an error, or nothing left.
    fn fill(&mut self) -> Result<(), ReadError> {
        while self.page.is_empty() {
            let Some((mut scan, entry)) = self.scan.take() else {
                let Some(entry) = self.segments.pop_front() else { return Ok(()) };
                match Scan::open(&entry, &self.query) {
                    Ok(scan) => self.scan = Some((scan, entry)),
                    // It was old enough to be deleted in the meantime, or became part of another one.
                    Err(_) if !entry.path.exists() => self.look(still_wanted)?,
                    Err(error) => return Err(error.while_reading(&entry.path)),
                }
                continue;
            };
            match scan.read_page(&mut self.page) {
                Ok(true) => self.scan = Some((scan, entry)),
                Ok(false) => self.is_done(&entry, scan.reached()),
                Err(error) => {
                    let is_there = entry.path.exists();
                    let goes_on = is_there && !scan.is_hopeless() && matches!(error, SegmentError::Damaged(_));
                    if !goes_on {
                        self.is_done(&entry, scan.reached());
                    }
                    if is_there {
                        let path = entry.path.clone();
                        self.scan = goes_on.then_some((scan, entry));
                        return Err(error.while_reading(&path));
                    }
                    self.look(still_wanted)?;
                }
            }
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Result<Record, ReadError>> {
        if self.left == 0 {
            return None;
        }
        if self.page.is_empty() && self.failed.is_none() {
            self.failed = self.fill().err();
        }
        // What was read before the error comes before it.
        if let Some(record) = self.page.pop_front() {
            self.left = self.left.saturating_sub(1);
            return Some(Ok(record));
        }
        self.failed.take().map(Err)
    }
}
