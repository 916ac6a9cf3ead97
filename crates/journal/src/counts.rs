//! How many records there are of what: the answer to [`Reader::count`](crate::Reader::count).

use crate::dictionary::What;
use crate::error::ReadError;
use qev_qmp::EventName;
use qev_record::{Kind, Severity};
use std::collections::BTreeMap;

/// How many records there are of each event, kind and severity.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// The counts, none of them 0, in no particular order.
    pub counts: Vec<Count>,
    /// What could not be read: a segment each, whose records are not counted.
    pub errors: Vec<ReadError>,
}

/// How many records there are of one event, kind and severity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Their kind.
    pub kind: Kind,
    /// Which event, if it is one.
    pub event: Option<EventName>,
    /// Their severity.
    pub severity: Severity,
    /// How many there are.
    pub records: u64,
}

impl Counts {
    /// How many records there are in all.
    pub fn records(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(count.records))
    }

    /// How many there are of each event, whatever their severity.
    pub fn by_event(&self) -> BTreeMap<EventName, u64> {
        let mut by_event = BTreeMap::new();
        for count in &self.counts {
            if let Some(event) = &count.event {
                let sum: &mut u64 = by_event.entry(event.clone()).or_default();
                *sum = sum.saturating_add(count.records);
            }
        }
        by_event
    }

    pub(crate) fn add(&mut self, what: &What, records: u64) {
        let is_same = |count: &&mut Count| {
            count.event == what.event && count.severity == what.severity && count.kind == what.kind
        };
        match self.counts.iter_mut().find(is_same) {
            Some(count) => count.records = count.records.saturating_add(records),
            None => {
                let What { kind, event, severity } = what.clone();
                self.counts.push(Count { kind, event, severity, records });
            }
        }
    }
}
