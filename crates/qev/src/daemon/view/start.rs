//! What the journal knows when the daemon starts: how each machine was, and the last hour.
//!
//! ```text
//!   ……………│ STATES records: only what tells how a machine is │ HOUR records at most: everything │ followed
//! ```

use super::machine::TELLING;
use super::merged::Merged;
use crate::daemon::follow::up_to;
use qev_journal::{Query, ReadError, Reader};
use qev_qmp::Timestamp;
use qev_record::{Filter, Record};

/// How far the journal is read back for the last hour, and for how machines are: records, of which the others are left
/// out by their summaries.
const HOUR: u64 = 1 << 18;
const STATES: u64 = 1 << 20;

/// How long an hour is, in microseconds.
const AN_HOUR: i64 = 3_600_000_000;

/// So many records are given at once.
const A_PAGE: usize = 512;

/// Gives what the journal up to this number knows of machines, the oldest first, a page at a time: the page need not wait
/// for all. Where it cannot be read, what could be, and why.
pub(crate) fn read(reader: &Reader, last: u64, now: Timestamp, mut give: impl FnMut(&[Record])) -> Option<ReadError> {
    let since = now.micros().and_then(|now| now.checked_sub(AN_HOUR)).map(Timestamp::from_micros);
    let of_hour =
        Query { filter: Filter { since, ..Filter::default() }, after: Some(last.saturating_sub(HOUR)), ..up_to(last) };
    let first = reader.records(&Query { limit: Some(1), ..of_hour }).find_map(Result::ok);
    let border = first.and_then(|record| record.seq).unwrap_or_else(|| last.saturating_add(1));
    let states = Query { after: Some(last.saturating_sub(STATES)), before: Some(border), ..Query::default() };
    let states = Merged::new(reader, &states, &TELLING, &["attached", "detached", "state"]);
    let of_hour = reader.records(&Query { after: Some(border.saturating_sub(1)), ..up_to(last) });
    let (mut page, mut problem) = (Vec::new(), None);
    for record in states.chain(of_hour) {
        match record {
            Ok(record) => page.push(record),
            Err(error) => problem = problem.or(Some(error)),
        }
        if page.len() >= A_PAGE {
            give(&page);
            page.clear();
        }
    }
    give(&page);
    problem
}

#[cfg(test)]
mod tests {
    use super::super::machines::Machines;
    use super::*;
    use crate::daemon::recorder::tests::{Scratch, event};
    use qev_journal::{Journal, Options};

    fn at(mut record: Record, seconds: i64) -> Record {
        record.received = Timestamp { seconds, microseconds: 0 };
        record
    }

    #[test]
    fn a_restart_empties_nothing_the_last_hour_is_there_and_so_is_what_was_told_before() {
        let scratch = Scratch::new();
        let mut journal = Journal::open(&scratch.0, Options::default()).unwrap();
        let mut records = vec![
            at(event("old", "GUEST_PANICKED", 1), 0),
            at(event("old", "RTC_CHANGE", 2), 10),
            at(event("quiet", "RTC_CHANGE", 3), 10),
            at(event("new", "STOP", 4), 9000),
            at(event("old", "RTC_CHANGE", 5), 9001),
            at(event("late", "STOP", 6), 9002),
        ];
        journal.append(&mut records).unwrap();
        let now = Timestamp { seconds: 9003, microseconds: 0 };
        let mut machines = Machines::default();
        let problem = read(&Reader::open(&scratch.0).unwrap(), 5, now, |records| machines.hear_all(records));
        assert!(problem.is_none());
        let names: Vec<_> = machines.all().into_keys().map(|key| key.to_string()).collect();
        assert_eq!(names, ["new", "old"], "'quiet' told nothing of itself, 'late' is followed");
        let old = machines.get("old").unwrap();
        assert_eq!(old.run_state.name(), Some("guest-panicked"));
        assert_eq!(old.panic.as_ref().unwrap().at.seq, Some(1));
        let bars: u32 = old.hour.bars(now).iter().map(|bar| bar.records).sum();
        assert_eq!((bars, old.hour.worst(now).unwrap().seq), (1, Some(5)));
    }
}
