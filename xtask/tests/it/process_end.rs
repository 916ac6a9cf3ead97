//! How real QEMUs ended, as `qev serve` tells it: with a parent that reaps them at once, with the rights that the unit leaves
//! the daemon and with none, and when the kernel has no memory for them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::memory_group::MemoryGroup;
use xtask::lab::monitor::Monitor;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::{self, QEMU, SETPRIV};
use xtask::workspace;

use crate::daemon::{Daemon, text};

/// How many QEMUs are killed in one moment.
const MANY: usize = 24;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// The options of setpriv under which the daemon has no capability at all.
const NO_CAPABILITY: &[&str] = &["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];

/// A daemon whose setpriv is given these options. Any user may dial it.
fn daemon_with(scratch: &Scratch, options: &[&str]) -> Daemon {
    let qev = workspace::qev_program().unwrap();
    let arguments: Vec<String> = options.iter().copied().chain(["--", text(&qev)]).map(str::to_owned).collect();
    let daemon = Daemon::start_by(&SETPRIV.path().unwrap(), &arguments, scratch, &[]);
    let socket = scratch.socket("attach.sock").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        assert!(Instant::now() < deadline, "the daemon does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    daemon
}

/// What makes a QEMU dial the daemon under this name.
fn dials(scratch: &Scratch, name: &str) -> Vec<String> {
    let chardev = format!("socket,id=qev,path={},reconnect=1", text(&scratch.socket("attach.sock").unwrap()));
    let words = ["-nodefaults", "-display", "none", "-M", "none", "-name", name];
    words.into_iter().chain(["-chardev", &chardev, "-mon", "chardev=qev,mode=control"]).map(str::to_owned).collect()
}

/// The capabilities that the unit leaves the daemon, as setpriv has them.
fn options_of_the_unit() -> Vec<String> {
    let unit = workspace::root().join("contrib/systemd/qev.service");
    let unit = fs::read_to_string(unit).unwrap();
    let kept = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let kept = kept.split_whitespace().map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    let set = kept.fold("--bounding-set=-all".to_owned(), |set, name| set + &name);
    vec![set, "--inh-caps=-all".to_owned(), "--no-new-privs".to_owned()]
}

/// Whether the kernel tells how a process ended after its parent has reaped it.
pub(crate) fn kernel_keeps_status() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// QEMUs of another user are killed by this signal in one moment, and their parent reaps each at once.
fn check(daemon: &Daemon, scratch: &Scratch, signal: &str, expected: &str) {
    let start = |number: usize| {
        let mut command = process::bound_to_us(&SETPRIV.path().unwrap()).unwrap();
        if programs::is_root() {
            // Who changes to another user loses the signal that binds it to us: it is asked for again.
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"]);
        }
        command.arg("--").arg(QEMU.path().unwrap()).args(dials(scratch, &format!("{signal}{number}")));
        let running = Running::start(command, QEMU.name).unwrap();
        (running.id().to_string(), reaped_at_once(running))
    };
    let (pids, reapers): (Vec<_>, Vec<_>) = (0..MANY).map(start).unzip();
    let all = |kind: &str| -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is = |record: &Value| {
                record["kind"] == kind && record["machine"].as_str().is_some_and(|name| name.starts_with(signal))
            };
            let found: Vec<Value> = daemon.log().into_iter().filter(is).collect();
            if found.len() >= MANY {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {MANY} are {kind}", found.len());
            thread::sleep(Duration::from_millis(100));
        }
    };
    all("state");
    assert!(Command::new("kill").arg(format!("-{signal}")).args(&pids).status().unwrap().success());
    let told = all("detached");
    let right = told.iter().filter(|record| {
        record["severity"] == "critical" && record["reason"].as_str().is_some_and(|reason| reason.ends_with(expected))
    });
    assert_eq!(right.count(), MANY, "{told:#?}");
    reapers.into_iter().for_each(|reaper| reaper.join().unwrap());
}

fn reaped_at_once(mut running: Running) -> JoinHandle<()> {
    thread::spawn(move || {
        running.child().wait().unwrap();
    })
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn every_killed_qemu_is_known_when_its_parent_reaps_at_once() {
    if !kernel_keeps_status() {
        return;
    }
    let scratch = Scratch::new().unwrap();
    let unit = options_of_the_unit();
    let unit: Vec<&str> = unit.iter().map(String::as_str).collect();
    check(&daemon_with(&scratch, &unit), &scratch, "KILL", "was killed by SIGKILL");
    let scratch = Scratch::new().unwrap();
    check(&daemon_with(&scratch, NO_CAPABILITY), &scratch, "SEGV", "was killed by SIGSEGV");
}

#[test]
#[ignore = "needs a real QEMU and a control group: run by cargo xtask test"]
fn the_oom_killer_is_named_without_the_kernels_log() {
    if !kernel_keeps_status() {
        return;
    }
    let scratch = Scratch::new().unwrap();
    let daemon = daemon_with(&scratch, NO_CAPABILITY);
    let group = MemoryGroup::new("qev-oom").unwrap();
    let monitor = scratch.socket("monitor.sock").unwrap();
    let start = |name: &str, more: &[String]| {
        let mut command = process::bound_to_us(Path::new("sh")).unwrap();
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#, text(&group.members()), text(&QEMU.path().unwrap())]);
        command.args(dials(&scratch, name)).args(more);
        let running = Running::start(command, QEMU.name).unwrap();
        // The daemon may not see the status of a process that is not reaped.
        (running.id().to_string(), reaped_at_once(running))
    };
    let listens = ["-qmp".to_owned(), format!("unix:{},server=on,wait=off", text(&monitor))];
    let (_, hungry) = start("hungry", &listens);
    daemon.kind("state", "hungry");
    group.limit(192 << 20).unwrap();
    let mut control = Monitor::connect(&monitor).unwrap();
    let memory = r#"{"qom-type": "memory-backend-ram", "id": "m", "size": 1073741824, "prealloc": true}"#;
    // It is killed before it answers.
    let _ = control.execute(&format!(r#"{{"execute": "object-add", "arguments": {memory}}}"#));
    let detached = daemon.kind("detached", "hungry");
    assert_eq!(detached["severity"], "critical", "{detached}");
    let reason = detached["reason"].as_str().unwrap();
    assert!(reason.ends_with("was killed by SIGKILL from the kernel's OOM killer (out of memory)"), "{detached}");
    hungry.join().unwrap();

    // That was before this one was attached.
    let (pid, other) = start("other", &[]);
    daemon.kind("state", "other");
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let detached = daemon.kind("detached", "other");
    assert!(detached["reason"].as_str().unwrap().ends_with("was killed by SIGKILL"), "{detached}");
    other.join().unwrap();
}
