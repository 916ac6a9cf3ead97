//! The panic device: what the machine does when its guest says that it panicked.
//!
//! | policy | `action` in `GUEST_PANICKED` | then |
//! |---|---|---|
//! | `shutdown`, the default | `poweroff` | `SHUTDOWN` with reason `guest-panic`; it ends with status 0 |
//! | `shutdown` with `-no-shutdown` | `pause` | as `pause` |
//! | `pause` | `pause` | `STOP`; `query-status` says `guest-panicked` |
//! | `none` | `run` | the guest runs on |
//! | `exit-failure` | `poweroff` | `SHUTDOWN` with reason `guest-panic`; it ends with status 1 |
//! | `exit-failure` with `-no-shutdown` | `poweroff` | `SHUTDOWN`, then `STOP`; `query-status` says `shutdown` |

use qev_qmp::event::{GuestPanicInformation, GuestPanicked, PanicAction};
use std::fmt;
use std::str::FromStr;

use crate::machine::Machine;
use crate::run_state::{RunState, ShutdownCause};

/// What a machine does when its guest panics: QEMU's `-action panic=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PanicPolicy {
    /// It stops the guest, and says `guest-panicked`.
    Pause,
    /// It ends with status 0.
    #[default]
    Shutdown,
    /// It lets the guest run on.
    None,
    /// It ends with status 1. Since QEMU 7.1.
    ExitFailure,
}

/// There is no such policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchPanicPolicy(Box<str>);

impl fmt::Display for NoSuchPanicPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no panic action '{}': expected pause, shutdown, none or exit-failure", self.0.escape_debug())
    }
}

impl std::error::Error for NoSuchPanicPolicy {}

impl PanicPolicy {
    const NAMES: [(&'static str, PanicPolicy); 4] = [
        ("pause", PanicPolicy::Pause),
        ("shutdown", PanicPolicy::Shutdown),
        ("none", PanicPolicy::None),
        ("exit-failure", PanicPolicy::ExitFailure),
    ];
}

impl FromStr for PanicPolicy {
    type Err = NoSuchPanicPolicy;

    fn from_str(name: &str) -> Result<PanicPolicy, NoSuchPanicPolicy> {
        let known = PanicPolicy::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, policy)| *policy).ok_or_else(|| NoSuchPanicPolicy(name.into()))
    }
}

impl fmt::Display for PanicPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = PanicPolicy::NAMES.iter().find(|(_, policy)| policy == self);
        f.write_str(known.map_or("", |(name, _)| name))
    }
}

impl Machine {
    /// The guest tells the panic device that it panicked.
    pub(crate) fn guest_panicked(&mut self, info: Option<GuestPanicInformation>) {
        let policy = match self.config.panic {
            // A machine that does not end keeps the panicked guest for whoever wants to look at it.
            PanicPolicy::Shutdown if self.config.no_shutdown => PanicPolicy::Pause,
            policy => policy,
        };
        let action = match policy {
            PanicPolicy::Pause => PanicAction::Pause,
            PanicPolicy::Shutdown | PanicPolicy::ExitFailure => PanicAction::Poweroff,
            PanicPolicy::None => PanicAction::Run,
        };
        self.emit(GuestPanicked { info, ..GuestPanicked::new(action) }.into());
        match policy {
            PanicPolicy::Pause => self.stop_in(RunState::GuestPanicked),
            PanicPolicy::Shutdown => self.shut_down(ShutdownCause::GuestPanic, 0),
            PanicPolicy::ExitFailure => self.shut_down(ShutdownCause::GuestPanic, 1),
            PanicPolicy::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_named_as_qemu_names_them() {
        for name in ["pause", "shutdown", "none", "exit-failure"] {
            assert_eq!(name.parse::<PanicPolicy>().unwrap().to_string(), name);
        }
        assert_eq!(
            "poweroff".parse::<PanicPolicy>().unwrap_err().to_string(),
            "no panic action 'poweroff': expected pause, shutdown, none or exit-failure"
        );
    }
}
