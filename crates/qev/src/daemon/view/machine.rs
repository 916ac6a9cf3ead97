//! What is known of one machine from its records, and nothing else: no clock, no task, no lock.
//!
//! ```text
//!   record ─► hear ─┬─► the last hour: worst, last, a bar a minute
//!                   └─► how it is: run state, balloon, panic, reset, slots, quorums
//! ```
//!
//! A record that is not on disk yet says how the machine is at once; it is counted when it comes again with its number.

use super::current::{Concern, Current};
use super::devices::{At, Devices, Slot};
use super::hour::{Hour, Told, cut};
use super::machines::key;
use crate::daemon::attach::block_graph;
use crate::daemon::attach::run_state::RunStateTracker;
use crate::daemon::attach::status_query;
use crate::daemon::identity::Identity;
use qev_qmp::event::AcpiDeviceOst;
use qev_qmp::{Event, EventName, Json, RunState, Timestamp, Typed};
use qev_record::{Kind, Record};

/// The events from which it follows how a machine is.
pub(crate) const TELLING: [&str; 16] = [
    "ACPI_DEVICE_OST",
    "BALLOON_CHANGE",
    "BLOCK_IO_ERROR",
    "GUEST_CRASHLOADED",
    "GUEST_PANICKED",
    "MIGRATION",
    "QUORUM_FAILURE",
    "QUORUM_REPORT_BAD",
    "RESET",
    "RESUME",
    "SHUTDOWN",
    "STOP",
    "SUSPEND",
    "SUSPEND_DISK",
    "WAKEUP",
    "WATCHDOG",
];

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) identity: Identity,
    /// The QEMU process that its state is of.
    pub(crate) current: Current,
    pub(crate) hour: Hour,
    pub(crate) last: Told,
    pub(crate) balloon: Option<Balloon>,
    pub(crate) run_state: RunStateTracker,
    /// Since when it is in its run state, or was in the last one that is known; `None` when it was so before anybody knew.
    pub(crate) run_state_since: Option<Since>,
    /// When its guest panicked last, and what QEMU did.
    pub(crate) panic: Option<Happened>,
    /// When it was reset last, and why.
    pub(crate) reset: Option<Happened>,
    /// Since when it is not attached, and why.
    pub(crate) gone: Option<Happened>,
    pub(crate) devices: Devices,
}

/// How much memory the guest has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Balloon {
    /// In bytes.
    pub(crate) actual: i64,
    pub(crate) at: At,
}

/// Something that happened, with the word for how or why, when there is one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happened {
    pub(crate) word: Option<Box<str>>,
    pub(crate) at: At,
}

/// Since when a machine is in a run state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Since {
    state: Box<str>,
    pub(crate) at: At,
}

impl Happened {
    fn new(word: Option<&str>, at: At) -> Option<Happened> {
        Some(Happened { word: word.map(cut), at })
    }
}

impl Machine {
    /// The machine of which this is the first record.
    pub(crate) fn new(record: &Record) -> Machine {
        let mut machine = Machine {
            identity: Identity {
                machine: key(&record.machine).into_owned(),
                machine_id: record.machine_id.as_ref().map(|id| key(id).into_owned()),
            },
            current: Current::default(),
            hour: Hour::default(),
            last: Told::of(record),
            balloon: None,
            run_state: RunStateTracker::default(),
            run_state_since: None,
            panic: None,
            reset: None,
            gone: None,
            devices: Devices::default(),
        };
        machine.hear(record);
        machine
    }

    /// Follows a record of this machine.
    pub(crate) fn hear(&mut self, record: &Record) {
        self.hour.hear(record);
        self.last = Told::of(record);
        let at = At { seq: record.seq, received: record.received };
        let concern = self.current.apply(record);
        if concern == Concern::Next {
            self.next_process();
        }
        match &record.kind {
            Kind::Event if record.event.as_ref().is_some_and(is_telling) => {
                if let Some(event) = record.to_event() {
                    self.event(&event, at, concern);
                }
            }
            Kind::Attached => self.gone = None,
            _ if concern == Concern::Other => {}
            Kind::State => self.state(record, at),
            Kind::Detached => {
                self.gone = Happened::new(record.reason.as_deref(), at);
                self.run_state = RunStateTracker::default();
            }
            _ => {}
        }
    }

    /// Another process: what the one before said of its devices is not about this one. What it panicked of may be: it may
    /// have been migrated here while it stood still.
    fn next_process(&mut self) {
        let is_panicked = self.gone.is_none() && self.run_state.state() == Some(&RunState::GuestPanicked);
        self.gone = None;
        self.balloon = None;
        self.run_state = RunStateTracker::default();
        self.devices = Devices::default();
        if !is_panicked {
            self.run_state_since = None;
        }
    }

    /// The run state is one that a record says.
    fn in_run_state(&mut self, state: RunStateTracker, since: Option<At>) {
        let name = state.name().map(Box::from);
        self.run_state = state;
        if self.run_state_since.as_ref().map(|since| &since.state) != name.as_ref() {
            self.run_state_since = name.zip(since).map(|(state, at)| Since { state, at });
        }
    }

    fn event(&mut self, event: &Event, at: At, concern: Concern) {
        match event.name.as_str() {
            "GUEST_PANICKED" => self.panic = Happened::new(word(event, "action").as_deref(), at),
            "RESET" => self.reset = Happened::new(word(event, "reason").as_deref(), at),
            _ => {}
        }
        if concern == Concern::Other {
            return;
        }
        let mut state = self.run_state.clone();
        state.apply(event);
        if state.name() != self.run_state.name() {
            // QEMU says when it happened, which may be long before it was received.
            let happened = event.timestamp.filter(|time| time.micros().is_some_and(|micros| micros > 0));
            let since = At { received: happened.unwrap_or(at.received), ..at };
            self.run_state_since = None;
            self.in_run_state(state, Some(since));
        } else {
            self.run_state = state;
        }
        match event.typed() {
            Ok(Typed::BalloonChange(event)) => self.balloon = Some(Balloon { actual: event.actual, at }),
            Ok(Typed::AcpiDeviceOst(event)) => self.devices.slot(Slot::of(&event, at)),
            Ok(Typed::QuorumReportBad(event)) => self.devices.bad(&event, at),
            Ok(Typed::QuorumFailure(event)) => self.devices.failed(&event, at),
            _ => {}
        }
    }

    /// What the machine said of itself: when it was attached, or later of its run state alone.
    fn state(&mut self, record: &Record, at: At) {
        let Some(data) = &record.data else { return };
        let mut state = self.run_state.clone();
        follow_answers(&mut state, data);
        // Found on attach, it may be in this state since an event that was heard, or since nobody knows when.
        let since = (!is_of_attach(data) || !self.current.was_found).then_some(at);
        self.in_run_state(state, since);
        if !is_of_attach(data) {
            return;
        }
        if let Some(actual) = balloon(data) {
            self.balloon = Some(Balloon { actual, at });
        }
        for slot in ospm(data) {
            self.devices.slot(Slot::of(&slot, at));
        }
        let graph = data.get(block_graph::COMMAND);
        self.devices.found(graph.map(|graph| block_graph::quorum_children(&graph)).unwrap_or_default());
    }

    /// When its last record was received.
    pub(crate) fn heard(&self) -> Timestamp {
        self.last.received
    }
}

pub(crate) fn is_telling(name: &EventName) -> bool {
    TELLING.contains(&name.as_str())
}

/// A member of an event's data that is a word.
pub(crate) fn word(event: &Event, member: &str) -> Option<String> {
    event.data.as_ref()?.get(member)?.string()
}

/// Whether these are the answers that a machine gave when it was attached. Those that it gives later are of its run state
/// alone, and say nothing of its devices.
pub(crate) fn is_of_attach(answers: &Json) -> bool {
    let answers = answers.value();
    let mut commands = answers.as_object().into_iter().flat_map(|answers| answers.iter().map(|(command, _)| command));
    commands.any(|command| command != status_query::COMMAND)
}

/// Takes the run state from the answers in a record.
pub(crate) fn follow_answers(tracker: &mut RunStateTracker, answers: &Json) {
    let status = answers.get(status_query::COMMAND).and_then(|answer| answer.get("status")?.string());
    let state = status.map(|status| RunState::from(&*cut(&status)));
    match state {
        Some(state) if !is_of_attach(answers) => drop(tracker.answer(&state)),
        state => *tracker = RunStateTracker::new(state),
    }
}

/// How much memory the guest has, in bytes, of the same.
pub(crate) fn balloon(answers: &Json) -> Option<i64> {
    answers.get("query-balloon")?.get("actual")?.value().as_i64()
}

/// Slots of whose guest something was heard, of the same. QEMU lists slots without an `_OST`, too, with zeros.
fn ospm(answers: &Json) -> Vec<AcpiDeviceOst> {
    let mut slots = Vec::new();
    let Some(answer) = answers.get("query-acpi-ospm-status") else { return slots };
    answer.elements(|text| {
        let event = Json::parse(text).ok().map(|data| Event {
            timestamp: None,
            name: EventName::from("ACPI_DEVICE_OST"),
            data: Some(data),
            extra: None,
        });
        match event.map(|event| event.typed()) {
            Some(Ok(Typed::AcpiDeviceOst(slot))) if (slot.source, slot.status) != (0, 0) => slots.push(slot),
            _ => {}
        }
    });
    slots
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::devices::{CHILDREN, SLOTS};
    use super::*;
    use qev_qmp::Message;
    use qev_record::{Line, Severity};

    /// What a real QEMU said, as records: the events, and before them that it was attached.
    pub(crate) fn story(recording: &str) -> Vec<Record> {
        let mut records = vec![Record::attached("h1", "web1", Timestamp::from_micros(0))];
        for line in recording.lines() {
            let Ok(line) = Line::parse(line) else { continue };
            if let Some(event) = line.to_event() {
                let received = event.timestamp.unwrap_or(Timestamp::UNKNOWN);
                records.push(Record::event("h1", "web1", received, &event));
            }
        }
        numbered(records)
    }

    fn numbered(mut records: Vec<Record>) -> Vec<Record> {
        (1..).zip(&mut records).for_each(|(seq, record)| record.seq = Some(seq));
        records
    }

    fn fold(records: &[Record]) -> Machine {
        let mut machine = Machine::new(&records[0]);
        records[1..].iter().for_each(|record| machine.hear(record));
        machine
    }

    fn event(n: i64, name: &str, data: &str) -> Record {
        let line = format!(r#"{{"event": "{name}", "data": {data}}}"#);
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
        let mut record = Record::event("h1", "web1", Timestamp { seconds: n, microseconds: 0 }, &event);
        record.seq = u64::try_from(n).ok();
        record
    }

    #[test]
    fn a_guest_that_panicked_stands_still_until_it_is_continued_and_is_the_worst_that_happened() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/guest-panic.jsonl"));
        // It panics, stops, is continued, is reset, and quits.
        let until = |name: &str| {
            let end = records.iter().position(|record| record.event == Some(name.into())).unwrap();
            fold(&records[..=end])
        };
        assert_eq!(until("STOP").run_state.name(), Some("guest-panicked"));
        assert_eq!(until("RESUME").run_state.name(), Some("running"));
        let machine = fold(&records);
        assert_eq!(machine.run_state.name(), Some("shutdown"));
        assert!(machine.reset.is_some());
        let panic = machine.panic.as_ref().unwrap();
        assert_eq!(panic.word.as_deref(), Some("pause"));
        let worst = machine.hour.worst(machine.heard()).unwrap();
        assert_eq!((worst.severity, worst.event.as_deref()), (Severity::Critical, Some("GUEST_PANICKED")));
        assert_eq!(worst.seq, panic.at.seq);
    }

    #[test]
    fn a_balloon_has_the_size_that_was_heard_last() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/balloon.jsonl"));
        let last = records.iter().rfind(|record| record.event == Some("BALLOON_CHANGE".into())).unwrap();
        let actual = last.data.as_ref().and_then(|data| data.get("actual")).unwrap().value().as_i64().unwrap();
        let balloon = fold(&records).balloon.unwrap();
        assert_eq!((balloon.actual, balloon.at.seq), (actual, last.seq));
    }

    #[test]
    fn a_dimm_that_came_and_went_has_one_slot_with_its_last_word() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/dimm-hotplug.jsonl"));
        let machine = fold(&records);
        let slots: Vec<_> =
            machine.devices.slots.iter().map(|slot| (&*slot.slot_type, &*slot.slot, slot.words())).collect();
        assert_eq!(slots, [("DIMM", "0", "eject request: success".to_owned())]);
    }

    #[test]
    fn a_replica_that_is_outvoted_is_counted_by_its_name() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/quorum-corrupt-replica.jsonl"));
        let reports = records.iter().filter(|record| record.event == Some("QUORUM_REPORT_BAD".into())).count();
        let machine = fold(&records);
        let bad: u64 = machine.devices.children.iter().map(|child| child.bad).sum();
        assert_eq!(bad, u64::try_from(reports).unwrap());
        assert!(bad > 0 && machine.devices.quorums.is_empty());
        let records = story(include_str!("../../../../qmp/tests/data/recordings/quorum-failure.jsonl"));
        let machine = fold(&records);
        assert!(machine.devices.quorums.iter().any(|quorum| quorum.failures > 0), "{:?}", machine.devices);
    }

    #[test]
    fn another_process_of_the_machine_begins_anew_but_the_panic_is_remembered() {
        let attached = |session: &str| {
            let mut record = Record::attached("h1", "web1", Timestamp::from_micros(0));
            record.session = Some(session.into());
            record
        };
        let mut machine = Machine::new(&attached("pid-1@1"));
        machine.hear(&event(1, "BALLOON_CHANGE", r#"{"actual": 7}"#));
        machine.hear(&event(2, "GUEST_PANICKED", r#"{"action": "pause"}"#));
        machine.hear(&Record::detached("h1", "web1", Timestamp::from_micros(3), "killed"));
        assert_eq!(machine.gone.as_ref().and_then(|gone| gone.word.as_deref()), Some("killed"));
        machine.hear(&attached("pid-1@1"));
        assert!(machine.gone.is_none() && machine.balloon.is_some());
        machine.hear(&attached("pid-2@2"));
        assert!(machine.balloon.is_none() && machine.run_state.name().is_none());
        assert!(machine.panic.is_some());
    }

    fn of(mut record: Record, session: &str) -> Record {
        record.session = Some(session.into());
        record
    }

    fn found(session: &str, state: &str) -> Record {
        let answers = format!(r#"{{"query-status": {{"status": "{state}"}}}}"#);
        of(Record::state("h1", "web1", Timestamp::from_micros(9), Json::parse(&answers).unwrap()), session)
    }

    /// The number of the record since which the machine is in its run state.
    fn since(machine: &Machine) -> Option<u64> {
        machine.run_state_since.as_ref().and_then(|since| since.at.seq)
    }

    const PAUSES: &str = r#"{"action": "pause"}"#;

    #[test]
    fn a_run_state_is_known_since_the_record_that_began_it() {
        let attached = |session: &str| of(Record::attached("h1", "web1", Timestamp::from_micros(1)), session);
        let mut machine = Machine::new(&attached("source"));
        machine.hear(&found("source", "running"));
        assert_eq!(since(&machine), None, "it was so before it was attached");
        machine.hear(&of(event(7, "GUEST_PANICKED", PAUSES), "source"));
        machine.hear(&of(event(8, "STOP", "{}"), "source"));
        assert_eq!((machine.run_state.name(), since(&machine)), (Some("guest-panicked"), Some(7)));
        // Attached again, by the next daemon.
        machine.hear(&of(Record::detached("h1", "web1", Timestamp::from_micros(2), "qev was stopped"), "source"));
        machine.hear(&attached("source"));
        machine.hear(&found("source", "guest-panicked"));
        assert_eq!((machine.run_state.name(), since(&machine)), (Some("guest-panicked"), Some(7)));
        // Migrated, while it stands still.
        machine.hear(&attached("target"));
        machine.hear(&found("target", "guest-panicked"));
        assert_eq!((machine.run_state.name(), since(&machine)), (Some("guest-panicked"), Some(7)));
        machine.hear(&of(event(10, "SHUTDOWN", "{}"), "source"));
        machine.hear(&of(Record::detached("h1", "web1", Timestamp::from_micros(3), "it shut down"), "source"));
        assert!(machine.gone.is_none(), "the target is there");
        assert_eq!(machine.run_state.name(), Some("guest-panicked"));
        // Another process, later, is found so: since when nobody knows.
        machine.hear(&of(Record::detached("h1", "web1", Timestamp::from_micros(4), "killed"), "target"));
        machine.hear(&attached("later"));
        machine.hear(&found("later", "guest-panicked"));
        assert_eq!((machine.run_state.name(), since(&machine)), (Some("guest-panicked"), None));
    }

    #[test]
    fn what_qemu_says_of_when_it_happened_counts() {
        let line = r#"{"timestamp": {"seconds": 50, "microseconds": 7}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#;
        let Ok(Message::Event(panic)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
        let machine = Machine::new(&Record::event("h1", "web1", Timestamp { seconds: 99, microseconds: 0 }, &panic));
        let since = machine.run_state_since.unwrap();
        assert_eq!(since.at.received, Timestamp { seconds: 50, microseconds: 7 });
    }

    #[test]
    fn a_machine_is_as_it_was_found_when_it_was_attached() {
        let answers = r#"{"query-status": {"status": "paused"}, "query-balloon": {"actual": 99},
            "query-acpi-ospm-status": [
                {"slot": "0", "slot-type": "DIMM", "source": 0, "status": 0},
                {"device": "d1", "slot": "1", "slot-type": "DIMM", "source": 3, "status": 130}]}"#;
        let state = Record::state("h1", "web1", Timestamp::from_micros(0), Json::parse(answers).unwrap());
        let machine = Machine::new(&state);
        assert_eq!(machine.run_state.name(), Some("paused"));
        assert_eq!(machine.balloon.map(|balloon| balloon.actual), Some(99));
        let slots: Vec<_> = machine.devices.slots.iter().map(|slot| (&*slot.slot, slot.words())).collect();
        assert_eq!(slots, [("1", "eject request: busy".to_owned())]);
    }

    #[test]
    fn an_answer_about_the_run_state_changes_nothing_else() {
        let mut machine = Machine::new(&event(1, "BALLOON_CHANGE", r#"{"actual": 7}"#));
        machine.hear(&event(2, "STOP", "{}"));
        machine.devices.found(["c0".to_owned()]);
        let answer = Json::parse(r#"{"query-status": {"status": "postmigrate", "running": false}}"#).unwrap();
        let state = RunState::PostMigrate;
        let mut record = Record::run_state("h1", "web1", Timestamp { seconds: 3, microseconds: 0 }, &state, answer);
        record.seq = Some(3);
        machine.hear(&record);
        assert_eq!(machine.run_state.name(), Some("postmigrate"));
        assert_eq!(machine.run_state_since.as_ref().and_then(|since| since.at.seq), Some(3));
        assert!(machine.balloon.is_some());
        assert_eq!(machine.devices.children.len(), 1);
    }

    #[test]
    fn replicas_that_were_never_bad_are_known_from_when_the_machine_was_attached() {
        let state = |graph: &str| {
            let answers =
                format!(r#"{{"query-status": {{"status": "running"}}, "x-debug-query-block-graph": {graph}}}"#);
            Record::state("h1", "web1", Timestamp::from_micros(0), Json::parse(&answers).unwrap())
        };
        let mut machine = Machine::new(&state(block_graph::tests::OF_QEMU));
        let known = |machine: &Machine| {
            let children = machine.devices.children.iter();
            children.map(|child| (child.node_name.to_string(), child.bad, child.last.is_some())).collect::<Vec<_>>()
        };
        let never = |name: &str| (name.to_owned(), 0, false);
        let all = ["#block435", "#block570", "c0", "c1", "c2"].map(never);
        assert_eq!(known(&machine), all);
        let report = r#"{"node-name": "c1", "sector-num": 8, "sectors-count": 1, "type": "read"}"#;
        machine.hear(&event(1, "QUORUM_REPORT_BAD", report));
        let bad = ("c1".to_owned(), 1, true);
        let [one, other, c0, _, c2] = all;
        assert_eq!(known(&machine), [one, other, c0, c2, bad.clone()]);
        // Found again without any: what was bad is remembered, as long as it is the same process.
        machine.hear(&state("{}"));
        assert_eq!(known(&machine), [bad]);
    }

    #[test]
    fn of_many_replicas_those_that_were_bad_are_remembered_first() {
        let mut machine = Machine::new(&event(1, "STOP", "{}"));
        machine.devices.found((0..2 * CHILDREN).map(|n| format!("c{n}")));
        assert_eq!((machine.devices.children.len(), machine.devices.forgotten), (CHILDREN, 64));
        for n in 0..CHILDREN {
            let report = format!(r#"{{"node-name": "bad{n}", "sector-num": 8, "sectors-count": 1, "type": "read"}}"#);
            machine.hear(&event(2, "QUORUM_REPORT_BAD", &report));
        }
        assert_eq!(machine.devices.children.len(), CHILDREN);
        assert!(machine.devices.children.iter().all(|child| child.bad == 1));
    }

    #[test]
    fn a_panic_is_one_even_when_its_data_is_broken() {
        let machine = Machine::new(&event(1, "GUEST_PANICKED", r#"{"action": 7}"#));
        assert_eq!(machine.panic.map(|panic| panic.word), Some(None));
    }

    #[test]
    fn what_is_not_on_disk_yet_is_not_counted_twice() {
        let report = r#"{"node-name": "r1", "sector-num": 8, "sectors-count": 1, "type": "read"}"#;
        let mut record = event(1, "QUORUM_REPORT_BAD", report);
        record.seq = None;
        let mut machine = Machine::new(&record);
        assert_eq!((machine.devices.children.len(), machine.devices.children[0].bad), (1, 0));
        machine.hear(&event(1, "QUORUM_REPORT_BAD", report));
        assert_eq!((machine.devices.children.len(), machine.devices.children[0].bad), (1, 1));
    }

    #[test]
    fn a_machine_that_makes_up_names_is_bounded_and_it_is_said() {
        let long = "x".repeat(65_536);
        let mut machine = Machine::new(&event(1, "STOP", "{}"));
        for n in 0..1000 {
            let slot = format!(r#"{{"slot": "{n}{long}", "slot-type": "DIMM", "source": 3, "status": 0}}"#);
            machine.hear(&event(n, "ACPI_DEVICE_OST", &slot));
            let report =
                format!(r#"{{"node-name": "{n}{long}", "sector-num": 8, "sectors-count": 1, "type": "read"}}"#);
            machine.hear(&event(n, "QUORUM_REPORT_BAD", &report));
            machine.hear(&event(n, &format!("EVENT_{n}{long}"), "{}"));
        }
        let devices = &machine.devices;
        assert_eq!((devices.slots.len(), devices.children.len()), (SLOTS, CHILDREN));
        assert_eq!(devices.forgotten, 2000 - u64::try_from(SLOTS + CHILDREN).unwrap());
        assert!(devices.slots.iter().all(|slot| slot.slot.len() < 200));
        assert!(machine.last.event.as_ref().is_some_and(|event| event.len() < 200));
    }
}
