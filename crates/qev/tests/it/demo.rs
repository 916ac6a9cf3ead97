//! `qev demo` shows what it promises.

use crate::program::{run, stderr, stdout};

#[test]
fn five_events_for_their_reasons_in_both_dialects() {
    let output = run(&["demo", "--quick"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stdout(&output);
    for expected in [
        "1 of 5  ACPI_DEVICE_OST: emitted when the guest runs ACPI _OST",
        "2 of 5  BALLOON_CHANGE",
        "3 of 5  GUEST_PANICKED",
        "4 of 5  QUORUM_FAILURE",
        "5 of 5  QUORUM_REPORT_BAD",
        "balloon at 128 MiB",
        "query-balloon says actual 134217728: equal to the last event's",
        "guest kernel panicked; QEMU paused it",
        "query-status says guest-panicked",
        "no quorum on q0: 1 sector at 128 could not be read",
        "replica c1 gave bad data: 8 sectors at 8 (read)",
        r#""event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#,
        r#"{"event": "ACPI_DEVICE_OST", "data": {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}, "timestamp""#,
        r#""event": "QUORUM_FAILURE", "data": {"reference": "q0", "sectors-count": 1, "sector-num": 128}"#,
        r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q0", "sector-num": 128, "sector-count": 1}"#,
        r#"{"event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sector-num": 8, "sector-count": 8}"#,
        "(the document has no member 'type')",
    ] {
        assert!(told.contains(expected), "expected {expected:?} in:\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "no colours where nobody sees them");
}
