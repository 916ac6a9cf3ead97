//! The past of a machine, read back from the newest record on, within a budget: how long the history is does not matter.

use super::merged::Merged;
use crate::daemon::identity::Identity;
use qev_journal::{Query, Reader};
use qev_qmp::Timestamp;
use qev_record::{Filter, Glob, Record};
use std::time::{Duration, Instant};

/// So many numbers are looked at between two looks at the clock.
const WINDOW: u64 = 1 << 18;

/// How long a question about the past may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Clocks go wrong: what is older than asked for by more than this, in microseconds, has nothing behind it that is not.
const SLACK: i64 = 86_400_000_000;

/// What is asked of the past.
pub(crate) struct Past<'a> {
    pub(crate) reader: &'a Reader,
    /// Whose.
    pub(crate) identity: &'a Identity,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) events: &'a [&'a str],
    pub(crate) kinds: &'a [&'a str],
}

impl Past<'_> {
    /// Gives `each` the records up to this number, the newest first, for as long as it says so. Whether all were read.
    pub(crate) fn read(&self, last: u64, mut each: impl FnMut(Record) -> bool) -> bool {
        let begun = Instant::now();
        let filter = Filter {
            machines: vec![Glob::exactly(&self.identity.key())].into_iter().flatten().collect(),
            since: self.since,
            until: self.until,
            ..Filter::default()
        };
        let mut high = last;
        let mut is_complete = true;
        while high > 0 && !self.is_before(high) {
            let low = high.saturating_sub(WINDOW);
            let query = Query {
                filter: filter.clone(),
                after: Some(low),
                before: Some(high.saturating_add(1)),
                newest_first: true,
                limit: None,
            };
            for record in Merged::new(self.reader, &query, self.events, self.kinds) {
                match record {
                    Ok(record) if Identity::of_record(&record).key() != self.identity.key() => {}
                    Ok(record) => {
                        if !each(record) {
                            return false;
                        }
                    }
                    Err(_) => is_complete = false,
                }
                if begun.elapsed() > PATIENCE {
                    return false;
                }
            }
            if begun.elapsed() > PATIENCE {
                return false;
            }
            high = low;
        }
        is_complete
    }

    /// Whether nothing that is asked for can be at this number or before it.
    fn is_before(&self, seq: u64) -> bool {
        let newest =
            Query { before: Some(seq.saturating_add(1)), newest_first: true, limit: Some(1), ..Query::default() };
        let Some(newest) = self.reader.records(&newest).find_map(Result::ok) else { return true };
        let span = |since: Timestamp| since.micros()?.checked_sub(newest.received.micros()?);
        self.since.and_then(span).is_some_and(|span| span > SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::{Scratch, event};
    use qev_journal::{Journal, Options};

    #[test]
    fn a_name_is_no_pattern() {
        for name in ["web1", "w*b?", "[a]", r"a\b", "[!"] {
            let pattern = Glob::exactly(name).unwrap();
            assert_eq!(pattern.literal().as_deref(), Some(name));
        }
    }

    #[test]
    fn the_newest_comes_first_and_whoever_has_enough_is_told_that_there_is_more() {
        let scratch = Scratch::new();
        let mut journal = Journal::open(&scratch.0, Options::default()).unwrap();
        let names = ["a", "a*", "a", "b", "a"];
        let mut records: Vec<_> = (1..).zip(names).map(|(n, name)| event(name, "STOP", n)).collect();
        journal.append(&mut records).unwrap();
        let reader = Reader::open(&scratch.0).unwrap();
        let identity = Identity { machine: "a".into(), machine_id: None };
        let past =
            Past { reader: &reader, identity: &identity, since: None, until: None, events: &["STOP"], kinds: &[] };
        let mut seqs = Vec::new();
        let mut read = |most: usize| {
            seqs.clear();
            let is_complete = past.read(5, |record| {
                seqs.push(record.seq.unwrap());
                seqs.len() < most
            });
            (seqs.clone(), is_complete)
        };
        assert_eq!(read(9), (vec![5, 3, 1], true));
        assert_eq!(read(2), (vec![5, 3], false));
    }
}
