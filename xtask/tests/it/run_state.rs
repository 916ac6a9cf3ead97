//! What `qev serve` says a real QEMU is doing, where events alone would say something else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::monitor::Monitor;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::QEMU;
use xtask::workspace;

use crate::daemon::{Daemon, text};

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// A boot sector that tells QEMU's panic device that the guest panicked: it writes 1 to port 0x505.
const PANICS: [u8; 7] = [0xBA, 0x05, 0x05, 0xB0, 0x01, 0xEE, 0xF4];

/// A boot sector that waits.
const WAITS: [u8; 3] = [0xF4, 0xEB, 0xFD];

struct Lab {
    scratch: Scratch,
    daemon: Daemon,
    control: Monitor,
    _qemu: Running,
}

impl Lab {
    /// A QEMU with this boot sector, and a daemon that dials it.
    fn start(code: &[u8]) -> Lab {
        let scratch = Scratch::new().unwrap();
        let mut sector = code.to_vec();
        sector.resize(510, 0);
        sector.extend_from_slice(&[0x55, 0xAA]);
        let disk = scratch.path().join("boot.raw");
        std::fs::write(&disk, sector).unwrap();
        let [ours, qevs] = ["control", "qev"].map(|name| scratch.socket(name).unwrap());
        let listens = |path| format!("unix:{},server=on,wait=off", text(path));
        let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
        let drive = format!("file={},format=raw,if=ide", text(&disk));
        command.args(["-M", "pc", "-m", "64", "-nodefaults", "-display", "none", "-S", "-name", "vm"]);
        command.args(["-drive", &drive, "-device", "pvpanic", "-action", "panic=pause"]);
        command.args(["-qmp", &listens(&ours), "-qmp", &listens(&qevs)]);
        let qemu = Running::start(command, QEMU.name).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !qevs.exists() {
            assert!(Instant::now() < deadline, "QEMU does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        let control = Monitor::connect(&ours).unwrap();
        let daemon = Daemon::start(&scratch, &["--dial", text(&qevs)]);
        daemon.kind("state", "vm");
        Lab { scratch, daemon, control, _qemu: qemu }
    }

    fn execute(&mut self, command: &str) {
        self.control.execute(command).unwrap();
    }

    /// Waits until the daemon says that the machine is in this state, and QEMU says the same.
    fn until(&mut self, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut qev = Command::new(workspace::qev_program().unwrap());
            let state = self.scratch.path().join("state");
            qev.args(["machines", "-o", "json", "--state-dir", text(&state)]).stdin(Stdio::null());
            let output = qev.output().unwrap();
            let found: Vec<Value> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            if found.iter().any(|machine| machine["machine"] == "vm" && machine["run_state"] == expected) {
                break;
            }
            assert!(Instant::now() < deadline, "not {expected}: {found:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let answer = self.control.execute(r#"{"execute": "query-status"}"#).unwrap();
        assert_eq!(answer["status"], expected);
    }

    /// The run states that were recorded because no event told them.
    fn recorded(&self) -> Vec<String> {
        let log = self.daemon.log();
        let states = log.iter().filter(|record| record["kind"] == "state").skip(1);
        states.map(|record| record["data"]["query-status"]["status"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn the_run_state_is_that_of_qemu_after_a_reset_and_a_migration() {
    let mut lab = Lab::start(&PANICS);
    lab.until("prelaunch");
    lab.execute(r#"{"execute": "cont"}"#);
    lab.until("guest-panicked");
    lab.execute(r#"{"execute": "system_reset"}"#);
    lab.until("prelaunch");
    assert_eq!(lab.recorded(), [""; 0], "events told all of these");

    let mut lab = Lab::start(&WAITS);
    lab.execute(r#"{"execute": "cont"}"#);
    lab.until("running");
    lab.execute(r#"{"execute": "stop"}"#);
    lab.until("paused");
    lab.execute(r#"{"execute": "system_reset"}"#);
    lab.until("prelaunch");
    lab.execute(r#"{"execute": "cont"}"#);
    lab.until("running");
    // Without its capability `events`, QEMU says nothing of a migration but STOP.
    lab.execute(r#"{"execute": "migrate", "arguments": {"uri": "exec:cat >/dev/null"}}"#);
    lab.until("postmigrate");
    lab.daemon.until("a record of it", |record| record["data"]["query-status"]["status"] == "postmigrate");
    assert_eq!(lab.recorded(), ["postmigrate"]);
}
