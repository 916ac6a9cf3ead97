//! Machines that send what no QEMU sends: an object that is neither an event nor a reply, a name that is too long, a greeting
//! without an end.

use crate::daemon::{Daemon, History};
use crate::program::{Running, Scratch, qev, text};
use qev_record::Kind;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

/// What it sends once it was asked for its name.
const OBJECT: &str = r#"{"event": 5, "timestamp": {"seconds": 1, "microseconds": 2}}"#;

/// Dials in as a machine with this name, and serves until the other side leaves.
fn dial_in(path: &str, name: &str) {
    let name = format!(r#"{{"name": "{name}"}}"#);
    let mut stream = UnixStream::connect(path).unwrap();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(format!("{GREETING}\r\n").as_bytes()).unwrap();
        while let Some(Ok(line)) = lines.next() {
            let id = line.split("\"id\": ").nth(1).unwrap().trim_end_matches('}');
            let is_name = line.contains("query-name");
            let answer = if is_name { &name } else { "{}" };
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
    dial_in(&scratch.path("a.sock"), "odd");
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
    dial_in(&socket, "odd");
    let gap = loop {
        let record = lines.record();
        if text(&record, "kind").as_deref() == Some("gap") {
            break record;
        }
    };
    let summary = text(&gap, "summary").unwrap();
    assert!(summary.contains(r#"{"event": 5"#), "{summary}");
}

#[test]
fn a_name_of_megabytes_is_ignored_and_the_log_says_so() {
    let scratch = Scratch::new();
    let mut daemon = Daemon::start(&scratch, &[]);
    let mut history = History::of(&scratch);
    dial_in(&scratch.path("a.sock"), &"x".repeat(8 << 20));
    let attached = history.kind(&Kind::Attached, &format!("pid-{}", std::process::id()));
    let bytes = attached.to_line().len();
    assert!(bytes < 10_000, "{bytes} bytes");
    let logged = loop {
        let line = daemon.line();
        if line.contains("too long") {
            break line;
        }
    };
    assert!(logged.contains("its answer to query-name has 8388620 bytes"), "{logged}");
}

#[test]
fn a_greeting_without_an_end_is_not_kept() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, &[]);
    let mut stream = UnixStream::connect(scratch.path("a.sock")).unwrap();
    stream.set_read_timeout(Some(crate::daemon::PATIENCE)).unwrap();
    let written = stream.write_all(format!(r#"{{"QMP": {{"package": "{}"#, "x".repeat(1 << 20)).as_bytes());
    // The daemon closes the connection, whether it has read all of it or not.
    let ended = written.and_then(|()| stream.read_to_end(&mut Vec::new()));
    assert!(ended.as_ref().map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true), "{ended:?}");
}
