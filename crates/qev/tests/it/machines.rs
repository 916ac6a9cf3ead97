//! `qev machines`: who is attached, held by somebody else, gone; and every QEMU on this host.

use crate::daemon::{Daemon, History, PATIENCE, dialling};
use crate::program::{Raw, Running, Scratch, qev, run, stdout};
use qev_qmp::Json;
use qev_record::Kind;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What `qev machines` says, an object a machine.
pub(crate) fn machines(scratch: &Scratch, more: &[&str]) -> Vec<Json> {
    let state = scratch.path("state");
    let output = run(&[&["machines", "-o", "json", "--state-dir", &state], more].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stdout(&output).lines().map(|line| Json::parse(line).unwrap()).collect()
}

pub(crate) fn text(json: &Json, member: &str) -> String {
    json.get(member).and_then(|value| value.string()).unwrap_or_default()
}

/// Asks until a machine is in this state.
pub(crate) fn until(scratch: &Scratch, name: &str, state: &str) -> Json {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let machines = machines(scratch, &[]);
        let found = machines.iter().find(|json| text(json, "machine") == name && text(json, "state") == state);
        if let Some(found) = found {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "{name} is not {state}: {machines:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn who_is_attached_held_and_gone_is_told_and_by_the_journal_when_no_daemon_runs() {
    let scratch = Scratch::new();
    let monitor = scratch.path("held1.qmp");
    let _held = Running::until_told(qev(&["simulate", "--name", "held1", "--qmp", &monitor]), 1);
    let _holder = Raw::connect(&monitor);
    let daemon = Daemon::start(&scratch, &["--dial", &scratch.path("*.qmp")]);
    let web1 = dialling(&scratch, "web1", &[]);
    let gone1 = dialling(&scratch, "gone1", &[]);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "gone1");
    drop(gone1);

    let gone = until(&scratch, "gone1", "gone");
    assert!(text(&gone, "note").contains("SIGKILL") || text(&gone, "note").contains("is not known"), "{gone:?}");
    let held = until(&scratch, "held1", "held");
    assert!(text(&held, "note").starts_with("held by "), "{held:?}");
    let attached = until(&scratch, "web1", "attached");
    assert_eq!((text(&attached, "way"), text(&attached, "run_state")), ("dial-in".to_owned(), "running".to_owned()));
    assert_eq!(attached.get("pid").unwrap().as_text(), web1.0.id().to_string());

    let table = stdout(&run(&["machines", "--state-dir", &scratch.path("state")]));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("MACHINE") && lines[0].ends_with("NOTE"), "{table}");
    let words = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    let found: Vec<_> = lines[1..].iter().map(|line| words(line)).collect();
    assert_eq!(found, [["gone1", "gone"], ["held1", "held"], ["web1", "attached"]], "{table}");
    // Where what is attached is lent is told whole, in its column.
    let lent = scratch.path("state/share/web1.qmp");
    let at = lines[0].find("SHARED AT").unwrap();
    assert_eq!(lines[3].get(at..), Some(lent.as_str()), "{table}");
    assert!(lines[1..3].iter().all(|line| line.get(at..).is_some_and(|rest| rest.starts_with("- "))), "{table}");

    daemon.kill();
    let unknown = until(&scratch, "web1", "unknown");
    assert_eq!(text(&unknown, "note"), "attached when qev was last running, and no qev runs now");
    until(&scratch, "gone1", "gone");

    // The next daemon knows who is back, and of who is not why.
    let _daemon = Daemon::start(&scratch, &[]);
    let still = until(&scratch, "gone1", "gone");
    assert_eq!(text(&still, "note"), text(&gone, "note"));
    until(&scratch, "web1", "attached");
}

/// A process that looks like a QEMU: its name, and its arguments.
fn called_qemu(script: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("exec -a qemu-system-x86_64 {script}"), "bash"]).args(arguments);
    let running = Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // It is a shell until it has become what it is to look like.
    let line = format!("/proc/{}/cmdline", running.0.id());
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read(&line).unwrap().starts_with(b"qemu-system-x86_64") {
        assert!(Instant::now() < deadline, "{line} is still a shell's");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running
}

#[test]
fn every_qemu_on_this_host_is_found_with_who_holds_its_monitor() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let program = env!("CARGO_BIN_EXE_qev");
    let dial = scratch.path("a.sock");
    let attached = called_qemu(&format!("'{program}' simulate \"$@\""), &["--name", "found1", "--dial", &dial]);
    // Its monitor is another process's: what is looked at is its command line, and who is at the socket.
    let monitor = scratch.path("found2.qmp");
    let _behind = Running::until_told(qev(&["simulate", "--qmp", &monitor]), 1);
    let qmp = format!("unix:{monitor},server=on,wait=off");
    let held = called_qemu("bash -c 'read -r _' \"$@\"", &["-name", "found2", "-qmp", &qmp]);
    let _holder = Raw::connect(&monitor);
    until(&scratch, "found1", "attached");

    let find = |pid: u32| {
        let found = machines(&scratch, &["--discover"]);
        let one = found.iter().find(|json| json.get("pid").is_some_and(|found| found.as_text() == pid.to_string()));
        one.unwrap_or_else(|| panic!("{pid} is not among {found:?}")).clone()
    };
    let found = find(attached.0.id());
    assert_eq!(found.get("attached").unwrap().as_text(), "true", "{found:?}");
    let found = find(held.0.id());
    assert_eq!((text(&found, "name"), found.get("attached").unwrap().as_text()), ("found2".to_owned(), "false"));
    let monitors = found.get("monitors").unwrap();
    let us = format!("\"pid\": {}", std::process::id());
    assert!(monitors.as_text().contains("\"state\": \"held\"") && monitors.as_text().contains(&us), "{monitors:?}");
    let words = stdout(&run(&["machines", "--discover", "--state-dir", &scratch.path("state")]));
    assert!(words.contains("found1") && words.contains("found2"), "{words}");
}

#[test]
fn where_there_is_no_machine_it_is_told_where_was_looked_and_what_there_is() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let list = |more: &[&str]| {
        let output = run(&[&["machines", "--state-dir", &state], more].concat());
        (stdout(&output), crate::program::stderr(&output), output.status.code())
    };
    let daemon = Daemon::start(&scratch, &[]);
    let (shown, told, status) = list(&[]);
    let discover = "; qev machines --discover shows every QEMU on this host";
    assert_eq!((&*shown, status), ("", Some(0)));
    assert_eq!(told, format!("qev: the daemon of {state} knows no machine yet{discover}\n"));
    let _web1 = dialling(&scratch, "web1", &[]);
    until(&scratch, "web1", "attached");
    let (shown, told, _) = list(&["-m", "wbe1"]);
    assert_eq!((&*shown, &*told), ("", "qev: no machine is called wbe1: did you mean web1?; there are: web1\n"));
    let (shown, told, _) = list(&["-m", "web*"]);
    assert!(shown.contains("web1") && told.is_empty(), "{shown}{told}");
    daemon.kill();

    let empty = Scratch::new();
    let state = empty.path("state");
    drop(qev_journal::Journal::open(empty.path("state/journal").as_ref(), qev_journal::Options::default()).unwrap());
    let output = run(&["machines", "--state-dir", &state]);
    let told = format!("qev: no daemon runs for {state}, and its journal knows no machine{discover}\n");
    assert_eq!((stdout(&output), crate::program::stderr(&output)), (String::new(), told));
}

#[test]
fn a_terminal_that_is_too_narrow_gets_no_line_that_is_too_long() {
    let scratch = Scratch::new();
    let monitor = scratch.path("held1.qmp");
    let _held = Running::until_told(qev(&["simulate", "--name", "held1", "--qmp", &monitor]), 1);
    let _holder = Raw::connect(&monitor);
    let _daemon = Daemon::start(&scratch, &["--dial", &monitor]);
    let _web1 = dialling(&scratch, "a-machine-with-a-long-name", &[]);
    until(&scratch, "held1", "held");
    until(&scratch, "a-machine-with-a-long-name", "attached");
    let shown = |columns: u32| {
        let list = format!(
            "stty cols {columns}; '{}' machines --utc --state-dir '{}'",
            env!("CARGO_BIN_EXE_qev"),
            scratch.path("state")
        );
        let output = Command::new("script").args(["-qec", &list, "/dev/null"]).stdin(Stdio::null()).output();
        stdout(&output.expect("script is there (util-linux)"))
    };
    for columns in [60, 80] {
        let shown = shown(columns);
        assert!(shown.contains("\r\n    held by "), "{shown}");
        let longest = shown.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= columns as usize), "{shown}");
    }
    assert!(shown(1000).lines().next().is_some_and(|head| head.trim_end().ends_with("NOTE")));
}
