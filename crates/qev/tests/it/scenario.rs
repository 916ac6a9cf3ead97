//! `qev simulate --scenario`: what happens to a machine, from a file; and what is said about a file that cannot be played.

use crate::program::{Raw, Running, Scratch, qev, run, stderr};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// Plays these lines; what the machine says up to its end, and the status with which it ends.
fn played(lines: &str, more: &[&str]) -> (Vec<String>, i32) {
    let scratch = Scratch::new();
    let (file, monitor) = (scratch.path("s.jsonl"), scratch.path("vm.sock"));
    std::fs::write(&file, lines).unwrap();
    let command = qev(&[&["simulate", "--qmp", &monitor, "--scenario", &file], more].concat());
    let mut running = Running::until_told(command, 1);
    let mut client = Raw::connect(&monitor);
    let heard = std::iter::from_fn(|| Some(client.line()).filter(|line| !line.is_empty())).collect();
    (heard, running.status())
}

#[test]
fn lines_are_played_in_their_order_and_nobody_misses_the_first() {
    let lines = r#"
{"about": "A disk and a panic.", "from": "client", "machine": {"panic": "none", "quorum": ["q0,vote-threshold=2,children=left@a.raw:right@b.raw"], "images": {"a.raw": "64k", "b.raw": "64k"}}}

{"at": 0, "guest": "disk-corrupt", "arguments": {"node": "left", "offset": 0, "length": 1}}
{"at": "0s", "monitor": "human-monitor-command", "arguments": {"command-line": "qemu-io q0 \"read 0 512\""}}
{"at": 0.05, "guest": "panic", "arguments": {"then": "run-on"}, "note": "it runs on"}
{"at": "100ms", "monitor": "quit"}
"#;
    let (heard, status) = played(lines, &[]);
    let names = ["QUORUM_FAILURE", "GUEST_PANICKED", "SHUTDOWN"];
    assert_eq!(heard.len(), names.len(), "{heard:#?}");
    for (line, name) in heard.iter().zip(names) {
        assert!(line.contains(name), "{heard:#?}");
    }
    assert!(heard[1].contains(r#""action": "run""#), "{heard:#?}");
    assert_eq!(status, 0);
    // What the command line says counts.
    let (heard, _) = played(lines, &["--panic", "shutdown"]);
    assert!(heard[1].contains(r#""action": "poweroff""#) && heard.len() == 3, "{heard:#?}");
}

#[test]
fn a_step_that_is_refused_is_told_and_the_program_ends_with_1() {
    let scratch = Scratch::new();
    let (file, monitor) = (scratch.path("s.jsonl"), scratch.path("vm.sock"));
    let lines = "{\"at\": 0, \"monitor\": \"device_del\", \"arguments\": {\"id\": \"d1\"}}\n{\"at\": 0, \"monitor\": \"quit\"}\n";
    std::fs::write(&file, lines).unwrap();
    let output = run(&["simulate", "--qmp", &monitor, "--scenario", &file]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    let expected = format!("qev: {file}, line 1: device_del: DeviceNotFound: Device 'd1' not found\n");
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn those_that_come_with_the_program_are_found_by_name() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm.sock");
    let _running = Running::until_told(qev(&["simulate", "--qmp", &monitor, "--scenario", "calm-day"]), 1);
    let mut client = Raw::connect(&monitor);
    // It begins with its client, and may have something to say before it answers.
    client.send(r#"{"execute": "query-memory-size-summary"}"#);
    let (mut is_answered, mut has_moved) = (false, false);
    while !(is_answered && has_moved) {
        let line = client.line();
        assert!(!line.is_empty(), "it ended");
        is_answered |= line.starts_with(r#"{"return": {"base-memory": 268435456,"#);
        has_moved |= line.contains("BALLOON_CHANGE");
    }
    // Its images go with the machine.
    let monitor = scratch.path("disk.sock");
    let mut command = qev(&["simulate", "--qmp", &monitor, "--scenario", "dying-disk"]);
    command.env("TMPDIR", scratch.path(""));
    let images = || {
        let files = std::fs::read_dir(scratch.path("")).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|name| name.to_string_lossy().starts_with("qev-simulate-")).count()
    };
    let mut running = Running::until_told(command, 1);
    assert_eq!(images(), 1);
    Raw::connect(&monitor).execute("quit", "{}");
    assert_eq!((running.status(), images()), (0, 0));
}

#[test]
fn each_of_many_machines_plays_it_on_files_of_its_own() {
    let scratch = Scratch::new();
    let folder = scratch.path("");
    let arguments = ["simulate", "--machines", "3", "--dir", &folder, "--scenario", "dying-disk"];
    let _running = Running::until_told(qev(&arguments), 1);
    let mut machines: Vec<_> = (1..=3).map(|i| Raw::connect(&scratch.path(&format!("vm000{i}.sock")))).collect();
    for machine in &mut machines {
        let line = machine.line();
        assert!(line.contains("QUORUM_REPORT_BAD") && line.contains(r#""node-name": "c1""#), "{line}");
    }
}

/// What is said about a scenario with these lines, behind the file's name.
fn refused(lines: &str) -> String {
    let scratch = Scratch::new();
    let (file, monitor) = (scratch.path("s.jsonl"), scratch.path("vm.sock"));
    std::fs::write(&file, lines).unwrap();
    let output = run(&["simulate", "--qmp", &monitor, "--scenario", &file]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = stderr(&output);
    told.strip_prefix(&format!("qev: {file}")).unwrap_or_else(|| panic!("{told}")).trim_end().to_owned()
}

fn check(line: &str, expected: &str) {
    let stop = r#"{"at": 2, "monitor": "stop"}"#;
    let told = refused(&[&[stop; 6][..], &[line, stop]].concat().join("\n"));
    let rest = told.strip_prefix(", line 7: ").unwrap_or_else(|| panic!("{told}"));
    assert!(rest.starts_with(expected), "expected {expected:?} in: {rest}");
}

#[test]
fn a_line_that_cannot_be_played_is_named_with_what_was_expected() {
    check("panic", "not JSON at byte 0: expected a value");
    check("[]", "expected an object, such as {\"at\": 1.5, \"guest\": \"panic\"}");
    check(r#"{"guest": "panic"}"#, "member 'at': expected the time since the beginning: a number of seconds, or");
    check(r#"{"at": -1, "guest": "panic"}"#, "member 'at': expected the time");
    check(r#"{"at": "soon", "guest": "panic"}"#, "member 'at': expected the time");
    check(r#"{"at": 1, "guest": "panic"}"#, "member 'at' is 1s, which is before the 2s of line 6: put the lines in");
    check(r#"{"at": 2}"#, "no command: expected \"monitor\": \"NAME\" for what a client of QEMU's sends, or \"guest\"");
    check(r#"{"at": 2, "guest": "panic", "monitor": "stop"}"#, "two commands: expected either 'monitor' or 'guest'");
    check(r#"{"at": 2, "guest": 7}"#, "member 'guest': expected text");
    check(r#"{"at": 2, "guest": "panik"}"#, "no command 'panik' for the guest: expected one of balloon-driver, ");
    check(r#"{"at": 2, "monitor": "panic"}"#, "no command 'panic' for the monitor: expected one of balloon, cont, ");
    check(r#"{"at": 2, "monitor": "qmp_capabilities"}"#, "no command 'qmp_capabilities' for the monitor");
    check(r#"{"at": 2, "guest": "panic", "arguments": []}"#, "member 'arguments': expected an object");
    check(r#"{"at": 2, "guest": "panic", "args": {}}"#, "no member 'args': expected at, monitor or guest, arguments");
    check(
        r#"{"machine": {}}"#,
        "'machine', 'from' and 'about' say what the scenario begins with: put them on its first",
    );
}

#[test]
fn a_first_line_that_cannot_be_is_told_as_well() {
    for (line, expected) in [
        (r#"{"from": "now"}"#, "member 'from': expected \"start\", when the machine starts, or \"client\""),
        (r#"{"machine": 1}"#, "member 'machine': expected an object"),
        (r#"{"machine": {"memory": "lots"}}"#, "member 'memory': memory: size 'lots' is not a size"),
        (r#"{"machine": {"smp": "4,maxcpus=2"}}"#, "member 'smp': smp: 4 CPUs do not go into 2 slots"),
        (r#"{"machine": {"panic": "scream"}}"#, "member 'panic': no panic action 'scream': expected pause"),
        (r#"{"machine": {"watchdog": "dog"}}"#, "member 'watchdog': no watchdog 'dog': expected i6300esb or ib700"),
        (r#"{"machine": {"watchdog-action": "bark"}}"#, "member 'watchdog-action': no watchdog action 'bark'"),
        (r#"{"machine": {"disk": ["q0,werror=cry"]}}"#, "member 'disk': disk: werror 'cry': expected report, ignore"),
        (r#"{"machine": {"balloon": "yes"}}"#, "member 'balloon': expected true or false"),
        (r#"{"machine": {"quorum": "q0"}}"#, "member 'quorum': expected an array of texts"),
        (r#"{"machine": {"quorum": ["q0"]}}"#, "member 'quorum': quorum: children is missing"),
        (r#"{"machine": {"images": {"../a": "1M"}}}"#, "member 'images': '../a' is not the name of a file"),
        (r#"{"machine": {"images": {"a": 5}}}"#, "member 'images': 'a': expected its size as text"),
        (
            r#"{"machine": {"cpus": 5}}"#,
            "no member 'cpus': expected memory, smp, balloon, panic, watchdog, watchdog-action, disk,",
        ),
    ] {
        let told = refused(line);
        assert!(told.starts_with(&format!(", line 1: {expected}")), "expected {expected:?} in: {told}");
    }
    assert!(refused("\n\n").starts_with(": no line has a command: expected lines such as"));
    let output = run(&["simulate", "--qmp", "/nowhere/vm.sock", "--scenario", "/"]);
    let told = stderr(&output);
    assert!(told.starts_with("qev: /: cannot be read: expected a file of JSON Lines (docs/scenario.md"), "{told}");
    assert!(told.contains("Is a directory"), "{told}");
    let output = run(&["simulate", "--qmp", "/nowhere/vm.sock", "--scenario", "calm-night"]);
    let expected =
        "qev: calm-night: no such scenario: expected the path of a file, or one of calm-day, crashing-guest,";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn machines_that_would_share_files_are_refused() {
    let scratch = Scratch::new();
    let (file, folder) = (scratch.path("s.jsonl"), scratch.path(""));
    let image = scratch.image("a.raw", &[]);
    let first = format!(r#"{{"machine": {{"quorum": ["q0,vote-threshold=1,children={image}"]}}}}"#);
    std::fs::write(&file, format!("{first}\n{{\"at\": 9, \"monitor\": \"quit\"}}\n")).unwrap();
    let mut command = qev(&["simulate", "--machines", "2", "--dir", &folder, "--scenario", &file]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(told.contains("the scenario's machines would all write to the same files"), "{told}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
