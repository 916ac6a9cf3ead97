//! Memory and CPU slots and quorum disks of one machine, as its events last told of them.
//!
//! What they are called comes from the machine, so there is a bound: the one that was heard longest ago is forgotten for
//! a new one, and how many were is said.

use super::hour::cut;
use qev_qmp::Timestamp;
use qev_qmp::event::{AcpiDeviceOst, QuorumFailure, QuorumReportBad};
use qev_record::acpi::{Source, Status};

/// How many slots, children and quorums of a machine are remembered. QEMU has 256 slots for memory at most.
pub(crate) const SLOTS: usize = 256;
pub(crate) const CHILDREN: usize = 64;
pub(crate) const QUORUMS: usize = 16;

/// Where and when something was told: the number and time of its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    pub(crate) seq: Option<u64>,
    pub(crate) received: Timestamp,
}

/// A slot, and the last `_OST` of its guest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub(crate) slot: Box<str>,
    pub(crate) slot_type: Box<str>,
    pub(crate) device: Option<Box<str>>,
    pub(crate) source: i64,
    pub(crate) status: i64,
    pub(crate) at: At,
}

impl Slot {
    pub(super) fn of(event: &AcpiDeviceOst, at: At) -> Slot {
        Slot {
            slot: cut(&event.slot),
            slot_type: cut(event.slot_type.as_str()),
            device: event.device.as_deref().map(cut),
            source: event.source,
            status: event.status,
            at,
        }
    }

    /// What the numbers mean: `eject request: busy`.
    pub(crate) fn words(&self) -> String {
        words(self.source, self.status)
    }
}

/// What the numbers of an `_OST` mean: `eject request: busy`.
pub(crate) fn words(source: i64, status: i64) -> String {
    let source = Source::new(source);
    format!("{source}: {}", Status::new(source, status))
}

/// A replica of a quorum disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Child {
    pub(crate) node_name: Box<str>,
    /// How often it was reported: outvoted, or not to be read.
    pub(crate) bad: u64,
    /// When it was last.
    pub(crate) last: Option<Report>,
}

/// What was said of a replica that was bad.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) sector: i64,
    pub(crate) count: i64,
    /// `read`, `write`, `flush`.
    pub(crate) op: Option<Box<str>>,
    pub(crate) error: Option<Box<str>>,
    pub(crate) at: At,
}

/// A quorum disk that found no majority.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quorum {
    pub(crate) reference: Box<str>,
    pub(crate) failures: u64,
    pub(crate) sector: i64,
    pub(crate) count: i64,
    pub(crate) at: At,
}

/// All of them, each kind in the order in which it was last heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Devices {
    pub(crate) slots: Vec<Slot>,
    pub(crate) children: Vec<Child>,
    pub(crate) quorums: Vec<Quorum>,
    /// How many were forgotten for others.
    pub(crate) forgotten: u64,
}

impl Devices {
    pub(super) fn slot(&mut self, slot: Slot) {
        take(&mut self.slots, |known| known.slot == slot.slot && known.slot_type == slot.slot_type);
        self.slots.push(slot);
        self.forgotten = self.forgotten.saturating_add(bound(&mut self.slots, SLOTS));
    }

    pub(super) fn bad(&mut self, event: &QuorumReportBad, at: At) {
        let node_name = cut(&event.node_name);
        let known = take(&mut self.children, |known| known.node_name == node_name);
        self.children.push(Child {
            bad: known.map_or(0, |known| known.bad).saturating_add(u64::from(at.seq.is_some())),
            node_name,
            last: Some(Report {
                sector: event.sector_num,
                count: event.sector_count,
                op: event.op.as_ref().map(|op| cut(op.as_str())),
                error: event.error.as_deref().map(cut),
                at,
            }),
        });
        if self.children.len() > CHILDREN && take(&mut self.children, |known| known.last.is_none()).is_some() {
            self.forgotten = self.forgotten.saturating_add(1);
        }
        self.forgotten = self.forgotten.saturating_add(bound(&mut self.children, CHILDREN));
    }

    /// These are all the replicas that there are now, whether anything was ever said of them or not.
    pub(super) fn found(&mut self, names: impl IntoIterator<Item = String>) {
        self.children.retain(|known| known.last.is_some());
        for name in names {
            let node_name = cut(&name);
            if self.children.iter().any(|known| known.node_name == node_name) {
                continue;
            }
            if self.children.len() < CHILDREN {
                self.children.push(Child { node_name, bad: 0, last: None });
            } else {
                self.forgotten = self.forgotten.saturating_add(1);
            }
        }
    }

    pub(super) fn failed(&mut self, event: &QuorumFailure, at: At) {
        let reference = cut(&event.reference);
        let known = take(&mut self.quorums, |known| known.reference == reference);
        self.quorums.push(Quorum {
            failures: known.map_or(0, |known| known.failures).saturating_add(u64::from(at.seq.is_some())),
            reference,
            sector: event.sector_num,
            count: event.sector_count,
            at,
        });
        self.forgotten = self.forgotten.saturating_add(bound(&mut self.quorums, QUORUMS));
    }
}

/// Takes out the one that is meant.
fn take<T>(all: &mut Vec<T>, is: impl FnMut(&T) -> bool) -> Option<T> {
    let at = all.iter().position(is)?;
    Some(all.remove(at))
}

/// Forgets the oldest beyond the bound; how many those are.
fn bound<T>(all: &mut Vec<T>, most: usize) -> u64 {
    let beyond = all.len().saturating_sub(most);
    all.drain(..beyond);
    u64::try_from(beyond).unwrap_or(u64::MAX)
}
