//! What a real QEMU 7.2 answered, line by line, in one session; `qev simulate` answers the same to the byte, times aside.
//!
//! The QEMU was `-M pc -S -m 64`, without any device: the machine here is the same.

use crate::daemon::PATIENCE;
use crate::program::{Running, Scratch, qev};
use qev_qmp::Json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

fn sent(exchange: &Json) -> Vec<u8> {
    match exchange.get("send_hex").and_then(|hex| hex.string()) {
        Some(hex) => (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect(),
        None => exchange.get("send").unwrap().string().unwrap().into_bytes(),
    }
}

fn expected(exchange: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    exchange.get("lines").unwrap().elements(|line| lines.extend(Json::parse(line).unwrap().string()));
    lines
}

/// The line without the time in it.
fn timeless(line: &str) -> String {
    match (line.starts_with("{\"timestamp\""), line.split_once("}, ")) {
        (true, Some((_, rest))) => format!("{{{rest}"),
        _ => line.to_owned(),
    }
}

fn check(exchanges: &str) -> usize {
    let scratch = Scratch::new();
    let monitor = scratch.path("vm.sock");
    let command = qev(&["simulate", "--qmp", &monitor, "--memory", "64M", "--paused"]);
    let mut running = Running::until_told(command, 1);
    let mut stream = UnixStream::connect(&monitor).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut next = || {
        let mut line = String::new();
        match answers.read_line(&mut line).expect("an answer in time") {
            0 => "<EOF>".to_owned(),
            _ => line.trim_end_matches("\r\n").to_owned(),
        }
    };
    assert!(next().starts_with("{\"QMP\": "));
    let mut compared = 0;
    for exchange in exchanges.lines().map(|line| Json::parse(line).unwrap()) {
        let sent = sent(&exchange);
        stream.write_all(&sent).unwrap();
        for expected in expected(&exchange) {
            assert_eq!(timeless(&next()), timeless(&expected), "to {}", sent.escape_ascii());
        }
        compared += 1;
    }
    assert_eq!(running.status(), 0, "the last line is quit");
    compared
}

#[test]
fn a_machine_without_devices_answers_as_qemu_did() {
    assert_eq!(check(include_str!("../../../qmp/tests/data/exchanges.jsonl")), 33);
}
