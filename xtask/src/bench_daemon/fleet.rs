//! Simulated machines by the thousand that dial in, each with a numbered event a second: what they cost the daemon, and
//! that every one is recorded.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{self, Running};
use xtask::programs::output_of;

use super::{Daemon, Usage, percent};
use crate::print;

/// How long the fleet emits while the daemon is looked at.
const MEASURED: Duration = Duration::from_secs(20);

pub(super) fn run(qev: &Path) -> Result<(), Error> {
    print("\nsimulated machines that dial in, an event a second each\n");
    print("machines   recorded/s   CPU of a core   memory   missing");
    let mut measured = Vec::new();
    for machines in [1_000, 8_000] {
        let fleet = one(qev, machines)?;
        print(&format!(
            "{machines:>8}   {:>10.0}   {:>11.0} %   {:>3} MiB   {:>7}",
            fleet.rate,
            fleet.cpu,
            fleet.memory >> 20,
            fleet.missing
        ));
        measured.push((machines, fleet.memory));
    }
    if let [(few, little), (many, much)] = measured.as_slice() {
        let slope = much.saturating_sub(*little) / (many - few);
        print(&format!("memory a machine, as a slope: {:.1} KiB", slope as f64 / 1024.0));
    }
    Ok(())
}

struct Fleet {
    rate: f64,
    cpu: f64,
    memory: u64,
    missing: u64,
}

fn one(qev: &Path, machines: u64) -> Result<Fleet, Error> {
    let daemon = Daemon::start(qev)?;
    let mut command = process::bound_to_us(qev)?;
    command.args(["simulate", "--machines", &machines.to_string(), "--rate", "1", "--dial"]).arg(daemon.attach());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let fleet = Running::start(command, "qev simulate")?;
    daemon.wait_for_machines(usize::try_from(machines).unwrap_or(usize::MAX))?;

    let (seq, used, begin) = (daemon.last_seq()?, Usage::of(daemon.id())?, Instant::now());
    thread::sleep(MEASURED);
    let (took, usage) = (begin.elapsed(), Usage::of(daemon.id())?);
    let recorded = daemon.last_seq()?.saturating_sub(seq);
    drop(fleet);

    let records = output_of(&mut daemon.ask(&["log", "-o", "json", "-e", "ACPI_DEVICE_OST"]))?;
    Ok(Fleet {
        rate: recorded as f64 / took.as_secs_f64(),
        cpu: percent(usage.cpu.saturating_sub(used.cpu), took),
        memory: usage.memory,
        missing: holes(&records)?,
    })
}

/// How many numbers are missing between the first and the last of each machine.
fn holes(records: &str) -> Result<u64, Error> {
    let mut last = std::collections::BTreeMap::<String, u64>::new();
    let mut missing = 0;
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).context(|| format!("not a record: {line}"))?;
        let number = record.pointer("/data/info/source").and_then(Value::as_u64).unwrap_or_default();
        let machine = record.get("machine").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(before) = last.insert(machine, number) {
            missing += number.abs_diff(before + 1);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_number_is_counted() {
        let line =
            |machine: &str, n: u64| format!("{{\"machine\":\"{machine}\",\"data\":{{\"info\":{{\"source\":{n}}}}}}}\n");
        let records = [line("a", 1), line("b", 7), line("a", 2), line("b", 9), line("a", 3)].concat();
        assert_eq!(holes(&records).unwrap(), 1);
    }
}
