//! What stood before and after a record on its machine, and which of it belongs together: a panic and the stop that
//! followed, an unplugged device and the guest's word on it.

use super::View;
use super::json::Members;
use crate::daemon::follow::up_to;
use crate::daemon::identity::Identity;
use qev_journal::{Query, ReadError};
use qev_record::{Filter, Glob, Kind, Record};

/// How many records before and after are shown, and among how many causes and consequences are looked for.
const SHOWN: usize = 5;
const LOOKED_AT: usize = 64;

/// How far from the record is looked, in numbers.
const FAR: u64 = 1 << 18;

/// What belongs together is no further apart than this, in microseconds: a guest may take its time to let a device go.
const TOGETHER: i64 = 60_000_000;

/// A record, by what it is: a kind, or an event of this name.
type Is = fn(&Record) -> bool;

/// One that came before, one that came after, and why the second followed the first.
struct Rule {
    before: Is,
    after: Is,
    /// What they must have in common.
    same: fn(&Record, &Record) -> bool,
    /// What is said of the one before, and of the one after.
    cause: &'static str,
    consequence: &'static str,
}

fn is_event(record: &Record, name: &str) -> bool {
    record.event.as_ref().is_some_and(|event| event.as_str() == name)
}

fn member(record: &Record, name: &str) -> Option<String> {
    let data = record.data.as_ref()?;
    data.get(name).or_else(|| data.get("info")?.get(name))?.string()
}

fn any(_: &Record, _: &Record) -> bool {
    true
}

fn same_slot(one: &Record, other: &Record) -> bool {
    member(one, "slot").is_some()
        && member(one, "slot") == member(other, "slot")
        && member(one, "slot-type") == member(other, "slot-type")
}

fn same_device(one: &Record, other: &Record) -> bool {
    member(one, "device").is_some() && member(one, "device") == member(other, "device")
}

/// After a success the device is out of its slot, and the last `_OST` does not name it any more.
fn no_other_device(one: &Record, other: &Record) -> bool {
    member(one, "device").is_none() || member(other, "device").is_none() || same_device(one, other)
}

fn stops(record: &Record) -> bool {
    is_event(record, "STOP")
}

/// Whether the event says that QEMU stopped or paused the machine for it.
fn was_stopped(record: &Record) -> bool {
    matches!(member(record, "action").as_deref(), Some("stop" | "pause"))
}

const RULES: [Rule; 10] = [
    Rule {
        before: |record| is_event(record, "GUEST_PANICKED") && was_stopped(record),
        after: stops,
        same: any,
        cause: "the panic for which QEMU stopped the guest",
        consequence: "QEMU stopped the guest for the panic",
    },
    Rule {
        before: |record| is_event(record, "BLOCK_IO_ERROR") && was_stopped(record),
        after: stops,
        same: any,
        cause: "the I/O error for which QEMU stopped the guest",
        consequence: "QEMU stopped the guest for the I/O error",
    },
    Rule {
        before: |record| is_event(record, "WATCHDOG") && was_stopped(record),
        after: stops,
        same: any,
        cause: "the watchdog for which QEMU stopped the guest",
        consequence: "QEMU stopped the guest for the watchdog",
    },
    Rule {
        before: |record| is_event(record, "ACPI_DEVICE_OST"),
        after: |record| is_event(record, "ACPI_DEVICE_OST"),
        same: same_slot,
        cause: "what the guest said of this slot before",
        consequence: "what the guest said of this slot then",
    },
    Rule {
        before: |record| is_event(record, "ACPI_DEVICE_OST"),
        after: |record| is_event(record, "DEVICE_DELETED"),
        same: same_device,
        cause: "the guest's word on letting this device go",
        consequence: "the device is gone",
    },
    Rule {
        before: |record| is_event(record, "DEVICE_DELETED"),
        after: |record| is_event(record, "ACPI_DEVICE_OST"),
        same: no_other_device,
        cause: "the device that the guest let go",
        consequence: "the guest's last word on the slot",
    },
    Rule {
        before: |record| is_event(record, "QUORUM_REPORT_BAD"),
        after: |record| is_event(record, "QUORUM_FAILURE"),
        same: any,
        cause: "a replica that was bad before the quorum failed",
        consequence: "the quorum failed",
    },
    Rule {
        before: |record| is_event(record, "GUEST_PANICKED"),
        after: |record| is_event(record, "SHUTDOWN") || is_event(record, "RESET"),
        same: |_, record| member(record, "reason").is_some_and(|reason| reason == "guest-panic"),
        cause: "the panic for which the machine ended or was reset",
        consequence: "what became of the machine for the panic",
    },
    Rule {
        before: |record| is_event(record, "SHUTDOWN"),
        after: |record| record.kind == Kind::Detached,
        same: any,
        cause: "the shutdown after which it was gone",
        consequence: "it was gone after the shutdown",
    },
    Rule {
        before: |record| record.kind == Kind::Gap,
        after: |record| record.kind == Kind::Attached,
        same: any,
        cause: "the time in which nobody listened before this",
        consequence: "it was attached again after the gap",
    },
];

impl View {
    /// A record with what stands around it; `None` when there is none of this number. This reads the journal, and blocks.
    ///
    /// # Errors
    ///
    /// When the record's part of the journal cannot be read.
    pub(crate) fn context_json(&self, seq: u64) -> Result<Option<String>, ReadError> {
        let reader = self.recorder.reader();
        let last = self.recorder.last();
        let just = Query { after: Some(seq.saturating_sub(1)), limit: Some(1), ..up_to(seq) };
        let found = reader.records(&just).next().transpose()?;
        let Some(record) = found.filter(|record| record.seq == Some(seq)) else { return Ok(None) };
        let key = Identity::of_record(&record).key();
        let filter = Filter { machines: Glob::exactly(&key).into_iter().collect(), ..Filter::default() };
        let around = |query: Query| -> Vec<Record> {
            let records = reader.records(&Query { filter: filter.clone(), ..query });
            // What cannot be read is not there.
            records.flatten().filter(|other| Identity::of_record(other).key() == key).take(LOOKED_AT).collect()
        };
        let before = around(Query {
            after: Some(seq.saturating_sub(FAR)),
            before: Some(seq),
            newest_first: true,
            ..Query::default()
        });
        let after = around(Query { after: Some(seq), ..up_to(last.min(seq.saturating_add(FAR))) });
        Ok(Some(json(&record, &before, &after)))
    }
}

/// `before` has the newest first.
fn json(record: &Record, before: &[Record], after: &[Record]) -> String {
    let joined = joined(record, before, after);
    let joined = joined.into_iter().map(|(seq, why)| Members::new().number("seq", seq).text("why", why).close());
    Members::new()
        .json("record", &record.to_line())
        .list("before", before.iter().take(SHOWN).rev().map(Record::to_line))
        .list("after", after.iter().take(SHOWN).map(Record::to_line))
        .list("joined", joined)
        .close()
}

/// What belongs to a record, by number: of each rule the nearest.
fn joined(record: &Record, before: &[Record], after: &[Record]) -> Vec<(u64, &'static str)> {
    let mut joined = Vec::new();
    let near = |other: &&Record| {
        let span = other.received.micros().zip(record.received.micros());
        span.is_some_and(|(one, other)| one.saturating_sub(other).saturating_abs() <= TOGETHER)
            && (other.session == record.session || other.kind != Kind::Event)
    };
    for rule in &RULES {
        if (rule.before)(record) {
            let found = after.iter().filter(near).find(|other| (rule.after)(other) && (rule.same)(record, other));
            joined.extend(found.and_then(|other| other.seq).map(|seq| (seq, rule.consequence)));
        }
        if (rule.after)(record) {
            let found = before.iter().filter(near).find(|other| (rule.before)(other) && (rule.same)(other, record));
            joined.extend(found.and_then(|other| other.seq).map(|seq| (seq, rule.cause)));
        }
    }
    joined.sort_unstable();
    joined.dedup_by_key(|(seq, _)| *seq);
    joined
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::story;
    use super::*;

    /// The events that belong to the first of this name, and why.
    fn check(records: &[Record], name: &str, expected: &[(&str, &str)]) {
        let at = records.iter().position(|record| is_event(record, name)).unwrap();
        let before: Vec<_> = records[..at].iter().rev().cloned().collect();
        let joined = joined(&records[at], &before, &records[at + 1..]);
        let name = |seq: u64| records.iter().find(|record| record.seq == Some(seq)).unwrap().event.clone().unwrap();
        let names: Vec<_> = joined.iter().map(|(seq, _)| name(*seq)).collect();
        let found: Vec<_> = names.iter().zip(&joined).map(|(name, (_, why))| (name.as_str(), *why)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_panic_and_its_stop_belong_together_either_way() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/guest-panic.jsonl"));
        check(&records, "GUEST_PANICKED", &[("STOP", "QEMU stopped the guest for the panic")]);
        check(&records, "STOP", &[("GUEST_PANICKED", "the panic for which QEMU stopped the guest")]);
    }

    #[test]
    fn a_device_that_is_gone_belongs_to_what_its_guest_said_of_it() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/dimm-hotplug.jsonl"));
        check(
            &records,
            "DEVICE_DELETED",
            &[
                ("ACPI_DEVICE_OST", "the guest's word on letting this device go"),
                ("ACPI_DEVICE_OST", "the guest's last word on the slot"),
            ],
        );
    }

    #[test]
    fn a_record_stands_among_its_neighbours_in_their_order() {
        let records = story(include_str!("../../../../qmp/tests/data/recordings/lifecycle.jsonl"));
        let at = 6.min(records.len() - 1);
        let before: Vec<_> = records[..at].iter().rev().cloned().collect();
        let text = json(&records[at], &before, &records[at + 1..]);
        let json = qev_qmp::Json::parse(&text).unwrap();
        let mut seqs = Vec::new();
        json.get("before").unwrap().elements(|item| {
            seqs.push(qev_qmp::Json::parse(item).unwrap().get("seq").unwrap().value().as_u64().unwrap());
        });
        assert_eq!(seqs.len(), SHOWN.min(at));
        assert!(seqs.is_sorted() && seqs.last() == Some(&u64::try_from(at).unwrap()));
    }
}
