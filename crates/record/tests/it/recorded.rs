//! What a real QEMU 7.2.22 said, and what is said about it.

use crate::{event, record};
use qev_record::Severity::{self, Critical, Error, Info, Notice};
use qev_record::{Line, Meaning, Record};

/// One event of a monitor that was recorded: `t` seconds since its start, and what was received.
fn recorded(t: &str, message: &str) -> String {
    format!(r#"{{"t": {t}, "dir": "<", "msg": {message}}}"#)
}

fn check(t: &str, message: &str, severity: Severity, summary: &str) {
    let record = record(message);
    assert_eq!((record.severity, &*record.summary), (severity, summary));
    let line = Line::parse(&recorded(t, message)).unwrap();
    assert_eq!(line.to_event(), Some(event(message)));
    let back = Line::parse(&record.to_line()).unwrap();
    assert_eq!(back.to_event(), Some(event(message)));
}

#[test]
fn a_dimm_is_plugged_and_unplugged() {
    check(
        "5.769666",
        r#"{"timestamp": {"seconds": 1795347343, "microseconds": 955374}, "event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}}"#,
        Info,
        "guest took DIMM slot 0 (d1) into use",
    );
    check(
        "9.342899",
        r#"{"timestamp": {"seconds": 1795347347, "microseconds": 528287}, "event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 3, "status": 132, "slot": "0", "slot-type": "DIMM"}}}"#,
        Info,
        "guest is releasing DIMM slot 0 (d1)",
    );
    check(
        "9.36094",
        r#"{"timestamp": {"seconds": 1795347347, "microseconds": 546690}, "event": "DEVICE_DELETED", "data": {"device": "d1", "path": "/machine/peripheral/d1"}}"#,
        Info,
        "device d1 is gone",
    );
    check(
        "9.361571",
        r#"{"timestamp": {"seconds": 1795347347, "microseconds": 547432}, "event": "ACPI_DEVICE_OST", "data": {"info": {"source": 3, "status": 0, "slot": "0", "slot-type": "DIMM"}}}"#,
        Info,
        "guest released DIMM slot 0",
    );
}

#[test]
fn a_balloon_moves() {
    check(
        "6.342593",
        r#"{"timestamp": {"seconds": 1795347328, "microseconds": 964376}, "event": "BALLOON_CHANGE", "data": {"actual": 267386880}}"#,
        Info,
        "balloon at 255 MiB",
    );
    check(
        "7.342855",
        r#"{"timestamp": {"seconds": 1795347329, "microseconds": 263897}, "event": "BALLOON_CHANGE", "data": {"actual": 134217728}}"#,
        Info,
        "balloon at 128 MiB",
    );
}

#[test]
fn a_guest_panics_and_is_started_anew() {
    check(
        "6.445636",
        r#"{"timestamp": {"seconds": 1795347358, "microseconds": 599524}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
        Critical,
        "guest kernel panicked; QEMU paused it",
    );
    check(
        "6.445972",
        r#"{"timestamp": {"seconds": 1795347358, "microseconds": 600129}, "event": "STOP"}"#,
        Notice,
        "guest was paused",
    );
    check(
        "10.563904",
        r#"{"timestamp": {"seconds": 1795347362, "microseconds": 717957}, "event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}"#,
        Notice,
        "guest was reset from outside",
    );
}

#[test]
fn a_replica_goes_bad_and_then_the_quorum_is_lost() {
    check(
        "1.710865",
        r#"{"timestamp": {"seconds": 1795347310, "microseconds": 942235}, "event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sectors-count": 8, "sector-num": 8, "type": "read"}}"#,
        Error,
        "replica c1 gave bad data: 8 sectors at 8 (read)",
    );
    check(
        "1.715075",
        r#"{"timestamp": {"seconds": 1795347316, "microseconds": 672880}, "event": "QUORUM_FAILURE", "data": {"reference": "q0", "sectors-count": 1, "sector-num": 128}}"#,
        Critical,
        "no quorum on q0: 1 sector at 128 could not be read",
    );
}

#[test]
fn the_documents_examples_mean_something_too() {
    for (line, sentence) in [
        (
            r#"{ "event": "ACPI_DEVICE_OST", "data": { "device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0 } }"#,
            "guest took DIMM slot 0 (d1) into use",
        ),
        (
            r#"{ "event": "BALLOON_CHANGE", "data": { "actual": 944766976 }, "timestamp": { "seconds": 1267020223, "microseconds": 435656 } }"#,
            "balloon at 901 MiB",
        ),
        (r#"{ "event": "GUEST_PANICKED", "data": { "action": "pause" } }"#, "guest kernel panicked; QEMU paused it"),
        (
            r#"{ "event": "QUORUM_FAILURE", "data": { "reference": "usr1", "sector-num": 345435, "sector-count": 5 }, "timestamp": { "seconds": 1344522075, "microseconds": 745528 } }"#,
            "no quorum on usr1: 5 sectors at 345435 could not be read",
        ),
        (
            r#"{ "event": "QUORUM_REPORT_BAD", "data": { "node-name": "1.raw", "sector-num": 345435, "sector-count": 5 }, "timestamp": { "seconds": 1344522075, "microseconds": 745528 } }"#,
            "replica 1.raw gave bad data: 5 sectors at 345435",
        ),
    ] {
        let event = event(line);
        assert_eq!(Meaning::of(&event).sentence, sentence);
        assert!(qev_record::advice(&event).is_some());
        let line = record(line).to_line();
        assert_eq!(Record::parse(&line).map(|record| record.to_event()), Ok(Some(event)));
    }
}
