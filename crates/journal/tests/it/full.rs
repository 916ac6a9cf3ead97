//! A disk that is full: an error, nothing of the group is kept, and it works again when there is room.

use crate::support::{Scratch, numbers, some};
use qev_journal::{AppendError, Journal, Options, Query, Reader};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "QEV_JOURNAL_TEST_DIRECTORY";

/// Appends groups until one fails; says how many numbers there are, and what went wrong.
fn fill(journal: &mut Journal) -> (i64, AppendError) {
    let mut last = i64::try_from(journal.last_seq().unwrap_or(0)).unwrap();
    loop {
        let mut group = some("web1", last + 1..=last + 50);
        if let Err(error) = journal.append(&mut group) {
            assert!(group.iter().all(|record| record.seq.is_none()));
            assert_eq!(journal.last_seq(), u64::try_from(last).ok().filter(|last| *last > 0));
            return (last, error);
        }
        last += 50;
    }
}

/// The same until nothing more fits: a segment that is opened again after an error has taken in what stood beside it.
fn fill_up(journal: &mut Journal) -> (i64, AppendError) {
    let mut before = -1;
    loop {
        let (last, error) = fill(journal);
        if last == before {
            return (last, error);
        }
        before = last;
    }
}

fn check_all(dir: &Path, last: i64) {
    let reader = Reader::open(dir).unwrap();
    let all: Vec<_> = reader.records(&Query::default()).map(Result::unwrap).collect();
    assert_eq!(numbers(&all), (1..=last).collect::<Vec<_>>());
    assert!(all.iter().all(|record| record.seq == numbers(std::slice::from_ref(record))[0].try_into().ok()));
    let report = reader.check().unwrap();
    assert!(report.is_sound(), "{report}");
}

/// No file may be larger than this: for the kernel that is nearly the same as a full disk, and needs no root.
fn limit_files_to(bytes: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum }).unwrap();
}

/// In a process of its own, since the limit is one of the process; with the signal ignored that would end it.
fn with_limited_files(test: &str, run: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return run(Path::new(&dir));
    }
    let dir = Scratch::new();
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_group_that_has_no_room_is_not_kept_and_the_next_is() {
    with_limited_files("full::a_group_that_has_no_room_is_not_kept_and_the_next_is", |dir| {
        let mut journal = Journal::open(dir, Options::default()).unwrap();
        let mut last = 0;
        for round in 1..=8 {
            limit_files_to(round * 61_000);
            let (full, error) = fill_up(&mut journal);
            let said = error.to_string();
            assert!(said.contains(&dir.display().to_string()), "{said}");
            assert!(full >= last, "{full} {last}");
            last = full;
            limit_files_to(100 << 20);
            check_all(dir, last);
            journal.append(&mut some("web1", [last + 1])).unwrap();
            last += 1;
            check_all(dir, last);
        }
        drop(journal);
        let journal = Journal::open(dir, Options::default()).unwrap();
        assert_eq!((journal.findings(), journal.last_seq()), (&[][..], u64::try_from(last).ok()));
        check_all(dir, last);
    });
}

#[test]
fn damage_that_is_met_while_writing_is_set_aside_and_the_group_is_kept() {
    with_limited_files("full::damage_that_is_met_while_writing_is_set_aside_and_the_group_is_kept", |dir| {
        let mut journal = Journal::open(dir, Options::default()).unwrap();
        journal.append(&mut some("web1", 1..=900)).unwrap();
        drop(journal);
        let mut journal = Journal::open(dir, Options::default()).unwrap();
        // After an error the segment is opened again.
        limit_files_to(1);
        journal.append(&mut some("web1", 901..=1000)).unwrap_err();
        limit_files_to(100 << 20);
        let segment = dir.join("00000000000000000001.qev");
        let mut bytes = fs::read(&segment).unwrap();
        let page = bytes.len() / 4096 - 1;
        bytes[page * 4096..].fill(0xFF);
        fs::write(&segment, bytes).unwrap();
        let mut records = some("web1", 901..=1000);
        journal.append(&mut records).unwrap();
        assert_eq!((records[0].seq, journal.last_seq()), (Some(901), Some(1000)));
        let [finding] = journal.findings() else { panic!("{:?}", journal.findings()) };
        assert_eq!((finding.next, finding.lost_from), (901, None), "{finding}");
        let [(first, last)] = finding.lost[..] else { panic!("{finding}") };
        assert!(first > 800 && last == 900, "{finding}");
        let report = Reader::open(dir).unwrap().check().unwrap();
        assert_eq!((report.holes, report.set_aside.len()), (vec![(first, last)], 1));
    });
}

#[test]
fn small_groups_do_not_make_a_log_that_is_larger_than_a_segment() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(128 << 10));
    for n in 1..=600 {
        journal.append(&mut some("web1", [n])).unwrap();
        let newest = dir.segments().pop().unwrap();
        let log = fs::metadata(format!("{}-wal", newest.display())).unwrap().len();
        // One group more, with the page of each table and index.
        assert!(log < (128 << 10) + (64 << 10), "{log} bytes after {n} records");
    }
}

#[test]
fn a_segment_that_is_sealed_is_a_reason_to_look_for_what_is_too_old() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(60_000).keep_bytes(200_000));
    let mut largest = 0;
    for first in (1..=20_000).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
        while journal.is_retention_due() {
            while journal.retain(qev_qmp::Timestamp::from_micros(crate::support::AT)).unwrap().more {}
        }
        largest = largest.max(fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum());
    }
    // The bound, a segment that is open, its log, and one that is being rewritten.
    assert!(largest < 200_000 + 4 * 128_000, "{largest}");
}

/// A file system of its own, gone in the end.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
#[ignore = "mounts a small tmpfs, which only root may: cargo xtask test"]
fn a_disk_that_is_really_full_is_an_error_until_it_is_not() {
    let dir = Scratch::new();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "qev-test"]).arg(dir.path()).status();
    assert!(mounted.is_ok_and(|status| status.success()), "cannot mount a tmpfs: run this as root");
    let _mount = Mount(dir.path());
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![0; 400_000]).unwrap();
    let mut journal = dir.open(Options::default().segment_bytes(200_000));
    let (mut last, error) = fill_up(&mut journal);
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("database or disk is full"), "{error}");
    fs::remove_file(ballast).unwrap();
    check_all(dir.path(), last);
    let more = fill_up(&mut journal).0;
    assert!(more > last);
    last = more;
    // What is old gives way.
    let retained = {
        drop(journal);
        journal = dir.open(Options::default().segment_bytes(200_000).keep_bytes(600_000));
        journal.retain(qev_qmp::Timestamp::from_micros(crate::support::AT)).unwrap()
    };
    assert!(retained.segments > 0, "{retained:?}");
    journal.append(&mut some("web1", [last + 1])).unwrap();
    drop(journal);
    let journal = dir.open(Options::default());
    assert_eq!((journal.findings(), journal.last_seq()), (&[][..], u64::try_from(last + 1).ok()));
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named_and_can_still_be_read() {
    let dir = Scratch::new();
    dir.open(Options::default()).append(&mut some("web1", 1..=3)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o550)).unwrap();
    assert_eq!(numbers(&dir.all()), [1, 2, 3]);
    fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
}
