//! `fd:N`: a connection that whoever starts qev hands over, as it is handed to a QEMU.

use crate::program::{Machine, Running, Scratch, qev, run, stderr, stdout, text};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

/// A connection to the machine's monitor, to be inherited as standard input.
fn connection(machine: &Machine) -> Stdio {
    OwnedFd::from(UnixStream::connect(&machine.monitor).unwrap()).into()
}

/// Has a shell start the program, its standard input passed on as descriptor 5.
fn as_five(arguments: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("exec 5<&0 </dev/null; exec {} {arguments}", env!("CARGO_BIN_EXE_qev"));
    command.args(["-c", &script]);
    command
}

#[test]
fn a_connection_that_was_handed_over_is_watched() {
    let machine = Machine::start(&[]);
    let mut command = as_five("watch -o json --reconnect fd:5");
    command.stdin(connection(&machine));
    let (mut watch, mut lines) = Running::with_lines(command);
    assert_eq!(text(&lines.record(), "machine").as_deref(), Some("fd:5"));
    machine.guest("panic", "{}");
    lines.event("GUEST_PANICKED");
    // Nobody can connect it again: not even --reconnect waits for that.
    drop(machine);
    while lines.next().is_some() {}
    assert_eq!(watch.status(), 4);
}

#[test]
fn standard_input_may_be_the_connection() {
    let machine = Machine::start(&["--name", "web1"]);
    let output = qev(&["send", "fd:0", "query-name", "-o", "json"]).stdin(connection(&machine)).output().unwrap();
    assert_eq!(stdout(&output), "{\"name\": \"web1\"}\n", "{}", stderr(&output));
    // The command reads standard input: it must not take the monitor's words away.
    let mut command = qev(&["wait", "fd:0", "BALLOON_CHANGE", "--timeout", "2m", "--", "sh", "-c"]);
    command.arg(format!(
        "cat; {} send {} emit '{{\"event\": \"BALLOON_CHANGE\", \"data\": {{\"actual\": 1}}}}' >&2",
        env!("CARGO_BIN_EXE_qev"),
        machine.guest
    ));
    let output = command.stdin(connection(&machine)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("BALLOON_CHANGE") && !stdout(&output).contains("QMP"), "{}", stdout(&output));
}

#[test]
fn what_is_no_connection_to_a_monitor_is_said() {
    let scratch = Scratch::new();
    let path = scratch.path("listener.sock");
    let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let packets = OwnedFd::from(UnixDatagram::pair().unwrap().0);
    for (stdin, expected) in [
        (Stdio::null(), "fd:5 is no connection to a monitor: it is not a socket: "),
        (listener.into(), "fd:5 is no connection to a monitor: it is a listening socket: "),
        (packets.into(), "fd:5 is no connection to a monitor: it is not a stream socket: "),
    ] {
        let output = as_five("send fd:5 query-name").stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(10));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    // A verb that waits for sockets does not wait for this one.
    let output = run(&["wait", "fd:900", "*"]);
    assert_eq!(output.status.code(), Some(10));
    let expected = "fd:900 is no connection to a monitor: it was not left open for this program: ";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    let output = run(&["watch", "fd:x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected fd:N"), "{}", stderr(&output));
}
