//! `qev explain`: events by name, and those that are piped in.

use crate::program::{qev, run, stderr, stdout};
use qev_qmp::Json;
use std::io::Write as _;
use std::process::Stdio;

fn explained(input: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = qev(&[&["explain"], arguments].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("qev starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (stdout(&output), stderr(&output), output.status.code())
}

#[test]
fn each_of_the_five_is_explained_in_full() {
    for event in ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"] {
        let text = stdout(&run(&["explain", event]));
        for expected in [event, "since QEMU", "Emitted when", "Data:", "What to do:"] {
            assert!(text.contains(expected), "expected {expected:?} in:\n{text}");
        }
        let json = Json::parse(stdout(&run(&["explain", event, "-o", "json"])).trim()).unwrap();
        assert_eq!(json.get("event").unwrap().string().as_deref(), Some(event));
        assert!(!json.get("members").unwrap().value().as_array().unwrap().is_empty());
    }
}

#[test]
fn every_event_of_qemu_is_there() {
    let all = stdout(&run(&["explain", "--all", "-o", "json"]));
    for name in qev_qmp::event::name::ALL {
        assert!(all.contains(&format!("{{\"event\": \"{name}\"")), "{name}");
    }
}

#[test]
fn a_mistyped_name_is_a_usage_error_with_a_suggestion() {
    let output = run(&["explain", "GUEST_PANIKED"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean GUEST_PANICKED?"), "{}", stderr(&output));
}

#[test]
fn recordings_records_and_bare_events_are_explained_alike() {
    let recording = include_str!("../../../qmp/tests/data/recordings/guest-panic.jsonl");
    let (told, errors, status) = explained(recording, &[]);
    assert!(told.contains("guest kernel panicked; QEMU paused it"), "{told}");
    assert_eq!((errors.as_str(), status), ("", Some(0)));

    let bare = r#"{"event": "QUORUM_FAILURE", "data": {"reference": "usr1", "sector-num": 345435, "sector-count": 5}}"#;
    let (told, _, _) = explained(bare, &["-o", "json"]);
    let record = Json::parse(told.trim()).unwrap().get("record").unwrap();
    assert_eq!(
        record.get("summary").unwrap().string().as_deref(),
        Some("no quorum on usr1: 5 sectors at 345435 could not be read")
    );
    let (again, _, _) = explained(record.as_text(), &["-o", "json"]);
    assert_eq!(again, told);
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_the_others_are_explained() {
    let (told, errors, status) = explained("{\"event\": \"STOP\"}\nnot json\n\n{\"event\": \"RESUME\"}\n", &[]);
    assert!(told.contains("STOP") && told.contains("RESUME"), "{told}");
    assert!(errors.contains("standard input, line 2: not a JSON object"), "{errors}");
    assert_eq!(status, Some(1));
}
