//! Moving a machine to another host: the events of QEMU's `migration` and `vfio`.

use super::schema::{choice, event};

choice! {
    /// The state of a migration (`MigrationStatus`).
    MigrationStatus {
        /// There was none yet.
        None = "none",
        /// It begins.
        Setup = "setup",
        /// It is being cancelled.
        Cancelling = "cancelling",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Memory is sent, mostly while the guest runs.
        Active = "active",
        /// The devices' state is sent, and then the guest will run on the other side without all of its memory, since
        /// QEMU 10.2.
        PostcopyDevice = "postcopy-device",
        /// The guest runs on the other side, and its memory follows, since QEMU 2.5.
        PostcopyActive = "postcopy-active",
        /// The same, but the connection is lost and the guest stands still where it needs what did not come, since QEMU
        /// 3.0.
        PostcopyPaused = "postcopy-paused",
        /// A new connection is being made for it, since QEMU 9.1.
        PostcopyRecoverSetup = "postcopy-recover-setup",
        /// The two sides agree on what is missing, since QEMU 3.0.
        PostcopyRecover = "postcopy-recover",
        /// It is over, and the guest is on the other side.
        Completed = "completed",
        /// It failed.
        Failed = "failed",
        /// The two sides run in lockstep (COLO), since QEMU 2.8.
        Colo = "colo",
        /// It waits for `migrate-continue` before the devices' state is taken, since QEMU 2.11.
        PreSwitchover = "pre-switchover",
        /// The devices' state is taken and sent, since QEMU 2.11.
        Device = "device",
        /// It waits for the guest to let go of passed-through devices, since QEMU 4.2.
        WaitUnplug = "wait-unplug",
    }
}

choice! {
    /// Which side of COLO, the lockstep of two machines, this one is (`COLOMode`).
    ColoMode {
        /// Neither.
        None = "none",
        /// The one that the world sees.
        Primary = "primary",
        /// The one that stands by.
        Secondary = "secondary",
    }
}

choice! {
    /// Why COLO ended (`COLOExitReason`).
    ColoExitReason {
        /// It did not.
        None = "none",
        /// Somebody asked for it, with `x-colo-lost-heartbeat`.
        Request = "request",
        /// Something went wrong inside.
        Error = "error",
        /// It is ending right now, since QEMU 4.0.
        Processing = "processing",
    }
}

choice! {
    /// The state of a VFIO device in a migration (`QapiVfioMigrationState`).
    VfioMigrationState {
        /// It stands still.
        Stop = "stop",
        /// It runs.
        Running = "running",
        /// It stands still, and its state can be read.
        StopCopy = "stop-copy",
        /// It stands still, and its state can be written.
        Resuming = "resuming",
        /// It runs, but leaves other devices alone.
        RunningP2p = "running-p2p",
        /// It runs, and its state can be read meanwhile.
        PreCopy = "pre-copy",
        /// It runs, but leaves other devices alone, and its state can be read meanwhile.
        PreCopyP2p = "pre-copy-p2p",
    }
}

event! {
    /// A migration went into another state.
    ///
    /// Only sent when the migration capability `events` is on.
    Migration = "MIGRATION", since "2.4" {
        /// The state that it is in now.
        status: MigrationStatus;
    }
}

event! {
    /// A migration starts over the guest's memory once more, to send what changed meanwhile.
    ///
    /// Only sent when the migration capability `events` is on.
    MigrationPass = "MIGRATION_PASS", since "2.6" {
        /// The how manieth time, counted from 1.
        pass: i64;
    }
}

event! {
    /// COLO, the lockstep with a second machine, ended on this side.
    ColoExit = "COLO_EXIT", since "3.1" {
        /// Which side this was.
        mode: ColoMode;
        /// Why.
        reason: ColoExitReason;
    }
}

event! {
    /// A migration asked the guest to let go of the passed-through half of a failover pair.
    UnplugPrimary = "UNPLUG_PRIMARY", since "4.2" {
        /// The id of the passed-through device.
        device_id = "device-id": Box<str>;
    }
}

event! {
    /// A VFIO device, which is a device of the host in the hands of the guest, went into another state.
    ///
    /// Only sent when the device's property `migration-events` is on.
    VfioMigration = "VFIO_MIGRATION", since "9.1" {
        /// The id of the device; empty if it has none.
        device_id = "device-id": Box<str>;
        /// Its QOM path.
        qom_path = "qom-path": Box<str>;
        /// The state that it is in now.
        device_state = "device-state": VfioMigrationState;
    }
}
