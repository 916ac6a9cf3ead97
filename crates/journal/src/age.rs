//! How old segments are, by a clock that nobody sets.
//!
//! | segment | when it was written |
//! |---|---|
//! | sealed by this writer | between the last look and this one: by the wall clock when that is settled, else now |
//! | of an earlier run | by the wall clock, once, when that is settled; until then it has no age and is not deleted |
//!
//! What is known is not changed by a step of the wall clock.

use crate::clock::{Now, WallClock};
use crate::contents::Entry;
use crate::error::SegmentError;
use crate::store;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How many segments are looked into in one call.
const DATED: usize = 64;

/// When segments were written, by their first number, in microseconds of [`Now::elapsed`].
#[derive(Debug, Default)]
pub(crate) struct Ages {
    written: BTreeMap<u64, i64>,
    /// The first number of the segment with which this writer began.
    begun_with: u64,
    last_look: Option<Look>,
    /// The wall clock's time of the oldest segment that was dated by it, for those before it whose own lies in the future.
    behind: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: i64,
    /// The first number of the segment that was the newest then.
    newest: u64,
}

impl Ages {
    /// A writer begins with this as its newest segment. Those before it are of an earlier run.
    pub(crate) fn begin(&mut self, first_of_newest: u64) {
        self.begun_with = first_of_newest;
    }

    /// A segment was sealed since its last record is old.
    pub(crate) fn sealed(&mut self, first: u64, of: OfNewest) {
        self.written.insert(first, micros(of.appended));
    }

    /// Dates the segments that are new, and some of an earlier run. Whether there are more of those that can be dated now.
    pub(crate) fn look(&mut self, older: &[Entry], newest: Option<&Entry>, now: Now) -> bool {
        let is_there = |first: &u64| older.binary_search_by_key(first, |entry| entry.first).is_ok();
        self.written.retain(|first, _| is_there(first));
        let at = micros(now.elapsed);
        // How long ago, by the wall clock, the newest record of a segment was received.
        let age_of = |newest: i64| now.wall.micros().map(|wall| wall.saturating_sub(newest));
        let (mut dated, mut more) = (0, false);
        for entry in older.iter().rev() {
            if self.written.contains_key(&entry.first) {
                continue;
            }
            let is_of_this_run = entry.first >= self.begun_with;
            if now.wall_clock == WallClock::Unsettled && !is_of_this_run {
                continue;
            }
            if dated >= DATED {
                more = true;
                break;
            }
            dated = dated.saturating_add(1);
            let age = match now.wall_clock {
                WallClock::Unsettled => 0,
                WallClock::Settled => {
                    // Where it lies in the future, the clock was wrong then: the segments behind it tell until when it was
                    // written at the latest. Without one it is new.
                    let own = newest_in(&entry.path).ok().flatten();
                    let own = own.filter(|own| age_of(*own).is_some_and(|age| age >= 0));
                    self.behind = own.or(self.behind);
                    self.behind.and_then(age_of).unwrap_or_default().max(0)
                }
            };
            // It was not sealed when it was looked last.
            let since = self.last_look.filter(|look| entry.first >= look.newest).map_or(i64::MIN, |look| look.at);
            let written = at.saturating_sub(age).max(since).min(at);
            self.written.insert(entry.first, written);
        }
        if let Some(newest) = newest {
            self.last_look = Some(Look { at, newest: newest.first });
        }
        more
    }

    /// Whether a segment is known to be older than this.
    pub(crate) fn is_older(&self, entry: &Entry, now: Now, age: Duration) -> bool {
        let written = self.written.get(&entry.first);
        written.is_some_and(|written| micros(now.elapsed).saturating_sub(*written) > micros(age))
    }

    /// Segments became one, under the first number: it is as new as the newest of them.
    pub(crate) fn joined(&mut self, firsts: impl IntoIterator<Item = u64>) {
        let mut firsts = firsts.into_iter();
        let Some(first) = firsts.next() else { return };
        let others = firsts.map(|first| self.written.get(&first).copied()).collect::<Vec<_>>();
        let all = others.into_iter().chain([self.written.get(&first).copied()]).collect::<Option<Vec<_>>>();
        match all.and_then(|all| all.into_iter().max()) {
            Some(newest) => drop(self.written.insert(first, newest)),
            None => drop(self.written.remove(&first)),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// When the newest record of a sealed segment was received.
fn newest_in(path: &Path) -> Result<Option<i64>, SegmentError> {
    let (db, _) = store::open_for_reading(path)?;
    Ok(db.query_row("SELECT newest FROM segment", [], |row| row.get(0))?)
}

/// How long the newest segment has been written to, by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfNewest {
    first: i64,
    last: i64,
    begun: Duration,
    appended: Duration,
}

impl OfNewest {
    /// What is known of a segment from looking at it now and before.
    pub(crate) fn look(before: Option<OfNewest>, (first, last): (i64, i64), now: Now) -> OfNewest {
        let new = OfNewest { first, last, begun: now.elapsed, appended: now.elapsed };
        match before.filter(|before| before.first == first) {
            // As long as it is empty it is not begun.
            Some(before) if before.last >= first => {
                let appended = if before.last == last { before.appended } else { now.elapsed };
                OfNewest { appended, begun: before.begun, ..new }
            }
            _ => new,
        }
    }

    /// Whether its first record is older than this.
    pub(crate) fn was_begun_before(&self, now: Now, age: Duration) -> bool {
        now.elapsed.saturating_sub(self.begun) > age
    }

    /// Whether its last record is older than this.
    pub(crate) fn was_written_before(&self, now: Now, age: Duration) -> bool {
        now.elapsed.saturating_sub(self.appended) > age
    }
}
