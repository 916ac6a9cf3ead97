//! Whether the machine runs, and what stops, resets and ends it.
//!
//! | from | by | events | to |
//! |---|---|---|---|
//! | `running` | `stop` | `STOP` | `paused` |
//! | `running` | a panic, policy `pause` | `GUEST_PANICKED`, `STOP` | `guest-panicked` |
//! | `running` | the watchdog, action `pause` | `WATCHDOG`, `STOP` | `watchdog` |
//! | `running` | a disk's error, policy `stop` | `BLOCK_IO_ERROR`, `STOP` | `io-error` |
//! | `running` | the guest's suspend to RAM | `SUSPEND` | `suspended` |
//! | `suspended` | `system_wakeup` | `WAKEUP` | `running` |
//! | `prelaunch`, `paused`, `guest-panicked`, `watchdog`, `io-error` | `cont` | `RESUME` | `running` |
//! | `shutdown` | `cont` | none: an error, a reset is required | `shutdown` |
//! | `running` | a reset | `RESET` | `running` |
//! | any other | a reset | `RESET` | `prelaunch` |
//! | any | the end | `SHUTDOWN` | gone |
//! | any, with `-no-shutdown` | the end, but for `quit` | `SHUTDOWN`, and `STOP` if it ran | `shutdown` |
//!
//! `stop` where nothing runs, and `cont` where it does already or the guest sleeps, do nothing and emit nothing. With
//! `-no-reboot` a reset is an end. A guest that suspends to disk says `SUSPEND_DISK` and shuts down. A stop writes out what
//! was written to disks, which may fail.

use crate::agenda::Action;
use crate::machine::Machine;
use qev_qmp::event::OtherEvent;
use qev_qmp::{Object, QmpError};

/// What `query-status` calls the state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunState {
    /// It has not run yet, or was reset while it did not run.
    Prelaunch,
    /// It runs.
    Running,
    /// It was stopped.
    Paused,
    /// Its guest panicked, and it was stopped for it.
    GuestPanicked,
    /// Its guest shut down, and it stayed (`-no-shutdown`).
    Shutdown,
    /// Its guest suspended to RAM.
    Suspended,
    /// Its watchdog expired, and it was stopped for it.
    Watchdog,
    /// A disk's error stopped it.
    IoError,
}

impl RunState {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Prelaunch => "prelaunch",
            RunState::Running => "running",
            RunState::Paused => "paused",
            RunState::GuestPanicked => "guest-panicked",
            RunState::Shutdown => "shutdown",
            RunState::Suspended => "suspended",
            RunState::Watchdog => "watchdog",
            RunState::IoError => "io-error",
        }
    }
}

/// Why a machine resets or ends (`ShutdownCause`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownCause {
    HostSignal,
    HostQmpQuit,
    HostQmpSystemReset,
    GuestShutdown,
    GuestReset,
    GuestPanic,
}

impl ShutdownCause {
    /// What `SHUTDOWN` and `RESET` carry.
    fn data(self) -> Object {
        let (guest, reason) = match self {
            ShutdownCause::HostSignal => (false, "host-signal"),
            ShutdownCause::HostQmpQuit => (false, "host-qmp-quit"),
            ShutdownCause::HostQmpSystemReset => (false, "host-qmp-system-reset"),
            ShutdownCause::GuestShutdown => (true, "guest-shutdown"),
            ShutdownCause::GuestReset => (true, "guest-reset"),
            ShutdownCause::GuestPanic => (true, "guest-panic"),
        };
        Object::new().with("guest", guest).with("reason", reason)
    }
}

impl Machine {
    /// `stop`.
    pub(crate) fn stop(&mut self) {
        match self.state {
            RunState::Running => self.stop_in(RunState::Paused),
            RunState::Suspended => {}
            _ => self.flush_all(),
        }
    }

    /// Stops the guest for the reason that this state names, if it runs.
    pub(crate) fn stop_in(&mut self, state: RunState) {
        if self.state == RunState::Running {
            self.set_state(state);
            self.agenda.remove(Action::IoErrorStops);
            self.emit(OtherEvent::new("STOP", None).into());
            self.flush_all();
        }
    }

    /// `cont`.
    pub(crate) fn cont(&mut self) -> Result<(), QmpError> {
        match self.state {
            RunState::Running | RunState::Suspended => Ok(()),
            RunState::Shutdown => Err(QmpError::generic("Resetting the Virtual Machine is required")),
            RunState::Prelaunch
            | RunState::Paused
            | RunState::GuestPanicked
            | RunState::Watchdog
            | RunState::IoError => {
                self.emit(OtherEvent::new("RESUME", None).into());
                self.set_state(RunState::Running);
                self.disks_go_on();
                Ok(())
            }
        }
    }

    /// Resets the machine: the guest that was there is gone, and another boots when the machine runs.
    pub(crate) fn reset(&mut self, cause: ShutdownCause) {
        if self.config.no_reboot {
            self.shut_down(cause, 0);
            return;
        }
        self.emit(OtherEvent::new("RESET", Some(cause.data())).into());
        if self.state != RunState::Running {
            self.set_state(RunState::Prelaunch);
        }
        self.guest_was_reset();
    }

    /// Ends the machine, or leaves it stopped where it shall not end.
    pub(crate) fn shut_down(&mut self, cause: ShutdownCause, status: i32) {
        self.emit(OtherEvent::new("SHUTDOWN", Some(cause.data())).into());
        if self.config.no_shutdown && !matches!(cause, ShutdownCause::HostQmpQuit | ShutdownCause::HostSignal) {
            self.stop_in(RunState::Shutdown);
            self.set_state(RunState::Shutdown);
        } else {
            self.end(status);
        }
    }

    /// Ends the machine, of which nothing more is heard.
    pub(crate) fn end(&mut self, status: i32) {
        self.clock.set_running(false);
        self.exit = Some(status);
    }

    /// The guest suspends to RAM.
    pub(crate) fn suspend(&mut self) {
        self.set_state(RunState::Suspended);
        self.emit(OtherEvent::new("SUSPEND", None).into());
    }

    /// The guest has written its memory to its disk, and switches the machine off.
    pub(crate) fn suspend_to_disk(&mut self) {
        self.emit(OtherEvent::new("SUSPEND_DISK", None).into());
        self.shut_down(ShutdownCause::GuestShutdown, 0);
    }

    /// `system_wakeup`
    pub(crate) fn wake_up(&mut self) -> Result<(), QmpError> {
        if self.state != RunState::Suspended {
            return Err(QmpError::generic("Unable to wake up: guest is not in suspended state"));
        }
        self.set_state(RunState::Running);
        self.emit(OtherEvent::new("WAKEUP", None).into());
        Ok(())
    }

    /// `system_powerdown`: presses the power button. What comes of it is the guest's business.
    pub(crate) fn power_button(&mut self) {
        self.emit(OtherEvent::new("POWERDOWN", None).into());
        self.guest_hears_power_button();
    }

    fn set_state(&mut self, state: RunState) {
        self.state = state;
        self.guest.firmware_ran |= state == RunState::Running;
        self.clock.set_running(state == RunState::Running);
        if state == RunState::Running {
            self.waiting_interrupts();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_say_whether_it_was_the_guest() {
        let data = |cause: ShutdownCause| {
            cause.data().print(qev_qmp::json::print::Order::Qemu, qev_qmp::json::print::Layout::Line)
        };
        assert_eq!(data(ShutdownCause::HostQmpQuit), r#"{"guest": false, "reason": "host-qmp-quit"}"#);
        assert_eq!(data(ShutdownCause::GuestPanic), r#"{"guest": true, "reason": "guest-panic"}"#);
    }
}
