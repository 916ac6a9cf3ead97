//! What retention deletes is not forgotten: who was attached when the daemon was killed, though the journal has no record of it
//! any more; and which records a reader did not get because they were deleted before it came to them.

use crate::daemon::{Daemon, PATIENCE, dialling, session};
use crate::http::Site;
use crate::program::{Running, Scratch, qev, run, stdout, text};
use qev_journal::{Query, Reader};
use qev_qmp::Json;
use qev_record::{Filter, Kind, Record};
use std::time::{Duration, Instant};

/// A configuration whose journal keeps a few hundred records.
fn small_journal(scratch: &Scratch) -> String {
    let path = scratch.path("qev.toml");
    std::fs::write(&path, "[journal]\nsegment-size = \"64 KiB\"\nkeep-size = \"192 KiB\"\n").unwrap();
    path
}

/// The records of these kinds that the journal has.
fn kept(scratch: &Scratch, kinds: &[Kind]) -> Vec<Record> {
    let Ok(reader) = Reader::open(scratch.path("state/journal").as_ref()) else { return Vec::new() };
    let mut found = Vec::new();
    for kind in kinds {
        let wheres = vec![format!("kind={kind}").parse().unwrap()];
        let query = Query { filter: Filter { wheres, ..Filter::default() }, ..Query::default() };
        found.extend(reader.records(&query).map(Result::unwrap));
    }
    found.sort_by_key(|record| record.seq);
    found
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The rows of `qev machines`.
fn machines(scratch: &Scratch) -> Vec<Json> {
    let output = run(&["machines", "-o", "json", "--state-dir", &scratch.path("state")]);
    assert_eq!(output.status.code(), Some(0));
    stdout(&output).lines().map(|line| Json::parse(line).unwrap()).collect()
}

#[test]
fn a_machine_whose_records_were_deleted_is_missed_after_a_crash() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &["--config", &small_journal(&scratch)]);
    let web1 = dialling(&scratch, "web1", &["--rate", "1000"]);
    let db1 = dialling(&scratch, "db1", &["--rate", "1000"]);
    until("both are attached", || machines(&scratch).iter().filter(|row| is(row, "attached")).count() == 2);
    until("no record says so", || kept(&scratch, &[Kind::Attached]).is_empty());
    daemon.kill();
    let sessions = [session(&db1), session(&web1)];
    drop(db1);

    let mut rows = machines(&scratch);
    rows.sort_by_key(|row| text(row, "machine"));
    let found: Vec<_> = rows.iter().map(|row| text(row, "session").unwrap()).collect();
    assert_eq!(found, sessions);
    let note = "attached when qev was last running, and no qev runs now";
    assert!(rows.iter().all(|row| is(row, "unknown") && text(row, "note").as_deref() == Some(note)), "{rows:?}");

    // Nothing is deleted from here on.
    let daemon = Daemon::start(&scratch, &[]);
    let gap_of = |machine: &str| {
        let gaps = kept(&scratch, &[Kind::Gap]);
        gaps.into_iter().find(|gap| &*gap.machine == machine && gap.until.is_some() && gap.missed.is_empty())
    };
    let told = |machine: &str, kind: &Kind| {
        kept(&scratch, std::slice::from_ref(kind)).into_iter().rfind(|r| &*r.machine == machine)
    };
    until("web1 is back", || told("web1", &Kind::Attached).is_some());
    let (gap, attached) = (gap_of("web1").expect("a gap"), told("web1", &Kind::Attached).unwrap());
    assert!(gap.from < gap.until && gap.seq < attached.seq, "{gap:?} {attached:?}");
    until("db1 is let go", || told("db1", &Kind::Detached).is_some());
    let (gap, detached) = (gap_of("db1").expect("a gap"), told("db1", &Kind::Detached).unwrap());
    assert_eq!(&*detached.summary, "detached: it did not come back after qev was started again");
    assert!(gap.from < gap.until && gap.seq < detached.seq, "{gap:?} {detached:?}");
    assert_eq!((gap.session.as_deref(), detached.session.as_deref()), (Some(&*sessions[0]), Some(&*sessions[0])));
    drop(web1);
    daemon.stop();
}

/// The first and the last number that a gap says are missing.
fn missing(gap: &Json) -> (u64, u64) {
    let number = |path: &str| text(gap, path).unwrap_or_else(|| panic!("{gap:?}")).parse().unwrap();
    assert_eq!((text(gap, "kind").as_deref(), text(gap, "seq")), (Some("gap"), None), "{gap:?}");
    assert!(text(gap, "reason").unwrap().contains("were deleted by retention (keep-size)"), "{gap:?}");
    (number("data.first"), number("data.last"))
}

fn oldest(scratch: &Scratch) -> u64 {
    let reader = Reader::open(scratch.path("state/journal").as_ref()).unwrap();
    reader.records(&Query::default()).find_map(Result::ok).and_then(|record| record.seq).unwrap()
}

/// Checks that lines have each number behind `after` once: of a record, or in a gap. Ends with the first record behind `until`.
fn check_all_told(mut after: u64, until: u64, lines: impl IntoIterator<Item = String>) -> usize {
    let mut gaps = 0;
    for line in lines {
        let record = Json::parse(&line).unwrap();
        match text(&record, "seq") {
            Some(seq) => {
                let seq = seq.parse::<u64>().unwrap();
                // A segment that was rewritten has a gap of its own in place of what went.
                let is_gap = text(&record, "kind").as_deref() == Some("gap");
                assert!(seq == after + 1 || (is_gap && seq > after), "{line}");
                after = seq;
            }
            None => {
                let (first, last) = missing(&record);
                assert_eq!(first, after + 1, "{line}");
                (after, gaps) = (last, gaps + 1);
            }
        }
        if after > until {
            return gaps;
        }
    }
    panic!("it ends with {after}, not with {until}");
}

#[test]
fn a_reader_is_told_what_was_deleted_before_it_came_to_it() {
    let scratch = Scratch::new();
    let site = Site::start_with(&scratch, &["--config", &small_journal(&scratch)]);
    let state = scratch.path("state");
    let follow = ["log", "-f", "-o", "json", "--state-dir", &state];
    let web1 = dialling(&scratch, "web1", &["--rate", "10000"]);
    until("some records", || kept(&scratch, &[Kind::Attached]).len() == 1);
    // Nobody takes what it prints for now.
    let (_slow, mut slow) = Running::with_lines(qev(&follow));
    // More than the daemon has in memory for those who follow, and more than is on the way to this one.
    until("much is deleted", || oldest(&scratch) > 30_000);
    let overtaken = oldest(&scratch);
    assert!(check_all_told(0, overtaken, std::iter::from_fn(|| slow.next())) > 0);

    // Nothing is deleted any more while the others read.
    drop(web1);
    until("the flood is over", || !kept(&scratch, &[Kind::Detached]).is_empty());
    // It goes on behind a number, by each way. What was deleted meanwhile is told together with that.
    let (_behind, mut behind) = Running::with_lines(qev(&[&follow[..], &["--after", "5"]].concat()));
    assert_eq!(check_all_told(5, overtaken, std::iter::from_fn(|| behind.next())), 1);
    let answer = site.get("/api/v1/events?after=5&order=oldest&limit=3");
    let lines: Vec<_> = answer.body.lines().map(str::to_owned).collect();
    assert_eq!((answer.status, lines.len()), (200, 4), "{answer:?}");
    check_all_told(5, missing(&Json::parse(&lines[0]).unwrap()).1 + 2, lines);
    let mut stream = site.follow("?after=5&behind=1000000", "");
    assert_eq!(stream.next().unwrap().event, "hello");
    let gap = stream.next().unwrap();
    let (first, last) = missing(&Json::parse(&gap.data).unwrap());
    assert_eq!((&*gap.event, gap.id, first), ("record", Some(last), 6));
    assert!(stream.record().0 > last);
    // Who begins with what there is has missed nothing.
    let answer = site.get("/api/v1/events?order=oldest&limit=3");
    assert!(answer.body.lines().all(|line| line.starts_with("{\"seq\":")), "{answer:?}");
    site.daemon.kill();
    let output = run(&["log", "-o", "json", "--after", "5", "--state-dir", &state]);
    assert_eq!(output.status.code(), Some(0));
    check_all_told(5, overtaken, stdout(&output).lines().map(str::to_owned));
    let output = run(&["log", "-o", "json", "-n", "3", "--state-dir", &state]);
    assert!(stdout(&output).lines().all(|line| Record::parse(line).unwrap().seq.is_some()));
}

fn is(row: &Json, state: &str) -> bool {
    text(row, "state").as_deref() == Some(state)
}
