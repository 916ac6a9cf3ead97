//! The lab: a real QEMU with a real Linux guest, in which the five events happen for their real reasons.
//!
//! The parts, from the bottom up:
//!
//! * [`process`]: a program that does not outlive us; [`scratch`]: a folder that does not either; [`port`]: a port that
//!   stays ours;
//! * [`transcript`]: text that a thread keeps reading, and that others wait for;
//! * [`kernel`] and [`initramfs`]: what the guest boots; [`quorum`]: the disk that three replicas vote on;
//! * [`monitor`]: a QMP client of a few lines; [`serial`]: the guest's console, where its `init` takes orders;
//! * [`guest`]: all of that as one machine; [`watch`]: `qev watch` looking at it;
//! * [`libvirt`]: a libvirtd, for machines that are libvirt's;
//! * [`memory_group`]: a control group with a limit of memory;
//! * [`five_events`]: what to do to the machine so that it sends each of the five.
//!
//! ```no_run
//! use xtask::lab::{EVENT_PATIENCE, five_events, guest::{Guest, Options}, kernel::Kernel};
//!
//! # fn main() -> Result<(), xtask::Error> {
//! let kernel = Kernel::obtain(&|progress| println!("{progress}"))?;
//! let mut guest = Guest::boot(&kernel, Options::for_the_five_events(), &|progress| println!("{progress}"))?;
//! five_events::balloon_change(guest.hands())?;
//! guest.control().execute(r#"{"execute": "stop"}"#)?;
//! guest.control().wait_for_event("STOP", EVENT_PATIENCE)?;
//! guest.quit()?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

pub mod five_events;
pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod libvirt;
pub mod memory_group;
pub mod monitor;
pub mod port;
pub mod process;
pub mod quorum;
pub mod scratch;
pub mod serial;
pub mod transcript;
pub mod watch;

/// How the lab tells what it is doing, a line at a time.
pub type Say<'a> = &'a dyn Fn(&str);

/// How long a guest may take to come up. It takes some 3 s alone on a small machine; ten times that on a busy one.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(300);

/// How long an event or a reply may take that is bound to come, on a machine that stands still in between.
pub const EVENT_PATIENCE: Duration = Duration::from_secs(120);
