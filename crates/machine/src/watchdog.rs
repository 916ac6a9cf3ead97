//! The watchdog: a device that a guest has to feed, and what the machine does when it does not.
//!
//! | action | events | then |
//! |---|---|---|
//! | `reset`, the default | `WATCHDOG`, `RESET` (with `-no-reboot`: `SHUTDOWN`, reason `guest-reset`) | another guest boots |
//! | `shutdown` | `WATCHDOG`, `POWERDOWN` | what the guest does about its power button |
//! | `poweroff` | `WATCHDOG` | it ends with status 0, and says nothing more |
//! | `pause` | `WATCHDOG`, `STOP` | `query-status` says `watchdog` |
//! | `debug`, `none`, `inject-nmi` | `WATCHDOG` | the guest runs on; Linux shrugs at the interrupt |
//!
//! A guest feeds it from when it says so (the guest's `watchdog`) until it says otherwise, hangs, or is reset.

use crate::agenda::Action;
use crate::machine::Machine;
use crate::run_state::{RunState, ShutdownCause};
use qev_qmp::event::run_state::{Watchdog as WatchdogEvent, WatchdogAction};
use qev_qmp::{Object, QmpError};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A model of watchdog: QEMU's `-device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogModel {
    /// Intel's, on PCI.
    I6300Esb,
    /// On ISA.
    Ib700,
}

/// There is no such watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchWatchdog(Box<str>);

impl fmt::Display for NoSuchWatchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no watchdog '{}': expected i6300esb or ib700", self.0.escape_debug())
    }
}

impl std::error::Error for NoSuchWatchdog {}

impl FromStr for WatchdogModel {
    type Err = NoSuchWatchdog;

    fn from_str(name: &str) -> Result<WatchdogModel, NoSuchWatchdog> {
        match name {
            "i6300esb" => Ok(WatchdogModel::I6300Esb),
            "ib700" => Ok(WatchdogModel::Ib700),
            _ => Err(NoSuchWatchdog(name.into())),
        }
    }
}

/// What a machine does when its watchdog expires: QEMU's `-action watchdog=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchdogPolicy {
    /// It resets the guest.
    #[default]
    Reset,
    /// It presses the guest's power button.
    Shutdown,
    /// It ends at once.
    Poweroff,
    /// It stops the guest.
    Pause,
    /// A line of QEMU's own, which nobody sees here; the guest runs on.
    Debug,
    /// Nothing.
    None,
    /// The guest gets a non-maskable interrupt.
    InjectNmi,
}

/// There is no such action of a watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchWatchdogPolicy(Box<str>);

impl fmt::Display for NoSuchWatchdogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no watchdog action '{}': expected reset, shutdown, poweroff, pause, debug, none or inject-nmi",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NoSuchWatchdogPolicy {}

impl WatchdogPolicy {
    const NAMES: [(&'static str, WatchdogPolicy); 7] = [
        ("reset", WatchdogPolicy::Reset),
        ("shutdown", WatchdogPolicy::Shutdown),
        ("poweroff", WatchdogPolicy::Poweroff),
        ("pause", WatchdogPolicy::Pause),
        ("debug", WatchdogPolicy::Debug),
        ("none", WatchdogPolicy::None),
        ("inject-nmi", WatchdogPolicy::InjectNmi),
    ];

    fn action(self) -> WatchdogAction {
        match self {
            WatchdogPolicy::Reset => WatchdogAction::Reset,
            WatchdogPolicy::Shutdown => WatchdogAction::Shutdown,
            WatchdogPolicy::Poweroff => WatchdogAction::Poweroff,
            WatchdogPolicy::Pause => WatchdogAction::Pause,
            WatchdogPolicy::Debug => WatchdogAction::Debug,
            WatchdogPolicy::None => WatchdogAction::None,
            WatchdogPolicy::InjectNmi => WatchdogAction::InjectNmi,
        }
    }
}

impl FromStr for WatchdogPolicy {
    type Err = NoSuchWatchdogPolicy;

    fn from_str(name: &str) -> Result<WatchdogPolicy, NoSuchWatchdogPolicy> {
        let known = WatchdogPolicy::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, policy)| *policy).ok_or_else(|| NoSuchWatchdogPolicy(name.into()))
    }
}

/// A machine's watchdog, and whether its guest feeds it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    is_fed: bool,
    /// Guest time from the last feeding until it expires.
    timeout: Duration,
}

/// What Linux sets both models to.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Watchdog {
    pub(crate) fn new() -> Watchdog {
        Watchdog { is_fed: false, timeout: TIMEOUT }
    }
}

impl Machine {
    /// The guest begins to feed its watchdog, or lets it starve; and how long that takes.
    pub(crate) fn guest_feeds_watchdog(&mut self, fed: bool, timeout: Option<Duration>) -> Result<(), QmpError> {
        let no_watchdog = || QmpError::generic("this machine has no watchdog: give it one, i6300esb or ib700");
        let watchdog = self.watchdog.as_mut().ok_or_else(no_watchdog)?;
        watchdog.timeout = timeout.unwrap_or(watchdog.timeout);
        watchdog.is_fed = fed;
        let timeout = watchdog.timeout;
        if fed {
            self.agenda.remove(Action::WatchdogExpires);
        } else {
            self.later(timeout, Action::WatchdogExpires);
        }
        Ok(())
    }

    /// The guest hangs: if it had fed its watchdog, it does not any more.
    pub(crate) fn guest_forgets_watchdog(&mut self, was_fed: bool) {
        if let (true, Some(watchdog)) = (was_fed, &self.watchdog) {
            self.later(watchdog.timeout, Action::WatchdogExpires);
        }
    }

    /// The guest is gone, and with it whoever fed the watchdog. Whether somebody did.
    pub(crate) fn watchdog_is_left_alone(&mut self) -> bool {
        self.watchdog.as_mut().is_some_and(|watchdog| std::mem::take(&mut watchdog.is_fed))
    }

    /// Nothing fed the watchdog in time.
    pub(crate) fn watchdog_expires(&mut self) {
        let policy = self.watchdog_policy;
        self.emit(WatchdogEvent { action: policy.action(), extra: Object::new() }.into());
        match policy {
            WatchdogPolicy::Reset => self.reset(ShutdownCause::GuestReset),
            WatchdogPolicy::Shutdown => self.power_button(),
            WatchdogPolicy::Poweroff => self.end(0),
            WatchdogPolicy::Pause => self.stop_in(RunState::Watchdog),
            WatchdogPolicy::Debug | WatchdogPolicy::None | WatchdogPolicy::InjectNmi => {}
        }
    }

    /// `watchdog-set-action`
    pub(crate) fn set_watchdog_action(&mut self, name: &str) -> Result<(), QmpError> {
        let refused = |_| QmpError::generic(format!("Parameter 'action' does not accept value '{name}'"));
        self.watchdog_policy = name.parse().map_err(refused)?;
        Ok(())
    }
}
