//! The guest's memory: the events of QEMU's `machine` and `run-state` that are about it, but for the balloon's, which has a
//! [file of its own](super::balloon_change).

use super::schema::{choice, event, object};

choice! {
    /// Whose memory broke (`MemoryFailureRecipient`).
    MemoryFailureRecipient {
        /// QEMU's own.
        Hypervisor = "hypervisor",
        /// The guest's.
        Guest = "guest",
    }
}

choice! {
    /// What QEMU did about broken memory (`MemoryFailureAction`).
    MemoryFailureAction {
        /// Nothing: nobody needed it.
        Ignore = "ignore",
        /// The guest was told by a machine check, and deals with it.
        Inject = "inject",
        /// QEMU ends: it was its own memory, and was needed.
        Fatal = "fatal",
        /// The guest is reset, because it can not deal with it.
        Reset = "reset",
    }
}

object! {
    /// More about broken memory.
    MemoryFailureFlags {
        /// Whether something had to be done at once, because the memory was being used; else it was found by a search.
        action_required = "action-required": bool;
        /// Whether it broke while a failure before it was still being dealt with.
        recursive: bool;
    }
}

event! {
    /// The host found a page of memory broken (a machine check), and QEMU dealt with it.
    MemoryFailure = "MEMORY_FAILURE", since "5.2" {
        /// Whose memory it was.
        recipient: MemoryFailureRecipient;
        /// What QEMU did.
        action: MemoryFailureAction;
        /// More about it.
        flags: MemoryFailureFlags;
    }
}

event! {
    /// A memory device, virtio-mem for one, has another size than before.
    ///
    /// At most one a second for each `qom-path`; before QEMU 6.2, for all memory devices together.
    MemoryDeviceSizeChange = "MEMORY_DEVICE_SIZE_CHANGE", since "5.1" {
        /// The id of the device, if it has one.
        id: Option<Box<str>>;
        /// How much memory it gives the guest now, in bytes.
        size: u64;
        /// Its QOM path.
        qom_path = "qom-path": Option<Box<str>>, since "6.2";
    }
}

event! {
    /// The guest's Hyper-V balloon driver reports how the guest uses its memory.
    ///
    /// At most one a second.
    HvBalloonStatusReport = "HV_BALLOON_STATUS_REPORT", since "8.2" {
        /// How much memory the guest has promised to its programs, in bytes.
        committed: u64;
        /// How much memory the guest has left, in bytes.
        available: u64;
    }
}

event! {
    /// Memory could not be unplugged. [`DeviceUnplugGuestError`](super::DeviceUnplugGuestError) took its place.
    MemUnplugError = "MEM_UNPLUG_ERROR", since "2.4", until "9.0" {
        /// The id of the device.
        device: Box<str>;
        /// Why, for people.
        msg: Box<str>;
    }
}
