//! Recordings of a real QEMU 7.2 with a real Linux guest.
//!
//! Every message is decoded, every event to its typed value; the bytes it came in are dropped; and what is encoded from
//! the value equals what came, to the byte: QEMU's order of members included.

use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Dialect, Event, Json, Message, Typed};

const RECORDINGS: [(&str, &str); 6] = [
    ("balloon", include_str!("../data/recordings/balloon.jsonl")),
    ("dimm-hotplug", include_str!("../data/recordings/dimm-hotplug.jsonl")),
    ("guest-panic", include_str!("../data/recordings/guest-panic.jsonl")),
    ("lifecycle", include_str!("../data/recordings/lifecycle.jsonl")),
    ("quorum-corrupt-replica", include_str!("../data/recordings/quorum-corrupt-replica.jsonl")),
    ("quorum-failure", include_str!("../data/recordings/quorum-failure.jsonl")),
];

/// What QEMU sent, message by message.
fn received(recording: &str) -> Vec<String> {
    recording
        .lines()
        .map(|line| Json::parse(line).unwrap())
        .filter(|line| line.get("dir").unwrap().string().unwrap() == "<")
        .map(|line| line.get("msg").unwrap().as_text().to_owned())
        .collect()
}

#[test]
fn every_event_comes_back_from_its_typed_value() {
    let mut typed_events = 0;
    for (name, recording) in RECORDINGS {
        for message in received(recording) {
            let Ok(Message::Event(Event { timestamp, name: event, data, .. })) = Message::decode(message.as_bytes())
            else {
                continue;
            };
            let typed = Event { timestamp, name: event, data, extra: Default::default() }.typed().unwrap();
            if !matches!(typed, Typed::Other(_)) {
                typed_events += 1;
            }
            assert_eq!(Event::new(&typed, timestamp, Dialect::Qemu).to_line(), message, "{name}");
        }
    }
    assert_eq!(typed_events, 28, "11 of the five, and 17 of what a machine does beside them");
}

#[test]
fn every_message_prints_as_qemu_printed_it() {
    for (name, recording) in RECORDINGS {
        for message in received(recording) {
            let value = Json::parse(&message).unwrap().value();
            assert_eq!(value.print(Order::Given, Layout::Line), message, "{name}");
            assert!(!matches!(Message::decode(message.as_bytes()), Ok(Message::Unknown(_)) | Err(_)), "{message}");
        }
    }
}

#[test]
fn the_greeting_says_who_answers() {
    let text = received(RECORDINGS[0].1).remove(0);
    let Ok(Message::Greeting(greeting)) = Message::decode(text.as_bytes()) else { panic!("no greeting") };
    assert_eq!(greeting.to_object().print(Order::Qemu, Layout::Line), text);
    assert_eq!(greeting.version.to_string(), "7.2.22");
    assert_eq!(greeting.package, "Debian 1:7.2+dfsg-7+deb12u18+b3");
    assert!(greeting.offers_oob());
}
