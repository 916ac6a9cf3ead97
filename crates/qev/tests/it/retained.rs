//! What retention deletes is not forgotten: who was attached when the daemon was killed, though the journal has no record of it
//! any more.

use crate::daemon::{Daemon, PATIENCE, dialling, session};
use crate::program::{Scratch, run, stdout, text};
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

fn is(row: &Json, state: &str) -> bool {
    text(row, "state").as_deref() == Some(state)
}
