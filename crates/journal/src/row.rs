//! A record as a row of its segment: what is the same in many records is a number of a [dictionary](crate::dictionary),
//! what most records have is a column, what few have goes into [`rest`].

mod rest;

use crate::checksum::Checksum;
use crate::dictionary::{Source, What, index};
use crate::error::SegmentError;
use qev_qmp::{Json, Timestamp};
use qev_record::{Kind, Record, Severity};
use rest::Rest;
use rusqlite::types::ValueRef;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The columns, in the order in which [`Row::read`] wants them.
pub(crate) const COLUMNS: &str = "seq, source, what, received, lag, summary, data, rest, row_checksum";

/// About how many bytes a row takes, as [`Row::bytes`] counts them.
pub(crate) const BYTES: &str =
    "40 + octet_length(summary) + ifnull(octet_length(data), 0) + ifnull(octet_length(rest), 0)";

/// One row of the table `record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) seq: i64,
    pub(crate) source: i64,
    pub(crate) what: i64,
    /// Microseconds since the epoch; `None` when it is a time that microseconds cannot say: then it is in `rest`.
    pub(crate) received: Option<i64>,
    /// How many microseconds before `received` QEMU says that it happened.
    pub(crate) lag: Option<i64>,
    pub(crate) summary: &'a str,
    pub(crate) data: Option<&'a str>,
    /// Empty when there is nothing: the column is NULL then.
    pub(crate) rest: Cow<'a, [u8]>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(seq: i64, source: i64, what: i64, record: &'a Record) -> Row<'a> {
        let received = record.received.micros();
        let lag = received.zip(record.timestamp.and_then(Timestamp::micros));
        let lag = lag.and_then(|(received, timestamp)| received.checked_sub(timestamp));
        let rest = Rest {
            received: received.is_none().then_some(record.received),
            timestamp: record.timestamp.filter(|_| lag.is_none()),
        };
        Row {
            seq,
            source,
            what,
            received,
            lag,
            summary: &record.summary,
            data: record.data.as_ref().map(Json::as_text),
            rest: Cow::Owned(rest.write(record)),
        }
    }

    /// Reads a row of [`COLUMNS`].
    ///
    /// # Errors
    ///
    /// When it is not what was written.
    pub(crate) fn read(row: &'a rusqlite::Row<'_>) -> Result<Row<'a>, RowError> {
        let seq = optional(row, 0).flatten().ok_or(RowError { seq: None })?;
        Row::read_columns(row, seq)
            .filter(|read| row.get_ref(8).is_ok_and(|column| read.sum().is_in(column)))
            .ok_or(RowError { seq: Some(seq) })
    }

    fn read_columns(row: &'a rusqlite::Row<'_>, seq: i64) -> Option<Row<'a>> {
        Some(Row {
            seq,
            source: optional(row, 1)??,
            what: optional(row, 2)??,
            received: optional(row, 3)?,
            lag: optional(row, 4)?,
            summary: text(row, 5)??,
            data: text(row, 6)?,
            rest: match row.get_ref(7).ok()? {
                ValueRef::Blob(bytes) => Cow::Borrowed(bytes),
                ValueRef::Null => Cow::Borrowed(&[]),
                _ => return None,
            },
        })
    }

    /// The sum over all that stands in it.
    pub(crate) fn sum(&self) -> Checksum {
        let mut sum = Checksum::default();
        self.add_to(&mut sum);
        sum
    }

    /// Adds all that stands in it to a sum: its numbers, then its texts.
    pub(crate) fn add_to(&self, sum: &mut Checksum) {
        for n in [Some(self.seq), Some(self.source), Some(self.what), self.received, self.lag] {
            sum.number(n);
        }
        sum.bytes(self.summary.as_bytes());
        sum.optional(self.data.map(str::as_bytes));
        sum.bytes(&self.rest);
    }

    /// The record that it was made of.
    pub(crate) fn record(&self, source: &Source, what: &What) -> Result<Record, SegmentError> {
        let of_micros = |micros: Option<i64>| micros.map(Timestamp::from_micros);
        let received = of_micros(self.received).unwrap_or(Timestamp::UNKNOWN);
        let mut record = source.record(received);
        what.put_into(&mut record);
        record.seq = u64::try_from(self.seq).ok();
        record.timestamp = of_micros(self.received.zip(self.lag).and_then(|(received, lag)| received.checked_sub(lag)));
        record.summary = self.summary.into();
        record.data = match self.data {
            None => None,
            Some(text) => Some(Json::parse(text).map_err(|error| self.damaged(&format!("its data is {error}")))?),
        };
        Rest::read(&self.rest, &mut record).ok_or_else(|| self.damaged("its rest cannot be read"))?;
        Ok(record)
    }

    /// Whether the record can be read, where the dictionaries have so many entries.
    pub(crate) fn check(&self, sources: usize, whats: usize) -> Result<(), SegmentError> {
        let is_in = |id: i64, entries: usize| index(id).is_some_and(|at| at < entries);
        if !is_in(self.source, sources) || !is_in(self.what, whats) {
            return Err(self.damaged("it has a number that its dictionary does not"));
        }
        let nobody: Arc<str> = Arc::from("");
        let source = Source { host: nobody.clone(), machine: nobody, machine_id: None, session: None, via: None };
        let what = What { kind: Kind::Event, event: None, severity: Severity::Debug };
        self.record(&source, &what).map(drop)
    }

    fn damaged(&self, problem: &str) -> SegmentError {
        SegmentError::damaged(format!("record {}: {problem}", self.seq))
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        40 + self.summary.len() + self.data.map_or(0, str::len) + self.rest.len()
    }
}

/// A row is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowError {
    /// Its number, when that can be read.
    pub(crate) seq: Option<i64>,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "record {seq} is not what was written"),
            None => f.write_str("a record is not what was written"),
        }
    }
}

/// How many numbers a sentence has.
const LISTED: usize = 8;

/// Which records are not what was written, as a sentence.
pub(crate) fn not_what_was_written(mut numbers: Vec<i64>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    if let [number] = numbers[..] {
        return RowError { seq: Some(number) }.to_string();
    }
    let mut words = numbers.iter().take(LISTED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = numbers.len().checked_sub(LISTED).filter(|more| *more > 0) {
        words.push_str(&format!(" and {more} more"));
    }
    format!("records {words} are not what was written")
}

impl From<RowError> for SegmentError {
    fn from(error: RowError) -> SegmentError {
        SegmentError::damaged(error.to_string())
    }
}

/// An integer or NULL; `None` when it is something else.
fn optional(row: &rusqlite::Row<'_>, column: usize) -> Option<Option<i64>> {
    match row.get_ref(column).ok()? {
        ValueRef::Integer(n) => Some(Some(n)),
        ValueRef::Null => Some(None),
        _ => None,
    }
}

/// A text or NULL; `None` when it is something else.
fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Option<Option<&'a str>> {
    match row.get_ref(column).ok()? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(Some),
        ValueRef::Null => Some(None),
        _ => None,
    }
}
