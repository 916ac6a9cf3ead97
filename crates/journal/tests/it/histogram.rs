//! A histogram counts what reading all records and counting them would, from summaries and from rows, and stops at its
//! budget.

use crate::support::{AT, Scratch};
use proptest::prelude::*;
use qev_journal::{Bucket, Options, Query, Synchronous};
use qev_qmp::Timestamp;
use qev_record::{Filter, Record, Severity};

/// Record number `n`, received so many microseconds after the start.
fn record(n: usize, after: i64) -> Record {
    let mut record =
        Record::attached("h1", if n.is_multiple_of(3) { "a" } else { "b" }, Timestamp::from_micros(AT + after));
    record.severity = Severity::ALL[n % 6];
    record
}

fn scratch(records: impl IntoIterator<Item = Record>) -> Scratch {
    let scratch = Scratch::new();
    let mut journal = scratch.open(Options::default().synchronous(Synchronous::Off).segment_bytes(256 << 10));
    let mut records: Vec<_> = records.into_iter().collect();
    for group in records.chunks_mut(500) {
        journal.append(group).unwrap();
    }
    scratch
}

/// The same, by reading and counting.
fn counted(scratch: &Scratch, filter: &Filter, from: i64, until: i64, buckets: usize) -> Vec<Bucket> {
    let histogram = scratch.reader().histogram(
        &Query::default(),
        Timestamp::from_micros(from),
        Timestamp::from_micros(until),
        buckets,
        0,
    );
    let mut counts = vec![Bucket::default(); buckets];
    for record in scratch.find(&Query { filter: filter.clone(), ..Query::default() }) {
        let received = record.received.micros().unwrap();
        if (from..=until).contains(&received) {
            let place = usize::try_from((received - from) / histogram.step).unwrap();
            let severity = Severity::ALL.iter().position(|severity| *severity == record.severity).unwrap();
            counts[place][severity] += 1;
        }
    }
    counts
}

fn check(scratch: &Scratch, filter: &Filter, from: i64, until: i64, buckets: usize) -> u64 {
    let query = Query { filter: filter.clone(), ..Query::default() };
    let times = (Timestamp::from_micros(from), Timestamp::from_micros(until));
    let histogram = scratch.reader().histogram(&query, times.0, times.1, buckets, u64::MAX);
    assert!(histogram.is_complete && histogram.errors.is_empty());
    assert_eq!(histogram.buckets, counted(scratch, filter, from, until, buckets));
    histogram.read
}

#[test]
fn what_lies_in_one_bucket_is_told_by_summaries_and_borders_are_read() {
    // A second between records: a block of 1024 is about 17 minutes.
    let scratch = scratch((0..10_000).map(|n| record(n, i64::try_from(n).unwrap() * 1_000_000)));
    let end = AT + 10_000_000_000;
    let all = Filter::default();
    let read = check(&scratch, &all, AT, end, 1);
    assert!(read < 1500, "only what has no summary yet is read, not {read}");
    assert!(check(&scratch, &all, AT, end, 60) > 5000, "a block is in several buckets: it is read");
    check(&scratch, &all, AT + 1_234_567, AT + 5_000_000_000, 7);
    let machine = Filter { machines: vec!["a".parse().unwrap()], ..Filter::default() };
    check(&scratch, &machine, AT, end, 5);
    let condition = Filter { wheres: vec!["summary=attached".parse().unwrap()], ..Filter::default() };
    check(&scratch, &condition, AT, end, 3);
    let severe = Filter { severity: Some(Severity::Error), ..Filter::default() };
    check(&scratch, &severe, AT, end, 2);
}

#[test]
fn at_its_budget_it_says_so_and_has_the_newest() {
    let scratch = scratch((0..5000).map(|n| record(n, i64::try_from(n).unwrap())));
    let query = Query::default();
    let from = Timestamp::from_micros(AT);
    let histogram = scratch.reader().histogram(&query, from, Timestamp::from_micros(AT + 4999), 50, 1000);
    assert!(!histogram.is_complete);
    assert!((1000..=1000 + 1024).contains(&histogram.read), "{}", histogram.read);
    let sum = |bucket: &Bucket| bucket.iter().sum::<u64>();
    assert_eq!((sum(&histogram.buckets[49]), sum(&histogram.buckets[0])), (100, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn times_that_go_backwards_are_counted_where_they_belong(
        times in prop::collection::vec(0..1_000_i64, 0..4000),
        from in 0..500_i64,
        span in 0..700_i64,
        buckets in 1..40_usize,
    ) {
        let scratch = scratch(times.iter().enumerate().map(|(n, time)| record(n, *time)));
        check(&scratch, &Filter::default(), AT + from, AT + from + span, buckets);
    }
}
