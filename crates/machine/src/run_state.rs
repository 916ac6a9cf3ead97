//! Whether the machine runs, and what stops, resets and ends it.
//!
//! | from | by | events | to |
//! |---|---|---|---|
//! | `running` | `stop` | `STOP` | `paused` |
//! | `running` | a panic, policy `pause` | `GUEST_PANICKED`, `STOP` | `guest-panicked` |
//! | `prelaunch`, `paused`, `guest-panicked` | `cont` | `RESUME` | `running` |
//! | `shutdown` | `cont` | none: an error, a reset is required | `shutdown` |
//! | `running` | a reset | `RESET` | `running` |
//! | any other | a reset | `RESET` | `prelaunch` |
//! | any | the end | `SHUTDOWN` | gone |
//! | any, with `-no-shutdown` | the end, but for `quit` | `SHUTDOWN`, and `STOP` if it ran | `shutdown` |
//!
//! `stop` where nothing runs and `cont` where it does already do nothing and emit nothing. With `-no-reboot` a reset is
//! an end.

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
        }
    }
}

/// Why a machine resets or ends (`ShutdownCause`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownCause {
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
        self.stop_in(RunState::Paused);
    }

    /// Stops the guest for the reason that this state names, if it runs.
    pub(crate) fn stop_in(&mut self, state: RunState) {
        if self.state == RunState::Running {
            self.set_state(state);
            self.emit(OtherEvent::new("STOP", None).into());
        }
    }

    /// `cont`.
    pub(crate) fn cont(&mut self) -> Result<(), QmpError> {
        match self.state {
            RunState::Running => Ok(()),
            RunState::Shutdown => Err(QmpError::generic("Resetting the Virtual Machine is required")),
            RunState::Prelaunch | RunState::Paused | RunState::GuestPanicked => {
                self.emit(OtherEvent::new("RESUME", None).into());
                self.set_state(RunState::Running);
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
        if self.config.no_shutdown && cause != ShutdownCause::HostQmpQuit {
            self.stop_in(RunState::Shutdown);
            self.set_state(RunState::Shutdown);
        } else {
            self.clock.set_running(false);
            self.exit = Some(status);
        }
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
