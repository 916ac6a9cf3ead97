//! What many records of a segment have in common is written once, and each record has its number.
//!
//! Who a record is about (host, machine, identity, session, way) is one entry, what it is (kind, event, severity)
//! another. So a filter is asked once an entry, not once a record.

use crate::checksum::Checksum;
use crate::error::SegmentError;
use crate::store;
use qev_qmp::{EventName, Timestamp};
use qev_record::{Kind, Record, Severity};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Who a record is about, and which way it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) host: Arc<str>,
    pub(crate) machine: Arc<str>,
    pub(crate) machine_id: Option<Arc<str>>,
    pub(crate) session: Option<Arc<str>>,
    pub(crate) via: Option<Arc<str>>,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct What {
    pub(crate) kind: Kind,
    pub(crate) event: Option<EventName>,
    pub(crate) severity: Severity,
}

impl Source {
    /// One entry, in the order of [`Entry::SELECT`].
    pub(crate) const SELECT_ONE: &'static str =
        "SELECT id, host, machine, machine_id, session, via, row_checksum FROM source WHERE id = ?1";

    /// Where names stand in it.
    pub(crate) const MACHINE: usize = 2;
    pub(crate) const MACHINE_ID: usize = 3;

    /// Whether a row of [`Entry::SELECT`] is what was written.
    pub(crate) fn is_whole(row: &Row<'_>) -> bool {
        is_whole::<5>(row)
    }

    /// A record of this source, of which nothing else is known yet.
    pub(crate) fn record(&self, received: Timestamp) -> Record {
        let mut record = Record::attached(self.host.clone(), self.machine.clone(), received);
        record.machine_id = self.machine_id.clone();
        record.session = self.session.clone();
        record.via = self.via.clone();
        record
    }
}

impl What {
    /// One entry, in the order of [`Entry::SELECT`].
    pub(crate) const SELECT_ONE: &'static str =
        "SELECT id, kind, event, severity, row_checksum FROM what WHERE id = ?1";

    /// Makes a record what this says.
    pub(crate) fn put_into(&self, record: &mut Record) {
        record.kind = self.kind.clone();
        record.severity = self.severity;
        record.event = self.event.clone();
    }
}

/// What a dictionary has entries of.
pub(crate) trait Entry: Clone + Eq + Hash {
    /// The table, with the entry's columns.
    const SELECT: &'static str;
    fn of(record: &Record) -> Self;
    /// Whether this is the entry of a record.
    fn is_of(&self, record: &Record) -> bool;
    fn insert(&self, id: i64, db: &Connection) -> rusqlite::Result<()>;
    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>>;
}

impl Entry for Source {
    const SELECT: &'static str =
        "SELECT id, host, machine, machine_id, session, via, row_checksum FROM source WHERE id > ?1 ORDER BY id";

    fn of(record: &Record) -> Source {
        Source {
            host: record.host.clone(),
            machine: record.machine.clone(),
            machine_id: record.machine_id.clone(),
            session: record.session.clone(),
            via: record.via.clone(),
        }
    }

    fn is_of(&self, record: &Record) -> bool {
        self.machine == record.machine
            && self.session == record.session
            && self.machine_id == record.machine_id
            && self.host == record.host
            && self.via == record.via
    }

    fn insert(&self, id: i64, db: &Connection) -> rusqlite::Result<()> {
        let Source { host, machine, machine_id, session, via } = self;
        let texts = [Some(host), Some(machine), machine_id.as_ref(), session.as_ref(), via.as_ref()];
        let sum = sum(id, texts.map(|text| text.map(|text| text.as_bytes())));
        db.prepare("INSERT INTO source VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![id, host, machine, machine_id, session, via, sum.short()])
            .map(drop)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Source>> {
        if !Source::is_whole(row) {
            return Ok(None);
        }
        Ok(Some(Source {
            host: row.get(1)?,
            machine: row.get(2)?,
            machine_id: row.get(3)?,
            session: row.get(4)?,
            via: row.get(5)?,
        }))
    }
}

impl Entry for What {
    const SELECT: &'static str = "SELECT id, kind, event, severity, row_checksum FROM what WHERE id > ?1 ORDER BY id";

    fn of(record: &Record) -> What {
        What { kind: record.kind.clone(), event: record.event.clone(), severity: record.severity }
    }

    fn is_of(&self, record: &Record) -> bool {
        self.event == record.event && self.kind == record.kind && self.severity == record.severity
    }

    fn insert(&self, id: i64, db: &Connection) -> rusqlite::Result<()> {
        let event = self.event.as_ref().map(EventName::as_str);
        let texts = [Some(self.kind.as_str()), event, Some(self.severity.as_str())];
        let sum = sum(id, texts.map(|text| text.map(str::as_bytes)));
        db.prepare("INSERT INTO what VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![id, self.kind.as_str(), event, self.severity.as_str(), sum.short()])
            .map(drop)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Option<What>> {
        if !is_whole::<3>(row) {
            return Ok(None);
        }
        let (kind, event) = (row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?);
        let severity = row.get::<_, String>(3)?.parse().ok();
        Ok(severity.map(|severity| What { kind: (&*kind).into(), event: event.as_deref().map(Into::into), severity }))
    }
}

/// The sum over an entry: its number, and its texts.
fn sum<const TEXTS: usize>(id: i64, texts: [Option<&[u8]>; TEXTS]) -> Checksum {
    let mut sum = Checksum::default();
    sum.number(Some(id));
    texts.into_iter().for_each(|text| sum.optional(text));
    sum
}

/// Whether a row is what was written: its number, so many texts, and its checksum.
fn is_whole<const TEXTS: usize>(row: &Row<'_>) -> bool {
    let text = |column: usize| match row.get_ref(column).ok()? {
        ValueRef::Text(bytes) => Some(Some(bytes)),
        ValueRef::Null => Some(None),
        _ => None,
    };
    let mut texts = [None; TEXTS];
    for (to, column) in texts.iter_mut().zip(1..) {
        let Some(read) = text(column) else { return false };
        *to = read;
    }
    let (id, column) = (row.get::<_, i64>(0), row.get_ref(TEXTS + 1));
    id.is_ok_and(|id| column.is_ok_and(|column| sum(id, texts).is_in(column)))
}

/// A dictionary for reading: entries by number.
#[derive(Clone, Debug)]
pub(crate) struct Entries<E> {
    /// The first entry has number 1. One that is not what was written is `None`.
    pub(crate) entries: Vec<Option<E>>,
}

impl<E: Entry> Entries<E> {
    pub(crate) fn new() -> Entries<E> {
        Entries { entries: Vec::new() }
    }

    /// Reads what came since it was last read.
    pub(crate) fn read(&mut self, db: &Connection) -> Result<(), SegmentError> {
        let mut statement = store::prepare(db, E::SELECT)?;
        let mut rows = statement.query([self.count()])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if id != self.count().saturating_add(1) {
                return Err(SegmentError::damaged(format!(
                    "entry {id} of a dictionary stands where it does not belong"
                )));
            }
            self.entries.push(E::read(row).ok().flatten());
        }
        Ok(())
    }

    pub(crate) fn get(&self, id: i64) -> Result<&E, SegmentError> {
        index(id).and_then(|at| self.entries.get(at)?.as_ref()).ok_or_else(|| {
            SegmentError::damaged(format!("entry {id} of a dictionary is missing or not what was written"))
        })
    }

    /// The numbers of entries that are not what was written.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = i64> {
        self.entries.iter().zip(1..).filter(|(entry, _)| entry.is_none()).map(|(_, id)| id)
    }

    fn count(&self) -> i64 {
        self.entries.len().try_into().unwrap_or(i64::MAX)
    }
}

/// Where the entry with a number stands in a list of all.
pub(crate) fn index(id: i64) -> Option<usize> {
    id.checked_sub(1).and_then(|at| usize::try_from(at).ok())
}

/// A dictionary for writing: numbers by entry. As large as its segment at most: each entry is in it once.
#[derive(Debug)]
pub(crate) struct Numbers<E> {
    ids: HashMap<E, i64>,
    /// The entry that was last asked for: records of one machine often follow one another.
    last: Option<(E, i64)>,
    /// Entries that are not in the file yet.
    new: Vec<(E, i64)>,
}

impl<E: Entry> Numbers<E> {
    pub(crate) fn read(db: &Connection) -> Result<Numbers<E>, SegmentError> {
        let mut entries = Entries::new();
        entries.read(db)?;
        let entries = entries.entries.into_iter().collect::<Option<Vec<E>>>();
        let entries = entries.ok_or_else(|| SegmentError::damaged("an entry of a dictionary is not what was written"));
        let ids = entries?.into_iter().zip(1..).collect();
        Ok(Numbers { ids, last: None, new: Vec::new() })
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }

    /// The number of a record's entry.
    pub(crate) fn of(&mut self, record: &Record) -> i64 {
        if let Some((last, id)) = &self.last
            && last.is_of(record)
        {
            return *id;
        }
        let entry = E::of(record);
        let id = match self.ids.get(&entry) {
            Some(id) => *id,
            None => {
                let id = i64::try_from(self.ids.len()).unwrap_or(i64::MAX).saturating_add(1);
                self.ids.insert(entry.clone(), id);
                self.new.push((entry.clone(), id));
                id
            }
        };
        self.last = Some((entry, id));
        id
    }

    /// Writes the new entries.
    pub(crate) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.new.drain(..).try_for_each(|(entry, id)| entry.insert(id, db))
    }
}
