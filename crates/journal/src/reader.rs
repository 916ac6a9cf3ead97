//! Reading a journal, in any process, beside a writer or without one.

use crate::contents::{self, Entry};
use crate::counts::Counts;
use crate::error::ReadError;
use crate::histogram::Histogram;
use crate::lock::{self, Writer};
use crate::query::Query;
use crate::records::{self, Records};
use crate::scan;
use qev_qmp::Timestamp;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// A reader of a journal.
///
/// It holds nothing open: each query looks at what is there then.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// A reader of the journal in a directory, which need not have records yet.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Reader, ReadError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ReadError::NoJournal { dir: dir.into() },
            _ => ReadError::Directory { dir: dir.into(), source },
        };
        let dir = dir.canonicalize().map_err(failed)?;
        contents::segments(&dir).map_err(failed)?;
        Ok(Reader { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The records that are wanted, of those that are there now.
    ///
    /// No read transaction lasts longer than it takes to read a page of records, however slowly they are taken. An item
    /// that is an error stands for a block, or all the rest, of one segment that could not be read; what can be read
    /// behind it follows.
    pub fn records(&self, query: &Query) -> Records {
        Records::new(self.clone(), query.clone())
    }

    /// How many of the wanted records there are of each event, kind and severity. Order and limit of the query do not
    /// matter.
    ///
    /// Blocks of records that are wanted as a whole are not read, so this is much faster than reading the records.
    pub fn count(&self, query: &Query) -> Counts {
        let mut counts = Counts::default();
        let mut query = Query { newest_first: false, ..query.clone() };
        let look = |query: &Query, wanted: fn(Vec<Entry>, &Query) -> Vec<Entry>, counts: &mut Counts| {
            let found = self.segments().map_err(|error| counts.errors.push(error));
            VecDeque::from(wanted(found.unwrap_or_default(), query))
        };
        let mut segments = look(&query, records::wanted, &mut counts);
        loop {
            let Some(entry) = segments.pop_front() else { return counts };
            match scan::count(&entry, &query, |what, records| counts.add(what, records)) {
                // Behind it, also when a segment that was rewritten meanwhile has what another one had.
                Ok(reached) => query.after = query.after.max(reached),
                Err(error) if entry.path.exists() => counts.errors.push(error.while_reading(&entry.path)),
                // It was old enough to be deleted in the meantime, or became part of another one.
                Err(_) => segments = look(&query, records::still_wanted, &mut counts),
            }
        }
    }

    /// How many of the wanted records were received when, between two times, both included, in so many spans of equal length
    /// (1 to 10,000). Order and limit of the query do not matter, nor do the times of its filter.
    ///
    /// Blocks that lie in one span and are wanted as a whole are counted by their summary. Of the others no more than
    /// about `budget` records are read, the newest first; the histogram says when that was not enough.
    pub fn histogram(
        &self,
        query: &Query,
        from: Timestamp,
        until: Timestamp,
        buckets: usize,
        budget: u64,
    ) -> Histogram {
        let mut histogram = Histogram::new(from, until, buckets);
        let mut query = query.clone();
        (query.filter.since, query.filter.until) = (Some(from), Some(until));
        let look = |query: &Query, wanted: fn(Vec<Entry>, &Query) -> Vec<Entry>, histogram: &mut Histogram| {
            let found = self.segments().map_err(|error| histogram.errors.push(error));
            wanted(found.unwrap_or_default(), query)
        };
        let mut segments = look(&query, records::wanted, &mut histogram);
        while histogram.is_complete {
            let Some(entry) = segments.pop() else { break };
            match scan::histogram(&entry, &query, budget, &mut histogram) {
                // Before it, also when a segment that was rewritten meanwhile has what another one had.
                Ok(_) => query.before = Some(query.before.map_or(entry.first, |before| before.min(entry.first))),
                Err(error) if entry.path.exists() => histogram.errors.push(error.while_reading(&entry.path)),
                // It was old enough to be deleted in the meantime, or became part of another one.
                Err(_) => segments = look(&query, records::still_wanted, &mut histogram),
            }
        }
        histogram
    }

    /// Whether somebody writes to the journal.
    pub fn writer(&self) -> Writer {
        lock::writer(&self.dir)
    }

    pub(crate) fn segments(&self) -> Result<Vec<Entry>, ReadError> {
        contents::segments(&self.dir).map_err(|source| ReadError::Directory { dir: self.dir.clone(), source })
    }
}
