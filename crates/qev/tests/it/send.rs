//! `qev send`: one command, its reply, and an exit code for each way in which there is none.

use crate::program::{Machine, Raw, Scratch, qev, run, stale, stderr, stdout, text};
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
    for (arguments, expected) in [
        ("{\"id\": }", "not JSON at byte 7: expected a value"),
        ("[1]", "expected an object: {\"name\": value, …}"),
        ("id=d1", "in single quotes, such as '{\"id\": \"d1\"}'"),
    ] {
        let output = run(&["send", "/nowhere/vm.sock", "device_del", arguments]);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(2));
    }
}

/// What a socket that is none of ours leads to.
fn check(target: &str, timeout: &str, code: i32, expected: &str) {
    let output = run(&["send", target, "query-status", "--timeout", timeout]);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(stderr(&output).contains(expected), "expected {expected:?} in: {}", stderr(&output));
}

#[test]
fn every_way_of_not_getting_in_has_its_exit_code() {
    let scratch = Scratch::new();
    check(&scratch.path("missing.sock"), "2m", 10, "there is no socket at");

    let nobody = scratch.path("stale.sock");
    stale(&nobody);
    check(&nobody, "2m", 11, "nobody listens");

    let silent = scratch.path("silent.sock");
    let _listener = UnixListener::bind(&silent).unwrap();
    check(&silent, "1s", 14, "no greeting");

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
        check(&path, "2m", code, expected);
        server.join().unwrap();
    }
}

#[test]
fn a_command_that_is_not_answered_ends_when_the_time_is_over_that_was_asked_for() {
    let scratch = Scratch::new();
    let path = scratch.path("slow.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut client = Raw::new(stream);
        client.send("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, \"capabilities\": []}}\r\n");
        let request = qev_qmp::Json::parse(&client.line()).unwrap();
        let id = request.get("id").map_or_else(String::new, |id| format!(", \"id\": {}", id.as_text()));
        client.send(&format!("{{\"return\": {{}}{id}}}\r\n"));
        // Until the client has left.
        while !client.line().is_empty() {}
    });
    let output = run(&["send", &path, "query-status", "--timeout", "10s"]);
    assert_eq!(stderr(&output), "qev: query-status: no answer in 10s\n");
    assert_eq!(output.status.code(), Some(124));
    server.join().unwrap();
}

#[test]
fn a_monitor_that_another_client_holds_is_said_to_be_held() {
    let machine = Machine::start(&[]);
    let _held = Raw::connect(&machine.monitor);
    // It is this process that holds it.
    check(&machine.monitor, "1s", 12, &format!("in use by another client, process {} (", std::process::id()));
}

/// It is looked first: nobody waits for the time that is over long before a greeting could be.
#[test]
fn every_verb_says_before_its_time_is_over_that_a_monitor_is_in_use() {
    let machine = Machine::start(&[]);
    let _held = Raw::connect(&machine.monitor);
    let held = format!("in use by another client, process {} (", std::process::id());
    for verb in [
        &["watch", "--timeout", "2s", &machine.monitor][..],
        &["wait", "--timeout", "2s", &machine.monitor, "STOP"],
        &["explain", "--check", &machine.monitor],
    ] {
        let output = run(verb);
        assert_eq!(output.status.code(), Some(12), "{verb:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&held), "{verb:?}: {}", stderr(&output));
    }
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
    for (target, expected) in [
        ("vm.sock", "qev: there is no socket named 'vm.sock' here\n"),
        (
            "web1",
            "qev: there is no socket named 'web1' here; a machine's monitor is lent by the daemon at share/web1.qmp in its run \
             folder\n",
        ),
    ] {
        for verb in [
            &["send", target, "query-status"][..],
            &["share", target, "--qmp", "/x/q"],
            &["explain", "--check", target],
        ] {
            let output = run(verb);
            assert_eq!((&*stderr(&output), output.status.code()), (expected, Some(10)), "{verb:?}");
        }
    }
    let output = run(&["send", "tcp:localhost", "query-status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected tcp:HOST:PORT"), "{}", stderr(&output));
}

#[test]
fn an_event_that_comes_before_the_reply_counts() {
    let machine = Machine::start(&["--name", "web1"]);
    let output = run(&["send", &machine.monitor, "stop", "--wait", "STOP", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "the reply, then the event: {printed}");
    assert_eq!(lines[0], "{}");
    let record = qev_qmp::Json::parse(lines[1]).unwrap();
    assert_eq!(text(&record, "event").as_deref(), Some("STOP"));
    assert_eq!(text(&record, "machine").as_deref(), Some("web1"));

    let output = run(&["send", &machine.monitor, "cont", "--wait", "RESUME"]);
    assert!(stdout(&output).starts_with("{\n}\nweb1  "));
}

#[test]
fn an_event_that_comes_long_after_the_reply_is_waited_for() {
    let machine = Machine::start(&[]);
    for (command, arguments) in [
        ("object-add", r#"{"qom-type": "memory-backend-ram", "id": "m1", "size": 134217728}"#),
        ("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#),
    ] {
        let output = run(&["send", &machine.monitor, command, arguments]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let arguments = ["send", &machine.monitor, "device_del", r#"{"id": "d1"}"#, "--wait", "DEVICE_DELETED"];
    let output = run(&[&arguments[..], &["--where", "data.device=d1", "-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = qev_qmp::Json::parse(stdout(&output).lines().nth(1).unwrap()).unwrap();
    assert_eq!(text(&record, "data.device").as_deref(), Some("d1"));
}

#[test]
fn a_command_that_fails_is_not_waited_after() {
    let machine = Machine::start(&[]);
    let output =
        run(&["send", &machine.monitor, "device_del", r#"{"id": "x"}"#, "--wait", "DEVICE_DELETED", "--timeout", "1h"]);
    assert_eq!(stderr(&output), "qev: device_del: DeviceNotFound: Device 'x' not found\n");
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(1)));
}

#[test]
fn an_event_that_does_not_come_is_124_or_4() {
    let machine = Machine::start(&[]);
    // Time enough for the reply, on any machine.
    let output = run(&["send", &machine.monitor, "stop", "--wait", "RESUME", "--timeout", "10s", "-o", "json"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("{}\n", Some(124)));
    assert_eq!(stderr(&output), "qev: stop was answered, but no RESUME came in 10s\n");

    let output = run(&["send", &machine.monitor, "quit", "--wait", "RESUME", "-o", "json"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("{}\n", Some(4)));
    let expected = "qev: quit was answered, but no RESUME came: the peer closed the connection\n";
    assert_eq!(stderr(&output), expected);

    let output = run(&["send", "/x/vm.sock", "stop", "--where", "data.device=d1"]);
    assert_eq!(output.status.code(), Some(2), "there is nothing to be waited for");
}

#[test]
fn the_last_event_of_a_machine_is_heard() {
    let machine = Machine::start(&[]);
    let output = run(&["send", &machine.monitor, "quit", "--wait", "SHUTDOWN", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"event\":\"SHUTDOWN\""));
}

#[test]
fn a_whole_request_is_taken_for_a_command() {
    let machine = Machine::start(&[]);
    for (request, more, expected) in [
        (r#"{"execute": "query-balloon"}"#, &[][..], "{\"actual\": 268435456}\n"),
        (r#"{"execute": "query-balloon", "arguments": {}, "id": 7}"#, &[], "{\"actual\": 268435456}\n"),
        (r#"{"execute": "balloon"}"#, &[r#"{"value": 134217728}"#], "{}\n"),
    ] {
        let output = run(&[&["send", &machine.monitor, request], more, &["-o", "json"]].concat());
        assert_eq!((&*stdout(&output), output.status.code()), (expected, Some(0)), "{request}: {}", stderr(&output));
    }
    for (request, expected) in [
        (r#"{"execute": "balloon""#, "not JSON at byte "),
        (r#"{"execute": "balloon", "argument": {}}"#, "a request has no member 'argument'"),
        ("device_del id=d1", "'device_del id=d1' is not the name of a command; write '{\"execute\": \"device_del\""),
    ] {
        let output = run(&["send", &machine.monitor, request]);
        assert_eq!(output.status.code(), Some(2), "{request}");
        assert!(stderr(&output).contains(expected), "{request}: {}", stderr(&output));
    }
    let twice = r#"{"execute": "balloon", "arguments": {}}"#;
    let output = run(&["send", &machine.monitor, twice, "{}"]);
    assert!(stderr(&output).contains("the arguments are in COMMAND already"), "{}", stderr(&output));
}

#[test]
fn an_event_that_came_with_another_value_is_told_of_with_the_last_one() {
    let machine = Machine::start(&[]);
    let arguments = ["send", &machine.monitor, "balloon", r#"{"value": 134217728}"#, "--wait", "BALLOON_CHANGE"];
    let output = run(&[&arguments[..], &["-w", "data.actual=1", "--timeout", "10s"]].concat());
    assert_eq!(output.status.code(), Some(124));
    let told = stderr(&output);
    let start = "qev: balloon was answered, but no BALLOON_CHANGE with data.actual=1 came in 10s; BALLOON_CHANGE came ";
    assert!(told.starts_with(start) && told.ends_with(" with data.actual=134217728\n"), "{told}");

    // The same where the machine goes away first, and for who waits.
    let arguments = ["send", &machine.monitor, "quit", "--wait", "SHUTDOWN", "-w", "data.reason=guest-reset"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(4));
    let end = "; SHUTDOWN came once, with data.reason=host-qmp-quit\n";
    assert!(stderr(&output).ends_with(end), "{}", stderr(&output));
}
