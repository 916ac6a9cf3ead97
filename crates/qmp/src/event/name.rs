//! The names of events: those that QEMU ever sent cost nothing to carry, any other is carried too.

use std::borrow::Cow;
use std::fmt;

/// The name of an event, as QEMU spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Cow<'static, str>);

/// Every name that a QEMU from 0.12 to 10.2 sent, sorted.
pub const ALL: &[&str] = &[
    "ACPI_DEVICE_OST",
    "BALLOON_CHANGE",
    "BLOCK_EXPORT_DELETED",
    "BLOCK_IMAGE_CORRUPTED",
    "BLOCK_IO_ERROR",
    "BLOCK_JOB_CANCELLED",
    "BLOCK_JOB_COMPLETED",
    "BLOCK_JOB_ERROR",
    "BLOCK_JOB_PENDING",
    "BLOCK_JOB_READY",
    "BLOCK_WRITE_THRESHOLD",
    "COLO_EXIT",
    "COMMAND_DROPPED",
    "CPU_POLARIZATION_CHANGE",
    "DEBUG",
    "DEVICE_DELETED",
    "DEVICE_TRAY_MOVED",
    "DEVICE_UNPLUG_GUEST_ERROR",
    "DUMP_COMPLETED",
    "FAILOVER_NEGOTIATED",
    "GUEST_CRASHLOADED",
    "GUEST_PANICKED",
    "GUEST_PVSHUTDOWN",
    "HV_BALLOON_STATUS_REPORT",
    "JOB_STATUS_CHANGE",
    "MEMORY_DEVICE_SIZE_CHANGE",
    "MEMORY_FAILURE",
    "MEM_UNPLUG_ERROR",
    "MIGRATION",
    "MIGRATION_PASS",
    "NETDEV_STREAM_CONNECTED",
    "NETDEV_STREAM_DISCONNECTED",
    "NETDEV_VHOST_USER_CONNECTED",
    "NETDEV_VHOST_USER_DISCONNECTED",
    "NIC_RX_FILTER_CHANGED",
    "POWERDOWN",
    "PR_MANAGER_STATUS_CHANGED",
    "QUORUM_FAILURE",
    "QUORUM_REPORT_BAD",
    "RDMA_GID_STATUS_CHANGED",
    "RESET",
    "RESUME",
    "RTC_CHANGE",
    "SCLP_CPI_INFO_AVAILABLE",
    "SHUTDOWN",
    "SPICE_CONNECTED",
    "SPICE_DISCONNECTED",
    "SPICE_INITIALIZED",
    "SPICE_MIGRATE_COMPLETED",
    "STOP",
    "SUSPEND",
    "SUSPEND_DISK",
    "UNPLUG_PRIMARY",
    "VFIO_MIGRATION",
    "VFU_CLIENT_HANGUP",
    "VNC_CONNECTED",
    "VNC_DISCONNECTED",
    "VNC_INITIALIZED",
    "VSERPORT_CHANGE",
    "WAKEUP",
    "WATCHDOG",
];

/// The five that the document describes, in its order.
pub const OF_THE_DOCUMENT: [&str; 5] =
    ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"];

impl EventName {
    /// The name as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a QEMU up to 10.2 sends, or sent, an event of this name.
    pub fn is_known(&self) -> bool {
        known(&self.0).is_some()
    }
}

impl EventName {
    /// The name of an event that has a type: nothing need be looked up.
    pub(super) const fn of_type(name: &'static str) -> EventName {
        EventName(Cow::Borrowed(name))
    }
}

fn known(name: &str) -> Option<&'static str> {
    let at = ALL.binary_search(&name).ok()?;
    ALL.get(at).copied()
}

impl From<&str> for EventName {
    fn from(name: &str) -> EventName {
        EventName(match known(name) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(name.to_owned()),
        })
    }
}

impl PartialEq<str> for EventName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for EventName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_or_names_would_not_be_found_in_it() {
        assert!(ALL.is_sorted_by(|a, b| a < b));
        for name in ALL {
            assert!(EventName::from(*name).is_known(), "{name}");
        }
    }

    #[test]
    fn a_name_of_tomorrow_is_a_name() {
        let name = EventName::from("GUEST_ASCENDED");
        assert_eq!(name, "GUEST_ASCENDED");
        assert!(!name.is_known());
    }
}
