//! Records as lines, to the byte: other programs read them.

use crate::{RECEIVED, event, record};
use qev_qmp::Json;
use qev_record::{Gap, Kind, Record, Severity};

fn check(record: &Record, line: &str) {
    assert_eq!(record.to_line(), line);
    assert_eq!(Record::parse(line).as_ref(), Ok(record));
}

#[test]
fn an_event_as_the_design_has_it() {
    let mut record = record(
        r#"{"timestamp": {"seconds": 1795347310, "microseconds": 942235}, "event": "QUORUM_REPORT_BAD", "data": {"node-name": "c1", "sectors-count": 1, "sector-num": 10, "type": "read"}}"#,
    );
    record.seq = Some(17);
    check(
        &record,
        concat!(
            r#"{"seq":17,"kind":"event","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"error","#,
            r#""summary":"replica c1 gave bad data: 1 sector at 10 (read)","#,
            r#""event":"QUORUM_REPORT_BAD","timestamp":{"seconds":1795347310,"microseconds":942235},"#,
            r#""data":{"node-name": "c1", "sectors-count": 1, "sector-num": 10, "type": "read"}}"#,
        ),
    );
}

#[test]
fn an_event_with_everything_that_may_apply() {
    let mut record = record(r#"{"event": "STOP", "since": "noon", "id": 7}"#);
    record.machine_id = Some("7f3c".into());
    record.session = Some("4711-99".into());
    record.via = Some("libvirt".into());
    record.durable = Some(false);
    check(
        &record,
        concat!(
            r#"{"kind":"event","host":"h1","machine":"web1","machine_id":"7f3c","session":"4711-99","via":"libvirt","#,
            r#""received":"2026-11-22T11:35:10.942911Z","durable":false,"severity":"notice","summary":"guest was paused","#,
            r#""event":"STOP","extra":{"since": "noon", "id": 7}}"#,
        ),
    );
}

#[test]
fn what_qev_says_of_its_own_accord() {
    check(
        &Record::attached("h1", "web1", RECEIVED),
        r#"{"kind":"attached","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"info","summary":"attached"}"#,
    );
    check(
        &Record::detached("h1", "web1", RECEIVED, "the connection was closed"),
        concat!(
            r#"{"kind":"detached","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"notice","#,
            r#""summary":"detached: the connection was closed","reason":"the connection was closed"}"#,
        ),
    );
    let gap = Gap {
        from: Some(RECEIVED),
        until: Some(RECEIVED),
        missed: [("RTC_CHANGE".into(), 5), ("BALLOON_CHANGE".into(), 12)].into(),
    };
    check(
        &Record::gap("h1", "web1", RECEIVED, gap, "the disk is full"),
        concat!(
            r#"{"kind":"gap","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"error","#,
            r#""summary":"17 events are missing (0.0 s, 12 BALLOON_CHANGE, 5 RTC_CHANGE): the disk is full","#,
            r#""reason":"the disk is full","from":"2026-11-22T11:35:10.942911Z","until":"2026-11-22T11:35:10.942911Z","#,
            r#""missed":{"BALLOON_CHANGE":12,"RTC_CHANGE":5}}"#,
        ),
    );
    let data = Json::parse(r#"{"query-status": {"status": "guest-panicked"}}"#).unwrap();
    check(
        &Record::state("h1", "web1", RECEIVED, data),
        concat!(
            r#"{"kind":"state","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"critical","#,
            r#""summary":"on attach: guest-panicked","data":{"query-status": {"status": "guest-panicked"}}}"#,
        ),
    );
}

#[test]
fn a_record_of_tomorrow_is_passed_on_whole() {
    let line = concat!(
        r#"{"kind":"moved","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"info","#,
        r#""summary":"moved","to":{"host": "h2", "at": [1.50, null]},"site":"bonn"}"#,
    );
    let record = Record::parse(line).unwrap();
    assert_eq!(record.kind, Kind::Other("moved".into()));
    assert_eq!(record.unknown.len(), 2);
    assert_eq!(record.to_line(), line);
}

#[test]
fn a_line_is_strict_json_in_ascii_whatever_qemu_and_guests_wrote() {
    let record =
        record("{\"event\": \"X\", \"data\": {\r\n  \"a\": inf, \"b\": \"\u{202e}\u{e9}\", \"c\": \"\u{7f}\"}}");
    let line = record.to_line();
    assert!(line.ends_with(r#""data":{"a": "inf", "b": "\u202E\u00E9", "c": "\u007F"}}"#), "{line}");
    assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')));
}

#[test]
fn members_may_stand_in_any_order_and_with_any_space() {
    let record = Record::parse(concat!(
        "\t{ \"summary\": \"s\", \"data\" : [ 1 ],\r\n \"severity\": \"debug\", \"received\": \"2026-11-22T12:35:10.942911+01:00\",",
        " \"event\": \"STOP\", \"machine\": \"\\u0077eb1\", \"host\": \"h1\", \"kind\": \"event\" } \n",
    ))
    .unwrap();
    assert_eq!((&*record.machine, record.received, record.severity), ("web1", RECEIVED, Severity::Debug));
    let again = event(r#"{"event": "STOP", "data": [ 1 ]}"#);
    assert_eq!(record.to_event(), Some(again));
}
