//! The machine and its monitor: the events of QEMU's `misc`, `dump` and `machine-s390x`.

use super::schema::{choice, event, object};
use crate::json::Value;

choice! {
    /// How an s390 guest wants CPU time distributed among its CPUs (`S390CpuPolarization`; in QEMU 8.2 to 9.1
    /// `CpuS390Polarization`).
    S390CpuPolarization {
        /// All alike.
        Horizontal = "horizontal",
        /// More to some than to others.
        Vertical = "vertical",
    }
}

choice! {
    /// What became of a dump of the guest's memory (`DumpStatus`).
    DumpStatus {
        /// There was none yet.
        None = "none",
        /// It is being written.
        Active = "active",
        /// It is written.
        Completed = "completed",
        /// It failed.
        Failed = "failed",
    }
}

choice! {
    /// Why a command was dropped (`CommandDropReason`).
    CommandDropReason {
        /// Too many commands were waiting.
        QueueFull = "queue-full",
    }
}

object! {
    /// How far a dump of the guest's memory is: what `query-dump` gives.
    DumpQueryResult {
        /// What became of it.
        status: DumpStatus;
        /// How much is written, in bytes.
        completed: i64;
        /// How much there is to write, in bytes.
        total: i64;
    }
}

event! {
    /// A dump of the guest's memory (`dump-guest-memory` with `detach`) is over.
    DumpCompleted = "DUMP_COMPLETED", since "2.6" {
        /// How it went.
        result: DumpQueryResult;
        /// Why it failed, for people only. Absent when it went well.
        error: Option<Box<str>>;
    }
}

event! {
    /// The guest set its real-time clock.
    ///
    /// At most one a second.
    RtcChange = "RTC_CHANGE", since "0.13" {
        /// How far it is now from where `-rtc base` had it, in seconds.
        offset: i64;
        /// The QOM path of the clock.
        qom_path = "qom-path": Option<Box<str>>, since "7.0";
    }
}

event! {
    /// An s390 guest asked for another distribution of CPU time among its CPUs.
    CpuPolarizationChange = "CPU_POLARIZATION_CHANGE", since "8.2" {
        /// The one that it asked for.
        polarization: S390CpuPolarization;
    }
}

event! {
    /// An s390 guest told its system's name, type and level, which can now be asked for.
    SclpCpiInfoAvailable = "SCLP_CPI_INFO_AVAILABLE", since "10.2";
}

event! {
    /// A command was dropped because too many were waiting, in the first form of out-of-band execution. It gets no reply.
    CommandDropped = "COMMAND_DROPPED", since "2.12", until "3.1" {
        /// The `id` of the command: whatever its client gave it.
        id: Value;
        /// Why.
        reason: CommandDropReason;
    }
}
