//! `cargo xtask bench daemon`: what the daemon costs, from a machine's socket to the disk and to a follower.
//!
//! Four questions, each with a daemon of its own on a fresh journal:
//!
//! * [`ingest`]: a hundred machines write as fast as they can; how long until all is on disk, beside a bare loop that
//!   inserts the same rows with `rusqlite`;
//! * [`latency`]: from a machine's write to a follower's line, when it is quiet;
//! * [`fleet`]: thousands of simulated machines that dial in and emit an event a second each: CPU, memory a machine, and
//!   whether all is recorded;
//! * [`stream`]: a thousand clients that follow over HTTP: CPU, memory, and whether each gets all.

mod fleet;
mod ingest;
mod latency;
mod machine;
mod stream;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::output_of;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs all of them, with the release build.
pub(crate) fn run(qev: &Path) -> Result<(), Error> {
    ingest::run(qev)?;
    latency::run(qev)?;
    fleet::run(qev)?;
    stream::run(qev)
}

/// `qev serve` on a journal of its own.
pub(crate) struct Daemon {
    qev: PathBuf,
    serve: Running,
    scratch: Scratch,
}

impl Daemon {
    fn start(qev: &Path) -> Result<Daemon, Error> {
        Daemon::start_with(qev, "none")
    }

    /// With a page at this address.
    pub(crate) fn start_with(qev: &Path, http: &str) -> Result<Daemon, Error> {
        let scratch = Scratch::new()?;
        let mut command = process::bound_to_us(qev)?;
        command.args(["serve", "--http", http]).arg("--state-dir").arg(scratch.file("state"));
        command.arg("--attach").arg(scratch.socket("attach.sock")?);
        let log = scratch.file("serve.log");
        let log = || File::options().create(true).append(true).open(&log);
        command.stdout(log().context(|| "cannot write the daemon's log".to_owned())?);
        command.stderr(log().context(|| "cannot write the daemon's log".to_owned())?);
        let serve = Running::start(command, "qev serve")?;
        Ok(Daemon { qev: qev.to_owned(), serve, scratch })
    }

    /// Where machines dial in.
    pub(crate) fn attach(&self) -> PathBuf {
        self.scratch.file("attach.sock")
    }

    /// A folder that goes away with it.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    fn state_dir(&self) -> PathBuf {
        self.scratch.file("state")
    }

    fn id(&self) -> u32 {
        self.serve.id()
    }

    /// A verb that asks the daemon.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.qev);
        command.args(arguments).arg("--state-dir").arg(self.state_dir()).stdin(Stdio::null());
        command
    }

    /// The number of the last record on disk.
    pub(crate) fn last_seq(&self) -> Result<u64, Error> {
        let line = output_of(&mut self.ask(&["log", "-n", "1", "-o", "json"]))?;
        let record: Option<Value> = serde_json::from_str(line.trim()).ok();
        Ok(record.and_then(|record| record.get("seq")?.as_u64()).unwrap_or_default())
    }

    /// Waits until so many machines are attached and were asked for their details.
    pub(crate) fn wait_for_machines(&self, count: usize) -> Result<(), Error> {
        self.wait_until(&format!("{count} machines are attached"), |daemon| {
            let machines = output_of(&mut daemon.ask(&["log", "-o", "json", "-w", "kind=state"]))?;
            Ok(machines.lines().count() >= count)
        })
    }

    pub(crate) fn wait_until(
        &self,
        what: &str,
        mut is: impl FnMut(&Daemon) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match is(self) {
                Ok(true) => return Ok(()),
                // The daemon may not have begun to listen.
                Ok(false) | Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
                Ok(false) => return Err(Error::new(format!("{what}: not within {PATIENCE:?}"))),
                Err(error) => return Err(Error::because(format!("{what}: not within {PATIENCE:?}"), error)),
            }
        }
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// CPU time.
    pub(crate) cpu: Duration,
    /// Memory that is its own, in bytes.
    memory: u64,
}

impl Usage {
    /// Of a process, as the kernel counts it.
    pub(crate) fn of(process: u32) -> Result<Usage, Error> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            std::fs::read_to_string(&path).context(|| format!("cannot read {path}"))
        };
        let stat = read("stat")?;
        // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it, in
        // ticks, of which Linux shows a hundred a second.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        let status = read("status")?;
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        let memory = memory.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default();
        Ok(Usage { cpu: Duration::from_millis(10 * (ticks(11) + ticks(12))), memory: memory << 10 })
    }
}

/// How many hundredths of a core this is.
fn percent(cpu: Duration, of: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / of.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.memory > 100 << 10, "{usage:?}");
        assert!((percent(Duration::from_millis(250), Duration::from_secs(1)) - 25.0).abs() < 1e-9);
    }
}
