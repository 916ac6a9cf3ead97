//! A machine may say anything: what nobody has heard of is passed on whole, and what is broken costs nothing but itself.

use crate::support::{Raw, client, heard};
use proptest::prelude::*;
use qev_link::{Capacity, Client, ConnectOptions, EventItem};
use qev_qmp::Message;
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn what_no_qemu_ever_sent_comes_as_it_is() {
    let (_client, mut events, mut machine) = client(ConnectOptions::default()).await;
    let strange = [
        r#"{"event": "GUEST_ASCENDED"}"#,
        r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "GUEST_PANICKED", "data": {"action": "sing"}}"#,
        r#"{"event": "BALLOON_CHANGE", "data": {"actual": "many", "mood": [null, {"x": 1e400}]}}"#,
        r#"{"event": "MIGRATION_PASS", "data": {"pass": inf, "rest": -nan}}"#,
        r#"{"event": "QUORUM_FAILURE", "data": {}}"#,
        r#"{"event": "", "data": 7}"#,
        r#"{"event": "\uD83D\uDE00"}"#,
    ];
    machine.say(strange.join("\r\n")).await;
    let unknown = r#"{"hello": "there"}"#;
    machine.say(unknown).await;
    let mut expected: Vec<String> = strange.map(str::to_owned).into();
    expected.push(format!("unknown: {unknown}"));
    assert_eq!(heard(&mut events, expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn data_of_a_mebibyte_is_data() {
    let options = ConnectOptions::default().events(Capacity { items: 2, bytes: 2 << 20 });
    let (_client, mut events, mut machine) = client(options).await;
    let big = format!(r#"{{"event": "BIG", "data": {{"x": "{}"}}}}"#, "x".repeat(1 << 20));
    machine.say(format!("{big}\r\n{{\"event\": \"STOP\"}}\r\n")).await;
    assert!(heard(&mut events, 2).await == [big.as_str(), r#"{"event": "STOP"}"#]);
}

#[tokio::test(start_paused = true)]
async fn garbage_between_messages_is_reported_and_nothing_is_lost() {
    let (client, mut events, mut machine) = client(ConnectOptions::default()).await;
    let (answer, ()) = tokio::join!(client.execute("query-status", None), async {
        machine.hear().await;
        machine
            .say(b"{\"event\": \"A\"}\r\nqemu: warning: clock!\r\n{\"return\": 1, \"id\": 2}\xff{\"event\": \"B\"}\r\n")
            .await;
        machine.say("{\"event\": \"C\", \"data\": {]}\r\n{\"return\": 1, \"id\": 99}\r\n{\"event\": \"D\"}\r\n").await;
    });
    assert_eq!(answer.unwrap().as_text(), "1");
    drop(machine);
    let heard = heard(&mut events, 99).await;
    let (garbage, whole): (Vec<_>, Vec<_>) = heard.iter().partition(|item| item.starts_with("garbage"));
    assert_eq!(
        whole,
        [r#"{"event": "A"}"#, r#"{"event": "B"}"#, r#"{"event": "D"}"#, "ended: the peer closed the connection"]
    );
    assert!(garbage[0].contains("qemu: warning: clock!") && garbage.len() >= 3, "{garbage:?}");
}

/// What a machine says next.
#[derive(Clone, Debug)]
enum Said {
    Whole(String),
    /// The beginning of a message, and a new line.
    Broken(String),
    Garbage(String),
}

fn message() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("STOP".to_owned()), "[A-Z_]{1,12}"];
    let data = prop_oneof![
        Just(String::new()),
        Just(r#", "data": {"pass": inf, "a": {"b": [1, {}, "}{\"\\"]}}"#.to_owned()),
        Just(", \"data\": {\r\n        \"pretty\": {\r\n            \"x\": 1e3\r\n        }\r\n    }".to_owned()),
        "[a-z \\[\\]{}:,]{0,40}".prop_map(|text| format!(r#", "data": {{"text": "{text}", "n": -1}}"#)),
    ];
    let time = prop_oneof![Just(""), Just(r#""timestamp": {"seconds": -1, "microseconds": -1}, "#)];
    (time, name, data).prop_map(|(time, name, data)| format!("{{{time}\"event\": \"{name}\"{data}}}"))
}

/// As the message's event prints itself: without the line ends of a pretty monitor.
fn on_one_line(message: &str) -> String {
    match Message::decode(message.as_bytes()) {
        Ok(Message::Event(event)) => event.to_line(),
        other => panic!("{message} is {other:?}"),
    }
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => message().prop_map(Said::Whole),
        2 => (message(), any::<prop::sample::Index>()).prop_map(|(message, at)| {
            Said::Broken(message[..at.index(message.len())].to_owned())
        }),
        1 => "[ -z]{1,30}".prop_map(Said::Garbage),
    ]
}

proptest! {
    /// However the bytes are split, every whole message comes, in its order, whatever was broken before it.
    #[test]
    fn no_whole_message_is_ever_lost(
        script in prop::collection::vec(said(), 0..12),
        splits in prop::collection::vec(1usize..60, 1..40),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for said in &script {
            match said {
                Said::Whole(message) => {
                    bytes.extend_from_slice(message.as_bytes());
                    expected.push(on_one_line(message));
                }
                Said::Broken(text) | Said::Garbage(text) => bytes.extend_from_slice(text.as_bytes()),
            }
            bytes.extend_from_slice(b"\r\n");
        }
        let events = block_on(listen(bytes, splits));
        prop_assert_eq!(events, expected);
    }
}

/// What a client hears of this, said in pieces of these sizes.
async fn listen(bytes: Vec<u8>, splits: Vec<usize>) -> Vec<String> {
    let (ours, theirs) = tokio::io::duplex(64);
    let mut machine = Raw::new(theirs);
    let options = ConnectOptions::default().events(Capacity { items: 1000, bytes: 1 << 20 });
    let (connected, ()) = tokio::join!(Client::over(ours, options), machine.let_in());
    let (_client, mut events) = connected.unwrap();
    let said = async {
        let mut rest = bytes.as_slice();
        for size in splits.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            machine.stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        drop(machine);
    };
    let heard = async {
        let mut heard = Vec::new();
        loop {
            match events.next().await {
                // Told apart from what was sent by its text only when it is laid out the same.
                EventItem::Event(event) => heard.push((*event).clone()),
                EventItem::Ended(_) => return heard,
                EventItem::Missed(_) => panic!("nothing is to be missed"),
                _ => {}
            }
        }
    };
    let ((), heard) = tokio::join!(said, heard);
    heard.iter().map(qev_qmp::Event::to_line).collect()
}

pub(crate) fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(story)
}
