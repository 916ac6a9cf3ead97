//! A machine that is dialled over TCP, and whose host vanishes: no word comes of it, and it is told all the same.
//!
//! ```text
//!   a network of its own              another
//!   qev serve  10.211.0.1 ──── veth ────  10.211.0.2  QEMU "quiet"
//!                                            │        QEMU "asked": a command is on its way to it
//!                                      taken down
//! ```

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::{IP, NSENTER, QEMU, UNSHARE};
use xtask::workspace;

use crate::daemon::Daemon;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What qev promises, and what a busy machine may add to it.
const VANISHED_AFTER: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_secs(60);

/// A network that no other process is in: it lasts as long as this one that does nothing.
struct Network(Running);

impl Network {
    fn new() -> Network {
        let mut command = process::bound_to_us(&UNSHARE.path().unwrap()).unwrap();
        command.args(["--net", "sleep", "infinity"]);
        let mut running = Running::start(command, "unshare").unwrap();
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let (ours, pid) = (of("self"), running.id().to_string());
        until("a network of its own", || {
            let ended = running.status().unwrap();
            assert!(ended.is_none(), "a test of two networks must be run as root: unshare --net ended with {ended:?}");
            of(&pid).is_some_and(|its| Some(its) != ours)
        });
        Network(running)
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// A program that is to run in it, before its arguments.
    fn words(&self, program: &Path) -> Vec<String> {
        vec!["--net".to_owned(), format!("--target={}", self.id()), "--".to_owned(), program.display().to_string()]
    }

    fn start(&self, program: &Path, arguments: &[&str], name: &str) -> Running {
        let mut command = process::bound_to_us(&NSENTER.path().unwrap()).unwrap();
        command.args(self.words(program)).args(arguments);
        Running::start(command, name).unwrap()
    }

    fn ip(&self, arguments: &str) {
        let mut command = Command::new(NSENTER.path().unwrap());
        command.args(self.words(&IP.path().unwrap())).args(arguments.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A client of a machine that the daemon lends, which has been let in.
fn client(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"{\"execute\": \"qmp_capabilities\"}").unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while !heard.ends_with(b"{\"return\": {}}\r\n") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "it was let in");
        heard.extend_from_slice(&piece[..read]);
    }
    stream
}

#[test]
#[ignore = "needs a real QEMU, and root for two networks: run by cargo xtask test"]
fn a_host_that_vanishes_is_told_whether_its_machine_was_quiet_or_asked_something() {
    let scratch = Scratch::new().unwrap();
    let (near, far) = (Network::new(), Network::new());
    near.ip(&format!("link add veth0 type veth peer name veth0 netns {}", far.id()));
    for (network, address) in [(&near, "10.211.0.1/24"), (&far, "10.211.0.2/24")] {
        network.ip(&format!("addr add {address} dev veth0"));
        network.ip("link set veth0 up");
    }
    let machines = [("quiet", 4444), ("asked", 4445)];
    let config = scratch.path().join("config.toml");
    let text =
        machines.map(|(name, port)| format!("[[machine]]\nname = \"{name}\"\nmonitor = \"tcp:10.211.0.2:{port}\"\n"));
    fs::write(&config, text.concat()).unwrap();
    let qemu = QEMU.path().unwrap();
    let direct = machines.map(|(name, _)| scratch.socket(name).unwrap());
    let _qemus = [0, 1].map(|n| {
        let (name, port) = machines[n];
        let qmp = format!("tcp:10.211.0.2:{port},server=on,wait=off");
        let other = format!("unix:{},server=on,wait=off", direct[n].display());
        let monitors = ["-qmp", &qmp, "-qmp", &other];
        let arguments = [&["-M", "none", "-nodefaults", "-display", "none", "-name", name][..], &monitors].concat();
        far.start(&qemu, &arguments, QEMU.name)
    });
    let program = workspace::qev_program().unwrap();
    let words = near.words(&program);
    let daemon = Daemon::start_by(&NSENTER.path().unwrap(), &words, &scratch, &["--config", config.to_str().unwrap()]);
    for (name, _) in machines {
        daemon.kind("state", name);
    }
    let lent: PathBuf = scratch.path().join("state/share/asked.qmp");
    until("it is lent", || lent.exists());
    let mut client = client(&lent);

    far.ip("link set veth0 down");
    let begin = Instant::now();
    client.write_all(b"{\"execute\": \"query-status\"}").unwrap();
    for (name, _) in machines {
        let detached = daemon.kind("detached", name);
        let reason = detached["reason"].as_str().unwrap();
        assert!(reason.starts_with("nothing comes back from the peer's host any more: "), "{detached}");
        assert_eq!(detached["severity"], "error", "{detached}");
        eprintln!("{name}: {reason}, after {:?}", begin.elapsed());
    }
    assert!(begin.elapsed() < VANISHED_AFTER + LATE, "{:?}", begin.elapsed());
    // Its clients are let go.
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();

    // QEMU does not know that nobody is at the other end until it says something; then it serves the next.
    far.ip("link set veth0 up");
    for ((name, _), direct) in machines.iter().zip(&direct) {
        let output = Command::new(&program).arg("send").arg(direct).arg("stop").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        daemon.until(&format!("{name}, which is back"), |record| record["kind"] == "gap" && record["machine"] == *name);
    }
}
