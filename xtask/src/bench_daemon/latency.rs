//! From a machine's write to the line that `qev log -f` prints for it: reading, committing with its fsync, and following.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{self, Running};

use super::Daemon;
use super::machine::{Machine, event};
use crate::print;

const EVENTS: u64 = 1_000;

pub(super) fn run(qev: &Path) -> Result<(), Error> {
    let daemon = Daemon::start(qev)?;
    let machine = Machine::dial(&daemon.attach(), "vm")?;
    daemon.wait_for_machines(1)?;
    let mut command = process::bound_to_us(qev)?;
    command
        .args(["log", "-f", "-n", "0", "-o", "json", "-e", "ACPI_DEVICE_OST", "--state-dir"])
        .arg(daemon.state_dir());
    command.stdout(Stdio::piped());
    let mut follower = Running::start(command, "qev log")?;
    let output = follower.child().stdout.take().ok_or_else(|| Error::new("qev log has no output"))?;
    let mut lines = BufReader::new(output).lines();

    // Until the follower follows, events go by.
    let (shown, first_lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if shown.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    let mut number = 1_000_000;
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        machine.write(event(number).as_bytes())?;
        number += 1;
        if first_lines.recv_timeout(Duration::from_millis(200)).is_ok() {
            break;
        }
        if Instant::now() > deadline {
            return Err(Error::new("qev log -f shows nothing"));
        }
    }
    while first_lines.recv_timeout(Duration::from_millis(500)).is_ok() {}

    let mut took = Vec::new();
    for number in 0..EVENTS {
        let begin = Instant::now();
        machine.write(event(number).as_bytes())?;
        let (when, line) = first_lines.recv_timeout(super::PATIENCE).context(|| "no line for an event".to_owned())?;
        let record: Value = serde_json::from_str(&line).context(|| format!("not a record: {line}"))?;
        if record.pointer("/data/info/status").and_then(Value::as_u64) != Some(number) {
            return Err(Error::new(format!("event {number} was written, and this is shown: {line}")));
        }
        took.push(when.duration_since(begin));
    }
    drop(follower);
    // It ends with the follower's output.
    let _ = reader.join();
    took.sort();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    print(&format!(
        "\nfrom a machine's write to the line of qev log -f, {EVENTS} events one by one: p50 {:.1} ms, p99 {:.1} ms",
        1e3 * at(50).as_secs_f64(),
        1e3 * at(99).as_secs_f64()
    ));
    Ok(())
}
