//! Damaged files cost what was on the damaged page, or one segment, and each says what it is.

use crate::support::{AT, Scratch, numbers, rounds, some};
use proptest::prelude::*;
use qev_journal::{Journal, OpenError, Options, Query, RECORDS_A_SEGMENT, ReadError, Reader, Synchronous};
use qev_qmp::Timestamp;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

/// So small that there are several segments.
fn small() -> Options {
    Options::default().segment_bytes(60_000).synchronous(Synchronous::Off)
}

/// A journal of records with the numbers 1 to `count`, as their sequence numbers are.
fn filled(count: i64) -> Scratch {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    for first in (1..=count).step_by(100) {
        journal.append(&mut some("web1", first..(first + 100).min(count + 1))).unwrap();
    }
    dir
}

/// Changes bytes of a file, whoever may write to it.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mode = path.metadata().unwrap().permissions();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// What can be read, and what is said about the rest.
fn read(dir: &Scratch) -> (Vec<i64>, Vec<String>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for record in dir.reader().records(&Query::default()) {
        match record {
            Ok(record) => found.push(record),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (numbers(&found), errors)
}

/// What happens to a file.
type Harm = fn(&mut Vec<u8>);

#[test]
fn a_damaged_sealed_segment_costs_itself_only() {
    let harms: [(Harm, &str); 5] = [
        (Vec::clear, "it is empty"),
        (|bytes| bytes.truncate(5000), "database disk image is malformed"),
        (|bytes| bytes[..16].copy_from_slice(b"this is no SQLit"), "file is not a database"),
        (|bytes| bytes[68..72].fill(0), "it is a database, but not of a journal"),
        (|bytes| bytes[5000..].fill(0xA5), "database disk image is malformed"),
    ];
    for (harm, said) in harms {
        let dir = filled(3000);
        let segments = dir.segments();
        assert!(segments.len() > 3, "{segments:?}");
        change(&segments[1], harm);
        let first_of = |n: usize| segments[n].file_stem().unwrap().to_str().unwrap().parse::<i64>().unwrap();
        let (found, errors) = read(&dir);
        assert_eq!(found, (1..first_of(1)).chain(first_of(2)..=3000).collect::<Vec<_>>(), "{said}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let expected = format!("the segment {} is damaged: ", segments[1].display());
        assert!(errors[0].starts_with(&expected) && errors[0].contains(said), "{} does not say {said}", errors[0]);
        let report = dir.reader().check().unwrap();
        assert!(!report.is_sound());
        assert_eq!(report.holes, [(first_of(1).try_into().unwrap(), (first_of(2) - 1).try_into().unwrap())], "{said}");
        // It is no reason not to go on.
        let mut journal = dir.open(small());
        assert_eq!((journal.findings(), journal.last_seq()), (&[][..], Some(3000)));
        journal.append(&mut some("web1", [3001])).unwrap();
        assert_eq!(read(&dir).0.last(), Some(&3001));
    }
}

#[test]
fn one_bit_that_flipped_is_found_by_checking() {
    let dir = filled(1000);
    let segment = &dir.segments()[0];
    change(segment, |bytes| {
        let text = br#""actual": 321"#;
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[at + text.len() - 1] ^= 1;
    });
    let report = dir.reader().check().unwrap();
    let problems = &report.segments[0].problems;
    assert!(problems.iter().any(|problem| problem.ends_with("they are not what was written")), "{report}");
    assert!(!report.is_sound() && report.holes.is_empty());
}

/// Changes one byte of each of these texts in a file, wherever they stand.
fn flip(path: &Path, texts: &[impl AsRef<str>]) {
    change(path, |bytes| {
        for text in texts.iter().map(AsRef::as_ref) {
            let at: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
            assert!(!at.is_empty(), "{text}");
            // The last but one: a digit of a number.
            at.iter().for_each(|at| bytes[at + text.len() - 2] ^= 1);
        }
    });
}

#[test]
fn records_that_are_not_what_was_written_are_named_and_not_delivered() {
    for newest_first in [false, true] {
        let dir = filled(3000);
        let segments = dir.segments();
        let first: i64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let damaged = [first + 10, first + 12, first + 110];
        flip(&segments[1], &damaged.map(|n| format!("\"actual\": {n}}}")));
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for record in dir.reader().records(&Query { newest_first, ..Query::default() }) {
            record.map_or_else(|error| errors.push(error.to_string()), |record| found.push(record));
        }
        let mut found = numbers(&found);
        found.sort_unstable();
        assert_eq!(found, (1..=3000).filter(|n| !damaged.contains(n)).collect::<Vec<_>>());
        let said = errors.join("; ");
        assert!(damaged.iter().all(|n| said.contains(&n.to_string())), "{said}");
        assert!(errors.iter().all(|error| error.ends_with("not what was written")), "{said}");
    }
}

#[test]
fn damage_to_a_dictionary_or_a_summary_hides_no_other_record() {
    // The name of a machine, the name of an event, and the list of sources in the summaries.
    for text in ["web1", "BALLOON_CHANGE"] {
        let dir = Scratch::new();
        let mut journal = dir.open(small());
        for first in (1..=3000).step_by(100) {
            let mut group = some("web1", first..first + 50);
            group.extend(some("db1", first + 50..first + 100));
            group.iter_mut().skip(50).for_each(|record| record.event = Some("STOP".into()));
            journal.append(&mut group).unwrap();
        }
        drop(journal);
        let segments = dir.segments();
        let first_of = |n: usize| segments[n].file_stem().unwrap().to_str().unwrap().parse::<i64>().unwrap();
        flip(&segments[1], &[text]);
        let (found, errors) = read(&dir);
        let is_damaged = |n: &i64| (first_of(1)..first_of(2)).contains(n) && (n - 1) % 100 < 50;
        assert_eq!(found, (1..=3000).filter(|n| !is_damaged(n)).collect::<Vec<_>>(), "{text}");
        assert!(!errors.is_empty() && errors.iter().all(|error| error.ends_with("not what was written")), "{errors:?}");
        assert!(!dir.reader().check().unwrap().is_sound());
    }
}

#[test]
fn a_summary_that_is_not_what_was_written_leaves_nothing_out() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(1 << 20).synchronous(Synchronous::Off));
    journal.append(&mut some("web1", 1..=5000)).unwrap();
    journal.append(&mut some("web1", 5001..=20_000)).unwrap();
    drop(journal);
    let segment = dir.segments().remove(0);
    let db = rusqlite::Connection::open(&segment).unwrap();
    // As if it had nothing of the time that is asked for.
    db.execute("UPDATE block SET received_min = 5, received_max = 6 WHERE first = 1025", []).unwrap();
    drop(db);
    let since = Some(Timestamp::from_micros(AT));
    let filter = qev_record::Filter { since, ..qev_record::Filter::default() };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for record in dir.reader().records(&Query { filter, ..Query::default() }) {
        record.map_or_else(|error| errors.push(error.to_string()), |record| found.push(record));
    }
    assert_eq!(numbers(&found), (1..=20_000).collect::<Vec<_>>());
    assert!(errors.len() == 1 && errors[0].contains("the block with record 2048"), "{errors:?}");
    assert!(!dir.reader().check().unwrap().is_sound());
}

#[test]
fn a_newest_segment_that_cannot_be_opened_is_set_aside_and_its_numbers_are_not_given_out_again() {
    for harm in [Vec::clear, |bytes: &mut Vec<u8>| bytes[..100].fill(0)] {
        let dir = filled(100);
        let [segment] = &dir.segments()[..] else { panic!("more than one segment") };
        change(segment, harm);
        let mut journal = dir.open(small());
        let next = RECORDS_A_SEGMENT + 1;
        let [finding] = journal.findings() else { panic!("{:?}", journal.findings()) };
        assert_eq!((finding.lost_from, finding.next, &finding.saved[..]), (Some(1), next, &[][..]));
        let said = finding.to_string();
        let aside = format!("{}.damaged", segment.display());
        assert!(said.starts_with(&format!("a segment is damaged and was set aside as {aside}: ")), "{said}");
        assert!(
            said.ends_with(
                "none of its records could be saved; what was in it from 1 on is lost; the journal goes on with 1000001"
            ),
            "{said}"
        );
        assert!(Path::new(&aside).exists());
        let report = dir.reader().check().unwrap();
        let [set_aside] = &report.set_aside[..] else { panic!("{report}") };
        assert_eq!((&*set_aside.path, set_aside.numbers, set_aside.saved), (Path::new(&aside), (1, 1_000_000), 0));
        assert!(!report.is_sound());
        let name = Path::new(&aside).file_name().unwrap().to_str().unwrap();
        let lost =
            format!("a segment of the journal was damaged: what was in it from 1 on is lost (set aside as {name})");
        assert_eq!(journal.take_losses(), [lost.into()]);
        assert_eq!(journal.take_losses(), []);
        let mut records = some("web1", [7]);
        journal.append(&mut records).unwrap();
        assert_eq!(records[0].seq, Some(next));
        // Who has seen it and does not need it any more deletes it.
        assert!(!dir.reader().check().unwrap().is_sound());
        for ending in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{aside}{ending}"));
        }
        assert!(dir.reader().check().unwrap().is_sound());
        drop(journal);
        let journal = dir.open(small());
        assert_eq!((journal.findings(), journal.last_seq()), (&[][..], Some(next)));
        assert_eq!(read(&dir), (vec![7], vec![]));
    }
}

#[test]
fn what_can_be_read_of_a_newest_segment_is_saved() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    for first in (1..=900).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
    }
    drop(journal);
    let segment = &dir.segments()[0];
    // A page of records in the middle, and the last one.
    change(segment, |bytes| {
        for page in [bytes.len() / 4096 / 2, bytes.len() / 4096 - 1] {
            bytes[page * 4096..page * 4096 + 100].fill(0xFF);
        }
    });
    let mut journal = dir.open(Options::default());
    let [finding] = journal.findings() else { panic!("{:?}", journal.findings()) };
    let saved: u64 = finding.saved.iter().map(|(first, last)| last - first + 1).sum();
    assert!((700..900).contains(&saved) && finding.lost.len() == 1, "{finding}");
    let (found, errors) = read(&dir);
    assert_eq!((u64::try_from(found.len()).unwrap(), errors), (saved, vec![]));
    let lost = finding.lost[0];
    assert!(found.iter().all(|n| !(lost.0..=lost.1).contains(&u64::try_from(*n).unwrap())));
    let report = dir.reader().check().unwrap();
    assert!(report.segments.iter().all(|segment| segment.problems.is_empty()), "{report}");
    assert_eq!(report.holes, [lost]);
    journal.append(&mut some("web1", [7])).unwrap();
    let (found, last) = (read(&dir).0, finding_next(&journal));
    assert_eq!((found.last(), journal.last_seq()), (Some(&7), Some(last)));
}

fn finding_next(journal: &Journal) -> u64 {
    journal.findings()[0].next
}

#[test]
fn a_segment_of_another_version_is_left_alone() {
    let changed = "no qev writes that, the file's header was changed: restore it, or move it out of the journal";
    for (format, advice) in [(2, "use a newer qev"), (0, changed)] {
        let dir = filled(10);
        let segment = dir.segments().remove(0);
        // Where SQLite keeps `user_version`.
        change(&segment, |bytes| bytes[60..64].copy_from_slice(&[0, 0, 0, format]));
        let said = format!("the segment {} has format {format}, this qev knows 1: {advice}", segment.display());
        let error = Journal::open(dir.path(), small()).unwrap_err();
        assert!(matches!(error, OpenError::Version { found, .. } if found == i64::from(format)), "{error:?}");
        assert_eq!(error.to_string(), said);
        assert_eq!(read(&dir), (vec![], vec![said]));
        assert_eq!(dir.segments(), [segment]);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = filled(10);
    let names = ["notes.txt", "1.qev", "0000000000000000000x.qev", "00000000000000000001.qev.bak"];
    for name in names {
        fs::write(dir.path().join(name), "not ours").unwrap();
    }
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let mut journal = dir.open(small().keep_bytes(1));
    journal.append(&mut some("web1", 11..=2000)).unwrap();
    journal.retain(Timestamp::from_micros(AT)).unwrap();
    assert_eq!(journal.findings(), []);
    assert!(dir.reader().check().unwrap().is_sound());
    assert!(names.iter().all(|name| fs::read(dir.path().join(name)).unwrap() == b"not ours"));
}

#[test]
fn a_place_that_is_none_is_named() {
    let dir = Scratch::new();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::open(&file, small()).unwrap_err();
    let said = format!("cannot keep a journal in {}: expected a directory that can be written to", file.display());
    assert_eq!(error.to_string(), said);
    // Where not even root can make a file.
    let error = Journal::open(Path::new("/sys/kernel"), small()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write /sys/kernel/lock");
    let missing = dir.path().join("missing");
    let error = Reader::open(&missing).unwrap_err();
    assert!(matches!(error, ReadError::NoJournal { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("no journal in {}: there is no such directory", missing.display()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(40, 1000)))]

    /// Whatever happens to a file, nothing panics or hangs, and other segments are not touched.
    #[test]
    fn no_damage_is_worse_than_a_lost_segment(
        which in 0_usize..3,
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        static WHOLE: LazyLock<Scratch> = LazyLock::new(|| filled(2000));
        let dir = Scratch::new();
        for segment in WHOLE.segments() {
            fs::copy(&segment, dir.path().join(segment.file_name().unwrap())).unwrap();
        }
        let segments = dir.segments();
        let harmed = [0, 1, segments.len() - 1][which];
        change(&segments[harmed], |bytes| {
            for (place, byte) in places {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        });
        let first_of = |n: usize| segments.get(n).map_or(2001, |path| {
            path.file_stem().unwrap().to_str().unwrap().parse::<i64>().unwrap()
        });
        let untouched: Vec<_> = (1..=2000).filter(|n| !(first_of(harmed)..first_of(harmed + 1)).contains(n)).collect();
        let all_there = |dir: &Scratch| {
            let (found, _) = read(dir);
            untouched.iter().all(|n| found.contains(n))
        };
        prop_assert!(all_there(&dir));
        dir.reader().check().unwrap();
        dir.reader().count(&Query::default());
        match Journal::open(dir.path(), small()) {
            Ok(mut journal) => {
                let mut records = some("web1", [5000]);
                journal.append(&mut records).unwrap();
                prop_assert!(records[0].seq > Some(2000) || harmed == segments.len() - 1, "{:?}", records[0].seq);
                prop_assert!(all_there(&dir));
                prop_assert_eq!(read(&dir).0.pop(), Some(5000));
            }
            Err(error) => prop_assert!(matches!(error, OpenError::Version { .. }), "{error:?}"),
        }
    }
}
