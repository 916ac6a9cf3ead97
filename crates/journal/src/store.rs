//! A segment as a file of SQLite's: its tables, how it is made, and how it is opened.

use crate::checksum::ABSENT;
use crate::contents::{beside, sync};
use crate::error::{FORMAT, SegmentError};
use crate::options::Synchronous;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Statement};
use rustix::fs::Access;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// What marks a file of SQLite's as a segment: `qevj`.
const APPLICATION_ID: i64 = 0x7165_766A;

/// Who may read and write the newest segment, and who may read a sealed one.
const MODE: u32 = 0o640;
const SEALED_MODE: u32 = 0o440;

/// Who may read and write the newest segment, when another user kept it locked.
const PRIVATE_MODE: u32 = 0o600;

/// How long to wait for a lock of SQLite's. They are held for moments: while a crashed writer's file is recovered.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for readers of a segment that is to be sealed.
const PATIENCE_FOR_SEALING: Duration = Duration::from_millis(20);

const TABLES: &str = "
    CREATE TABLE segment(first INTEGER NOT NULL, last INTEGER, records INTEGER, newest INTEGER,
        heard_after INTEGER, heard_until INTEGER, deleted TEXT);
    CREATE TABLE source(
        id INTEGER PRIMARY KEY, host TEXT NOT NULL, machine TEXT NOT NULL, machine_id TEXT, session TEXT, via TEXT,
        row_checksum INTEGER NOT NULL);
    CREATE TABLE what(
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, event TEXT, severity TEXT NOT NULL, row_checksum INTEGER NOT NULL);
    CREATE TABLE record(
        seq INTEGER PRIMARY KEY, source INTEGER NOT NULL, what INTEGER NOT NULL, received INTEGER, lag INTEGER,
        summary TEXT NOT NULL, data TEXT, rest BLOB, row_checksum INTEGER NOT NULL);
    CREATE TABLE block(
        last INTEGER PRIMARY KEY, first INTEGER NOT NULL, records INTEGER NOT NULL,
        received_min INTEGER, received_max INTEGER, timestamp_min INTEGER, timestamp_max INTEGER,
        whats BLOB NOT NULL, checksum INTEGER NOT NULL, sources BLOB NOT NULL,
        row_checksum INTEGER NOT NULL, sources_checksum INTEGER NOT NULL);
    CREATE TABLE share(source INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
    CREATE TABLE compaction(last INTEGER NOT NULL, without INTEGER NOT NULL);
    CREATE VIEW log AS
        SELECT seq, strftime('%Y-%m-%dT%H:%M:%f', received / 1000000.0, 'unixepoch') AS received, host, machine, kind,
            severity, event, summary, data
        FROM record JOIN source ON source.id = record.source JOIN what ON what.id = record.what ORDER BY seq;";

/// The table of open sessions ([`crate::sessions`]), with the columns of `record`. It is made when there is a session.
pub(crate) const SESSION_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS session(
        seq INTEGER PRIMARY KEY, source INTEGER NOT NULL, what INTEGER NOT NULL, received INTEGER, lag INTEGER,
        summary TEXT NOT NULL, data TEXT, rest BLOB, row_checksum INTEGER NOT NULL)";

/// Makes the file of a new segment without records; `fill` writes what else it has from its beginning. The file appears
/// under its name when it is complete.
pub(crate) fn create(
    path: &Path,
    first: i64,
    fill: impl FnOnce(&Connection) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let new = beside(path, ".new");
    remove(&new)?;
    {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&new, flags)?;
        fs::set_permissions(&new, Permissions::from_mode(MODE))?;
        db.execute_batch("PRAGMA synchronous = FULL; BEGIN")?;
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
        db.pragma_update(None, "user_version", FORMAT)?;
        db.execute_batch(TABLES)?;
        db.execute("INSERT INTO segment(first) VALUES (?1)", [first])?;
        fill(&db)?;
        db.execute_batch("COMMIT")?;
        set_journal_mode(&db, "wal")?;
        db.close().map_err(|(_, error)| error)?;
    }
    fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        sync(dir)?;
    }
    Ok(())
}

/// Deletes a file that was not finished, and what SQLite has beside it.
fn remove(path: &Path) -> Result<(), SegmentError> {
    for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm"), beside(path, "-journal")] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Opens a segment for writing.
pub(crate) fn open(path: &Path, synchronous: Synchronous) -> Result<Connection, SegmentError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    let synchronous = if synchronous == Synchronous::Off { "OFF" } else { "FULL" };
    db.pragma_update(None, "synchronous", synchronous)?;
    verify(&db)?;
    Ok(db)
}

/// Keeps all other users from locking a segment that is written to, and its writer from meeting a lock that one of them
/// has already.
///
/// Whoever may read a file can lock a part of it. SQLite's locks are in the index beside its log, which is made anew, with the
/// mode of the segment, by who opens it next. There must be no other writer.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
    for path in [path, &log] {
        match fs::set_permissions(path, Permissions::from_mode(PRIVATE_MODE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_file(index) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether an error of SQLite's is that another process holds a lock.
pub(crate) fn is_about_lock(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether a segment has a table. Those of older qevs lack some.
pub(crate) fn has_table(db: &Connection, name: &str) -> Result<bool, SegmentError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(db.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0)
}

/// Whether a table has a column. Those of older qevs lack some.
pub(crate) fn has_column(db: &Connection, table: &str, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    Ok(db.query_row(sql, [table, name], |row| row.get::<_, i64>(0))? > 0)
}

/// Whether the rows of a segment have checksums. Those of older qevs do not.
pub(crate) fn has_checksums(db: &Connection) -> Result<bool, SegmentError> {
    Ok(has_column(db, "record", "row_checksum")?)
}

/// Prepares a statement that reads checksums. Where the segment has none, a word stands for each.
pub(crate) fn prepare<'db>(db: &'db Connection, sql: &str) -> rusqlite::Result<Statement<'db>> {
    match db.prepare(sql) {
        Err(error) if error.to_string().contains("no such column: ") => {
            let absent = format!("'{ABSENT}'");
            db.prepare(&sql.replace("row_checksum", &absent).replace("sources_checksum", &absent))
        }
        prepared => prepared,
    }
}

/// Of a segment that was rewritten: its last number, and how many of its numbers have no record any more.
pub(crate) fn compaction(db: &Connection) -> Result<Option<(i64, i64)>, SegmentError> {
    if !has_table(db, "compaction")? {
        return Ok(None);
    }
    let row = db.query_row("SELECT last, without FROM compaction", [], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}

/// Opens a segment for reading; whether it will never change.
pub(crate) fn open_for_reading(path: &Path) -> Result<(Connection, bool), SegmentError> {
    if is_sealed(path) {
        return Ok((open_unchanging(path)?, true));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).map_err(SegmentError::from).and_then(|db| {
        db.busy_timeout(PATIENCE)?;
        verify(&db)?;
        Ok(db)
    });
    match opened {
        Ok(db) => Ok((db, false)),
        Err(error) => Ok((open_without_rights(path, error)?, false)),
    }
}

/// SQLite wants to keep files beside a segment that has, or had, a writer; who may not write to its directory can read it
/// only when they are there, or when none is needed.
fn open_without_rights(path: &Path, error: SegmentError) -> Result<Connection, SegmentError> {
    let SegmentError::Sqlite(sqlite) = &error else { return Err(error) };
    let is_about_rights = matches!(
        sqlite.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    );
    if !is_about_rights || !path.is_file() {
        return Err(error);
    }
    rustix::fs::access(path, Access::READ_OK).map_err(|error| SegmentError::Io(error.into()))?;
    if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(SegmentError::NeedsWriter);
    }
    // All of it is in the file. A writer that starts in this moment appends beside it, and puts that into it only after
    // some megabytes: a page is read by then.
    open_unchanging(path)
}

/// Opens a file that nobody changes: without locks, and with nothing beside it.
fn open_unchanging(path: &Path) -> Result<Connection, SegmentError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri(path), flags)?;
    verify(&db)?;
    Ok(db)
}

/// Opens a segment that is damaged, as far as SQLite can; whether it is one at all is not asked.
pub(crate) fn open_damaged(path: &Path) -> Result<Connection, SegmentError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    // A writable one may recover what was committed last; nothing else is written.
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Whether a segment will never change again: its file is read-only, and SQLite has nothing beside it.
///
/// The file itself is not opened for that: when a process closes a file, it loses all locks that SQLite has on it.
pub(crate) fn is_sealed(path: &Path) -> bool {
    let is_read_only = |metadata: fs::Metadata| metadata.permissions().mode() & 0o222 == 0;
    fs::metadata(path).is_ok_and(is_read_only) && !beside(path, "-wal").exists()
}

/// Puts all that SQLite has beside a segment into it and makes it read-only. Nobody may be reading it.
pub(crate) fn seal(db: Connection, path: &Path) -> Result<(), SegmentError> {
    // Records wait meanwhile; sealing does not matter that much, and is tried again.
    db.busy_timeout(PATIENCE_FOR_SEALING)?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    set_journal_mode(&db, "delete")?;
    db.close().map_err(|(_, error)| error)?;
    fs::set_permissions(path, Permissions::from_mode(SEALED_MODE))?;
    Ok(())
}

fn set_journal_mode(db: &Connection, mode: &str) -> Result<(), SegmentError> {
    let set: String = db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get(0))?;
    if set == mode { Ok(()) } else { Err(SegmentError::damaged(format!("SQLite keeps it in mode '{set}'"))) }
}

fn verify(db: &Connection) -> Result<(), SegmentError> {
    let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, version) => Err(SegmentError::Version(version)),
        (_, 0) if number("page_count")? == 0 => Err(SegmentError::damaged("it is empty")),
        _ => Err(SegmentError::damaged("it is a database, but not of a journal")),
    }
}

/// The path as SQLite takes it together with options.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}
