//! The records that a query asks for, one after the other, a page at a time.

use crate::contents::Entry;
use crate::error::{ReadError, SegmentError};
use crate::query::Query;
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
    scan: Option<Scan>,
    page: VecDeque<Record>,
    left: u64,
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
    pub(crate) fn new(segments: Result<Vec<Entry>, ReadError>, query: Query) -> Records {
        let (segments, failed) = match segments {
            Ok(segments) => (wanted(segments, &query), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut segments = VecDeque::from(segments);
        if query.newest_first {
            segments.make_contiguous().reverse();
        }
        let left = query.limit.unwrap_or(u64::MAX);
        Records { query, segments, failed, scan: None, page: VecDeque::new(), left }
    }

    /// Reads on until there is a record, an error, or nothing left.
    fn fill(&mut self) -> Result<(), ReadError> {
        while self.page.is_empty() {
            let Some(scan) = &mut self.scan else {
                let Some(entry) = self.segments.pop_front() else { return Ok(()) };
                match Scan::open(&entry, &self.query) {
                    Ok(scan) => self.scan = Some(scan),
                    // It was old enough to be deleted in the meantime.
                    Err(_) if !entry.path.exists() => {}
                    Err(error) => return Err(error.while_reading(&entry.path)),
                }
                continue;
            };
            match scan.read_page(&mut self.page) {
                Ok(true) => {}
                Ok(false) => self.scan = None,
                Err(error) => {
                    let path = scan.path().to_owned();
                    if scan.is_hopeless() || !matches!(error, SegmentError::Damaged(_)) {
                        self.scan = None;
                    }
                    if path.exists() {
                        return Err(error.while_reading(&path));
                    }
                    self.scan = None;
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
