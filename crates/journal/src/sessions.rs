//! Which sessions are open: those with an `attached` record and no `detached` record yet.
//!
//! The newest segment has the `attached` record of each open session in a table of its own, written in the same transaction
//! as the records. A new segment begins with a copy of it, so an open session outlives the segment that its record is in.
//!
//! ```text
//!   append ──► record, session ──► commit          segment is full ──► the next one begins with: session, heard
//!                                                                        │
//!   open_sessions ◄── records behind heard.after, if there are any ◄─────┘
//! ```
//!
//! Where the newest segment lacks the table (it was damaged, or an older version wrote it), the one before it has the
//! sessions as they were at its end, and the `attached` and `detached` records behind that bring them up to date.

use crate::contents::Entry;
use crate::dictionary::{Entries, Numbers, Source, What};
use crate::error::{ReadError, SegmentError};
use crate::query::Query;
use crate::reader::Reader;
use crate::row::{self, Row};
use crate::store;
use qev_qmp::Timestamp;
use qev_record::{Filter, Kind, Record, Where};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many open sessions are remembered, and how many bytes their records may have in all. Beyond that the session that
/// was attached first is forgotten.
const LIMITS: Limits = Limits { sessions: 65_536, bytes: 16 << 20 };

/// How many sequence numbers are read back in a journal in which no segment has the table.
const READ_BACK: u64 = 1 << 20;

/// How often reading begins anew because a segment was begun meanwhile.
const ATTEMPTS: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Limits {
    sessions: usize,
    bytes: usize,
}

/// What [`Reader::open_sessions`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct OpenSessions {
    /// The `attached` record of each open session, in the order of their sequence numbers. The journal need not have the
    /// records themselves any more.
    pub attached: Vec<Record>,
    /// The last moment at which the writer had everything in the journal: when its last record was received, or when it
    /// said so later ([`Journal::heard`](crate::Journal::heard)). `None` when nothing was written yet.
    pub heard: Option<Timestamp>,
    /// What could not be read. Sessions may be missing, or be closed, when there is something.
    pub problems: Vec<ReadError>,
}

/// Which session a record is about. A machine is its identity, whatever host and route the record names: the hostname may
/// change while the daemon does not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    identity: Arc<str>,
    session: Option<Arc<str>>,
}

impl Key {
    fn of(record: &Record) -> Key {
        let identity = record.machine_id.as_ref().unwrap_or(&record.machine);
        Key { identity: Arc::clone(identity), session: record.session.clone() }
    }
}

/// Up to which record the sessions are known, and when that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    after: i64,
    /// Microseconds since the epoch.
    until: Option<i64>,
}

/// The open sessions, as the writer has them in memory.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: BTreeMap<Key, Record>,
    bytes: usize,
    heard: Heard,
}

/// What a group of records changes: the new record of each session, or nothing when the session has ended.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<Key, Option<Record>>);

impl Changes {
    /// Notes what a record says about its session, if it says anything.
    pub(crate) fn note(&mut self, seq: i64, record: &Record) {
        let change = match record.kind {
            Kind::Attached => {
                let mut record = record.clone();
                record.seq = u64::try_from(seq).ok();
                Some(record)
            }
            Kind::Detached => None,
            _ => return,
        };
        self.0.insert(Key::of(record), change);
    }
}

impl Sessions {
    /// About how many bytes the table takes in a segment.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Writes what a group changes, in the group's own transaction, behind its records. `last` is the group's last record.
    pub(crate) fn write_changes(
        &self,
        changes: &mut Changes,
        last: (i64, Option<i64>),
        db: &Connection,
    ) -> rusqlite::Result<()> {
        if changes.0.is_empty() {
            return Ok(());
        }
        self.make_room(changes, LIMITS);
        db.execute_batch(store::SESSION_TABLE)?;
        let mut delete = db.prepare("DELETE FROM session WHERE seq = ?1")?;
        let mut insert = db.prepare("INSERT INTO session SELECT * FROM record WHERE seq = ?1")?;
        for (key, change) in &changes.0 {
            if let Some(before) = self.open.get(key) {
                delete.execute([number(before)])?;
            }
            if let Some(record) = change {
                insert.execute([number(record)])?;
            }
        }
        let (after, until) = last;
        Heard { after, until }.write(db)
    }

    /// Lets the sessions go for which there is no room, those first that were attached first.
    fn make_room(&self, changes: &mut Changes, limits: Limits) {
        let (mut count, mut total) = (self.open.len(), self.bytes);
        for (key, change) in &changes.0 {
            if let Some(before) = self.open.get(key) {
                (count, total) = (count.saturating_sub(1), total.saturating_sub(bytes(before)));
            }
            if let Some(record) = change {
                (count, total) = (count.saturating_add(1), total.saturating_add(bytes(record)));
            }
        }
        while count > limits.sessions || total > limits.bytes {
            let of_before = self.open.iter().filter(|(key, _)| !changes.0.contains_key(key));
            let of_group = changes.0.iter().filter_map(|(key, change)| Some((key, change.as_ref()?)));
            let Some((key, record)) = of_before.chain(of_group).min_by_key(|(_, record)| record.seq) else { return };
            (count, total) = (count.saturating_sub(1), total.saturating_sub(bytes(record)));
            let key = key.clone();
            changes.0.insert(key, None);
        }
    }

    /// The group is on disk.
    pub(crate) fn apply(&mut self, changes: Changes, (after, until): (i64, Option<i64>)) {
        for (key, change) in changes.0 {
            let before = self.open.remove(&key);
            self.bytes = self.bytes.saturating_sub(before.as_ref().map_or(0, bytes));
            if let Some(record) = change {
                self.bytes = self.bytes.saturating_add(bytes(&record));
                self.open.insert(key, record);
            }
        }
        self.heard = Heard { after, until };
    }

    /// Notes that everything that was received until `now` is in the journal.
    pub(crate) fn hear(&mut self, now: Timestamp, db: &Connection) -> rusqlite::Result<()> {
        let heard = Heard { until: now.micros(), ..self.heard };
        heard.write(db)?;
        self.heard = heard;
        Ok(())
    }

    /// Writes all of them into a segment that does not have them, or has them as they are not.
    pub(crate) fn write_all(
        &self,
        sources: &mut Numbers<Source>,
        whats: &mut Numbers<What>,
        db: &Connection,
    ) -> rusqlite::Result<()> {
        self.heard.add_to(db)?;
        db.execute_batch("DROP TABLE IF EXISTS session")?;
        if self.open.is_empty() {
            return Ok(());
        }
        db.execute_batch(store::SESSION_TABLE)?;
        let mut insert = db.prepare("INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        for record in self.open.values() {
            let row = Row::new(number(record), sources.of(record), whats.of(record), record);
            let rest = Some(&*row.rest).filter(|rest| !rest.is_empty());
            insert.execute(params![
                row.seq,
                row.source,
                row.what,
                row.received,
                row.lag,
                row.summary,
                row.data,
                rest,
                row.sum().short()
            ])?;
        }
        sources.write(db)?;
        whats.write(db)
    }

    /// Those that the segments in a directory have.
    pub(crate) fn load(reader: &Reader) -> Result<(Sessions, Vec<ReadError>), ReadError> {
        let mut attempt = 0;
        loop {
            let segments = reader.segments()?;
            let mut problems = Vec::new();
            let mut sessions = Sessions::find(&segments, &mut problems);
            sessions.read_on(reader, &mut problems);
            attempt += 1;
            // The segment that has them may be deleted by now, with records behind it that were not read.
            if attempt >= ATTEMPTS || reader.segments()?.last() == segments.last() {
                return Ok((sessions, problems));
            }
        }
    }

    /// The sessions as the newest segment that has them knows them.
    fn find(segments: &[Entry], problems: &mut Vec<ReadError>) -> Sessions {
        for entry in segments.iter().rev() {
            match Sessions::read(entry) {
                Ok(Some(sessions)) => return sessions,
                Ok(None) => {}
                // It was deleted meanwhile.
                Err(_) if !entry.path.exists() => {}
                Err(error) => problems.push(error.while_reading(&entry.path)),
            }
        }
        Sessions::default()
    }

    fn read(entry: &Entry) -> Result<Option<Sessions>, SegmentError> {
        let (db, _) = store::open_for_reading(&entry.path)?;
        let db = db.unchecked_transaction()?;
        let Some(heard) = Heard::read(&db)? else { return Ok(None) };
        let mut sessions = Sessions { heard, ..Sessions::default() };
        if !store::has_table(&db, "session")? {
            return Ok(Some(sessions));
        }
        let (mut sources, mut whats) = (Entries::<Source>::new(), Entries::<What>::new());
        sources.read(&db)?;
        whats.read(&db)?;
        let mut statement = store::prepare(&db, &format!("SELECT {} FROM session", row::COLUMNS))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            sessions.put(row.record(sources.get(row.source)?, whats.get(row.what)?)?);
        }
        Ok(Some(sessions))
    }

    /// Applies the records behind those that are known.
    fn read_on(&mut self, reader: &Reader, problems: &mut Vec<ReadError>) {
        let newest = Query { newest_first: true, limit: Some(1), ..Query::default() };
        // What cannot be read of it is told below, if it matters.
        let newest = reader.records(&newest).find_map(Result::ok);
        let last = newest.as_ref().map_or(0, |record| record.seq.unwrap_or_default());
        let known = u64::try_from(self.heard.after).unwrap_or_default();
        if last <= known {
            return;
        }
        let after = if known > 0 { known } else { last.saturating_sub(READ_BACK) };
        let mut records = Vec::new();
        for kind in ["kind=attached", "kind=detached"] {
            let wheres: Vec<Where> = kind.parse().into_iter().collect();
            let filter = Filter { wheres, ..Filter::default() };
            for record in reader.records(&Query { filter, after: Some(after), ..Query::default() }) {
                match record {
                    Ok(record) => records.push(record),
                    Err(error) => problems.push(error),
                }
            }
        }
        records.sort_by_key(|record| record.seq);
        for record in records {
            match record.kind {
                Kind::Attached => self.put(record),
                _ => self.remove(&Key::of(&record)),
            }
        }
        let after = i64::try_from(last).unwrap_or(i64::MAX);
        self.heard = Heard { after, until: newest.and_then(|record| record.received.micros()) };
    }

    fn put(&mut self, record: Record) {
        let key = Key::of(&record);
        self.remove(&key);
        self.bytes = self.bytes.saturating_add(bytes(&record));
        self.open.insert(key, record);
    }

    fn remove(&mut self, key: &Key) {
        let before = self.open.remove(key);
        self.bytes = self.bytes.saturating_sub(before.as_ref().map_or(0, bytes));
    }
}

impl Heard {
    fn write(self, db: &Connection) -> rusqlite::Result<()> {
        let Heard { after, until } = self;
        db.execute("UPDATE segment SET heard_after = ?1, heard_until = ?2", params![after, until]).map(drop)
    }

    /// Writes it into a segment that may be of an older version, which has no place for it.
    fn add_to(self, db: &Connection) -> rusqlite::Result<()> {
        for column in ["heard_after", "heard_until"] {
            if !store::has_column(db, "segment", column)? {
                db.execute_batch(&format!("ALTER TABLE segment ADD COLUMN {column} INTEGER"))?;
            }
        }
        self.write(db)
    }

    /// Makes a segment say that it does not know the open sessions.
    pub(crate) fn forget(db: &Connection) -> rusqlite::Result<()> {
        db.execute("UPDATE segment SET heard_after = NULL, heard_until = NULL", []).map(drop)
    }

    /// `None` when the segment does not know the open sessions.
    pub(crate) fn read(db: &Connection) -> Result<Option<Heard>, SegmentError> {
        if !store::has_column(db, "segment", "heard_after")? {
            return Ok(None);
        }
        let row =
            db.query_row("SELECT heard_after, heard_until FROM segment", [], |row| Ok((row.get(0)?, row.get(1)?)));
        let row: Option<(Option<i64>, Option<i64>)> = row.optional()?;
        Ok(row.and_then(|(after, until)| Some(Heard { after: after?, until })))
    }
}

fn number(record: &Record) -> i64 {
    record.seq.and_then(|seq| i64::try_from(seq).ok()).unwrap_or_default()
}

/// About how many bytes a session takes: its row, and its entry in the dictionary of sources.
fn bytes(record: &Record) -> usize {
    let ids = [&record.machine_id, &record.session, &record.via];
    let ids = ids.into_iter().flatten().fold(0_usize, |sum, id| sum.saturating_add(id.len()));
    let names = record.host.len().saturating_add(record.machine.len()).saturating_add(ids);
    Row::new(0, 0, 0, record).bytes().saturating_add(names).saturating_add(40)
}

impl Reader {
    /// Which sessions are open, whether somebody writes to the journal now or the last writer was killed, and until when
    /// the journal is known to be complete.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read. What else could not be read is in [`OpenSessions::problems`].
    pub fn open_sessions(&self) -> Result<OpenSessions, ReadError> {
        let (sessions, problems) = Sessions::load(self)?;
        let mut attached: Vec<_> = sessions.open.into_values().collect();
        attached.sort_by_key(|record| record.seq);
        Ok(OpenSessions { attached, heard: sessions.heard.until.map(Timestamp::from_micros), problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(machine: &str, seq: i64) -> (i64, Record) {
        (seq, Record::attached("h1", machine, Timestamp::from_micros(seq)))
    }

    fn check(limits: Limits, records: &[(i64, Record)], expected: &[&str]) {
        let mut sessions = Sessions::default();
        for (seq, record) in records {
            let mut changes = Changes::default();
            changes.note(*seq, record);
            sessions.make_room(&mut changes, limits);
            sessions.apply(changes, (*seq, None));
        }
        let open: Vec<_> = sessions.open.values().map(|record| &*record.machine).collect();
        assert_eq!(open, expected);
        assert_eq!(sessions.bytes, sessions.open.values().map(bytes).sum::<usize>());
    }

    #[test]
    fn forgets_the_session_that_was_attached_first_at_a_limit() {
        let records = [attached("c", 1), attached("a", 2), attached("b", 3), attached("c", 4), attached("d", 5)];
        check(Limits { sessions: 3, bytes: usize::MAX }, &records, &["b", "c", "d"]);
        let two = 2 * bytes(&records[0].1);
        check(Limits { sessions: 9, bytes: two }, &records, &["c", "d"]);
        check(Limits { sessions: 9, bytes: 1 }, &records, &[]);
    }

    #[test]
    fn a_session_is_a_process_of_a_machine() {
        let of = |session: &str, seq| {
            let (seq, mut record) = attached("web1", seq);
            (record.machine_id, record.session) = (Some("u1".into()), Some(session.into()));
            (seq, record)
        };
        let mut detached = Record::detached("another-host", "renamed", Timestamp::from_micros(9), "killed");
        (detached.machine_id, detached.session) = (Some("u1".into()), Some("pid-7@1".into()));
        let all = Limits { sessions: 9, bytes: usize::MAX };
        check(all, &[of("pid-7@1", 1), of("pid-8@2", 2)], &["web1", "web1"]);
        check(all, &[of("pid-7@1", 1), of("pid-8@2", 2), (3, detached)], &["web1"]);
    }
}
