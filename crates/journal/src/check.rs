//! Whether a journal is whole: each segment by SQLite's own check, by its summaries and by reading every record of it,
//! and all of them by their sequence numbers.

use crate::block::{self, Block, Blocks, RowChecksums};
use crate::contents::{self, Entry};
use crate::dictionary::{Entries, Source, What};
use crate::error::{ReadError, SegmentError};
use crate::high_water::HighWaterMark;
use crate::reader::Reader;
use crate::row::{self, Row};
use crate::segment::RECORDS_A_SEGMENT;
use crate::store;
use std::fmt;
use std::path::PathBuf;

/// How many problems of a segment are listed.
const PROBLEMS: usize = 10;

/// What [`Reader::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Each segment, the oldest first.
    pub segments: Vec<SegmentReport>,
    /// Numbers that are missing between two that are there, as first and last.
    pub holes: Vec<(u64, u64)>,
    /// Damaged segments that were set aside, and are still there.
    pub set_aside: Vec<SetAside>,
    /// How many numbers have no record any more because a machine had more than its share. Gaps tell which.
    pub dropped: u64,
}

/// A damaged segment that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// Its file.
    pub path: PathBuf,
    /// Its first number, and the last that it can have had.
    pub numbers: (u64, u64),
    /// How many of its records were saved, and are still kept.
    pub saved: u64,
}

/// What was found in one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// Whether it is complete and will not change any more.
    pub is_sealed: bool,
    /// How many records could be read.
    pub records: u64,
    /// The smallest and the largest sequence number, if there is a record.
    pub span: Option<(u64, u64)>,
    /// What is wrong with it, a sentence each.
    pub problems: Vec<Box<str>>,
    /// When it was rewritten to make room: its last number, and how many of its numbers have no record any more.
    pub rewritten: Option<(u64, u64)>,
}

impl Report {
    /// Whether nothing is wrong and nothing is missing: what a segment had that was set aside is.
    pub fn is_sound(&self) -> bool {
        self.holes.is_empty()
            && self.set_aside.is_empty()
            && self.segments.iter().all(|segment| segment.problems.is_empty())
    }

    /// How many records could be read.
    pub fn records(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.records))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.len();
        write!(f, "{} records in {segments} {}", self.records(), if segments == 1 { "segment" } else { "segments" })?;
        for segment in &self.segments {
            for problem in &segment.problems {
                write!(f, "\n{}: {problem}", segment.path.display())?;
            }
        }
        for (first, last) in &self.holes {
            if first == last {
                write!(f, "\nrecord {first} is missing")?;
            } else {
                write!(f, "\nrecords {first} to {last} are missing")?;
            }
        }
        if self.dropped > 0 {
            write!(
                f,
                "\n{} records of machines that had more than their share were let go: gaps tell which",
                self.dropped
            )?;
        }
        for SetAside { path, numbers: (first, last), saved } in &self.set_aside {
            write!(
                f,
                "\n{}: a damaged segment that was set aside: of its records, between {first} and {last}, {saved} are kept; \
                 delete this file when you do not need it any more",
                path.display()
            )?;
        }
        Ok(())
    }
}

impl Reader {
    /// Reads everything and says whether it is whole. Of the newest segment a snapshot is held meanwhile.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read. What is wrong with a segment stands in the report.
    pub fn check(&self) -> Result<Report, ReadError> {
        let directory = |source| ReadError::Directory { dir: self.dir().into(), source };
        let mut report = Report::default();
        let set_aside = contents::damaged(self.dir()).map_err(directory)?;
        // Before any record is read: what is committed meanwhile is behind it.
        let committed = HighWaterMark::read(self.dir()).map(|mark| mark.last);
        let segments = self.segments()?;
        // The oldest segment is named after its first number, though it may have lost its record.
        let mut last = segments.first().and_then(|oldest| oldest.first.checked_sub(1));
        for entry in &segments {
            let mut holes = Vec::new();
            let mut numbers = Numbers { last, holes: &mut holes, double: None };
            let mut segment = SegmentReport {
                path: entry.path.clone(),
                bytes: contents::bytes_of(&entry.path),
                is_sealed: store::is_sealed(&entry.path),
                ..SegmentReport::default()
            };
            match check(entry, &mut segment, &mut numbers) {
                Err(_) if !entry.path.exists() => continue,
                Err(error) => segment.problem(error.in_words()),
                Ok(()) => {}
            }
            if let Some(double) = numbers.double {
                segment.problem(format!("record {double} is in an older segment, too"));
            }
            last = numbers.last;
            last = last.max(segment.take_holes(holes, entry.first, &mut report));
            report.segments.push(segment);
        }
        // The newest segment is named after the next number when it is empty.
        last = last.max(segments.last().and_then(|newest| newest.first.checked_sub(1)));
        if let Some(committed) = committed.filter(|committed| *committed > last.unwrap_or_default()) {
            report.holes.push((last.unwrap_or_default().saturating_add(1), committed));
        }
        report.set_aside = set_aside.into_iter().map(|entry| SetAside::of(entry, &segments, &report)).collect();
        Ok(report)
    }
}

impl SetAside {
    fn of(entry: Entry, segments: &[Entry], report: &Report) -> SetAside {
        let next = segments.iter().map(|segment| segment.first).find(|first| *first > entry.first);
        let end = next.unwrap_or_else(|| entry.first.saturating_add(RECORDS_A_SEGMENT));
        let of_its_name = segments.iter().find(|segment| segment.first == entry.first).map(|segment| &segment.path);
        let saved = report.segments.iter().find(|segment| Some(&segment.path) == of_its_name);
        let saved = saved.map_or(0, |segment| segment.records);
        SetAside { path: entry.path, numbers: (entry.first, end.saturating_sub(1)), saved }
    }
}

impl SegmentReport {
    /// Holes in a segment that was rewritten were made on purpose, if they are as many as it says. Gives back the last
    /// number that it answers for.
    fn take_holes(&mut self, holes: Vec<(u64, u64)>, first: u64, report: &mut Report) -> Option<u64> {
        let Some((last, without)) = self.rewritten else {
            report.holes.extend(holes);
            return None;
        };
        // What is missing before it is not its own.
        let before = holes.iter().filter(|(from, _)| *from < first).map(|(from, to)| (*from, (*to).min(first - 1)));
        report.holes.extend(before);
        let numbers = last.saturating_sub(first).saturating_add(1);
        let missing = numbers.saturating_sub(self.records);
        if missing != without {
            self.problem(format!("{missing} of its numbers have no record, and {without} of them were let go"));
        }
        report.dropped = report.dropped.saturating_add(without);
        Some(last)
    }

    /// There is a record with this number.
    fn meet(&mut self, seq: u64, numbers: &mut Numbers<'_>) {
        numbers.meet(seq);
        self.records = self.records.saturating_add(1);
        self.span = Some(self.span.map_or((seq, seq), |(first, _)| (first, seq)));
    }

    fn problem(&mut self, problem: impl Into<Box<str>>) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(problem.into());
        }
    }
}

/// The sequence numbers met so far, of all segments.
struct Numbers<'a> {
    last: Option<u64>,
    holes: &'a mut Vec<(u64, u64)>,
    double: Option<u64>,
}

impl Numbers<'_> {
    fn meet(&mut self, seq: u64) {
        match self.last {
            Some(last) if seq <= last => self.double = self.double.or(Some(seq)),
            Some(last) if seq > last.saturating_add(1) => {
                self.holes.push((last.saturating_add(1), seq.saturating_sub(1)));
            }
            _ => {}
        }
        self.last = self.last.max(Some(seq));
    }
}

fn check(entry: &Entry, report: &mut SegmentReport, numbers: &mut Numbers<'_>) -> Result<(), SegmentError> {
    let (db, _) = store::open_for_reading(&entry.path)?;
    // Blocks and records must be those of one moment.
    let db = db.unchecked_transaction()?;
    let mut statement = db.prepare(&format!("PRAGMA quick_check({PROBLEMS})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            report.problem(said);
        }
    }
    let (mut sources, mut whats) = (Entries::<Source>::new(), Entries::<What>::new());
    sources.read(&db)?;
    whats.read(&db)?;
    for n in sources.damaged().chain(whats.damaged()) {
        report.problem(format!("entry {n} of a dictionary is not what was written"));
    }
    let Blocks { blocks, damaged } = Block::read_all(&db, i64::MIN, true)?;
    for last in &damaged {
        report.problem(format!("the summary of the block that ends with record {last} is not what was written"));
    }
    let mut blocks = blocks.into_iter().peekable();
    let mut open = block::Open::new(RowChecksums::of(&db)?);
    let mut statement = store::prepare(&db, &format!("SELECT {} FROM record ORDER BY seq", row::COLUMNS))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row = match Row::read(row) {
            Ok(row) => row,
            Err(error) => {
                report.problem(error.to_string());
                // It is there, though nobody can read it.
                if let Some(seq) = error.seq.and_then(|seq| u64::try_from(seq).ok()) {
                    report.meet(seq, numbers);
                }
                continue;
            }
        };
        while blocks.next_if(|block| block.last < row.seq).is_some() {
            report.problem(format!("record {}: the block before it ends elsewhere", row.seq));
        }
        let record = sources.get(row.source).and_then(|source| row.record(source, whats.get(row.what)?));
        if let Err(error) = record {
            report.problem(error.in_words());
        }
        report.meet(u64::try_from(row.seq).unwrap_or_default(), numbers);
        open.add(&row);
        // Of a block whose summary is damaged only the end may be known.
        if damaged.contains(&row.seq) {
            open.finish();
        }
        if let Some(block) = blocks.next_if(|block| block.last == row.seq)
            && open.finish().is_none_or(|counted| counted != block)
        {
            report.problem(format!("records {} to {}: they are not what was written", block.first, block.last));
        }
    }
    if let Some(block) = blocks.next() {
        report.problem(format!("records {} to {} are missing", block.first, block.last));
    }
    let said: (i64, Option<i64>, Option<i64>) =
        db.query_row("SELECT first, last, records FROM segment", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let rewritten = store::compaction(&db)?;
    report.rewritten = rewritten.and_then(|(last, without)| number(Some(last)).zip(number(Some(without))));
    if number(Some(said.0)) != Some(entry.first) {
        report.problem(format!("by its content its first sequence number is {}", said.0));
    }
    if let Some(records) = number(said.2)
        && records != report.records
    {
        report.problem(format!("it has {} records, and had {records} when it was sealed", report.records));
    }
    Ok(())
}
