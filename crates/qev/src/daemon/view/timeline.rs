//! A machine over time, for its page: run state, balloon, slots, panics, resets, gaps, and where its replicas are bad.
//!
//! Nothing here grows with the history: so many records are read back, the newest first, so many points are given, and
//! `complete` says whether that was all.

use super::View;
use super::current::{Concern, Current};
use super::devices::{At, words};
use super::json::Members;
use super::machine::{self, TELLING};
use super::past::Past;
use crate::daemon::attach::run_state::RunStateTracker;
use crate::daemon::identity::Identity;
use crate::daemon::outbox::weight;
use qev_qmp::{Event, Json, RunState, Timestamp, Typed};
use qev_record::time::to_rfc3339;
use qev_record::{Kind, Record};
use std::collections::BTreeMap;

/// How many points a lane has when nobody says, and at most.
pub(crate) const POINTS: u64 = 500;
pub(crate) const MOST_POINTS: u64 = 2000;

/// How much is read: records, and about how many bytes of those that are kept.
const RECORDS: usize = 200_000;
const BYTES: usize = 16 << 20;

/// How many records are read to learn how the machine was at the beginning.
const BEFORE: usize = 64;

/// How many slots have a lane.
const SLOTS: usize = 64;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) points: usize,
}

/// A value at a time.
#[derive(Clone, Debug, PartialEq)]
struct Point<T> {
    at: At,
    value: T,
}

/// A run state.
#[derive(Clone, Debug, PartialEq)]
struct State {
    name: String,
    /// It was found: nobody knows when it began.
    began_before: bool,
}

/// Where a replica is bad.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bad {
    child: Box<str>,
    sector: i64,
    count: i64,
    op: Option<Box<str>>,
}

/// What is drawn.
#[derive(Debug, Default)]
struct Lanes {
    run_state: Vec<Point<State>>,
    current: Current,
    balloon: Vec<Point<i64>>,
    targets: Vec<Point<i64>>,
    slots: BTreeMap<String, Vec<String>>,
    panics: Vec<String>,
    resets: Vec<String>,
    gaps: Vec<String>,
    /// Each place once: how often it was reported, and when last, with the error.
    bad: BTreeMap<Bad, (u64, At, Option<Box<str>>)>,
    failures: Vec<String>,
    /// Something had no room.
    is_cut: bool,
}

impl View {
    /// The lanes of a machine. This reads the journal, and blocks.
    pub(crate) fn timeline_json(&self, identity: &Identity, asked: &Asked) -> String {
        let reader = self.recorder.reader();
        let kinds = ["attached", "detached", "gap", "state", "audit"];
        let past = |since, until| Past { reader, identity, since, until, events: &TELLING, kinds: &kinds };
        let (mut records, mut balloon, mut bytes, mut first) = (Vec::new(), Vec::new(), 0_usize, None);
        let last = self.recorder.last();
        let mut is_complete = past(Some(asked.since), Some(asked.until)).read(last, |record| {
            first = record.seq;
            // A balloon may move every second for days: of its records only the points are kept.
            balloon.extend(point(&record));
            if !is_balloon_only(&record) {
                bytes = bytes.saturating_add(weight(&record));
                records.push(record);
            }
            records.len().saturating_add(balloon.len()) < RECORDS && bytes < BYTES
        });
        let mut before = Vec::new();
        let older = first.map_or(last, |first| first.saturating_sub(1));
        past(None, Some(asked.since)).read(older.min(last), |record| {
            let tells_all = is_of_attach(&record);
            before.push(record);
            before.len() < BEFORE && !tells_all
        });
        let mut lanes = Lanes::new(asked, &before);
        lanes.balloon.extend(balloon.into_iter().rev());
        for record in records.iter().rev() {
            lanes.hear(record, asked.points);
        }
        is_complete &= !lanes.is_cut;
        lanes.json(asked, is_complete)
    }
}

impl Lanes {
    /// How the machine was at the beginning, from the records before it, the newest first.
    fn new(asked: &Asked, before: &[Record]) -> Lanes {
        let mut lanes = Lanes::default();
        let mut run_state = RunStateTracker::default();
        let mut balloon = None;
        for record in before.iter().rev() {
            lanes.follow(&mut run_state, record);
            balloon = balloon_of(record).or(balloon);
        }
        let at = At { seq: None, received: asked.since };
        if let Some(name) = run_state.name() {
            lanes.run_state.push(Point { at, value: State { name: name.to_owned(), began_before: true } });
        }
        lanes.balloon.extend(balloon.map(|value| Point { at, value }));
        lanes
    }

    fn hear(&mut self, record: &Record, points: usize) {
        let at = At { seq: record.seq, received: record.received };
        self.run_state(record, at, points);
        match &record.kind {
            Kind::Gap => {
                let gap = Members::new()
                    .time("from", record.from.unwrap_or(record.received))
                    .time("until", record.until.unwrap_or(record.received))
                    .some_text("reason", record.reason.as_deref())
                    .some_number("seq", record.seq);
                self.is_cut |= push(&mut self.gaps, gap.close(), points);
            }
            Kind::Event => {
                if let Some(event) = record.to_event() {
                    self.event(&event, at, points);
                }
            }
            Kind::Audit => {
                let target = record.data.as_ref().and_then(target).map(|value| Point { at, value });
                self.is_cut |= target.is_some_and(|target| push(&mut self.targets, target, points));
            }
            _ => {}
        }
    }

    fn run_state(&mut self, record: &Record, at: At, points: usize) {
        let before = self.run_state.last().map(|point| point.value.name.clone()).filter(|name| name != "unknown");
        let mut state = RunStateTracker::new(before.as_deref().map(RunState::from));
        self.follow(&mut state, record);
        let value = state.name().unwrap_or("unknown");
        let is_news = match &before {
            Some(before) => before != value,
            None => state.name().is_some(),
        };
        if is_news {
            let began_before = record.kind == Kind::State && self.current.was_found;
            let value = State { name: value.to_owned(), began_before };
            self.is_cut |= push(&mut self.run_state, Point { at, value }, points);
        }
    }

    /// What a record tells of the run state.
    fn follow(&mut self, state: &mut RunStateTracker, record: &Record) {
        match self.current.apply(record) {
            Concern::Other => return,
            Concern::Next => *state = RunStateTracker::default(),
            Concern::Current => {}
        }
        match &record.kind {
            Kind::Event => {
                if let Some(event) = record.to_event() {
                    state.apply(&event);
                }
            }
            Kind::State => {
                if let Some(answers) = &record.data {
                    machine::follow_answers(state, answers);
                }
            }
            Kind::Detached => *state = RunStateTracker::default(),
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, at: At, points: usize) {
        let with = |name: &str, word: Option<String>| {
            Members::new().time("at", at.received).some_number("seq", at.seq).some_text(name, word.as_deref()).close()
        };
        match event.typed() {
            Ok(Typed::AcpiDeviceOst(ost)) => {
                let lane = format!("{} {}", ost.slot_type.as_str(), ost.slot);
                let entry = Members::new()
                    .time("at", at.received)
                    .some_number("seq", at.seq)
                    .some_text("device", ost.device.as_deref())
                    .number("source", ost.source)
                    .number("status", ost.status)
                    .text("words", &words(ost.source, ost.status));
                if self.slots.len() >= SLOTS && !self.slots.contains_key(&lane) {
                    self.is_cut = true;
                } else {
                    self.is_cut |= push(self.slots.entry(lane).or_default(), entry.close(), points);
                }
            }
            Ok(Typed::QuorumReportBad(report)) => {
                let bad = Bad {
                    child: report.node_name,
                    sector: report.sector_num,
                    count: report.sector_count,
                    op: report.op.as_ref().map(|op| op.as_str().into()),
                };
                if self.bad.len() >= points && !self.bad.contains_key(&bad) {
                    self.is_cut = true;
                } else {
                    let (n, last, error) = self.bad.entry(bad).or_insert((0, at, None));
                    (*n, *last, *error) = (n.saturating_add(1), at, report.error);
                }
            }
            Ok(Typed::QuorumFailure(failure)) => {
                let entry = Members::new()
                    .text("reference", &failure.reference)
                    .number("sector", failure.sector_num)
                    .number("count", failure.sector_count)
                    .time("at", at.received)
                    .some_number("seq", at.seq);
                self.is_cut |= push(&mut self.failures, entry.close(), points);
            }
            _ => match event.name.as_str() {
                "GUEST_PANICKED" => {
                    let panic = with("action", machine::word(event, "action"));
                    self.is_cut |= push(&mut self.panics, panic, points);
                }
                "RESET" => {
                    let reset = with("reason", machine::word(event, "reason"));
                    self.is_cut |= push(&mut self.resets, reset, points);
                }
                _ => {}
            },
        }
    }

    fn json(self, asked: &Asked, is_complete: bool) -> String {
        let at = |at: At| Members::new().time("at", at.received);
        let run_state = self.run_state.iter();
        let run_state = run_state.map(|point| {
            let State { name, began_before } = &point.value;
            let state = at(point.at).text("state", name).some_number("seq", point.at.seq);
            state.some_number("began_before", began_before.then_some(true))
        });
        let balloon = thin_out(self.balloon, asked.points);
        let balloon =
            balloon.iter().map(|point| at(point.at).number("actual", point.value).some_number("seq", point.at.seq));
        let targets = self.targets.iter();
        let targets = targets.map(|point| at(point.at).number("value", point.value).some_number("seq", point.at.seq));
        let bad = self.bad.iter().map(|(bad, (n, last, error))| {
            Members::new()
                .text("child", &bad.child)
                .number("sector", bad.sector)
                .number("count", bad.count)
                .some_text("type", bad.op.as_deref())
                .number("n", n)
                .time("at", last.received)
                .some_number("seq", last.seq)
                .some_text("error", error.as_deref())
                .close()
        });
        let slots = self.slots.into_iter();
        let slots = slots.fold(Members::new(), |slots, (slot, entries)| slots.list(&slot, entries));
        Members::new()
            .text("from", &to_rfc3339(asked.since))
            .text("until", &to_rfc3339(asked.until))
            .list("run_state", run_state.map(Members::close))
            .list("balloon", balloon.map(Members::close))
            .list("balloon_targets", targets.map(Members::close))
            .json("slots", &slots.close())
            .list("panics", self.panics)
            .list("resets", self.resets)
            .list("gaps", self.gaps)
            .list("quorum", bad)
            .list("quorum_failures", self.failures)
            .number("complete", is_complete)
            .close()
    }
}

/// Adds to a lane, of which the oldest goes when it is full. Whether it had to.
fn push<T>(lane: &mut Vec<T>, item: T, most: usize) -> bool {
    lane.push(item);
    let is_full = lane.len() > most;
    if is_full {
        lane.remove(0);
    }
    is_full
}

/// Whether this is what a machine said of itself when it was attached.
fn is_of_attach(record: &Record) -> bool {
    record.kind == Kind::State && record.data.as_ref().is_some_and(machine::is_of_attach)
}

fn point(record: &Record) -> Option<Point<i64>> {
    let at = At { seq: record.seq, received: record.received };
    balloon_of(record).map(|value| Point { at, value })
}

fn is_balloon_only(record: &Record) -> bool {
    record.event.as_ref().is_some_and(|event| event.as_str() == "BALLOON_CHANGE")
}

fn balloon_of(record: &Record) -> Option<i64> {
    match (&record.kind, record.event.as_ref().map(qev_qmp::EventName::as_str)) {
        (Kind::State, _) => machine::balloon(record.data.as_ref()?),
        (Kind::Event, Some("BALLOON_CHANGE")) => record.data.as_ref()?.get("actual")?.value().as_i64(),
        _ => None,
    }
}

/// To what size a balloon was told to go. No event says so: it is known where commands are audited.
fn target(audit: &Json) -> Option<i64> {
    let is = |name: &str, word: &str| audit.get(name).is_some_and(|value| value.value().as_str() == Some(word));
    let arguments = audit.get("arguments").filter(|_| is("command", "balloon") && is("result", "ok"))?;
    arguments.get("value")?.value().as_i64()
}

/// So many points at most, in which every rise and fall is seen: of each stretch the first, the least, the greatest and
/// the last.
fn thin_out(points: Vec<Point<i64>>, most: usize) -> Vec<Point<i64>> {
    if points.len() <= most {
        return points;
    }
    let stretch = points.len().div_ceil((most / 4).max(1));
    let mut kept = Vec::new();
    for stretch in points.chunks(stretch) {
        let places = || 0..stretch.len();
        let value = |at: &usize| stretch.get(*at).map(|point| point.value);
        let mut chosen = vec![0, stretch.len().saturating_sub(1)];
        chosen.extend(places().min_by_key(value));
        chosen.extend(places().max_by_key(value));
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().filter_map(|at| stretch.get(at).cloned()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::event;
    use qev_record::record::Audit;

    const ASKED: Asked = Asked {
        since: Timestamp { seconds: 0, microseconds: 0 },
        until: Timestamp { seconds: 9, microseconds: 0 },
        points: 8,
    };

    fn lanes(before: &[Record], records: &[Record]) -> Json {
        let mut lanes = Lanes::new(&ASKED, before);
        records.iter().for_each(|record| lanes.hear(record, ASKED.points));
        let is_complete = !lanes.is_cut;
        Json::parse(&lanes.json(&ASKED, is_complete)).unwrap()
    }

    fn texts(lanes: &Json, lane: &str, member: &str) -> Vec<String> {
        let mut found = Vec::new();
        lanes.get(lane).unwrap().elements(|item| {
            found.push(Json::parse(item).unwrap().get(member).unwrap().as_text().trim_matches('"').to_owned());
        });
        found
    }

    fn said(name: &str, data: &str) -> Record {
        let line = format!(r#"{{"event": "{name}", "data": {data}}}"#);
        let Ok(qev_qmp::Message::Event(event)) = qev_qmp::Message::decode(line.as_bytes()) else { panic!("{line}") };
        Record::event("h1", "a", Timestamp::from_micros(0), &event)
    }

    #[test]
    fn the_run_state_is_told_where_it_changes_and_begins_as_it_was() {
        let records = [
            event("a", "STOP", 1),
            event("a", "RTC_CHANGE", 1),
            event("a", "RESUME", 2),
            event("a", "GUEST_PANICKED", 3),
            event("a", "STOP", 4),
            Record::detached("h1", "a", Timestamp::from_micros(0), "killed"),
        ];
        let before = [event("a", "RESUME", 0)];
        let states = texts(&lanes(&before, &records), "run_state", "state");
        assert_eq!(states, ["running", "paused", "running", "guest-panicked", "unknown"]);
        assert_eq!(texts(&lanes(&[], &records[..1]), "run_state", "state"), ["paused"]);
    }

    #[test]
    fn the_source_of_a_migration_says_nothing_of_the_target_and_when_a_state_began_is_said_where_it_is_known() {
        let of = |mut record: Record, session: &str| {
            record.session = Some(session.into());
            record
        };
        let at = Timestamp::from_micros(0);
        let found = |status: &str| {
            let answers = format!(r#"{{"query-status": {{"status": "{status}"}}}}"#);
            Record::state("h1", "a", at, Json::parse(&answers).unwrap())
        };
        let records = [
            of(Record::attached("h1", "a", at), "source"),
            of(found("running"), "source"),
            of(Record::attached("h1", "a", at), "target"),
            of(found("inmigrate"), "target"),
            of(event("a", "STOP", 1), "source"),
            of(event("a", "RESUME", 2), "target"),
            of(said("SHUTDOWN", "{}"), "source"),
            of(Record::detached("h1", "a", at, "it shut down"), "source"),
        ];
        let lanes = lanes(&[], &records);
        assert_eq!(texts(&lanes, "run_state", "state"), ["running", "unknown", "inmigrate", "running"]);
        let mut began_before = Vec::new();
        lanes.get("run_state").unwrap().elements(|item| began_before.push(item.contains("began_before")));
        assert_eq!(began_before, [true, false, true, false]);
    }

    #[test]
    fn a_sector_that_is_read_again_and_again_is_one_place() {
        let report = |sector: u64| {
            said(
                "QUORUM_REPORT_BAD",
                &format!(r#"{{"node-name": "r1", "sector-num": {sector}, "sectors-count": 8, "type": "read"}}"#),
            )
        };
        let lanes = lanes(&[], &[report(8), report(8), report(16)]);
        assert_eq!(texts(&lanes, "quorum", "sector"), ["8", "16"]);
        assert_eq!(texts(&lanes, "quorum", "n"), ["2", "1"]);
    }

    #[test]
    fn a_lane_has_as_many_points_as_asked_for_the_newest_and_it_is_said() {
        let panics: Vec<_> = (0..20).map(|n| event("a", "GUEST_PANICKED", n)).collect();
        let lanes = lanes(&[], &panics);
        assert_eq!(texts(&lanes, "panics", "at").len(), ASKED.points);
        assert_eq!(lanes.get("complete").unwrap().as_text(), "false");
    }

    #[test]
    fn a_balloon_that_dipped_once_in_a_day_still_dips() {
        let at = At { seq: None, received: Timestamp::from_micros(0) };
        let points: Vec<_> =
            (0..10_000).map(|n| Point { at, value: if n == 4321 { 1 } else { 100 + n % 7 } }).collect();
        let thin = thin_out(points, 100);
        assert!(thin.len() <= 100, "{}", thin.len());
        assert!(thin.iter().any(|point| point.value == 1) && thin.iter().any(|point| point.value == 106));
    }

    #[test]
    fn what_a_balloon_was_told_is_known_from_the_audit() {
        let told = |command: &str, value: u64, result: &str| {
            let audit = Audit {
                command: command.to_owned(),
                arguments: Some(Json::parse(&format!("{{\"value\": {value}}}")).unwrap()),
                left_out: 0,
                pid: None,
                uid: 0,
                result: result.to_owned(),
            };
            Record::audit("h1", "a", Timestamp::from_micros(0), &audit)
        };
        let records = [told("balloon", 1 << 27, "ok"), told("balloon", 1, "GenericError"), told("other", 2, "ok")];
        assert_eq!(texts(&lanes(&[], &records), "balloon_targets", "value"), ["134217728"]);
    }

    #[test]
    fn names_from_a_guest_are_text() {
        let lanes = lanes(
            &[],
            &[said(
                "ACPI_DEVICE_OST",
                r#"{"slot": "0\"<img onerror=x>\u202e", "slot-type": "DIMM", "source": 3, "status": 130}"#,
            )],
        );
        let slots = lanes.get("slots").unwrap();
        assert!(slots.as_text().is_ascii(), "{slots:?}");
        assert!(slots.get("DIMM 0\"<img onerror=x>\u{202e}").is_some());
    }
}
