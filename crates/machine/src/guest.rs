//! The guest: what runs inside the machine, and does things in its own time.
//!
//! It boots, drives the balloon, answers hotplug, hears the power button, and reboots after a panic. All of it is on
//! the agenda in guest time, so a guest that is stopped does none of it. A reset ends it; another boots: the firmware
//! resets the machine once more (SeaBIOS on q35 does), and after the boot the drivers find the devices as they are.

pub(crate) mod hotplug;

use crate::agenda::Action;
use crate::config::GuestConfig;
use crate::machine::Machine;
use crate::run_state::{RunState, ShutdownCause};
use hotplug::{HotplugDriver, Notifications};
use qev_qmp::event::BalloonChange;
use std::time::Duration;

/// What there is to know about a guest.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) config: GuestConfig,
    /// Whether its drivers answer: not while it boots, nor after it panicked.
    pub(crate) up: bool,
    /// Whether the machine ever ran, and its firmware with it.
    pub(crate) firmware_ran: bool,
    /// Whether a guest was ever up: then CPU slots are shown, because a guest asked for the interface that has them.
    pub(crate) was_up: bool,
    pub(crate) dimm_driver: HotplugDriver,
    pub(crate) cpu_driver: HotplugDriver,
    pub(crate) notifications: Notifications,
}

/// What a guest does after it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterPanic {
    /// What its configuration says.
    AsConfigured,
    /// It reboots, as Linux with `panic=-1`.
    Reboot,
    /// It stays as it is, as Linux with `panic=0`.
    Hang,
    /// It goes on as if nothing were.
    RunOn,
}

impl Guest {
    /// The guest of a new machine.
    pub(crate) fn new(config: GuestConfig, up: bool) -> Guest {
        Guest {
            config,
            up,
            firmware_ran: up,
            was_up: up,
            dimm_driver: HotplugDriver::default(),
            cpu_driver: HotplugDriver::default(),
            notifications: Notifications::default(),
        }
    }
}

impl Machine {
    /// Puts an action on the agenda, so long after this moment.
    pub(crate) fn later(&mut self, after: Duration, action: Action) {
        self.agenda.put(self.clock.moment().saturating_add(after), action);
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::BalloonStep => self.balloon_steps(),
            Action::Hotplug => self.hotplug_goes_on(),
            Action::FirmwareReset => {
                self.reset(ShutdownCause::GuestReset);
                // Once is enough: this time the firmware knows what happened.
                self.agenda.remove(Action::FirmwareReset);
                self.later(self.guest.config.boot_time, Action::Booted);
            }
            Action::Booted => self.guest_booted(),
            Action::Reboot => self.reset(ShutdownCause::GuestReset),
            Action::PowerOff => self.shut_down(ShutdownCause::GuestShutdown, 0),
            Action::WatchdogExpires => self.watchdog_expires(),
            Action::IoErrorStops => self.stop_in(RunState::IoError),
        }
    }

    /// The machine was switched on: the guest boots, without the firmware's second reset.
    pub(crate) fn guest_begins_to_boot(&mut self) {
        self.later(self.guest.config.boot_time, Action::Booted);
    }

    /// The machine was reset: the guest that was there is gone.
    pub(crate) fn guest_was_reset(&mut self) {
        self.guest_is_gone();
        match self.guest.config.firmware_reset {
            // Firmware that has not run yet finds nothing in memory that would make it reset the machine.
            Some(after) if self.guest.firmware_ran => self.later(after, Action::FirmwareReset),
            _ => self.guest_begins_to_boot(),
        }
    }

    fn guest_is_gone(&mut self) {
        self.agenda.clear();
        self.watchdog_is_left_alone();
        self.guest.up = false;
        self.guest.notifications.clear();
        self.disks_forget();
        if let Some(balloon) = &mut self.balloon {
            balloon.forget();
        }
    }

    fn guest_booted(&mut self) {
        self.guest.up = true;
        self.guest.was_up = true;
        for dimm in self.memory.slots_mut().iter_mut().filter_map(|slot| slot.dimm.as_mut()) {
            dimm.there_at_boot = true;
        }
        self.balloon_goes_on();
    }

    /// The power button was pressed.
    pub(crate) fn guest_hears_power_button(&mut self) {
        if let (true, Some(after)) = (self.guest.up, self.guest.config.powerdown)
            && !self.agenda.has(Action::PowerOff)
        {
            self.later(after, Action::PowerOff);
        }
    }

    /// The guest panicked, and is going to do this about it, if the machine lets it.
    pub(crate) fn guest_after_panic(&mut self, then: AfterPanic) {
        let reboot = match then {
            AfterPanic::RunOn => return,
            AfterPanic::Hang => None,
            AfterPanic::AsConfigured => self.guest.config.reboot_after_panic,
            AfterPanic::Reboot => self.guest.config.reboot_after_panic.or(GuestConfig::default().reboot_after_panic),
        };
        let fed = self.watchdog_is_left_alone();
        self.guest_is_gone();
        match reboot {
            Some(after) => self.later(after, Action::Reboot),
            None => self.guest_forgets_watchdog(fed),
        }
    }

    /// Lets the balloon's driver move, if it has somewhere to go and is not on its way already.
    pub(crate) fn balloon_goes_on(&mut self) {
        let next = self.balloon.as_ref().and_then(super::balloon::Balloon::next_step);
        match next.filter(|_| self.guest.up) {
            None => self.agenda.remove(Action::BalloonStep),
            Some(_) if self.agenda.has(Action::BalloonStep) => {}
            Some(after) => self.later(after, Action::BalloonStep),
        }
    }

    fn balloon_steps(&mut self) {
        if self.balloon.as_mut().is_some_and(super::balloon::Balloon::step) {
            self.balloon_changed();
        }
        self.balloon_goes_on();
    }

    /// The guest wrote another size of the balloon than there was.
    pub(crate) fn balloon_changed(&mut self) {
        if let Some(actual) = self.balloon_actual() {
            self.emit(BalloonChange::new(actual).into());
        }
    }

    /// What `query-balloon` says, if there is a balloon.
    pub(crate) fn balloon_actual(&self) -> Option<i64> {
        let ram = self.memory.base().saturating_add(self.memory.plugged());
        self.balloon.as_ref().map(|balloon| balloon.actual(ram))
    }
}
