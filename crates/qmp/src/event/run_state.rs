//! A machine's life: the events of QEMU's `run-state`, but for the panic's, which has a
//! [file of its own](super::guest_panicked), and for that of [memory](super::memory).

use super::EventError;
use super::fields::Fields;
use super::guest_panicked::{GuestPanicInformation, PanicAction};
use super::schema::{Wire, any_object, by_name, choice, event};
use crate::json::Value;
use crate::json::scan::Scanner;

choice! {
    /// What a machine is doing: the `status` that `query-status` returns (`RunState`). No event carries it.
    RunState {
        /// A debugger stopped it (`-s`), at a breakpoint or on request.
        Debug = "debug",
        /// It was started to receive a migration, which has not ended.
        InMigrate = "inmigrate",
        /// QEMU found an error inside itself, of KVM for example; only a reset helps.
        InternalError = "internal-error",
        /// An I/O error stopped it (`werror=stop`).
        IoError = "io-error",
        /// It was stopped (`stop`).
        Paused = "paused",
        /// It was migrated away: it runs elsewhere, and must not be continued here.
        PostMigrate = "postmigrate",
        /// QEMU waits for its configuration (`-preconfig`), from 2.12 to 5.1; later ones say `prelaunch`.
        Preconfig = "preconfig",
        /// It has not run yet (`-S`), or was reset while it did not run.
        Prelaunch = "prelaunch",
        /// It is stopped while a migration finishes.
        FinishMigrate = "finish-migrate",
        /// It is stopped while a snapshot is restored.
        RestoreVm = "restore-vm",
        /// It runs.
        Running = "running",
        /// It is stopped while a snapshot is saved.
        SaveVm = "save-vm",
        /// Its guest shut down, and QEMU stays (`-no-shutdown`).
        Shutdown = "shutdown",
        /// Its guest suspended to RAM.
        Suspended = "suspended",
        /// Its watchdog expired, and stopped it.
        Watchdog = "watchdog",
        /// Its guest panicked, and it was stopped.
        GuestPanicked = "guest-panicked",
        /// It is stopped to synchronise with its COLO partner, since QEMU 2.8.
        Colo = "colo",
    }
}

impl RunState {
    /// Returns whether QEMU leaves this state by itself, without an event that says so.
    pub fn is_transient(&self) -> bool {
        matches!(self, RunState::InMigrate | RunState::FinishMigrate | RunState::RestoreVm | RunState::SaveVm)
    }
}

choice! {
    /// Why a machine shuts down or is reset (`ShutdownCause`).
    ShutdownCause {
        /// For no reason that is known.
        None = "none",
        /// An error on the host.
        HostError = "host-error",
        /// The command `quit`.
        HostQmpQuit = "host-qmp-quit",
        /// The command `system_reset`.
        HostQmpSystemReset = "host-qmp-system-reset",
        /// A signal, such as `SIGTERM`.
        HostSignal = "host-signal",
        /// A person at its window, who closed it for one.
        HostUi = "host-ui",
        /// The guest shut itself down.
        GuestShutdown = "guest-shutdown",
        /// The guest rebooted; with `-no-reboot` that shuts down.
        GuestReset = "guest-reset",
        /// The guest panicked, and the panic action shuts down.
        GuestPanic = "guest-panic",
        /// A part of an s390 machine is reset, as when another kernel takes over.
        SubsystemReset = "subsystem-reset",
        /// A snapshot is loaded for a replay, since QEMU 7.2; never seen in an event.
        SnapshotLoad = "snapshot-load",
    }
}

choice! {
    /// What QEMU does when a watchdog expires (`WatchdogAction`; up to QEMU 2.10 `WatchdogExpirationAction`).
    WatchdogAction {
        /// The machine is reset: a `RESET` follows.
        Reset = "reset",
        /// The guest is asked to shut down, as with a power button.
        Shutdown = "shutdown",
        /// QEMU ends: a `SHUTDOWN` follows.
        Poweroff = "poweroff",
        /// The guest is paused: a `STOP` follows.
        Pause = "pause",
        /// QEMU prints a line, and the guest runs on.
        Debug = "debug",
        /// Nothing.
        None = "none",
        /// The guest gets a non-maskable interrupt, since QEMU 2.4.
        InjectNmi = "inject-nmi",
    }
}

event! {
    /// The machine shuts down: QEMU is about to end, or with `-no-shutdown` to pause it.
    #[derive(Default)]
    Shutdown = "SHUTDOWN", since "0.12" {
        /// Whether the guest wanted it, not the host.
        guest: Option<bool>, since "2.10";
        /// Why.
        reason: Option<ShutdownCause>, since "4.0";
    }
}

event! {
    /// The machine was reset.
    #[derive(Default)]
    Reset = "RESET", since "0.12" {
        /// Whether the guest wanted it, not the host.
        guest: Option<bool>, since "2.10";
        /// Why.
        reason: Option<ShutdownCause>, since "4.0";
    }
}

event! {
    /// Somebody asked the guest to shut down, as with a power button.
    Powerdown = "POWERDOWN", since "0.12";
}

event! {
    /// The machine was stopped: by command, by an error, by a panic, for a migration.
    Stop = "STOP", since "0.12";
}

event! {
    /// The machine goes on after a stop.
    Resume = "RESUME", since "0.13";
}

event! {
    /// The guest went to sleep, its memory kept (S3).
    Suspend = "SUSPEND", since "1.1";
}

event! {
    /// The guest went to sleep, its memory saved to its disk (S4). A `SHUTDOWN` may follow.
    SuspendDisk = "SUSPEND_DISK", since "1.2";
}

event! {
    /// The guest woke up from sleep (S3).
    Wakeup = "WAKEUP", since "1.1";
}

event! {
    /// The watchdog device expired: nothing in the guest fed it in time.
    ///
    /// At most one a second.
    Watchdog = "WATCHDOG", since "0.13" {
        /// What QEMU does about it.
        action: WatchdogAction;
    }
}

event! {
    /// The guest panicked and has a crash kernel loaded, which will save its memory.
    GuestCrashloaded = "GUEST_CRASHLOADED", since "5.0" {
        /// What QEMU did about it: it lets the guest run.
        action: PanicAction;
        /// What the guest told about its panic.
        info: Option<GuestPanicInformation>;
    }
}

event! {
    /// The guest asked its panic device (pvpanic) to shut it down.
    GuestPvshutdown = "GUEST_PVSHUTDOWN", since "9.1";
}

event! {
    /// The machine stopped at a breakpoint or watchpoint of a debugger.
    Debug = "DEBUG", since "0.12", until "0.12";
}

by_name!(PanicAction);

impl Wire for GuestPanicInformation {
    fn read(
        fields: Fields,
        scanner: &mut Scanner<'_>,
        member: &'static str,
    ) -> Result<GuestPanicInformation, EventError> {
        any_object(fields, scanner, member).map(GuestPanicInformation::from_object)
    }

    fn value(&self) -> Value {
        self.to_object().into()
    }
}
