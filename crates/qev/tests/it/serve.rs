//! `qev serve`: machines that dial in and machines that are dialled, their history, and what becomes of it when the daemon
//! is stopped or killed.

use crate::daemon::{Daemon, History, NO_FSYNC, dialling, emit, machine, session, signal};
use crate::program::{Raw, Running, Scratch, exists, qev, run, stderr};
use qev_record::{Kind, Severity};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

#[test]
fn machines_that_dial_and_machines_that_are_dialled_are_attached_and_their_events_kept() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &["--dial", &scratch.path("vm*.sock")]);
    let mut history = History::of(&scratch);
    let web1 = dialling(&scratch, "web1", &["--balloon"]);
    let attached = history.kind(&Kind::Attached, "web1");
    assert_eq!(attached.session.as_deref(), Some(&*session(&web1)));
    assert!(attached.summary.contains("dialled in"), "{}", attached.summary);
    assert_eq!(attached.uid, Some(rustix::process::getuid().as_raw()));
    let state = history.kind(&Kind::State, "web1");
    assert_eq!(&*state.summary, "on attach: running, balloon at 128 MiB");
    let asked = ["query-status", "query-name", "query-uuid", "query-balloon", "query-acpi-ospm-status"];
    assert!(asked.iter().all(|command| state.data.as_ref().unwrap().get(command).is_some()), "{state:?}");

    // It appears while the daemon runs.
    let uuid = "3f2a9c1e-0000-4000-8000-000000000001";
    let guest = scratch.path("guest");
    let db1 = machine(&["--uuid", uuid, "--qmp", &scratch.path("vm1.sock"), "--guest", &guest]);
    let attached = history.kind(&Kind::Attached, "vm1");
    assert_eq!(attached.machine_id.as_deref(), Some(uuid));
    assert_eq!(attached.session.as_deref(), Some(&*session(&db1)));

    emit(&scratch, "web1", "STOP");
    emit(&scratch, "guest", "RESUME");
    assert_eq!(history.event("STOP", "web1").session.as_deref(), Some(&*session(&web1)));
    assert_eq!(history.event("RESUME", "vm1").machine_id.as_deref(), Some(uuid));

    daemon.stop();
    for _ in 0..2 {
        let detached = history.until("detached", |record| record.kind == Kind::Detached);
        assert_eq!((detached.reason.as_deref(), detached.severity), (Some("qev was stopped"), Severity::Notice));
    }
    assert!(!exists(&scratch.path("a.sock")), "what was made is removed");
}

#[test]
fn a_terminal_that_goes_away_ends_it_in_order_unless_it_was_started_to_outlive_that() {
    let scratch = Scratch::new();
    let mut history = History::of(&scratch);
    let daemon = Daemon::start(&scratch, &[]);
    let _web1 = dialling(&scratch, "web1", &[]);
    history.kind(&Kind::State, "web1");
    daemon.stop_by("HUP");
    assert_eq!(history.kind(&Kind::Detached, "web1").reason.as_deref(), Some("qev was stopped"));
    assert!(!exists(&scratch.path("a.sock")) && !exists(&scratch.path("state/qev.sock")));

    let daemon = Daemon::start_after(&scratch, "trap '' HUP", &[]);
    daemon.signal("HUP");
    history.kind(&Kind::State, "web1");
    emit(&scratch, "web1", "STOP");
    history.event("STOP", "web1");
    daemon.stop();
}

#[test]
fn a_state_that_cannot_be_kept_there_is_refused_before_anything_is_made() {
    let scratch = Scratch::new();
    let long = scratch.path(&"a".repeat(100));
    let file = scratch.image("file", &[]);
    for (dir, expected) in [(&long, "and none can have more than 107: keep"), (&file, "it is no folder, and the state")]
    {
        let output = run(&["serve", "--state-dir", dir, "--attach", &scratch.path("a.sock"), "--http", "none"]);
        assert!(stderr(&output).starts_with(&format!("qev: {dir}: ")), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(1));
    }
    assert!(!exists(&long));
}

#[test]
fn a_path_of_the_command_line_may_be_written_as_for_qemu_and_from_any_folder() {
    let scratch = Scratch::new();
    let _vm1 = machine(&["--qmp", &scratch.path("vm1.sock")]);
    let mut command = qev(&["serve", "--state-dir", "state", "--attach", "a.sock", "--http", "none", NO_FSYNC]);
    command.args(["--dial", "unix:vm1.sock,server=on"]).current_dir(scratch.path(""));
    let mut child = command.env("XDG_CONFIG_HOME", scratch.path("none")).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut told).unwrap();
    let _daemon = Running(child);
    assert_eq!(told, format!("qev: listening at {}\n", scratch.path("a.sock")));
    History::of(&scratch).kind(&Kind::Attached, "vm1");

    for (pattern, expected) in [
        (
            "tcp:localhost:4444",
            "a machine over TCP needs a name. Put it into the configuration: a line [[machine]], then name",
        ),
        ("fd:3", "'fd:3' is no path"),
        ("unix:", "'unix:' without a path: expected unix:PATH"),
    ] {
        let output = run(&["serve", "--dial", pattern, "--state-dir", &scratch.path("other")]);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{pattern}");
    }
}

#[test]
fn how_a_machine_ended_is_told_from_how_another_did() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let mut killed = dialling(&scratch, "killed", &[]);
    history.kind(&Kind::State, "killed");
    // Its parent does not ask for its status before it was seen.
    signal(&killed, "KILL");
    let detached = history.kind(&Kind::Detached, "killed");
    assert_eq!(detached.severity, Severity::Critical);
    assert_eq!(detached.reason.as_deref(), Some(&*format!("process {} was killed by SIGKILL", killed.0.id())));
    killed.0.wait().unwrap();

    let mut quits = machine(&["--name", "quits", "--dial", &scratch.path("a.sock"), "--qmp", &scratch.path("q.sock")]);
    history.kind(&Kind::State, "quits");
    Raw::connect(&scratch.path("q.sock")).execute("quit", "{}");
    let detached = history.kind(&Kind::Detached, "quits");
    assert_eq!(detached.severity, Severity::Notice, "{detached:?}");
    assert!(detached.reason.as_deref().unwrap().starts_with("the machine shut down (host-qmp-quit)"), "{detached:?}");
    assert_eq!(quits.status(), 0);

    let panics = dialling(&scratch, "panics", &["--panic", "exit-failure"]);
    history.kind(&Kind::State, "panics");
    run(&["send", &scratch.path("panics"), "panic"]);
    let detached = history.kind(&Kind::Detached, "panics");
    let ended = format!("the machine shut down (guest-panic); process {} ended with status 1", panics.0.id());
    assert_eq!(detached.reason.as_deref(), Some(&*ended));
}

#[test]
fn two_sessions_that_claim_one_uuid_are_two() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let uuid = "3f2a9c1e-0000-4000-8000-000000000002";
    let one = dialling(&scratch, "one", &["--uuid", uuid]);
    let other = dialling(&scratch, "other", &["--uuid", uuid]);
    let mut attached = [1, 2].map(|_| history.until("attached", |record| record.kind == Kind::Attached));
    attached.sort_by(|one, other| one.machine.cmp(&other.machine));
    for (record, running, name) in [(&attached[0], &one, "one"), (&attached[1], &other, "other")] {
        assert_eq!((record.machine_id.as_deref(), &*record.machine), (Some(uuid), name));
        assert_eq!(record.session.as_deref(), Some(&*session(running)));
    }
    emit(&scratch, "other", "STOP");
    assert_eq!(history.event("STOP", "other").session.as_deref(), Some(&*session(&other)));
}

#[test]
fn one_that_comes_back_has_a_gap_before_it_and_a_process_that_did_not_exist_has_none() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let first = dialling(&scratch, "web1", &[]);
    history.kind(&Kind::State, "web1");
    drop(first);
    history.kind(&Kind::Detached, "web1");
    let web1 = dialling(&scratch, "web1", &[]);
    let attached = history.kind(&Kind::Attached, "web1");
    assert_eq!(attached.session.as_deref(), Some(&*session(&web1)));
    let all = History::of(&scratch).new_records();
    assert!(all.iter().all(|record| record.kind != Kind::Gap), "{all:?}");

    // Told to stop.
    daemon.stop();
    let detached = history.kind(&Kind::Detached, "web1");
    let daemon = Daemon::start(&scratch, &[]);
    let gap = history.kind(&Kind::Gap, "web1");
    assert_eq!((gap.from, gap.session.as_deref()), (Some(detached.received), Some(&*session(&web1))));
    assert_eq!(history.kind(&Kind::Attached, "web1").received, gap.until.unwrap());
    history.kind(&Kind::State, "web1");

    // Another process that runs before the next daemon does: what it said since its start is missing, and nothing before.
    daemon.stop();
    let detached = history.kind(&Kind::Detached, "web1");
    drop(web1);
    let web1 = dialling(&scratch, "web1", &[]);
    let session_of_web1 = session(&web1);
    let daemon = Daemon::start(&scratch, &[]);
    let gap = history.kind(&Kind::Gap, "web1");
    assert_eq!(gap.session.as_deref(), Some(&*session_of_web1));
    assert!(gap.from.unwrap() > detached.received && gap.from < gap.until, "{detached:?} {gap:?}");
    history.kind(&Kind::State, "web1");

    // Killed: nobody said that it was let go.
    emit(&scratch, "web1", "STOP");
    let last = history.event("STOP", "web1");
    daemon.kill();
    let _daemon = Daemon::start(&scratch, &[]);
    let gap = history.kind(&Kind::Gap, "web1");
    assert!(gap.from.unwrap() <= last.received && gap.until.unwrap() > last.received, "{gap:?}");
    history.kind(&Kind::Attached, "web1");
    history.kind(&Kind::State, "web1");
}

#[test]
fn one_that_does_not_come_back_after_a_crash_is_let_go() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    let web1 = dialling(&scratch, "web1", &[]);
    let attached = history.kind(&Kind::Attached, "web1");
    daemon.kill();
    drop(web1);
    let _daemon = Daemon::start(&scratch, &[]);
    let gap = history.kind(&Kind::Gap, "web1");
    assert_eq!((gap.reason.as_deref(), &gap.session), (Some("qev was not running"), &attached.session));
    history.kind(&Kind::Detached, "web1");
}

#[test]
fn a_monitor_that_another_holds_is_left_alone_until_it_is_free() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm1.sock");
    let _machine = Running::until_told(qev(&["simulate", "--name", "web1", "--qmp", &monitor]), 1);
    let mut other = Raw::connect(&monitor);
    let _daemon = Daemon::start(&scratch, &["--dial", &monitor]);
    // It is served, and nobody waits behind it.
    assert!(other.execute("query-status", "{}").contains("running"));
    let mut history = History::of(&scratch);
    assert!(history.new_records().is_empty());
    drop(other);
    history.kind(&Kind::Attached, "web1");
}
