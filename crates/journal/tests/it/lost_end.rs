//! SQLite's log beside the newest segment has the records that were committed last. Somebody may remove, cut or change it,
//! under the writer or after it was killed: what can be saved is saved, what is lost is told, and no number is given out
//! twice.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Journal, Options, Query};
use qev_qmp::Timestamp;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn beside(dir: &Scratch, ending: &str) -> PathBuf {
    dir.segments().last().unwrap().with_extension(format!("qev{ending}"))
}

/// What a writer that is killed now leaves behind.
fn killed(dir: &Scratch) -> Scratch {
    let copy = Scratch::new();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        // The index is made anew by who opens it first.
        if !name.to_str().unwrap().ends_with("-shm") {
            fs::copy(file.path(), copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn cut(path: &Path, part: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.set_len(bytes.checked_div(part).unwrap_or(0)).unwrap();
}

fn change(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A journal of 2000 records in groups, of which most stand in SQLite's log.
fn filled() -> (Scratch, Journal) {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    for first in (1..=2000).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
    }
    (dir, journal)
}

fn check_whole(dir: &Scratch, last: i64) {
    assert_eq!(numbers(&dir.all()), (1..=last).collect::<Vec<_>>());
    let report = dir.reader().check().unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_log_that_is_removed_under_the_writer_costs_nothing() {
    for endings in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        for is_idle in [false, true] {
            let (dir, mut journal) = filled();
            // Somebody who reads has the old files open, or makes new ones.
            let mut reading = dir.reader().records(&Query::default());
            reading.next().unwrap().unwrap();
            endings.iter().for_each(|ending| fs::remove_file(beside(&dir, ending)).unwrap());
            dir.reader().records(&Query::default()).for_each(drop);
            if is_idle {
                journal.retain(Timestamp::from_micros(AT)).unwrap();
                check_whole(&killed(&dir), 2000);
            }
            journal.append(&mut some("web1", 2001..=2100)).unwrap();
            journal.append(&mut some("web1", 2101..=2200)).unwrap();
            assert_eq!(journal.take_losses(), []);
            let warnings = journal.take_warnings();
            let expected = ": its log was removed or replaced while qev wrote to it";
            assert!(warnings.len() == 1 && warnings[0].ends_with(expected), "{warnings:?}");
            let copy = killed(&dir);
            check_whole(&copy, 2200);
            let mut journal = copy.open(Options::default());
            assert_eq!((journal.last_seq(), journal.take_losses()), (Some(2200), vec![]));
            journal.append(&mut some("web1", [2201])).unwrap();
            check_whole(&copy, 2201);
        }
    }
}

#[test]
fn a_log_that_is_cut_under_the_writer_is_a_gap() {
    for part in [0, 2] {
        let (dir, mut journal) = filled();
        cut(&beside(&dir, "-wal"), part);
        let mut records = some("web1", 2001..=2100);
        journal.append(&mut records).unwrap();
        assert_eq!(records[0].seq, Some(2001));
        let losses = journal.take_losses();
        let is_told = losses.len() == 1 && losses[0].contains("to 2000 are lost");
        assert!(is_told || part == 0 && losses[0].ends_with("all records up to 2000 are lost"), "{losses:?}");
        let found = numbers(&dir.all());
        assert!(found.ends_with(&(2001..=2100).collect::<Vec<_>>()) && found.len() < 2100, "{found:?}");
        let report = dir.reader().check().unwrap();
        assert!(report.segments.iter().all(|segment| segment.problems.is_empty()), "{report}");
    }
}

#[test]
fn a_log_that_was_lost_after_a_crash_is_a_gap_and_no_number_is_given_out_again() {
    let harms: [fn(&Path); 5] = [
        |log| fs::remove_file(log).unwrap(),
        |log| cut(log, 0),
        |log| cut(log, 2),
        // In the first frame, and in one in the middle.
        |log| change(log, 40),
        |log| change(log, 100_000),
    ];
    for (harm, of_which) in harms.into_iter().zip(["all", "all", "some", "all", "some"]) {
        let (dir, journal) = filled();
        let copy = killed(&dir);
        drop(journal);
        harm(&beside(&copy, "-wal"));
        // Who only reads is told, too.
        let report = copy.reader().check().unwrap();
        let found = i64::try_from(report.records()).unwrap();
        assert_eq!(report.holes, [(report.records() + 1, 2000)], "{report}");
        assert!(if of_which == "all" { found == 0 } else { (100..2000).contains(&found) }, "{found}");
        for round in 0..2 {
            let mut journal = copy.open(Options::default());
            let expected = match found {
                0 => "the end of the journal is missing: all records up to 2000 are lost".to_owned(),
                _ => format!(
                    "the end of the journal is missing: records {} to 2000 are lost (SQLite's log beside \
                     00000000000000000001.qev was removed, cut or changed)",
                    found + 1
                ),
            };
            assert_eq!(journal.take_losses(), if round == 0 { vec![expected.into()] } else { vec![] });
            let mut records = some("web1", [9000]);
            journal.append(&mut records).unwrap();
            assert!(records[0].seq.unwrap() > 2000);
        }
        assert_eq!(numbers(&copy.all()), (1..=found).chain([9000, 9000]).collect::<Vec<_>>());
        assert!(!copy.reader().check().unwrap().is_sound());
    }
}

#[test]
fn a_crash_without_damage_leaves_no_hole_in_the_numbers() {
    let (dir, journal) = filled();
    let copy = killed(&dir);
    drop(journal);
    for dir in [dir, copy] {
        let mut journal = dir.open(Options::default());
        let mut records = some("web1", [2001]);
        journal.append(&mut records).unwrap();
        assert_eq!((records[0].seq, journal.take_losses()), (Some(2001), vec![]));
        check_whole(&dir, 2001);
    }
}

#[test]
fn a_log_without_its_segment_is_set_aside_at_the_first_start() {
    for has_numbers in [true, false] {
        let (dir, journal) = filled();
        let copy = killed(&dir);
        drop(journal);
        let log = beside(&copy, "-wal");
        fs::remove_file(&copy.segments()[0]).unwrap();
        if !has_numbers {
            fs::remove_file(copy.path().join("numbers")).unwrap();
        }
        let mut journal = copy.open(Options::default());
        assert!(!log.exists() && copy.path().join("00000000000000000001.qev.damaged-wal").exists());
        let losses = journal.take_losses();
        let expected = if has_numbers { "all records up to 2000 are lost" } else { "its records from 1 on are lost" };
        assert!(losses.len() == 1 && losses[0].ends_with(expected), "{losses:?}");
        let mut records = some("web1", [1]);
        journal.append(&mut records).unwrap();
        assert!(records[0].seq.unwrap() > 2000);
    }
}

#[test]
fn a_newest_segment_that_is_gone_is_a_gap() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(60_000));
    for first in (1..=2000).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
    }
    drop(journal);
    let newest = dir.segments().pop().unwrap();
    let first: i64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(newest).unwrap();
    let mut journal = dir.open(Options::default());
    let said = format!("the end of the journal is missing: records {first} to 2000 are lost");
    assert_eq!(journal.take_losses(), [said.into()]);
    // It had ended in order, so it is known how far it reached.
    let mut records = some("web1", [2001]);
    journal.append(&mut records).unwrap();
    assert_eq!(records[0].seq, Some(2001));
}

#[test]
fn the_file_of_the_numbers_may_be_removed_or_damaged() {
    let harms: [fn(&Path); 3] = [|file| fs::remove_file(file).unwrap(), |file| cut(file, 2), |file| change(file, 30)];
    for harm in harms {
        let (dir, mut journal) = filled();
        let file = dir.path().join("numbers");
        harm(&file);
        journal.append(&mut some("web1", 2001..=2100)).unwrap();
        journal.retain(Timestamp::from_micros(AT)).unwrap();
        journal.append(&mut some("web1", 2101..=2200)).unwrap();
        drop(journal);
        harm(&file);
        let mut journal = dir.open(Options::default());
        journal.append(&mut some("web1", [2201])).unwrap();
        assert_eq!(journal.take_losses(), []);
        check_whole(&dir, 2201);
    }
}
