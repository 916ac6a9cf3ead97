//! Readers beside a writer: in another process, slow, of another user; and what a writer leaves behind for them.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Options, Query, Reader, Synchronous, Writer};
use qev_qmp::Timestamp;
use qev_record::Record;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "QEV_JOURNAL_TEST_DIRECTORY";

/// Runs the test again in another process, as this user if one is given, and returns what it printed.
fn in_another_process(test: &str, dir: &Path, user: Option<&str>) -> String {
    let itself = std::env::current_exe().unwrap();
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(itself);
            command
        }
        None => Command::new(itself),
    };
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"];
    let output = command.args(arguments).env(DIRECTORY, dir).stderr(Stdio::inherit()).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let said = output.lines().find_map(|line| line.strip_prefix(SAID));
    said.unwrap_or_else(|| panic!("the other process said nothing: {output}")).to_owned()
}

const SAID: &str = "read: ";

/// In the other process: reads all and says how many records there are, or what was in the way.
fn read_and_say(dir: &Path) {
    let said = match Reader::open(dir) {
        Err(error) => error.to_string(),
        Ok(reader) => {
            let records: Result<Vec<_>, _> = reader.records(&Query::default()).collect();
            records.map_or_else(|error| error.to_string(), |records| format!("{} records", records.len()))
        }
    };
    std::io::stdout().write_all(format!("\n{SAID}{said}\n").as_bytes()).unwrap();
}

#[test]
fn another_process_reads_what_is_committed_while_the_writer_lives() {
    let test = "beside::another_process_reads_what_is_committed_while_the_writer_lives";
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return read_and_say(Path::new(&dir));
    }
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    assert_eq!(in_another_process(test, dir.path(), None), "0 records");
    journal.append(&mut some("web1", 1..=10)).unwrap();
    assert_eq!(in_another_process(test, dir.path(), None), "10 records");
    journal.append(&mut some("web1", 11..=20)).unwrap();
    assert_eq!(in_another_process(test, dir.path(), None), "20 records");
    assert_eq!(dir.reader().writer(), Writer::Process(Some(std::process::id())));
    drop(journal);
    assert_eq!(dir.reader().writer(), Writer::None);
    assert_eq!(in_another_process(test, dir.path(), None), "20 records");
}

#[test]
#[ignore = "becomes another user, which only root may: cargo xtask test"]
fn another_user_reads_what_he_may_and_is_told_what_is_in_the_way() {
    let test = "beside::another_user_reads_what_he_may_and_is_told_what_is_in_the_way";
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return read_and_say(Path::new(&dir));
    }
    let dir = Scratch::new();
    let nobody = |dir: &Path| in_another_process(test, dir, Some("65534"));
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let mut journal = dir.open(Options::default());
    journal.append(&mut some("web1", 1..=10)).unwrap();
    let segment = dir.segments().remove(0);
    let refused = format!("cannot read the segment {}", segment.display());
    assert_eq!(nobody(dir.path()), refused);
    // What the journal's owner may allow.
    let beside = [segment.clone(), segment.with_extension("qev-wal"), segment.with_extension("qev-shm")];
    beside.iter().for_each(|path| mode(path, 0o644));
    assert_eq!(nobody(dir.path()), "10 records");
    // A copy is what a killed writer leaves behind.
    let copy = Scratch::new();
    for path in &beside[..2] {
        fs::copy(path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let said = nobody(copy.path());
    assert!(said.contains("its writer was killed") && said.contains("as that user"), "{said}");
    assert_eq!(copy.all().len(), 10);
    drop(journal);
    assert_eq!(nobody(dir.path()), "10 records");
    mode(dir.path(), 0o700);
    assert_eq!(nobody(dir.path()), format!("cannot read the journal in {}", dir.path().display()));
}

/// In the other process: keeps a lock on a file that it can only read, until somebody closes its standard input.
fn keep_locked(index: &Path) {
    let file = fs::File::open(index).unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
    std::io::stdout().write_all(b"\nlocked\n").unwrap();
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
}

#[test]
fn a_reader_that_keeps_a_lock_does_not_keep_the_writer_from_writing() {
    let test = "beside::a_reader_that_keeps_a_lock_does_not_keep_the_writer_from_writing";
    if let Some(index) = std::env::var_os(DIRECTORY) {
        return keep_locked(Path::new(&index));
    }
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    journal.append(&mut some("web1", 1..=10)).unwrap();
    let index = dir.segments()[0].with_extension("qev-shm");
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, &index)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(other.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap() == "locked"));
    journal.append(&mut some("web1", 11..=20)).unwrap_err();
    journal.append(&mut some("web1", 11..=20)).unwrap();
    let said = journal.take_warnings().join("; ");
    assert!(said.contains(&format!(": process {} (", other.id())) && said.contains("keeps it locked"), "{said}");
    assert_eq!(index.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(numbers(&dir.all()), (1..=20).collect::<Vec<_>>());
    drop(other.stdin.take());
    other.wait().unwrap();
    drop(journal);
    assert!(dir.reader().check().unwrap().is_sound());
}

#[test]
fn a_slow_reader_is_in_nobodys_way() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().synchronous(Synchronous::Off));
    journal.append(&mut some("web1", 1..=3000)).unwrap();
    let mut slow = dir.reader().records(&Query::default());
    let mut found = vec![slow.next().unwrap().unwrap()];
    for first in (3001..80_000).step_by(1000) {
        journal.append(&mut some("web1", first..first + 1000)).unwrap();
    }
    // SQLite puts its log into the file after 4 MiB, unless a reader holds it back.
    let wal = dir.segments()[0].with_extension("qev-wal").metadata().unwrap().len();
    assert!(wal < 6 << 20, "{wal} bytes");
    // So it does when the segment ends.
    drop(journal);
    let mut journal = dir.open(Options::default().synchronous(Synchronous::Off).segment_bytes(1 << 20));
    journal.append(&mut some("web1", [80_001])).unwrap();
    let segments = dir.segments();
    assert_eq!(segments.len(), 2);
    assert!(segments[0].metadata().unwrap().permissions().readonly());
    found.extend(slow.map(Result::unwrap));
    assert_eq!(numbers(&found), (1..=80_000).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_somebody_reads_is_sealed_later() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(1));
    journal.append(&mut some("web1", 1..=10)).unwrap();
    let segment = dir.segments().remove(0);
    let reading = rusqlite::Connection::open(&segment).unwrap();
    let first: i64 = reading.query_row("SELECT min(seq) FROM record", [], |row| row.get(0)).unwrap();
    journal.append(&mut some("web1", 11..=20)).unwrap();
    let is_sealed = || segment.metadata().unwrap().permissions().readonly();
    assert!(!is_sealed());
    assert_eq!((first, numbers(&dir.all())), (1, (1..=20).collect()));
    drop(reading);
    journal.retain(Timestamp::from_micros(AT)).unwrap();
    assert!(is_sealed());
    assert_eq!(numbers(&dir.all()), (1..=20).collect::<Vec<_>>());
    assert!(dir.reader().check().unwrap().is_sound());
}

#[test]
fn a_follower_sees_every_record_once_while_segments_begin_and_end() {
    let dir = Scratch::new();
    let options = Options::default().synchronous(Synchronous::Off).segment_bytes(40_000);
    let mut journal = dir.open(options);
    let reader = dir.reader();
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            let mut found = Vec::new();
            while found.len() < 20_000 {
                let after = found.last().map(|record: &Record| record.seq.unwrap());
                found.extend(reader.records(&Query { after, ..Query::default() }).map(Result::unwrap));
            }
            found
        });
        for first in (1..20_000).step_by(40) {
            journal.append(&mut some("web1", first..first + 40)).unwrap();
        }
        let found = follower.join().unwrap();
        assert_eq!(numbers(&found), (1..=20_000).collect::<Vec<_>>());
        assert!(found.iter().zip(1..).all(|(record, seq)| record.seq == Some(seq)));
    });
    assert!(dir.segments().len() > 10);
    assert!(dir.reader().check().unwrap().is_sound());
}
