//! Which numbers have no record any more because a whole segment was deleted, and why.
//!
//! The newest segment says which, and a new segment begins with a copy of that. A reader that finds a hole between two segments
//! looks there: a hole is either deleted records, which the reader is told, or numbers of which a gap in the journal
//! tells already, or numbers that were never used.

use crate::contents::Entry;
use crate::error::SegmentError;
use crate::sessions::Heard;
use crate::store;
use rusqlite::Connection;

/// How many runs of numbers are remembered. Beyond that the two oldest become one.
const RUNS: usize = 64;

/// What is said of numbers of which nobody knows why their records are not there.
const UNKNOWN: &str = "are not in the journal any more";

/// Numbers that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Why they have no record, as the end of a sentence. `None` when a gap in the journal tells, or they were never used.
    pub(crate) why: Option<Box<str>>,
}

impl Deletion {
    pub(crate) fn new(first: i64, last: i64, why: &str) -> Deletion {
        Deletion { first, last, why: Some(why.into()) }
    }

    /// Numbers of which a gap tells.
    pub(crate) fn told(first: i64, last: i64) -> Deletion {
        Deletion { first, last, why: None }
    }
}

/// All of them, in the order in which they were deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted(Vec<Deletion>);

impl Deleted {
    pub(crate) fn add(&mut self, run: Deletion) {
        if run.first > run.last {
            return;
        }
        match self.0.iter_mut().find(|known| known.why == run.why && known.last.saturating_add(1) == run.first) {
            Some(known) => known.last = run.last,
            None => self.0.push(run),
        }
        if self.0.len() > RUNS {
            let oldest = self.0.remove(0);
            if let Some(next) = self.0.first_mut() {
                (next.first, next.last) = (next.first.min(oldest.first), next.last.max(oldest.last));
                next.why = next.why.take().or(oldest.why);
            }
        }
    }

    pub(crate) fn extend(&mut self, other: Deleted) {
        other.0.into_iter().for_each(|run| self.add(run));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes all of them into a segment, a line per run.
    pub(crate) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        if !store::has_column(db, "segment", "deleted")? {
            db.execute_batch("ALTER TABLE segment ADD COLUMN deleted TEXT")?;
        }
        let line = |Deletion { first, last, why }: &Deletion| {
            format!("{first} {last} {}\n", why.as_deref().unwrap_or_default())
        };
        let lines: String = self.0.iter().map(line).collect();
        let lines = (!lines.is_empty()).then_some(lines);
        db.execute("UPDATE segment SET deleted = ?1", [lines]).map(drop)
    }

    /// Those that the newest of these segments knows. Where none can be read, nothing is known.
    pub(crate) fn load(segments: &[Entry]) -> Deleted {
        segments.iter().rev().find_map(|entry| Deleted::read(entry).ok().flatten()).unwrap_or_default()
    }

    /// `None` when the segment does not know: one that takes the place of others, or of an older version.
    fn read(entry: &Entry) -> Result<Option<Deleted>, SegmentError> {
        let (db, _) = store::open_for_reading(&entry.path)?;
        if Heard::read(&db)?.is_none() || !store::has_column(&db, "segment", "deleted")? {
            return Ok(None);
        }
        let lines: Option<String> = db.query_row("SELECT deleted FROM segment", [], |row| row.get(0))?;
        let run = |line: &str| {
            let (first, rest) = line.split_once(' ')?;
            let (last, why) = rest.split_once(' ')?;
            let why = (!why.is_empty()).then(|| why.into());
            Some(Deletion { first: first.parse().ok()?, last: last.parse().ok()?, why })
        };
        Ok(Some(Deleted(lines.unwrap_or_default().lines().filter_map(run).collect())))
    }

    /// What a reader is told of the numbers from `first` to `last`, which have no record, in their order. `is_oldest` says that
    /// the journal has nothing before them: then their records were there.
    pub(crate) fn explain(&self, first: i64, last: i64, is_oldest: bool) -> Vec<(i64, i64, Box<str>)> {
        let mut found = Vec::new();
        let mut at = first;
        while at <= last {
            let of_all = self.0.iter().filter(|run| run.first <= at && at <= run.last);
            // Numbers of which a gap told may have been deleted since.
            let covering = of_all.clone().find(|run| run.why.is_some()).or_else(|| of_all.clone().next());
            let begins =
                |run: &&Deletion| run.first > at && (covering.is_none_or(|run| run.why.is_none()) || run.why.is_some());
            let next = self.0.iter().filter(begins).map(|run| run.first.saturating_sub(1)).min();
            let until = match covering {
                Some(run) if run.why.is_some() => run.last,
                Some(run) => run.last.min(next.unwrap_or(i64::MAX)),
                None => next.unwrap_or(i64::MAX),
            };
            let until = until.min(last);
            match covering {
                Some(Deletion { why: Some(why), .. }) => found.push((at, until, why.clone())),
                None if is_oldest => found.push((at, until, UNKNOWN.into())),
                _ => {}
            }
            at = until.saturating_add(1);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runs: &[Deletion], hole: (i64, i64), is_oldest: bool, expected: &[(i64, i64, &str)]) {
        let mut deleted = Deleted::default();
        runs.iter().for_each(|run| deleted.add(run.clone()));
        let found = deleted.explain(hole.0, hole.1, is_oldest);
        let found: Vec<_> = found.iter().map(|(first, last, why)| (*first, *last, &**why)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_hole_is_told_by_its_parts() {
        let runs =
            [Deletion::new(1, 10, "a"), Deletion::new(11, 20, "a"), Deletion::new(21, 30, "b"), Deletion::told(31, 40)];
        check(&runs, (5, 40), true, &[(5, 20, "a"), (21, 30, "b")]);
        check(&runs, (25, 50), true, &[(25, 30, "b"), (41, 50, UNKNOWN)]);
        check(&runs, (25, 50), false, &[(25, 30, "b")]);
        check(&[], (7, 7), true, &[(7, 7, UNKNOWN)]);
        check(&[], (7, 7), false, &[]);
    }

    #[test]
    fn what_was_deleted_counts_more_than_what_a_gap_told() {
        let runs = [Deletion::told(10, 100), Deletion::new(10, 20, "a")];
        check(&runs, (1, 50), true, &[(1, 9, UNKNOWN), (10, 20, "a")]);
        check(&runs, (15, 200), false, &[(15, 20, "a")]);
    }

    #[test]
    fn the_oldest_become_one_at_the_limit() {
        let many: Vec<_> =
            (0..200).map(|n| Deletion::new(n * 10, n * 10 + 9, if n % 2 == 0 { "a" } else { "b" })).collect();
        let mut deleted = Deleted::default();
        many.into_iter().for_each(|run| deleted.add(run));
        assert_eq!(deleted.0.len(), RUNS);
        assert_eq!(deleted.0.first().map(|run| run.first), Some(0));
        assert_eq!(deleted.explain(0, 1999, true).iter().map(|(first, last, _)| last - first + 1).sum::<i64>(), 2000);
    }
}
