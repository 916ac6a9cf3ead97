//! `qev watch --attach`: QEMUs come to us. And `--reconnect`: we come back to them.

use crate::program::{Lines, Machine, Running, Scratch, exists, qev, run, stale, stderr, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{ChildStderr, Command, Stdio};

/// A watch whose standard error is read too.
fn watch(arguments: &[&str]) -> (Running, Lines, BufReader<ChildStderr>) {
    let mut command = qev(&[&["watch", "-o", "json"], arguments].concat());
    command.stderr(Stdio::piped());
    let (mut watch, lines) = Running::with_lines(command);
    let told = BufReader::new(watch.0.stderr.take().unwrap());
    (watch, lines, told)
}

fn line(told: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A connection of either kind.
trait Connection: Read + Write + Send + Sized + 'static {
    fn twice(self) -> (Self, Self);
    fn hang_up(&self);
}

macro_rules! connection {
    ($stream:ty) => {
        impl Connection for $stream {
            fn twice(self) -> (Self, Self) {
                (self.try_clone().unwrap(), self)
            }

            fn hang_up(&self) {
                // It may have ended already.
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    };
}

connection!(UnixStream);
connection!(TcpStream);

/// Carries bytes between two connections until either ends.
fn join(one: impl Connection, other: impl Connection) {
    let ((mut from_one, mut to_one), (mut from_other, mut to_other)) = (one.twice(), other.twice());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_one, &mut to_other);
        to_other.hang_up();
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_other, &mut to_one);
        to_one.hang_up();
    });
}

/// The machine's monitor dials this path, as a QEMU's would. What comes back ends the connection when it is shut down.
fn dial(machine: &Machine, path: &str) -> UnixStream {
    let (monitor, dialled) = (UnixStream::connect(&machine.monitor).unwrap(), UnixStream::connect(path).unwrap());
    let end = monitor.try_clone().unwrap();
    join(monitor, dialled);
    end
}

fn signal(running: &Running, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &running.0.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn each_machine_that_dials_is_watched_and_known_by_its_process() {
    let (named, nameless) = (Machine::start(&["--name", "web1"]), Machine::start(&[]));
    let scratch = Scratch::new();
    let (first, second) = (scratch.path("a.sock"), scratch.path("b.sock"));
    // A socket that nobody listens at is replaced.
    stale(&first);
    let (mut watch, mut lines, mut told) = watch(&["--attach", &first, "--attach", &second]);
    assert_eq!(line(&mut told), format!("qev: listening at {first}"));
    assert_eq!(line(&mut told), format!("qev: listening at {second}"));

    let pid = format!("pid-{}", std::process::id());
    let _connections = [(&named, &first, "web1"), (&nameless, &second, pid.as_str())].map(|(machine, path, name)| {
        let connection = dial(machine, path);
        let attached = lines.record();
        assert_eq!(text(&attached, "kind").as_deref(), Some("attached"));
        assert_eq!(text(&attached, "machine").as_deref(), Some(name));
        assert_eq!(text(&attached, "session").as_deref(), Some(pid.as_str()));
        let summary = text(&attached, "summary").unwrap();
        assert!(summary.starts_with(&format!("attached: process {} of user ", std::process::id())), "{summary}");
        connection
    });
    named.guest("emit", r#"{"event": "STOP"}"#);
    assert_eq!(text(&lines.event("STOP"), "machine").as_deref(), Some("web1"));

    drop((named, nameless));
    for _ in 0..2 {
        assert_eq!(text(&lines.record(), "kind").as_deref(), Some("detached"));
    }
    signal(&watch, "INT");
    assert_eq!(watch.status(), 0);
    assert!(!exists(&first) && !exists(&second), "what was made is removed");
}

#[test]
fn a_machine_that_dials_again_has_a_gap_before_it() {
    let machine = Machine::start(&["--name", "web1"]);
    let scratch = Scratch::new();
    let path = scratch.path("a.sock");
    let (watch, mut lines, mut told) = watch(&["--attach", &path]);
    line(&mut told);
    let connection = dial(&machine, &path);
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("attached"));
    connection.shutdown(Shutdown::Both).unwrap();
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("detached"));
    let _connection = dial(&machine, &path);
    let gap = lines.record();
    assert_eq!(text(&gap, "kind").as_deref(), Some("gap"));
    assert_eq!(text(&gap, "machine").as_deref(), Some("web1"));
    assert!(text(&gap, "from").unwrap() < text(&gap, "until").unwrap());
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("attached"));
    signal(&watch, "TERM");
    assert_eq!(lines.next(), None);
}

#[test]
fn one_that_is_no_qemu_is_complained_about_once_and_disturbs_nobody() {
    let machine = Machine::start(&["--name", "web1"]);
    let scratch = Scratch::new();
    let path = scratch.path("a.sock");
    let (_watch, mut lines, mut told) = watch(&["--attach", &path]);
    line(&mut told);
    for _ in 0..3 {
        let mut human = UnixStream::connect(&path).unwrap();
        let greeting = b"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";
        human.write_all(greeting).unwrap();
        // Until it is hung up on.
        let _ = std::io::copy(&mut human, &mut std::io::sink());
    }
    let _connection = dial(&machine, &path);
    assert_eq!(text(&lines.record(), "machine").as_deref(), Some("web1"));
    assert!(line(&mut told).contains("is a human monitor (HMP)"));
    drop((machine, _watch));
    assert_eq!(line(&mut told), "", "nothing more was told");
}

#[test]
fn a_path_in_use_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("a.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let output = run(&["watch", "--attach", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another program listens at"), "{}", stderr(&output));
    assert!(exists(&path));
}

#[test]
fn a_machine_that_comes_back_is_connected_to_again_and_the_gap_is_shown() {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm1.sock");
    let simulate = || {
        let mut command = qev(&["simulate", "--name", "web1", "--qmp", &monitor]);
        command.args(["--guest", &scratch.path("guest.sock")]);
        Running::until_told(command, 2)
    };
    let (mut watch, mut lines, mut told) = watch(&["--reconnect", "-n", "1", &monitor]);
    // It is not there yet.
    assert!(line(&mut told).starts_with("qev: waiting: there is no socket at "));
    let first = simulate();
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("attached"));
    drop(first);
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("detached"));
    assert!(line(&mut told).starts_with("qev: waiting: nobody listens at "));
    let _second = simulate();
    let gap = lines.record();
    assert_eq!(text(&gap, "kind").as_deref(), Some("gap"));
    assert_eq!(text(&gap, "reason").as_deref(), Some("not connected"));
    assert!(text(&gap, "from").unwrap() < text(&gap, "until").unwrap());
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("attached"));
    let output = run(&["send", &scratch.path("guest.sock"), "emit", r#"{"event": "STOP"}"#]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(text(&lines.record(), "event").as_deref(), Some("STOP"));
    assert_eq!(watch.status(), 0);
}

#[test]
fn a_monitor_on_tcp_is_as_good_as_any() {
    let machine = Machine::start(&[]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let monitor = machine.monitor.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            join(UnixStream::connect(&monitor).unwrap(), stream.unwrap());
        }
    });
    let target = format!("tcp:127.0.0.1:{port},server=on,wait=off");
    let (mut watch, mut lines, _told) = watch(&[&target]);
    let attached = lines.record();
    assert_eq!(text(&attached, "machine"), Some(format!("127.0.0.1:{port}")));
    machine.guest("emit", r#"{"event": "STOP"}"#);
    lines.event("STOP");
    drop(machine);
    assert_eq!(text(&lines.record(), "kind").as_deref(), Some("detached"));
    assert_eq!(watch.status(), 4);
}

#[test]
fn a_simulated_machine_dials_as_a_qemu_does_before_and_after_us() {
    let scratch = Scratch::new();
    let path = scratch.path("a.sock");
    let guest = scratch.path("guest.sock");
    let mut simulate = qev(&["simulate", "--name", "web1", "--dial", &path, "--guest", &guest]);
    let machine = Running(simulate.stderr(Stdio::null()).spawn().unwrap());
    for _ in 0..2 {
        let (_watch, mut lines, _told) = watch(&["--attach", &path]);
        let attached = lines.record();
        assert_eq!(text(&attached, "kind").as_deref(), Some("attached"));
        assert_eq!(text(&attached, "session"), Some(format!("pid-{}", machine.0.id())));
        let output = run(&["send", &guest, "emit", r#"{"event": "STOP"}"#]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(text(&lines.event("STOP"), "machine").as_deref(), Some("web1"));
    }
}
