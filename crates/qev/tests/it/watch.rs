//! `qev watch`: what a machine says, as it says it.

use crate::program::{Machine, Running, Scratch, qev, run, stderr, text};

#[test]
fn a_record_has_what_qemu_said_and_what_it_means() {
    let machine = Machine::with_quorum(&["--name", "web1"]);
    let (mut watch, mut lines) = Running::with_lines(qev(&["watch", "-o", "json", &machine.target()]));
    let attached = lines.record();
    assert_eq!(text(&attached, "kind").as_deref(), Some("attached"));
    assert_eq!(text(&attached, "machine").as_deref(), Some("web1"));

    // The only monitor is watched; the guest's side can emit too, for tests that need an event now.
    machine.guest("emit", r#"{"event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sector-num": 10, "sectors-count": 1, "type": "read"}}"#);
    let bad = lines.event("QUORUM_REPORT_BAD");
    for (path, expected) in [
        ("kind", "event"),
        ("machine", "web1"),
        ("severity", "error"),
        ("summary", "replica c1 gave bad data: 1 sector at 10 (read)"),
        ("data.node-name", "c1"),
        ("data.sector-num", "10"),
    ] {
        assert_eq!(text(&bad, path).as_deref(), Some(expected), "{path}");
    }
    assert!(bad.get("timestamp").unwrap().get("microseconds").is_some());

    machine.guest("panic", "{}");
    let panic = lines.event("GUEST_PANICKED");
    assert_eq!(text(&panic, "summary").as_deref(), Some("guest kernel panicked; QEMU paused it"));

    // The machine goes away, and the watch says so and ends with 4.
    drop(machine);
    let mut last = None;
    while let Some(line) = lines.next() {
        last = Some(line);
    }
    let detached = qev_qmp::Json::parse(&last.unwrap()).unwrap();
    assert_eq!(text(&detached, "kind").as_deref(), Some("detached"));
    assert_eq!(watch.status(), 4);
}

#[test]
fn only_what_is_asked_for_is_shown_and_counted() {
    let machine = Machine::start(&[]);
    let arguments = ["watch", "-o", "json", &machine.target(), "-e", "GUEST_*", "-w", "data.action=run", "-n", "1"];
    let (mut watch, mut lines) = Running::with_lines(qev(&arguments));
    lines.record();
    machine.guest("emit", r#"{"event": "STOP"}"#);
    machine.guest("emit", r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#);
    machine.guest("emit", r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#);
    let record = lines.record();
    assert_eq!(text(&record, "data.action").as_deref(), Some("run"));
    assert_eq!(lines.next(), None);
    assert_eq!(watch.status(), 0);
}

#[test]
fn the_text_is_for_people_and_pretty_monitors_are_read_as_well() {
    let machine = Machine::start(&["--pretty"]);
    let (_watch, mut lines) = Running::with_lines(qev(&["watch", &machine.target()]));
    assert!(lines.next().unwrap().starts_with("vm1 "));
    machine.guest("emit", r#"{"event": "BALLOON_CHANGE", "data": {"actual": 134217728}}"#);
    let line = lines.next().unwrap();
    assert!(line.starts_with("vm1 ") && line.ends_with("BALLOON_CHANGE      balloon at 128 MiB"), "{line}");
}

#[test]
fn what_nobody_knows_is_shown_whole() {
    let machine = Machine::start(&[]);
    let (_watch, mut lines) = Running::with_lines(qev(&["watch", "-o", "json", &machine.target()]));
    lines.record();
    machine.guest(
        "emit",
        r#"{"event": "GUEST_ASCENDED", "data": {"to": ["cloud", 18446744073709551615]}, "unchecked": true}"#,
    );
    let record = lines.event("GUEST_ASCENDED");
    assert_eq!(text(&record, "data").as_deref(), Some(r#"{"to": ["cloud", 18446744073709551615]}"#));
}

#[test]
fn several_monitors_are_watched_at_once_and_the_last_to_go_ends_it() {
    let (first, second) = (Machine::start(&["--name", "one"]), Machine::start(&["--name", "two"]));
    let (mut watch, mut lines) = Running::with_lines(qev(&["watch", "-o", "json", &first.target(), &second.target()]));
    let mut names: Vec<_> = (0..2).map(|_| text(&lines.record(), "machine").unwrap()).collect();
    names.sort();
    assert_eq!(names, ["one", "two"]);
    drop(first);
    let detached = lines.record();
    assert_eq!(text(&detached, "machine").as_deref(), Some("one"));
    second.guest("emit", r#"{"event": "STOP"}"#);
    assert_eq!(text(&lines.event("STOP"), "machine").as_deref(), Some("two"));
    drop(second);
    assert_eq!(watch.status(), 4);
}

#[test]
fn time_that_is_over_is_124_and_no_socket_is_10() {
    let machine = Machine::start(&[]);
    let output = run(&["watch", &machine.target(), "--timeout", "100ms"]);
    assert_eq!(output.status.code(), Some(124));
    let output = run(&["watch", &Scratch::new().path("missing.sock")]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let machine = Machine::start(&[]);
    let mut command = qev(&["watch", &machine.target()]);
    command.stderr(std::process::Stdio::piped());
    let (mut watch, mut lines) = Running::with_lines(command);
    lines.next();
    drop(lines);
    // A program that another test starts just now may have our end of the pipe for a moment: it does not stay the only event.
    while watch.0.try_wait().unwrap().is_none() {
        machine.guest("emit", r#"{"event": "STOP"}"#);
    }
    assert_eq!(watch.status(), 0);
    let mut told = String::new();
    std::io::Read::read_to_string(watch.0.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert_eq!(told, "");
}

#[test]
fn one_event_is_enough_to_notice_that_the_reader_has_left() {
    let machine = Machine::start(&[]);
    // A pipe of the shell's: nobody else has its end.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#""$0" watch "$1" | { read -r line; exec <&-; echo "$line"; }; echo over"#]);
    shell.args([env!("CARGO_BIN_EXE_qev"), &machine.target()]);
    let (_shell, mut lines) = Running::with_lines(shell);
    assert!(lines.next().unwrap().starts_with("vm1 "));
    machine.guest("emit", r#"{"event": "STOP"}"#);
    assert_eq!(lines.next().as_deref(), Some("over"));
}

#[test]
fn wrong_options_say_what_is_expected() {
    for (arguments, expected) in [
        (&["watch"][..], "TARGET"),
        (&["watch", "/x", "--severity", "loud"], "expected one of debug, info, notice, warning, error, critical"),
        (&["watch", "/x", "-w", "action"], "PATH=VALUE"),
        (&["watch", "/x", "--timeout", "soon"], "expected one such as 5s"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
