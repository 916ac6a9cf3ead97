//! Odd and malformed requests: through a shared monitor they are answered as without it, but for what the policy refuses.

use serde_json::Value;

use super::{Client, PATIENCE, Shared};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const EXCHANGES: &str = include_str!("../../../../crates/qmp/tests/data/exchanges.jsonl");

/// The machine of the exchanges.
const MACHINE: [&str; 5] = ["-M", "pc", "-S", "-m", "64"];

fn sent(exchange: &Value) -> Vec<u8> {
    match exchange["send_hex"].as_str() {
        Some(hex) => (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect(),
        None => exchange["send"].as_str().unwrap().as_bytes().to_owned(),
    }
}

/// The line without the time in it.
fn timeless(line: &str) -> String {
    match (line.starts_with("{\"timestamp\""), line.split_once("}, ")) {
        (true, Some((_, rest))) => format!("{{{rest}"),
        _ => line.to_owned(),
    }
}

/// What is answered to each of them in one session, in as many lines as it had when it was recorded, to the end.
fn answers(path: &Path, lines_of: impl Fn(&Value) -> usize) -> Vec<(String, Vec<String>)> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client { lines: BufReader::new(stream.try_clone().unwrap()), stream };
    assert!(client.line().starts_with("{\"QMP\": "));
    let mut answers = Vec::new();
    for exchange in EXCHANGES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let bytes = sent(&exchange);
        client.stream.write_all(&bytes).unwrap();
        let lines = (0..lines_of(&exchange)).map(|_| {
            let mut line = String::new();
            match client.lines.read_line(&mut line) {
                Ok(0) => "<EOF>".to_owned(),
                // A socket that is closed with something unread in it is reset.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => "<EOF>".to_owned(),
                read => timeless(read.map(|_| line.trim_end_matches("\r\n")).unwrap()),
            }
        });
        let lines = lines.collect();
        answers.push((bytes.escape_ascii().to_string(), lines));
    }
    answers
}

fn recorded(exchange: &Value) -> usize {
    exchange["lines"].as_array().unwrap().len()
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn whoever_may_do_all_is_answered_as_without_it() {
    let alone = Shared::start(&MACHINE, &[]);
    let direct = answers(&alone.direct, recorded);
    assert_eq!(direct.len(), 33);
    let shared = Shared::start(&MACHINE, &["--allow", "operate"]);
    for (through, direct) in answers(&shared.path, recorded).iter().zip(&direct) {
        assert_eq!(through, direct);
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn whoever_may_read_is_refused_what_is_no_query_and_else_answered_as_without_it() {
    let alone = Shared::start(&MACHINE, &[]);
    let direct = answers(&alone.direct, recorded);
    let shared = Shared::start(&MACHINE, &["--allow", "read"]);
    // These are no queries, and one answer is all there is to them.
    let refused = ["a", "balloon", "cont", "migrate-pause", "quit", "stop"];
    let is_refused = |exchange: &Value| {
        let text = String::from_utf8_lossy(&sent(exchange)).into_owned();
        let of =
            |name: &str| ["execute", "exec-oob"].iter().any(|verb| text.contains(&format!("\"{verb}\":\"{name}\"")));
        refused.iter().any(|name| of(name)) && !text.contains("clashes") && exchange["negotiated"] == true
    };
    let through = answers(&shared.path, |exchange| if is_refused(exchange) { 1 } else { recorded(exchange) });
    let mut count = 0;
    for ((sent, through), (_, direct)) in through.iter().zip(&direct) {
        if through.len() == 1 && through[0].contains("is refused by qev's rule 'read'") {
            count += 1;
            assert!(refused.iter().any(|name| sent.contains(&format!("\\\"{name}\\\""))), "{sent}");
        } else {
            assert_eq!(through, direct, "to {sent}");
        }
    }
    // a, exec-oob migrate-pause, balloon with and without a value, stop, cont, quit.
    assert_eq!(count, 7);
}
