//! A QEMU that sends an object that is neither an event nor a reply: a gap says so, in the daemon and in `qev watch`.

use crate::daemon::{Daemon, History};
use crate::program::{Running, Scratch, qev, text};
use qev_record::Kind;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

/// What it sends once it was asked for its name.
const OBJECT: &str = r#"{"event": 5, "timestamp": {"seconds": 1, "microseconds": 2}}"#;

/// Dials in as a machine called `odd`, and serves until the other side leaves.
fn dial_in(path: &str) {
    let mut stream = UnixStream::connect(path).unwrap();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(format!("{GREETING}\r\n").as_bytes()).unwrap();
        while let Some(Ok(line)) = lines.next() {
            let id = line.split("\"id\": ").nth(1).unwrap().trim_end_matches('}');
            let is_name = line.contains("query-name");
            let answer = if is_name { r#"{"name": "odd"}"# } else { "{}" };
            let mut words = format!("{{\"return\": {answer}, \"id\": {id}}}\r\n");
            if is_name {
                words.push_str(OBJECT);
                words.push_str("\r\n");
            }
            // The other side may have left.
            let _ = stream.write_all(words.as_bytes());
        }
    });
}

#[test]
fn the_daemon_keeps_a_gap_that_shows_the_object() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    dial_in(&scratch.path("a.sock"));
    let gap = history.kind(&Kind::Gap, "odd");
    assert!(gap.summary.contains(OBJECT), "{}", gap.summary);
}

#[test]
fn watch_shows_a_gap_with_the_object() {
    let scratch = Scratch::new();
    let socket = scratch.path("w.sock");
    let (_watching, mut lines) = Running::with_lines(qev(&["watch", "--attach", &socket, "-o", "json"]));
    while !std::path::Path::new(&socket).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    dial_in(&socket);
    let gap = loop {
        let record = lines.record();
        if text(&record, "kind").as_deref() == Some("gap") {
            break record;
        }
    };
    let summary = text(&gap, "summary").unwrap();
    assert!(summary.contains(r#"{"event": 5"#), "{summary}");
}
