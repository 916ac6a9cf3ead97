//! What the numbers of ACPI `_OST` mean (*OSPM Status Indication*, ACPI 6.5 section 6.3.5).
//!
//! A guest calls `_OST` with two unsigned 32-bit numbers: a *source*, what it reports about, and a *status*, how that
//! went. What a status from 0x80 on means depends on the source.

use std::fmt;

/// The section of the ACPI specification that has these tables.
pub const SECTION: &str = "6.3.5";

/// What a guest reports about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// 0: it was told that devices on a bus came or went.
    BusCheck,
    /// 1: it was told that this device came or went: how QEMU announces a plugged DIMM or CPU.
    DeviceCheck,
    /// 3: it was asked to let the device go: what `device_del` leads to.
    EjectRequest,
    /// 0x100: it is shutting down.
    Shutdown,
    /// 0x103: it lets the device go of its own accord.
    Ejection,
    /// 0x200: it is taking the device into use.
    Insertion,
    /// 2, 4 to 0xFF: another notification, by number.
    Notification(u8),
    /// Any other number; one that is not an unsigned 32-bit number too.
    Other(i64),
}

/// Which way a device goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The guest takes it into use.
    In,
    /// The guest lets it go.
    Out,
    /// Neither.
    Neither,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0.
    Success,
    /// 1: without a reason.
    Failure,
    /// 2: the guest does not know the notification.
    NotRecognised,
    /// Ejection 0x80, insertion 0x82, shutdown 0x83: the guest cannot do that at all.
    NotSupported,
    /// Ejection 0x81: an application holds the device.
    InUse,
    /// Ejection 0x82: the guest holds the device.
    Busy,
    /// Ejection 0x83: something that the device needs to go along is busy or cannot go.
    DependencyBusy,
    /// Ejection 0x84, insertion 0x80, shutdown 0x81: not yet over, another `_OST` follows.
    InProgress,
    /// Insertion 0x81: the device's driver did not load.
    DriverFailed,
    /// Insertion 0x90 to 0x9F: resources are lacking. The low bits say which.
    NoResources(Lacking),
    /// Shutdown 0x80: the guest does not want to.
    Denied,
    /// Shutdown 0x82: the guest is done, the machine will be off.
    ShutDown,
    /// Any other number; one that is not an unsigned 32-bit number too.
    Other(i64),
}

/// What an insertion lacked: the low four bits of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking(u8);

impl Source {
    /// The source that this number stands for.
    pub fn new(source: i64) -> Source {
        match source {
            0 => Source::BusCheck,
            1 => Source::DeviceCheck,
            3 => Source::EjectRequest,
            0x100 => Source::Shutdown,
            0x103 => Source::Ejection,
            0x200 => Source::Insertion,
            other => u8::try_from(other).map_or(Source::Other(other), Source::Notification),
        }
    }

    /// Which way the device goes.
    pub fn direction(self) -> Direction {
        match self {
            Source::BusCheck | Source::DeviceCheck | Source::Insertion => Direction::In,
            Source::EjectRequest | Source::Ejection => Direction::Out,
            Source::Shutdown | Source::Notification(_) | Source::Other(_) => Direction::Neither,
        }
    }
}

impl Status {
    /// The status that this number stands for, from this source.
    pub fn new(source: Source, status: i64) -> Status {
        match (status, source) {
            (0, _) => Status::Success,
            (1, _) => Status::Failure,
            (2, _) => Status::NotRecognised,
            (0x80, Source::EjectRequest | Source::Ejection) => Status::NotSupported,
            (0x81, Source::EjectRequest | Source::Ejection) => Status::InUse,
            (0x82, Source::EjectRequest | Source::Ejection) => Status::Busy,
            (0x83, Source::EjectRequest | Source::Ejection) => Status::DependencyBusy,
            (0x84, Source::EjectRequest | Source::Ejection) => Status::InProgress,
            (0x80, Source::Insertion) => Status::InProgress,
            (0x81, Source::Insertion) => Status::DriverFailed,
            (0x82, Source::Insertion) => Status::NotSupported,
            (0x90..=0x9F, Source::Insertion) => {
                Status::NoResources(Lacking(u8::try_from(status & 0xF).unwrap_or_default()))
            }
            (0x80, Source::Shutdown) => Status::Denied,
            (0x81, Source::Shutdown) => Status::InProgress,
            (0x82, Source::Shutdown) => Status::ShutDown,
            (0x83, Source::Shutdown) => Status::NotSupported,
            // Linux answers a device check with its codes for ejection; ACPI gives them no meaning there.
            (other, _) => Status::Other(other),
        }
    }

    /// Whether the guest did what it was told or asked.
    pub fn succeeded(self) -> bool {
        matches!(self, Status::Success | Status::ShutDown)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::BusCheck => f.write_str("bus check"),
            Source::DeviceCheck => f.write_str("device check"),
            Source::EjectRequest => f.write_str("eject request"),
            Source::Shutdown => f.write_str("shutdown"),
            Source::Ejection => f.write_str("ejection"),
            Source::Insertion => f.write_str("insertion"),
            Source::Notification(n) => write!(f, "notification {n:#x}"),
            Source::Other(n) => write!(f, "source {}", Code(*n)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Success => f.write_str("success"),
            Status::Failure => f.write_str("failure"),
            Status::NotRecognised => f.write_str("notification not recognised"),
            Status::NotSupported => f.write_str("not supported"),
            Status::InUse => f.write_str("in use by an application"),
            Status::Busy => f.write_str("busy"),
            Status::DependencyBusy => f.write_str("a dependency is busy"),
            Status::InProgress => f.write_str("in progress"),
            Status::DriverFailed => f.write_str("its driver did not load"),
            Status::NoResources(lacking) => write!(f, "{lacking}"),
            Status::Denied => f.write_str("denied"),
            Status::ShutDown => f.write_str("completed"),
            Status::Other(n) => write!(f, "status {}", Code(*n)),
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = [(1, "memory"), (2, "I/O space"), (4, "interrupts"), (8, "bus or segment numbers")];
        let mut lacking = bits.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, what)| *what);
        let Some(first) = lacking.next() else { return f.write_str("no resources") };
        write!(f, "no {first}")?;
        lacking.try_for_each(|what| write!(f, ", no {what}"))
    }
}

/// A number as ACPI writes it: in hex, if it can be one of ACPI's at all.
struct Code(i64);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.0) {
            Ok(code) => write!(f, "{code:#x}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: i64, status: i64, expected: &str) {
        let source = Source::new(source);
        assert_eq!(format!("{source}: {}", Status::new(source, status)), expected);
    }

    #[test]
    fn what_linux_answers_to_plugging_and_unplugging() {
        check(1, 0, "device check: success");
        check(3, 132, "eject request: in progress");
        check(3, 0, "eject request: success");
        check(3, 130, "eject request: busy");
        check(0x103, 132, "ejection: in progress");
    }

    #[test]
    fn the_same_status_means_something_else_from_another_source() {
        check(3, 0x80, "eject request: not supported");
        check(0x200, 0x80, "insertion: in progress");
        check(0x100, 0x80, "shutdown: denied");
        check(1, 0x80, "device check: status 0x80");
    }

    #[test]
    fn lacking_resources_are_named_by_bit() {
        check(0x200, 0x90, "insertion: no resources");
        check(0x200, 0x91, "insertion: no memory");
        check(0x200, 0x9F, "insertion: no memory, no I/O space, no interrupts, no bus or segment numbers");
        check(0x200, 0xA0, "insertion: status 0xa0");
    }

    #[test]
    fn numbers_without_a_meaning_are_shown_in_hex() {
        check(8, 3, "notification 0x8: status 0x3");
        check(0xFFFF_FFFF, 0xFFFF_FFFF, "source 0xffffffff: status 0xffffffff");
        check(-1, 1 << 40, "source -1: status 1099511627776");
    }
}
