//! How many records there were when, by severity: the answer to [`Reader::histogram`](crate::Reader::histogram).

use crate::dictionary::What;
use crate::error::ReadError;
use qev_qmp::Timestamp;
use qev_record::Severity;

/// How many records there were of each severity, the least first.
pub type Bucket = [u64; Severity::ALL.len()];

/// The most buckets that a histogram has.
const BUCKETS: usize = 10_000;

/// How many records there were in each of equal spans of time.
#[derive(Debug)]
#[non_exhaustive]
pub struct Histogram {
    /// The beginning of the first bucket.
    pub from: Timestamp,
    /// How long each bucket is, in microseconds; the last may end behind what was asked for.
    pub step: i64,
    /// The buckets, the oldest first.
    pub buckets: Vec<Bucket>,
    /// How much was read, in records; what a summary tells costs nothing.
    pub read: u64,
    /// Whether all was read. The newest is read first: where it ended is not known.
    pub is_complete: bool,
    /// What could not be read: a segment each, whose records are not counted.
    pub errors: Vec<ReadError>,
}

impl Histogram {
    /// An empty one of so many buckets, at least one, between two times, both included.
    pub(crate) fn new(from: Timestamp, until: Timestamp, buckets: usize) -> Histogram {
        let buckets = buckets.clamp(1, BUCKETS);
        let span = micros(until).saturating_sub(micros(from)).max(0);
        let step = span / i64::try_from(buckets).unwrap_or(i64::MAX);
        Histogram {
            from,
            step: step.saturating_add(1),
            buckets: vec![[0; Severity::ALL.len()]; buckets],
            read: 0,
            is_complete: true,
            errors: Vec::new(),
        }
    }

    /// The bucket of a time in microseconds, if it is in one.
    pub(crate) fn place(&self, received: i64) -> Option<usize> {
        let place = received.checked_sub(micros(self.from))?.div_euclid(self.step);
        usize::try_from(place).ok().filter(|place| *place < self.buckets.len())
    }

    pub(crate) fn add(&mut self, place: usize, what: &What, records: u64) {
        let severity = Severity::ALL.iter().position(|severity| *severity == what.severity);
        let bucket = self.buckets.get_mut(place);
        if let Some(count) = bucket.zip(severity).and_then(|(bucket, severity)| bucket.get_mut(severity)) {
            *count = count.saturating_add(records);
        }
    }
}

fn micros(time: Timestamp) -> i64 {
    time.micros().unwrap_or(if time.seconds < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_between_the_two_is_in_one_bucket() {
        for (from, until, buckets) in [(0, 59, 60), (0, 60, 60), (5, 5, 3), (0, 1_000_000, 7), (-7, 100, 200)] {
            let histogram = Histogram::new(Timestamp::from_micros(from), Timestamp::from_micros(until), buckets);
            let places: Vec<_> = (from..=until).map(|at| histogram.place(at)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{from} {until} {buckets}");
            assert_eq!(histogram.place(from - 1), None);
        }
    }

    #[test]
    fn no_times_are_too_far_apart_or_too_many() {
        let far = |seconds| Timestamp { seconds, microseconds: 0 };
        let histogram = Histogram::new(far(i64::MIN), far(i64::MAX), usize::MAX);
        assert_eq!(histogram.buckets.len(), BUCKETS);
        assert_eq!(Histogram::new(far(10), far(0), 0).buckets.len(), 1);
    }
}
