//! The last hour of a machine: how many records of which severity a minute had, and which record is the worst.
//!
//! Time is that of the records. A clock that was set leaves minutes in the future or far behind: they are forgotten with
//! the next record, and are not shown.

use qev_qmp::Timestamp;
use qev_record::{Kind, Record, Severity};
use std::collections::VecDeque;

/// An hour, in minutes.
pub(crate) const MINUTES: i64 = 60;

/// The most characters of a name from the wire that are kept.
pub(super) const NAME: usize = 128;

/// What a person is told of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// Its number; none while it is not on disk.
    pub(crate) seq: Option<u64>,
    pub(crate) summary: Box<str>,
    pub(crate) received: Timestamp,
    pub(crate) severity: Severity,
    pub(crate) kind: Kind,
    /// Which event it is, cut when that is long.
    pub(crate) event: Option<Box<str>>,
}

impl Told {
    pub(super) fn of(record: &Record) -> Told {
        Told {
            seq: record.seq,
            summary: record.summary.clone(),
            received: record.received,
            severity: record.severity,
            kind: record.kind.clone(),
            event: record.event.as_ref().map(|event| cut(event.as_str())),
        }
    }
}

/// A text from the wire, no longer than [`NAME`] characters.
pub(super) fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(NAME) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
    }
}

/// The minutes that have records, in the order in which they came, and the worst records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hour {
    minutes: VecDeque<Minute>,
    /// Each less severe than the one before it, and heard after it: what is the worst once those before it are too old.
    worst: VecDeque<Told>,
}

#[derive(Clone, Debug, PartialEq)]
struct Minute {
    /// Minutes since the epoch.
    at: i64,
    /// By severity, the least first.
    counts: [u32; Severity::ALL.len()],
}

/// So many records of this severity in the minute of this number, counted from the beginning of the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) minute: i64,
    pub(crate) severity: Severity,
    pub(crate) records: u32,
}

fn minute(time: Timestamp) -> i64 {
    time.seconds.div_euclid(60)
}

/// Whether a time is in the hour that ends with another one, or no more than an hour behind it.
fn is_near(time: Timestamp, now: Timestamp) -> bool {
    minute(now).saturating_sub(minute(time)).abs() < MINUTES
}

impl Hour {
    /// Follows a record. One that is not on disk comes again when it is, and is counted then.
    pub(super) fn hear(&mut self, record: &Record) {
        let now = record.received;
        self.minutes.retain(|other| minute(now).saturating_sub(other.at).abs() < MINUTES);
        self.worst.retain(|told| is_near(told.received, now));
        while self.worst.back().is_some_and(|told| told.severity <= record.severity) {
            self.worst.pop_back();
        }
        self.worst.push_back(Told::of(record));
        if record.seq.is_none() {
            return;
        }
        let at = minute(now);
        if !self.minutes.iter().rev().any(|known| known.at == at) {
            self.minutes.push_back(Minute { at, counts: [0; Severity::ALL.len()] });
        }
        let counts = self.minutes.iter_mut().rev().find(|known| known.at == at).map(|known| &mut known.counts);
        let place = Severity::ALL.iter().position(|severity| *severity == record.severity);
        if let Some(count) = counts.zip(place).and_then(|(counts, place)| counts.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }

    /// The worst record of the hour before now; of several that are as bad, the last.
    pub(crate) fn worst(&self, now: Timestamp) -> Option<&Told> {
        self.worst.iter().find(|told| is_near(told.received, now))
    }

    /// The first second of the hour that ends with the minute of now.
    pub(crate) fn begin(now: Timestamp) -> Timestamp {
        let first = minute(now).saturating_sub(MINUTES - 1);
        Timestamp { seconds: first.saturating_mul(60), microseconds: 0 }
    }

    /// What there was in each minute of the hour that ends with now, without those in which there was nothing.
    pub(crate) fn bars(&self, now: Timestamp) -> Vec<Bar> {
        let first = minute(now).saturating_sub(MINUTES - 1);
        let mut bars = Vec::new();
        for Minute { at, counts } in &self.minutes {
            let minute = at.saturating_sub(first);
            for (severity, records) in Severity::ALL.into_iter().zip(counts) {
                if (0..MINUTES).contains(&minute) && *records > 0 {
                    bars.push(Bar { minute, severity, records: *records });
                }
            }
        }
        bars.sort_unstable_by_key(|bar| (bar.minute, bar.severity));
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_348_800;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds: NOON + seconds, microseconds: 0 }
    }

    fn record(seconds: i64, seq: Option<u64>, severity: Severity) -> Record {
        let mut record = Record::attached("h1", "web1", at(seconds));
        (record.seq, record.severity) = (seq, severity);
        record
    }

    fn hour(records: &[(i64, u64, Severity)]) -> Hour {
        let mut hour = Hour::default();
        records.iter().for_each(|(seconds, seq, severity)| hour.hear(&record(*seconds, Some(*seq), *severity)));
        hour
    }

    fn worst(hour: &Hour, seconds: i64) -> Option<u64> {
        hour.worst(at(seconds)).and_then(|told| told.seq)
    }

    fn bars(hour: &Hour, seconds: i64) -> Vec<(i64, &'static str, u32)> {
        hour.bars(at(seconds)).into_iter().map(|bar| (bar.minute, bar.severity.as_str(), bar.records)).collect()
    }

    #[test]
    fn the_worst_of_the_hour_gives_way_to_the_next_worst() {
        use Severity::{Critical, Error, Info, Warning};
        let hour = hour(&[(0, 1, Error), (60, 2, Critical), (120, 3, Warning), (180, 4, Error), (240, 5, Info)]);
        assert_eq!(worst(&hour, 300), Some(2));
        assert_eq!(worst(&hour, 3600 + 70), Some(4));
        assert_eq!(worst(&hour, 3600 + 180), Some(5));
        assert_eq!(worst(&hour, 3600 + 240), None);
    }

    #[test]
    fn of_several_that_are_as_bad_the_last_is_told_and_no_more_are_kept_than_there_are_severities() {
        let mut hour = Hour::default();
        for seq in 0..1000_u64 {
            let severity = Severity::ALL[usize::try_from(seq % 6).unwrap()];
            hour.hear(&record(1, Some(seq), severity));
        }
        assert_eq!(worst(&hour, 2), Some(995));
        assert!(hour.worst.len() <= 6 && hour.minutes.len() == 1);
    }

    #[test]
    fn minutes_are_counted_by_severity_and_leave_after_an_hour() {
        use Severity::{Info, Warning};
        let mut hour = hour(&[(0, 1, Info), (59, 2, Warning), (59, 3, Info), (3540, 4, Info)]);
        assert_eq!(bars(&hour, 3599), [(0, "info", 2), (0, "warning", 1), (59, "info", 1)]);
        assert_eq!(bars(&hour, 3600), [(58, "info", 1)]);
        hour.hear(&record(3600, Some(5), Info));
        assert_eq!(hour.minutes.len(), 2);
        assert_eq!(Hour::begin(at(3599)), at(0));
    }

    #[test]
    fn what_is_not_on_disk_is_told_at_once_and_counted_when_it_is() {
        let mut hour = Hour::default();
        hour.hear(&record(0, None, Severity::Critical));
        assert_eq!(hour.worst(at(1)).map(|told| told.severity), Some(Severity::Critical));
        assert_eq!(bars(&hour, 1), []);
        hour.hear(&record(0, Some(7), Severity::Critical));
        assert_eq!((worst(&hour, 1), bars(&hour, 1)), (Some(7), vec![(59, "critical", 1)]));
    }

    #[test]
    fn a_clock_that_was_a_day_ahead_leaves_nothing_when_it_is_right_again() {
        use Severity::{Critical, Info};
        let day = 86_400;
        let hour = hour(&[(0, 1, Info), (day, 2, Critical), (60, 3, Info)]);
        assert_eq!((worst(&hour, 61), bars(&hour, 61)), (Some(3), vec![(59, "info", 1)]));
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(&*cut("STOP"), "STOP");
        let long = cut(&"é".repeat(65_536));
        assert_eq!(long.chars().count(), NAME + 1);
        assert!(long.ends_with("é…"));
    }
}
