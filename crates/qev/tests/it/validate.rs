//! `qev watch --validate` and `qev explain --check`: events beside what their QEMU says of them.

use crate::program::{Machine, Running, Scratch, qev, run, stderr, stdout};
use qev_qmp::Json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;

const SCHEMA: &str = include_str!("../../../qmp/tests/data/schema-qemu-7.2.22.json");

const STOP: &str = r#"{"event": "STOP"}"#;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 99}, "package": ""}, "capabilities": ["oob"]}}"#;

/// A QEMU that tells this schema when it is asked, and then sends events.
struct StandIn {
    monitor: String,
    _scratch: Scratch,
}

impl StandIn {
    fn start(schema: &str, events: &[&str]) -> StandIn {
        let scratch = Scratch::new();
        let monitor = scratch.path("vm1.sock");
        let listener = UnixListener::bind(&monitor).unwrap();
        let schema = schema.replace('\n', " ");
        let events: Vec<String> = events.iter().map(|event| format!("{event}\r\n")).collect();
        // It serves one client, until that leaves.
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(format!("{GREETING}\r\n").as_bytes()).unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                let id = line.split("\"id\": ").nth(1).unwrap().trim_end_matches('}');
                let is_asked = line.contains("query-qmp-schema");
                let answer = if is_asked { schema.as_str() } else { "{}" };
                let mut words = format!("{{\"return\": {answer}, \"id\": {id}}}\r\n");
                if is_asked {
                    words.push_str(&events.concat());
                }
                // Who has seen enough may be gone.
                let _ = stream.write_all(words.as_bytes());
            }
        });
        StandIn { monitor, _scratch: scratch }
    }
}

#[test]
fn where_an_event_departs_is_said_and_stands_in_its_record() {
    let machine = StandIn::start(
        SCHEMA,
        &[
            r#"{"event": "STOP"}"#,
            r#"{"event": "GUEST_PANICKED", "data": {"action": "d\u001b[2Joze", "why": 1}}"#,
            r#"{"event": "GUEST_ASCENDED", "data": {}}"#,
        ],
    );
    let output = run(&["watch", "--validate", "-o", "json", "-n", "3", &machine.monitor]);
    let records: Vec<Json> = stdout(&output).lines().map(|line| Json::parse(line).unwrap()).collect();
    let departs: Vec<Option<String>> = records.iter().map(|record| Some(record.get("departs")?.to_string())).collect();
    let [None, None, Some(panic), Some(ascended)] = &departs[..] else { panic!("{departs:?}") };
    let expected =
        r#"["data.action is 'd\u001B[2Joze', which is none of pause, poweroff, run", "data.why is not in the schema"]"#;
    assert_eq!(panic, expected);
    assert_eq!(ascended, r#"["this QEMU's schema has no such event"]"#);
    // What QEMU sent stands there as it sent it.
    let data = records[2].get("data").unwrap();
    assert_eq!(data.get("action").unwrap().string().as_deref(), Some("d\u{1b}[2Joze"));
    let told = stderr(&output);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("vm1: GUEST_PANICKED departs from QEMU's schema: data.why is not in the schema"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told}");
    // It goes on through a pipe.
    let record = qev_record::Record::parse(stdout(&output).lines().nth(2).unwrap()).unwrap();
    assert_eq!(record.departs.as_ref().map(Json::to_string).as_deref(), Some(expected));
}

#[test]
fn a_machine_that_does_not_tell_its_schema_is_watched_all_the_same() {
    let machine = Machine::start(&["--name", "web1"]);
    let mut command = qev(&["watch", "--validate", "-o", "json", "-n", "1", &machine.monitor]);
    command.stderr(std::process::Stdio::piped());
    let (mut watch, mut lines) = Running::with_lines(command);
    lines.record();
    machine.guest("emit", r#"{"event": "STOP"}"#);
    lines.event("STOP");
    assert_eq!(watch.status(), 0);
    let mut told = String::new();
    std::io::Read::read_to_string(watch.0.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert!(told.contains("web1: events are not compared with its schema: this QEMU does not tell"), "{told}");
    assert_eq!(run(&["explain", "--check", &machine.monitor]).status.code(), Some(1));
}

#[test]
fn the_catalogue_is_compared_with_a_qemu() {
    let output = run(&["explain", "--check", &StandIn::start(SCHEMA, &[STOP]).monitor]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), ""), "{}", stderr(&output));
    assert!(stderr(&output).contains("QEMU 99.0.0 has 52 events; the catalogue lacks 0 things of theirs"));

    let tomorrow = SCHEMA.replace(r#""name": "STOP""#, r#""name": "HALT""#);
    let machine = StandIn::start(&tomorrow, &[STOP]);
    let output = run(&["explain", "--check", &machine.monitor]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(1), "HALT: the catalogue lacks the event\n"));

    let output = run(&["explain", "--check", &StandIn::start("[7, {}]", &[STOP]).monitor, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("expected a list of entities with events"), "{}", stderr(&output));
}
