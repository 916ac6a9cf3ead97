//! A machine's memory: RAM, the memory that was added to it (`object-add`), and the DIMMs that bring it to the guest.
//!
//! Results and messages are those of QEMU 7.2's q35. No memory is allocated for any of it.

use crate::arguments::{Arguments, missing};
use crate::config::memory::Memory;
use crate::config::quorum::is_identifier;
use crate::device::DeviceOptions;
use crate::dimm::{ALIGNMENT, Dimm, DimmProperties, Slot};
use crate::path;
use qev_qmp::{Object, QmpError, Value};

/// What a machine has of memory.
#[derive(Debug)]
pub(crate) struct MachineMemory {
    config: Memory,
    backends: Vec<Backend>,
    slots: Vec<Slot>,
}

/// A `memory-backend-ram`.
#[derive(Debug)]
struct Backend {
    id: String,
    size: u64,
}

/// QEMU has no bound but its host's memory.
const MAX_BACKENDS: usize = 4096;
/// What 47 bits of address reach.
const MAX_BACKEND_SIZE: u64 = 1 << 47;
const GIB: u64 = 1 << 30;

impl MachineMemory {
    /// The memory of a new machine.
    pub(crate) fn new(config: Memory) -> MachineMemory {
        let slots = (0..config.slots).map(|_| Slot::default()).collect();
        MachineMemory { config, backends: Vec::new(), slots }
    }

    /// Bytes that it had from the start.
    pub(crate) fn base(&self) -> u64 {
        self.config.size
    }

    /// Bytes in DIMMs.
    pub(crate) fn plugged(&self) -> u64 {
        self.dimms().map(|dimm| dimm.size).sum()
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    /// The DIMM that was in a slot, which is empty from here on.
    pub(crate) fn eject(&mut self, slot: usize) -> Option<Dimm> {
        let slot = self.slots.get_mut(slot)?;
        (slot.inserting, slot.removing) = (false, false);
        slot.dimm.take()
    }

    /// `object-add`.
    pub(crate) fn object_add(&mut self, mut arguments: Arguments) -> Result<(), QmpError> {
        let kind = arguments.string("qom-type")?;
        if kind != "memory-backend-ram" {
            return Err(QmpError::generic(format!("Parameter 'qom-type' does not accept value '{kind}'")));
        }
        let id = arguments.string("id")?;
        for flag in ["dump", "merge", "prealloc", "reserve", "share", "x-use-canonical-path-for-ramblock-id"] {
            arguments.optional_boolean(flag)?;
        }
        for option in ["host-nodes", "policy", "prealloc-context", "prealloc-threads"] {
            arguments.ignore(option);
        }
        let size = arguments.uint64("size")?;
        arguments.end()?;
        if !is_identifier(&id) {
            return Err(QmpError::generic("Parameter 'id' expects an identifier"));
        }
        if size == 0 {
            return Err(QmpError::generic("property 'size' of memory-backend-ram doesn't take value '0'"));
        }
        if self.backend(&id).is_some() {
            let desc = format!("attempt to add duplicate property '{id}' to object (type 'container')");
            return Err(QmpError::generic(desc));
        }
        // A real QEMU asks its host. At 2^64 - 1 (QMP's -1) it aborts; that is not copied.
        if size > MAX_BACKEND_SIZE || self.backends.len() >= MAX_BACKENDS {
            return Err(QmpError::generic(format!("cannot set up guest memory '{id}': Cannot allocate memory")));
        }
        self.backends.push(Backend { id, size });
        Ok(())
    }

    /// `object-del`.
    pub(crate) fn object_del(&mut self, id: &str) -> Result<(), QmpError> {
        if self.backend(id).is_none() {
            return Err(QmpError::generic(format!("object '{id}' not found")));
        }
        if self.is_busy(id) {
            return Err(QmpError::generic(format!("object '{id}' is in use, can not be deleted")));
        }
        self.backends.retain(|backend| backend.id != id);
        Ok(())
    }

    /// `device_add`: the guest has yet to be told.
    pub(crate) fn device_add(&mut self, options: DeviceOptions, path: String) -> Result<(), QmpError> {
        // The device stands in the tree of objects before its properties are looked at.
        let itself = options.id.clone();
        let has_device = |id: &str| self.has_device(id) || itself.as_deref() == Some(id);
        let properties = DimmProperties::read(options.properties, has_device, |id| self.backend(id).is_some())?;
        let number = self.free_slot(properties.slot)?;
        let memdev = properties.memdev.ok_or_else(|| QmpError::generic("'memdev' property must be set"))?;
        let size = self.backend(&memdev).map(|backend| backend.size).ok_or_else(|| missing("memdev"))?;
        let address = self.free_address(properties.address, size)?;
        if properties.node > 0 {
            let desc =
                format!("'DIMM property node has value {}' which exceeds the number of numa nodes: 1", properties.node);
            return Err(QmpError::generic(desc));
        }
        if self.is_busy(&memdev) {
            return Err(QmpError::generic(format!("can't use already busy memdev: {memdev}")));
        }
        let dimm = Dimm { id: options.id, path, memdev, size, address, there_at_boot: false };
        if let Some(slot) = self.slots.get_mut(number) {
            slot.dimm = Some(dimm);
            slot.inserting = true;
        }
        Ok(())
    }

    /// Asks for the DIMM of this id, or path, to be unplugged. The guest has yet to be told. Whether there is one.
    pub(crate) fn unplug(&mut self, id: &str) -> bool {
        let asked = |dimm: &Dimm| match id.starts_with('/') {
            true => path::parts(&dimm.path).eq(path::parts(id)),
            false => dimm.id.as_deref() == Some(id),
        };
        let slot = self.slots.iter_mut().find(|slot| slot.dimm.as_ref().is_some_and(asked));
        slot.is_some_and(|slot| {
            slot.removing = true;
            true
        })
    }

    /// Whether a DIMM has this id.
    pub(crate) fn has_device(&self, id: &str) -> bool {
        self.dimms().any(|dimm| dimm.id.as_deref() == Some(id))
    }

    /// `query-memory-devices`: DIMMs by their addresses.
    pub(crate) fn query_devices(&self) -> Value {
        let devices = self.by_address().into_iter().map(|(slot, dimm)| {
            let mut data = Object::new()
                .with("memdev", format!("/objects/{}", dimm.memdev))
                .with("hotplugged", true)
                .with("addr", dimm.address)
                .with("hotpluggable", true)
                .with("size", dimm.size)
                .with("slot", u64::try_from(slot).unwrap_or(u64::MAX))
                .with("node", 0);
            if let Some(id) = &dimm.id {
                data.insert("id", id.as_str());
            }
            Value::from(Object::new().with("type", "dimm").with("data", data))
        });
        devices.collect::<Vec<_>>().into()
    }

    /// DIMMs and the slots they sit in, by their addresses.
    pub(crate) fn by_address(&self) -> Vec<(usize, &Dimm)> {
        let in_slots = self.slots.iter().enumerate();
        let mut dimms: Vec<_> = in_slots.filter_map(|(slot, held)| Some((slot, held.dimm.as_ref()?))).collect();
        dimms.sort_by_key(|(_, dimm)| dimm.address);
        dimms
    }

    fn dimms(&self) -> impl Iterator<Item = &Dimm> {
        self.slots.iter().filter_map(|slot| slot.dimm.as_ref())
    }

    fn backend(&self, id: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.id == id)
    }

    fn is_busy(&self, memdev: &str) -> bool {
        self.dimms().any(|dimm| dimm.memdev == memdev)
    }

    fn free_slot(&self, wanted: Option<i32>) -> Result<usize, QmpError> {
        let number = match wanted {
            None => None,
            Some(wanted) => {
                let number = usize::try_from(wanted).ok().filter(|number| *number < self.slots.len());
                Some(number.ok_or_else(|| {
                    // Without slots this is QEMU's 2^64 - 1.
                    let last = u64::try_from(self.slots.len()).unwrap_or(u64::MAX).wrapping_sub(1);
                    QmpError::generic(format!("invalid slot number {wanted}, valid range is [0-{last}]"))
                })?)
            }
        };
        if self.slots.is_empty() {
            return Err(QmpError::generic("no slots where allocated, please specify the 'slots' option"));
        }
        let Some(number) = number else {
            let free = self.slots.iter().position(|slot| slot.dimm.is_none());
            return free.ok_or_else(|| QmpError::generic("no free slots available"));
        };
        if self.slots.get(number).is_some_and(|slot| slot.dimm.is_some()) {
            return Err(QmpError::generic(format!("slot {number} is busy")));
        }
        Ok(number)
    }

    /// Where memory of this size goes: the address that was asked for, or the first that is free if that is 0.
    fn free_address(&self, wanted: u64, size: u64) -> Result<u64, QmpError> {
        let (used, total) = (self.plugged(), self.config.maxmem.saturating_sub(self.config.size));
        if used.saturating_add(size) > total {
            return Err(QmpError::generic(format!(
                "not enough space, currently {used:#x} in use of total space for memory devices {total:#x}"
            )));
        }
        if !wanted.is_multiple_of(ALIGNMENT) {
            return Err(QmpError::generic(format!("address must be aligned to {ALIGNMENT:#x} bytes")));
        }
        if !size.is_multiple_of(ALIGNMENT) {
            return Err(QmpError::generic(format!("backend memory size must be multiple of {ALIGNMENT:#x}")));
        }
        // q35 leaves 1 GiB more for each slot, so that all can be aligned to that.
        let length = total.saturating_add(u64::from(self.config.slots) * GIB);
        let (first, behind) = (self.hotplug_base(), self.hotplug_base().saturating_add(length));
        let end = |address: u64| address.saturating_add(size);
        if wanted != 0 {
            if wanted < first || end(wanted) > behind {
                return Err(QmpError::generic(format!(
                    "can't add memory device [{wanted:#x}:{size:#x}], \
                     usable range for memory devices [{first:#x}:{length:#x}]"
                )));
            }
            let in_the_way = self.dimms().find(|dimm| dimm.address < end(wanted) && wanted < dimm.end());
            return match in_the_way {
                Some(dimm) => Err(QmpError::generic(format!(
                    "address range conflicts with memory device id='{}'",
                    dimm.id.as_deref().unwrap_or("(unnamed)")
                ))),
                None => Ok(wanted),
            };
        }
        let mut address = first;
        for (_, dimm) in self.by_address() {
            if end(address) <= dimm.address {
                break;
            }
            address = dimm.end();
        }
        if end(address) > behind {
            // Enough in all, but not in one piece.
            let desc = "could not find position in guest address space for memory device - memory fragmented due to alignments";
            return Err(QmpError::generic(desc));
        }
        Ok(address)
    }

    /// Where q35 begins to put DIMMs: behind its RAM, of which 2 GiB stay below 4 GiB when there is more than 2.75.
    fn hotplug_base(&self) -> u64 {
        let below_4g = if self.config.size >= 0xB000_0000 { 2 * GIB } else { self.config.size };
        (4 * GIB).saturating_add(self.config.size.saturating_sub(below_4g)).div_ceil(GIB).saturating_mul(GIB)
    }
}

#[cfg(test)]
mod tests;
