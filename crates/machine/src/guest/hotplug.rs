//! The guest's side of hotplug: it is told what was plugged and what shall go, and answers with `_OST`.
//!
//! A command marks a slot and raises an interrupt, one for memory and one for CPUs. The guest's ACPI code then looks at
//! *all* slots of the kind, takes the marks, and queues a notification for each, which Linux works off one after the
//! other:
//!
//! | notification | what Linux does |
//! |---|---|
//! | device check | takes the device into use, and says source 1, status 0 |
//! | eject request | says source 3, status 0x84 (in progress); ejects, which deletes the device (`DEVICE_DELETED`), and says source 3, status 0 |
//! | the same, memory in use | says source 3, status 0x84, then 0x82 (busy) |
//!
//! Memory that was there when Linux booted is in use for good. A guest that is not up gets no interrupt: the marks stay
//! until the next one. A refusal emits `ACPI_DEVICE_OST` and nothing else: with DIMMs, QEMU's `MEM_UNPLUG_ERROR` and
//! `DEVICE_UNPLUG_GUEST_ERROR` would need an ejection that fails after the guest let go.
//!
//! A CPU's ejection deletes its interrupt controller first, which has no id: `DEVICE_DELETED` with a path, and then the
//! CPU's. (Under TCG, QEMU 7.2.22 forgets the second, and crashes when another CPU is plugged; that is not copied.)

use crate::acpi::{DEVICE_BUSY, DEVICE_CHECK, EJECT_IN_PROGRESS, EJECT_REQUEST, NON_SPECIFIC_FAILURE, SUCCESS};
use crate::agenda::Action;
use crate::machine::Machine;
use crate::run_state::RunState;
use qev_qmp::Object;
use qev_qmp::event::OtherEvent;
use std::collections::VecDeque;
use std::time::Duration;

/// How the guest answers.
#[derive(Clone, Debug)]
pub(crate) struct HotplugDriver {
    /// Whether the guest does this kind of hotplug at all.
    pub(crate) present: bool,
    pub(crate) plug: PlugAnswer,
    pub(crate) unplug: UnplugAnswer,
    /// Guest time from the notification of a plugged device to its answer.
    pub(crate) plug_time: Duration,
    /// Guest time from an eject request to its first answer.
    pub(crate) eject_answer_time: Duration,
    /// Guest time from there to the ejection, or the refusal.
    pub(crate) eject_time: Duration,
    /// Guest time from the ejection to the answer that says so.
    pub(crate) eject_report_time: Duration,
}

impl Default for HotplugDriver {
    fn default() -> HotplugDriver {
        HotplugDriver {
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

/// What the guest answers when something was plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlugAnswer {
    /// It takes it.
    Accept,
    /// It can not.
    Fail,
    /// It does not answer.
    Ignore,
}

/// What the guest answers when something shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnplugAnswer {
    /// It lets it go, unless it is memory that was there when the guest booted.
    Accept,
    /// It is busy.
    Busy,
    /// It does not answer.
    Ignore,
}

/// Notifications the guest has been given and has not dealt with.
#[derive(Debug, Default)]
pub(crate) struct Notifications {
    waiting: VecDeque<(Stage, Place)>,
    /// What it is dealing with, and where.
    current: Option<(Stage, Place)>,
    /// Interrupts that came while it was stopped.
    memory_interrupt: bool,
    cpu_interrupt: bool,
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

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// For a DIMM.
    Dimm(usize),
    /// For a CPU.
    Cpu(usize),
}

impl Notifications {
    /// Takes the marks of a slot, if there is room for what comes of them. One thing for each slot at a time: what was
    /// never looked at is first of all plugged.
    fn take(&mut self, place: Place, (inserting, removing): (&mut bool, &mut bool)) {
        if self.waiting.len() >= MAX_WAITING {
            return;
        }
        if std::mem::take(inserting) {
            self.waiting.push_back((Stage::DeviceCheck, place));
        } else if std::mem::take(removing) {
            self.waiting.push_back((Stage::EjectRequest, place));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Notifications::default();
    }
}

impl Machine {
    /// The interrupt that tells the guest to look at its DIMM slots.
    pub(crate) fn memory_interrupt(&mut self) {
        if !self.guest.up || !self.guest.dimm_driver.present {
            return;
        }
        if self.state != RunState::Running {
            self.guest.notifications.memory_interrupt = true;
            return;
        }
        for (number, slot) in self.memory.slots_mut().iter_mut().enumerate() {
            let marks = (&mut slot.inserting, &mut slot.removing);
            self.guest.notifications.take(Place::Dimm(number), marks);
        }
        self.next_notification();
    }

    /// The interrupt that tells the guest to look at its CPU slots.
    pub(crate) fn cpu_interrupt(&mut self) {
        if !self.guest.up || !self.guest.cpu_driver.present {
            return;
        }
        if self.state != RunState::Running {
            self.guest.notifications.cpu_interrupt = true;
            return;
        }
        for (number, slot) in self.cpus.slots_mut().iter_mut().enumerate() {
            let marks = (&mut slot.inserting, &mut slot.removing);
            self.guest.notifications.take(Place::Cpu(number), marks);
        }
        self.next_notification();
    }

    /// The guest runs again, and gets the interrupts that waited for that.
    pub(crate) fn waiting_interrupts(&mut self) {
        if std::mem::take(&mut self.guest.notifications.memory_interrupt) {
            self.memory_interrupt();
        }
        if std::mem::take(&mut self.guest.notifications.cpu_interrupt) {
            self.cpu_interrupt();
        }
    }

    fn next_notification(&mut self) {
        if self.guest.notifications.current.is_some() {
            return;
        }
        if let Some((stage, place)) = self.guest.notifications.waiting.pop_front() {
            let driver = self.hotplug_driver(place);
            let after = if stage == Stage::DeviceCheck { driver.plug_time } else { driver.eject_answer_time };
            self.hotplug_continues(stage, place, after);
        }
    }

    fn hotplug_driver(&self, place: Place) -> &HotplugDriver {
        match place {
            Place::Dimm(_) => &self.guest.dimm_driver,
            Place::Cpu(_) => &self.guest.cpu_driver,
        }
    }

    fn hotplug_continues(&mut self, stage: Stage, place: Place, after: Duration) {
        self.guest.notifications.current = Some((stage, place));
        self.later(after, Action::Hotplug);
    }

    /// Whether what is in a slot is in use for good, if something is.
    fn in_use(&self, place: Place) -> Option<bool> {
        match place {
            Place::Dimm(slot) => {
                let held = self.memory.slots().get(slot).and_then(|slot| slot.dimm.as_ref());
                held.map(|dimm| dimm.there_at_boot)
            }
            Place::Cpu(slot) => self.cpus.slots().get(slot).and_then(|slot| slot.cpu.as_ref()).map(|_| false),
        }
    }

    /// The guest does the next thing about its current notification.
    pub(crate) fn hotplug_goes_on(&mut self) {
        let Some((stage, place)) = self.guest.notifications.current.take() else { return };
        let driver = self.hotplug_driver(place).clone();
        match (stage, self.in_use(place)) {
            (Stage::Ejected, _) => self.write_ost(place, Some(EJECT_REQUEST), SUCCESS),
            // It has gone in the meantime: there is nothing to answer for.
            (_, None) => {}
            (Stage::DeviceCheck, Some(_)) => match driver.plug {
                PlugAnswer::Accept => self.write_ost(place, Some(DEVICE_CHECK), SUCCESS),
                PlugAnswer::Fail => self.write_ost(place, Some(DEVICE_CHECK), NON_SPECIFIC_FAILURE),
                PlugAnswer::Ignore => {}
            },
            (Stage::EjectRequest, Some(_)) => {
                if driver.unplug != UnplugAnswer::Ignore {
                    self.write_ost(place, Some(EJECT_REQUEST), EJECT_IN_PROGRESS);
                    self.hotplug_continues(Stage::Ejecting, place, driver.eject_time);
                }
            }
            (Stage::Ejecting, Some(false)) if driver.unplug == UnplugAnswer::Accept => {
                self.eject(place);
                self.hotplug_continues(Stage::Ejected, place, driver.eject_report_time);
            }
            (Stage::Ejecting, Some(_)) => self.write_ost(place, Some(EJECT_REQUEST), DEVICE_BUSY),
        }
        self.next_notification();
    }

    /// The guest writes what it has to say about a slot, if there is such a slot.
    pub(crate) fn write_ost(&mut self, place: Place, source: Option<u32>, status: u32) {
        let info = match place {
            Place::Dimm(number) => self.memory.slots_mut().get_mut(number).map(|slot| {
                slot.ost.write(source, status);
                slot.info(number)
            }),
            Place::Cpu(number) => self.cpus.slots_mut().get_mut(number).map(|slot| {
                slot.ost.write(source, status);
                slot.info(number)
            }),
        };
        if let Some(info) = info {
            self.emit(info.into());
        }
    }

    /// The guest ejects what is in a slot, asked or not. Whether something was.
    pub(crate) fn eject(&mut self, place: Place) -> bool {
        let gone = match place {
            Place::Dimm(slot) => self.memory.eject(slot).map(|dimm| (dimm.id, dimm.path)),
            Place::Cpu(slot) => self.cpus.eject(slot).map(|cpu| (cpu.id, cpu.path)),
        };
        let Some((id, path)) = gone else { return false };
        if let Place::Cpu(_) = place {
            self.device_deleted(None, format!("{path}/lapic"));
        }
        self.device_deleted(id, path);
        true
    }

    fn device_deleted(&mut self, id: Option<String>, path: String) {
        let mut data = Object::new();
        if let Some(id) = id {
            data.insert("device", id);
        }
        data.insert("path", path);
        self.emit(OtherEvent::new("DEVICE_DELETED", Some(data)).into());
    }
}
