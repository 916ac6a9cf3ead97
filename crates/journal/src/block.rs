//! What is written once for a block of records, so that a reader can leave out blocks in which nothing matches.
//!
//! Times go backwards, of QEMU's clock and of the host's: a block has the smallest and the largest, and blocks are
//! looked at one after the other, never searched by halves.

use crate::bytes::{push, take};
use crate::checksum::{ABSENT, Checksum};
use crate::error::SegmentError;
use crate::row::Row;
use crate::store;
use rusqlite::{Connection, params, params_from_iter};

/// A block ends with this many records …
pub(crate) const RECORDS: usize = 1024;

/// … or with this many bytes.
const BYTES: usize = 1 << 20;

/// The summary of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) records: i64,
    /// Smallest and largest `received`; `None` when a record's time is none, so that nothing is known.
    pub(crate) received: Option<(i64, i64)>,
    /// Smallest and largest of QEMU's `timestamp`; `None` when no record has one.
    pub(crate) timestamp: Option<(i64, i64)>,
    /// How many records there are of each entry of the dictionary `what`, ascending.
    pub(crate) whats: Vec<(i64, i64)>,
    /// Which entries of the dictionary `source` there are, ascending, each as its difference to the one before it.
    sources: Vec<u8>,
    checksum: i64,
}

const COLUMNS: &str = "first, last, records, received_min, received_max, timestamp_min, timestamp_max, whats, \
                       checksum, sources, row_checksum, sources_checksum";

const COLUMNS_OF_BEFORE: &str = "first, last, records, received_min, received_max, timestamp_min, timestamp_max, whats, \
                                 checksum, sources";

impl Block {
    pub(crate) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut whats = Vec::new();
        let mut before = 0;
        for (id, n) in &self.whats {
            push(&mut whats, difference(*id, before));
            push(&mut whats, difference(*n, 0));
            before = *id;
        }
        // Of a segment that an older qev began the last block is written, too.
        let has_checksums = store::has_column(db, "block", "row_checksum")?;
        let columns = if has_checksums { COLUMNS } else { COLUMNS_OF_BEFORE };
        let values = if has_checksums { ", ?11, ?12" } else { "" };
        let sql = format!("INSERT INTO block ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10{values})");
        let mut statement = db.prepare(&sql)?;
        let own = params![self.sum(&whats).short(), self.sum_of_sources().short()];
        let values = params![
            self.first,
            self.last,
            self.records,
            self.received.map(|(min, _)| min),
            self.received.map(|(_, max)| max),
            self.timestamp.map(|(min, _)| min),
            self.timestamp.map(|(_, max)| max),
            whats,
            self.checksum,
            self.sources,
        ];
        let own = if has_checksums { own } else { params![] };
        statement.execute(params_from_iter(values.iter().chain(own))).map(drop)
    }

    /// The sum over its row, but for its sources.
    fn sum(&self, whats: &[u8]) -> Checksum {
        let mut sum = Checksum::default();
        let (received, timestamp) = (self.received.unzip(), self.timestamp.unzip());
        let spans = [received.0, received.1, timestamp.0, timestamp.1];
        let numbers = [Some(self.first), Some(self.last), Some(self.records), Some(self.checksum)];
        numbers.into_iter().chain(spans).for_each(|n| sum.number(n));
        sum.bytes(whats);
        sum
    }

    fn sum_of_sources(&self) -> Checksum {
        let mut sum = Checksum::default();
        sum.bytes(&self.sources);
        sum
    }

    /// Whether one of its sources is so. Yes, when that cannot be read any more: the block is not left out then.
    pub(crate) fn has_source(&self, mut is_so: impl FnMut(i64) -> bool) -> bool {
        let (mut rest, mut id) = (&*self.sources, 0);
        while !rest.is_empty() {
            match next(&mut rest, id) {
                Some(next) => id = next,
                None => return true,
            }
            if is_so(id) {
                return true;
            }
        }
        false
    }

    /// All blocks that end behind a sequence number, in order; without their sources, if nobody wants them: those are
    /// most of it.
    pub(crate) fn read_all(db: &Connection, after: i64, with_sources: bool) -> Result<Blocks, SegmentError> {
        let columns = match with_sources {
            true => COLUMNS.to_owned(),
            false => COLUMNS.replace("sources_checksum", &format!("'{ABSENT}'")).replace("sources", "x''"),
        };
        let sql = format!("SELECT {columns} FROM block WHERE last > ?1 ORDER BY last");
        let mut statement = store::prepare(db, &sql)?;
        let mut rows = statement.query([after])?;
        let (mut blocks, mut damaged): (Vec<Block>, Vec<i64>) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let Some(block) = Block::read(row)? else {
                damaged.push(row.get(1)?);
                continue;
            };
            if blocks.last().is_some_and(|before| before.last >= block.first) {
                return Err(SegmentError::damaged(format!("the blocks before record {} overlap", block.last)));
            }
            blocks.push(block);
        }
        Ok(Blocks { blocks, damaged })
    }

    /// Reads a block; `None` when its row is not what was written.
    fn read(row: &rusqlite::Row<'_>) -> Result<Option<Block>, SegmentError> {
        let span = |min: usize| -> rusqlite::Result<_> {
            Ok(row.get::<_, Option<i64>>(min)?.zip(row.get::<_, Option<i64>>(min + 1)?))
        };
        let last: i64 = row.get(1)?;
        let damaged = || SegmentError::damaged(format!("the summary of the block that ends with record {last}"));
        let mut block = Block {
            first: row.get(0)?,
            last,
            records: row.get(2)?,
            received: span(3)?,
            timestamp: span(5)?,
            whats: Vec::new(),
            sources: row.get(9)?,
            checksum: row.get(8)?,
        };
        let whats: Vec<u8> = row.get(7)?;
        if !block.sum(&whats).is_in(row.get_ref(10)?) || !block.sum_of_sources().is_in(row.get_ref(11)?) {
            return Ok(None);
        }
        let (mut rest, mut id) = (&*whats, 0_i64);
        while !rest.is_empty() {
            id = next(&mut rest, id).ok_or_else(damaged)?;
            block.whats.push((id, next(&mut rest, 0).ok_or_else(damaged)?));
        }
        if block.first > block.last {
            return Err(damaged());
        }
        Ok(Some(block))
    }
}

/// The blocks of a segment.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) blocks: Vec<Block>,
    /// With which records blocks end whose rows are not what was written.
    pub(crate) damaged: Vec<i64>,
}

fn difference(n: i64, before: i64) -> u64 {
    u64::try_from(n.saturating_sub(before)).unwrap_or_default()
}

fn next(bytes: &mut &[u8], before: i64) -> Option<i64> {
    before.checked_add(i64::try_from(take(bytes)?).ok()?)
}

/// A block that records are still added to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    block: Block,
    /// A record's time is none.
    timeless: bool,
    whats: Vec<i64>,
    sources: Vec<i64>,
    bytes: usize,
    checksum: Checksum,
    rows: RowChecksums,
}

/// What the checksum of a block is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RowChecksums {
    /// Of the sum of each row, of which the row has the upper half.
    #[default]
    Present,
    /// Of all that stands in the rows, which have no sum: in segments of older qevs.
    Absent,
}

impl RowChecksums {
    /// Those of a segment.
    pub(crate) fn of(db: &Connection) -> Result<RowChecksums, SegmentError> {
        Ok(if store::has_checksums(db)? { RowChecksums::Present } else { RowChecksums::Absent })
    }
}

impl Open {
    /// An empty block of a segment whose rows have checksums or not.
    pub(crate) fn new(rows: RowChecksums) -> Open {
        Open { rows, ..Open::default() }
    }

    pub(crate) fn add(&mut self, row: &Row<'_>) {
        self.add_summed(row, row.sum());
    }

    /// Adds a row whose sum is known.
    pub(crate) fn add_summed(&mut self, row: &Row<'_>, sum: Checksum) {
        let block = &mut self.block;
        if block.records == 0 {
            block.first = row.seq;
        }
        block.last = row.seq;
        block.records = block.records.saturating_add(1);
        match row.received {
            Some(received) => widen(&mut block.received, received),
            None => self.timeless = true,
        }
        if let Some(timestamp) = row.received.zip(row.lag).and_then(|(received, lag)| received.checked_sub(lag)) {
            widen(&mut block.timestamp, timestamp);
        }
        self.whats.push(row.what);
        self.sources.push(row.source);
        self.bytes = self.bytes.saturating_add(row.bytes());
        match self.rows {
            RowChecksums::Present => self.checksum.word(sum.value().to_le_bytes()),
            RowChecksums::Absent => row.add_to(&mut self.checksum),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.whats.len() >= RECORDS || self.bytes >= BYTES
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> i64 {
        self.block.records
    }

    /// Largest `received` so far.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.block.received.map(|(_, max)| max)
    }

    /// Ends the block and begins another; `None` when there is no record in it.
    pub(crate) fn finish(&mut self) -> Option<Block> {
        let begun = Open::new(self.rows);
        let Open { mut block, timeless, mut whats, mut sources, checksum, .. } = std::mem::replace(self, begun);
        if timeless {
            block.received = None;
        }
        whats.sort_unstable();
        block.whats = whats.chunk_by(|a, b| a == b).filter_map(counted).collect();
        sources.sort_unstable();
        sources.dedup();
        let mut before = 0;
        for id in sources {
            push(&mut block.sources, difference(id, before));
            before = id;
        }
        block.checksum = checksum.value();
        (block.records > 0).then_some(block)
    }
}

fn counted(same: &[i64]) -> Option<(i64, i64)> {
    Some((*same.first()?, same.len().try_into().ok()?))
}

fn widen(span: &mut Option<(i64, i64)>, n: i64) {
    let (min, max) = span.unwrap_or((n, n));
    *span = Some((min.min(n), max.max(n)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn row(seq: i64, source: i64, received: Option<i64>, data: &str) -> Row<'_> {
        let rest = Cow::Borrowed(&[][..]);
        Row { seq, source, what: 1 + seq % 2, received, lag: Some(5), summary: "s", data: Some(data), rest }
    }

    fn block(rows: &[Row<'_>]) -> Block {
        block_of(RowChecksums::Present, rows)
    }

    fn block_of(checksums: RowChecksums, rows: &[Row<'_>]) -> Block {
        let mut open = Open::new(checksums);
        rows.iter().for_each(|row| open.add(row));
        open.finish().unwrap()
    }

    #[test]
    fn a_summary_says_what_is_in_the_block() {
        let block = block(&[row(7, 300, Some(100), ""), row(8, 2, Some(50), ""), row(9, 300, Some(70), "")]);
        assert_eq!((block.first, block.last, block.records), (7, 9, 3));
        assert_eq!((block.received, block.timestamp), (Some((50, 100)), Some((45, 95))));
        assert_eq!(block.whats, [(1, 1), (2, 2)]);
        let mut sources = Vec::new();
        assert!(!block.has_source(|id| {
            sources.push(id);
            false
        }));
        assert_eq!(sources, [2, 300]);
    }

    #[test]
    fn a_record_whose_time_is_none_may_have_any() {
        assert_eq!(block(&[row(1, 1, Some(5), ""), row(2, 1, None, "")]).received, None);
    }

    #[test]
    fn one_bit_changes_the_checksum() {
        let sum = |data| block(&[row(1, 1, Some(5), data)]).checksum;
        let sums = [sum("{}"), sum("{|"), sum("{}\0"), sum("{\"a\": 12345}"), sum("{\"a\": 12344}")];
        for (n, sum) in sums.iter().enumerate() {
            assert!(!sums[..n].contains(sum), "{sums:?}");
        }
        // The format's own words, so that it is not changed unawares: of before, and of now.
        let before = block_of(RowChecksums::Absent, &[row(1, 1, Some(5), "{}")]);
        assert_eq!(before.checksum, -3_226_484_357_761_483_075);
        assert_eq!(row(1, 1, Some(5), "{}").sum().value(), -3_226_484_357_761_483_075);
    }

    #[test]
    fn a_block_ends_by_number_and_by_size() {
        let mut open = Open::default();
        for seq in 1..1024 {
            open.add(&row(seq, 1, None, ""));
            assert!(!open.is_full());
        }
        open.add(&row(1024, 1, None, ""));
        assert!(open.is_full() && open.finish().is_some() && open.finish().is_none());
        open.add(&row(1025, 1, None, &"x".repeat(1 << 20)));
        assert!(open.is_full());
    }
}
