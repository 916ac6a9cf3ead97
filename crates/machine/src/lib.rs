//! A machine without a CPU: QEMU's event side, with the reasons.
//!
//! A [`Machine`] takes the commands that a QEMU monitor takes, and what only a guest or an operator's hand could do. Its
//! devices act on them, and emit the events that QEMU's would: each event is caused by a command or a guest's action,
//! none is made up. The five that the document *QEMU Machine Protocol Events* describes, and what causes them here:
//!
//! | event | caused by |
//! |---|---|
//! | `ACPI_DEVICE_OST` | `device_add` of a DIMM or a CPU and `device_del`, which the guest answers; the guest's `ost` |
//! | `BALLOON_CHANGE` | `balloon`, which the guest's driver follows step by step; the guest's `balloon-driver` |
//! | `GUEST_PANICKED` | the guest's `panic`; then the machine pauses, powers off or runs on ([`PanicPolicy`]) |
//! | `QUORUM_FAILURE` | `qemu-io` on a quorum whose children fail, or differ without a majority |
//! | `QUORUM_REPORT_BAD` | `qemu-io` on a quorum of which a child fails, or is outvoted |
//!
//! There is no thread, no socket, no clock and no randomness in here: the caller passes the time ([`Now`]), and the only
//! I/O is on the files of the quorums' children. So a test of a minute takes a millisecond, and is the same every time:
//!
//! ```
//! use qev_machine::{Machine, MachineConfig, Now};
//! use qev_qmp::{Object, Timestamp};
//! use std::time::Duration;
//!
//! let at = |ms| Now { monotonic: Duration::from_millis(ms), wall: Timestamp { seconds: 1_795_347_310, microseconds: 0 } };
//! let mut machine = Machine::new(MachineConfig::default())?;
//! machine.guest_execute(at(0), "panic", Object::new())?;
//! let names: Vec<_> = machine.take_events().iter().map(|(_, event)| event.name().to_string()).collect();
//! assert_eq!(names, ["GUEST_PANICKED", "SHUTDOWN"]);
//! assert_eq!(machine.exit_status(), Some(0));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! What is said about QEMU here was measured on QEMU 7.2.22 with a Linux 6.1 guest, unless it says otherwise. Events come
//! out unthrottled ([`Machine::take_events`]): at most one a second, where QEMU does that, is the server's business.

mod acpi;
mod agenda;
mod arguments;
mod balloon;
mod clock;
mod config;
mod cpu;
mod device;
mod dimm;
mod disk;
mod error;
mod guest;
mod guest_commands;
mod human_monitor;
mod machine;
mod memory;
mod monitor;
mod panic;
mod path;
mod qemu_io;
mod quorum;
mod run_state;
mod watchdog;

pub use clock::Now;
pub use config::memory::{Memory, MemoryError};
pub use config::quorum::{QuorumChildConfig, QuorumConfig, QuorumConfigError, ReadPattern};
pub use config::size::{SizeError, parse_size};
pub use config::smp::{Smp, SmpError};
pub use config::uuid::{NotAUuid, Uuid};
pub use config::{GuestConfig, MachineConfig};
pub use disk::{DiskConfig, DiskConfigError, DiskErrorPolicy};
pub use error::MachineError;
pub use machine::Machine;
pub use panic::{NoSuchPanicPolicy, PanicPolicy};
pub use run_state::RunState;
pub use watchdog::{NoSuchWatchdog, NoSuchWatchdogPolicy, WatchdogModel, WatchdogPolicy};
