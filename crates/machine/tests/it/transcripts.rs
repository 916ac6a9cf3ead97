//! What a real QEMU did, done again: `tests/transcripts` against the machine.
//!
//! The files are transcripts of QEMU 7.2.22 (Debian 12, q35 under TCG), with a Linux 6.1 guest where they say so. Each
//! line is an object: `machine` begins a new one (`config` is what it was made of); at `t` seconds a client did `send`, or
//! a hand or the guest did what `guest` names here; `event` and `reply` came back, in this order; `printed` is what
//! `qemu-io` put on QEMU's standard output, without its times; `ended` is QEMU's exit status. Linux and SeaBIOS do not
//! always do the same; of some machines this is the run without a double reset or memory that happened to be busy.
//!
//! Timestamps are left out; times need not agree either, but everything else does, word by word, throttle included.

use crate::lab::{Folder, now, object};
use qev_machine::{Machine, MachineConfig, QuorumConfig};
use qev_qmp::event::Event;
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::throttle::Throttle;
use qev_qmp::{Dialect, Json, Object, QmpError, Value};
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
fn dimm() {
    check(include_str!("../transcripts/dimm.jsonl"));
}

#[test]
fn run_state() {
    check(include_str!("../transcripts/run_state.jsonl"));
}

#[test]
fn quorum() {
    check(include_str!("../transcripts/quorum.jsonl"));
}

/// Plays all machines of a transcript.
fn check(transcript: &str) {
    let lines: Vec<Object> = transcript.lines().map(object).collect();
    let machines = lines.chunk_by(|_, next| next.get("machine").is_none());
    for machine in machines {
        let expected: Vec<String> = machine.iter().map(|line| print(line)).collect();
        let played = Player::play(machine);
        for (i, (expected, played)) in expected.iter().zip(&played).enumerate() {
            assert_eq!(expected, played, "\n{}\nline {} of this machine, after\n{}", expected_name(machine), i + 1, expected_before(&played_before(&expected_all(machine), i)));
        }
        assert_eq!(expected.len(), played.len(), "{}: {:#?}", expected_name(machine), played.last());
    }
}

fn expected_name(machine: &[Object]) -> String {
    machine[0].get("machine").unwrap().to_string()
}

fn expected_all(machine: &[Object]) -> Vec<String> {
    machine.iter().map(print).collect()
}

fn played_before(lines: &[String], at: usize) -> Vec<String> {
    lines[at.saturating_sub(4)..at].to_vec()
}

fn expected_before(lines: &[String]) -> String {
    lines.join("\n")
}

fn print(line: &Object) -> String {
    line.print(Order::Qemu, Layout::Line)
}
