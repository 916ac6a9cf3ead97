//! The writer is killed at random moments: what it said was on disk is there, and the journal opens at once.
//!
//! Each test is its own child: it starts itself again, told by a variable of the environment where to write.

use crate::support::{AT, Scratch, numbered, numbers, rounds};
use qev_journal::{Journal, Options, Query, Reader};
use qev_qmp::Timestamp;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DIRECTORY: &str = "QEV_JOURNAL_TEST_DIRECTORY";

/// What the child prints before each number, to be told from what the test harness prints.
const COMMITTED: &str = "committed ";

/// Any number below another.
fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Appends groups of numbered records, as fast as it can, until it is killed. Record 1 has number 1.
fn write(dir: &Path, options: Options) -> ! {
    let mut journal = Journal::open(dir, options).unwrap();
    assert_eq!(journal.findings(), []);
    loop {
        let next = i64::try_from(journal.last_seq().unwrap_or(0)).unwrap() + 1;
        let size = i64::try_from(random(60)).unwrap() + 1;
        let mut group: Vec<_> = (next..next + size).map(|n| numbered(&format!("web{}", n % 7), n)).collect();
        journal.append(&mut group).unwrap();
        // In one piece, so that a number is never printed in part.
        std::io::stdout().write_all(format!("{COMMITTED}{}\n", journal.last_seq().unwrap()).as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        journal.retain(Timestamp::from_micros(AT)).unwrap();
    }
}

/// Starts the test again as a child, kills it after some commits, and says what it last committed.
fn kill_a_writer(test: &str, dir: &Path) -> u64 {
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let committed = |line: &String| line.strip_prefix(COMMITTED).map(|n| n.parse::<u64>().unwrap());
    let commits = usize::try_from(random(40)).unwrap() + 1;
    let mut last = lines.by_ref().filter_map(|line| committed(&line)).take(commits).last().unwrap_or(0);
    std::thread::sleep(Duration::from_micros(random(3000)));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "the writer ended by itself: {status}");
    // What was printed until then, in full or not.
    last = lines.filter(|line| line.starts_with(COMMITTED)).filter_map(|line| committed(&line)).last().unwrap_or(last);
    assert!(last > 0, "the writer committed nothing");
    last
}

/// Kills writers again and again, and looks what is there each time.
fn rounds_of_killing(test: &str, options: &Options) {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        write(Path::new(&dir), options.clone());
    }
    let dir = Scratch::new();
    let mut before = 0;
    for round in 0..rounds(20, 200) {
        let printed = kill_a_writer(test, dir.path());
        // A reader alone, as who looks at it before the daemon is up again.
        let seen = Reader::open(dir.path()).unwrap().records(&Query::default()).map(Result::unwrap).last().unwrap();
        let journal = dir.open(options.clone());
        assert_eq!(journal.findings(), [], "round {round}");
        let last = journal.last_seq().unwrap();
        assert!(last >= printed && last >= before, "round {round}: {printed} was committed, {last} is the last");
        assert_eq!(seen.seq, Some(last), "round {round}");
        let all = dir.all();
        let first = journal.first_seq().unwrap();
        let expected: Vec<_> = (first..=last).collect();
        assert_eq!(all.iter().map(|record| record.seq.unwrap()).collect::<Vec<_>>(), expected, "round {round}");
        assert!(numbers(&all).iter().zip(&expected).all(|(n, seq)| u64::try_from(*n) == Ok(*seq)), "round {round}");
        let report = dir.reader().check().unwrap();
        assert!(report.is_sound(), "round {round}: {report}");
        before = last;
    }
}

#[test]
fn what_was_committed_survives_the_end_of_the_process() {
    rounds_of_killing("crash::what_was_committed_survives_the_end_of_the_process", &Options::default());
}

#[test]
fn so_it_does_when_segments_begin_and_are_deleted_meanwhile() {
    let options = Options::default().segment_bytes(60_000).keep_bytes(300_000);
    rounds_of_killing("crash::so_it_does_when_segments_begin_and_are_deleted_meanwhile", &options);
}
