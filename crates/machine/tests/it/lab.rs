//! A machine on a bench: a clock that the test turns, images in a folder of its own, and what came out, as lines.

use qev_machine::{Machine, MachineConfig, Now, QuorumConfig};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Dialect, Json, Object, QmpError, Timestamp, Typed, Value};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A machine and its clock.
pub(crate) struct Lab {
    pub(crate) machine: Machine,
    pub(crate) at: Duration,
    events: Vec<(Timestamp, Typed)>,
}

/// The wall clock when the test's begins, in microseconds: the time of the project's first recording.
pub(crate) const EPOCH: i64 = 1_795_347_310_000_000;

pub(crate) fn now(at: Duration) -> Now {
    Now { monotonic: at, wall: Timestamp::from_micros(EPOCH + i64::try_from(at.as_micros()).unwrap()) }
}

/// The object that a text describes.
pub(crate) fn object(text: &str) -> Object {
    match Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).value() {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

impl Lab {
    pub(crate) fn new(config: MachineConfig) -> Lab {
        let mut machine = Machine::new(config).unwrap();
        machine.advance(now(Duration::ZERO));
        Lab { machine, at: Duration::ZERO, events: Vec::new() }
    }

    /// Lets time pass. The machine is woken when it asked to be, as a server does.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = self.at + Duration::from_millis(ms);
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.at = self.at.max(due);
            self.machine.advance(now(self.at));
            self.events.extend(self.machine.take_events());
        }
        self.at = end;
        self.machine.advance(now(self.at));
        self.events.extend(self.machine.take_events());
    }

    /// Sends a command to the monitor; its arguments as text.
    pub(crate) fn send(&mut self, command: &str, arguments: &str) -> Result<Value, QmpError> {
        let reply = self.machine.execute(now(self.at), command, object(arguments));
        self.events.extend(self.machine.take_events());
        reply
    }

    /// Sends a command to the guest's socket.
    pub(crate) fn guest(&mut self, command: &str, arguments: &str) -> Result<Value, QmpError> {
        let reply = self.machine.guest_execute(now(self.at), command, object(arguments));
        self.events.extend(self.machine.take_events());
        reply
    }

    /// Sends a command that must succeed and has nothing to say.
    pub(crate) fn must(&mut self, command: &str, arguments: &str) {
        assert_eq!(self.send(command, arguments), Ok(Object::new().into()), "{command} {arguments}");
    }

    /// The same for the guest's socket.
    pub(crate) fn guest_must(&mut self, command: &str, arguments: &str) {
        assert_eq!(self.guest(command, arguments), Ok(Object::new().into()), "{command} {arguments}");
    }

    /// Runs a `qemu-io` command on a block node, which must be there.
    pub(crate) fn qemu_io(&mut self, node: &str, command: &str) {
        let line = format!(r#"{{"command-line": "qemu-io {node} \"{command}\""}}"#);
        assert_eq!(self.send("human-monitor-command", &line), Ok("".into()), "{line}");
    }

    /// What a command returns, as QEMU prints it.
    pub(crate) fn query(&mut self, command: &str) -> String {
        self.send(command, "{}").unwrap().print(Order::Qemu, Layout::Line)
    }

    /// The events since the last look, a line each: the name, and the data in this dialect.
    pub(crate) fn heard_in(&mut self, dialect: Dialect) -> Vec<String> {
        self.heard_with_times(dialect).into_iter().map(|(_, line)| line).collect()
    }

    /// The same in QEMU's dialect.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.heard_in(Dialect::Qemu)
    }

    /// The same with the time of each, in microseconds since the test began.
    pub(crate) fn heard_with_times(&mut self, dialect: Dialect) -> Vec<(i64, String)> {
        let events = std::mem::take(&mut self.events);
        let line = |event: &Typed| match event.encode(dialect).data {
            Some(data) => format!("{} {data}", event.name()),
            None => event.name().to_string(),
        };
        events.iter().map(|(time, event)| (time.micros().unwrap() - EPOCH, line(event))).collect()
    }

    /// Runs the same story for each dialect, and compares what is heard.
    pub(crate) fn check_in_both(story: impl Fn() -> Lab, qemu: &[&str], document: &[&str]) {
        assert_eq!(story().heard_in(Dialect::Qemu), qemu, "QEMU's dialect");
        assert_eq!(story().heard_in(Dialect::Document), document, "the document's dialect");
    }
}

/// A folder that is gone when the test is.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("qev-machine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // A process of the same number may have been killed before it could remove its own.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Images of one byte each, and a machine with a quorum `q0` over them: `c0`, `c1`, …
pub(crate) struct QuorumLab {
    pub(crate) lab: Lab,
    pub(crate) images: Vec<PathBuf>,
    pub(crate) _folder: Folder,
}

impl QuorumLab {
    /// A quorum over 1 MiB images, each of one byte; with options such as `vote-threshold=2`.
    pub(crate) fn new(fills: &[u8], options: &str) -> QuorumLab {
        QuorumLab::with_config(fills, options, MachineConfig::default())
    }

    pub(crate) fn with_config(fills: &[u8], options: &str, config: MachineConfig) -> QuorumLab {
        let folder = Folder::new();
        let images: Vec<PathBuf> = (0..fills.len()).map(|i| folder.path(&format!("c{i}.raw"))).collect();
        for (image, fill) in images.iter().zip(fills) {
            std::fs::write(image, vec![*fill; 1 << 20]).unwrap();
        }
        let children: Vec<_> = images.iter().map(|image| image.to_str().unwrap()).collect();
        let quorum: QuorumConfig = format!("q0,{options},children={}", children.join(":")).parse().unwrap();
        let lab = Lab::new(MachineConfig { quorums: vec![quorum], ..config });
        QuorumLab { lab, images, _folder: folder }
    }
}

/// Overwrites a part of an image, as an operator's hand would.
pub(crate) fn poke(image: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(image).unwrap().write_all_at(bytes, offset).unwrap();
}
