//! `qev replay`: what was recorded comes again, unchanged, from a monitor like QEMU's.

use crate::program::{Raw, Running, Scratch, exists, qev, run, stderr, stdout};
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

const RECORDINGS: [&str; 6] =
    ["balloon", "dimm-hotplug", "guest-panic", "lifecycle", "quorum-corrupt-replica", "quorum-failure"];

/// Where the recordings of a real QEMU are.
fn recording(name: &str) -> String {
    format!("{}/../qmp/tests/data/recordings/{name}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

/// The events of a recording as QEMU wrote them.
fn events(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(recording(name)).unwrap();
    let messages = text.lines().filter_map(|line| line.split_once(r#""msg": "#)?.1.strip_suffix('}'));
    messages.filter(|message| message.contains(r#""event": "#)).map(str::to_owned).collect()
}

/// Serves a replay; what it says, and where.
fn served(scratch: &Scratch, arguments: &[&str]) -> (Running, String) {
    let monitor = scratch.path("r.sock");
    let command = qev(&[&["replay", "--qmp", &monitor], arguments].concat());
    (Running::until_told(command, 1), monitor)
}

fn heard(client: &mut Raw) -> Vec<String> {
    std::iter::from_fn(|| Some(client.line()).filter(|line| !line.is_empty())).collect()
}

#[test]
fn every_recording_of_a_real_qemu_comes_again_to_the_byte_and_then_it_ends() {
    for name in RECORDINGS {
        let scratch = Scratch::new();
        let (mut running, monitor) = served(&scratch, &[&recording(name), "--speed", "1000"]);
        let mut client = Raw::connect(&monitor);
        assert_eq!(heard(&mut client), events(name), "{name}");
        assert_eq!(running.status(), 0);
        assert!(!exists(&monitor));
    }
}

#[test]
fn several_files_are_played_one_after_the_other_and_records_as_well() {
    let scratch = Scratch::new();
    let files: Vec<String> = RECORDINGS.iter().map(|name| recording(name)).collect();
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend(["--speed", "1000"]);
    let (mut replay, monitor) = served(&scratch, &arguments);
    let output = run(&["watch", "-o", "json", &monitor]);
    let expected: Vec<String> = RECORDINGS.iter().flat_map(|name| events(name)).collect();
    assert_eq!(replay.status(), 0, "its socket is free");
    // What was watched can be played in its turn.
    let file = scratch.path("records.jsonl");
    std::fs::write(&file, stdout(&output)).unwrap();
    let (_replay, monitor) = served(&scratch, &[&file]);
    assert_eq!(heard(&mut Raw::connect(&monitor)), expected);
}

/// The commands of a recording, with their arguments, and the replies to them.
fn exchanges(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(recording(name)).unwrap();
    let mut messages = text.lines().filter_map(|line| line.split_once(r#""msg": "#)?.1.strip_suffix('}'));
    let mut exchanges = Vec::new();
    while let Some(message) = messages.next() {
        if message.starts_with(r#"{"execute": "#) && !message.contains("qmp_capabilities") {
            let reply = messages.find(|message| !message.contains(r#""event": "#)).unwrap();
            exchanges.push((message.to_owned(), reply.to_owned()));
        }
    }
    exchanges
}

#[test]
fn every_command_of_a_recording_is_answered_to_the_byte() {
    for name in RECORDINGS {
        let scratch = Scratch::new();
        let (_replay, monitor) = served(&scratch, &[&recording(name), "--speed", "0.001"]);
        let mut client = Raw::connect(&monitor);
        let mut seen = Vec::new();
        for (command, reply) in exchanges(name) {
            // It is early in the recording, so the first answer counts.
            if !seen.contains(&command) {
                client.send(&command);
                assert_eq!(client.line(), reply, "{name}: {command}");
                seen.push(command);
            }
        }
        assert!(!seen.is_empty(), "{name}");
    }
}

#[test]
fn a_command_is_answered_as_it_was_and_one_that_is_not_there_is_not_found() {
    let scratch = Scratch::new();
    let (_replay, monitor) = served(&scratch, &[&recording("guest-panic"), "--speed", "0.001"]);
    let mut client = Raw::connect(&monitor);
    let status = r#"{"return": {"status": "guest-panicked", "singlestep": false, "running": false}}"#;
    assert_eq!(client.execute("query-status", "{}"), status);
    let error = r#"{"error": {"class": "CommandNotFound", "desc": "The command query-block has not been found"}}"#;
    assert_eq!(client.execute("query-block", "{}"), error);
    let error = r#"{"error": {"class": "GenericError", "desc": "QMP input member 'arguments' must be an object"}}"#;
    assert_eq!(client.execute("query-status", "7"), error);
}

#[test]
fn it_dials_and_plays_what_comes_on_standard_input_again_and_again() {
    let scratch = Scratch::new();
    let path = scratch.path("dial.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = qev(&["replay", "-", "--dial", &path, "--loop", "--pretty", "--qemu-version", "9.1.2"]);
    let mut running = Running(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    running.0.stdin.take().unwrap().write_all(b"{\"event\": \"STOP\"}\n").unwrap();
    let mut client = Raw::new(listener.accept().unwrap().0);
    client.send(r#"{"execute": "qmp_capabilities"}"#);
    let mut stops = 0;
    let mut version = String::new();
    while stops < 2 {
        let line = client.line();
        stops += usize::from(line == r#"    "event": "STOP""#);
        version.extend(line.contains(r#""major": 9"#).then_some("9"));
    }
    assert_eq!(version, "9");
}

#[test]
fn only_the_machines_that_are_wanted_are_played() {
    let scratch = Scratch::new();
    let file = scratch.path("records.jsonl");
    let record = |machine: &str, event: &str| {
        format!(
            r#"{{"kind":"event","host":"h1","machine":"{machine}","received":"2026-11-22T11:35:10.942911Z","severity":"info","summary":"s","event":"{event}"}}"#
        )
    };
    std::fs::write(&file, [record("web1", "STOP"), record("db1", "RESET"), record("web2", "RESUME")].join("\n"))
        .unwrap();
    let (_replay, monitor) = served(&scratch, &[&file, "--machine", "web*"]);
    assert_eq!(heard(&mut Raw::connect(&monitor)), [r#"{"event": "STOP"}"#, r#"{"event": "RESUME"}"#]);
}

#[test]
fn what_cannot_be_played_is_named_by_file_and_line() {
    let scratch = Scratch::new();
    let (file, monitor) = (scratch.path("r.jsonl"), scratch.path("r.sock"));
    let check = |text: &str, more: &[&str], expected: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(&[&["replay", &file, "--qmp", &monitor], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "expected {expected:?} in: {}", stderr(&output));
        assert!(!exists(&monitor));
    };
    let stop = "{\"event\": \"STOP\"}\n";
    check(&format!("{stop}\nSTOP\n"), &[], &format!("{file}, line 3: not a JSON object"));
    check(
        "{\"t\": -1, \"dir\": \"<\", \"msg\": {}}\n",
        &[],
        &format!("{file}, line 1: a line of a recording whose member 't'"),
    );
    check(
        "{\"execute\": \"stop\"}\n",
        &[],
        &format!("{file}: no line has an event: expected what qev watch -o json prints"),
    );
    check(
        stop,
        &["--speed", "fast"],
        "'fast' is not a speed: expected a number from 0.001 to 1000000, such as 10 or 0.5",
    );
    let unreadable = "cannot be read: expected a file with what qev watch -o json prints, a recording of a monitor, or";
    for (path, why) in [(scratch.path("missing.jsonl"), "No such file"), (scratch.path(""), "Is a directory")] {
        check(stop, &[&path], &format!("{path}: {unreadable}"));
        check(stop, &[&path], why);
    }
    let output = run(&["replay", &file]);
    assert!(stderr(&output).contains("--qmp <PATH>"), "{}", stderr(&output));
}
