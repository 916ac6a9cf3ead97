//! `qev serve` when things go wrong: killed in a flood, stopped in a flood, flooded by one machine among others.

use crate::daemon::{Daemon, History, PATIENCE, dialling, emit};
use crate::program::{Raw, Running, Scratch, qev};
use qev_journal::{Query, Reader};
use qev_record::{Kind, Record};
use std::borrow::Borrow;
use std::hash::{Hash as _, Hasher as _};
use std::time::Instant;

/// The number that a machine with `--rate` gave an event.
fn number(record: &Record) -> Option<u64> {
    let is_ost = record.event.as_ref().is_some_and(|event| *event == *"ACPI_DEVICE_OST");
    record.data.as_ref().filter(|_| is_ost)?.get("info")?.get("source")?.value().as_u64()
}

/// Within what a daemon heard of a machine, no number is missing and none is there twice.
fn check_numbers(records: impl IntoIterator<Item = impl Borrow<Record>>, machine: &str) -> u64 {
    let (mut last, mut count) = (None, 0);
    for record in records {
        let record = record.borrow();
        if &*record.machine != machine {
            continue;
        }
        if record.kind == Kind::Attached {
            last = None;
        }
        if let Some(number) = number(record) {
            assert!(last.is_none_or(|last| number == last + 1), "{last:?}, then {record:?}");
            last = Some(number);
            count += 1;
        }
    }
    count
}

/// A record, so short that a million of them can be remembered.
fn digest(record: &Record) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    record.to_line().hash(&mut hasher);
    hasher.finish()
}

/// Machines are dialled by the daemon, so that a round does not wait for them to dial again. What was seen in a round is
/// compared after its kill, and all of it in the end.
#[test]
fn what_a_reader_saw_before_a_kill_is_there_after_it_with_no_hole_and_no_double() {
    let rounds = if std::env::var_os("QEV_TEST_LONG").is_some() { 2000 } else { 5 };
    let scratch = Scratch::new();
    let mut history = History::of(&scratch);
    let _machines = ["web1", "web2"].map(|name| {
        let monitor = scratch.path(&format!("{name}.qmp"));
        Running::until_told(qev(&["simulate", "--name", name, "--qmp", &monitor, "--rate", "2000"]), 1)
    });
    let mut seen: Vec<u64> = Vec::new();
    let mut random = u64::from(std::process::id());
    for round in 1..=rounds {
        let daemon = Daemon::start(&scratch, &["--dial", &scratch.path("*.qmp")]);
        // At a random moment: somewhere in the first thousand records.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let before = seen.len();
        let enough = before + usize::try_from(random >> 54).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while seen.len() <= enough {
            seen.extend(history.new_records().iter().map(digest));
            assert!(Instant::now() < deadline, "round {round}: {} records, and no more", seen.len());
        }
        daemon.kill();
        let there: Vec<u64> = History::behind(&scratch, before).new_records().iter().map(digest).collect();
        let seen_now = &seen[before..];
        assert!(there.len() >= seen_now.len() && there[..seen_now.len()] == *seen_now, "round {round}");
        seen.truncate(before);
        seen.extend(there);
        history = History::behind(&scratch, seen.len());
    }
    let reader = Reader::open(scratch.path("state/journal").as_ref()).unwrap();
    let all = || reader.records(&Query::default()).map(Result::unwrap);
    assert!(all().map(|record| digest(&record)).eq(seen), "what was there in a round is there in the end");
    let counts = ["web1", "web2"].map(|machine| check_numbers(all(), machine));
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_daemon_that_stood_still_has_everything_afterwards() {
    const EVENTS: u64 = 100_000;
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let monitor = scratch.path("web1.sock");
    let _machine = dialling(&scratch, "web1", &["--rate", "10000", "--qmp", &monitor]);
    history.kind(&Kind::State, "web1");
    daemon.signal("STOP");
    // Another monitor hears the events too.
    let mut other = Raw::connect(&monitor);
    let mut heard = 0;
    while heard < EVENTS {
        heard += u64::from(other.line().contains("ACPI_DEVICE_OST"));
    }
    assert_eq!(other.execute("stop", "{}"), r#"{"return": {}}"#);
    daemon.signal("CONT");
    history.event("STOP", "web1");
    let all = History::of(&scratch).new_records();
    assert!(all.iter().all(|record| record.kind != Kind::Gap), "nothing was lost");
    let count = check_numbers(&all, "web1");
    assert!(count >= EVENTS, "{count}");
}

#[test]
fn a_machine_that_floods_delays_no_other() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let _quiet = dialling(&scratch, "quiet", &[]);
    history.kind(&Kind::State, "quiet");
    let _noisy = dialling(&scratch, "noisy", &["--rate", "10000"]);
    history.until("flood", |record| number(record).is_some_and(|number| number > 10_000));
    for event in ["STOP", "RESUME", "WAKEUP"] {
        emit(&scratch, "quiet", event);
        history.event(event, "quiet");
    }
    // Each was there before much of what the other said after it.
    let all = History::of(&scratch).new_records();
    let is_quiet = |record: &&Record| record.kind == Kind::Event && &*record.machine == "quiet";
    for quiet in all.iter().filter(is_quiet) {
        let earlier = all.iter().take_while(|record| record.seq < quiet.seq);
        let between = earlier.filter(|record| record.timestamp > quiet.timestamp).count();
        assert!(between < 100_000, "{between} records of the flood came first");
    }
    assert_eq!(all.iter().filter(is_quiet).count(), 3);
}
