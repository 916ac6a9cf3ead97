//! Disks: the events of QEMU's `block-core`, `block` and `block-export`, but for its [jobs](super::job) and for the two of
//! the quorum, which have files of their own.

use super::schema::{choice, event};

choice! {
    /// What was done with a disk (`IoOperationType`).
    IoOperationType {
        /// Reading.
        Read = "read",
        /// Writing.
        Write = "write",
    }
}

choice! {
    /// What became of a failed request (`BlockErrorAction`), as `rerror` and `werror` say.
    BlockErrorAction {
        /// Nothing: as if it had gone well.
        Ignore = "ignore",
        /// The guest, or the job, was told.
        Report = "report",
        /// The guest, or the job, was paused.
        Stop = "stop",
    }
}

event! {
    /// A block export (NBD, vhost-user, FUSE, …) is gone, and its id is free again.
    BlockExportDeleted = "BLOCK_EXPORT_DELETED", since "5.2" {
        /// The id of the export.
        id: Box<str>;
    }
}

event! {
    /// The driver of an image format found that an image contradicts itself.
    BlockImageCorrupted = "BLOCK_IMAGE_CORRUPTED", since "1.7" {
        /// The name of the drive; empty if it has none.
        device: Box<str>;
        /// The name of the node.
        node_name = "node-name": Option<Box<str>>, since "2.4";
        /// What is wrong, for people.
        msg: Box<str>;
        /// Where in the image: an offset in bytes.
        offset: Option<i64>;
        /// How much of the image it is about, in bytes.
        size: Option<i64>;
        /// Whether the image can not be used any further until it is repaired. Before QEMU 2.2 it never could.
        fatal: Option<bool>, since "2.2";
    }
}

event! {
    /// A read or write that the guest asked a disk for failed.
    ///
    /// At most one a second for each `qom-path`, since QEMU 9.2; before, never throttled.
    BlockIoError = "BLOCK_IO_ERROR", since "0.13" {
        /// The QOM path of the device that the guest sees.
        qom_path = "qom-path": Option<Box<str>>, since "9.2";
        /// The name of the drive; empty if it has none.
        device: Box<str>;
        /// The name of the node. From QEMU 2.8 to 2.11 it was always there, if need be empty.
        node_name = "node-name": Option<Box<str>>, since "2.8";
        /// What the guest asked for.
        operation: IoOperationType;
        /// What became of it.
        action: BlockErrorAction;
        /// Whether there was no space left. Only there where `query-block` has an `io-status`.
        nospace: Option<bool>, since "2.2";
        /// What the host said, for people only.
        reason: Option<Box<str>>, since "2.2";
    }
}

event! {
    /// A write went past the offset that `block-set-write-threshold` set. That is used up by this, and must be set again.
    BlockWriteThreshold = "BLOCK_WRITE_THRESHOLD", since "2.3" {
        /// The name of the node.
        node_name = "node-name": Box<str>;
        /// How far past the threshold the write went, in bytes.
        amount_exceeded = "amount-exceeded": u64;
        /// The threshold that was set: an offset in the image, in bytes.
        write_threshold = "write-threshold": u64;
    }
}

event! {
    /// The tray of a removable drive opened or closed, by command or by the guest.
    DeviceTrayMoved = "DEVICE_TRAY_MOVED", since "1.1" {
        /// The name of the drive; empty if it has none.
        device: Box<str>;
        /// The id or the QOM path of the device.
        id: Option<Box<str>>, since "2.8";
        /// Whether it is open now.
        tray_open = "tray-open": bool;
    }
}

event! {
    /// The connection to the helper for SCSI persistent reservations came or went.
    PrManagerStatusChanged = "PR_MANAGER_STATUS_CHANGED", since "3.0" {
        /// The id of the `pr-manager-helper` object.
        id: Box<str>;
        /// Whether it is there now.
        connected: bool;
    }
}
