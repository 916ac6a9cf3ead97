//! The commands of the guest's socket: what only a guest, or an operator's hand, could do. So the monitor stays faithful.
//! [`Machine::guest_execute`] lists them.

use crate::arguments::Arguments;
use crate::disk::DiskRequest;
use crate::guest::AfterPanic;
use crate::guest::hotplug::{HotplugDriver, Place, PlugAnswer, UnplugAnswer};
use crate::machine::{Commands, Machine};
use crate::monitor::{list, no_balloon};
use crate::quorum::Range;
use crate::quorum::child::{Errno, Operation, OrderedError};
use crate::run_state::{RunState, ShutdownCause};
use qev_qmp::event::machine::RtcChange;
use qev_qmp::event::{Event, GuestPanicInformation, OtherEvent};
use qev_qmp::{Json, Object, QemuVersion, QmpError, Value};
use std::time::Duration;

/// The commands of the guest's socket, in alphabetical order.
pub(crate) const COMMANDS: Commands = &[
    ("balloon-driver", balloon_driver),
    ("cpu-driver", cpu_driver),
    ("dimm-driver", dimm_driver),
    ("disk-corrupt", disk_corrupt),
    ("disk-error", disk_error),
    ("disk-flush", disk_flush),
    ("disk-read", disk_read),
    ("disk-write", disk_write),
    ("eject", eject),
    ("emit", emit),
    ("ost", ost),
    ("panic", panic),
    ("power-button", power_button),
    ("query-commands", query_commands),
    ("reset", reset),
    ("rtc", rtc),
    ("shutdown", shutdown),
    ("suspend", suspend),
    ("watchdog", watchdog),
];

type Returns = Result<Value, QmpError>;

fn nothing() -> Returns {
    Ok(Object::new().into())
}

/// What a guest does, a guest that is stopped does not.
fn runs(machine: &Machine) -> Result<(), QmpError> {
    if machine.state == RunState::Running {
        return Ok(());
    }
    let state = machine.state.as_str();
    Err(QmpError::generic(format!("the guest does not run (status '{state}'): send 'cont' to the monitor first")))
}

fn panic(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let info = arguments.optional_object("info")?;
    let choices = [("reboot", AfterPanic::Reboot), ("hang", AfterPanic::Hang), ("run-on", AfterPanic::RunOn)];
    let then = arguments.optional_choice("then", &choices)?;
    arguments.end()?;
    runs(machine)?;
    machine.guest_panicked(info.map(GuestPanicInformation::from_object));
    machine.guest_after_panic(then.unwrap_or(AfterPanic::AsConfigured));
    nothing()
}

/// Whether it is a CPU's.
const SLOT_TYPES: [(&str, bool); 2] = [("DIMM", false), ("CPU", true)];

fn ost(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let slot = arguments.string("slot")?;
    let slot_type = arguments.optional_choice("slot-type", &SLOT_TYPES)?;
    let source = arguments.optional_unsigned("source")?;
    let status = arguments.unsigned("status")?;
    arguments.end()?;
    runs(machine)?;
    let place = place(machine, &slot, slot_type)?;
    machine.write_ost(place, source, status);
    nothing()
}

/// The slot of this number; a DIMM's, where it is not said that it is a CPU's.
fn place(machine: &Machine, slot: &str, is_cpu: Option<bool>) -> Result<Place, QmpError> {
    if is_cpu == Some(true) {
        slot_number(slot, "CPU", machine.cpus.slots().len()).map(Place::Cpu)
    } else {
        slot_number(slot, "DIMM", machine.memory.slots().len()).map(Place::Dimm)
    }
}

fn slot_number(slot: &str, kind: &str, slots: usize) -> Result<usize, QmpError> {
    let number = slot.parse().ok().filter(|number| *number < slots);
    number.ok_or_else(|| {
        let there = match slots {
            0 => format!("this machine has no {kind} slots: give it some, as in 256M,slots=2,maxmem=1G"),
            1 => format!("this machine has {kind} slot 0 only"),
            _ => format!("this machine has {kind} slots 0 to {}", slots - 1),
        };
        QmpError::generic(format!("{kind} slot '{slot}' not found: {there}"))
    })
}

fn eject(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let slot = arguments.string("slot")?;
    let slot_type = arguments.optional_choice("slot-type", &SLOT_TYPES)?;
    arguments.end()?;
    runs(machine)?;
    let place = place(machine, &slot, slot_type)?;
    let kind = match place {
        Place::Cpu(0) => return Err(QmpError::generic("CPU slot '0' holds the boot CPU, which stays")),
        Place::Cpu(_) => "CPU",
        Place::Dimm(_) => "DIMM",
    };
    if machine.eject(place) { nothing() } else { Err(QmpError::generic(format!("{kind} slot '{slot}' is empty"))) }
}

fn cpu_driver(machine: &mut Machine, arguments: Arguments) -> Returns {
    hotplug_driver(&mut machine.guest.cpu_driver, arguments)
}

fn dimm_driver(machine: &mut Machine, arguments: Arguments) -> Returns {
    hotplug_driver(&mut machine.guest.dimm_driver, arguments)
}

fn hotplug_driver(driver: &mut HotplugDriver, mut arguments: Arguments) -> Returns {
    let present = arguments.optional_boolean("present")?;
    let plugs = [("accept", PlugAnswer::Accept), ("fail", PlugAnswer::Fail), ("ignore", PlugAnswer::Ignore)];
    let plug = arguments.optional_choice("plug", &plugs)?;
    let unplugs = [("accept", UnplugAnswer::Accept), ("busy", UnplugAnswer::Busy), ("ignore", UnplugAnswer::Ignore)];
    let unplug = arguments.optional_choice("unplug", &unplugs)?;
    let plug_ms = arguments.optional_unsigned::<u32>("plug-ms")?;
    let unplug_ms = arguments.optional_unsigned::<u32>("unplug-ms")?;
    arguments.end()?;
    driver.present = present.unwrap_or(driver.present);
    driver.plug = plug.unwrap_or(driver.plug);
    driver.unplug = unplug.unwrap_or(driver.unplug);
    driver.plug_time = plug_ms.map_or(driver.plug_time, milliseconds);
    driver.eject_time = unplug_ms.map_or(driver.eject_time, milliseconds);
    nothing()
}

fn balloon_driver(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let present = arguments.optional_boolean("present")?;
    let stuck = arguments.optional_boolean("stuck")?;
    let step = arguments.optional_unsigned::<u32>("step-pages")?;
    let step_us = arguments.optional_unsigned::<u32>("step-us")?;
    let pages = arguments.optional_unsigned::<u32>("pages")?;
    arguments.end()?;
    if step == Some(0) {
        return Err(QmpError::generic("Parameter 'step-pages' expects at least 1; 'stuck' stops the driver"));
    }
    // Unloading the driver and writing a size are things that a guest does; the rest is how it is.
    if pages.is_some() || present == Some(false) {
        runs(machine)?;
    }
    let balloon = machine.balloon.as_mut().ok_or_else(no_balloon)?;
    let driver = &mut balloon.driver;
    driver.stuck = stuck.unwrap_or(driver.stuck);
    driver.step = step.unwrap_or(driver.step);
    if let Some(micros) = step_us {
        driver.inflate_time = Duration::from_micros(micros.into());
        driver.deflate_time = driver.inflate_time;
    }
    let mut changed = false;
    match present {
        Some(true) => driver.present = true,
        Some(false) => changed = balloon.unload(),
        None => {}
    }
    if changed {
        machine.balloon_changed();
    }
    if let (Some(pages), Some(balloon)) = (pages, &mut machine.balloon)
        && balloon.write(pages)
    {
        machine.balloon_changed();
    }
    machine.balloon_goes_on();
    nothing()
}

fn power_button(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let answer = arguments.optional_choice("answer", &[("shut-down", true), ("ignore", false)])?;
    let after = arguments.optional_unsigned::<u32>("after-ms")?.map(milliseconds);
    arguments.end()?;
    let powerdown = &mut machine.guest.config.powerdown;
    match answer {
        Some(false) => *powerdown = None,
        Some(true) => *powerdown = after.or(*powerdown).or(crate::GuestConfig::default().powerdown),
        None => *powerdown = after.or(*powerdown),
    }
    nothing()
}

fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

fn shutdown(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    runs(machine)?;
    machine.shut_down(ShutdownCause::GuestShutdown, 0);
    nothing()
}

fn reset(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    runs(machine)?;
    machine.reset(ShutdownCause::GuestReset);
    nothing()
}

fn rtc(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let offset = arguments.integer("offset")?;
    arguments.end()?;
    runs(machine)?;
    // What QEMU had made before it, with a chipset and no further devices, and the machine's CPUs.
    let number = u64::from(machine.config.smp.cpus).saturating_add(7);
    let since = QemuVersion::new(7, 0, 0);
    let qom_path = (machine.config.version >= since).then(|| format!("/machine/unattached/device[{number}]").into());
    machine.emit(RtcChange { offset, qom_path, extra: Object::new() }.into());
    nothing()
}

fn suspend(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let to_disk = arguments.optional_choice("to", &[("ram", false), ("disk", true)])?;
    arguments.end()?;
    runs(machine)?;
    if to_disk == Some(true) {
        machine.suspend_to_disk();
    } else {
        machine.suspend();
    }
    nothing()
}

fn watchdog(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let fed = arguments.optional_boolean("fed")?.ok_or_else(|| crate::arguments::missing("fed"))?;
    let timeout = arguments.optional_unsigned::<u32>("timeout-ms")?.map(milliseconds);
    arguments.end()?;
    runs(machine)?;
    machine.guest_feeds_watchdog(fed, timeout)?;
    nothing()
}

fn disk_read(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let node = arguments.string("node")?;
    let range = range(&mut arguments)?;
    arguments.end()?;
    runs(machine)?;
    machine.guest_uses_disk(&node, DiskRequest { operation: Operation::Read, range, byte: 0 })
}

fn disk_write(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let node = arguments.string("node")?;
    let range = range(&mut arguments)?;
    let byte = byte(&mut arguments)?.unwrap_or(0);
    arguments.end()?;
    runs(machine)?;
    machine.guest_uses_disk(&node, DiskRequest { operation: Operation::Write, range, byte })
}

fn disk_flush(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let node = arguments.string("node")?;
    arguments.end()?;
    runs(machine)?;
    let range = Range { offset: 0, length: 0 };
    machine.guest_uses_disk(&node, DiskRequest { operation: Operation::Flush, range, byte: 0 })
}

fn range(arguments: &mut Arguments) -> Result<Range, QmpError> {
    Ok(Range { offset: arguments.unsigned("offset")?, length: arguments.unsigned("length")? })
}

fn byte(arguments: &mut Arguments) -> Result<Option<u8>, QmpError> {
    let pattern = arguments.optional_unsigned::<u32>("pattern")?;
    let byte = |pattern| {
        u8::try_from(pattern)
            .map_err(|_| QmpError::generic("Parameter 'pattern' expects a byte, a number from 0 to 255"))
    };
    pattern.map(byte).transpose()
}

fn disk_error(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let node = arguments.string("node")?;
    let operation = arguments.optional_choice("operation", &Operation::NAMES)?;
    let operation = operation.ok_or_else(|| crate::arguments::missing("operation"))?;
    let errno = arguments.integer("errno")?;
    let sector = arguments.optional_unsigned("sector")?;
    let times = arguments.optional_unsigned("times")?;
    arguments.end()?;
    let errno = i32::try_from(errno).ok().filter(|errno| (0..4096).contains(errno)).ok_or_else(|| {
        QmpError::generic(
            "Parameter 'errno' expects an error number, such as 5 for EIO or 28 for ENOSPC; or 0 for none",
        )
    })?;
    // No error is an error that is had no more times.
    let times = if errno == 0 { Some(0) } else { times };
    child(machine, &node)?.order(OrderedError { operation, errno: Errno(errno), sector, times });
    nothing()
}

fn child<'a>(machine: &'a mut Machine, node: &str) -> Result<&'a mut crate::quorum::child::Child, QmpError> {
    let names: Vec<_> = machine.nodes.children().map(|child| child.node_name.clone()).collect();
    machine.nodes.child(node).ok_or_else(|| {
        let there = if names.is_empty() {
            "this machine has no quorum".to_owned()
        } else {
            format!("expected one of {}", names.join(", "))
        };
        QmpError::generic(format!("no quorum child has the node name '{node}': {there}"))
    })
}

fn disk_corrupt(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let node = arguments.string("node")?;
    let Range { offset, length } = range(&mut arguments)?;
    let byte = byte(&mut arguments)?.unwrap_or(0xFF);
    arguments.end()?;
    let child = child(machine, &node)?;
    if offset.checked_add(length).is_none_or(|end| end > child.length) {
        let desc = format!("the range goes past the end of '{node}', which has {} bytes", child.length);
        return Err(QmpError::generic(desc));
    }
    child
        .overwrite(Range { offset, length }, byte)
        .map_err(|error| QmpError::generic(format!("'{}' could not be overwritten: {error}", child.path.display())))?;
    nothing()
}

fn emit(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let name = arguments.string("event")?;
    let data = arguments.optional_object("data")?;
    let unchecked = arguments.optional_boolean("unchecked")?.unwrap_or(false);
    arguments.end()?;
    if name.is_empty() {
        return Err(QmpError::generic("Parameter 'event' expects the name of an event, such as RTC_CHANGE"));
    }
    let data = data.map(|data| Json::from(&data));
    let event = Event { timestamp: None, name: name.as_str().into(), data, extra: None };
    let typed = match event.typed() {
        _ if unchecked => OtherEvent { name: event.name, data: event.data }.into(),
        _ if !event.name.is_known() => {
            let desc = format!("no QEMU up to 10.2 sends an event '{name}'; with 'unchecked' it is emitted as it is");
            return Err(QmpError::generic(desc));
        }
        Ok(typed) => typed,
        Err(error) => return Err(QmpError::generic(error.to_string())),
    };
    machine.emit(typed);
    nothing()
}

fn query_commands(_: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(list(COMMANDS))
}
