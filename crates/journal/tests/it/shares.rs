//! A journal with a bound, and a machine that sends more than all others: what it has goes first, and what went is told.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Journal, Options, Query, Retained};
use qev_qmp::Timestamp;
use qev_record::{Filter, Kind, Record, Severity};
use std::sync::atomic::{AtomicBool, Ordering};

const KEEP: u64 = 600_000;

/// How many records the quiet machine sent, long before.
const QUIET: i64 = 100;

fn options() -> Options {
    Options::default().segment_bytes(100_000).keep_bytes(KEEP)
}

fn retain(journal: &mut Journal) -> Retained {
    journal.retain(Timestamp::from_micros(AT)).unwrap()
}

fn retain_all(journal: &mut Journal) {
    while retain(journal).more {}
}

/// Numbered records of a machine that floods.
fn flood(journal: &mut Journal, numbers: std::ops::Range<i64>) {
    for first in numbers.step_by(100) {
        journal.append(&mut some("noisy", first..first + 100)).unwrap();
    }
}

fn of(dir: &Scratch, machine: &str) -> Vec<Record> {
    let machines = vec![machine.parse().unwrap()];
    dir.find(&Query { filter: Filter { machines, ..Filter::default() }, ..Query::default() })
}

fn size(dir: &Scratch) -> u64 {
    dir.segments().iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// The quiet machine has everything, with its numbers; what the other one lacks, gaps tell; its newest is there.
fn check(dir: &Scratch, sent: i64) {
    let quiet = of(dir, "quiet");
    assert_eq!(numbers(&quiet), (0..QUIET).collect::<Vec<_>>());
    assert_eq!(quiet.iter().filter_map(|record| record.seq).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    let noisy = of(dir, "noisy");
    let left = numbers(&noisy);
    let (first, last) = (*left.first().unwrap(), *left.last().unwrap());
    assert_eq!(left, (first..sent).collect::<Vec<_>>());
    assert_eq!(last, sent - 1);
    let told: u64 = noisy.iter().flat_map(|record| record.missed.values()).sum();
    assert_eq!(told, u64::try_from(first).unwrap(), "{:?}", noisy.first());
    assert!(noisy.iter().all(|record| record.kind == Kind::Event || record.kind == Kind::Gap));
    assert!(dir.all().is_sorted_by(|one, next| one.seq < next.seq));
    let counted = dir.reader().count(&Query::default());
    assert!(counted.errors.is_empty(), "{:?}", counted.errors);
    assert_eq!(counted.records(), u64::try_from(dir.all().len()).unwrap());
    let report = dir.reader().check().unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_machine_that_floods_loses_its_own_oldest_history_and_nobody_elses() {
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    journal.append(&mut some("quiet", 0..QUIET)).unwrap();
    for round in 0..20 {
        flood(&mut journal, round * 2000..(round + 1) * 2000);
        retain_all(&mut journal);
        check(&dir, (round + 1) * 2000);
        assert!(size(&dir) <= KEEP, "{}", size(&dir));
    }
    let noisy = of(&dir, "noisy");
    let gap = &noisy[0];
    assert_eq!((&gap.kind, gap.severity), (&Kind::Gap, Severity::Info));
    assert!(gap.summary.ends_with(": it had more than its share of the journal"), "{}", gap.summary);
    assert!(gap.from < gap.until && gap.until == Some(gap.received), "{gap:?}");
    // A fair part of the room was its own to the end.
    let left = noisy.iter().filter(|record| record.kind == Kind::Event).count();
    assert!(left > 2000, "{left}");
    let report = dir.reader().check().unwrap();
    assert!(report.dropped > 30_000, "{report}");
    assert!(report.to_string().contains("records of machines that had more than their share were let go"), "{report}");
    drop(journal);
    let mut journal = dir.open(options());
    assert_eq!(journal.findings(), []);
    retain_all(&mut journal);
    check(&dir, 40_000);
}

#[test]
fn small_remains_of_many_segments_become_one() {
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    journal.append(&mut some("quiet", 0..QUIET)).unwrap();
    for round in 0..60 {
        // Somebody else is in every segment.
        journal.append(&mut some(&format!("other{round}"), 0..1)).unwrap();
        flood(&mut journal, round * 1000..(round + 1) * 1000);
        retain_all(&mut journal);
    }
    for round in 0..60 {
        assert_eq!(numbers(&of(&dir, &format!("other{round}"))), [0]);
    }
    assert!(dir.segments().len() < 20, "{:?}", dir.segments());
    let report = dir.reader().check().unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_crash_at_any_step_of_it_loses_nothing_more() {
    const SENT: i64 = 8000;
    let mut steps = 0;
    loop {
        let dir = Scratch::new();
        let mut journal = dir.open(options());
        journal.append(&mut some("quiet", 0..QUIET)).unwrap();
        flood(&mut journal, 0..SENT);
        let is_done = (0..steps).any(|_| !retain(&mut journal).more);
        // As a process that ends here leaves it.
        drop(journal);
        let mut journal = dir.open(options());
        assert_eq!(journal.findings(), [], "{steps} steps");
        assert!(!dir.path().join("compacting").exists(), "{steps} steps");
        check(&dir, SENT);
        retain_all(&mut journal);
        check(&dir, SENT);
        assert!(size(&dir) <= KEEP, "{steps} steps: {}", size(&dir));
        if is_done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
}

#[test]
fn readers_see_each_record_once_while_segments_are_rewritten() {
    let dir = Scratch::new();
    let is_over = AtomicBool::new(false);
    let mut journal = dir.open(options());
    journal.append(&mut some("quiet", 0..QUIET)).unwrap();
    std::thread::scope(|scope| {
        for newest_first in [false, true] {
            let (dir, is_over) = (&dir, &is_over);
            scope.spawn(move || {
                let mut reads = 0;
                while !is_over.load(Ordering::Relaxed) || reads == 0 {
                    let mut all = dir.find(&Query { newest_first, ..Query::default() });
                    if newest_first {
                        all.reverse();
                    }
                    assert!(all.is_sorted_by(|one, next| one.seq < next.seq));
                    let quiet: Vec<_> = all.into_iter().filter(|record| &*record.machine == "quiet").collect();
                    assert_eq!(numbers(&quiet), (0..QUIET).collect::<Vec<_>>());
                    reads += 1;
                }
            });
        }
        let flooding = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..40 {
                flood(&mut journal, round * 1000..(round + 1) * 1000);
                retain_all(&mut journal);
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        flooding.unwrap();
    });
}

#[test]
fn segments_of_an_older_qev_are_shared_out_too() {
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    journal.append(&mut some("quiet", 0..QUIET)).unwrap();
    flood(&mut journal, 0..8000);
    drop(journal);
    for path in dir.segments() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = path.metadata().unwrap().permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("DROP TABLE share; DROP TABLE compaction").unwrap();
        drop(db);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let mut journal = dir.open(options());
    flood(&mut journal, 8000..12_000);
    retain_all(&mut journal);
    check(&dir, 12_000);
}

#[test]
fn when_a_segment_cannot_be_rewritten_it_goes_whole_and_that_is_told() {
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    journal.append(&mut some("quiet", 0..QUIET)).unwrap();
    flood(&mut journal, 0..8000);
    std::fs::write(dir.path().join("compacting"), "in the way").unwrap();
    let mut problems = Vec::new();
    loop {
        let retained = retain(&mut journal);
        problems.extend(retained.problem);
        if !retained.more {
            break;
        }
    }
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("was deleted whole, it could not be rewritten: "), "{problems:?}");
    assert!(size(&dir) <= KEEP);
    assert!(of(&dir, "quiet").is_empty());
}
