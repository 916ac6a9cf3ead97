//! How much of the journal each machine has, and how much it may keep where there is no room for all.
//!
//! ```text
//!            ▓                       Each machine keeps what it has, up to a level that is the same for all: the
//!            ▓                       highest at which all together have room. What a machine has above it is its
//!   level ───▓──────────▓────        excess, and of that the oldest goes first.
//!            █    ▁     █    ▄
//!            noisy web1 db1  web2
//! ```
//!
//! So no machine can push out another's history, however much it sends. What is counted is the size of records, by
//! estimation: each segment has it for each of its sources from when it was sealed.

use crate::contents::Entry;
use crate::dictionary::{Entries, Source};
use crate::error::SegmentError;
use crate::store;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Whose records count together: one machine, whatever its process and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    host: Arc<str>,
    machine: Arc<str>,
    machine_id: Option<Arc<str>>,
}

impl Owner {
    pub(crate) fn of(source: &Source) -> Owner {
        let Source { host, machine, machine_id, .. } = source;
        Owner { host: host.clone(), machine: machine.clone(), machine_id: machine_id.clone() }
    }
}

/// How many bytes of a segment's records are whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfSegment {
    pub(crate) bytes: BTreeMap<Owner, u64>,
    /// It was rewritten before.
    pub(crate) is_compacted: bool,
    /// How many of its numbers have no record any more.
    pub(crate) without: u64,
    /// Its last number; 0 when it cannot be read.
    pub(crate) last: i64,
}

impl OfSegment {
    pub(crate) fn read(path: &Path) -> Result<OfSegment, SegmentError> {
        let (db, _) = store::open_for_reading(path)?;
        let mut sources = Entries::<Source>::new();
        sources.read(&db)?;
        let compaction = store::compaction(&db)?;
        let mut read = OfSegment {
            is_compacted: compaction.is_some(),
            without: compaction.and_then(|(_, without)| u64::try_from(without).ok()).unwrap_or_default(),
            last: db.query_row("SELECT last FROM segment", [], |row| row.get(0))?,
            bytes: BTreeMap::new(),
        };
        for (source, bytes) in by_source(&db)? {
            // Whose it is what a damaged entry stands for nobody knows.
            let Ok(source) = sources.get(source) else { continue };
            let sum = read.bytes.entry(Owner::of(source)).or_default();
            *sum = sum.saturating_add(u64::try_from(bytes).unwrap_or_default());
        }
        Ok(read)
    }

    pub(crate) fn total(&self) -> u64 {
        self.bytes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// The bytes of each source. Segments of older qevs do not have them ready.
fn by_source(db: &Connection) -> Result<Vec<(i64, i64)>, SegmentError> {
    let pairs = |sql: &str| -> Result<Vec<(i64, i64)>, SegmentError> {
        let mut statement = db.prepare(sql)?;
        let pairs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(pairs)
    };
    if store::has_table(db, "share")? {
        let ready = pairs("SELECT source, bytes FROM share")?;
        if !ready.is_empty() {
            return Ok(ready);
        }
    }
    pairs(&format!("SELECT source, sum({}) FROM record GROUP BY source", crate::row::BYTES))
}

/// The bytes of each machine in all sealed segments.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    totals: HashMap<Owner, u64>,
    /// The segments that are in the totals, by their first number, and whether they were rewritten before.
    counted: BTreeMap<u64, bool>,
}

impl Shares {
    /// Counts so many of the segments that were not counted yet. Whether all are.
    pub(crate) fn count(&mut self, segments: &[Entry], at_most: usize) -> bool {
        let is_there = |first: &u64| segments.binary_search_by_key(first, |entry| entry.first).is_ok();
        if !self.counted.keys().all(is_there) {
            // Somebody else deletes segments, too.
            *self = Shares::default();
        }
        let new: Vec<_> = segments.iter().filter(|entry| !self.counted.contains_key(&entry.first)).collect();
        for entry in new.iter().take(at_most) {
            // Of what cannot be read nobody has anything.
            self.add(entry.first, &OfSegment::read(&entry.path).unwrap_or_default());
        }
        new.len() <= at_most
    }

    fn add(&mut self, first: u64, segment: &OfSegment) {
        self.counted.insert(first, segment.is_compacted);
        for (owner, bytes) in &segment.bytes {
            let total = self.totals.entry(owner.clone()).or_default();
            *total = total.saturating_add(*bytes);
        }
    }

    /// A segment is gone, or not what it was.
    pub(crate) fn remove(&mut self, first: u64, segment: &OfSegment) {
        if self.counted.remove(&first).is_none() {
            return;
        }
        for (owner, bytes) in &segment.bytes {
            if let Some(total) = self.totals.get_mut(owner) {
                *total = total.saturating_sub(*bytes);
                if *total == 0 {
                    self.totals.remove(owner);
                }
            }
        }
    }

    pub(crate) fn is_compacted(&self, first: u64) -> bool {
        self.counted.get(&first).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.totals.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    pub(crate) fn of(&self, owner: &Owner) -> u64 {
        self.totals.get(owner).copied().unwrap_or_default()
    }

    /// The level at which all have room, and what each machine has above it.
    pub(crate) fn excess(&self, room: u64) -> (u64, HashMap<Owner, u64>) {
        let level = level(self.totals.values().copied().collect(), room);
        let above = self.totals.iter().filter(|(_, bytes)| **bytes > level);
        (level, above.map(|(owner, bytes)| (owner.clone(), bytes.saturating_sub(level))).collect())
    }
}

/// The highest level at which all have room, when nobody gets more than it has.
fn level(mut sizes: Vec<u64>, room: u64) -> u64 {
    sizes.sort_unstable();
    let mut left = room;
    let mut count = u64::try_from(sizes.len()).unwrap_or(u64::MAX);
    for size in sizes {
        let share = left.checked_div(count).unwrap_or(u64::MAX);
        if size > share {
            return share;
        }
        left = left.saturating_sub(size);
        count = count.saturating_sub(1);
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[u64], room: u64, expected: u64) {
        assert_eq!(level(sizes.to_vec(), room), expected, "{sizes:?}");
    }

    #[test]
    fn who_has_little_keeps_it_and_the_others_share_the_rest() {
        check(&[], 100, u64::MAX);
        check(&[10, 20, 30], 100, u64::MAX);
        check(&[10, 20, 1000], 100, 70);
        check(&[500, 10, 500], 100, 45);
        check(&[500, 500], 0, 0);
        check(&[u64::MAX, 1], 100, 99);
    }
}
