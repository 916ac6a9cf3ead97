//! How tests run the program: sockets in a folder of their own, children that do not outlive the test.

use crate::daemon::PATIENCE;
use qev_qmp::Json;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// What was ignored when the tests were started (SIGHUP under `nohup`, SIGINT in the background of a script) would be ignored
/// in the program, too. What is caught here is not: it has its default again in whoever is started.
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs is mounted");
        let ignored =
            status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("the signals that are ignored");
        let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a set of signals");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _inside = runtime.enter();
        for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 1 {
                drop(signal(kind).expect("it can be caught"));
            }
        }
    });
}

/// The program, with a terminal's colours off and times in UTC.
pub(crate) fn qev(arguments: &[&str]) -> Command {
    heed_signals();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qev"));
    command.args(arguments).env("TZ", "UTC").stdin(Stdio::null());
    // What the tests themselves were started with is not for it: a terminal's colours, a service manager.
    for name in ["CLICOLOR_FORCE", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    qev(arguments).output().expect("qev runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("standard output is text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

/// A folder that goes away with the test. Its path is short: a socket's may have 107 bytes.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = Some(std::env::temp_dir()).filter(|path| path.as_os_str().len() < 40);
        let folder = temporary.unwrap_or_else(|| "/tmp".into());
        let path = folder.join(format!("qev-it-{}-{count}", std::process::id()));
        // A process of the same number may have been killed before it could remove its own.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// An image of 1 MiB in which each of these places has this byte.
    pub(crate) fn image(&self, name: &str, patches: &[(usize, usize, u8)]) -> String {
        let mut image = vec![0_u8; 1 << 20];
        for &(at, length, byte) in patches {
            image[at..at + length].fill(byte);
        }
        std::fs::write(self.0.join(name), image).expect("an image");
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A child that is killed when the test is done with it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts the program and waits until it has said this many lines on standard error.
    pub(crate) fn until_told(mut command: Command, lines: usize) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("qev starts");
        let mut told = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        for _ in 0..lines {
            let mut line = String::new();
            told.read_line(&mut line).expect("standard error");
            assert!(line.contains("serving"), "qev said: {line}");
        }
        // What it says later must go somewhere.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Running(child)
    }

    /// Starts the program with its standard output to be read line by line.
    pub(crate) fn with_lines(mut command: Command) -> (Running, Lines) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("qev starts");
        let lines = Lines(BufReader::new(child.stdout.take().expect("standard output is a pipe")));
        (Running(child), lines)
    }

    pub(crate) fn status(&mut self) -> i32 {
        self.0.wait().expect("the child ends").code().expect("no signal ended it")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines as they come.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("standard output is text");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next line as a record.
    pub(crate) fn record(&mut self) -> Json {
        let line = self.next().expect("another line");
        Json::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The next record of this event; others pass.
    pub(crate) fn event(&mut self, name: &str) -> Json {
        loop {
            let record = self.record();
            if text(&record, "event").as_deref() == Some(name) {
                return record;
            }
        }
    }
}

/// The text of a member, or of a member of a member: `data.action`.
pub(crate) fn text(record: &Json, path: &str) -> Option<String> {
    let mut json = record.clone();
    for name in path.split('.') {
        json = json.get(name)?;
    }
    json.string().or_else(|| Some(json.as_text().to_owned()))
}

/// A machine of 256 MiB with a balloon, two DIMM slots and a panic device, and perhaps more.
pub(crate) struct Machine {
    pub(crate) running: Running,
    pub(crate) monitor: String,
    pub(crate) guest: String,
    _scratch: Scratch,
}

impl Machine {
    pub(crate) fn start(more: &[&str]) -> Machine {
        Machine::start_in(Scratch::new(), more)
    }

    pub(crate) fn start_in(scratch: Scratch, more: &[&str]) -> Machine {
        let (monitor, guest) = (scratch.path("vm1.sock"), scratch.path("guest.sock"));
        let mut command = qev(&["simulate", "--qmp", &monitor, "--guest", &guest]);
        command.args(["--memory", "256M,slots=2,maxmem=1G", "--balloon", "--panic", "pause"]).args(more);
        Machine { running: Running::until_told(command, 2), monitor, guest, _scratch: scratch }
    }

    /// A machine with a quorum q0 over three replicas: c1 is wrong in sectors 8 to 15, and all differ in sector 128.
    pub(crate) fn with_quorum(more: &[&str]) -> Machine {
        let scratch = Scratch::new();
        let children = [
            scratch.image("a.raw", &[(65536, 512, 1)]),
            scratch.image("b.raw", &[(4096, 4096, 0xEE), (65536, 512, 2)]),
            scratch.image("c.raw", &[(65536, 512, 3)]),
        ];
        let quorum = format!("q0,vote-threshold=2,children={}", children.join(":"));
        Machine::start_in(scratch, &[&["--quorum", &quorum], more].concat())
    }

    pub(crate) fn target(&self) -> String {
        format!("unix:{}", self.monitor)
    }

    /// Sends a command to the guest's side, which must succeed.
    pub(crate) fn guest(&self, command: &str, arguments: &str) {
        let output = run(&["send", &self.guest, command, arguments]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// A client that speaks in lines, on a monitor that does not spread messages over lines.
pub(crate) struct Raw(pub(crate) BufReader<UnixStream>);

impl Raw {
    pub(crate) fn new(stream: UnixStream) -> Raw {
        // A test that waits for what does not come is to fail, not to hang.
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Raw(BufReader::new(stream))
    }

    /// A client that has negotiated.
    pub(crate) fn negotiated(stream: UnixStream) -> Raw {
        let mut raw = Raw::new(stream);
        let greeting = raw.line();
        assert!(greeting.starts_with(r#"{"QMP": "#), "{greeting}");
        assert_eq!(raw.execute("qmp_capabilities", "{}"), r#"{"return": {}}"#);
        raw
    }

    /// Connects to a monitor, and negotiates.
    pub(crate) fn connect(path: &str) -> Raw {
        Raw::negotiated(UnixStream::connect(path).expect("a monitor"))
    }

    /// The next line without its end; an empty one at the end of the stream.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    /// Executes a command and gives back the line of its reply; events before it pass.
    pub(crate) fn execute(&mut self, command: &str, arguments: &str) -> String {
        self.send(&format!("{{\"execute\": \"{command}\", \"arguments\": {arguments}}}"));
        loop {
            let line = self.line();
            if !line.contains(r#""event": "#) {
                return line;
            }
        }
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(line.as_bytes()).expect("a monitor that reads");
    }
}

/// A socket at which nobody listens. Nobody ever did: one that is closed may live on for a moment in a program that another
/// test starts.
pub(crate) fn stale(path: &str) {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a path of a socket's length")).expect("a free path");
}

/// Whether a path is there.
pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
