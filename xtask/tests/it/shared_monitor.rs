//! The shared monitor on a real QEMU: every kind of client at once, thousands of commands, odd requests, bad clients, and
//! another user.
//!
//! QEMU has a second monitor, which is not shared: what is caused there, every client of the shared one must hear.

mod bad_clients;
mod exchanges;
mod ids;
mod other_users;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qapi::qmp;
use xtask::lab::monitor::Monitor;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::lab::transcript::Transcript;
use xtask::lab::watch::Watch;
use xtask::programs::{PYTHON, QEMU, SOCAT};
use xtask::workspace;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a client says to be let in.
const NEGOTIATE: &str = "{\"execute\": \"qmp_capabilities\"}\n";
const NEGOTIATE_OOB: &str = "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}\n";

/// A QEMU, one monitor of which is shared.
struct Shared {
    /// The monitor that is not.
    direct: PathBuf,
    /// Where the other is.
    path: PathBuf,
    share: Running,
    qemu: Running,
    scratch: Scratch,
}

impl Shared {
    fn start(machine: &[&str], allow: &[&str]) -> Shared {
        let scratch = Scratch::new().unwrap();
        let [direct, held, path] = ["direct", "held", "shared"].map(|name| scratch.socket(name).unwrap());
        let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
        command.args(machine).args(["-nodefaults", "-display", "none", "-name", "web1"]);
        for monitor in [&direct, &held] {
            command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        }
        let qemu = Running::start(command, QEMU.name).unwrap();
        until("QEMU listens", || UnixStream::connect(&direct).is_ok());
        let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
        command.arg("share").arg(&held).arg("--qmp").arg(&path).args(allow);
        let share = Running::start(command, "qev share").unwrap();
        until("qev shares", || UnixStream::connect(&path).is_ok());
        Shared { direct, path, share, qemu, scratch }
    }

    fn client(&self) -> Client {
        Client::connect(&self.path, NEGOTIATE)
    }
}

/// A client that speaks in lines.
struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn connect(path: &Path, negotiate: &str) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut client = Client { stream, lines };
        let greeting = client.line();
        assert!(greeting.starts_with("{\"QMP\": "), "{greeting}");
        client.say(negotiate.as_bytes());
        assert_eq!(client.line(), "{\"return\": {}}");
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next line; an empty one at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next line that is no event.
    fn reply(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("{\"timestamp\"") {
                return line;
            }
        }
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The names of the events in a text, in their order, but for one whose name is not whole yet.
fn events(text: &str) -> Vec<String> {
    let names = text.split("\"event\": \"").skip(1).chain(text.split("\"event\":\"").skip(1));
    names.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()).collect()
}

/// The Python that has `qemu.qmp`: `cargo xtask test` makes one and names it.
fn python() -> PathBuf {
    let named = std::env::var_os("QEV_TEST_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PYTHON.path().unwrap());
    let found = Command::new(&python).args(["-c", "import qemu.qmp"]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    assert!(is_there, "{} has no qemu.qmp: run `cargo xtask test`", python.display());
    python
}

/// How often the machine is stopped and goes on.
const ROUNDS: usize = 50;

#[test]
#[ignore = "needs a real QEMU and the Python package qemu.qmp: run by cargo xtask test"]
fn every_kind_of_client_at_once_hears_all_and_gets_its_own_replies() {
    let shared = Shared::start(&["-M", "none"], &["--allow", "operate"]);
    let program = workspace::qev_program().unwrap();
    let path = shared.path.to_str().unwrap();
    let expected: Vec<&str> = std::iter::repeat_n(["STOP", "RESUME"], ROUNDS).flatten().collect();

    let watches =
        ["one", "two", "three"].map(|name| Watch::start_with(&program, name, &[path], &shared.scratch).unwrap());
    watches.iter().for_each(|watch| watch.wait_until_attached().unwrap());

    let mut command = process::bound_to_us(&python()).unwrap();
    command.args(["-c", include_str!("../data/qemu_qmp_of_a_shared_monitor.py"), path, &expected.len().to_string()]);
    command.stdout(Stdio::piped());
    let mut python = Running::start(command, "python3").unwrap();
    let of_python = Transcript::of(python.child().stdout.take().unwrap());
    of_python.wait_for(PATIENCE, |text| text.contains("connected").then_some(())).unwrap();

    let mut socat = process::bound_to_us(&SOCAT.path().unwrap()).unwrap();
    socat.arg("-").arg(format!("UNIX-CONNECT:{path}")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut socat = Running::start(socat, SOCAT.name).unwrap();
    let mut typed = socat.child().stdin.take().unwrap();
    let of_socat = Transcript::of(socat.child().stdout.take().unwrap());
    typed.write_all(b"{ 'execute' : 'qmp_capabilities' , 'id' : 'let me in' }\n").unwrap();
    of_socat
        .wait_for(PATIENCE, |text| text.contains("{\"return\": {}, \"id\": \"let me in\"}\r\n").then_some(()))
        .unwrap();

    let of_qapi = {
        let stream = UnixStream::connect(path).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut client = qapi::Qmp::new(qapi::Stream::new(reader, stream));
        assert_eq!(client.handshake().unwrap().version.qemu.major, 7);
        let wanted = expected.len();
        std::thread::spawn(move || {
            let mut heard = Vec::new();
            let deadline = Instant::now() + PATIENCE;
            while heard.len() < wanted && Instant::now() < deadline {
                assert_eq!(client.execute(&qmp::query_name {}).unwrap().name.as_deref(), Some("web1"));
                assert!(client.execute(&qmp::device_del { id: "nope".to_owned() }).is_err());
                heard.extend(client.events().map(|event| match event {
                    qmp::Event::STOP { .. } => "STOP",
                    qmp::Event::RESUME { .. } => "RESUME",
                    _ => "another",
                }));
            }
            heard
        })
    };

    let mut direct = Monitor::connect(&shared.direct).unwrap();
    for round in 0..ROUNDS {
        direct.execute("{\"execute\": \"stop\"}").unwrap();
        typed.write_all(format!("{{'execute':'query-name','id':[{round},0.1]}}\nnonsense\n").as_bytes()).unwrap();
        direct.execute("{\"execute\": \"cont\"}").unwrap();
    }
    for watch in &watches {
        watch.wait_for_lines_with("\"kind\":\"event\"", expected.len()).unwrap();
        let heard: Vec<String> =
            watch.records().unwrap().iter().filter_map(|record| Some(record["event"].as_str()?.to_owned())).collect();
        assert_eq!(heard, expected);
    }
    assert_eq!(of_qapi.join().unwrap(), expected);
    of_socat
        .wait_for(PATIENCE, |text| {
            (events(text).len() == expected.len()
                && text.matches("invalid keyword").count() == ROUNDS
                && text.contains("[49, 0.10000000000000001]"))
            .then_some(())
        })
        .unwrap();
    assert_eq!(events(&of_socat.text()), expected);
    let replies: Vec<String> =
        of_socat.text().lines().filter(|line| line.contains("web1")).map(str::to_owned).collect();
    let ours: Vec<String> = (0..ROUNDS)
        .map(|n| format!("{{\"return\": {{\"name\": \"web1\"}}, \"id\": [{n}, 0.10000000000000001]}}"))
        .collect();
    assert_eq!(replies, ours);
    of_python.wait_for_end(PATIENCE).unwrap();
    assert!(python.wait(PATIENCE).unwrap().success(), "{}", of_python.text());
    let heard: Vec<String> =
        of_python.text().lines().filter_map(|line| line.strip_prefix("event ")).map(str::to_owned).collect();
    assert_eq!(heard, expected);

    // The last event comes to all, and then the end.
    drop((direct, shared.qemu));
    for mut watch in watches {
        assert_eq!(watch.wait_for_end(PATIENCE).unwrap().code(), Some(4));
    }
    let mut share = shared.share;
    assert_eq!(share.wait(PATIENCE).unwrap().code(), Some(4));
}
