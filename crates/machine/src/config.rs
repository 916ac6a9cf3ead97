//! What a machine is made of, before it is made.

pub(crate) mod memory;
pub(crate) mod quorum;
pub(crate) mod size;
pub(crate) mod smp;
pub(crate) mod uuid;

use crate::disk::DiskConfig;
use crate::panic::PanicPolicy;
use crate::watchdog::{WatchdogModel, WatchdogPolicy};
use memory::Memory;
use qev_qmp::QemuVersion;
use quorum::QuorumConfig;
use smp::Smp;
use std::time::Duration;
use uuid::Uuid;

/// What a machine is made of.
///
/// The default is a QEMU 7.2.22 of 128 MiB with a panic device and nothing else, its guest up and running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineConfig {
    /// What `query-name` says: `-name`.
    pub name: Option<String>,
    /// What `query-uuid` says: `-uuid`.
    pub uuid: Uuid,
    /// Which QEMU it stands for: what `query-version` says, and which members its replies have.
    pub version: QemuVersion,
    /// What `query-version` gives as the package.
    pub package: String,
    /// Its memory: `-m`.
    pub memory: Memory,
    /// Its CPUs, and its slots for more: `-smp`.
    pub smp: Smp,
    /// Whether it has a balloon: `-device virtio-balloon-pci`.
    pub balloon: bool,
    /// What it does when its guest panics: `-action panic=`.
    pub panic: PanicPolicy,
    /// Whether it stays, stopped, when its guest shut down: `-no-shutdown`.
    pub no_shutdown: bool,
    /// Whether it ends where it would reset: `-no-reboot`.
    pub no_reboot: bool,
    /// Whether it waits for a `cont` before its guest boots: `-S`.
    pub paused: bool,
    /// Its watchdog: `-device i6300esb` or `ib700`.
    pub watchdog: Option<WatchdogModel>,
    /// What it does when its watchdog expires: `-action watchdog=`.
    pub watchdog_action: WatchdogPolicy,
    /// The disks that its guest sees, on its quorums: `-device virtio-blk-pci`.
    pub disks: Vec<DiskConfig>,
    /// Its quorum block nodes.
    pub quorums: Vec<QuorumConfig>,
    /// How its guest behaves.
    pub guest: GuestConfig,
}

impl Default for MachineConfig {
    fn default() -> MachineConfig {
        MachineConfig {
            name: None,
            uuid: Uuid::default(),
            version: QemuVersion::new(7, 2, 22),
            package: "qev".to_owned(),
            memory: Memory::default(),
            smp: Smp::default(),
            balloon: false,
            panic: PanicPolicy::default(),
            no_shutdown: false,
            no_reboot: false,
            paused: false,
            watchdog: None,
            watchdog_action: WatchdogPolicy::default(),
            disks: Vec::new(),
            quorums: Vec::new(),
            guest: GuestConfig::default(),
        }
    }
}

/// How a guest behaves: Linux 6.1 by default, with the times of the project's recordings of it.
///
/// The guest's socket changes most of it while the machine runs (`balloon-driver`, `dimm-driver`, `power-button`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestConfig {
    /// From the firmware's start until the guest's drivers answer. A machine that does not start paused has this behind
    /// it; it counts after a reset.
    pub boot_time: Duration,
    /// From a reset until the firmware (SeaBIOS, on q35) resets the machine once more. `None`: it does not.
    pub firmware_reset: Option<Duration>,
    /// From the power button (`system_powerdown`) until the guest is off. `None`: it does not listen to the button.
    pub powerdown: Option<Duration>,
    /// From a panic until the guest reboots (Linux with `panic=-1`). `None`: it hangs.
    pub reboot_after_panic: Option<Duration>,
}

impl Default for GuestConfig {
    fn default() -> GuestConfig {
        GuestConfig {
            boot_time: Duration::from_millis(300),
            firmware_reset: Some(Duration::from_millis(100)),
            powerdown: Some(Duration::from_millis(1_070)),
            reboot_after_panic: Some(Duration::from_millis(4)),
        }
    }
}
