//! Records of several queries as one list: what one query cannot ask for, since all that it says must be met.

use qev_journal::{Query, ReadError, Reader, Records};
use qev_record::{Filter, Record, Where};
use std::iter::Peekable;

/// The records of several queries, which do not overlap, by their numbers.
pub(crate) struct Merged {
    parts: Vec<Peekable<Records>>,
    newest_first: bool,
}

impl Merged {
    /// The records of these events, and of these kinds, among those that a query is about. Its own events are not asked.
    pub(crate) fn new(reader: &Reader, query: &Query, events: &[&str], kinds: &[&str]) -> Merged {
        let of_events =
            Filter { events: events.iter().filter_map(|event| event.parse().ok()).collect(), ..query.filter.clone() };
        let of_kind = |kind: &&str| {
            let mut filter = Filter { events: Vec::new(), ..query.filter.clone() };
            filter.wheres.extend(format!("kind={kind}").parse::<Where>());
            filter
        };
        let filters = std::iter::once(of_events).chain(kinds.iter().map(of_kind));
        let parts = filters.map(|filter| reader.records(&Query { filter, ..query.clone() }).peekable()).collect();
        Merged { parts, newest_first: query.newest_first }
    }
}

impl Iterator for Merged {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Result<Record, ReadError>> {
        let mut best: Option<(usize, Option<u64>)> = None;
        for (at, part) in self.parts.iter_mut().enumerate() {
            // What cannot be read is said at once.
            let seq = match part.peek() {
                None => continue,
                Some(Err(_)) => return part.next(),
                Some(Ok(record)) => record.seq,
            };
            let is_next = best.is_none_or(|(_, other)| if self.newest_first { seq > other } else { seq < other });
            if is_next {
                best = Some((at, seq));
            }
        }
        let (at, _) = best?;
        self.parts.get_mut(at)?.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::{Scratch, event};
    use qev_journal::{Journal, Options};
    use qev_qmp::Timestamp;

    #[test]
    fn events_and_kinds_come_in_the_order_of_their_numbers() {
        let scratch = Scratch::new();
        let mut journal = Journal::open(&scratch.0, Options::default()).unwrap();
        let attached = Record::attached("h1", "a", Timestamp::from_micros(0));
        let mut records = vec![
            event("a", "STOP", 1),
            attached.clone(),
            event("a", "RTC_CHANGE", 3),
            event("b", "STOP", 4),
            event("a", "RESUME", 5),
            attached,
        ];
        journal.append(&mut records).unwrap();
        let reader = Reader::open(&scratch.0).unwrap();
        let filter = Filter { machines: vec!["a".parse().unwrap()], ..Filter::default() };
        for (newest_first, expected) in [(false, [1, 2, 5, 6]), (true, [6, 5, 2, 1])] {
            let query = Query { filter: filter.clone(), newest_first, ..Query::default() };
            let merged = Merged::new(&reader, &query, &["STOP", "RESUME"], &["attached", "gap"]);
            let seqs: Vec<_> = merged.map(|record| record.unwrap().seq.unwrap()).collect();
            assert_eq!(seqs, expected);
        }
    }
}
