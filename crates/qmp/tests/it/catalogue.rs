//! Every event that QEMU ever sent is understood in the shape of every release, and nothing of it gets lost.
//!
//! What the releases send is built from [`tables`], not from the code: all members, the optional ones absent, each value
//! of an enum in turn, the smallest and the biggest integers.

use crate::tables::{self, Member, RELEASES, Release, Type, Version, find};
use qev_qmp::event::name::ALL;
use qev_qmp::event::*;
use qev_qmp::{Dialect, Event, Json, Message, Object, Typed, Value};
use std::collections::{BTreeMap, BTreeSet};

const FIVE: [&str; 5] = ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"];

/// What a real QEMU 7.2 said while its disks, jobs, network, screen and run state were played with; no guest was needed.
const REAL: &str = include_str!("../data/catalogue/qemu-7.2.22.jsonl");

/// A value of tomorrow.
const TOMORROW: &str = "of-tomorrow";

/// An event as QEMU sends it: without data if it has no members.
fn event(name: &str, data: &Object) -> Event {
    let data = Some(data).filter(|data| !data.is_empty());
    Event { timestamp: None, name: name.into(), data: data.map(Json::from), extra: None }
}

/// The event is understood, and comes back from its typed value: the same members, the same values, in QEMU's order.
fn comes_back(event: &Event) -> Typed {
    let typed = event.typed().unwrap_or_else(|error| panic!("{event:?}: {error}"));
    assert!(!matches!(typed, Typed::Other(_)), "{event:?}");
    assert_eq!(typed.name(), event.name);
    let encoded = typed.encode(Dialect::Qemu);
    assert_eq!(encoded.data, event.data, "{typed:?}");
    assert_eq!(encoded.dropped, [""; 0]);
    if !FIVE.contains(&event.name.as_str()) {
        assert_eq!(typed.encode(Dialect::Document), encoded, "the document does not have it");
    }
    typed
}

/// The event comes back, and all of it has a place in its type: nothing was kept only because nobody knew it.
fn is_understood(event: &Event) {
    let typed = format!("{:?}", comes_back(event));
    for unknown in ["Other(", "extra: Object { members: [(", "extra_beside_info: Object { members: [("] {
        assert!(!typed.contains(unknown), "{typed}");
    }
}

/// Values of a type, the plainest first.
fn values(kind: &str, release: Version) -> Vec<Value> {
    match (find(kind, release), kind) {
        (Some(Type::Enum(names)), _) => names.into_iter().map(Value::from).collect(),
        (Some(Type::Struct(members)), _) => {
            objects(&Object::new(), &members, release).into_iter().map(Value::from).collect()
        }
        (Some(Type::Union(tag, branches)), _) => branches
            .into_iter()
            .flat_map(|(value, kind)| match find(kind, release) {
                Some(Type::Struct(members)) => objects(&Object::new().with(tag, value), &members, release),
                _ => panic!("{kind} is no struct"),
            })
            .map(Value::from)
            .collect(),
        (None, "str") => ["d1", "", "\u{1b}[2J \"é😀\\"].map(Value::from).into(),
        (None, "bool") => [true, false].map(Value::from).into(),
        (None, "int") => [0, 1, -1, (1 << 53) + 1, i64::MIN, i64::MAX].map(Value::from).into(),
        (None, "size" | "uint64") => [0, 1, (1 << 53) + 1, 1 << 63, u64::MAX].map(Value::from).into(),
        (None, "uint32") => [0, u32::MAX].map(Value::from).into(),
        (None, "uint16") => [0, u16::MAX.into()].map(|n: i64| Value::from(n)).into(),
        (None, "any") => {
            let list = vec![Value::Null, Value::from(true), Value::from("x")];
            vec![7.into(), Value::Null, 0.5.into(), u64::MAX.into(), Object::new().with("a", list).into(), "id".into()]
        }
        (None, kind) => panic!("no values of {kind}"),
    }
}

/// The plainest value of a type.
fn plainest(kind: &str, release: Version) -> Value {
    match find(kind, release) {
        Some(Type::Struct(members)) => plainest_object(Object::new(), &members, release).into(),
        _ => values(kind, release).swap_remove(0),
    }
}

/// These members beside those that are there, their values the plainest.
fn plainest_object<'a>(base: Object, members: impl IntoIterator<Item = &'a Member>, release: Version) -> Object {
    members.into_iter().fold(base, |object, member| object.with(member.name, plainest(member.kind, release)))
}

/// Objects of these members beside those that are there: the plainest one with all members; one without the optional ones;
/// and one for each other value that a member can have.
fn objects(base: &Object, members: &[Member], release: Version) -> Vec<Object> {
    let whole = plainest_object(base.clone(), members, release);
    let required = members.iter().filter(|member| !member.optional);
    let mut objects = vec![whole.clone(), plainest_object(base.clone(), required, release)];
    for member in members {
        let others = values(member.kind, release).into_iter().skip(1);
        objects.extend(others.map(|value| whole.clone().with(member.name, value)));
    }
    objects
}

/// Each event in the shape that it had last.
fn last_shapes() -> BTreeMap<&'static str, (Version, &'static [Member])> {
    let mut shapes = BTreeMap::from([("DEBUG", ((0, 12), &[][..]))]);
    for Release { version, events } in RELEASES.iter() {
        shapes.extend(events.iter().map(|(name, members)| (*name, (*version, &members[..]))));
    }
    shapes
}

/// Each event in the shape that it had last, with all members, their values the plainest.
fn plain_events() -> impl Iterator<Item = (&'static str, Object)> {
    let shapes = last_shapes().into_iter();
    shapes.map(|(name, (release, members))| (name, plainest_object(Object::new(), members, release)))
}

/// Whether every release that sends the event sends the member.
fn is_always_there(event: &str, member: &str) -> bool {
    let mut shapes = RELEASES.iter().filter_map(|release| release.events.get(event));
    shapes.all(|members| members.iter().any(|known| known.name == member && !known.optional))
}

#[test]
fn every_event_of_every_release_is_understood_and_comes_back() {
    let mut events = 0;
    for Release { version, events: known } in RELEASES.iter() {
        for (name, members) in known {
            for data in objects(&Object::new(), members, *version) {
                is_understood(&event(name, &data));
                events += 1;
            }
        }
    }
    assert!(events > 10_000, "only {events} were built");
}

#[test]
fn what_a_real_qemu_sent_comes_back_to_the_byte() {
    let mut names = BTreeSet::new();
    for line in REAL.lines() {
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
        is_understood(&event);
        assert_eq!(Event::new(&comes_back(&event), event.timestamp, Dialect::Qemu).to_line(), line);
        names.insert(event.name);
    }
    assert_eq!(names.len(), 25);
}

#[test]
fn no_event_that_qemu_ever_sent_is_left_out() {
    assert_eq!(ALL, tables::events_ever());
    assert_eq!(ALL, last_shapes().into_keys().collect::<Vec<_>>());
    for (name, data) in plain_events() {
        comes_back(&event(name, &data));
    }
    let unknown = event("GUEST_ASCENDED", &Object::new().with("to", "cloud"));
    let Ok(Typed::Other(other)) = unknown.typed() else { panic!("{:?}", unknown.typed()) };
    assert_eq!((other.name, other.data), (unknown.name, unknown.data));
}

#[test]
fn members_of_tomorrow_are_kept_in_every_object() {
    fn add(value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let object: Object = object.into_iter().map(|(name, value)| (name, add(value))).collect();
                object.with("x-tomorrow", vec![Value::Null, Object::new().with("n", u64::MAX).into()]).into()
            }
            other => other,
        }
    }
    // What a panic's information has of tomorrow is looked at in `document`.
    for (name, data) in plain_events().filter(|(name, _)| *name != "GUEST_PANICKED") {
        let Value::Object(data) = add(data.into()) else { panic!("not an object any more") };
        comes_back(&event(name, &data));
    }
}

#[test]
fn members_of_tomorrow_come_back_in_the_order_in_which_qemu_sent_them() {
    // These five share a chain of QEMU's hash table, which is printed from its newest member on.
    let chain = r#"{"arg5": 5, "arg4": 4, "arg3": {"arg2": 2, "arg1": 1}, "arg2": 2, "arg1": 1}"#;
    for (name, data) in [
        ("STOP", chain.to_owned()),
        ("WATCHDOG", format!(r#"{{"x": [{chain}], "action": "pause"}}"#)),
        ("COMMAND_DROPPED", format!(r#"{{"reason": "queue-full", "id": {chain}}}"#)),
        ("GUEST_CRASHLOADED", format!(r#"{{"action": "run", "info": {chain}}}"#)),
        ("NETDEV_STREAM_CONNECTED", format!(r#"{{"netdev-id": "n", "addr": {chain}}}"#)),
    ] {
        let data = Json::parse(&data).unwrap();
        comes_back(&Event { data: Some(data), ..event(name, &Object::new()) });
    }
}

#[test]
fn members_of_tomorrow_may_be_as_deep_and_as_many_as_qemu_can_print() {
    let deep = format!(r#"{{"x": {}0{}}}"#, r#"{"x": ["#.repeat(510), "]}".repeat(510));
    let many: Vec<String> = (0..100_000).map(|n| format!(r#""m{n}": {n}"#)).collect();
    for data in [deep, format!("{{{}}}", many.join(", "))] {
        let stop = Event { data: Some(Json::parse(&data).unwrap()), ..event("STOP", &Object::new()) };
        let encoded = stop.typed().unwrap().encode(Dialect::Qemu);
        assert_eq!(encoded.data.unwrap().value(), stop.data.unwrap().value());
    }
}

#[test]
fn values_of_tomorrow_are_kept_in_every_enum() {
    /// The plainest value of a type, but with a value of tomorrow in each enum.
    fn value(kind: &str, release: Version) -> Value {
        match find(kind, release) {
            Some(Type::Enum(_)) => TOMORROW.into(),
            Some(Type::Struct(members)) => object(&members, release).into(),
            Some(Type::Union(..)) | None => plainest(kind, release),
        }
    }
    fn object(members: &[Member], release: Version) -> Object {
        members.iter().map(|member| (member.name, value(member.kind, release))).collect()
    }
    let mut enums = 0;
    for (name, (release, members)) in last_shapes() {
        let data = object(members, release);
        let typed = format!("{:?}", comes_back(&event(name, &data)));
        let there = Json::from(&data).as_text().matches(TOMORROW).count();
        assert_eq!(typed.matches(r#"Other("of-tomorrow")"#).count(), there, "{typed}");
        enums += there;
    }
    assert!(enums >= 35, "only {enums}");
}

#[test]
fn unions_of_tomorrow_are_kept_whole() {
    let new_kind = Object::new().with("type", TOMORROW).with("n", u64::MAX);
    for (kind, event_name, member) in [
        ("SocketAddress", "NETDEV_STREAM_CONNECTED", "addr"),
        ("GuestPanicInformation", "GUEST_CRASHLOADED", "info"),
        ("GuestPanicInformation", "GUEST_PANICKED", "info"),
    ] {
        let Some(Type::Union(tag, branches)) = find(kind, (10, 2)) else { panic!("{kind}") };
        let incomplete = branches.into_iter().map(|(value, _)| Object::new().with(tag, value));
        for union in incomplete.chain([new_kind.clone(), Object::new()]) {
            let (_, data) = plain_events().find(|(name, _)| *name == event_name).unwrap();
            let typed = comes_back(&event(event_name, &data.with(member, union)));
            assert!(format!("{typed:?}").contains("Other("), "{typed:?}");
        }
    }
}

#[test]
fn a_member_that_every_qemu_sends_is_missed_by_name_and_others_are_not() {
    let mut required = 0;
    for (name, data) in plain_events() {
        for (member, value) in data.iter() {
            let result = without(name, &data, member).typed();
            if !is_always_there(name, member) {
                let typed = result.unwrap_or_else(|error| panic!("{error}"));
                assert!(!matches!(typed, Typed::Other(_)), "{typed:?}");
                continue;
            }
            required += 1;
            // The document has the members of `info` flat, so what is missed without `info` is the first of them.
            let missed = if member == "info" { "slot" } else { member };
            assert_eq!(result.unwrap_err().to_string(), format!("{name}: expected member '{missed}' to be present"));
            misses_in_struct(name, &data, member, value);
        }
    }
    assert!(required > 90, "only {required}");
}

/// The same for the members of a struct.
fn misses_in_struct(event_name: &str, data: &Object, member: &str, value: &Value) {
    let (release, members) = last_shapes()[event_name];
    let kind = members.iter().find(|known| known.name == member).unwrap().kind;
    let (Some(Type::Struct(inner)), Some(object)) = (find(kind, release), value.as_object()) else { return };
    for inner in inner {
        let mut object = object.clone();
        object.remove(inner.name);
        let result = event(event_name, &data.clone().with(member.to_owned(), object)).typed();
        if inner.optional || tables::late(inner.name).is_some() {
            assert!(result.is_ok(), "{result:?}");
        } else {
            let expected = format!("{event_name}: expected member '{}' to be present", inner.name);
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }
}

fn without(name: &str, data: &Object, member: &str) -> Event {
    let mut data = data.clone();
    data.remove(member);
    Event { data: Some(Json::from(&data)), ..event(name, &data) }
}

#[test]
fn a_member_of_another_type_is_named() {
    // These two are understood as far as they can be: a panic is a panic.
    let taken_apart = [("ACPI_DEVICE_OST", "info"), ("GUEST_PANICKED", "info"), ("COMMAND_DROPPED", "id")];
    for (name, (release, members)) in last_shapes() {
        let data = plainest_object(Object::new(), members, release);
        for member in members.iter().filter(|member| !taken_apart.contains(&(name, member.name))) {
            for value in misfits(member.kind) {
                let error = event(name, &data.clone().with(member.name, value.clone())).typed().unwrap_err();
                assert_eq!((error.event, error.member), (name, Some(member.name)), "{value}");
            }
        }
    }
}

/// What is near to being of a type.
fn misfits(kind: &str) -> Vec<Value> {
    let above = |n: i64| Value::from(n + 1);
    let mut misfits = match kind {
        "int" => vec![u64::MAX.into(), Value::from(1.5)],
        "size" | "uint64" => vec![Value::from(-1), Value::from(18_446_744_073_709_551_616.0)],
        "uint32" => vec![Value::from(-1), above(u32::MAX.into())],
        "uint16" => vec![Value::from(-1), above(u16::MAX.into())],
        "str" => vec![Value::from(5)],
        "bool" => vec![Value::from(1), Value::from("true")],
        _ => vec![Value::from(true)],
    };
    misfits.extend([Value::Null, Vec::new().into()]);
    misfits
}

#[test]
fn an_event_that_lost_its_data_says_so() {
    for (name, data) in plain_events() {
        let needs_data = data.iter().any(|(member, _)| is_always_there(name, member));
        match event(name, &Object::new()).typed() {
            Ok(typed) => assert!(!needs_data && typed.encode(Dialect::Qemu).data.is_none(), "{typed:?}"),
            Err(error) => {
                assert!(needs_data, "{error}");
                assert_eq!(error.to_string(), format!("{name}: expected data that is an object"));
            }
        }
        let list = Event { data: Some(Json::parse("[1]").unwrap()), ..event(name, &data) };
        assert_eq!(list.typed().unwrap_err().member, None);
    }
}

#[test]
fn a_shutdown_says_more_from_release_to_release() {
    let shutdown = |data: &[(&'static str, Value)]| {
        let data: Object = data.iter().cloned().collect();
        comes_back(&event("SHUTDOWN", &data))
    };
    let cause = ShutdownCause::GuestShutdown;
    let today = Shutdown { guest: Some(true), reason: Some(cause), extra: Object::new() };
    assert_eq!(shutdown(&[]), Shutdown::default().into());
    assert_eq!(shutdown(&[("guest", true.into())]), Shutdown { reason: None, ..today.clone() }.into());
    assert_eq!(shutdown(&[("guest", true.into()), ("reason", "guest-shutdown".into())]), today.into());
}

#[test]
fn an_event_is_sent_as_qemu_sends_it_whether_it_is_typed_or_not() {
    let stop = Event::new(&Stop::default().into(), None, Dialect::Qemu);
    assert_eq!(stop.to_line(), r#"{"event": "STOP"}"#);
    assert_eq!(stop, Event::new(&OtherEvent::new("STOP", None).into(), None, Dialect::Document));

    let deleted = DeviceDeleted { device: Some("d1".into()), path: "/machine/d1".into(), extra: Object::new() };
    let line = r#"{"event": "DEVICE_DELETED", "data": {"device": "d1", "path": "/machine/d1"}}"#;
    assert_eq!(Event::new(&deleted.into(), None, Dialect::Qemu).to_line(), line);
    let data = Object::new().with("path", "/machine/d1").with("device", "d1");
    let other = OtherEvent::new("DEVICE_DELETED", Some(data));
    assert_eq!(Event::new(&other.into(), None, Dialect::Qemu).to_line(), line);
}
