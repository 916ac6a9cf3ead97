//! What was dropped of a machine that had more than its share of the journal, and the gap that tells of it.
//!
//! The gap stands where the last of what was dropped stood, with its number. When more is dropped later, the older gap
//! becomes part of the newer one.

use crate::dictionary::Source;
use qev_qmp::{EventName, Timestamp};
use qev_record::record::Gap;
use qev_record::{Kind, Record, Severity};
use std::collections::BTreeMap;

/// How many names a gap has, and how long one may be. A machine may make up as many as it likes.
const NAMES: usize = 64;
const NAME_BYTES: usize = 128;

/// The reason of such a gap.
pub(crate) const REASON: &str = "it had more than its share of the journal";

const BEFORE_OTHERS: &str = " (other records that went, too: ";

/// What was dropped of one machine.
#[derive(Debug)]
pub(crate) struct Gone {
    /// All up to this number, and the gaps behind it that told of what was dropped before.
    pub(crate) cut: i64,
    /// Where the gap stands.
    pub(crate) at: i64,
    like: Source,
    received: Timestamp,
    missed: BTreeMap<EventName, u64>,
    /// Records that are no events, and events beyond the names that a gap has.
    others: u64,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Gone {
    pub(crate) fn new(like: &Source) -> Gone {
        Gone {
            cut: i64::MIN,
            at: i64::MIN,
            like: like.clone(),
            received: Timestamp::UNKNOWN,
            missed: BTreeMap::new(),
            others: 0,
            from: None,
            until: None,
        }
    }

    /// Counts a record that is dropped.
    pub(crate) fn count(&mut self, seq: i64, source: &Source, received: Timestamp, event: Option<&EventName>) {
        (self.cut, self.at) = (seq, seq);
        self.spans(source, received, received, received);
        match event {
            Some(event) => self.add(event, 1),
            None => self.others = self.others.saturating_add(1),
        }
    }

    /// Counts what a gap of before told of.
    pub(crate) fn join(&mut self, seq: i64, source: &Source, told: &Record) {
        self.at = seq;
        let until = told.until.unwrap_or(told.received);
        self.spans(source, told.received, told.from.unwrap_or(until), until);
        for (event, n) in &told.missed {
            self.add(event, *n);
        }
        self.others = self.others.saturating_add(others_in(told));
    }

    fn spans(&mut self, source: &Source, received: Timestamp, from: Timestamp, until: Timestamp) {
        self.like = source.clone();
        self.received = received;
        self.from = Some(self.from.map_or(from, |before| before.min(from)));
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
    }

    fn add(&mut self, event: &EventName, n: u64) {
        let fits = event.as_str().len() <= NAME_BYTES && (self.missed.len() < NAMES || self.missed.contains_key(event));
        let count = if fits { self.missed.entry(event.clone()).or_default() } else { &mut self.others };
        *count = count.saturating_add(n);
    }

    /// The gap. It is no loss: who set the journal's size asked for this.
    pub(crate) fn record(&self) -> Record {
        let Source { host, machine, machine_id, session, via } = self.like.clone();
        let gap = Gap { from: self.from, until: self.until, missed: self.missed.clone() };
        let reason = match self.others {
            0 => REASON.to_owned(),
            others => format!("{REASON}{BEFORE_OTHERS}{others})"),
        };
        let mut record = Record::gap(host, machine, self.received, gap, &reason);
        (record.machine_id, record.session, record.via) = (machine_id, session, via);
        record.severity = Severity::Info;
        record
    }
}

/// Whether a record is such a gap.
pub(crate) fn tells(record: &Record) -> bool {
    record.kind == Kind::Gap && record.reason.as_ref().is_some_and(|reason| reason.starts_with(REASON))
}

fn others_in(told: &Record) -> u64 {
    let others = told.reason.as_ref().and_then(|reason| reason.split_once(BEFORE_OTHERS));
    others.and_then(|(_, n)| n.strip_suffix(')')?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_before_becomes_part_of_the_next_one() {
        let at = Timestamp::from_micros;
        let source = Source { host: "h1".into(), machine: "web1".into(), machine_id: None, session: None, via: None };
        let mut gone = Gone::new(&source);
        gone.count(1, &source, at(1_000_000), Some(&"STOP".into()));
        gone.count(4, &source, at(4_000_000), None);
        let first = gone.record();
        assert!(tells(&first) && !tells(&Record::gap("h1", "web1", at(0), Gap::default(), "not attached")));
        let mut next = Gone::new(&source);
        next.join(4, &source, &first);
        next.count(9, &source, at(9_000_000), Some(&"STOP".into()));
        next.count(10, &source, at(8_000_000), None);
        let record = next.record();
        assert_eq!((next.cut, next.at), (10, 10));
        assert_eq!(
            &*record.summary,
            "2 events are missing (8.0 s, 2 STOP): it had more than its share of the journal (other records that \
             went, too: 2)"
        );
        assert_eq!((record.received, record.severity), (at(8_000_000), Severity::Info));
    }
}
