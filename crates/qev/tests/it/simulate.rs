//! `qev simulate`: a machine on real sockets, that begins and ends as a QEMU does.

use crate::program::{Machine, Raw, Running, Scratch, exists, qev, run, stderr, stdout};
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

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
    assert_eq!(lines.event("GUEST_PANICKED").get("data").unwrap().as_str(), r#"{"action": "pause"}"#);
}

#[test]
fn bad_input_names_the_thing_and_what_was_expected() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm.sock");
    let image = scratch.image("a.raw", &[]);
    let missing = format!("q0,vote-threshold=1,children={}", scratch.path("missing.raw"));
    let too_many = format!("q0,vote-threshold=3,children={image}:{image}");
    for (arguments, expected) in [
        (&["--memory", "lots"][..], "lots"),
        (&["--memory", "256M,slots=2"], "maxmem"),
        (&["--panic", "scream"], "expected pause, shutdown, none or exit-failure"),
        (&["--quorum", &missing], "missing.raw"),
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
