//! What is appended has numbers, and is there.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Journal, OpenError, Options, Query};
use qev_qmp::Timestamp;
use std::time::Duration;

#[test]
fn what_was_appended_is_there_in_its_order_with_its_numbers() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    assert_eq!((journal.first_seq(), journal.last_seq()), (None, None));
    let (mut first, mut second) = (some("web1", 0..3), some("db1", 3..5));
    journal.append(&mut first).unwrap();
    journal.append(&mut second).unwrap();
    assert_eq!(first.iter().chain(&second).filter_map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((journal.first_seq(), journal.last_seq()), (Some(1), Some(5)));
    let all = [first, second].concat();
    assert_eq!(dir.all(), all);
    drop(journal);
    assert_eq!(dir.all(), all);
}

#[test]
fn numbers_go_on_after_the_journal_was_opened_again() {
    let dir = Scratch::new();
    for n in 0..5 {
        let mut journal = dir.open(Options::default());
        let mut records = some("web1", n..n + 1);
        journal.append(&mut records).unwrap();
        assert_eq!(records[0].seq, Some(u64::try_from(n).unwrap() + 1));
    }
    assert_eq!(numbers(&dir.all()), [0, 1, 2, 3, 4]);
}

#[test]
fn a_group_of_nothing_is_nothing() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    journal.append(&mut []).unwrap();
    assert_eq!(journal.last_seq(), None);
    assert_eq!(dir.all(), []);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let dir = Scratch::new();
    let journal = dir.open(Options::default());
    let error = Journal::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error:?}");
    let path = dir.path().display();
    let said = error.to_string();
    let expected = format!("the journal in {path} is in use by process {} (", std::process::id());
    assert!(said.starts_with(&expected) && said.contains(", user "), "{said}");
    drop(journal);
    dir.open(Options::default());
}

#[test]
fn nobody_but_its_owner_may_open_the_lock() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Scratch::new();
    let lock = dir.path().join("lock");
    // As an older qev made it: every user who may read the directory could lock it.
    std::fs::write(&lock, "").unwrap();
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).unwrap();
    let journal = dir.open(Options::default());
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(journal);
}

#[test]
fn a_segment_ends_by_size_and_is_one_read_only_file_then() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(100_000));
    for group in 0..40 {
        journal.append(&mut some("web1", group * 100..(group + 1) * 100)).unwrap();
    }
    let segments = dir.segments();
    assert!(segments.len() > 2, "{segments:?}");
    for sealed in &segments[..segments.len() - 1] {
        assert!(sealed.metadata().unwrap().permissions().readonly(), "{sealed:?}");
        assert!(!sealed.with_extension("qev-wal").exists());
    }
    assert_eq!(numbers(&dir.all()), (0..4000).collect::<Vec<_>>());
    let newest_first = dir.find(&Query { newest_first: true, ..Query::default() });
    assert_eq!(numbers(&newest_first), (0..4000).rev().collect::<Vec<_>>());
    drop(journal);
    dir.open(Options::default());
    assert_eq!(dir.segments(), segments);
}

#[test]
fn old_segments_are_deleted_and_their_numbers_are_never_given_out_again() {
    let dir = Scratch::new();
    let options = Options::default().segment_age(Duration::from_secs(1)).keep_age(Duration::from_secs(60));
    let mut journal = dir.open(options.clone());
    for second in 0..10 {
        journal.append(&mut some("web1", [second * 2_000_000])).unwrap();
    }
    assert_eq!(dir.segments().len(), 10);
    let now = |seconds: i64| Timestamp::from_micros(AT + seconds * 1_000_000);
    assert_eq!(journal.retain(now(30)).unwrap().segments, 0);
    journal.retain(now(65)).unwrap();
    assert_eq!(journal.first_seq(), Some(4));
    journal.retain(now(1000)).unwrap();
    assert_eq!((journal.first_seq(), journal.last_seq()), (None, Some(10)));
    assert_eq!(dir.all(), []);
    drop(journal);
    let mut journal = dir.open(options);
    assert_eq!(journal.last_seq(), Some(10));
    let mut records = some("web1", [0]);
    journal.append(&mut records).unwrap();
    assert_eq!(records[0].seq, Some(11));
    assert_eq!(journal.first_seq(), Some(11));
}

#[test]
fn a_segment_of_a_clock_that_ran_ahead_is_deleted_with_those_behind_it() {
    let dir = Scratch::new();
    let options = Options::default().segment_bytes(1).keep_age(Duration::from_secs(60));
    let mut journal = dir.open(options);
    let (year, second) = (365 * 24 * 3600 * 1_000_000, 1_000_000);
    for at in [12 * year, 0, -50 * year, second, 100 * second] {
        journal.append(&mut some("web1", [at])).unwrap();
    }
    let now = |at: i64| Timestamp::from_micros(AT + at);
    // The first is from the future: what is behind it says that it is not older than the second.
    assert_eq!(journal.retain(now(30 * second)).unwrap().segments, 0);
    assert_eq!(journal.retain(now(61 * second)).unwrap().segments, 3);
    assert_eq!(numbers(&dir.all()), [second, 100 * second]);
}

#[test]
fn the_oldest_segments_give_way_when_all_together_are_too_large() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(50_000).keep_bytes(150_000));
    for first in (0..6000).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
        journal.retain(Timestamp::from_micros(AT)).unwrap();
    }
    let sizes = dir.segments().iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>();
    assert!(sizes.len() > 1 && sizes.iter().sum::<u64>() < 220_000, "{sizes:?}");
    let first = journal.first_seq().unwrap();
    assert!(first > 3000);
    let left = dir.all();
    assert_eq!((left[0].seq, left.last().unwrap().seq), (Some(first), Some(6000)));
}

#[test]
fn a_segment_without_checksums_is_read_and_nothing_is_appended_to_it() {
    let dir = Scratch::new();
    dir.open(Options::default()).append(&mut some("web1", 1..=100)).unwrap();
    let segment = dir.segments().remove(0);
    let db = rusqlite::Connection::open(&segment).unwrap();
    for table in ["record", "source", "what", "block"] {
        db.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN row_checksum")).unwrap();
    }
    db.execute_batch("ALTER TABLE block DROP COLUMN sources_checksum").unwrap();
    drop(db);
    assert_eq!(numbers(&dir.all()), (1..=100).collect::<Vec<_>>());
    let mut journal = dir.open(Options::default());
    journal.append(&mut some("web1", 101..=200)).unwrap();
    assert_eq!(journal.findings(), []);
    assert_eq!(dir.segments().len(), 2);
    assert_eq!(numbers(&dir.all()), (1..=200).collect::<Vec<_>>());
    let report = dir.reader().check().unwrap();
    assert!(report.is_sound(), "{report}");
}
