//! The five examples of the document *QEMU Machine Protocol Events*: they decode to the same values as QEMU's forms, and
//! encode back to the document's members and values.

use qev_qmp::event::*;
use qev_qmp::json::print::Layout;
use qev_qmp::{Dialect, Event, Json, Message, Object, Timestamp, Typed};

fn event(text: &str) -> Event {
    match Message::decode(text.as_bytes()) {
        Ok(Message::Event(event)) => event,
        other => panic!("{text} is {other:?}"),
    }
}

/// The document's example, and what QEMU sends for the same: one value, and each form comes back from it to the byte.
fn check(document: &str, qemu: &str, expected: impl Into<Typed>, dropped: &[&str]) {
    let expected = expected.into();
    let as_document = event(document);
    let as_qemu = event(qemu);
    assert_eq!(as_qemu.typed().as_ref(), Ok(&expected));

    let encoded = expected.encode(Dialect::Document);
    assert_eq!(encoded.dropped, dropped);
    let again = Event { data: encoded.data, ..as_document.clone() };
    assert_eq!(again.print(Dialect::Document, Layout::Line), document);
    assert_eq!(Event::new(&expected, as_qemu.timestamp, Dialect::Qemu).to_line(), qemu);

    // What the document drops is all that makes its value differ.
    let back = as_document.typed().unwrap();
    assert_eq!(back.encode(Dialect::Document), Encoded { dropped: vec![], ..expected.encode(Dialect::Document) });
    if dropped.is_empty() {
        assert_eq!(back, expected);
    }
}

fn bad() -> QuorumReportBad {
    QuorumReportBad {
        op: None,
        error: None,
        node_name: "1.raw".into(),
        sector_num: 345_435,
        sector_count: 5,
        extra: Object::new(),
    }
}

#[test]
fn acpi_device_ost() {
    check(
        r#"{"event": "ACPI_DEVICE_OST", "data": {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}}"#,
        r#"{"event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}}"#,
        AcpiDeviceOst {
            device: Some("d1".into()),
            slot: "0".into(),
            slot_type: SlotType::Dimm,
            source: 1,
            status: 0,
            extra: Object::new(),
            extra_beside_info: Object::new(),
        },
        &[],
    );
}

#[test]
fn balloon_change() {
    check(
        r#"{"event": "BALLOON_CHANGE", "data": {"actual": 944766976}, "timestamp": {"seconds": 1267020223, "microseconds": 435656}}"#,
        r#"{"timestamp": {"seconds": 1267020223, "microseconds": 435656}, "event": "BALLOON_CHANGE", "data": {"actual": 944766976}}"#,
        BalloonChange::new(944_766_976),
        &[],
    );
}

#[test]
fn guest_panicked() {
    check(
        r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
        GuestPanicked::new(PanicAction::Pause),
        &[],
    );
}

#[test]
fn quorum_failure() {
    check(
        r#"{"event": "QUORUM_FAILURE", "data": {"reference": "usr1", "sector-num": 345435, "sector-count": 5}, "timestamp": {"seconds": 1344522075, "microseconds": 745528}}"#,
        r#"{"timestamp": {"seconds": 1344522075, "microseconds": 745528}, "event": "QUORUM_FAILURE", "data": {"reference": "usr1", "sectors-count": 5, "sector-num": 345435}}"#,
        QuorumFailure { reference: "usr1".into(), sector_num: 345_435, sector_count: 5, extra: Object::new() },
        &[],
    );
}

#[test]
fn quorum_report_bad() {
    let document = r#"{"event": "QUORUM_REPORT_BAD", "data": {"node-name": "1.raw", "sector-num": 345435, "sector-count": 5}, "timestamp": {"seconds": 1344522075, "microseconds": 745528}}"#;
    // As QEMU 2.0 to 2.5 sent it, and as later ones do.
    check(
        document,
        r#"{"timestamp": {"seconds": 1344522075, "microseconds": 745528}, "event": "QUORUM_REPORT_BAD", "data": {"node-name": "1.raw", "sectors-count": 5, "sector-num": 345435}}"#,
        bad(),
        &[],
    );
    check(
        document,
        r#"{"timestamp": {"seconds": 1344522075, "microseconds": 745528}, "event": "QUORUM_REPORT_BAD", "data": {"node-name": "1.raw", "sectors-count": 5, "sector-num": 345435, "type": "read"}}"#,
        QuorumReportBad { op: Some(QuorumOpType::Read), ..bad() },
        &["type"],
    );
}

#[test]
fn what_the_document_does_not_know_is_kept_where_it_has_room() {
    // An action other than pause, an absent device, an error text.
    for (qemu, expected, dropped) in [
        (
            r#"{"event": "GUEST_PANICKED", "data": {"action": "poweroff"}}"#,
            r#"{"event": "GUEST_PANICKED", "data": {"action": "poweroff"}}"#,
            &[][..],
        ),
        (
            r#"{"event": "GUEST_PANICKED", "data": {"action": "run", "info": {"arg5": 5, "arg4": 4, "arg3": 3, "arg2": 2, "arg1": 1, "type": "hyper-v"}}}"#,
            r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#,
            &["info"],
        ),
        (
            r#"{"event": "ACPI_DEVICE_OST", "data": {"info": {"source": 3, "status": 0, "slot": "0", "slot-type": "CPU"}}}"#,
            r#"{"event": "ACPI_DEVICE_OST", "data": {"slot": "0", "slot-type": "CPU", "source": 3, "status": 0}}"#,
            &[],
        ),
        (
            r#"{"event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sectors-count": 0, "sector-num": 0, "type": "flush", "error": "Input/output error"}}"#,
            r#"{"event": "QUORUM_REPORT_BAD", "data": {"error": "Input/output error", "node-name": "c1", "sector-num": 0, "sector-count": 0}}"#,
            &["type"],
        ),
    ] {
        let typed = event(qemu).typed().unwrap();
        assert_eq!(typed.encode(Dialect::Document).dropped, dropped);
        let document = Event::new(&typed, None, Dialect::Document);
        assert_eq!(document.print(Dialect::Document, Layout::Line), expected);
        assert_eq!(Event::new(&typed, None, Dialect::Qemu).to_line(), qemu);
    }
}

#[test]
fn values_of_tomorrow_and_members_nobody_knows_come_back_from_the_typed_value() {
    for text in [
        r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "BALLOON_CHANGE", "data": {"actual": -4096}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "ascend", "info": {"x": [1, {"y": null}], "type": "new-kind"}}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "run", "info": {"arg5": 0, "arg4": 0, "arg3": 0, "arg2": 9223372036854775808, "arg1": 18446744073709551615, "type": "hyper-v"}}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "run", "info": {"arg5": 0, "arg4": 0, "arg3": 0, "arg2": 0, "arg1": 1, "arg6": 9, "type": "hyper-v"}}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "pause", "info": {"core": 1, "psw-addr": 15387070, "reason": "opint-loop", "psw-mask": 562956395872256, "type": "s390"}}}"#,
        r#"{"event": "GUEST_PANICKED", "data": {"action": "pause", "info": {"error-code": 1, "message": "\u001B[2J", "type": "tdx"}}}"#,
        r#"{"event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "severity": 1e+21, "sectors-count": 8, "sector-num": 8, "type": "trim"}}"#,
        r#"{"event": "ACPI_DEVICE_OST", "data": {"beside": "info", "info": {"source": 4294967295, "status": 128, "more": true, "slot": "x", "slot-type": "GPU"}}}"#,
        r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q0", "sectors-count": 1, "why": inf, "sector-num": 128}}"#,
    ] {
        let event = event(text);
        let typed = event.typed().unwrap();
        let again = Event::new(&typed, event.timestamp, Dialect::Qemu);
        assert_eq!(again.to_line(), text);
    }
}

#[test]
fn data_that_does_not_fit_says_which_member_and_leaves_the_event_as_it_is() {
    for (text, expected) in [
        (r#"{"event": "BALLOON_CHANGE"}"#, "BALLOON_CHANGE: expected data that is an object"),
        (r#"{"event": "BALLOON_CHANGE", "data": [1]}"#, "BALLOON_CHANGE: expected data that is an object"),
        (
            r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1.5}}"#,
            "BALLOON_CHANGE: expected member 'actual' to be an integer that fits its type",
        ),
        (
            r#"{"event": "BALLOON_CHANGE", "data": {"actual": 18446744073709551615}}"#,
            "BALLOON_CHANGE: expected member 'actual' to be an integer that fits its type",
        ),
        (
            r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q0"}}"#,
            "QUORUM_FAILURE: expected member 'sector-num' to be present",
        ),
    ] {
        let event = event(text);
        assert_eq!(event.typed().unwrap_err().to_string(), expected);
        assert_eq!(event.to_line(), text);
    }
}

#[test]
fn an_event_without_a_type_of_its_own_is_carried_whole() {
    let text =
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_ASCENDED", "data": {"to": "cloud"}}"#;
    let event = event(text);
    assert_eq!(event.timestamp, Some(Timestamp { seconds: 1, microseconds: 2 }));
    let Ok(Typed::Other(other)) = event.typed() else { panic!("not Other") };
    assert_eq!(other.name, "GUEST_ASCENDED");
    assert_eq!(other.data, Some(Json::parse(r#"{"to": "cloud"}"#).unwrap()));
}

#[test]
fn what_comes_twice_or_beside_does_not_push_aside_what_is_known() {
    for text in [
        r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q0", "sectors-count": 5, "sector-count": 6, "sector-num": 1}}"#,
        r#"{"event": "ACPI_DEVICE_OST", "data": {"slot": "9", "info": {"source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}}"#,
    ] {
        let event = event(text);
        let typed = event.typed().unwrap();
        match &typed {
            Typed::QuorumFailure(failure) => assert_eq!(failure.sector_count, 5),
            Typed::AcpiDeviceOst(ost) => assert_eq!(&*ost.slot, "0"),
            other => panic!("{other:?}"),
        }
        assert_eq!(Event::new(&typed, None, Dialect::Qemu).data.unwrap().value(), event.data.unwrap().value());
    }
    for (text, printed) in [
        (r#"{"event": {"x": 1}, "event": "STOP"}"#, r#"{"event": "STOP"}"#),
        (r#"{"event": "STOP", "QMP": {}}"#, r#"{"event": "STOP", "QMP": {}}"#),
        (r#"{"\u0065vent": "STOP"}"#, r#"{"event": "STOP"}"#),
    ] {
        assert_eq!(event(text).print(Dialect::Qemu, Layout::Line), printed, "{text}");
    }
}
