//! Files of the journal that somebody removes or replaces under the writer: it notices, says which records went, and goes
//! on where others can find it, with the next number.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{AppendError, Journal, OpenError, Options};
use qev_qmp::Timestamp;
use std::fs;

fn gone(journal: &mut Journal, numbers: std::ops::RangeInclusive<i64>) -> String {
    let before = journal.last_seq();
    let mut records = some("web1", numbers);
    let error = journal.append(&mut records).unwrap_err();
    assert!(matches!(error, AppendError::Gone { .. }), "{error:?}");
    assert!(records.iter().all(|record| record.seq.is_none()));
    assert_eq!(journal.last_seq(), before);
    error.to_string()
}

fn seqs(dir: &Scratch) -> Vec<u64> {
    dir.all().iter().filter_map(|record| record.seq).collect()
}

#[test]
fn a_directory_that_vanishes_is_an_error_once_and_is_made_anew_with_the_next_number() {
    // Once with room in the segment, and once where the next group would begin another one.
    for options in [Options::default(), Options::default().segment_bytes(1)] {
        let dir = Scratch::new();
        let mut journal = dir.open(options);
        journal.append(&mut some("web1", 1..=3)).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        let said = gone(&mut journal, 4..=5);
        let lost = "the journal's files were removed or replaced while qev wrote to it: all records up to 3 are lost";
        assert!(said.starts_with("cannot append to the segment ") && said.ends_with(lost), "{said}");
        assert_eq!(journal.take_losses(), [lost.into()]);
        journal.append(&mut some("web1", 4..=5)).unwrap();
        assert_eq!((seqs(&dir), numbers(&dir.all())), (vec![4, 5], vec![4, 5]));
        assert_eq!(journal.take_losses(), []);
        // It is locked where it is now.
        let second = Journal::open(dir.path(), Options::default()).unwrap_err();
        assert!(matches!(second, OpenError::InUse { .. }), "{second}");
        drop(journal);
        let journal = dir.open(Options::default());
        assert_eq!((journal.last_seq(), journal.findings()), (Some(5), &[][..]));
    }
}

#[test]
fn the_newest_file_alone_costs_what_was_in_it() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(60_000));
    for first in (1..=2000).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
    }
    let newest = dir.segments().pop().unwrap();
    let first: i64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(&newest).unwrap();
    let said = gone(&mut journal, 2001..=2001);
    assert!(said.ends_with(&format!("records {first} to 2000 are lost")), "{said}");
    journal.append(&mut some("web1", [2001])).unwrap();
    assert_eq!(numbers(&dir.all()), (1..first).chain([2001]).collect::<Vec<_>>());
}

#[test]
fn a_journal_that_nothing_is_appended_to_is_looked_after_too() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    journal.append(&mut some("web1", 1..=3)).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let retained = journal.retain(Timestamp::from_micros(AT)).unwrap();
    assert!(retained.problem.is_some_and(|problem| problem.ends_with("all records up to 3 are lost")));
    assert_eq!(journal.take_losses().len(), 1);
    journal.append(&mut some("web1", [4])).unwrap();
    assert_eq!(seqs(&dir), [4]);
}

#[test]
fn another_journal_in_its_place_keeps_its_numbers() {
    let (dir, other) = (Scratch::new(), Scratch::new());
    other.open(Options::default()).append(&mut some("db1", 1..=50)).unwrap();
    let mut journal = dir.open(Options::default());
    journal.append(&mut some("web1", 1..=3)).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    fs::rename(other.path(), dir.path()).unwrap();
    gone(&mut journal, 4..=4);
    let mut records = some("web1", [4]);
    journal.append(&mut records).unwrap();
    let all = seqs(&dir);
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    assert_eq!(all.last(), records[0].seq.as_ref());
}
