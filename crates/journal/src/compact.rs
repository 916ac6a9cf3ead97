//! Rewriting segments: some machines' oldest records go, all others stay, with their numbers.
//!
//! ```text
//!   look ──► who loses what ──► copy what stays into compacting/ ──► seal ──► rename ──► delete what it replaces
//!   └──────── a step each, of some milliseconds ────────┘             ▲          ▲
//!        a crash here: compacting/ is deleted, nothing happened ──────┘          │
//!        a crash here: the new segment says up to where it reaches: what it replaces is deleted at the next start
//! ```
//!
//! A run of segments that follow one another becomes one, under the name of the first. Who has the old files open reads
//! them to their end.

use crate::contents::{self, Entry};
use crate::dictionary::{Entries, Source, What, index};
use crate::error::SegmentError;
use crate::gone::{self, Gone};
use crate::options::Synchronous;
use crate::row::{self, Row, RowError};
use crate::segment::Segment;
use crate::share::{OfSegment, Owner};
use crate::store;
use qev_qmp::Timestamp;
use qev_record::{Kind, Record};
use rusqlite::Connection;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many rows a step takes.
const LOOKED_AT: usize = 32_768;
const COPIED: usize = 4096;

/// Where the new segment is made.
const FOLDER: &str = "compacting";

/// Segments that follow one another, the oldest first, and whose records they have.
pub(crate) type Run = Vec<(Entry, OfSegment)>;

/// A run of segments that becomes one.
#[derive(Debug)]
pub(crate) struct Compaction {
    dir: PathBuf,
    run: Run,
    /// How many bytes each machine still has to lose.
    to_lose: HashMap<Owner, u64>,
    gone: HashMap<Owner, Gone>,
    /// How many records were dropped.
    pub(crate) dropped: u64,
    /// How many numbers have no record any more.
    without: u64,
    /// The numbers of records that could not be copied, since they are not what was written.
    pub(crate) damaged: Vec<i64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Look(Walk),
    Copy(Walk, Box<Segment>),
    Sealed(PathBuf),
    Renamed,
}

impl Compaction {
    pub(crate) fn new(dir: &Path, run: Run, to_lose: HashMap<Owner, u64>) -> Compaction {
        let without = run.iter().fold(0_u64, |sum, (_, of)| sum.saturating_add(of.without));
        let stage = Stage::Look(Walk::default());
        Compaction {
            dir: dir.to_owned(),
            run,
            to_lose,
            gone: HashMap::new(),
            dropped: 0,
            without,
            damaged: Vec::new(),
            stage,
        }
    }

    /// The segments that are replaced.
    pub(crate) fn into_run(self) -> Run {
        self.run
    }

    /// Does some more. Whether that was the last of it. After an error there is no other step.
    pub(crate) fn step(&mut self) -> Result<bool, SegmentError> {
        let Some(((first, _), (_, last))) = self.run.first().zip(self.run.last()) else { return Ok(true) };
        let (first, last) = (first.clone(), last.last);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Renamed) {
            Stage::Look(mut walk) => match self.look(&mut walk)? {
                true => Stage::Look(walk),
                false => Stage::Copy(Walk::default(), Box::new(begin(&self.dir, first.first)?)),
            },
            Stage::Copy(mut walk, mut output) => match self.copy(&mut walk, &mut output)? {
                true => Stage::Copy(walk, output),
                false => {
                    let path = output.path.clone();
                    output.seal_compacted(last, self.without)?;
                    // All of it is on disk before it takes another's place.
                    fs::File::open(&path)?.sync_all()?;
                    Stage::Sealed(path)
                }
            },
            Stage::Sealed(path) => {
                fs::rename(path, &first.path)?;
                contents::sync(&self.dir)?;
                Stage::Renamed
            }
            Stage::Renamed => {
                tidy(&self.dir)?;
                return Ok(true);
            }
        };
        Ok(false)
    }

    /// Finds out what goes: of each machine the oldest, until it was enough. Whether there is more to look at.
    fn look(&mut self, walk: &mut Walk) -> Result<bool, SegmentError> {
        let Compaction { run, to_lose, gone, .. } = self;
        walk.rows(run, LOOKED_AT, |input, row| {
            // What is not what was written is left out when the rest is copied.
            let Ok(row) = row else { return Ok(()) };
            let Ok((source, owner, what)) = input.of(row) else { return Ok(()) };
            if what.kind == Kind::Gap {
                let Ok(record) = row.record(source, what) else { return Ok(()) };
                if gone::tells(&record) {
                    gone.entry(owner.clone()).or_insert_with(|| Gone::new(source)).join(row.seq, source, &record);
                    return Ok(());
                }
            }
            if let Some(bytes) = to_lose.get_mut(owner).filter(|bytes| **bytes > 0) {
                *bytes = bytes.saturating_sub(u64::try_from(row.bytes()).unwrap_or(u64::MAX));
                let received = row.received.map_or(Timestamp::UNKNOWN, Timestamp::from_micros);
                let gone = gone.entry(owner.clone()).or_insert_with(|| Gone::new(source));
                gone.count(row.seq, source, received, what.event.as_ref());
            }
            Ok(())
        })
    }

    /// Copies what stays. Whether there is more to copy.
    fn copy(&mut self, walk: &mut Walk, output: &mut Segment) -> Result<bool, SegmentError> {
        let Compaction { run, gone, dropped, without, damaged, .. } = self;
        let mut group: Vec<(i64, Record)> = Vec::new();
        let more = walk.rows(run, COPIED, |input, row| {
            let read = row.and_then(|row| Ok((row, input.of(row).map_err(|_| row.seq)?)));
            let (row, (source, owner, what)) = match read {
                Ok(read) => read,
                Err(seq) => {
                    damaged.push(seq);
                    *without = without.saturating_add(1);
                    return Ok(());
                }
            };
            match gone.get(owner) {
                Some(gone) if row.seq == gone.at => {
                    *dropped = dropped.saturating_add(u64::from(row.seq == gone.cut));
                    group.push((row.seq, gone.record()));
                    return Ok(());
                }
                Some(gone) if row.seq <= gone.cut => {
                    *dropped = dropped.saturating_add(1);
                    *without = without.saturating_add(1);
                    return Ok(());
                }
                _ => {}
            }
            let Ok(record) = row.record(source, what) else {
                damaged.push(row.seq);
                *without = without.saturating_add(1);
                return Ok(());
            };
            if gone::tells(&record) {
                *without = without.saturating_add(1);
            } else {
                group.push((row.seq, record));
            }
            Ok(())
        })?;
        output.append(group.iter().map(|(seq, record)| (*seq, record)), None)?;
        Ok(more)
    }
}

/// How far a run was read.
#[derive(Debug, Default)]
struct Walk {
    at: usize,
    after: i64,
    input: Option<Box<Input>>,
}

/// A segment that is read.
#[derive(Debug)]
struct Input {
    db: Connection,
    sources: Entries<Source>,
    owners: Vec<Option<Owner>>,
    whats: Entries<What>,
}

impl Walk {
    /// Gives out the next rows, at most so many; of one that is not what was written, its number. Whether there may be more.
    fn rows(
        &mut self,
        run: &[(Entry, OfSegment)],
        at_most: usize,
        mut each: impl FnMut(&Input, Result<&Row<'_>, i64>) -> Result<(), SegmentError>,
    ) -> Result<bool, SegmentError> {
        let Some((entry, _)) = run.get(self.at) else { return Ok(false) };
        let input = match self.input.take() {
            Some(input) => input,
            None => Box::new(Input::open(&entry.path)?),
        };
        let mut count = 0;
        {
            let columns = row::COLUMNS;
            let sql = format!("SELECT {columns} FROM record WHERE seq > ?1 ORDER BY seq LIMIT {at_most}");
            let mut statement = store::prepare(&input.db, &sql)?;
            let mut rows = statement.query([self.after])?;
            while let Some(row) = rows.next()? {
                let row = Row::read(row);
                let seq = match &row {
                    Ok(row) => row.seq,
                    Err(RowError { seq: Some(seq) }) => *seq,
                    Err(error) => return Err((*error).into()),
                };
                if seq <= self.after {
                    return Err(SegmentError::damaged(format!("record {seq} stands where it does not belong")));
                }
                each(&input, row.as_ref().map_err(|_| seq))?;
                self.after = seq;
                count += 1;
            }
        }
        match count < at_most {
            true => self.at = self.at.saturating_add(1),
            false => self.input = Some(input),
        }
        Ok(true)
    }
}

impl Input {
    fn open(path: &Path) -> Result<Input, SegmentError> {
        let (db, _) = store::open_for_reading(path)?;
        let (mut sources, mut whats) = (Entries::<Source>::new(), Entries::<What>::new());
        sources.read(&db)?;
        whats.read(&db)?;
        let owners = sources.entries.iter().map(|source| source.as_ref().map(Owner::of)).collect();
        Ok(Input { db, sources, owners, whats })
    }

    fn of(&self, row: &Row<'_>) -> Result<(&Source, &Owner, &What), SegmentError> {
        let source = self.sources.get(row.source)?;
        let owner = index(row.source).and_then(|at| self.owners.get(at)?.as_ref());
        let owner = owner.ok_or_else(|| SegmentError::damaged(format!("record {}: its source is none", row.seq)))?;
        Ok((source, owner, self.whats.get(row.what)?))
    }
}

/// Begins the segment that takes the place of others, beside them.
fn begin(dir: &Path, first: u64) -> Result<Segment, SegmentError> {
    let folder = dir.join(FOLDER);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    Segment::create(&folder, i64::try_from(first).unwrap_or(i64::MAX), Synchronous::Off)
}

/// Puts in order what a rewriting left behind that was finished, given up or cut off: segments that were replaced are
/// deleted, and what was not finished is, too.
pub(crate) fn tidy(dir: &Path) -> Result<(), SegmentError> {
    let folder = dir.join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let mut reaches = None;
    for entry in contents::segments(dir)?.into_iter().filter(|entry| store::is_sealed(&entry.path)) {
        // One that cannot be read replaces nothing, and nothing says that it was replaced.
        let Ok((last, compacted)) = reach(&entry.path) else { continue };
        if reaches.is_some_and(|reaches| last.is_some_and(|last| last <= reaches)) {
            fs::remove_file(&entry.path)?;
        } else {
            reaches = compacted.or(reaches);
        }
    }
    contents::sync(dir)?;
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    } else {
        fs::remove_file(&folder)?;
    }
    Ok(())
}

/// Up to which number a segment reaches, and the same if it may have taken others' place.
fn reach(path: &Path) -> Result<(Option<i64>, Option<i64>), SegmentError> {
    let (db, _) = store::open_for_reading(path)?;
    let last = db.query_row("SELECT last FROM segment", [], |row| row.get(0))?;
    Ok((last, store::compaction(&db)?.map(|(last, _)| last)))
}
