//! How tests run the daemon: with a state of its own, its history read beside it, and simulated machines.

use crate::program::{Running, Scratch, qev, run, stderr};
use qev_journal::{Query, Reader};
use qev_record::{Kind, Record};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that is bound to come, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A commit does not wait for the disk: who kills a daemon does not notice, and on a disk that takes five seconds for one
/// records are shown without a number, and a flood loses some, as they are to.
pub(crate) const NO_FSYNC: &str = "--no-fsync";

/// A daemon with a state of its own.
pub(crate) struct Daemon {
    running: Running,
    told: BufReader<std::process::ChildStderr>,
    /// Where its page is, when it has one: ADDRESS:PORT.
    pub(crate) page: Option<String>,
}

impl Daemon {
    /// Starts one that has these arguments, and listens when this returns.
    pub(crate) fn start(scratch: &Scratch, more: &[&str]) -> Daemon {
        Daemon::listening(serve(scratch, more))
    }

    /// The same, as a process that may have so many open files.
    pub(crate) fn start_with_files(scratch: &Scratch, files: usize, more: &[&str]) -> Daemon {
        Daemon::start_after(scratch, &format!("ulimit -n {files}"), more)
    }

    /// The same, as a process that has what a line of a shell's gave it.
    pub(crate) fn start_after(scratch: &Scratch, line: &str, more: &[&str]) -> Daemon {
        let command = serve(scratch, more);
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("{line} && exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Daemon::listening(shell)
    }

    fn listening(mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let mut daemon = Daemon { running: Running(child), told, page: None };
        let mut line = daemon.line();
        if let Some(page) = line.strip_prefix("qev: page at http://") {
            daemon.page = page.trim_end().strip_suffix('/').map(str::to_owned);
            line = daemon.line();
        }
        assert!(line.starts_with("qev: listening at "), "{line}");
        daemon
    }

    /// The next line that it tells.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.running, name);
    }

    /// How many files it has open now.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.0.id())).unwrap().count()
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.stop_by("TERM");
    }

    /// The same by another signal.
    pub(crate) fn stop_by(mut self, signal: &str) {
        self.signal(signal);
        assert_eq!(self.running.status(), 0);
    }

    /// It was told to stop: waits until it has.
    pub(crate) fn ended(mut self) {
        assert_eq!(self.running.status(), 0);
    }

    pub(crate) fn kill(mut self) {
        self.running.0.kill().unwrap();
        self.running.0.wait().unwrap();
    }
}

fn serve(scratch: &Scratch, more: &[&str]) -> Command {
    let mut command = qev(&["serve", "--state-dir", &scratch.path("state"), "--attach", &scratch.path("a.sock")]);
    command.arg(NO_FSYNC);
    // Many of them run at the same time, and most have no page.
    if !more.contains(&"--http") {
        command.args(["--http", "none"]);
    }
    // Nobody's configuration is to be found.
    command.args(more).env("XDG_CONFIG_HOME", scratch.path("none"));
    command
}

pub(crate) fn signal(running: &Running, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &running.0.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// The journal of the daemon, read beside it: every record once, in its order.
pub(crate) struct History {
    dir: PathBuf,
    after: u64,
}

impl History {
    pub(crate) fn of(scratch: &Scratch) -> History {
        History { dir: scratch.path("state/journal").into(), after: 0 }
    }

    /// The same, as seen by who knows its first records already.
    pub(crate) fn behind(scratch: &Scratch, known: usize) -> History {
        History { after: known.try_into().unwrap(), ..History::of(scratch) }
    }

    /// What is there now and was not seen yet.
    pub(crate) fn new_records(&mut self) -> Vec<Record> {
        let Ok(reader) = Reader::open(&self.dir) else { return Vec::new() };
        let query = Query { after: Some(self.after), ..Query::default() };
        let records: Vec<Record> = reader.records(&query).collect::<Result<_, _>>().unwrap();
        for record in &records {
            self.after += 1;
            assert_eq!(record.seq, Some(self.after), "no hole and no double: {record:?}");
        }
        records
    }

    /// These were seen.
    pub(crate) fn skip_to(&mut self, seen: &[Record]) {
        self.after = seen.last().and_then(|record| record.seq).unwrap_or_default();
    }

    /// Reads on until one is as it should be, and gives it back; fails when none is for too long.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Record) -> bool) -> Record {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Those behind it are seen by the next.
            let before = self.after;
            let found = self.new_records().into_iter().find(&is);
            if let Some(found) = found {
                self.after = found.seq.unwrap();
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} behind {before}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kind(&mut self, kind: &Kind, machine: &str) -> Record {
        self.until(&format!("{kind} of {machine}"), |record| record.kind == *kind && &*record.machine == machine)
    }

    pub(crate) fn event(&mut self, name: &str, machine: &str) -> Record {
        let is = |record: &Record| record.event.as_ref().is_some_and(|event| *event == *name);
        self.until(&format!("{name} of {machine}"), |record| is(record) && &*record.machine == machine)
    }
}

/// A simulated machine, with these arguments.
pub(crate) fn machine(arguments: &[&str]) -> Running {
    let mut command = qev(&["simulate"]);
    Running(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// One that dials the daemon.
pub(crate) fn dialling(scratch: &Scratch, name: &str, more: &[&str]) -> Running {
    machine(&[&["--name", name, "--dial", &scratch.path("a.sock"), "--guest", &scratch.path(name)], more].concat())
}

pub(crate) fn emit(scratch: &Scratch, name: &str, event: &str) {
    let output = run(&["send", &scratch.path(name), "emit", &format!(r#"{{"event": "{event}"}}"#)]);
    assert!(output.status.success(), "{}", stderr(&output));
}

pub(crate) fn session(running: &Running) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.0.id())).unwrap();
    let start = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().to_owned();
    format!("pid-{}@{start}", running.0.id())
}
