//! `qev serve` with real QEMUs: two dial in, one with a guest is dialled; what is kept of them, and of how each ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::five_events::FIVE;
use xtask::lab::guest::{Guest, Options};
use xtask::lab::kernel::Kernel;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::QEMU;
use xtask::workspace;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// A daemon with a state of its own, in a folder of its own.
pub(crate) struct Daemon {
    running: Running,
    state: PathBuf,
}

impl Daemon {
    pub(crate) fn start(scratch: &Scratch, more: &[&str]) -> Daemon {
        Daemon::start_by(&workspace::qev_program().unwrap(), &[], scratch, more)
    }

    /// The same by a program that becomes it, which is given these arguments first.
    pub(crate) fn start_by(program: &Path, arguments: &[String], scratch: &Scratch, more: &[&str]) -> Daemon {
        let (state, attach) = (scratch.path().join("state"), scratch.socket("attach.sock").unwrap());
        let mut command = process::bound_to_us(program).unwrap();
        command
            .args(arguments)
            .args(["serve", "--http", "none", "--state-dir", text(&state), "--attach", text(&attach)])
            .args(more);
        // Nobody's configuration is to be found.
        command.env("XDG_CONFIG_HOME", scratch.path()).env("HOME", scratch.path());
        Daemon { running: Running::start(command, "qev").unwrap(), state }
    }

    /// What `qev log` shows.
    pub(crate) fn log(&self) -> Vec<Value> {
        let mut command = Command::new(workspace::qev_program().unwrap());
        command.args(["log", "-o", "json", "--state-dir", text(&self.state)]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first record that is as it should be, as soon as there is one.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(record) = log.iter().find(|record| is(record)) {
                return record.clone();
            }
            assert!(Instant::now() < deadline, "no {what} in {log:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn kind(&self, kind: &str, machine: &str) -> Value {
        self.until(&format!("{kind} of {machine}"), |record| record["kind"] == kind && record["machine"] == machine)
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A QEMU that dials the daemon, with these arguments more.
fn dialling(scratch: &Scratch, name: &str, more: &[&str]) -> Running {
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    let chardev = format!("socket,id=qev,path={},reconnect=1", text(&scratch.socket("attach.sock").unwrap()));
    command.args(["-nodefaults", "-display", "none", "-name", name]).args(more);
    command.args(["-chardev", &chardev, "-mon", "chardev=qev,mode=control"]);
    Running::start(command, QEMU.name).unwrap()
}

fn send(socket: &Path, command: &str) {
    let mut qev = Command::new(workspace::qev_program().unwrap());
    assert!(qev.args(["send", text(socket), command]).stdout(Stdio::null()).status().unwrap().success());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn the_replicas_of_a_quorum_are_known_before_any_of_them_is_bad() {
    let scratch = Scratch::new().unwrap();
    let daemon = Daemon::start(&scratch, &[]);
    let file = scratch.path().join("c0.raw");
    std::fs::write(&file, vec![0; 1 << 20]).unwrap();
    let nodes = [
        &format!("driver=raw,node-name=c0,file.driver=file,file.filename={}", text(&file)),
        "driver=null-co,node-name=c1,size=1048576",
        "driver=null-co,node-name=c2,size=1048576",
        "driver=quorum,node-name=q0,vote-threshold=2,children.0=c0,children.1=c1,children.2=c2",
    ];
    let more: Vec<&str> =
        ["-M", "none"].into_iter().chain(nodes.into_iter().flat_map(|node| ["-blockdev", node])).collect();
    let _quorum = dialling(&scratch, "quorum", &more);
    let _plain = dialling(&scratch, "plain", &["-M", "none", "-blockdev", nodes[1]]);
    let graph = |machine| daemon.kind("state", machine)["data"]["x-debug-query-block-graph"].clone();
    let found = graph("quorum");
    let id_of =
        |name: &str| found["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap()["id"].clone();
    let edges = found["edges"].as_array().unwrap();
    for (number, child) in ["c0", "c1", "c2"].iter().enumerate() {
        let name = format!("children.{number}");
        let is = |edge: &&Value| edge["name"] == *name && edge["parent"] == id_of("q0");
        assert_eq!(edges.iter().find(is).unwrap()["child"], id_of(child), "{found}");
    }
    assert_eq!(graph("plain"), Value::Null, "of no use where there is no quorum");
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn all_five_events_of_each_guest_are_in_the_log() {
    let say = |line: &str| eprintln!("{line}");
    let kernel = Kernel::obtain(&say).unwrap();
    let scratch = Scratch::new().unwrap();
    let chardev = format!("socket,id=qev,path={},reconnect=1", text(&scratch.socket("attach.sock").unwrap()));
    let dial = ["-chardev", &chardev, "-mon", "chardev=qev,mode=control"];
    let names = ["dials", "dials-too", "is-dialled"];
    let mut guests = names.map(|name| {
        let mut options = Options::for_the_five_events();
        options.arguments.extend(["-name", name].map(Into::into));
        if name != "is-dialled" {
            options.arguments.extend(dial.map(Into::into));
        }
        Guest::boot(&kernel, options, &say).unwrap()
    });
    let daemon = Daemon::start(&scratch, &["--dial", text(guests[2].monitor_socket("plain").unwrap())]);
    for name in names {
        daemon.kind("state", name);
    }
    for provocation in FIVE {
        for guest in &mut guests {
            (provocation.provoke)(guest.hands()).unwrap();
        }
    }
    for guest in guests {
        assert!(guest.quit().unwrap().success());
    }
    for name in names {
        let detached = daemon.kind("detached", name);
        assert_eq!(detached["severity"], "notice", "{detached}");
        let log = daemon.log();
        for provocation in FIVE {
            let event = provocation.event;
            let is = |record: &&Value| record["event"] == event && record["machine"] == name && record["seq"].is_u64();
            assert!(log.iter().any(|record| is(&record)), "no {event} of {name} in {log:#?}");
        }
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn how_each_qemu_ended_is_told_apart_and_a_daemon_that_comes_back_shows_gap_and_state() {
    let scratch = Scratch::new().unwrap();
    let daemon = Daemon::start(&scratch, &[]);
    let (quit, go) = (scratch.socket("quit.sock").unwrap(), scratch.socket("go.sock").unwrap());
    let listening = |path: &Path| format!("unix:{},server=on,wait=off", text(path));
    let stays = dialling(&scratch, "stays", &["-M", "none"]);
    let killed = dialling(&scratch, "killed", &["-M", "none"]);
    let _quits = dialling(&scratch, "quits", &["-M", "none", "-qmp", &listening(&quit)]);
    // A boot sector that writes 0x10 to the port of isa-debug-exit: QEMU ends with status 33.
    let mut sector = vec![0xB0, 0x10, 0xE6, 0xF4, 0xF4];
    sector.resize(510, 0);
    sector.extend_from_slice(&[0x55, 0xAA]);
    let disk = scratch.path().join("boot.raw");
    std::fs::write(&disk, sector).unwrap();
    let drive = format!("file={},format=raw,if=ide", text(&disk));
    let exit = "isa-debug-exit,iobase=0xf4,iosize=0x04";
    let more = ["-M", "pc", "-S", "-drive", &drive, "-device", exit, "-qmp", &listening(&go)];
    let _exits = dialling(&scratch, "exits", &more);
    for name in ["stays", "killed", "quits", "exits"] {
        daemon.kind("state", name);
    }

    // Nobody asks for its status before the daemon has seen it.
    assert!(Command::new("kill").args(["-KILL", &killed.id().to_string()]).status().unwrap().success());
    send(&quit, "quit");
    send(&go, "cont");
    let detached = daemon.kind("detached", "killed");
    assert_eq!(detached["severity"], "critical", "{detached}");
    assert!(detached["reason"].as_str().unwrap().ends_with("was killed by SIGKILL"), "{detached}");
    let detached = daemon.kind("detached", "quits");
    assert_eq!(detached["severity"], "notice", "{detached}");
    assert!(detached["reason"].as_str().unwrap().starts_with("the machine shut down (host-qmp-quit)"), "{detached}");
    let detached = daemon.kind("detached", "exits");
    let reason = detached["reason"].as_str().unwrap();
    assert!(reason.ends_with("ended with status 33, without a shutdown"), "{detached}");
    assert!(detached["severity"] == "warning", "{detached}");

    // Killed, and started again.
    let Daemon { running, .. } = daemon;
    drop(running);
    let daemon = Daemon::start(&scratch, &[]);
    let gap = daemon.kind("gap", "stays");
    assert!(gap["from"].as_str().unwrap() < gap["until"].as_str().unwrap(), "{gap}");
    let behind = gap["seq"].as_u64().unwrap();
    daemon.until("state", |record| {
        record["kind"] == "state" && record["machine"] == "stays" && record["seq"].as_u64().unwrap() > behind
    });
    drop(stays);
}
