//! The table of severities and sentences for every event but the five. How to read it: see [`super::rest`].

use super::rest::{Case, Rule};
use crate::severity::Severity::{self, Critical, Debug, Error, Info, Notice, Warning};

const fn rule(event: &'static str, cases: &'static [Case]) -> Rule {
    Rule { event, cases }
}

/// What is said when no case before it holds.
const fn always(severity: Severity, sentence: &'static str) -> Case {
    Case { when: "", severity, sentence }
}

/// What is said when the condition holds.
const fn when(when: &'static str, severity: Severity, sentence: &'static str) -> Case {
    Case { when, severity, sentence }
}

/// Sorted by event.
pub(super) static RULES: &[Rule] = &[
    rule("BLOCK_EXPORT_DELETED", &[always(Info, "block export {id} is gone")]),
    rule(
        "BLOCK_IMAGE_CORRUPTED",
        &[
            when(
                "fatal=true",
                Critical,
                "image of {device|node-name} is corrupt and unusable: {msg:text}[, {size:size} at byte {offset}]",
            ),
            always(Error, "image of {device|node-name} is corrupt: {msg:text}[, {size:size} at byte {offset}]"),
        ],
    ),
    rule(
        "BLOCK_IO_ERROR",
        &[
            // Nothing moves until somebody makes room and says cont.
            when(
                "action=stop",
                Critical,
                "disk {device|node-name|qom-path}: {operation} failed[ ({reason:text})]; the guest is paused",
            ),
            when(
                "action=ignore",
                Warning,
                "disk {device|node-name|qom-path}: {operation} failed[ ({reason:text})]; the error is ignored",
            ),
            when(
                "action=report",
                Error,
                "disk {device|node-name|qom-path}: {operation} failed[ ({reason:text})]; the guest is told",
            ),
            always(Error, "disk {device|node-name|qom-path}: {operation} failed[ ({reason:text})]"),
        ],
    ),
    rule(
        "BLOCK_JOB_CANCELLED",
        &[always(Notice, "{type} job {device} was cancelled[ at {offset:size} of {len:size}]")],
    ),
    rule(
        "BLOCK_JOB_COMPLETED",
        &[
            when("error", Error, "{type} job {device} failed: {error:text}"),
            always(Info, "{type} job {device} is completed[: {len:size}]"),
        ],
    ),
    rule(
        "BLOCK_JOB_ERROR",
        &[
            when("action=ignore", Warning, "job {device}: {operation} failed; the error is ignored"),
            when("action=stop", Error, "job {device}: {operation} failed; the job is paused"),
            always(Error, "job {device}: {operation} failed; the job ends"),
        ],
    ),
    rule("BLOCK_JOB_PENDING", &[always(Notice, "{type} job {id} waits to be finalized")]),
    rule("BLOCK_JOB_READY", &[always(Info, "{type} job {device} is ready to be completed")]),
    rule(
        "BLOCK_WRITE_THRESHOLD",
        &[always(
            Warning,
            "node {node-name} was written {amount-exceeded:size} past its threshold of {write-threshold:size}",
        )],
    ),
    rule(
        "COLO_EXIT",
        &[
            when("reason=error", Error, "COLO ended on the {mode} side because of an error"),
            always(Notice, "COLO ended on the {mode} side[: {reason}]"),
        ],
    ),
    rule("COMMAND_DROPPED", &[always(Warning, "QEMU dropped command {id}[: {reason}]")]),
    rule("CPU_POLARIZATION_CHANGE", &[always(Info, "guest asked for {polarization} CPU polarization")]),
    rule("DEBUG", &[always(Notice, "guest was stopped for a debugger")]),
    rule("DEVICE_DELETED", &[always(Info, "device {device|path} is gone")]),
    rule(
        "DEVICE_TRAY_MOVED",
        &[
            when("tray-open=true", Info, "tray of {device|id} is open"),
            when("tray-open=false", Info, "tray of {device|id} is closed"),
            always(Info, "tray of {device|id} moved"),
        ],
    ),
    rule("DEVICE_UNPLUG_GUEST_ERROR", &[always(Warning, "guest refused to release device {device|path}")]),
    rule(
        "DUMP_COMPLETED",
        &[
            when("error", Error, "dump of the guest's memory failed: {error:text}"),
            when("result.status=failed", Error, "dump of the guest's memory failed"),
            always(Info, "dump of the guest's memory is completed[: {result.completed:size}]"),
        ],
    ),
    rule("FAILOVER_NEGOTIATED", &[always(Info, "guest agreed to failover for network device {device-id}")]),
    rule(
        "GUEST_CRASHLOADED",
        &[
            // The guest saves its own memory now; the service in it is gone all the same.
            when("action=pause", Critical, "guest kernel panicked with a crash kernel loaded; QEMU paused it"),
            when("action=poweroff", Critical, "guest kernel panicked with a crash kernel loaded; QEMU powered it off"),
            always(Critical, "guest kernel panicked; its crash kernel runs"),
        ],
    ),
    rule("GUEST_PVSHUTDOWN", &[always(Notice, "guest asked to be shut down through its panic device")]),
    rule("HV_BALLOON_STATUS_REPORT", &[always(Debug, "guest uses {committed:size} and has {available:size} to spare")]),
    rule(
        "JOB_STATUS_CHANGE",
        &[
            when("status=aborting", Notice, "job {id} failed or was cancelled: it is aborting"),
            always(Debug, "job {id} is {status}"),
        ],
    ),
    rule("MEMORY_DEVICE_SIZE_CHANGE", &[always(Info, "memory device {id|qom-path} has {size:size} now")]),
    rule(
        "MEMORY_FAILURE",
        &[
            when("action=ignore", Warning, "memory of the {recipient} is broken; QEMU ignores it"),
            when("action=inject", Error, "memory of the {recipient} is broken; the guest is told"),
            when("action=fatal", Critical, "memory of the {recipient} is broken; QEMU cannot go on"),
            when("action=reset", Critical, "memory of the {recipient} is broken; the guest is reset"),
            always(Error, "memory of the {recipient} is broken"),
        ],
    ),
    rule("MEM_UNPLUG_ERROR", &[always(Warning, "guest refused to release memory {device}[: {msg:text}]")]),
    rule(
        "MIGRATION",
        &[
            when("status=failed", Error, "migration failed"),
            // The guest stands on one host, half of its memory on another.
            when("status=postcopy-paused", Critical, "migration broke off: the guest waits for its memory"),
            when("status=completed", Notice, "migration is completed"),
            when("status=cancelling|cancelled", Notice, "migration is {status}"),
            when("status=none", Debug, "migration: {status}"),
            always(Info, "migration: {status}"),
        ],
    ),
    rule("MIGRATION_PASS", &[always(Debug, "migration goes over the guest's memory, pass {pass}")]),
    rule(
        "NETDEV_STREAM_CONNECTED",
        &[always(
            Info,
            "network backend {netdev-id} is connected[ to {addr.path|addr.host|addr.cid|addr.str}][, port {addr.port}]",
        )],
    ),
    rule("NETDEV_STREAM_DISCONNECTED", &[always(Warning, "network backend {netdev-id} lost its connection")]),
    rule(
        "NETDEV_VHOST_USER_CONNECTED",
        &[always(Info, "network backend {netdev-id} is connected[ through {chardev-id}]")],
    ),
    rule("NETDEV_VHOST_USER_DISCONNECTED", &[always(Warning, "network backend {netdev-id} lost its connection")]),
    rule("NIC_RX_FILTER_CHANGED", &[always(Debug, "guest changed which packets {name|path} receives")]),
    rule("POWERDOWN", &[always(Notice, "guest was asked to shut down")]),
    rule(
        "PR_MANAGER_STATUS_CHANGED",
        &[
            when("connected=true", Info, "persistent reservation helper {id} is connected"),
            always(Warning, "persistent reservation helper {id} lost its connection"),
        ],
    ),
    rule("RDMA_GID_STATUS_CHANGED", &[always(Info, "an RDMA address of {netdev} changed")]),
    rule(
        "RESET",
        &[
            when("reason=guest-reset", Notice, "guest rebooted"),
            when("reason=host-qmp-system-reset|host-ui", Notice, "guest was reset from outside"),
            when("reason=guest-panic", Critical, "guest was reset: it panicked"),
            when("reason=snapshot-load", Notice, "guest was reset to load a snapshot"),
            when("reason=host-error", Error, "guest was reset: an error on the host"),
            always(Notice, "guest was reset[: {reason}]"),
        ],
    ),
    rule("RESUME", &[always(Info, "guest is running")]),
    rule("RTC_CHANGE", &[always(Debug, "guest set its clock: {offset} s from its base")]),
    rule("SCLP_CPI_INFO_AVAILABLE", &[always(Info, "guest told its system's name and type")]),
    rule(
        "SHUTDOWN",
        &[
            when("reason=guest-shutdown", Notice, "guest shut itself down"),
            when("reason=guest-reset", Notice, "machine shuts down instead of rebooting"),
            when("reason=guest-panic", Critical, "machine shuts down: its guest panicked"),
            when("reason=host-error", Critical, "machine shuts down: an error on the host"),
            when("reason=host-qmp-quit", Notice, "QEMU was told to quit"),
            when("reason=host-signal", Notice, "QEMU was told to quit by a signal"),
            when("reason=host-ui", Notice, "QEMU was told to quit from its window"),
            always(Notice, "machine shuts down[: {reason}]"),
        ],
    ),
    rule("SPICE_CONNECTED", &[always(Info, "SPICE client connected[ from {client.host}][, port {client.port}]")]),
    rule("SPICE_DISCONNECTED", &[always(Info, "SPICE client disconnected[ from {client.host}][, port {client.port}]")]),
    rule("SPICE_INITIALIZED", &[always(Info, "SPICE channel set up[ from {client.host}][, port {client.port}]")]),
    rule("SPICE_MIGRATE_COMPLETED", &[always(Info, "SPICE client moved along with the migration")]),
    rule("STOP", &[always(Notice, "guest was paused")]),
    rule("SUSPEND", &[always(Notice, "guest sleeps (suspended to memory)")]),
    rule("SUSPEND_DISK", &[always(Notice, "guest sleeps (suspended to disk)")]),
    rule("UNPLUG_PRIMARY", &[always(Info, "guest was asked to release network device {device-id} for a migration")]),
    rule("VFIO_MIGRATION", &[always(Debug, "device {device-id|qom-path} is in migration state {device-state}")]),
    rule("VFU_CLIENT_HANGUP", &[always(Warning, "client of emulated device {dev-id|dev-qom-path} hung up")]),
    rule("VNC_CONNECTED", &[always(Info, "VNC client connected[ from {client.host}][, port {client.service}]")]),
    rule("VNC_DISCONNECTED", &[always(Info, "VNC client disconnected[ from {client.host}][, port {client.service}]")]),
    rule("VNC_INITIALIZED", &[always(Info, "VNC session set up[ from {client.host}][, port {client.service}]")]),
    rule(
        "VSERPORT_CHANGE",
        &[
            when("open=true", Info, "guest opened port {id}"),
            when("open=false", Info, "guest closed port {id}"),
            always(Info, "guest opened or closed port {id}"),
        ],
    ),
    rule("WAKEUP", &[always(Info, "guest woke up")]),
    rule(
        "WATCHDOG",
        &[
            when("action=reset", Error, "watchdog expired: the guest hangs; QEMU resets it"),
            when("action=inject-nmi", Error, "watchdog expired: the guest hangs; QEMU sends it an NMI"),
            // From here on nobody serves until somebody acts.
            when("action=shutdown", Critical, "watchdog expired: the guest hangs; QEMU asks it to shut down"),
            when("action=poweroff", Critical, "watchdog expired: the guest hangs; QEMU powers it off"),
            when("action=pause", Critical, "watchdog expired: the guest hangs; QEMU paused it"),
            when("action=debug", Warning, "watchdog expired: the guest hangs; QEMU only says so"),
            when("action=none", Warning, "watchdog expired: the guest hangs; QEMU does nothing"),
            always(Error, "watchdog expired: the guest hangs[; QEMU's action: {action}]"),
        ],
    ),
];
