//! What a real QEMU did, done again: `tests/transcripts` against the machine.
//!
//! The files are transcripts of QEMU 7.2.22 (Debian 12, q35 under TCG), with a Linux 6.1 guest where they say so. Each
//! line is an object: `machine` begins a new one (`config` is what it was made of); at `t` seconds a client did `send`, or
//! a hand or the guest did what `guest` names here; `event` and `reply` came back, in this order; `printed` is what
//! `qemu-io` put on QEMU's standard output, without its times; `ended` is when it was over, and QEMU's exit status. Linux and
//! SeaBIOS do not always do the same: of some machines this is the run without a double reset, or memory that happened to
//! be busy. A `thread-id`, which is the host's, is written as the machine here has it. With `tcg` the recording lacks what
//! QEMU forgets under TCG: that the CPU itself was deleted.
//!
//! Timestamps are left out; times need not agree either, but everything else does, word by word, throttle included.

use crate::lab::{Folder, now, object};
use qev_machine::{Machine, MachineConfig, QuorumConfig};
use qev_qmp::event::Event;
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::throttle::Throttle;
use qev_qmp::{Dialect, Object, QmpError, Value};
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn monitor() {
    check(include_str!("../transcripts/monitor.jsonl"));
}

#[test]
fn balloon() {
    check(include_str!("../transcripts/balloon.jsonl"));
}

#[test]
fn cpus() {
    check(include_str!("../transcripts/cpus.jsonl"));
}

#[test]
fn dimm() {
    check(include_str!("../transcripts/dimm.jsonl"));
}

#[test]
fn run_state() {
    check(include_str!("../transcripts/run_state.jsonl"));
}

/// A Linux guest's disk on a quorum of two, whose children fail by QEMU's blkdebug.
#[test]
fn disk() {
    check(include_str!("../transcripts/disk.jsonl"));
}

/// Watchdog, clock, sleep, and the ends of a machine. The guest's hand was the `-qtest` socket of a QEMU whose firmware
/// found nothing to boot, and resets as often as it likes: this is the run with two resets.
#[test]
fn life() {
    check(include_str!("../transcripts/life.jsonl"));
}

/// The project's recordings in the same form. The one of a panic is left out: its firmware reset twice at once.
#[test]
fn recordings() {
    check(include_str!("../transcripts/recordings.jsonl"));
}

#[test]
fn quorum() {
    check(include_str!("../transcripts/quorum.jsonl"));
}

/// Plays all machines of a transcript, and compares them line by line.
fn check(transcript: &str) {
    let lines: Vec<&str> = transcript.lines().collect();
    for expected in lines.chunk_by(|_, next| !next.starts_with(r#"{"machine""#)) {
        let played = Player::play(expected);
        let same = expected.iter().zip(&played).take_while(|(a, b)| a == b).count();
        let around = |lines: &[String]| {
            let from = same.saturating_sub(3).min(lines.len());
            lines[from..].iter().take(6).cloned().collect::<Vec<_>>().join("\n")
        };
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert!(expected == played, "{}\n\nQEMU:\n{}\n\nhere:\n{}\n", expected[0], around(&expected), around(&played));
    }
}

/// Plays one machine, and writes down what happens as the transcript has it.
struct Player {
    machine: Machine,
    throttle: Throttle,
    at: Duration,
    images: Vec<PathBuf>,
    forgets_cpus: bool,
    played: Vec<String>,
}

impl Player {
    fn play(lines: &[&str]) -> Vec<String> {
        let folder = Folder::new();
        let mut player = Player::new(&object(lines[0]), &folder);
        player.played.push(lines[0].to_owned());
        for text in lines {
            let line = object(text);
            let Some(t) = line.get("t") else { continue };
            player.wait_until(seconds(t));
            if line.get("ended").is_some() {
                player.end(text, lines.iter().any(|line| line.starts_with(r#"{"printed""#)));
            } else {
                player.played.push((*text).to_owned());
                player.command(&line);
            }
        }
        player.played
    }

    fn new(first: &Object, folder: &Folder) -> Player {
        let given = first.get("config").unwrap();
        let flag = |name| given.get(name).is_some_and(|flag| *flag == Value::Bool(true));
        let text = |name| given.get(name).and_then(Value::as_str);
        let mut config = MachineConfig {
            name: text("name").map(str::to_owned),
            memory: text("memory").unwrap().parse().unwrap(),
            smp: text("smp").map(|smp| smp.parse().unwrap()).unwrap_or_default(),
            balloon: flag("balloon"),
            panic: text("panic").unwrap_or("shutdown").parse().unwrap(),
            no_shutdown: flag("no-shutdown"),
            no_reboot: flag("no-reboot"),
            watchdog: text("watchdog").map(|model| model.parse().unwrap()),
            watchdog_action: text("watchdog-action").map(|action| action.parse().unwrap()).unwrap_or_default(),
            disks: text("disk").iter().map(|disk| disk.parse().unwrap()).collect(),
            paused: flag("paused"),
            ..MachineConfig::default()
        };
        let boots = given.get("boots") != Some(&Value::Bool(false));
        if !boots {
            config.paused = true;
            config.guest.boot_time = Duration::MAX;
        }
        let mut images = Vec::new();
        if let Some(quorum) = given.get("quorum") {
            let fills = quorum.get("fills").unwrap().as_array().unwrap();
            for (i, fill) in fills.iter().enumerate() {
                let image = folder.path(&format!("c{i}.raw"));
                std::fs::write(&image, vec![u8::try_from(fill.as_u64().unwrap()).unwrap(); 1 << 20]).unwrap();
                images.push(image);
            }
            config.quorums = vec![quorum_config(quorum, &images)];
        }
        let machine = Machine::new(config).unwrap();
        let throttle = Throttle::new(machine.config().version);
        let mut player =
            Player { machine, throttle, at: Duration::ZERO, images, forgets_cpus: flag("tcg"), played: Vec::new() };
        if !boots && !flag("paused") {
            // A guest that never boots, and runs all the same.
            player.machine.execute(now(player.at), "cont", Object::new()).unwrap();
            player.machine.take_events();
        }
        player
    }

    /// Lets time pass up to a moment, and everything happen that is due until then.
    fn wait_until(&mut self, end: Duration) {
        loop {
            self.machine.advance(now(self.at));
            self.deliver();
            let due = [self.machine.deadline(), self.throttle.deadline()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.at = self.at.max(due);
            for event in self.throttle.expire(self.at) {
                self.wire(event);
            }
        }
        self.at = end;
        self.machine.advance(now(self.at));
    }

    fn deliver(&mut self) {
        for (time, typed) in self.machine.take_events() {
            let event = Event::new(&typed, Some(time), Dialect::Qemu);
            if let Some(event) = self.throttle.push(event, self.at) {
                self.wire(event);
            }
        }
    }

    fn wire(&mut self, event: Event) {
        let event = Event { timestamp: None, ..event };
        if self.forgets_cpus && event.name == "DEVICE_DELETED" && event.to_line().contains(r#""device""#) {
            return;
        }
        self.played.push(format!(r#"{{"event": {}}}"#, event.to_line()));
    }

    fn command(&mut self, line: &Object) {
        let (to_guest, command) = match line.get("guest") {
            Some(command) => (true, command),
            None => (false, line.get("send").unwrap()),
        };
        let name = command.get("execute").unwrap().as_str().unwrap();
        let arguments = command.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default();
        if name == "truncate" {
            let image = std::fs::File::options().write(true).open(&self.images[1]).unwrap();
            image.set_len(arguments.get("length").unwrap().as_u64().unwrap()).unwrap();
        } else if name == "host-signal" {
            self.machine.host_signal(now(self.at));
        } else if to_guest {
            let done = self.machine.guest_execute(now(self.at), name, arguments);
            assert!(done.is_ok(), "{line:?}: {done:?}");
        } else {
            let reply = self.machine.execute(now(self.at), name, arguments);
            self.deliver();
            self.write("reply", reply_object(reply));
        }
        self.deliver();
    }

    fn end(&mut self, line: &str, prints: bool) {
        if prints {
            let printed = self.machine.take_output();
            self.write("printed", printed);
        }
        let (begin, _) = line.split_once("\"ended\": ").unwrap();
        let status = self.machine.exit_status().map_or("null".to_owned(), |status| status.to_string());
        self.played.push(format!("{begin}\"ended\": {status}}}"));
    }

    fn write(&mut self, name: &'static str, value: impl Into<Value>) {
        self.played.push(Object::new().with(name, value).print(Order::Qemu, Layout::Line));
    }
}

fn reply_object(reply: Result<Value, QmpError>) -> Object {
    match reply {
        Ok(value) => Object::new().with("return", value),
        Err(error) => Object::new().with("error", error.to_value()),
    }
}

fn seconds(t: &Value) -> Duration {
    match t {
        Value::Double(seconds) => Duration::from_secs_f64(*seconds),
        other => Duration::from_secs(other.as_u64().unwrap()),
    }
}

fn quorum_config(quorum: &Value, images: &[PathBuf]) -> QuorumConfig {
    let children: Vec<_> = images.iter().map(|image| image.to_str().unwrap()).collect();
    let threshold = quorum.get("vote-threshold").unwrap();
    let pattern = quorum.get("read-pattern").and_then(Value::as_str).unwrap_or("quorum");
    let children = children.join(":");
    format!("q0,vote-threshold={threshold},read-pattern={pattern},children={children}").parse().unwrap()
}
