//! The newest segment, which records are appended to.

use crate::block::{self, RowChecksums};
use crate::contents;
use crate::deleted::Deleted;
use crate::dictionary::{Numbers, Source, What, index};
use crate::error::SegmentError;
use crate::files::{Files, Place};
use crate::gone;
use crate::lock_file::Holder;
use crate::options::Synchronous;
use crate::row::{self, Row};
use crate::sessions::{Changes, Heard, Sessions};
use crate::store;
use qev_qmp::Timestamp;
use qev_record::Record;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::path::{Path, PathBuf};

/// A segment has at most so many sequence numbers: behind a damaged one, of which nobody can say where it ended, numbers
/// go on this far from where it began.
pub const RECORDS_A_SEGMENT: u64 = 1_000_000;

/// The newest segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) first: i64,
    /// The last sequence number in it; one less than the first, when there is none.
    pub(crate) last: i64,
    /// How many records it has.
    pub(crate) records: i64,
    /// When its first record was received, microseconds since the epoch.
    pub(crate) started: Option<i64>,
    /// When its newest record was received, by the records' own times.
    pub(crate) newest: Option<i64>,
    /// It is complete: nothing may be appended.
    pub(crate) is_complete: bool,
    /// An older qev began it: its rows have no checksums, and nothing is appended to it.
    pub(crate) is_of_older_version: bool,
    db: Connection,
    sources: Numbers<Source>,
    whats: Numbers<What>,
    block: block::Open,
    /// How many bytes of each source it has, while that is known from its first record on.
    shares: Option<Vec<u64>>,
    /// It has the table of open sessions.
    has_sessions: bool,
    /// Its files, wherever they may be by now.
    files: Files,
    /// How large the file was when that was last asked, and how much came since, by estimation.
    size: (u64, u64),
}

/// The size is asked again when so much came, in bytes.
const SIZE_ASKED_AFTER: u64 = 64 << 10;

/// A page of SQLite's, and how many of them its log may have: by default SQLite's own number, 4 MiB.
const PAGE: u64 = 4096;
const LOG_PAGES_LEAST: u64 = 32;
const LOG_PAGES_MOST: u64 = 1000;

impl Segment {
    /// Makes a new segment that takes the place of others, and opens it.
    pub(crate) fn create(dir: &Path, first: i64, synchronous: Synchronous) -> Result<Segment, SegmentError> {
        let path = contents::path_of(dir, u64::try_from(first).unwrap_or_default());
        store::create(&path, first, |_| Ok(()))?;
        Segment::open(&path, synchronous)
    }

    /// Makes the segment that is the newest from now on, with the sessions that are open and what is known of deleted records,
    /// and opens it.
    pub(crate) fn begin(
        dir: &Path,
        first: i64,
        synchronous: Synchronous,
        (sessions, deleted): (&Sessions, &Deleted),
    ) -> Result<Segment, SegmentError> {
        let path = contents::path_of(dir, u64::try_from(first).unwrap_or_default());
        store::create(&path, first, |db| {
            sessions.write_all(&mut Numbers::read(db)?, &mut Numbers::read(db)?, db)?;
            Ok(deleted.write(db)?)
        })?;
        Segment::open(&path, synchronous)
    }

    /// Opens a segment and finds where it ends.
    pub(crate) fn open(path: &Path, synchronous: Synchronous) -> Result<Segment, SegmentError> {
        let db = store::open(path, synchronous)?;
        let (first, ended): (i64, Option<i64>) =
            db.query_row("SELECT first, last FROM segment", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if contents::path_of(Path::new(""), u64::try_from(first).unwrap_or_default()).file_name() != path.file_name() {
            return Err(SegmentError::damaged(format!("by its content its first sequence number is {first}")));
        }
        let (sources, whats): (Numbers<Source>, Numbers<What>) = (Numbers::read(&db)?, Numbers::read(&db)?);
        let (blocks_end, mut records, mut newest): (Option<i64>, i64, Option<i64>) =
            db.query_row("SELECT max(last), ifnull(sum(records), 0), max(received_max) FROM block", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let rows = RowChecksums::of(&db)?;
        let mut block = block::Open::new(rows);
        let mut last = blocks_end.unwrap_or(first.saturating_sub(1));
        {
            let sql = format!("SELECT {} FROM record WHERE seq > ?1 ORDER BY seq", row::COLUMNS);
            let mut statement = store::prepare(&db, &sql)?;
            let mut rows = statement.query([last])?;
            while let Some(row) = rows.next()? {
                let row = Row::read(row)?;
                // A walk from the end of the blocks on can only go wrong on a damaged page.
                if row.seq <= last {
                    return Err(SegmentError::damaged(format!("record {} stands where it does not belong", row.seq)));
                }
                // Who reads on from here must be able to, or what is appended behind it would not be found.
                row.check(sources.count(), whats.count())?;
                last = row.seq;
                block.add(&row);
            }
        }
        // One that was rewritten may have been several.
        let is_too_far = last.saturating_sub(first) >= i64::try_from(RECORDS_A_SEGMENT).unwrap_or(i64::MAX);
        if is_too_far && ended.is_none() {
            return Err(SegmentError::damaged(format!("record {last} is too far from its first, {first}")));
        }
        records = records.saturating_add(block.records());
        newest = newest.max(block.newest());
        let started = db
            .query_row("SELECT received FROM record ORDER BY seq LIMIT 1", [], |row| row.get::<_, Option<i64>>(0))
            .optional()?
            .flatten();
        let has_sessions = Heard::read(&db)?.is_some();
        Ok(Segment {
            path: path.to_owned(),
            first,
            last,
            records,
            started,
            newest,
            is_complete: ended.is_some(),
            is_of_older_version: rows == RowChecksums::Absent,
            db,
            sources,
            whats,
            block,
            shares: (records == 0).then(Vec::new),
            has_sessions,
            files: Files::of(path),
            size: (0, SIZE_ASKED_AFTER),
        })
    }

    /// Removes what stands behind a sequence number: a commit that failed may be found to have happened after all.
    pub(crate) fn cut_after(&mut self, last: i64, synchronous: Synchronous) -> Result<(), SegmentError> {
        if self.last <= last {
            return Ok(());
        }
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM record WHERE seq > ?1", [last])?;
        transaction.execute("DELETE FROM block WHERE last > ?1", [last])?;
        if self.has_sessions {
            // They are as those records made them: the next group writes them anew.
            Heard::forget(&transaction)?;
        }
        transaction.commit()?;
        *self = Segment::open(&self.path, synchronous)?;
        Ok(())
    }

    /// Appends records in one transaction. After an error the segment must be opened anew. In the newest segment the same
    /// transaction changes the table of open sessions.
    pub(crate) fn append<'r>(
        &mut self,
        records: impl Iterator<Item = (i64, &'r Record)>,
        mut open: Option<&mut Sessions>,
    ) -> Result<(), rusqlite::Error> {
        let Segment { db, sources, whats, block, shares, last, records: count, started, newest, size, .. } = self;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut changes, mut received) = (Changes::default(), None);
        if let Some(open) = open.as_mut().filter(|_| !self.has_sessions) {
            open.write_all(sources, whats, &transaction)?;
        }
        {
            let mut insert = transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
            for (seq, record) in records {
                let row = Row::new(seq, sources.of(record), whats.of(record), record);
                let rest = Some(&*row.rest).filter(|rest| !rest.is_empty());
                let sum = row.sum();
                insert.execute(params![
                    row.seq,
                    row.source,
                    row.what,
                    row.received,
                    row.lag,
                    row.summary,
                    row.data,
                    rest,
                    sum.short()
                ])?;
                if open.is_some() {
                    changes.note(seq, record);
                }
                received = row.received;
                block.add_summed(&row, sum);
                let bytes = u64::try_from(row.bytes()).unwrap_or(u64::MAX);
                size.1 = size.1.saturating_add(bytes);
                // What tells of what was dropped is nobody's: it could not be dropped again.
                if let Some(shares) = shares.as_mut().filter(|_| !gone::tells(record)) {
                    add(shares, row.source, bytes);
                }
                *last = seq;
                *count = count.saturating_add(1);
                *started = started.or(row.received);
                *newest = (*newest).max(row.received);
                if block.is_full()
                    && let Some(block) = block.finish()
                {
                    block.insert(&transaction)?;
                }
            }
        }
        sources.write(&transaction)?;
        whats.write(&transaction)?;
        if let Some(open) = &open {
            open.write_changes(&mut changes, (*last, received), &transaction)?;
        }
        transaction.commit()?;
        if let Some(open) = open {
            open.apply(changes, (*last, received));
            self.has_sessions = true;
        }
        Ok(())
    }

    /// Writes down which records were deleted.
    pub(crate) fn write_deleted(&mut self, deleted: &Deleted) -> Result<(), rusqlite::Error> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        deleted.write(&transaction)?;
        transaction.commit()
    }

    /// Notes in the table of open sessions that everything that was received until `now` is in the journal.
    pub(crate) fn hear(&mut self, now: Timestamp, open: &mut Sessions) -> Result<(), rusqlite::Error> {
        if self.has_sessions { open.hear(now, &self.db) } else { Ok(()) }
    }

    /// Whether its files are still those that have their names. What is committed to others is lost with them.
    pub(crate) fn place(&mut self) -> Place {
        self.files.place(&self.path)
    }

    /// Closes a segment whose files are not in their place, so that what it has is in its file as far as possible.
    pub(crate) fn close_out_of_place(self, place: Place) {
        let Segment { db, files, path, .. } = self;
        match place {
            Place::Ours => {}
            // SQLite still has the files that were removed: what is in the log goes into the segment.
            Place::LogRemoved => {
                let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            }
            // What SQLite would put into the segment from a log that was cut, or into another's file, is not what was written.
            // Nothing is put into the segment while it is locked.
            Place::LogCut | Place::Replaced | Place::Locked => {
                let _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            }
        }
        drop(db);
        match place {
            Place::Ours | Place::Replaced => {}
            Place::LogRemoved | Place::LogCut => files.remove_strange(&path),
            // The next one who opens it says whether that helped.
            Place::Locked => drop(store::make_private(&path)),
        }
    }

    /// Which process keeps it locked.
    pub(crate) fn holder(&self) -> Option<Holder> {
        self.files.holder(&self.path)
    }

    /// SQLite's log beside it is put into it when it is about as large as a segment: small groups make a log that is many
    /// times as large as what they bring.
    pub(crate) fn limit_log(&self, segment_bytes: u64) -> Result<(), SegmentError> {
        let pages = (segment_bytes / PAGE).clamp(LOG_PAGES_LEAST, LOG_PAGES_MOST);
        self.db.pragma_update(None, "wal_autocheckpoint", i64::try_from(pages).unwrap_or_default())?;
        Ok(())
    }

    /// About how large it is, in bytes.
    pub(crate) fn bytes(&mut self) -> Result<u64, SegmentError> {
        if self.size.1 >= SIZE_ASKED_AFTER {
            let number = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let bytes = number("page_count")?.saturating_mul(number("page_size")?);
            self.size = (u64::try_from(bytes).unwrap_or_default(), 0);
        }
        Ok(self.size.0.saturating_add(self.size.1))
    }

    /// Ends a segment that takes the place of others: up to which number they reached, and how many of their numbers have
    /// no record any more.
    pub(crate) fn seal_compacted(mut self, last: i64, without: u64) -> Result<(), SegmentError> {
        let without = i64::try_from(without).unwrap_or(i64::MAX);
        self.db.execute("INSERT INTO compaction VALUES (?1, ?2)", [last, without])?;
        self.last = last;
        self.seal()
    }

    /// Ends the segment: nothing is appended to it any more, and it becomes a single, read-only file. When somebody is
    /// reading it, that is an error, and can be tried again.
    pub(crate) fn seal(mut self) -> Result<(), SegmentError> {
        if !self.is_complete {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(block) = self.block.finish() {
                block.insert(&transaction)?;
            }
            write_shares(&transaction, self.shares.as_deref())?;
            transaction.execute(
                "UPDATE segment SET last = ?1, records = ?2, newest = ?3",
                params![self.last, self.records, self.newest],
            )?;
            transaction.commit()?;
        }
        store::seal(self.db, &self.path)
    }
}

fn add(shares: &mut Vec<u64>, source: i64, bytes: u64) {
    let Some(at) = index(source) else { return };
    if shares.len() <= at {
        shares.resize(at.saturating_add(1), 0);
    }
    if let Some(share) = shares.get_mut(at) {
        *share = share.saturating_add(bytes);
    }
}

/// Writes down how many bytes each source has, so that nobody has to look at all records for that. Of a segment that was
/// begun by another writer they are looked at once, now.
fn write_shares(db: &Connection, shares: Option<&[u64]>) -> rusqlite::Result<()> {
    let Some(shares) = shares else {
        let sql = format!("INSERT INTO share SELECT source, sum({}) FROM record GROUP BY source", row::BYTES);
        // A segment of an older qev has no place for them.
        let has_place = store::has_table(db, "share").unwrap_or_default();
        return if has_place { db.execute(&sql, []).map(drop) } else { Ok(()) };
    };
    let mut insert = db.prepare("INSERT INTO share VALUES (?1, ?2)")?;
    for (source, bytes) in (1_i64..).zip(shares).filter(|(_, bytes)| **bytes > 0) {
        insert.execute(params![source, i64::try_from(*bytes).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}
