//! What a client must live through: whatever a peer sends, no later message is lost.

use proptest::prelude::*;
use qev_qmp::client::{Client, Incoming, MAX_GREETING};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Dialect, Json, Message, Object, Value};

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

/// What the client made of the bytes, fed in chunks of this size: names of events and results of commands.
fn heard(bytes: &[u8], chunk: usize) -> Vec<String> {
    let mut client = Client::new(true);
    let mut heard = Vec::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        client.feed(chunk);
        while let Some(incoming) = client.next_incoming() {
            heard.push(match incoming {
                Incoming::Greeting(_) => "greeting".to_owned(),
                Incoming::Ready => {
                    client.execute("query-status", None).unwrap();
                    "ready".to_owned()
                }
                Incoming::Event(event) => event.name.to_string(),
                Incoming::Reply { id, result } => format!("reply {id} {result:?}"),
                Incoming::Refused(error) => format!("refused {error}"),
                Incoming::Stray(_) => "stray".to_owned(),
                Incoming::Unknown(_) => "unknown".to_owned(),
                Incoming::Garbage(_) => "garbage".to_owned(),
            });
        }
    }
    heard
}

fn check(lines: &[&str], expected: &[&str]) {
    let stream = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    for chunk in [1, 2, 7, 64, stream.len()] {
        assert_eq!(heard(stream.as_bytes(), chunk), expected, "in chunks of {chunk}");
    }
}

#[test]
fn an_event_between_qmp_capabilities_and_its_reply_is_an_event() {
    check(
        &[GREETING, r#"{"event": "RESUME"}"#, r#"{"return": {}, "id": 1}"#, r#"{"event": "STOP"}"#],
        &["greeting", "RESUME", "ready", "STOP"],
    );
}

#[test]
fn an_event_is_not_taken_for_a_reply_nor_a_reply_for_an_event() {
    check(
        &[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            r#"{"event": "ODD", "id": 2, "return": {}}"#,
            r#"{"return": {"event": "FAKE"}, "id": 2}"#,
            r#"{"return": {}, "id": 2}"#,
            r#"{"return": {}}"#,
        ],
        &["greeting", "ready", "ODD", r#"reply 2 Ok({"event": "FAKE"})"#, "stray", "stray"],
    );
}

#[test]
fn a_refusal_has_its_reason() {
    check(
        &[GREETING, r#"{"id": 1, "error": {"class": "GenericError", "desc": "no"}}"#],
        &["greeting", "refused GenericError: no"],
    );
}

#[test]
fn what_nobody_knows_costs_nothing() {
    check(
        &[
            r#"{"event": "MADE_UP", "data": {"a": [1, 2, {"b": "c"}]}, "beside": 1}"#,
            r#"{"event": "GUEST_PANICKED", "data": {"action": "ascend", "to": "cloud"}}"#,
            r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP"}"#,
            r#"{"timestamp": "yesterday", "event": "STOP"}"#,
            r#"{"event": "BALLOON_CHANGE", "data": {"actual": -18446744073709551616}}"#,
            r#"{"event": "HUGE", "data": {"n": 18446744073709551615, "m": inf, "o": [-inf, nan, 1e999]}}"#,
            r#"{"event": {"not": "a name"}}"#,
            r#"{"something": "else"}"#,
            r#"{}"#,
            r#"{"event": "LAST"}"#,
        ],
        &[
            "MADE_UP",
            "GUEST_PANICKED",
            "STOP",
            "STOP",
            "BALLOON_CHANGE",
            "HUGE",
            "unknown",
            "unknown",
            "unknown",
            "LAST",
        ],
    );
}

#[test]
fn an_event_of_a_pretty_monitor_is_one_line_again() {
    let line = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "X", "data": {"b": [1, {}], "a": 0.5}}"#;
    let pretty = Json::parse(line).unwrap().value().print(Order::Given, Layout::Pretty);
    let Ok(Message::Event(event)) = Message::decode(pretty.as_bytes()) else { panic!("no event: {pretty}") };
    assert_eq!(event.to_line(), line);
    assert_eq!(event.print(Dialect::Qemu, Layout::Pretty), pretty);
}

#[test]
fn a_mebibyte_of_data_is_one_event() {
    let line = format!(r#"{{"event": "BIG", "data": {{"text": "{}"}}}}"#, "x".repeat(1 << 20));
    let stream = format!("{GREETING}\r\n{line}\r\n{{\"event\": \"LAST\"}}\r\n");
    for chunk in [1, 4096, 1 << 21] {
        assert_eq!(heard(stream.as_bytes(), chunk), ["greeting", "BIG", "LAST"]);
    }
}

#[test]
fn a_greeting_is_small_and_a_large_object_before_it_is_not_kept() {
    let line = format!(r#"{{"QMP": {{"package": "{}"}}}}"#, "x".repeat(1 << 20));
    let stream = format!("{line}\r\n{GREETING}\r\n");
    let mut client = Client::new(true);
    for chunk in stream.as_bytes().chunks(4096) {
        client.feed(chunk);
        assert!(!matches!(client.next_incoming(), Some(Incoming::Greeting(greeting)) if !greeting.package.is_empty()));
        while client.next_incoming().is_some() {}
        assert!(client.incomplete() <= MAX_GREETING + 4096, "{}", client.incomplete());
    }
    assert_eq!(heard(stream.as_bytes(), 4096), ["garbage", "garbage", "greeting"]);
}

/// Any JSON value, as QEMU could print it.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Minus zero is printed as the integer that it is read back as.
        any::<f64>().prop_map(|n| Value::from(if n == 0.0 { 0.0 } else { n })),
        Just(Value::Double(f64::INFINITY)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Object>())),
        ]
    })
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Line), Just(Layout::Pretty)]
}

/// An event as text, and its name.
fn any_event() -> impl Strategy<Value = (String, String)> {
    ("[A-Z_]{1,20}", prop::option::of(any_value()), any_layout()).prop_map(|(name, data, layout)| {
        let mut event = Object::new().with("event", name.as_str());
        if let Some(data) = data {
            event.insert("data", data);
        }
        (event.print(Order::Qemu, layout).replace('\n', "\r\n"), name)
    })
}

fn events_only(heard: Vec<String>) -> Vec<String> {
    heard.into_iter().filter(|what| what != "garbage" && what != "unknown" && what != "stray").collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn events_are_the_same_however_their_bytes_are_split(
        events in prop::collection::vec((any_event(), prop_oneof![Just("\r\n"), Just("\n"), Just(""), Just(" \t")]), 1..8),
        chunk in 1_usize..200,
    ) {
        let stream: String = events.iter().map(|((text, _), end)| format!("{text}{end}")).collect();
        let names: Vec<String> = events.into_iter().map(|((_, name), _)| name).collect();
        prop_assert_eq!(heard(stream.as_bytes(), chunk), names);
    }

    #[test]
    fn an_event_broken_off_anywhere_does_not_cost_the_next(
        (text, _) in any_event(),
        cut in any::<prop::sample::Index>(),
        newline in prop_oneof![Just("\n"), Just("\r\n")],
        (next, name) in any_event(),
        chunk in 1_usize..200,
    ) {
        // Broken off: not whole.
        let cut = cut.index(text.len());
        let stream = [&text.as_bytes()[..cut], newline.as_bytes(), next.as_bytes(), b"\r\n"].concat();
        prop_assert_eq!(events_only(heard(&stream, chunk)), [name]);
    }

    #[test]
    fn garbage_between_messages_does_not_cost_the_next(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        (next, name) in any_event(),
        chunk in 1_usize..200,
    ) {
        let stream = [&garbage[..], b"\n", next.as_bytes(), b"\r\n"].concat();
        prop_assert_eq!(events_only(heard(&stream, chunk)).pop(), Some(name));
    }

    #[test]
    fn garbage_without_a_brace_may_even_touch_it(
        garbage in prop::collection::vec(any::<u8>().prop_filter("no brace", |b| *b != b'{'), 0..200),
        (next, name) in any_event(),
        chunk in 1_usize..200,
    ) {
        let stream = [&garbage[..], next.as_bytes()].concat();
        prop_assert_eq!(events_only(heard(&stream, chunk)), [name]);
    }

    #[test]
    fn what_is_printed_is_read_back(value in any_value(), layout in any_layout()) {
        let text = value.print(Order::Qemu, layout);
        let again = Json::parse(&text).unwrap().value();
        prop_assert_eq!(again.print(Order::Given, layout), text);
    }

    #[test]
    fn strict_json_has_no_byte_that_acts_on_a_terminal(value in any_value(), layout in any_layout()) {
        let json = Json::parse(&value.print(Order::Qemu, layout)).unwrap();
        prop_assert!(json.strict().bytes().all(|byte| (0x20..0x7F).contains(&byte)));
    }
}
