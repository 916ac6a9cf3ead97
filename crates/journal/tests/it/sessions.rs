//! Open sessions: neither retention nor damage nor a crash of the writer makes the journal forget which machines are attached.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Journal, Options, Query};
use qev_qmp::Timestamp;
use qev_record::{Kind, Record};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Duration;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(AT + micros)
}

/// The record with which a session of a machine begins.
fn attached(machine: &str, session: &str) -> Record {
    let mut record = Record::attached("h1", machine, at(0));
    (record.machine_id, record.session) = (Some("u1".into()), Some(session.into()));
    record.summary = "attached: by a test".into();
    record
}

/// The record with which it ends.
fn detached(machine: &str, session: &str) -> Record {
    let mut record = Record::detached("h1", machine, at(0), "killed");
    (record.machine_id, record.session) = (Some("u1".into()), Some(session.into()));
    record
}

/// The open sessions that a reader finds, all of it readable.
fn check(dir: &Scratch, expected: &[&str]) {
    let found = dir.reader().open_sessions().unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let sessions: Vec<_> = found.attached.iter().map(|record| record.session.as_deref().unwrap()).collect();
    assert_eq!(sessions, expected);
}

fn is_kept(dir: &Scratch, kind: &Kind) -> bool {
    dir.all().iter().any(|record| record.kind == *kind)
}

/// Appends records of the same machine, so that no quota protects it, until those that are there now are deleted.
fn push_out(dir: &Scratch, journal: &mut Journal) {
    let last = journal.last_seq().unwrap();
    let mut n = 0;
    while journal.first_seq().unwrap() <= last {
        let mut records = some("web1", n..n + 100);
        records.iter_mut().for_each(|record| record.machine_id = Some("u1".into()));
        journal.append(&mut records).unwrap();
        n += 100;
        while journal.retain(at(0)).unwrap().more {}
        assert!(n < 100_000, "{:?}", dir.segments());
    }
}

fn small() -> Options {
    Options::default().segment_bytes(20_000).keep_bytes(100_000)
}

#[test]
fn stay_known_when_retention_deletes_their_records() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    let mut records = [attached("web1", "a"), attached("web1", "b"), attached("web1", "c"), detached("web1", "b")];
    journal.append(&mut records).unwrap();
    check(&dir, &["a", "c"]);
    push_out(&dir, &mut journal);
    assert!(!is_kept(&dir, &Kind::Attached));
    // The whole record is there, beside the writer, without one, and beside the next.
    let whole = || dir.reader().open_sessions().unwrap().attached.remove(0);
    assert_eq!(whole(), records[0]);
    drop(journal);
    assert_eq!(whole(), records[0]);
    let mut journal = dir.open(small());
    check(&dir, &["a", "c"]);
    journal.append(&mut [detached("web1", "a"), attached("web1", "d"), detached("web1", "d")]).unwrap();
    check(&dir, &["c"]);
    push_out(&dir, &mut journal);
    check(&dir, &["c"]);
}

#[test]
fn a_session_that_is_attached_again_is_known_by_its_last_record() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    journal.append(&mut [attached("web1", "a")]).unwrap();
    journal.append(&mut [attached("web1", "a")]).unwrap();
    let found = dir.reader().open_sessions().unwrap().attached;
    assert_eq!(found.iter().map(|record| record.seq).collect::<Vec<_>>(), [Some(2)]);
}

#[test]
fn a_quiet_machine_stays_known_when_everything_is_too_old() {
    let dir = Scratch::new();
    let options = Options::default().keep_age(Duration::from_secs(5)).segment_age(Duration::from_secs(2));
    let mut journal = dir.open(options);
    journal.append(&mut [attached("web1", "a")]).unwrap();
    journal.append(&mut some("web1", [1_000_000])).unwrap();
    for seconds in 1..80 {
        journal.retain(at(seconds * 1_000_000)).unwrap();
    }
    assert!(dir.all().is_empty());
    check(&dir, &["a"]);
    let heard = || dir.reader().open_sessions().unwrap().heard;
    assert_eq!(heard(), Some(at(1_000_000)), "when the last record was received");
    journal.heard(at(80_000_000)).unwrap();
    assert_eq!(heard(), Some(at(80_000_000)), "as the writer says");
    drop(journal);
    let mut journal = dir.open(Options::default());
    assert_eq!(heard(), Some(at(80_000_000)));
    journal.append(&mut some("web1", [81_000_000])).unwrap();
    assert_eq!(heard(), Some(at(81_000_000)));
}

#[test]
fn a_damaged_newest_segment_costs_no_session() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    journal.append(&mut [attached("web1", "a")]).unwrap();
    push_out(&dir, &mut journal);
    journal.append(&mut [attached("web1", "b")]).unwrap();
    drop(journal);
    let newest = dir.segments().pop().unwrap();
    let mut file = std::fs::File::options().write(true).open(&newest).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[0x55; 100]).unwrap();
    drop(file);
    let found = dir.reader().open_sessions().unwrap();
    assert_eq!(found.attached.len(), 1, "what the segment before it has");
    assert!(!found.problems.is_empty());
    let mut journal = dir.open(small());
    assert_eq!(journal.findings().len(), 1);
    journal.append(&mut some("web1", [1])).unwrap();
    let found = dir.reader().open_sessions().unwrap();
    assert!(found.attached.iter().any(|record| record.session.as_deref() == Some("a")), "{found:?}");
}

#[test]
fn segments_that_lack_the_table_are_read_for_their_records_and_get_it() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    journal.append(&mut [attached("web1", "a"), attached("web1", "b"), detached("web1", "a")]).unwrap();
    drop(journal);
    for path in dir.segments() {
        let without = "DROP TABLE session; ALTER TABLE segment DROP COLUMN heard_after; \
                       ALTER TABLE segment DROP COLUMN heard_until";
        rusqlite::Connection::open(&path).unwrap().execute_batch(without).unwrap();
    }
    check(&dir, &["b"]);
    let mut journal = dir.open(small());
    check(&dir, &["b"]);
    journal.append(&mut some("web1", [1])).unwrap();
    check(&dir, &["b"]);
    push_out(&dir, &mut journal);
    assert!(!is_kept(&dir, &Kind::Attached));
    check(&dir, &["b"]);
}

#[test]
fn segments_have_room_for_records_beside_many_sessions() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(20_000));
    let mut records: Vec<_> = (0..1000).map(|n| attached("web1", &format!("pid-{n}@12345678"))).collect();
    journal.append(&mut records).unwrap();
    for first in 0..100 {
        journal.append(&mut some("web1", first..first + 1)).unwrap();
    }
    assert_eq!(numbers(&dir.all()).len(), 100);
    assert!(dir.segments().len() < 4, "{:?}", dir.segments());
    assert_eq!(dir.reader().open_sessions().unwrap().attached.len(), 1000);
    assert!(dir.reader().check().unwrap().is_sound());
}

#[test]
fn removed_files_are_begun_anew_with_the_sessions() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    journal.append(&mut [attached("web1", "a")]).unwrap();
    for path in dir.segments() {
        std::fs::remove_file(path).unwrap();
    }
    assert!(journal.append(&mut some("web1", [1])).is_err());
    journal.append(&mut some("web1", [1])).unwrap();
    check(&dir, &["a"]);
    assert_eq!(dir.find(&Query::default()).len(), 1);
}
