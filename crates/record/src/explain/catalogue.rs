//! The facts about every event but the document's five: since when, until when, what it carries, how it is throttled.
//!
//! Read from QEMU's releases up to 10.2: when an event or a member was first and last really on the wire.

use super::{Explanation, member};

/// Sorted by name.
pub(super) static REST: &[Explanation] = &[
    Explanation::new(
        "BLOCK_EXPORT_DELETED",
        "5.2",
        "a block export (NBD, vhost-user, FUSE, …) is gone and its id is free again",
        &[member("id", "str")],
    ),
    Explanation::new(
        "BLOCK_IMAGE_CORRUPTED",
        "1.7",
        "an image format driver finds that an image contradicts itself; when fatal, the image is not used any further",
        &[
            member("device", "str"),
            member("node-name", "str").optional().since("2.4"),
            member("msg", "str"),
            member("offset", "int").optional().unit("bytes"),
            member("size", "int").optional().unit("bytes"),
            member("fatal", "bool").since("2.2"),
        ],
    ),
    Explanation::new(
        "BLOCK_IO_ERROR",
        "0.13",
        "a read or write that the guest asked a disk for failed",
        &[
            member("qom-path", "str").since("9.2"),
            member("device", "str"),
            member("node-name", "str").optional().since("2.8"),
            member("operation", "IoOperationType"),
            member("action", "BlockErrorAction"),
            member("nospace", "bool").optional().since("2.2"),
            member("reason", "str").since("2.2"),
        ],
    )
    .throttled("9.2", Some("qom-path")),
    Explanation::new(
        "BLOCK_JOB_CANCELLED",
        "1.1",
        "a block job was cancelled",
        &[
            member("type", "JobType"),
            member("device", "str"),
            member("len", "int").unit("bytes"),
            member("offset", "int").unit("bytes"),
            member("speed", "int").unit("bytes a second"),
        ],
    ),
    Explanation::new(
        "BLOCK_JOB_COMPLETED",
        "1.1",
        "a block job is over, well or with an error",
        &[
            member("type", "JobType"),
            member("device", "str"),
            member("len", "int").unit("bytes"),
            member("offset", "int").unit("bytes"),
            member("speed", "int").unit("bytes a second"),
            member("error", "str").optional(),
        ],
    ),
    Explanation::new(
        "BLOCK_JOB_ERROR",
        "1.3",
        "a read or write of a block job failed",
        &[member("device", "str"), member("operation", "IoOperationType"), member("action", "BlockErrorAction")],
    ),
    Explanation::new(
        "BLOCK_JOB_PENDING",
        "2.12",
        "a block job with manual finalization has done its work and waits for job-finalize",
        &[member("type", "JobType"), member("id", "str")],
    ),
    Explanation::new(
        "BLOCK_JOB_READY",
        "1.3",
        "a mirror job caught up and can be completed",
        &[
            member("type", "JobType"),
            member("device", "str"),
            member("len", "int").unit("bytes"),
            member("offset", "int").unit("bytes"),
            member("speed", "int").unit("bytes a second"),
        ],
    ),
    Explanation::new(
        "BLOCK_WRITE_THRESHOLD",
        "2.3",
        "a write went past the offset that block-set-write-threshold set, which thereby is used up",
        &[
            member("node-name", "str"),
            member("amount-exceeded", "uint64").unit("bytes"),
            member("write-threshold", "uint64").unit("bytes"),
        ],
    ),
    Explanation::new(
        "COLO_EXIT",
        "3.1",
        "COLO, the lockstep with a second machine, ended on this side",
        &[member("mode", "COLOMode"), member("reason", "COLOExitReason")],
    ),
    Explanation::new(
        "COMMAND_DROPPED",
        "2.12",
        "a command was dropped from a full queue, in the first form of out-of-band execution",
        &[member("id", "any"), member("reason", "CommandDropReason")],
    )
    .until("3.1"),
    Explanation::new(
        "CPU_POLARIZATION_CHANGE",
        "8.2",
        "an s390 guest asked for another distribution of CPU time among its CPUs",
        &[member("polarization", "S390CpuPolarization")],
    ),
    Explanation::new("DEBUG", "0.12", "the machine stopped at a breakpoint or watchpoint of a debugger", &[])
        .until("0.12"),
    Explanation::new(
        "DEVICE_DELETED",
        "1.5",
        "a device is gone, after device_del or because the guest let it go; its id is free again",
        &[member("device", "str").optional(), member("path", "str")],
    ),
    Explanation::new(
        "DEVICE_TRAY_MOVED",
        "1.1",
        "the tray of a removable device opened or closed, by command or by the guest",
        &[member("device", "str"), member("id", "str").since("2.8"), member("tray-open", "bool")],
    ),
    Explanation::new(
        "DEVICE_UNPLUG_GUEST_ERROR",
        "6.2",
        "the guest told that it does not let a device go",
        &[member("device", "str").optional(), member("path", "str")],
    ),
    Explanation::new(
        "DUMP_COMPLETED",
        "2.6",
        "a dump-guest-memory that was started with detach is over",
        &[member("result", "DumpQueryResult"), member("error", "str").optional()],
    ),
    Explanation::new(
        "FAILOVER_NEGOTIATED",
        "4.2",
        "the guest's virtio-net driver agreed to stand in for a passed-through device",
        &[member("device-id", "str")],
    ),
    Explanation::new(
        "GUEST_CRASHLOADED",
        "5.0",
        "the guest panicked and has a crash kernel loaded, which will save its memory",
        &[member("action", "GuestPanicAction"), member("info", "GuestPanicInformation").optional()],
    ),
    Explanation::new("GUEST_PVSHUTDOWN", "9.1", "the guest asks its panic device (pvpanic) to shut it down", &[]),
    Explanation::new(
        "HV_BALLOON_STATUS_REPORT",
        "8.2",
        "the guest's Hyper-V balloon driver reports how its memory is used",
        &[member("committed", "size").unit("bytes"), member("available", "size").unit("bytes")],
    )
    .throttled("8.2", None),
    Explanation::new(
        "JOB_STATUS_CHANGE",
        "3.0",
        "a job went from one state to the next",
        &[member("id", "str"), member("status", "JobStatus")],
    ),
    Explanation::new(
        "MEMORY_DEVICE_SIZE_CHANGE",
        "5.1",
        "a memory device, virtio-mem for one, has another size than before",
        &[member("id", "str").optional(), member("size", "size").unit("bytes"), member("qom-path", "str").since("6.2")],
    )
    .throttled("5.1", Some("qom-path, since 6.2")),
    Explanation::new(
        "MEMORY_FAILURE",
        "5.2",
        "the host found a page of memory broken (a machine check) and QEMU dealt with it",
        &[
            member("recipient", "MemoryFailureRecipient"),
            member("action", "MemoryFailureAction"),
            member("flags", "MemoryFailureFlags"),
        ],
    ),
    Explanation::new(
        "MEM_UNPLUG_ERROR",
        "2.4",
        "memory could not be unplugged; DEVICE_UNPLUG_GUEST_ERROR took its place",
        &[member("device", "str"), member("msg", "str")],
    )
    .until("9.0"),
    Explanation::new(
        "MIGRATION",
        "2.4",
        "a migration went into another state; sent only with the migration capability events",
        &[member("status", "MigrationStatus")],
    ),
    Explanation::new(
        "MIGRATION_PASS",
        "2.6",
        "a migration starts over the guest's memory once more; sent only with the migration capability events",
        &[member("pass", "int")],
    ),
    Explanation::new(
        "NETDEV_STREAM_CONNECTED",
        "7.2",
        "a stream network backend got its connection",
        &[member("netdev-id", "str"), member("addr", "SocketAddress")],
    ),
    Explanation::new(
        "NETDEV_STREAM_DISCONNECTED",
        "7.2",
        "a stream network backend lost its connection",
        &[member("netdev-id", "str")],
    ),
    Explanation::new(
        "NETDEV_VHOST_USER_CONNECTED",
        "10.0",
        "a vhost-user network backend got its connection",
        &[member("netdev-id", "str"), member("chardev-id", "str")],
    ),
    Explanation::new(
        "NETDEV_VHOST_USER_DISCONNECTED",
        "10.0",
        "a vhost-user network backend lost its connection",
        &[member("netdev-id", "str")],
    ),
    Explanation::new(
        "NIC_RX_FILTER_CHANGED",
        "1.6",
        "the guest changed a network card's receive filter; not sent again before query-rx-filter was asked",
        &[member("name", "str").optional(), member("path", "str")],
    ),
    Explanation::new("POWERDOWN", "0.12", "somebody asked the guest to shut down, as with a power button", &[]),
    Explanation::new(
        "PR_MANAGER_STATUS_CHANGED",
        "3.0",
        "the connection to the helper for SCSI persistent reservations came or went",
        &[member("id", "str"), member("connected", "bool")],
    ),
    Explanation::new(
        "RDMA_GID_STATUS_CHANGED",
        "4.0",
        "an address of a paravirtual RDMA device came or went",
        &[
            member("netdev", "str"),
            member("gid-status", "bool"),
            member("subnet-prefix", "uint64"),
            member("interface-id", "uint64"),
        ],
    )
    .until("9.0"),
    Explanation::new(
        "RESET",
        "0.12",
        "the machine was reset, by the guest or from outside",
        &[member("guest", "bool").since("2.10"), member("reason", "ShutdownCause").since("4.0")],
    ),
    Explanation::new("RESUME", "0.13", "the machine goes on after a stop", &[]),
    Explanation::new(
        "RTC_CHANGE",
        "0.13",
        "the guest set its real-time clock",
        &[member("offset", "int").unit("seconds"), member("qom-path", "str").since("7.0")],
    )
    .throttled("1.2", None),
    Explanation::new(
        "SCLP_CPI_INFO_AVAILABLE",
        "10.2",
        "an s390 guest told its system's name, type and level, which can now be asked for",
        &[],
    ),
    Explanation::new(
        "SHUTDOWN",
        "0.12",
        "the machine shuts down: QEMU is about to end, or with -no-shutdown to pause it",
        &[member("guest", "bool").since("2.10"), member("reason", "ShutdownCause").since("4.0")],
    ),
    Explanation::new(
        "SPICE_CONNECTED",
        "0.14",
        "a SPICE client connected",
        &[member("server", "SpiceBasicInfo"), member("client", "SpiceBasicInfo")],
    ),
    Explanation::new(
        "SPICE_DISCONNECTED",
        "0.14",
        "a SPICE client disconnected",
        &[member("server", "SpiceBasicInfo"), member("client", "SpiceBasicInfo")],
    ),
    Explanation::new(
        "SPICE_INITIALIZED",
        "0.14",
        "a SPICE channel was set up, after authentication if there is any",
        &[member("server", "SpiceServerInfo"), member("client", "SpiceChannel")],
    ),
    Explanation::new("SPICE_MIGRATE_COMPLETED", "1.3", "the SPICE clients were moved along with a migration", &[]),
    Explanation::new(
        "STOP",
        "0.12",
        "the machine was stopped: by command, by an error, by a panic, for a migration",
        &[],
    ),
    Explanation::new("SUSPEND", "1.1", "the guest went to sleep, its memory kept (S3)", &[]),
    Explanation::new(
        "SUSPEND_DISK",
        "1.2",
        "the guest went to sleep, its memory saved to its disk (S4); a SHUTDOWN may follow",
        &[],
    ),
    Explanation::new(
        "UNPLUG_PRIMARY",
        "4.2",
        "a migration asked the guest to let go of the passed-through half of a failover pair",
        &[member("device-id", "str")],
    ),
    Explanation::new(
        "VFIO_MIGRATION",
        "9.1",
        "a VFIO device went into another migration state; sent only when its migration events are switched on",
        &[member("device-id", "str"), member("qom-path", "str"), member("device-state", "QapiVfioMigrationState")],
    ),
    Explanation::new(
        "VFU_CLIENT_HANGUP",
        "7.1",
        "the client of a device that QEMU serves by vfio-user hung up",
        &[
            member("vfu-id", "str"),
            member("vfu-qom-path", "str"),
            member("dev-id", "str"),
            member("dev-qom-path", "str"),
        ],
    ),
    Explanation::new(
        "VNC_CONNECTED",
        "0.13",
        "a VNC client connected, not yet authenticated",
        &[member("server", "VncServerInfo"), member("client", "VncBasicInfo")],
    ),
    Explanation::new(
        "VNC_DISCONNECTED",
        "0.13",
        "a VNC client disconnected",
        &[member("server", "VncServerInfo"), member("client", "VncClientInfo")],
    ),
    Explanation::new(
        "VNC_INITIALIZED",
        "0.13",
        "a VNC client is through with authentication and has its session",
        &[member("server", "VncServerInfo"), member("client", "VncClientInfo")],
    ),
    Explanation::new(
        "VSERPORT_CHANGE",
        "2.1",
        "a program in the guest opened or closed a virtio-serial port, as the guest agent does",
        &[member("id", "str"), member("open", "bool")],
    )
    .throttled("2.1", Some("id, since 2.5")),
    Explanation::new("WAKEUP", "1.1", "the guest woke up from sleep (S3)", &[]),
    Explanation::new(
        "WATCHDOG",
        "0.13",
        "the watchdog device expired: nothing in the guest fed it in time",
        &[member("action", "WatchdogAction")],
    )
    .throttled("1.2", None),
];
