//! The test is the journal's thread: it says when a group is taken, and what becomes of it. The clock is paused.

use super::*;
use crate::daemon::tail::{Cursor, Look};
use proptest::prelude::*;
use qev_qmp::{EventName, Json, Message, Timestamp};
use qev_record::{Kind, Severity};
use tokio::time::{Instant, timeout};

/// Small enough to be full soon. A record of these tests has some 550 bytes.
fn limits() -> Limits {
    let all = Limits { all: 64 << 10, all_own: 16 << 10, group: 12, group_bytes: 1 << 20, ..Limits::default() };
    Limits { machine: 8 << 10, own: 2 << 10, ..all }
}

fn depot() -> Arc<Depot> {
    Depot::new(limits(), Tail::new(0))
}

/// Event number `n` of a machine.
fn event(machine: &str, name: &str, n: u32) -> Record {
    let line = format!(r#"{{"event": "{name}", "data": {{"n": {n}, "action": "pause"}}}}"#);
    let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
    Record::event("h1", machine, Timestamp::from_micros(i64::from(n)), &event)
}

fn with(severity: Severity, record: Record) -> Record {
    let mut record = record;
    record.severity = severity;
    record
}

fn number(record: &Record) -> u32 {
    record.data.as_ref().and_then(|data| data.get("n")).and_then(|n| n.as_text().parse().ok()).expect("a number")
}

/// Takes a group and commits it. What was in it.
fn commit(depot: &Depot, seq: &mut u64) -> Vec<Record> {
    let Taken::Group(group) = depot.take(Duration::ZERO) else { return Vec::new() };
    let mut records: Vec<Record> = group.iter().map(|record| Record::clone(record)).collect();
    let first = *seq + 1;
    for record in &mut records {
        *seq += 1;
        record.seq = Some(*seq);
    }
    depot.committed(group, first);
    records
}

fn commit_all(depot: &Depot, seq: &mut u64) -> Vec<Record> {
    let groups = std::iter::repeat_with(|| commit(depot, seq));
    groups.take_while(|group| !group.is_empty()).flatten().collect()
}

fn fail(depot: &Depot) {
    let Taken::Group(_) = depot.take(Duration::ZERO) else { panic!("something to take") };
    depot.failed();
}

/// Puts records in for ever, each with the next number.
fn flood(depot: &Arc<Depot>, machine: &'static str, name: &'static str) -> tokio::task::JoinHandle<()> {
    let outbox = depot.outbox();
    tokio::spawn(async move {
        for n in 0.. {
            outbox.put(event(machine, name, n)).await;
        }
    })
}

/// Lets every task do what it can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn numbers(records: &[Record], machine: &str) -> Vec<u32> {
    records.iter().filter(|record| &*record.machine == machine).map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_floods_delays_another_by_one_group_at_most() {
    let depot = depot();
    let floods = [flood(&depot, "a", "RTC_CHANGE"), flood(&depot, "b", "RTC_CHANGE")];
    settle().await;
    let quiet = depot.outbox();
    let mut seq = 0;
    for n in 0..50 {
        commit(&depot, &mut seq);
        // In the middle of a group: the next one must have it.
        let Taken::Group(_) = depot.take(Duration::ZERO) else { panic!("a flood") };
        quiet.put(event("quiet", "STOP", n)).await;
        depot.failed();
        depot.lock().queues.committed();
        settle().await;
        let group = commit(&depot, &mut seq);
        assert_eq!(numbers(&group, "quiet"), [n], "{group:?}");
        settle().await;
    }
    for flood in floods {
        flood.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_has_something_of_every_machine_however_many_there_are() {
    let depot = depot();
    let outboxes: Vec<_> = (0..40).map(|_| depot.outbox()).collect();
    for (n, outbox) in (0..).zip(&outboxes) {
        outbox.put(event("m", "STOP", n)).await;
    }
    let Taken::Group(group) = depot.take(Duration::ZERO) else { panic!("a group") };
    assert_eq!(group.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn at_its_bound_a_machine_waits_for_the_journal_and_nothing_is_dropped_however_slow_that_is() {
    let depot = depot();
    tokio::spawn(mind(Arc::downgrade(&depot)));
    let flood = flood(&depot, "a", "RTC_CHANGE");
    let (mut seq, mut kept) = (0, Vec::new());
    for _ in 0..50 {
        // Just quick enough, every time.
        tokio::time::sleep(Duration::from_millis(4900)).await;
        assert!(depot.lock().queues.bytes <= limits().machine);
        kept.extend(commit(&depot, &mut seq));
    }
    flood.abort();
    let expected: Vec<u32> = (0..).take(kept.len()).collect();
    assert!(kept.len() > 500, "{}", kept.len());
    assert_eq!(numbers(&kept, "a"), expected);
    assert_eq!(depot.lock().queues.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_committed_a_machine_waits_five_seconds_and_then_no_more() {
    let depot = depot();
    tokio::spawn(mind(Arc::downgrade(&depot)));
    let outbox = depot.outbox();
    let start = Instant::now();
    let mut waited = Duration::ZERO;
    for n in 0..1000 {
        let before = Instant::now();
        outbox.put(event("a", "RTC_CHANGE", n)).await;
        waited = waited.max(before.elapsed());
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!((4.9..5.6).contains(&seconds), "{seconds}");
    assert!(waited <= Duration::from_millis(5500), "{waited:?}");

    let mut seq = 0;
    let kept = commit_all(&depot, &mut seq);
    let gap = kept.first().expect("a gap, in the place of what was dropped");
    assert_eq!((&gap.kind, &*gap.machine, gap.severity), (&Kind::Gap, "a", Severity::Error));
    let missed = gap.missed[&EventName::from("RTC_CHANGE")];
    // The oldest went, what is left stands in its order, and together it is all.
    let left = numbers(&kept[1..], "a");
    assert_eq!(left, ((1000 - u32::try_from(left.len()).unwrap())..1000).collect::<Vec<_>>());
    assert_eq!(missed + u64::try_from(left.len()).unwrap(), 1000);
    assert_eq!(gap.from.unwrap().micros(), Some(0));
    assert_eq!(
        &*gap.summary,
        &format!("{missed} events are missing (0.0 s, {missed} RTC_CHANGE): the journal could not be written")
    );
    // It is over: the next one waits again instead of dropping.
    assert!(!depot.lock().queues.in_trouble);
    assert_eq!(depot.lock().queues.waiting(), 0);
    assert_eq!(depot.lock().queues.bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_stopped_for_a_minute_is_not_in_trouble_when_it_goes_on() {
    let depot = depot();
    tokio::spawn(mind(Arc::downgrade(&depot)));
    let flood = flood(&depot, "a", "RTC_CHANGE");
    settle().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    settle().await;
    assert!(!depot.lock().queues.in_trouble);
    let (mut seq, mut kept) = (0, Vec::new());
    for _ in 0..20 {
        kept.extend(commit(&depot, &mut seq));
        settle().await;
    }
    flood.abort();
    assert!(kept.iter().all(|record| record.kind == Kind::Event));
}

#[tokio::test(start_paused = true)]
async fn what_matters_least_goes_first_and_of_that_the_oldest() {
    let depot = depot();
    let outbox = depot.outbox();
    let severities = [Severity::Warning, Severity::Info, Severity::Error, Severity::Debug, Severity::Notice];
    let mut n = 0;
    depot.begin_trouble(0);
    while depot.lock().queues.dropped() == 0 {
        outbox.put(with(severities[n as usize % 5], event("a", "X", n))).await;
        n += 1;
    }
    let mut seq = 0;
    let kept = commit_all(&depot, &mut seq);
    let gap = kept.iter().position(|record| record.kind == Kind::Gap).expect("a gap");
    let dropped = kept[gap].missed[&EventName::from("X")];
    let rest: Vec<Record> = kept.iter().filter(|record| record.kind != Kind::Gap).cloned().collect();
    let debug: Vec<u32> = (0..n).filter(|n| n % 5 == 3).collect();
    let gone: Vec<u32> = (0..n).filter(|n| !numbers(&rest, "a").contains(n)).collect();
    assert_eq!(gone, debug[..gone.len()], "of {n}");
    assert_eq!(u64::try_from(gone.len()).unwrap(), dropped);
    // In the place of the first of them.
    assert_eq!(number(&kept[gap - 1]) + 1, gone[0]);
}

#[tokio::test(start_paused = true)]
async fn what_matters_less_than_all_that_waits_is_counted_and_not_put_in() {
    let depot = depot();
    let outbox = depot.outbox();
    depot.begin_trouble(0);
    for n in 0..40 {
        outbox.put(with(Severity::Error, event("a", "WORSE", n))).await;
    }
    let before = depot.lock().queues.dropped();
    for n in 40..50 {
        outbox.put(with(Severity::Info, event("a", "LESS", n))).await;
    }
    assert_eq!(depot.lock().queues.dropped(), before + 10);
    let mut seq = 0;
    let kept = commit_all(&depot, &mut seq);
    let gap = kept.iter().find(|record| record.kind == Kind::Gap).expect("a gap");
    assert_eq!(gap.missed[&EventName::from("LESS")], 10);
    assert!(kept.iter().all(|record| record.event.as_ref().is_none_or(|event| event == "WORSE")));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_stays_longer_and_is_counted_when_it_goes() {
    let depot = depot();
    let outbox = depot.outbox();
    depot.begin_trouble(0);
    outbox.put(Record::attached("h1", "a", Timestamp::from_micros(1))).await;
    for n in 0..40 {
        outbox.put(with(Severity::Error, event("a", "X", n))).await;
    }
    for n in 0..60 {
        outbox.put(Record::detached("h1", "a", Timestamp::from_micros(n), "flaps")).await;
    }
    let mut seq = 0;
    let kept = commit_all(&depot, &mut seq);
    let [gap] = &kept.iter().filter(|record| record.kind == Kind::Gap).collect::<Vec<_>>()[..] else { panic!("a gap") };
    let others = 61 - kept.iter().filter(|record| matches!(record.kind, Kind::Attached | Kind::Detached)).count();
    assert_eq!(gap.missed[&EventName::from("X")], 40);
    let expected = format!("the journal could not be written ({others} other records are missing, too)");
    assert_eq!(gap.reason.as_deref(), Some(&*expected));
}

#[tokio::test(start_paused = true)]
async fn panics_quorum_failures_and_shutdowns_have_room_of_their_own() {
    for name in ["GUEST_PANICKED", "QUORUM_FAILURE", "SHUTDOWN"] {
        let depot = depot();
        let flood = flood(&depot, "a", "RTC_CHANGE");
        settle().await;
        // The same machine's flood, and another machine that holds all there is, are not in its way.
        let outbox = depot.outbox();
        for n in 0..12 {
            let bulk = with(Severity::Error, event("a", "X", n));
            let _ = timeout(Duration::from_millis(1), outbox.put(bulk)).await;
        }
        outbox.put(event("a", name, 7)).await;
        depot.begin_trouble(0);
        for n in 0..300 {
            outbox.put(with(Severity::Error, event("a", "X", n))).await;
        }
        flood.abort();
        let mut seq = 0;
        let kept = commit_all(&depot, &mut seq);
        assert!(kept.iter().any(|record| record.event.as_ref().is_some_and(|event| event == name)), "{name}");
        // A machine that panics for ever waits like any other.
        let bounds = limits();
        let panics = timeout(Duration::from_secs(1), async {
            for n in 0.. {
                outbox.put(event("a", name, n)).await;
            }
        });
        assert!(panics.await.is_err());
        let waiting = depot.lock().queues.waiting() * 512;
        assert!(waiting <= bounds.machine + bounds.own, "{waiting}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_together_are_too_many_whoever_has_most_pays() {
    let depot = depot();
    depot.begin_trouble(0);
    let many: Vec<_> = (0..8).map(|_| depot.outbox()).collect();
    for outbox in &many {
        for n in 0..100 {
            outbox.put(event("loud", "RTC_CHANGE", n)).await;
        }
    }
    assert!(depot.lock().queues.bytes > limits().all - limits().machine);
    let quiet = depot.outbox();
    for n in 0..5 {
        quiet.put(event("quiet", "RTC_CHANGE", n)).await;
    }
    assert!(depot.lock().queues.bytes <= limits().all);
    let mut seq = 0;
    let kept = commit_all(&depot, &mut seq);
    assert_eq!(
        numbers(&kept.into_iter().filter(|r| r.kind == Kind::Event).collect::<Vec<_>>(), "quiet"),
        [0, 1, 2, 3, 4]
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_larger_than_the_bound_goes_where_nothing_else_is() {
    let depot = depot();
    let outbox = depot.outbox();
    let mut large = event("a", "X", 1);
    large.data = Json::parse(&format!("{{\"n\": 1, \"x\": \"{}\"}}", "x".repeat(100 << 10))).ok();
    outbox.put(large).await;
    let other = depot.outbox();
    assert!(timeout(Duration::from_secs(1), outbox.put(event("a", "X", 2))).await.is_err());
    assert!(timeout(Duration::from_secs(1), other.put(event("b", "X", 2))).await.is_err());
    let mut seq = 0;
    assert_eq!(numbers(&commit_all(&depot, &mut seq), "a"), [1]);
    outbox.put(event("a", "X", 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_failed_stands_where_it_stood_and_is_tried_in_smaller_pieces() {
    let depot = depot();
    let outbox = depot.outbox();
    let puts = async {
        for n in 0..12 {
            outbox.put(event("a", "X", n)).await;
        }
    };
    let _ = timeout(Duration::from_millis(1), puts).await;
    for _ in 0..5 {
        fail(&depot);
    }
    let (mut seq, mut sizes, mut kept) = (0, Vec::new(), Vec::new());
    loop {
        let group = commit(&depot, &mut seq);
        if group.is_empty() {
            break;
        }
        sizes.push(group.len());
        kept.extend(group);
    }
    assert_eq!(numbers(&kept, "a"), (0..12).collect::<Vec<_>>());
    assert_eq!(sizes[..3], [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn while_the_journal_is_in_trouble_followers_see_what_is_not_kept_and_then_what_is() {
    let depot = depot();
    tokio::spawn(mind(Arc::downgrade(&depot)));
    depot.tail.enter();
    let mut cursor = Cursor { seq: 0, ..depot.tail.end() };
    let mut see = |depot: &Depot| match depot.tail.look(&mut cursor) {
        Look::Records(records) => {
            records.iter().map(|record| (number(record), record.seq, record.durable)).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let outbox = depot.outbox();
    outbox.put(event("a", "GUEST_PANICKED", 1)).await;
    // A commit that hangs: the group is under way, and it is what must be seen.
    let Taken::Group(_) = depot.take(Duration::ZERO) else { panic!("a group") };
    outbox.put(event("a", "STOP", 2)).await;
    assert_eq!(see(&depot), []);
    tokio::time::sleep(Duration::from_millis(5600)).await;
    assert_eq!(see(&depot), [(1, None, Some(false)), (2, None, Some(false))]);
    outbox.put(event("a", "RESUME", 3)).await;
    assert_eq!(see(&depot), [(3, None, Some(false))]);

    depot.failed();
    let mut seq = 0;
    commit_all(&depot, &mut seq);
    assert_eq!(see(&depot), [(1, Some(1), None), (2, Some(2), None), (3, Some(3), None)]);
    outbox.put(event("a", "STOP", 4)).await;
    assert_eq!(see(&depot), []);
    commit_all(&depot, &mut seq);
    assert_eq!(see(&depot), [(4, Some(4), None)]);
}

#[derive(Clone, Debug)]
enum Step {
    Put { machine: usize, severity: Severity, size: usize, precious: bool },
    Take,
    Committed,
    Failed,
    Trouble,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..4_usize, prop::sample::select(Severity::ALL.to_vec()), 0..2000_usize, prop::bool::weighted(0.05));
    prop_oneof![
        20 => put.prop_map(|(machine, severity, size, precious)| Step::Put { machine, severity, size, precious }),
        2 => Just(Step::Take),
        1 => Just(Step::Committed),
        1 => Just(Step::Failed),
        1 => Just(Step::Trouble),
    ]
}

proptest! {
    /// Whatever happens: what is kept stands in its order, and together with what the gaps count it is all that was put
    /// in; no bound is passed.
    #[test]
    fn each_record_is_kept_in_its_place_or_counted(steps in prop::collection::vec(step(), 0..600)) {
        let mut queues = Queues::new(limits());
        let ids: Vec<u64> = (0..4).map(|_| queues.enter()).collect();
        let mut put = [0_u32; 4];
        let mut kept: Vec<Vec<u32>> = vec![Vec::new(); 4];
        let mut missed = [0_u64; 4];
        let mut group: Option<Vec<Arc<Record>>> = None;
        let keep = |group: Vec<Arc<Record>>, kept: &mut Vec<Vec<u32>>, missed: &mut [u64; 4]| {
            for record in group {
                let machine: usize = record.machine.parse().unwrap();
                match record.kind {
                    Kind::Gap => missed[machine] += record.missed.values().sum::<u64>(),
                    _ => kept[machine].push(number(&record)),
                }
            }
        };
        for step in steps {
            match step {
                Step::Put { machine, severity, size, precious } => {
                    let name = if precious { "SHUTDOWN" } else { "X" };
                    let mut record = with(severity, event(&machine.to_string(), name, put[machine]));
                    record.summary = "x".repeat(size).into();
                    if !matches!(queues.put(ids[machine], Arc::new(record)), Put::Full(_)) {
                        put[machine] += 1;
                    }
                }
                Step::Take if group.is_none() => {
                    let taken = queues.take();
                    group = (!taken.is_empty()).then_some(taken);
                }
                Step::Committed => if let Some(group) = group.take() {
                    queues.committed();
                    keep(group, &mut kept, &mut missed);
                }
                Step::Failed => if group.take().is_some() {
                    queues.failed();
                }
                Step::Trouble => drop(queues.begin_trouble()),
                Step::Take => {}
            }
            prop_assert!(queues.bytes <= limits().all);
            for queue in queues.machines.values() {
                prop_assert!(queue.bytes <= limits().machine);
            }
        }
        if group.is_some() {
            queues.failed();
        }
        loop {
            let group = queues.take();
            if group.is_empty() {
                break;
            }
            queues.committed();
            keep(group, &mut kept, &mut missed);
        }
        prop_assert_eq!((queues.waiting(), queues.bytes), (0, 0));
        for machine in 0..4 {
            prop_assert!(kept[machine].is_sorted());
            prop_assert_eq!(kept[machine].len() as u64 + missed[machine], u64::from(put[machine]));
        }
        for id in ids {
            queues.leave(id);
        }
        prop_assert!(queues.machines.is_empty());
    }
}
