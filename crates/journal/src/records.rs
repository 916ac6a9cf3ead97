//! The records that a query asks for, one after the other, a page at a time; and which numbers it cannot be given.

use crate::contents::Entry;
use crate::deleted::Deleted;
use crate::error::{ReadError, SegmentError};
use crate::query::Query;
use crate::reader::Reader;
use crate::scan::Scan;
use qev_record::Record;
use std::collections::VecDeque;

/// The answer to a [`Query`]: see [`Reader::records`](crate::Reader::records).
///
/// As an iterator it leaves out deleted records without a word; [`Records::next_found`] tells of them.
#[derive(Debug)]
pub struct Records {
    query: Query,
    /// Segments that were not begun yet, in the order of the query.
    segments: VecDeque<Entry>,
    /// To look again what there is, when a segment went while we were reading: others may have taken its place.
    reader: Reader,
    /// The one that is read.
    scan: Option<(Scan, Entry)>,
    /// Reading in the order of the numbers: all up to this one are done with. `None` while the beginning is wherever the oldest
    /// record is.
    done: Option<i64>,
    page: VecDeque<Record>,
    /// What comes behind the page.
    missing: VecDeque<Missing>,
    is_over: bool,
    left: u64,
}

/// What [`Records::next_found`] gives.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // It is looked into at once, and nearly always a record.
pub enum Found {
    /// The next record.
    Record(Record),
    /// Records that may be wanted and cannot be had.
    Missing(Missing),
}

/// Numbers whose records a reader cannot be given, though they were there. Some of them may not be wanted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Missing {
    /// The first number.
    pub first: u64,
    /// The last number; `None` when nobody knows where it ends.
    pub last: Option<u64>,
    /// Why.
    pub why: Why,
}

/// Why records are missing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// They were deleted: the end of a sentence, such as "were deleted by retention (keep-size)".
    Deleted(Box<str>),
    /// They cannot be read.
    Unreadable(ReadError),
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
    let ends: Vec<_> = segments.iter().skip(1).map(|next| signed(next.first)).chain([i64::MAX]).collect();
    let is_wanted = |(entry, end): &(Entry, i64)| signed(entry.first) <= high && end.saturating_sub(1) > low;
    segments.into_iter().zip(ends).filter(is_wanted).map(|(entry, _)| entry).collect()
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}

impl Records {
    pub(crate) fn new(reader: Reader, query: Query) -> Records {
        let left = query.limit.unwrap_or(u64::MAX);
        let done = query.after.filter(|after| *after > 0 && !query.newest_first).map(signed);
        let mut records = Records {
            query,
            segments: VecDeque::new(),
            reader,
            scan: None,
            done,
            page: VecDeque::new(),
            missing: VecDeque::new(),
            is_over: false,
            left,
        };
        records.look(wanted);
        records
    }

    /// The next record, or the numbers of those that cannot be had, in their order. A query that begins behind a number is
    /// told of all that is missing behind it. One that begins with the oldest record is told of what is deleted while it
    /// reads. Records of which a gap in the journal tells are not told of again.
    pub fn next_found(&mut self) -> Option<Found> {
        loop {
            if self.left == 0 {
                return None;
            }
            // What was read before an error comes before it.
            if let Some(record) = self.page.pop_front() {
                self.left = self.left.saturating_sub(1);
                return Some(Found::Record(record));
            }
            if let Some(missing) = self.missing.pop_front() {
                return Some(Found::Missing(missing));
            }
            if self.is_over {
                return None;
            }
            self.fill();
        }
    }

    /// Looks which segments there are, of those that were not read yet.
    fn look(&mut self, wanted: impl Fn(Vec<Entry>, &Query) -> Vec<Entry>) {
        match self.reader.segments() {
            Ok(segments) => self.segments = wanted(segments, &self.query).into(),
            Err(error) => {
                let (low, high) = self.rest();
                self.cannot_read(low, high, error);
                self.is_over = true;
            }
        }
        if self.query.newest_first {
            self.segments.make_contiguous().reverse();
        }
    }

    /// The numbers that are not done with: those above the first and up to the second.
    fn rest(&self) -> (i64, i64) {
        let (low, high) = self.query.span();
        (self.done.unwrap_or(low), high)
    }

    /// All up to this number are done with, when reading in the order of the numbers.
    fn is_done_up_to(&mut self, number: i64) {
        let done = self.done.unwrap_or_default().max(number);
        self.done = Some(done);
        self.query.after = self.query.after.max(Some(unsigned(done)));
    }

    /// A segment was read. The rest of the query is about what lies behind it, also when a segment that was rewritten
    /// meanwhile has what another one had.
    fn is_done(&mut self, entry: &Entry, scan: Option<&Scan>) {
        if self.query.newest_first {
            let before = self.query.before.map_or(entry.first, |before| before.min(entry.first));
            self.query.before = Some(before);
        } else {
            let (_, high) = self.query.span();
            let end = scan.and_then(Scan::reached).map(signed).or_else(|| self.end_of_next()).unwrap_or(high);
            self.is_done_up_to(end);
        }
    }

    /// The last number before the next segment, when reading in the order of the numbers.
    fn end_of_next(&self) -> Option<i64> {
        let next = self.segments.front().filter(|_| !self.query.newest_first);
        next.map(|next| signed(next.first).saturating_sub(1))
    }

    /// A segment went while it was read: what was not read of it may be in another one now.
    fn is_cut_off(&mut self, scan: &Scan) {
        match scan.unread() {
            Some((_, high)) if self.query.newest_first => {
                let before = unsigned(high.saturating_add(1));
                self.query.before = Some(self.query.before.map_or(before, |known| known.min(before)));
            }
            Some((low, _)) => self.is_done_up_to(low),
            None => {}
        }
        self.look(still_wanted);
    }

    /// Reads on until there is a record, something is missing, or nothing is left.
    fn fill(&mut self) {
        while self.page.is_empty() && self.missing.is_empty() && !self.is_over {
            let Some((mut scan, entry)) = self.scan.take() else {
                self.open_next();
                continue;
            };
            match scan.read_page(&mut self.page) {
                Ok(true) => self.scan = Some((scan, entry)),
                Ok(false) => self.is_done(&entry, Some(&scan)),
                Err(_) if !entry.path.exists() => self.is_cut_off(&scan),
                Err(error) => {
                    let goes_on = !scan.is_hopeless() && matches!(error, SegmentError::Damaged(_));
                    let failed = if goes_on { scan.take_failed() } else { None };
                    let goes_on = failed.is_some();
                    let (low, high) = failed.or_else(|| scan.unread()).unwrap_or_else(|| self.rest());
                    let end = scan.reached().map(signed).or_else(|| self.end_of_next()).unwrap_or(high);
                    self.cannot_read(low, high.min(end), error.while_reading(&entry.path));
                    if goes_on {
                        self.scan = Some((scan, entry));
                    } else {
                        self.is_done(&entry, Some(&scan));
                    }
                }
            }
        }
    }

    /// Opens the next segment, unless something is missing before it.
    fn open_next(&mut self) {
        let Some(entry) = self.segments.pop_front() else { return self.end() };
        let first = signed(entry.first);
        if let Some(done) = self.done.filter(|done| first > done.saturating_add(1)) {
            let last = first.saturating_sub(1);
            self.is_done_up_to(last);
            self.are_deleted(done.saturating_add(1), last);
            return self.segments.push_front(entry);
        }
        match Scan::open(&entry, &self.query) {
            Ok(scan) => {
                if !self.query.newest_first {
                    self.is_done_up_to(first.saturating_sub(1));
                }
                self.scan = Some((scan, entry));
            }
            // It was old enough to be deleted in the meantime, or became part of another one.
            Err(_) if !entry.path.exists() => self.look(still_wanted),
            Err(error) => {
                let (low, high) = self.query.span();
                let (low, end) = (low.max(first.saturating_sub(1)), self.end_of_next().unwrap_or(high));
                self.cannot_read(low, high.min(end), error.while_reading(&entry.path));
                self.is_done(&entry, None);
            }
        }
    }

    /// There is no other segment: what was asked for up to here and is not there was deleted.
    fn end(&mut self) {
        self.is_over = true;
        let (low, high) = self.query.span();
        let is_bounded = self.query.before.is_some();
        match self.done {
            Some(done) if is_bounded && done < high => self.are_deleted(done.saturating_add(1), high),
            None if self.query.newest_first && low > 0 && is_bounded => self.are_deleted(low.saturating_add(1), high),
            _ => {}
        }
    }

    /// There is no segment with these numbers.
    fn are_deleted(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        let segments = self.reader.segments().unwrap_or_default();
        let is_oldest = segments.first().is_none_or(|oldest| signed(oldest.first) > last);
        let explained = Deleted::load(&segments).explain(first, last, is_oldest);
        self.missing.extend(explained.into_iter().map(|(first, last, why)| Missing {
            first: unsigned(first),
            last: Some(unsigned(last)),
            why: Why::Deleted(why),
        }));
    }

    /// Those above a number and up to another cannot be read.
    fn cannot_read(&mut self, low: i64, high: i64, error: ReadError) {
        let last = (high < i64::MAX).then(|| unsigned(high));
        let first = unsigned(low.saturating_add(1));
        self.missing.push_back(Missing { first, last, why: Why::Unreadable(error) });
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Result<Record, ReadError>> {
        loop {
            match self.next_found()? {
                Found::Record(record) => return Some(Ok(record)),
                Found::Missing(Missing { why: Why::Unreadable(error), .. }) => return Some(Err(error)),
                Found::Missing(_) => {}
            }
        }
    }
}
