//! `qev wait`: it listens first, then runs the command, then waits; and how it ends says what happened.

use crate::daemon::{PATIENCE, signal};
use crate::program::{Machine, Running, Scratch, exists, qev, run, stale, stderr, stdout, text};
use qev_qmp::Json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const QEV: &str = env!("CARGO_BIN_EXE_qev");

/// The records among the lines of the output.
fn records(output: &Output) -> Vec<Json> {
    let lines = stdout(output);
    let records = lines.lines().filter(|line| line.starts_with("{\"kind\""));
    records.map(|line| Json::parse(line).unwrap()).collect()
}

/// A shell command that makes the machine emit this.
fn emit(machine: &Machine, event: &str) -> String {
    format!("'{QEV}' send '{}' emit '{event}'", machine.guest)
}

#[test]
fn what_the_command_causes_is_not_missed() {
    let machine = Machine::start(&["--name", "web1"]);
    let arguments = ["wait", &machine.target(), "GUEST_*", "-o", "json", "--", QEV, "send", &machine.guest, "panic"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = records(&output);
    assert_eq!(records.len(), 1);
    assert_eq!(text(&records[0], "event").as_deref(), Some("GUEST_PANICKED"));
    assert_eq!(text(&records[0], "machine").as_deref(), Some("web1"));
    // What the command printed is there too.
    assert!(stdout(&output).contains("{\n}\n"), "{}", stdout(&output));
}

#[test]
fn an_event_that_comes_while_the_command_runs_counts_and_the_command_is_let_finish() {
    let machine = Machine::start(&[]);
    let script = format!("{} && echo done", emit(&machine, r#"{"event": "STOP"}"#));
    let output = run(&["wait", &machine.monitor, "stop", "--", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(printed.contains("\ndone\n") && printed.contains("  STOP  "), "{printed}");
}

#[test]
fn only_what_is_asked_for_counts_and_as_often_as_asked_for() {
    let machine = Machine::start(&[]);
    let events = ["pause", "run", "poweroff", "run", "run"]
        .map(|action| emit(&machine, &format!(r#"{{"event": "GUEST_PANICKED", "data": {{"action": "{action}"}}}}"#)));
    let script = events.join(" && ");
    let arguments = ["wait", &machine.monitor, "X", "GUEST_PANICKED", "-w", "data.action=run", "-n", "2", "-o", "json"];
    let output = run(&[&arguments[..], &["--severity", "debug", "--", "sh", "-c", &script]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = records(&output);
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| text(record, "data.action").as_deref() == Some("run")));
}

#[test]
fn a_command_that_fails_ends_it_with_its_status_whatever_came() {
    let machine = Machine::start(&[]);
    let script = format!("{} && cat && echo oh >&2 && exit 7", emit(&machine, r#"{"event": "STOP"}"#));
    let mut command = qev(&["wait", &machine.monitor, "STOP", "--", "sh", "-c", &script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from standard input\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(stdout(&output).contains("from standard input\n"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "oh\n");
}

#[test]
fn a_command_that_cannot_run_or_is_killed_ends_it_as_a_shell_would_have_it() {
    let machine = Machine::start(&[]);
    let scratch = Scratch::new();
    let file = scratch.image("file", &[]);
    let missing = scratch.path("missing");
    for (command, code, told) in [
        (&["sh", "-c", "kill -9 $$"][..], 137, ""),
        (&[&missing], 127, "cannot run"),
        (&[&file], 126, "cannot run"),
        (&["false"], 1, ""),
    ] {
        let output = run(&[&["wait", &machine.monitor, "STOP", "--"], command].concat());
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_machine_that_goes_away_is_4_unless_the_event_came_before() {
    let machine = Machine::start(&[]);
    let kill = format!("kill -9 {}", machine.running.0.id());
    let output = run(&["wait", &machine.monitor, "RESUME", "--", "sh", "-c", &kill]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(stderr(&output), "qev: vm1: the peer closed the connection before RESUME came\n");

    let machine = Machine::start(&[]);
    let kill = format!("{} && kill -9 {}", emit(&machine, r#"{"event": "STOP"}"#), machine.running.0.id());
    let output = run(&["wait", &machine.monitor, "STOP", "--", "sh", "-c", &kill]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_socket_that_is_not_there_yet_is_waited_for() {
    let scratch = Scratch::new();
    let (monitor, guest) = (scratch.path("vm1.sock"), scratch.path("guest.sock"));
    // A stale one is as good as none.
    stale(&monitor);
    // The guest's socket is made after the monitor's.
    let script =
        format!("until [ -S '{guest}' ]; do sleep 0.05; done; '{QEV}' send '{guest}' emit '{{\"event\": \"STOP\"}}'");
    let mut command = qev(&["wait", &monitor, "STOP", "-o", "json", "--", "sh", "-c", &script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.starts_with("qev: waiting: nobody listens at "), "{line}");
    let _machine = Machine::start_in(scratch, &[]);
    std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(records(&output).len(), 1);
}

#[test]
fn time_that_is_over_is_124_and_says_what_did_not_happen() {
    let machine = Machine::start(&[]);
    // Time enough to be connected, on any machine.
    let output = run(&["wait", &machine.monitor, "RESET", "B_*", "--timeout", "10.0"]);
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(stderr(&output), "qev: timed out after 10s, before RESET or B_* came\n");

    let scratch = Scratch::new();
    let output = run(&["wait", &scratch.path("missing.sock"), "A", "--timeout", "2s"]);
    assert_eq!(output.status.code(), Some(124));
    assert!(stderr(&output).contains("timed out after 2s: there is no socket at"), "{}", stderr(&output));
}

#[test]
fn an_event_with_another_value_is_told_of_when_the_time_is_over() {
    let machine = Machine::start(&[]);
    let emitted = emit(&machine, r#"{"event": "BALLOON_CHANGE", "data": {"actual": 5}}"#);
    let arguments = ["wait", &machine.monitor, "BALLOON_CHANGE", "-w", "data.actual!=5", "--timeout", "10s"];
    let output = run(&[&arguments[..], &["--", "sh", "-c", &emitted]].concat());
    assert_eq!(output.status.code(), Some(124));
    let expected = "qev: timed out after 10s, before BALLOON_CHANGE with data.actual!=5 came; BALLOON_CHANGE came once, with \
                    data.actual=5\n";
    assert_eq!(stderr(&output), expected);
    let output = run(&["wait", &machine.monitor, "BALLOON_CHANGE", "-w", "data.acual=5"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "qev: BALLOON_CHANGE has no member data.acual: did you mean data.actual?\n";
    assert_eq!(stderr(&output), expected);
    let found = emit(&machine, r#"{"event": "BALLOON_CHANGE", "data": {"actual": 7340032}}"#);
    let output = run(&["wait", &machine.monitor, "*", "-g", "7 MiB", "--", "sh", "-c", &found]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let machine = Machine::start(&[]);
    let script = "echo $$; exec sleep 1000";
    let output = run(&["wait", &machine.monitor, "STOP", "--timeout", "10s", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(124));
    assert!(stderr(&output).contains("the command had not ended; ending it"), "{}", stderr(&output));
    assert!(!exists(&format!("/proc/{}", stdout(&output).trim())));
}

/// Without a terminal, whatever the tests were started from.
fn off_terminal(arguments: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.arg(QEV).args(arguments).env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Waits until a process has ended; whether its parent has looked is all the same.
fn until_ended(pid: &str) {
    let deadline = Instant::now() + PATIENCE;
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !matches!(stat.rsplit(')').next().unwrap().split_whitespace().next(), None | Some("Z" | "X"))
    };
    while runs() {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_the_command_started_is_ended_with_it() {
    let machine = Machine::start(&[]);
    for script in ["sleep 3333 & echo $!; wait", "trap '' TERM; sleep 3333 & echo $!; wait"] {
        let arguments = ["wait", &machine.monitor, "STOP", "--timeout", "10s", "--", "sh", "-c", script];
        let output = off_terminal(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
        let printed = stdout(&output);
        assert!(!printed.trim().is_empty(), "it was started: {}", stderr(&output));
        until_ended(printed.trim());
    }
    for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let script = "sh -c 'echo $$; exec sleep 3333'; exit 9";
        let (mut wait, mut lines) =
            Running::with_lines(off_terminal(&["wait", &machine.monitor, "STOP", "--", "sh", "-c", script]));
        let pid = lines.next().unwrap();
        signal(&wait, name);
        assert_eq!(wait.status(), status);
        until_ended(&pid);
    }
}

#[test]
fn on_a_terminal_the_command_reads_it_and_ctrl_c_reaches_all() {
    let machine = Machine::start(&[]);
    let inner = "echo $$; read -r line; echo \"got $line\"; exec sleep 3333";
    let wait = format!("exec '{QEV}' wait '{}' STOP -- sh -c '{inner}'", machine.monitor);
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &wait, "/dev/null"]).stdin(Stdio::piped());
    let (mut terminal, mut lines) = Running::with_lines(terminal);
    let mut keys = terminal.0.stdin.take().unwrap();
    let pid = lines.next().expect("script is there (util-linux)");
    keys.write_all(b"hello\n").unwrap();
    while lines.next().expect("the command reads") != "got hello" {}
    keys.write_all(b"\x03").unwrap();
    assert_eq!(terminal.status(), 130);
    until_ended(&pid);
}

/// The words that run this on a terminal.
fn terminal(command: &str) -> Command {
    let mut terminal = Command::new("script");
    terminal.args(["-qec", command, "/dev/null"]).env("TZ", "UTC").stdin(Stdio::piped());
    terminal
}

#[test]
fn on_a_terminal_too_what_the_command_started_is_ended_with_it() {
    let machine = Machine::start(&[]);
    // One whose parent has ended already, one that does not heed SIGTERM, and one that is a child of the command.
    let inner = "(sleep 3333 & echo $!); sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' & sleep 3333 & echo $!; wait";
    let wait = format!("exec '{QEV}' wait '{}' STOP --timeout 10s -- sh -c \"$INNER\"", machine.monitor);
    let mut command = terminal(&wait);
    let (mut terminal, mut lines) = Running::with_lines({
        command.env("INNER", inner);
        command
    });
    let pids: Vec<String> = (0..3).map(|_| lines.next().expect("script is there (util-linux)")).collect();
    while let Some(line) = lines.next() {
        if line.contains("timed out") {
            assert_eq!(line, "qev: timed out after 10s: the command had not ended; ending it");
        }
    }
    assert_eq!(terminal.status(), 124);
    pids.iter().for_each(|pid| until_ended(pid));
}

#[test]
fn being_asked_to_end_reaches_the_command() {
    let machine = Machine::start(&[]);
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut wait, mut lines) = Running::with_lines(qev(&["wait", &machine.monitor, "STOP", "--", "sh", "-c", script]));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    assert!(std::process::Command::new("kill").arg(wait.0.id().to_string()).status().unwrap().success());
    assert_eq!(wait.status(), 9);
}

#[test]
fn with_no_event_to_wait_for_it_ends_when_the_machine_is_there() {
    let machine = Machine::start(&[]);
    assert_eq!(run(&["wait", &machine.monitor, "*", "-n", "0"]).status.code(), Some(0));
}

#[test]
fn what_will_never_be_a_monitor_is_not_waited_for() {
    let scratch = Scratch::new();
    let path = scratch.path("hmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let output = run(&["wait", &path, "STOP"]);
    assert_eq!(output.status.code(), Some(13), "{}", stderr(&output));
    server.join().unwrap();
    for arguments in [&["wait", "/x/vm.sock"][..], &["wait", "/x/vm.sock", "STOP", "-n", "x"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = run(&["watch", &path, "-n", "0"]);
    assert!(stderr(&output).contains("expected a whole number, 1 or more"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
    for verb in [&["wait", "vm.sock", "STOP"][..], &["watch", "vm.sock"]] {
        let output = run(&[verb, &["--state-dir", &scratch.path("none")]].concat());
        assert_eq!(output.status.code(), Some(10), "nobody knows machines by name: {}", stderr(&output));
        let expected =
            "qev: there is no socket named 'vm.sock' here, and no machine of that name is known: no daemon is behind";
        assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
    }
}

#[test]
fn names_that_nobody_knows_are_told_and_waited_for_all_the_same() {
    let machine = Machine::start(&[]);
    let emitted = emit(&machine, r#"{"event": "GUEST_PANIKED", "unchecked": true}"#);
    let arguments =
        ["wait", &machine.monitor, "GUEST_PANIKED", "SHUTDOWN", "--timeout", "2m", "--", "sh", "-c", &emitted];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stderr(&output),
        "qev: no event that qev knows is called 'GUEST_PANIKED': did you mean GUEST_PANICKED?\n"
    );

    let scratch = Scratch::new();
    let missing = scratch.path("missing.sock");
    for verb in [
        &["watch", &missing, "-e", "NOSUCHEVENT", "-w", "action=pause"][..],
        &["send", &missing, "cont", "--wait", "NOSUCHEVENT", "-w", "action=pause"],
        &["log", "-e", "NOSUCHEVENT", "-w", "action=pause", "--state-dir", &missing],
        &["run", "--fail-on", "NOSUCHEVENT", "-w", "action=pause", "--", &missing],
    ] {
        let told = stderr(&run(verb));
        assert!(told.contains("qev: no event that qev knows is called 'NOSUCHEVENT': qev explain lists"), "{told}");
        assert!(told.contains("qev: no record has a member 'action': "), "{told}");
    }
}
