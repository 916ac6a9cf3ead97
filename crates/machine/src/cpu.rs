//! CPUs and the slots they sit in, and the properties with which `device_add` makes one.
//!
//! Results and messages are those of QEMU 7.2's q35. A slot is where its number falls in the topology ([`Smp`]): threads
//! count fastest, then cores, dies and sockets. CPU 0 is there to stay.

use crate::acpi::OstRegisters;
use crate::config::smp::Smp;
use crate::device::{CPU_MODEL, DeviceOptions, Driver, integer, narrowed, unsigned};
use qev_qmp::event::{AcpiDeviceOst, SlotType};
use qev_qmp::{Object, QmpError, Value};

/// A machine's CPU slots.
#[derive(Debug)]
pub(crate) struct Cpus {
    smp: Smp,
    /// Whether the machine has a NUMA node, as one with DIMM slots does.
    has_node: bool,
    slots: Vec<CpuSlot>,
    /// How many were ever plugged.
    plugged: u64,
}

/// A slot for a CPU, as ACPI sees it.
#[derive(Debug, Default)]
pub(crate) struct CpuSlot {
    pub(crate) cpu: Option<Cpu>,
    pub(crate) ost: OstRegisters,
    /// A CPU was plugged, and the guest has not been told yet.
    pub(crate) inserting: bool,
    /// It shall be unplugged, and the guest has not been told yet.
    pub(crate) removing: bool,
}

/// A CPU in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    /// Its id, if it was given one.
    pub(crate) id: Option<String>,
    /// Where it is in QEMU's tree of objects.
    pub(crate) path: String,
    /// How many were plugged before it.
    after: u64,
}

impl CpuSlot {
    /// What ACPI knows about this slot, which is the one of this number.
    pub(crate) fn info(&self, number: usize) -> AcpiDeviceOst {
        let device = self.cpu.as_ref().and_then(|cpu| cpu.id.as_deref());
        self.ost.info(device, number, SlotType::Cpu)
    }
}

/// Where a CPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    socket: u32,
    die: u32,
    core: u32,
    thread: u32,
}

/// No thread of Linux's has a number as high: whoever wants to pin a CPU's thread pins nobody else's.
const FIRST_THREAD_ID: u64 = 4_194_305;

impl Cpus {
    pub(crate) fn new(smp: Smp, has_node: bool) -> Cpus {
        let mut slots: Vec<CpuSlot> = (0..smp.maxcpus).map(|_| CpuSlot::default()).collect();
        for (slot, number) in slots.iter_mut().zip(0..smp.cpus) {
            // The second device of the machine is something else.
            let device = if number == 0 { 0 } else { number + 1 };
            let path = format!("/machine/unattached/device[{device}]");
            slot.cpu = Some(Cpu { id: None, path, after: number.into() });
        }
        Cpus { smp, has_node, slots, plugged: smp.cpus.into() }
    }

    pub(crate) fn slots(&self) -> &[CpuSlot] {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [CpuSlot] {
        &mut self.slots
    }

    /// Whether a CPU has this id.
    pub(crate) fn has_device(&self, id: &str) -> bool {
        self.slots.iter().any(|slot| slot.cpu.as_ref().is_some_and(|cpu| cpu.id.as_deref() == Some(id)))
    }

    /// `device_add`: the guest has yet to be told, if there ever was one that can be (`by_acpi`).
    pub(crate) fn device_add(&mut self, options: DeviceOptions, path: String, by_acpi: bool) -> Result<(), QmpError> {
        let number = CpuProperties::read(options.properties, options.driver)?.slot(self)?;
        if let Some(slot) = self.slots.get_mut(number) {
            slot.cpu = Some(Cpu { id: options.id, path, after: self.plugged });
            slot.inserting = by_acpi;
            self.plugged = self.plugged.saturating_add(1);
        }
        Ok(())
    }

    /// Asks for the CPU of this id, or path, to be unplugged. The guest has yet to be told. `None` when there is none.
    pub(crate) fn unplug(&mut self, id: &str, by_acpi: bool) -> Option<Result<(), QmpError>> {
        let asked = |cpu: &Cpu| if id.starts_with('/') { cpu.path == id } else { cpu.id.as_deref() == Some(id) };
        let number = self.slots.iter().position(|slot| slot.cpu.as_ref().is_some_and(asked))?;
        if number == 0 {
            return Some(Err(QmpError::generic("Boot CPU is unpluggable")));
        }
        if !by_acpi {
            // Before an operating system asks for more, ACPI's CPU slots can only be filled.
            let desc = format!("acpi: device unplug request for not supported device type: {CPU_MODEL}");
            return Some(Err(QmpError::generic(desc)));
        }
        let slot = self.slots.get_mut(number)?;
        slot.removing = true;
        Some(Ok(()))
    }

    /// The CPU that was in a slot, which is empty from here on.
    pub(crate) fn eject(&mut self, slot: usize) -> Option<Cpu> {
        let slot = self.slots.get_mut(slot)?;
        (slot.inserting, slot.removing) = (false, false);
        slot.cpu.take()
    }

    /// `query-hotpluggable-cpus`: all slots, the last one first.
    pub(crate) fn query_hotpluggable(&self) -> Value {
        let slots = (0..).zip(&self.slots).map(|(number, slot)| {
            let mut shown = Object::new().with("props", self.props(number)).with("vcpus-count", 1);
            if let Some(cpu) = &slot.cpu {
                shown.insert("qom-path", cpu.path.as_str());
            }
            Value::from(shown.with("type", CPU_MODEL))
        });
        let mut slots: Vec<Value> = slots.collect();
        slots.reverse();
        slots.into()
    }

    /// `query-cpus-fast`: the CPUs that are there, in the order in which they were plugged.
    pub(crate) fn query_fast(&self) -> Value {
        let in_slots = (0_u32..).zip(&self.slots);
        let mut cpus: Vec<_> = in_slots.filter_map(|(number, slot)| Some((number, slot.cpu.as_ref()?))).collect();
        cpus.sort_by_key(|(_, cpu)| cpu.after);
        let shown = cpus.into_iter().map(|(number, cpu)| {
            let cpu = Object::new()
                .with("thread-id", FIRST_THREAD_ID + u64::from(number))
                .with("props", self.props(number))
                .with("qom-path", cpu.path.as_str())
                .with("cpu-index", number)
                .with("target", "x86_64");
            Value::from(cpu)
        });
        shown.collect::<Vec<_>>().into()
    }

    /// `CpuInstanceProperties`
    fn props(&self, number: u32) -> Object {
        let Place { socket, die, core, thread } = self.place(number);
        let mut props = Object::new().with("core-id", core).with("thread-id", thread);
        if self.has_node {
            props.insert("node-id", 0);
        }
        if self.smp.dies > 1 {
            props.insert("die-id", die);
        }
        props.with("socket-id", socket)
    }

    fn place(&self, number: u32) -> Place {
        let Smp { dies, cores, threads, .. } = self.smp;
        let digit = |number: u32, of: u32| (number.checked_div(of).unwrap_or(0), number.checked_rem(of).unwrap_or(0));
        let (rest, thread) = digit(number, threads);
        let (rest, core) = digit(rest, cores);
        let (socket, die) = digit(rest, dies);
        Place { socket, die, core, thread }
    }

    /// The slot with this place, if there is one.
    fn number(&self, wanted: Place) -> Option<usize> {
        let mut numbers = (0..self.smp.maxcpus).zip(0..);
        numbers.find(|(number, _)| self.place(*number) == wanted).map(|(_, slot)| slot)
    }

    /// How many bits of an APIC id the thread, the core and the die have.
    fn widths(&self) -> [u32; 3] {
        [self.smp.threads, self.smp.cores, self.smp.dies].map(|count| count.max(1).next_power_of_two().trailing_zeros())
    }

    fn apic_id(&self, place: Place) -> u64 {
        let [thread, core, die] = self.widths();
        let Place { socket, die: die_id, core: core_id, thread: thread_id } = place;
        let [socket, die_id, core_id, thread_id] = [socket, die_id, core_id, thread_id].map(u64::from);
        (socket << (die + core + thread)) | (die_id << (core + thread)) | (core_id << thread) | thread_id
    }

    fn place_of_apic_id(&self, id: u32) -> Place {
        let [thread, core, die] = self.widths();
        let field = |shift: u32, width: u32| (id >> shift) & ((1 << width) - 1);
        Place {
            socket: id >> (die + core + thread),
            die: field(core + thread, die),
            core: field(thread, core),
            thread: field(0, thread),
        }
    }
}

/// What `device_add` was given for a CPU; -1 stands for nothing.
#[derive(Debug, PartialEq, Eq)]
struct CpuProperties {
    is_ours: bool,
    apic: Option<u32>,
    socket: i32,
    die: i32,
    core: i32,
    thread: i32,
    node: i32,
}

impl CpuProperties {
    fn read(options: Vec<(String, String)>, driver: Driver) -> Result<CpuProperties, QmpError> {
        let is_ours = driver == Driver::Cpu;
        let mut properties = CpuProperties { is_ours, apic: None, socket: -1, die: -1, core: -1, thread: -1, node: -1 };
        for (name, value) in options {
            let held = match name.as_str() {
                "socket-id" => &mut properties.socket,
                "die-id" => &mut properties.die,
                "core-id" => &mut properties.core,
                "thread-id" => &mut properties.thread,
                "node-id" => &mut properties.node,
                "apic-id" => {
                    // All ones is what QEMU has for none.
                    properties.apic =
                        Some(narrowed(&name, unsigned(&name, &value)?, "uint32_t")?).filter(|id| *id != u32::MAX);
                    continue;
                }
                "hotpluggable" => {
                    return Err(QmpError::generic(format!("Property '{CPU_MODEL}.{name}' is not writable")));
                }
                _ => return Err(QmpError::generic(format!("Property '{CPU_MODEL}.{name}' not found"))),
            };
            *held = narrowed(&name, integer(&name, &value)?, "int32_t")?;
        }
        Ok(properties)
    }

    /// The free slot that they mean, as q35 finds it.
    fn slot(self, cpus: &Cpus) -> Result<usize, QmpError> {
        if !self.is_ours {
            let desc = format!("Invalid CPU type, expected cpu type: '{CPU_MODEL}'");
            return Err(QmpError::generic(desc));
        }
        let smp = cpus.smp;
        let die = if self.die < 0 && smp.dies == 1 { 0 } else { self.die };
        let apic_id = match self.apic {
            Some(id) => u64::from(id),
            None => {
                let socket = id("socket", self.socket, smp.sockets)?;
                let die = id("die", die, smp.dies)?;
                let core = id("core", self.core, smp.cores)?;
                let thread = id("thread", self.thread, smp.threads)?;
                cpus.apic_id(Place { socket, die, core, thread })
            }
        };
        let place = cpus.place_of_apic_id(u32::try_from(apic_id).unwrap_or(u32::MAX));
        let Some(number) = cpus.number(place) else {
            let Place { socket, die, core, thread } = place;
            return Err(QmpError::generic(format!(
                "Invalid CPU [socket: {socket}, die: {die}, core: {core}, thread: {thread}] with APIC ID {apic_id}, \
                 valid index range 0:{}",
                smp.maxcpus.saturating_sub(1)
            )));
        };
        if cpus.slots.get(number).is_some_and(|slot| slot.cpu.is_some()) {
            return Err(QmpError::generic(format!("CPU[{number}] with APIC ID {apic_id} exists")));
        }
        for (name, given, found) in [
            ("socket", self.socket, place.socket),
            ("die", die, place.die),
            ("core", self.core, place.core),
            ("thread", self.thread, place.thread),
        ] {
            if given >= 0 && u32::try_from(given) != Ok(found) {
                let desc =
                    format!("property {name}-id: {given} doesn't match set apic-id: {apic_id:#x} ({name}-id: {found})");
                return Err(QmpError::generic(desc));
            }
        }
        if self.node > 0 {
            return Err(QmpError::generic("invalid node-id, must be 0"));
        }
        Ok(number)
    }
}

/// A part of a place, of which there are so many.
fn id(name: &str, given: i32, count: u32) -> Result<u32, QmpError> {
    let id = u32::try_from(given).map_err(|_| QmpError::generic(format!("CPU {name}-id is not set")))?;
    if id < count {
        return Ok(id);
    }
    let last = count.saturating_sub(1);
    Err(QmpError::generic(format!("Invalid CPU {name}-id: {id} must be in range 0:{last}")))
}
