//! Whatever a record holds comes back, and a query finds what going through a list would find.

use crate::support::{AT, Scratch, rounds};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use qev_journal::{Options, Query, Synchronous};
use qev_qmp::{Json, Timestamp, Value};
use qev_record::{Filter, Kind, Record, Severity};
use std::collections::BTreeMap;

/// Any text: what a guest would write, nothing, much.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        4 => "[a-z0-9]{0,12}",
        1 => "(\u{1b}\\[2J|\u{202e}|\0|\r|\n|\u{7f}|'|\"|x){0,9}",
        1 => (0_usize..3000).prop_map(|n| "\u{202e}y".repeat(n)),
    ]
}

fn json() -> impl Strategy<Value = Json> {
    let simple = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = simple.prop_recursive(3, 24, 4, |inner| {
        let object = vec((text(), inner.clone()), 0..4)
            .prop_map(|members| Value::from(members.into_iter().collect::<qev_qmp::Object>()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    });
    let odd = select(&["{ \"a\":\r\n 1e3 }", "[inf, -nan]", "null", "\"\\uD83D\"", "{\"a\":1,\"a\":2}"][..]);
    prop_oneof![9 => value.prop_map(|value| Json::from(&value)), 1 => odd.prop_map(|odd| Json::parse(odd).unwrap())]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        6 => any::<u32>().prop_map(|micros| Timestamp::from_micros(AT + i64::from(micros))),
        1 => any::<i64>().prop_map(Timestamp::from_micros),
        1 => Just(Timestamp::UNKNOWN),
        1 => (any::<i64>(), any::<i64>()).prop_map(|(seconds, microseconds)| Timestamp { seconds, microseconds }),
    ]
}

fn a_record() -> impl Strategy<Value = Record> {
    let kind = prop_oneof![4 => select(&["event", "gap", "detached", "state", "attached"][..]).prop_map(Kind::from),
        1 => text().prop_map(|kind| Kind::from(&*kind))];
    let who = (text(), text(), option::of(text()), option::of(text()), option::of(text()));
    let what = (kind, select(&Severity::ALL[..]), option::of(text()), text(), option::of(text()));
    let times = (any_time(), option::of(any_time()), option::of(any_time()), option::of(any_time()));
    let rest = (
        option::of(any::<bool>()),
        btree_map(text(), any::<u64>(), 0..3),
        option::of(json()),
        option::weighted(0.1, json()),
        vec((text(), json()), 0..3),
    );
    (who, what, times, rest).prop_map(
        |((host, machine, id, session, via), (kind, severity, event, summary, reason), times, rest)| {
            let mut record = Record::attached(host, machine, times.0);
            record.machine_id = id.map(Into::into);
            record.session = session.map(Into::into);
            record.via = via.map(Into::into);
            record.kind = kind;
            record.severity = severity;
            record.event = event.map(|event| event.as_str().into());
            record.summary = summary.into();
            record.reason = reason.map(Into::into);
            (_, record.timestamp, record.from, record.until) = times;
            record.durable = rest.0;
            record.missed = rest.1.into_iter().map(|(event, n)| (event.as_str().into(), n)).collect();
            record.data = rest.2;
            record.extra = rest.3;
            record.unknown = rest.4.into_iter().map(|(name, value)| (name.into(), value)).collect();
            record
        },
    )
}

fn unsynchronised() -> Options {
    Options::default().synchronous(Synchronous::Off)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(100, 3000)))]

    #[test]
    fn any_record_comes_back_as_it_was(groups in vec(vec(a_record(), 0..9), 0..4)) {
        let dir = Scratch::new();
        let mut journal = dir.open(unsynchronised());
        let mut all = Vec::new();
        for mut group in groups {
            journal.append(&mut group).unwrap();
            all.append(&mut group);
        }
        prop_assert_eq!(&dir.all(), &all);
        drop(journal);
        dir.open(unsynchronised());
        prop_assert_eq!(&dir.all(), &all);
        let report = dir.reader().check().unwrap();
        prop_assert!(report.is_sound(), "{report}");
        let newest_first: Vec<_> = all.into_iter().rev().collect();
        prop_assert_eq!(dir.find(&Query { newest_first: true, ..Query::default() }), newest_first);
    }
}

const MACHINES: [&str; 6] = ["web1", "web2", "db1", "db2", "mail", "\u{1b}[2J"];
const EVENTS: [&str; 5] = ["STOP", "RESUME", "GUEST_PANICKED", "BALLOON_CHANGE", "GUEST_ASCENDED"];

/// What `n` decides, and the time, which goes forward, stands still and goes backwards.
fn of_number(n: i64) -> Record {
    let pick = |of: i64, every: i64| usize::try_from((n / every).rem_euclid(of)).unwrap();
    let clock = AT + 1_000 * n - if pick(3, 1500) == 1 { 2_000_000 } else { 0 };
    let received = if n % 2500 == 7 { Timestamp::UNKNOWN } else { Timestamp::from_micros(clock) };
    // Long stretches have few machines and few events, so that there are blocks in which nothing matches.
    let machine = MACHINES[(pick(3, 2100) * 2 + pick(2, 1)) % MACHINES.len()];
    let mut record = Record::attached("h1", machine, received);
    record.machine_id = (machine == "db1").then(|| "7f3c".into());
    if n % 11 != 0 {
        record.kind = Kind::Event;
        record.event = Some(EVENTS[(pick(2, 1700) * 2 + pick(3, 1)) % EVENTS.len()].into());
        record.timestamp = Some(Timestamp::from_micros(clock - 500));
        record.data = Some(Json::from(&Value::from(n % 10)));
    }
    record.severity = Severity::ALL[pick(if n > 4000 { 2 } else { 6 }, 1)];
    record
}

fn a_filter() -> impl Strategy<Value = Filter> {
    let globs = |of: &'static [&'static str]| vec(select(of).prop_map(|glob| glob.parse().unwrap()), 0..3);
    let time = || option::weighted(0.4, (-1_000_i64..13_000).prop_map(|n| Timestamp::from_micros(AT + 1_000 * n)));
    (
        globs(&["STOP", "GUEST_*", "*", "guest_ascended", "NOTHING"]),
        globs(&["web1", "db?", "*", "7f3c", "nobody"]),
        option::weighted(0.4, select(&Severity::ALL[..])),
        time(),
        time(),
        vec(
            select(&["data=7", "kind=attached", "event=STOP", "machine=web1", "severity=error", "host=h2"][..])
                .prop_map(|condition| condition.parse().unwrap()),
            0..2,
        ),
    )
        .prop_map(|(events, machines, severity, since, until, wheres)| {
            let mut filter = Filter::default();
            (filter.events, filter.machines, filter.wheres) = (events, machines, wheres);
            (filter.severity, filter.since, filter.until) = (severity, since, until);
            filter
        })
}

fn a_query() -> impl Strategy<Value = Query> {
    let number = || option::weighted(0.3, prop_oneof![9 => 0_u64..12_100, 1 => any::<u64>()]);
    (a_filter(), number(), number(), any::<bool>(), option::weighted(0.3, 0_u64..300))
        .prop_map(|(filter, after, before, newest_first, limit)| Query { filter, after, before, newest_first, limit })
}

/// What a query means.
fn found_in(records: &[Record], query: &Query) -> Vec<Record> {
    let is_wanted = |record: &&Record| {
        query.after.is_none_or(|after| record.seq > Some(after))
            && query.before.is_none_or(|before| record.seq < Some(before))
            && query.filter.matches(record)
    };
    let mut found: Vec<_> = records.iter().filter(is_wanted).cloned().collect();
    if query.newest_first {
        found.reverse();
    }
    found.truncate(query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
    found
}

#[test]
fn a_query_finds_what_going_through_the_list_would_find() {
    let dir = Scratch::new();
    let mut journal = dir.open(unsynchronised().segment_bytes(150_000));
    let mut all: Vec<_> = (0..12_000).map(of_number).collect();
    for (n, group) in all.chunks_mut(77).enumerate() {
        journal.append(group).unwrap();
        if n % 40 == 39 {
            drop(journal);
            journal = dir.open(unsynchronised().segment_bytes(150_000));
        }
    }
    assert!(dir.segments().len() > 2);
    let report = dir.reader().check().unwrap();
    assert!(report.is_sound() && report.records() == 12_000, "{report}");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(rounds(200, 3000)));
    runner
        .run(&a_query(), |query| {
            let expected = found_in(&all, &query);
            prop_assert_eq!(dir.find(&query), expected);
            let all_of_it = Query { limit: None, ..query };
            let counts = dir.reader().count(&all_of_it);
            prop_assert!(counts.errors.is_empty(), "{:?}", counts.errors);
            let expected = found_in(&all, &all_of_it);
            prop_assert_eq!(counts.records(), u64::try_from(expected.len()).unwrap());
            let mut by_event = BTreeMap::new();
            for event in expected.into_iter().filter_map(|record| record.event) {
                *by_event.entry(event).or_insert(0) += 1;
            }
            prop_assert_eq!(counts.by_event(), by_event);
            Ok(())
        })
        .unwrap();
}
