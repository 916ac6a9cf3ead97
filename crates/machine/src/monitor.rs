//! The monitor's commands: what a client of QEMU's sends.

use crate::acpi;
use crate::arguments::Arguments;
use crate::device::{DeviceOptions, Driver};
use crate::human_monitor;
use crate::machine::{Commands, Machine, names};
use crate::path;
use crate::run_state::{RunState, ShutdownCause};
use qev_qmp::{ErrorClass, Object, QemuVersion, QmpError, Value};

/// The monitor's commands, in alphabetical order.
pub(crate) const COMMANDS: Commands = &[
    ("balloon", balloon),
    ("cont", cont),
    ("device_add", device_add),
    ("device_del", device_del),
    ("human-monitor-command", human_monitor_command),
    ("migrate-pause", migrate_pause),
    ("object-add", object_add),
    ("object-del", object_del),
    ("query-acpi-ospm-status", query_acpi_ospm_status),
    ("query-balloon", query_balloon),
    ("query-commands", query_commands),
    ("query-cpus-fast", query_cpus_fast),
    ("query-hotpluggable-cpus", query_hotpluggable_cpus),
    ("query-memory-devices", query_memory_devices),
    ("query-memory-size-summary", query_memory_size_summary),
    ("query-name", query_name),
    ("query-status", query_status),
    ("query-uuid", query_uuid),
    ("query-version", query_version),
    ("quit", quit),
    ("stop", stop),
    ("system_powerdown", system_powerdown),
    ("system_reset", system_reset),
    ("system_wakeup", system_wakeup),
    ("watchdog-set-action", watchdog_set_action),
];

type Returns = Result<Value, QmpError>;

/// What a command returns that has nothing to say.
fn nothing() -> Returns {
    Ok(Object::new().into())
}

fn balloon(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let value = arguments.integer("value")?;
    arguments.end()?;
    machine.set_balloon(value)?;
    nothing()
}

fn cont(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.cont()?;
    nothing()
}

fn device_add(machine: &mut Machine, arguments: Arguments) -> Returns {
    let options = DeviceOptions::read(&arguments.all(), |id| machine.has_device(id))?;
    let path = match &options.id {
        Some(id) => format!("/machine/peripheral/{id}"),
        None => {
            // What can not be made after all has used a number up.
            machine.anonymous = machine.anonymous.saturating_add(1);
            format!("/machine/peripheral-anon/device[{}]", machine.anonymous.saturating_sub(1))
        }
    };
    match options.driver {
        Driver::Dimm => {
            machine.memory.device_add(options, path)?;
            machine.memory_interrupt();
        }
        Driver::Cpu | Driver::OtherCpu => {
            machine.cpus.device_add(options, path, machine.guest.was_up)?;
            machine.cpu_interrupt();
        }
    }
    nothing()
}

fn device_del(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let id = arguments.string("id")?;
    arguments.end()?;
    if machine.memory.unplug(&id) {
        machine.memory_interrupt();
        return nothing();
    }
    if let Some(asked) = machine.cpus.unplug(&id, machine.guest.was_up) {
        asked?;
        machine.cpu_interrupt();
        return nothing();
    }
    // These paths lead to something, if not to a device.
    if path::is_no_device(&id) {
        return Err(QmpError::generic(format!("{id} is not a hotpluggable device")));
    }
    Err(QmpError::new(ErrorClass::DeviceNotFound, format!("Device '{id}' not found")))
}

fn human_monitor_command(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let line = arguments.string("command-line")?;
    let cpu = arguments.optional_integer("cpu-index")?;
    arguments.end()?;
    // QEMU keeps 32 bits of it.
    if cpu.is_some_and(|cpu| cpu.trailing_zeros() < 32) {
        return Err(QmpError::generic("Parameter 'cpu-index' expects a CPU number"));
    }
    Ok(human_monitor::execute(machine, &line).into())
}

fn migrate_pause(_: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Err(QmpError::generic("migrate-pause is currently only supported during postcopy-active state"))
}

fn object_add(machine: &mut Machine, arguments: Arguments) -> Returns {
    machine.memory.object_add(arguments)?;
    nothing()
}

fn object_del(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let id = arguments.string("id")?;
    arguments.end()?;
    machine.memory.object_del(&id)?;
    nothing()
}

/// DIMM slots, then CPU slots if a guest has asked for the interface that has them, which its ACPI code does as it boots.
fn query_acpi_ospm_status(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    let dimms = machine.memory.slots().iter().enumerate().map(|(number, slot)| slot.info(number));
    let shown = if machine.guest.was_up { machine.cpus.slots() } else { &[] };
    let cpus = shown.iter().enumerate().map(|(number, slot)| slot.info(number));
    Ok(dimms.chain(cpus).map(|info| acpi::to_object(&info).into()).collect::<Vec<Value>>().into())
}

fn query_balloon(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    let actual = machine.balloon_actual().ok_or_else(no_balloon)?;
    Ok(Object::new().with("actual", actual).into())
}

fn query_commands(_: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(list(COMMANDS))
}

/// The answer to `query-commands` on a socket with these commands.
pub(crate) fn list(commands: Commands) -> Value {
    names(commands).map(|name| Value::from(Object::new().with("name", name))).collect::<Vec<_>>().into()
}

fn query_cpus_fast(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(machine.cpus.query_fast())
}

fn query_hotpluggable_cpus(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(machine.cpus.query_hotpluggable())
}

fn query_memory_devices(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(machine.memory.query_devices())
}

fn query_memory_size_summary(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    let (base, plugged) = (machine.memory.base(), machine.memory.plugged());
    Ok(Object::new().with("base-memory", base).with("plugged-memory", plugged).into())
}

fn query_name(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    let mut reply = Object::new();
    if let Some(name) = &machine.config.name {
        reply.insert("name", name.as_str());
    }
    Ok(reply.into())
}

fn query_status(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    let mut reply = Object::new().with("running", machine.state == RunState::Running);
    // Deprecated in 8.1, gone in 9.0.
    if machine.config.version < QemuVersion::new(9, 0, 0) {
        reply.insert("singlestep", false);
    }
    Ok(reply.with("status", machine.state.as_str()).into())
}

fn query_uuid(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(Object::new().with("UUID", machine.config.uuid.to_string()).into())
}

fn query_version(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    Ok(machine.config.version.to_object(&machine.config.package).into())
}

fn quit(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.shut_down(ShutdownCause::HostQmpQuit, 0);
    nothing()
}

fn stop(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.stop();
    nothing()
}

fn system_powerdown(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.power_button();
    nothing()
}

fn system_reset(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.reset(ShutdownCause::HostQmpSystemReset);
    nothing()
}

fn system_wakeup(machine: &mut Machine, arguments: Arguments) -> Returns {
    arguments.end()?;
    machine.wake_up()?;
    nothing()
}

fn watchdog_set_action(machine: &mut Machine, mut arguments: Arguments) -> Returns {
    let action = arguments.string("action")?;
    arguments.end()?;
    machine.set_watchdog_action(&action)?;
    nothing()
}

pub(crate) fn no_balloon() -> QmpError {
    QmpError::new(ErrorClass::DeviceNotActive, "No balloon device has been activated")
}

impl Machine {
    /// Whether a device that can be unplugged has this id.
    fn has_device(&self, id: &str) -> bool {
        self.memory.has_device(id) || self.cpus.has_device(id)
    }

    /// Tells the balloon how many bytes the guest shall have.
    pub(crate) fn set_balloon(&mut self, bytes: i64) -> Result<(), QmpError> {
        let ram = self.memory.base().saturating_add(self.memory.plugged());
        let balloon = self.balloon.as_mut().ok_or_else(no_balloon)?;
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        balloon.set_target(ram, bytes.ok_or_else(|| QmpError::generic("Parameter 'target' expects a size"))?);
        self.balloon_goes_on();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_their_order() {
        for commands in [COMMANDS, crate::guest_commands::COMMANDS] {
            assert!(commands.is_sorted_by(|(a, _), (b, _)| a < b));
        }
    }
}
