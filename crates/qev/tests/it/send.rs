//! `qev send`: one command, its reply, and an exit code for each way in which there is none.

use crate::program::{Machine, Scratch, qev, run, stderr, stdout};
use std::os::unix::net::UnixListener;

#[test]
fn a_reply_goes_to_standard_output() {
    let machine = Machine::start(&[]);
    let output = run(&["send", &machine.target(), "query-balloon", "-o", "json"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("{\"actual\": 268435456}\n", Some(0)));
    let output = run(&["send", &machine.monitor, "query-balloon"]);
    assert_eq!(stdout(&output), "{\n    \"actual\": 268435456\n}\n");
}

#[test]
fn an_error_of_the_machine_is_told_with_its_class() {
    let machine = Machine::start(&[]);
    let output = run(&["send", &machine.monitor, "device_del", r#"{"id": "nope"}"#]);
    assert_eq!(stderr(&output), "qev: device_del: DeviceNotFound: Device 'nope' not found\n");
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(1)));
}

#[test]
fn arguments_that_are_none_are_refused_before_anything_is_sent() {
    for (arguments, expected) in
        [("{\"id\": }", "not JSON at byte 7: expected a value"), ("[1]", "expected an object: {\"name\": value, …}")]
    {
        let output = run(&["send", "/nowhere/vm.sock", "device_del", arguments]);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(2));
    }
}

/// What a socket that is none of ours leads to.
fn check(target: &str, code: i32, expected: &str) {
    let output = run(&["send", target, "query-status", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(stderr(&output).contains(expected), "expected {expected:?} in: {}", stderr(&output));
}

#[test]
fn every_way_of_not_getting_in_has_its_exit_code() {
    let scratch = Scratch::new();
    check(&scratch.path("missing.sock"), 10, "there is no socket at");

    let stale = scratch.path("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    check(&stale, 11, "nobody listens");

    let silent = scratch.path("silent.sock");
    let _listener = UnixListener::bind(&silent).unwrap();
    check(&silent, 14, "no greeting");

    for (name, said, code, expected) in [
        ("hmp.sock", "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", 13, "human monitor"),
        ("ssh.sock", "SSH-2.0-OpenSSH_9.2\r\n", 15, "does not speak QMP"),
    ] {
        let path = scratch.path(name);
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut stream, said.as_bytes()).unwrap();
            // Until the client has left.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        check(&path, code, expected);
        server.join().unwrap();
    }
}

#[test]
fn a_monitor_that_another_client_holds_is_said_to_be_held() {
    let machine = Machine::start(&[]);
    let _held = std::os::unix::net::UnixStream::connect(&machine.monitor).unwrap();
    check(&machine.monitor, 12, "held by another client");
}

#[test]
fn a_socket_right_here_needs_no_slash() {
    let machine = Machine::start(&[]);
    let (folder, name) = machine.monitor.rsplit_once('/').unwrap();
    let output = qev(&["send", name, "query-name", "-o", "json"]).current_dir(folder).output().unwrap();
    assert_eq!(stdout(&output), "{}\n", "{}", stderr(&output));
}

#[test]
fn a_wrong_target_says_what_a_target_is() {
    let output = run(&["send", "web1", "query-status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no socket named 'web1' here"), "{}", stderr(&output));
    let output = run(&["send", "tcp:localhost", "query-status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected tcp:HOST:PORT"), "{}", stderr(&output));
}
