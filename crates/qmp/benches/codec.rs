//! How long one event takes, from bytes to a value and back, beside peers in the same run.
//!
//! `cargo xtask bench` runs it. Times depend on the machine; the ratios hold. Each row is the median of rounds that are
//! interleaved with those of all other rows, so that a slow moment of the machine falls on all of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use qev_qmp::frame::{FrameReader, Piece};
use qev_qmp::{Dialect, Event, Message, Typed};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The document's five as QEMU 7.2 sent them.
const EVENTS: [&str; 5] = [
    r#"{"timestamp": {"seconds": 1795347343, "microseconds": 955374}, "event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}}"#,
    r#"{"timestamp": {"seconds": 1795347328, "microseconds": 964376}, "event": "BALLOON_CHANGE", "data": {"actual": 267386880}}"#,
    r#"{"timestamp": {"seconds": 1795347358, "microseconds": 599524}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
    r#"{"timestamp": {"seconds": 1795347316, "microseconds": 672880}, "event": "QUORUM_FAILURE", "data": {"reference": "q0", "sectors-count": 1, "sector-num": 128}}"#,
    r#"{"timestamp": {"seconds": 1795347310, "microseconds": 942235}, "event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sectors-count": 8, "sector-num": 8, "type": "read"}}"#,
];

/// One round goes over this many events.
const EVENTS_A_ROUND: usize = 5_000;

/// As much as is read from a socket at once.
const READ: usize = 64 << 10;

struct Row {
    name: &'static str,
    round: Box<dyn FnMut()>,
    times: Vec<Duration>,
}

fn row(name: &'static str, round: impl FnMut() + 'static) -> Row {
    Row { name, round: Box::new(round), times: Vec::new() }
}

/// The events again and again, with line ends as QEMU writes them.
fn stream() -> Vec<u8> {
    EVENTS.iter().cycle().take(EVENTS_A_ROUND).flat_map(|event| [event.as_bytes(), b"\r\n"].concat()).collect()
}

fn lines(stream: &[u8], mut each: impl FnMut(&[u8])) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', stream) {
        each(&stream[start..=end]);
        start = end + 1;
    }
}

fn frames(stream: &[u8], mut each: impl FnMut(&[u8])) {
    let mut reader = FrameReader::new();
    for chunk in stream.chunks(READ) {
        reader.feed(chunk);
        while let Some(piece) = reader.next_piece() {
            if let Piece::Frame(frame) = piece {
                each(frame);
            }
        }
    }
}

fn event(frame: &[u8]) -> Event {
    match Message::decode(frame) {
        Ok(Message::Event(event)) => event,
        other => unreachable!("{other:?}"),
    }
}

fn decoding() -> Vec<Row> {
    let bytes: &'static [u8] = stream().leak();
    vec![
        row("a line by memchr, and no more", || lines(bytes, |line| _ = black_box(line))),
        row("qev: a frame", || frames(bytes, |frame| _ = black_box(frame))),
        row("qev: the envelope, its data validated", || frames(bytes, |frame| drop(black_box(event(frame))))),
        row("qev: the typed five", || frames(bytes, |frame| drop(black_box(event(frame).typed().unwrap())))),
        row("serde_json: a Value", || {
            lines(bytes, |line| drop(black_box(serde_json::from_slice::<serde_json::Value>(line).unwrap())));
        }),
        row("qapi-qmp: its codec's message", || {
            lines(bytes, |line| drop(black_box(serde_json::from_slice::<qapi_qmp::QmpMessageAny>(line).unwrap())));
        }),
    ]
}

fn encoding() -> Vec<Row> {
    let typed: Vec<(Typed, _)> = EVENTS
        .iter()
        .map(|text| event(text.as_bytes()))
        .map(|event| (event.typed().unwrap(), event.timestamp))
        .collect();
    let values: Vec<serde_json::Value> = EVENTS.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let qapi: Vec<qapi_qmp::QmpMessageAny> = EVENTS.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    vec![
        row("qev: a typed event to a line", move || {
            for (typed, timestamp) in typed.iter().cycle().take(EVENTS_A_ROUND) {
                black_box(Event::new(typed, *timestamp, Dialect::Qemu).to_line());
            }
        }),
        row("serde_json: a Value to a line", move || {
            for value in values.iter().cycle().take(EVENTS_A_ROUND) {
                black_box(serde_json::to_string(value).unwrap());
            }
        }),
        row("qapi-qmp: a message to a line", move || {
            for message in qapi.iter().cycle().take(EVENTS_A_ROUND) {
                black_box(serde_json::to_string(message).unwrap());
            }
        }),
    ]
}

/// Runs the rows turn by turn and prints each one's median, and how it compares with the last row.
fn measure(title: &str, rounds: usize, mut rows: Vec<Row>) {
    for round in 0..=rounds {
        for row in &mut rows {
            let begun = Instant::now();
            (row.round)();
            // The first round warms up.
            if round > 0 {
                row.times.push(begun.elapsed());
            }
        }
    }
    let nanoseconds = |row: &mut Row| {
        row.times.sort_unstable();
        row.times[row.times.len() / 2].as_secs_f64() * 1e9 / EVENTS_A_ROUND as f64
    };
    let medians: Vec<(&str, f64)> = rows.iter_mut().map(|row| (row.name, nanoseconds(row))).collect();
    let peer = medians.last().unwrap().1;
    println!("\n{title:<42} {:>12} {:>22}", "ns an event", "of the last row's time");
    for (name, median) in &medians {
        println!("{name:<42} {median:>12.0} {:>22.3}", median / peer);
    }
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 60 } else { 1 };
    let bytes = EVENTS.iter().map(|event| event.len() + 2).sum::<usize>() / EVENTS.len();
    println!("the document's five events as QEMU sends them, {bytes} bytes each on average");
    measure("from bytes", rounds, decoding());
    measure("to bytes", rounds, encoding());
}
