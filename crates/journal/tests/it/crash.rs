//! The writer is killed at random moments: what it said was on disk is there, and the journal opens at once.
//!
//! Each test is its own child: it starts itself again, told by a variable of the environment where to write.

use crate::support::{AT, Scratch, numbered, numbers, rounds};
use qev_journal::{Journal, Options, Query, Reader};
use qev_qmp::Timestamp;
use qev_record::{Kind, Record};
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

/// Which records a writer appends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Those of seven machines that have about as much.
    All,
    /// One machine's, but for one in a hundred.
    Noisy,
}

impl Who {
    fn of(self, n: i64) -> String {
        match self {
            Who::All => format!("web{}", n % 7),
            Who::Noisy => if n % 100 == 0 { "quiet" } else { "noisy" }.to_owned(),
        }
    }
}

/// Appends groups of numbered records, as fast as it can, until it is killed. Record 1 has number 1.
fn write(dir: &Path, options: Options, who: Who) -> ! {
    let mut journal = Journal::open(dir, options).unwrap();
    assert_eq!(journal.findings(), []);
    loop {
        let next = i64::try_from(journal.last_seq().unwrap_or(0)).unwrap() + 1;
        let size = i64::try_from(random(60)).unwrap() + 1;
        let mut group: Vec<_> = (next..next + size).map(|n| numbered(&who.of(n), n)).collect();
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
fn rounds_of_killing(test: &str, options: &Options, who: Who) {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        write(Path::new(&dir), options.clone(), who);
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
        let report = dir.reader().check().unwrap();
        assert!(report.is_sound(), "round {round}: {report}");
        before = last;
        if who == Who::Noisy {
            check_shares(&all, last);
            continue;
        }
        let first = journal.first_seq().unwrap();
        let expected: Vec<_> = (first..=last).collect();
        assert_eq!(all.iter().map(|record| record.seq.unwrap()).collect::<Vec<_>>(), expected, "round {round}");
        assert!(numbers(&all).iter().zip(&expected).all(|(n, seq)| u64::try_from(*n) == Ok(*seq)), "round {round}");
    }
}

/// Whatever was let go of the noisy machine is told, and of the quiet one nothing was.
fn check_shares(all: &[Record], last: u64) {
    let quiet: Vec<_> = all.iter().filter(|record| &*record.machine == "quiet").cloned().collect();
    let expected: Vec<_> = (100..=i64::try_from(last).unwrap()).step_by(100).collect();
    assert_eq!(numbers(&quiet), expected);
    let told: u64 = all.iter().flat_map(|record| record.missed.values()).sum();
    let there = all.iter().filter(|record| record.kind == Kind::Event).count();
    assert_eq!(told + u64::try_from(there).unwrap(), last);
}

#[test]
fn what_was_committed_survives_the_end_of_the_process() {
    rounds_of_killing("crash::what_was_committed_survives_the_end_of_the_process", &Options::default(), Who::All);
}

#[test]
fn so_it_does_when_segments_begin_and_are_deleted_meanwhile() {
    let options = Options::default().segment_bytes(60_000).keep_bytes(300_000);
    rounds_of_killing("crash::so_it_does_when_segments_begin_and_are_deleted_meanwhile", &options, Who::All);
}

#[test]
fn so_it_does_when_segments_are_rewritten_meanwhile() {
    let options = Options::default().segment_bytes(60_000).keep_bytes(300_000);
    rounds_of_killing("crash::so_it_does_when_segments_are_rewritten_meanwhile", &options, Who::Noisy);
}
