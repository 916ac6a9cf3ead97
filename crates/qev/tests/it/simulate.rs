//! `qev simulate`: a machine on real sockets, that begins and ends as a QEMU does.

use crate::program::{Machine, Raw, Running, Scratch, exists, qev, run, stderr, stdout};
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

#[test]
fn quit_ends_it_with_0_and_its_sockets_are_gone() {
    let mut machine = Machine::start(&[]);
    let output = run(&["send", &machine.monitor, "quit"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("{\n}\n", Some(0)));
    assert_eq!(machine.running.status(), 0);
    assert!(!exists(&machine.monitor) && !exists(&machine.guest));
}

#[test]
fn a_panic_ends_it_as_the_action_says() {
    for (action, status) in [("shutdown", 0), ("exit-failure", 1)] {
        let scratch = Scratch::new();
        let (monitor, guest) = (scratch.path("vm1.sock"), scratch.path("guest.sock"));
        let command = qev(&["simulate", "--qmp", &monitor, "--guest", &guest, "--panic", action]);
        let mut running = Running::until_told(command, 2);
        run(&["send", &guest, "panic"]);
        assert_eq!(running.status(), status, "{action}");
    }
}

#[test]
fn the_greeting_names_the_version_asked_for_and_qev_as_the_package() {
    let machine = Machine::start(&["--qemu-version", "9.1.2", "--uuid", "6f2c1f4e-0a53-4f4e-8a4e-2b8f6f6f0001"]);
    let version = stdout(&run(&["send", &machine.monitor, "query-version", "-o", "json"]));
    assert_eq!(
        version,
        format!(
            "{{\"qemu\": {{\"micro\": 2, \"minor\": 1, \"major\": 9}}, \"package\": \"qev {}\"}}\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    let uuid = stdout(&run(&["send", &machine.monitor, "query-uuid", "-o", "json"]));
    assert_eq!(uuid, "{\"UUID\": \"6f2c1f4e-0a53-4f4e-8a4e-2b8f6f6f0001\"}\n");
}

#[test]
fn the_documents_dialect_is_spoken_on_request() {
    let machine = Machine::with_quorum(&["--dialect", "document"]);
    let (_watch, mut lines) = Running::with_lines(qev(&["watch", "-o", "json", &machine.target(), "-e", "GUEST_*"]));
    lines.record();
    machine.guest("panic", "{}");
    assert_eq!(lines.event("GUEST_PANICKED").get("data").unwrap().as_text(), r#"{"action": "pause"}"#);
}

#[test]
fn bad_input_names_the_thing_and_what_was_expected() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm.sock");
    let image = scratch.image("a.raw", &[]);
    let missing = format!("q0,vote-threshold=1,children={}", scratch.path("missing.raw"));
    let too_many = format!("q0,vote-threshold=3,children={image}:{image}");
    std::fs::write(scratch.path("short.raw"), [0; 1024]).unwrap();
    let shorter = format!("q0,vote-threshold=1,children={image}:{}", scratch.path("short.raw"));
    let directory = format!("q0,vote-threshold=1,children={}", scratch.path(""));
    let unreadable = format!("q0,vote-threshold=1,children={image}/inside.raw");
    for (arguments, expected) in [
        (&["--memory", "lots"][..], "size 'lots' is not a size such as 256M; expected SIZE[,slots=N,maxmem=SIZE]"),
        (&["--max-buffer", "lots"], "expected a size: a number, with k, M, G, T, P or E behind it"),
        (&["--smp", "4,maxcpus=2"], "4 CPUs do not go into 2 slots: give a larger maxcpus"),
        (&["--watchdog", "cat"], "no watchdog 'cat': expected i6300esb or ib700"),
        (
            &["--watchdog-action", "purr"],
            "no watchdog action 'purr': expected reset, shutdown, poweroff, pause, debug,",
        ),
        (&["--disk", "q9"], "a disk lies on 'q9', which is no quorum of this machine: give it a --quorum of that name"),
        (&["--memory", "256M,slots=2"], "maxmem"),
        (&["--panic", "scream"], "expected pause, shutdown, none or exit-failure"),
        (
            &["--quorum", &missing],
            "missing.raw' can not be opened for reading and writing: expected an existing raw image",
        ),
        (&["--quorum", &shorter], "short.raw' has 2 sectors of 512 bytes where the first child has 2048: make all"),
        (&["--quorum", &directory], "' is not a regular file: expected a raw image"),
        (&["--quorum", &unreadable], "inside.raw' can not be opened for reading and writing: expected an existing"),
        (&["--quorum", &too_many], "vote-threshold"),
        (&["--qemu-version", "seven"], "expected MAJOR.MINOR"),
        (&["--uuid", "web1"], "web1"),
        (&["--dialect", "latin"], "expected 'document' or 'qemu'"),
    ] {
        let output = run(&[&["simulate", "--qmp", &monitor], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "expected {expected:?} in: {}", stderr(&output));
        assert!(!exists(&monitor));
    }
}

#[test]
fn a_path_that_is_in_use_is_left_alone() {
    let machine = Machine::start(&[]);
    let output = run(&["simulate", "--qmp", &machine.monitor]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another program listens"), "{}", stderr(&output));
    let file = Scratch::new();
    let path = file.image("disk.raw", &[]);
    let output = run(&["simulate", "--qmp", &path]);
    assert!(stderr(&output).contains("not a socket"), "{}", stderr(&output));
    assert!(exists(&path));
}

/// A client that listens, as a daemon does that machines dial.
struct Listening {
    listener: UnixListener,
    path: String,
}

impl Listening {
    fn at(path: String) -> Listening {
        Listening { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The next machine that dials, greeted and let in.
    fn accept(&self) -> Raw {
        Raw::negotiated(self.listener.accept().unwrap().0)
    }
}

#[test]
fn it_dials_whoever_listens_and_dials_again_after_a_loss() {
    let scratch = Scratch::new();
    let path = scratch.path("dial.sock");
    let mut command = qev(&["simulate", "--dial", &path, "--name", "web1"]);
    // Nobody listens yet: it starts all the same, and says so once.
    command.stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut told = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(told.next().unwrap(), format!("qev: serving whoever listens at {path}"));
    let waiting = told.next().unwrap();
    assert!(waiting.starts_with(&format!("qev: nobody answers at {path}")), "{waiting}");
    assert!(waiting.ends_with("dialling again every second"), "{waiting}");

    let listening = Listening::at(path);
    for _ in 0..2 {
        let mut machine = listening.accept();
        assert_eq!(machine.execute("query-name", "{}"), r#"{"return": {"name": "web1"}}"#);
    }
    // A listener that was replaced is found too.
    drop(listening.listener);
    std::fs::remove_file(&listening.path).unwrap();
    let listening = Listening::at(listening.path);
    let mut machine = listening.accept();
    assert_eq!(machine.execute("quit", "{}"), r#"{"return": {}}"#);
    assert_eq!(running.status(), 0);
}

#[test]
fn one_that_dials_may_be_served_too() {
    let scratch = Scratch::new();
    let (dial, guest) = (scratch.path("dial.sock"), scratch.path("guest.sock"));
    let listening = Listening::at(dial.clone());
    let machine = Machine::start(&["--dial", &dial, "--pretty"]);
    let mut dialled = Raw::new(listening.listener.accept().unwrap().0);
    assert_eq!(dialled.line(), "{", "laid out as the other monitors are");
    assert_eq!(stdout(&run(&["send", &machine.monitor, "query-name", "-o", "json"])), "{}\n");
    let too_long = scratch.path(&"x".repeat(200));
    let output = run(&["simulate", "--dial", &too_long, "--guest", &guest]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&too_long), "{}", stderr(&output));
}

/// The numbers of the next events of a machine whose guest emits them at a rate.
fn numbers(machine: &mut Raw, count: usize) -> Vec<u32> {
    let number = |line: String| {
        let source = line.split(r#""source": "#).nth(1).unwrap_or_else(|| panic!("{line}"));
        source.split(',').next().unwrap().parse().unwrap()
    };
    (0..count).map(|_| number(machine.line())).collect()
}

#[test]
fn many_machines_emit_at_a_rate_and_a_reader_can_tell_that_none_is_missing() {
    let scratch = Scratch::new();
    let folder = scratch.path("");
    let command = qev(&["simulate", "--machines", "100", "--dir", &folder, "--guest", &folder, "--rate", "20"]);
    let _running = Running::until_told(command, 1);
    let mut machines: Vec<Raw> = (1..=100).map(|i| Raw::connect(&scratch.path(&format!("vm{i:04}.sock")))).collect();
    for machine in &mut machines {
        let numbers = numbers(machine, 10);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
    let [.., machine] = &mut machines[..] else { panic!() };
    assert_eq!(machine.execute("query-name", "{}"), r#"{"return": {"name": "vm0100"}}"#);
    // A guest that is stopped emits nothing, and goes on where it was.
    let before = numbers(machine, 1)[0];
    machine.send(r#"{"execute": "stop"}"#);
    let mut last = before;
    let mut line = machine.line();
    while line.contains("ACPI_DEVICE_OST") {
        last += 1;
        line = machine.line();
    }
    assert!(line.contains("STOP"), "{line}");
    assert_eq!(machine.line(), r#"{"return": {}}"#);
    machine.execute("cont", "{}");
    assert_eq!(numbers(machine, 2), [last + 1, last + 2]);
    // One of many ends, and the others do not care.
    Raw::connect(&scratch.path("vm0007.guest.sock")).execute("shutdown", "{}");
    assert!(!numbers(&mut machines[7], 40).is_empty());
}

#[test]
fn many_machines_dial_the_same_listener() {
    let scratch = Scratch::new();
    let path = scratch.path("dial.sock");
    let listening = Listening::at(path.clone());
    let command = qev(&["simulate", "--machines", "12", "--dial", &path, "--name", "web"]);
    let mut running = Running::until_told(command, 1);
    let mut machines: Vec<Raw> = (0..12).map(|_| listening.accept()).collect();
    let mut names: Vec<_> = machines.iter_mut().map(|machine| machine.execute("query-name", "{}")).collect();
    names.sort();
    assert_eq!(names[0], r#"{"return": {"name": "web0001"}}"#);
    assert_eq!(names[11], r#"{"return": {"name": "web0012"}}"#);
    // When the last has ended, so has the program.
    machines.iter_mut().for_each(|machine| machine.send(r#"{"execute": "quit"}"#));
    assert_eq!(running.status(), 0);
}

#[test]
fn many_machines_that_cannot_be_are_refused_before_there_is_a_socket() {
    let scratch = Scratch::new();
    let (folder, missing) = (scratch.path(""), scratch.path("missing"));
    for (arguments, expected) in [
        (&["--machines", "2"][..], "give --dir DIR for a socket each, or --dial PATH"),
        (&["--machines", "0", "--dir", &folder], "0 is not in 1..=100000"),
        (&["--machines", "2", "--dir", &missing], "missing: not a folder: make it first"),
        (&["--machines", "2", "--dir", &folder, "--guest", &missing], "missing: not a folder"),
        (&["--machines", "2", "--dir", &folder, "--rate", "often"], "'often' is not a rate: expected events a second"),
        (&["--machines", "2", "--dir", &folder, "--qmp", &missing], "cannot be used with"),
        (&["--dir", &folder], "--machines <N>"),
    ] {
        let output = run(&[&["simulate"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "expected {expected:?} in: {}", stderr(&output));
    }
    // As a shell with the usual limit has it.
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -Sn 64 && exec "$0" simulate --machines 100 --dir "$1""#]);
    let output = limited.args([env!("CARGO_BIN_EXE_qev"), &folder]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = "100 machines with a client each need 232 open files, and this process may have 64";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_signal_shuts_the_machine_down_as_it_does_a_qemu() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut machine = Machine::start(&["--no-shutdown"]);
        let mut client = Raw::connect(&machine.monitor);
        let killed = Command::new("kill").args(["-s", signal, &machine.running.0.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let line = client.line();
        assert!(line.ends_with(r#""event": "SHUTDOWN", "data": {"guest": false, "reason": "host-signal"}}"#), "{line}");
        assert_eq!(client.line(), "");
        assert_eq!(machine.running.status(), 0);
    }
}

#[test]
fn what_is_built_in_by_option_acts() {
    let scratch = Scratch::new();
    let image = scratch.image("a.raw", &[]);
    let quorum = format!("q0,vote-threshold=1,children={image}");
    let machine = Machine::start(&[
        "--smp",
        "1,maxcpus=2",
        "--watchdog",
        "ib700",
        "--watchdog-action",
        "pause",
        "--quorum",
        &quorum,
        "--disk",
        "q0,rerror=stop",
    ]);
    let mut client = Raw::connect(&machine.monitor);
    let cpus = client.execute("query-hotpluggable-cpus", "{}");
    assert_eq!(cpus.matches("vcpus-count").count(), 2, "{cpus}");
    machine.guest("watchdog", r#"{"fed": false, "timeout-ms": 1}"#);
    let line = client.line();
    assert!(line.contains(r#""event": "WATCHDOG", "data": {"action": "pause"}"#), "{line}");
    assert!(client.line().contains("STOP"));
    client.execute("cont", "{}");
    machine.guest("disk-error", r#"{"node": "c0", "operation": "read", "errno": 5}"#);
    machine.guest("disk-read", r#"{"node": "q0", "offset": 0, "length": 512}"#);
    let heard: Vec<String> = (0..4).map(|_| client.line()).collect();
    assert!(heard[2].contains(r#""operation": "read", "action": "stop""#) && heard[3].contains("STOP"), "{heard:#?}");
}
