//! A record as a row of its segment: what is the same in many records is a number of a [dictionary](crate::dictionary),
//! what most records have is a column, what few have goes into [`rest`].

mod rest;

use crate::dictionary::{Source, What, index};
use crate::error::SegmentError;
use qev_qmp::{Json, Timestamp};
use qev_record::{Kind, Record, Severity};
use rest::Rest;
use rusqlite::types::ValueRef;
use std::borrow::Cow;
use std::sync::Arc;

/// The columns, in the order in which [`Row::read`] wants them.
pub(crate) const COLUMNS: &str = "seq, source, what, received, lag, summary, data, rest";

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
    pub(crate) fn read(row: &'a rusqlite::Row<'_>) -> Result<Row<'a>, SegmentError> {
        Ok(Row {
            seq: integer(row, 0)?,
            source: integer(row, 1)?,
            what: integer(row, 2)?,
            received: optional(row, 3)?,
            lag: optional(row, 4)?,
            summary: text(row, 5)?.ok_or_else(|| misfit(row, "summary"))?,
            data: text(row, 6)?,
            rest: match row.get_ref(7)? {
                ValueRef::Blob(bytes) => Cow::Borrowed(bytes),
                ValueRef::Null => Cow::Borrowed(&[]),
                _ => return Err(misfit(row, "rest")),
            },
        })
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

fn integer(row: &rusqlite::Row<'_>, column: usize) -> Result<i64, SegmentError> {
    optional(row, column)?.ok_or_else(|| misfit(row, &format!("column {column}")))
}

fn optional(row: &rusqlite::Row<'_>, column: usize) -> Result<Option<i64>, SegmentError> {
    match row.get_ref(column)? {
        ValueRef::Integer(n) => Ok(Some(n)),
        ValueRef::Null => Ok(None),
        _ => Err(misfit(row, &format!("column {column}"))),
    }
}

fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<Option<&'a str>, SegmentError> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).map(Some).map_err(|_| misfit(row, &format!("column {column}")))
        }
        ValueRef::Null => Ok(None),
        _ => Err(misfit(row, &format!("column {column}"))),
    }
}

fn misfit(row: &rusqlite::Row<'_>, what: &str) -> SegmentError {
    let seq = row.get::<_, i64>(0).map_or_else(|_| "?".to_owned(), |seq| seq.to_string());
    SegmentError::damaged(format!("record {seq}: {what} is not what it should be"))
}
