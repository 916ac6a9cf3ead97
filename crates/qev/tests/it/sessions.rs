//! Which process is which: the sessions of one machine, and the monitors of one session.

use crate::daemon::{Daemon, History, PATIENCE, dialling, emit, machine, session, signal};
use crate::handover::{NEGOTIATION, QUESTIONS, Scripted, names};
use crate::machines::{machines, text, until};
use crate::program::{Raw, Running, Scratch, exists, qev, run, stdout};
use qev_qmp::Json;
use qev_record::{Kind, Record};
use std::time::{Duration, Instant};

/// Asks until what `qev machines` says is as it should be.
fn until_machines(scratch: &Scratch, what: &str, is: impl Fn(&[Json]) -> bool) -> Vec<Json> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let machines = machines(scratch, &[]);
        if is(&machines) {
            return machines;
        }
        assert!(Instant::now() < deadline, "{what}: {machines:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(records: &[Record], kind: &Kind) -> usize {
    records.iter().filter(|record| record.kind == *kind).count()
}

/// An event that is the same over whichever monitor it comes.
fn event(name: &str, n: u64) -> String {
    format!("{{\"timestamp\": {{\"seconds\": 1795347310, \"microseconds\": {n}}}, \"event\": \"{name}\"}}\r\n")
}

/// One more monitor of this process dials in.
fn dial_in(scratch: &Scratch) -> Scripted {
    let mut monitor = Scripted::dial(scratch);
    monitor.answer_everything(NEGOTIATION + QUESTIONS);
    monitor
}

#[test]
fn two_monitors_of_one_process_are_one_session_and_either_may_end() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let mut first = dial_in(&scratch);
    history.kind(&Kind::State, "raw1");
    let mut second = dial_in(&scratch);
    let is_spare = |all: &[Json]| all.len() == 1 && text(&all[0], "note").starts_with("a spare monitor stands by");
    until_machines(&scratch, "one row, and a spare", is_spare);

    for (n, name) in (1..).zip(["STOP", "RESUME"]) {
        first.say(&event(name, n));
        second.say(&event(name, n));
        history.event(name, "raw1");
    }
    // The second is ahead, then the first is, and ends.
    second.say(&event("SUSPEND", 3));
    history.event("SUSPEND", "raw1");
    first.say(&(event("SUSPEND", 3) + &event("WAKEUP", 4)));
    history.event("WAKEUP", "raw1");
    drop(first);
    until_machines(&scratch, "one row, and no spare", |all| all.len() == 1 && text(&all[0], "note").is_empty());
    second.say(&(event("WAKEUP", 4) + &event("RESET", 5)));
    history.event("RESET", "raw1");
    let expected = ["attached", "state", "STOP", "RESUME", "SUSPEND", "WAKEUP", "RESET"];
    assert_eq!(names(&History::of(&scratch).new_records()), expected);

    // It is a monitor as the first was: one more stands by for it, and with the last the session ends.
    let third = dial_in(&scratch);
    until_machines(&scratch, "one row, and a spare", is_spare);
    drop(third);
    until_machines(&scratch, "one row, and no spare", |all| all.len() == 1 && text(&all[0], "note").is_empty());
    second.say(&event("POWERDOWN", 6));
    history.event("POWERDOWN", "raw1");
    drop(second);
    history.kind(&Kind::Detached, "raw1");
    let all = History::of(&scratch).new_records();
    assert_eq!((count(&all, &Kind::Attached), count(&all, &Kind::Gap), all.len()), (1, 0, expected.len() + 2));
}

/// One monitor dials in, one is dialled. The simulated machine numbers its events.
#[test]
fn a_flood_over_two_monitors_is_recorded_once() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm1.qmp");
    let _daemon = Daemon::start(&scratch, &["--dial", &monitor]);
    let mut history = History::of(&scratch);
    let dial = scratch.path("a.sock");
    let _web1 = machine(&["--name", "web1", "--dial", &dial, "--qmp", &monitor, "--rate", "1000"]);
    until_machines(&scratch, "a spare", |all| all.len() == 1 && text(&all[0], "note").contains("a spare monitor"));
    let seen = history.event("ACPI_DEVICE_OST", "web1").seq.unwrap();
    history.until("more events", |record| record.seq > Some(seen + 1000));
    let all = History::of(&scratch).new_records();
    let numbers = all.iter().filter_map(|record| record.data.as_ref()?.get("info")?.get("source")?.value().as_u64());
    let numbers: Vec<u64> = numbers.collect();
    let broken = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(broken, None, "of {} events", numbers.len());
    assert_eq!((count(&all, &Kind::Attached), count(&all, &Kind::Gap)), (1, 0));
}

/// Each round starts as many machines at once, and ends them in order or by force.
#[test]
fn two_hundred_starts_and_stops_give_no_gap() {
    const MACHINES: usize = 20;
    const ROUNDS: usize = 10;
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut seen = Vec::new();
    let mut history = History::of(&scratch);
    let mut until_all = |kind: &Kind, rounds: usize| {
        let deadline = Instant::now() + PATIENCE;
        while count(&seen, kind) < rounds * MACHINES {
            assert!(Instant::now() < deadline, "no {kind} in round {rounds}: {:?}", names(&seen));
            std::thread::sleep(Duration::from_millis(5));
            seen.extend(history.new_records());
        }
    };
    for round in 1..=ROUNDS {
        let started: Vec<_> = (0..MACHINES)
            .map(|n| {
                let (name, dial, monitor) =
                    (format!("vm{n}"), scratch.path("a.sock"), scratch.path(&format!("{n}.qmp")));
                (machine(&["--name", &name, "--dial", &dial, "--qmp", &monitor]), monitor)
            })
            .collect();
        until_all(&Kind::State, round);
        for (n, (running, monitor)) in started.iter().enumerate() {
            match n % 2 {
                0 => drop(Raw::connect(monitor).execute("quit", "{}")),
                _ => signal(running, "KILL"),
            }
        }
        until_all(&Kind::Detached, round);
    }
    let all = History::of(&scratch).new_records();
    assert_eq!(count(&all, &Kind::Attached), ROUNDS * MACHINES);
    assert_eq!(count(&all, &Kind::Gap), 0, "{:?}", all.iter().find(|record| record.kind == Kind::Gap));
}

#[test]
fn of_two_processes_of_one_name_each_is_told_and_the_one_that_stays_gets_the_name() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let source = dialling(&scratch, "web1", &[]);
    history.kind(&Kind::State, "web1");
    let guest = scratch.path("target");
    let target = machine(&["--name", "web1", "--dial", &scratch.path("a.sock"), "--guest", &guest]);
    history.kind(&Kind::State, "web1");
    emit(&scratch, "target", "RESUME");
    history.event("RESUME", "web1");
    let (plain, own) = (scratch.path("state/share/web1.qmp"), format!("state/share/web1-{}.qmp", target.0.id()));
    let own = scratch.path(&own);
    let rows = until_machines(&scratch, "two rows", |all| all.len() == 2);
    assert!(rows.iter().all(|row| text(row, "note").starts_with("two processes use this name")), "{rows:?}");
    let mut client = Raw::connect(&own);
    assert!(client.execute("query-status", "{}").contains("running"));

    let pids = [source.0.id(), target.0.id()];
    drop(source);
    let detached = history.kind(&Kind::Detached, "web1");
    let rows = until_machines(&scratch, "one row", |all| all.len() == 1 && exists(&plain));
    assert_eq!(text(&rows[0].get("share").unwrap(), "path"), plain);
    assert!(!exists(&own));
    assert!(client.execute("query-status", "{}").contains("running"), "who was there stays");
    assert!(Raw::connect(&plain).execute("query-name", "{}").contains("web1"));

    let log = stdout(&run(&["log", "--state-dir", &scratch.path("state")]));
    let machine_of = |words: &str| {
        let line = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words} in {log}"));
        line.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(machine_of("RESUME"), format!("web1[{}]", pids[1]), "{log}");
    assert_eq!(machine_of(&detached.summary), format!("web1[{}]", pids[0]), "{log}");
    drop(target);
    let detached = history.kind(&Kind::Detached, "web1");
    let log = stdout(&run(&["log", "-n", "1", "--state-dir", &scratch.path("state")]));
    assert!(log.contains(&*detached.summary) && !log.contains('['), "{log}");
}

#[test]
fn a_machine_that_is_stopped_when_qev_is_killed_is_one_that_does_not_answer() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm1.qmp");
    let web1 = Running::until_told(qev(&["simulate", "--name", "web1", "--qmp", &monitor]), 1);
    let dial = ["--dial", &scratch.path("*.qmp")];
    let daemon = Daemon::start(&scratch, &dial);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "web1");
    // A second way to the same socket.
    std::os::unix::fs::symlink(&monitor, scratch.path("other.qmp")).unwrap();
    let rows = until_machines(&scratch, "the other path", |all| text(&all[0], "note").contains("other.qmp"));
    let note = format!("{} is this monitor too: attached as web1", scratch.path("other.qmp"));
    assert_eq!((rows.len(), text(&rows[0], "note")), (1, note));
    std::fs::remove_file(scratch.path("other.qmp")).unwrap();

    signal(&web1, "STOP");
    daemon.kill();
    let _daemon = Daemon::start(&scratch, &dial);
    let silent = until(&scratch, "web1", "silent");
    let note = format!("it does not answer: process {} is stopped by a signal (SIGCONT continues it)", web1.0.id());
    assert_eq!((text(&silent, "note"), text(&silent, "session")), (note, session(&web1)));
    // That it was let go is recorded, and it is one machine still.
    history.kind(&Kind::Detached, "web1");
    let rows = machines(&scratch, &[]);
    assert_eq!((rows.len(), text(&rows[0], "state")), (1, "silent".to_owned()), "{rows:?}");
    signal(&web1, "CONT");
    history.kind(&Kind::Attached, "web1");
    until_machines(&scratch, "one row, attached", |all| all.len() == 1 && text(&all[0], "state") == "attached");
}

/// A real QEMU is started and ends, in order and by force, with and without a second monitor.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_real_qemu_that_is_started_again_has_no_gap_and_one_record_of_each_event() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &["--dial", &scratch.path("second.qmp")]);
    let mut history = History::of(&scratch);
    for round in 0..6 {
        let control = scratch.path("ctl.qmp");
        let mut qemu = std::process::Command::new("qemu-system-x86_64");
        qemu.args(["-M", "pc", "-nodefaults", "-display", "none", "-S", "-m", "64", "-name", "real1"]);
        qemu.arg("-chardev").arg(format!("socket,id=qev,path={},reconnect=1", scratch.path("a.sock")));
        qemu.args(["-mon", "chardev=qev,mode=control", "-qmp"]).arg(format!("unix:{control},server=on,wait=off"));
        if round % 3 == 2 {
            qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", scratch.path("second.qmp")));
        }
        let qemu = qemu.stdin(std::process::Stdio::null()).spawn();
        let mut qemu = Running(qemu.expect("qemu-system-x86_64; install it: apt-get install qemu-system-x86"));
        history.kind(&Kind::State, "real1");
        if round % 3 == 2 {
            until_machines(&scratch, "a spare", |all| {
                all.iter().any(|row| text(row, "note").contains("a spare monitor stands by"))
            });
        }
        let mut control = Raw::connect(&control);
        for command in ["cont", "stop", "cont"] {
            assert_eq!(control.execute(command, "{}"), r#"{"return": {}}"#);
        }
        history.event("STOP", "real1");
        history.event("RESUME", "real1");
        match round % 2 {
            0 => drop(control.execute("quit", "{}")),
            _ => signal(&qemu, "KILL"),
        }
        history.kind(&Kind::Detached, "real1");
        let _ = qemu.0.wait();
    }
    let all = History::of(&scratch).new_records();
    assert_eq!((count(&all, &Kind::Attached), count(&all, &Kind::Gap)), (6, 0));
    let resumed = all.iter().filter(|record| record.event.as_ref().is_some_and(|event| *event == *"RESUME")).count();
    assert_eq!(resumed, 12, "each once");
}
