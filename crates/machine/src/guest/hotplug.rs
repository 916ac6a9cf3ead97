//! The guest's side of memory hotplug: it is told what was plugged and what shall go, and answers with `_OST`.
//!
//! A command marks a slot and raises an interrupt. The guest's ACPI code then looks at *all* slots, takes the marks, and
//! queues a notification for each, which Linux works off one after the other:
//!
//! | notification | what Linux does |
//! |---|---|
//! | device check | takes the memory into use, and says source 1, status 0 |
//! | eject request | says source 3, status 0x84 (in progress); ejects, which deletes the device (`DEVICE_DELETED`), and says source 3, status 0 |
//! | the same, memory in use | says source 3, status 0x84, then 0x82 (busy) |
//!
//! Memory that was there when Linux booted is in use for good. A guest that is not up gets no interrupt: the marks stay
//! until the next one. A refusal emits `ACPI_DEVICE_OST` and nothing else: with DIMMs, QEMU's `MEM_UNPLUG_ERROR` and
//! `DEVICE_UNPLUG_GUEST_ERROR` would need an ejection that fails after the guest let go.

use crate::acpi::{DEVICE_BUSY, DEVICE_CHECK, EJECT_IN_PROGRESS, EJECT_REQUEST, NON_SPECIFIC_FAILURE, SUCCESS};
use crate::agenda::Action;
use crate::machine::Machine;
use qev_qmp::Object;
use qev_qmp::event::OtherEvent;
use std::collections::VecDeque;
use std::time::Duration;

/// How the guest answers.
#[derive(Clone, Debug)]
pub(crate) struct DimmDriver {
    /// Whether the guest does memory hotplug at all.
    pub(crate) present: bool,
    pub(crate) plug: PlugAnswer,
    pub(crate) unplug: UnplugAnswer,
    /// Guest time from the notification of a plugged DIMM to its answer.
    pub(crate) plug_time: Duration,
    /// Guest time from an eject request to its first answer.
    pub(crate) eject_answer_time: Duration,
    /// Guest time from there to the ejection, or the refusal.
    pub(crate) eject_time: Duration,
    /// Guest time from the ejection to the answer that says so.
    pub(crate) eject_report_time: Duration,
}

impl Default for DimmDriver {
    fn default() -> DimmDriver {
        DimmDriver {
            present: true,
            plug: PlugAnswer::Accept,
            unplug: UnplugAnswer::Accept,
            plug_time: Duration::from_millis(33),
            eject_answer_time: Duration::from_millis(2),
            eject_time: Duration::from_millis(18),
            eject_report_time: Duration::from_micros(700),
        }
    }
}

/// What the guest answers when memory was plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlugAnswer {
    /// It takes it.
    Accept,
    /// It can not.
    Fail,
    /// It does not answer.
    Ignore,
}

/// What the guest answers when memory shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnplugAnswer {
    /// It lets it go, unless it was there when the guest booted.
    Accept,
    /// It is busy.
    Busy,
    /// It does not answer.
    Ignore,
}

/// Notifications the guest has been given and has not dealt with.
#[derive(Debug, Default)]
pub(crate) struct Notifications {
    waiting: VecDeque<(Stage, usize)>,
    /// What it is dealing with, and the slot.
    current: Option<(Stage, usize)>,
}

/// How far the guest is with a notification; what it is going to do next about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was told that something was plugged.
    DeviceCheck,
    /// It was told that something shall go.
    EjectRequest,
    /// It has said that it is at it.
    Ejecting,
    /// It has let go.
    Ejected,
}

/// How many notifications wait at most. Beyond it the marks stay in their slots, as if the guest got no interrupt.
const MAX_WAITING: usize = 1024;

impl Notifications {
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.current = None;
    }
}

impl Machine {
    /// The interrupt that tells the guest to look at its slots.
    pub(crate) fn hotplug_interrupt(&mut self) {
        if !self.guest.up || !self.guest.dimm_driver.present {
            return;
        }
        let waiting = &mut self.guest.notifications.waiting;
        for (number, slot) in self.memory.slots_mut().iter_mut().enumerate() {
            if waiting.len() >= MAX_WAITING {
                break;
            }
            // One thing for each slot at a time: a slot that was never looked at is first of all plugged.
            if std::mem::take(&mut slot.inserting) {
                waiting.push_back((Stage::DeviceCheck, number));
            } else if std::mem::take(&mut slot.removing) {
                waiting.push_back((Stage::EjectRequest, number));
            }
        }
        self.next_notification();
    }

    fn next_notification(&mut self) {
        if self.guest.notifications.current.is_some() {
            return;
        }
        if let Some((stage, slot)) = self.guest.notifications.waiting.pop_front() {
            let after = match stage {
                Stage::DeviceCheck => self.guest.dimm_driver.plug_time,
                _ => self.guest.dimm_driver.eject_answer_time,
            };
            self.hotplug_continues(stage, slot, after);
        }
    }

    fn hotplug_continues(&mut self, stage: Stage, slot: usize, after: Duration) {
        self.guest.notifications.current = Some((stage, slot));
        self.later(after, Action::Hotplug);
    }

    /// The guest does the next thing about its current notification.
    pub(crate) fn hotplug_goes_on(&mut self) {
        let Some((stage, slot)) = self.guest.notifications.current.take() else { return };
        let held = self.memory.slots().get(slot).and_then(|slot| slot.dimm.as_ref());
        let there_at_boot = held.map(|dimm| dimm.there_at_boot);
        let driver = self.guest.dimm_driver.clone();
        match (stage, there_at_boot) {
            (Stage::Ejected, _) => self.ost(slot, Some(EJECT_REQUEST), SUCCESS),
            // It has gone in the meantime: there is nothing to answer for.
            (_, None) => {}
            (Stage::DeviceCheck, Some(_)) => match driver.plug {
                PlugAnswer::Accept => self.ost(slot, Some(DEVICE_CHECK), SUCCESS),
                PlugAnswer::Fail => self.ost(slot, Some(DEVICE_CHECK), NON_SPECIFIC_FAILURE),
                PlugAnswer::Ignore => {}
            },
            (Stage::EjectRequest, Some(_)) => {
                if driver.unplug != UnplugAnswer::Ignore {
                    self.ost(slot, Some(EJECT_REQUEST), EJECT_IN_PROGRESS);
                    self.hotplug_continues(Stage::Ejecting, slot, driver.eject_time);
                }
            }
            (Stage::Ejecting, Some(false)) if driver.unplug == UnplugAnswer::Accept => {
                self.eject(slot);
                self.hotplug_continues(Stage::Ejected, slot, driver.eject_report_time);
            }
            (Stage::Ejecting, Some(_)) => self.ost(slot, Some(EJECT_REQUEST), DEVICE_BUSY),
        }
        self.next_notification();
    }

    /// The guest writes what it has to say about a DIMM slot. Whether there is such a slot.
    pub(crate) fn write_dimm_ost(&mut self, slot: usize, source: Option<u32>, status: u32) -> bool {
        let Some(held) = self.memory.slots_mut().get_mut(slot) else { return false };
        held.ost.write(source, status);
        let info = held.info(slot);
        self.emit(info.into());
        true
    }

    fn ost(&mut self, slot: usize, source: Option<u32>, status: u32) {
        // The slot is there: the notification was about it.
        self.write_dimm_ost(slot, source, status);
    }

    /// The guest ejects what is in a slot, asked or not. Whether something was.
    pub(crate) fn eject(&mut self, slot: usize) -> bool {
        let Some(dimm) = self.memory.eject(slot) else { return false };
        let mut data = Object::new();
        if let Some(id) = dimm.id {
            data.insert("device", id);
        }
        data.insert("path", dimm.path);
        self.emit(OtherEvent::new("DEVICE_DELETED", Some(data)).into());
        true
    }
}
