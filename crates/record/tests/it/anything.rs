//! Whatever a QEMU or a guest could say: sentences stay safe and short, records come back as they went out.

use crate::RECEIVED;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use qev_qmp::event::name::ALL;
use qev_qmp::{Event, Json, Object, Timestamp, Value};
use qev_record::explain::{Member, types};
use qev_record::meaning::LONGEST_SENTENCE;
use qev_record::{Explanation, Filter, Gap, Kind, Line, Meaning, Record, Severity, plain};

const FIVE: [&str; 5] = ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"];

/// Text such as a hostile guest would write.
fn foreign() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9]{0,12}",
        "(\u{1b}\\[2J|\u{202e}|\u{2066}|\u{200b}|\u{2028}|\r|\n|\u{7f}|\u{9b}|x){0,9}",
        (0_usize..3000).prop_map(|n| "\u{202e}y".repeat(n)),
    ]
}

fn simple() -> impl Strategy<Value = Value> {
    prop_oneof![
        foreign().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        (-2_i64..0x210).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    simple().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((foreign(), inner), 0..4).prop_map(|members| Value::from(members.into_iter().collect::<Object>())),
        ]
    })
}

/// A value of a type, as QEMU would send it, or nearly.
fn of_type(kind: &'static str) -> BoxedStrategy<Value> {
    match (types::find(kind), kind) {
        (Some(types::Type::Enum(choices)), _) => prop_oneof![
            9 => proptest::sample::select(choices).prop_map(|choice| Value::from(choice.name)),
            1 => foreign().prop_map(Value::from),
        ]
        .boxed(),
        (Some(types::Type::Struct(members)), _) => of_members(members.to_vec()).prop_map(Value::from).boxed(),
        (Some(types::Type::Union { tag, branches }), _) => proptest::sample::select(branches)
            .prop_flat_map(move |(name, kind)| {
                of_type(kind).prop_map(move |value| match value {
                    Value::Object(object) => object.with(tag.name, name).into(),
                    other => other,
                })
            })
            .boxed(),
        (None, "str") => foreign().prop_map(Value::from).boxed(),
        (None, "bool") => any::<bool>().prop_map(Value::from).boxed(),
        (None, "uint64" | "size") => any::<u64>().prop_map(Value::from).boxed(),
        (None, _) => any::<i64>().prop_map(Value::from).boxed(),
    }
}

fn of_members(members: Vec<Member>) -> impl Strategy<Value = Object> {
    let members: Vec<_> = members
        .into_iter()
        .map(|member| {
            let value =
                prop_oneof![8 => of_type(member.kind).prop_map(Some), 1 => simple().prop_map(Some), 1 => Just(None)];
            value.prop_map(move |value| value.map(|value| (member.name.to_owned(), value)))
        })
        .collect();
    members.prop_map(|members| members.into_iter().flatten().collect())
}

fn timestamp() -> impl Strategy<Value = Option<Timestamp>> {
    prop_oneof![
        Just(None),
        Just(Some(Timestamp::UNKNOWN)),
        (any::<i64>(), any::<i64>()).prop_map(|(seconds, microseconds)| Some(Timestamp { seconds, microseconds })),
    ]
}

/// Any event: most of them have the members that QEMU would send, every other one is one of the document's five.
fn event() -> impl Strategy<Value = Event> {
    let names = prop_oneof![proptest::sample::select(ALL), proptest::sample::select(&FIVE[..])];
    let known = names.prop_flat_map(|name| {
        let members = Explanation::for_event(name).unwrap().members.to_vec();
        let data = prop_oneof![9 => of_members(members).prop_map(Value::from), 1 => value()];
        (Just(name.to_owned()), proptest::option::weighted(0.9, data))
    });
    let unknown = (foreign(), proptest::option::of(value()));
    let members = vec((foreign(), value()), 1..3).prop_map(|m| Json::from(&m.into_iter().collect::<Object>()));
    let extra = proptest::option::weighted(0.1, members);
    (prop_oneof![9 => known, 1 => unknown], timestamp(), extra).prop_map(|((name, data), timestamp, extra)| Event {
        timestamp,
        name: name.as_str().into(),
        data: data.map(|data| Json::from(&data)),
        extra,
    })
}

fn a_time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000_000_i64..253_402_207_200_000_000).prop_map(Timestamp::from_micros)
}

/// Any record: each member as it may be.
fn a_record() -> impl Strategy<Value = Record> {
    let text = || proptest::option::of(foreign());
    let of_event = event().prop_map(|event| Record::event("h", "m", RECEIVED, &event));
    let of_gap = (
        proptest::option::of(a_time()),
        proptest::option::of(a_time()),
        btree_map(foreign(), any::<u64>(), 0..5),
        foreign(),
    )
        .prop_map(|(from, until, missed, reason)| {
            let missed = missed.into_iter().map(|(name, n)| (name.as_str().into(), n)).collect();
            Record::gap("h", "m", RECEIVED, Gap { from, until, missed }, &reason)
        });
    let of_state = value().prop_map(|value| Record::state("h", "m", RECEIVED, Json::from(&value)));
    let other = foreign().prop_map(|kind| {
        let mut record = Record::attached("h", "m", RECEIVED);
        record.kind = Kind::from(&*kind);
        record.unknown = vec![("x-of-tomorrow".into(), Json::from(&Value::from(kind)))];
        record.event = Some("STOP".into());
        record
    });
    let places = (proptest::option::of(any::<u64>()), foreign(), foreign(), text(), text(), text());
    let whole = prop_oneof![4 => of_event, 1 => of_gap, 1 => of_state, 1 => other];
    let marks = (proptest::option::of(any::<bool>()), a_time(), proptest::sample::select(&Severity::ALL[..]));
    (whole, places, marks).prop_map(
        |(mut record, (seq, host, machine, id, session, via), (durable, received, severity))| {
            record.seq = seq;
            record.host = host.into();
            record.machine = machine.into();
            record.machine_id = id.map(Into::into);
            record.session = session.map(Into::into);
            record.via = via.map(Into::into);
            record.durable = durable;
            record.received = received;
            record.severity = severity;
            record
        },
    )
}

/// The longest and the worst that can stand in a member of this type.
fn worst(kind: &str, choice: usize) -> Value {
    let hostile = || Value::from("\u{1b}[2J\u{202e}\u{200b}\n\u{2028}".repeat(60));
    let object = |members: &[Member]| -> Object {
        members.iter().map(|member| (member.name.to_owned(), worst(member.kind, choice))).collect()
    };
    match (types::find(kind), kind) {
        (Some(types::Type::Enum(choices)), _) => choices.get(choice).map_or_else(hostile, |choice| choice.name.into()),
        (Some(types::Type::Struct(members)), _) => object(members).into(),
        (Some(types::Type::Union { tag, branches }), _) => match branches.get(choice) {
            Some((name, kind)) => match worst(kind, choice) {
                Value::Object(members) => members.with(tag.name, *name).into(),
                other => other,
            },
            None => Object::new().with(tag.name, hostile()).into(),
        },
        (None, "bool") => (choice == 0).into(),
        (None, "int") => i64::MIN.into(),
        (None, "uint32") => u32::MAX.into(),
        (None, "uint64" | "size") => u64::MAX.into(),
        (None, _) => hostile(),
    }
}

#[test]
fn the_worst_of_every_event_is_one_short_line_in_which_nothing_acts() {
    for explanation in qev_record::explain::all() {
        for choice in 0..20 {
            let members = explanation.members.iter();
            let data: Object = members.map(|member| (member.name.to_owned(), worst(member.kind, choice))).collect();
            let (timestamp, extra) = (None, None);
            let event =
                Event { timestamp, name: explanation.event.into(), data: Some(Json::from(&Value::from(data))), extra };
            let sentence = Meaning::of(&event).sentence;
            assert!(!sentence.chars().any(plain::acts), "{sentence:?}");
            assert!(sentence.chars().count() <= LONGEST_SENTENCE, "{sentence}");
            assert!(!sentence.starts_with("unexpected"), "{sentence}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_sentence_is_one_short_line_in_which_nothing_acts(event in event()) {
        let sentence = Meaning::of(&event).sentence;
        prop_assert!(!sentence.chars().any(plain::acts), "{sentence:?}");
        prop_assert!(sentence.chars().count() <= LONGEST_SENTENCE, "{sentence}");
        prop_assert!(!sentence.is_empty());
    }

    #[test]
    fn so_is_what_qev_says_of_its_own_accord(record in a_record()) {
        prop_assert!(!record.summary.chars().any(plain::acts), "{:?}", record.summary);
        prop_assert!(record.summary.chars().count() <= LONGEST_SENTENCE, "{}", record.summary);
    }

    #[test]
    fn an_event_comes_back_from_its_line(event in event()) {
        let record = Record::event("h1", "web1", RECEIVED, &event);
        let back = Record::parse(&record.to_line()).unwrap().to_event().unwrap();
        prop_assert_eq!((&back.name, back.timestamp), (&event.name, event.timestamp));
        let strict = |json: &Option<Json>| json.as_ref().map(|json| json.strict().into_owned());
        prop_assert_eq!(strict(&back.data), strict(&event.data));
        prop_assert_eq!(strict(&back.extra), strict(&event.extra));
    }

    #[test]
    fn a_record_comes_back_from_its_line(record in a_record()) {
        let line = record.to_line();
        prop_assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line}");
        let back = Record::parse(&line).unwrap();
        // The first time, numbers that JSON cannot say became strings; from then on nothing changes.
        prop_assert_eq!(&back.to_line(), &line);
        prop_assert_eq!(Record::parse(&line), Ok(back.clone()));
        let without_json = |record: &Record| {
            let mut record = record.clone();
            (record.data, record.extra, record.unknown) = (None, None, Vec::new());
            record
        };
        prop_assert_eq!(without_json(&back), without_json(&record));
        prop_assert_eq!(Line::parse(&line), Ok(Line::Record(back.into())));
    }

    #[test]
    fn no_line_panics(line in any::<String>(), record in a_record(), cut in any::<prop::sample::Index>()) {
        let _ = Line::parse(&line);
        let mut whole = record.to_line();
        whole.truncate(cut.index(whole.len()));
        prop_assert!(Record::parse(&whole).is_err());
        let _ = Line::parse(&whole);
    }

    #[test]
    fn no_condition_panics(path in "[a-z]{1,5}(\\.[a-z0-9]{1,5}){0,2}", text in foreign(), record in a_record()) {
        let conditions = [format!("{path}={text}"), format!("{path}!={text}"), format!("data.{path}={text}")];
        // A text that begins with a character of an operator is refused.
        let wheres = conditions.iter().filter_map(|condition| condition.parse().ok()).collect();
        let _ = Filter { wheres, ..Filter::default() }.matches(&record);
    }
}
