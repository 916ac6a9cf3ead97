//! The two registers of a slot into which a guest writes what it has to say: ACPI `_OST` (ACPI 6.5 section 6.3.5).
//!
//! The guest writes the *source* (what it reports about) and then the *status* (how it went). Writing the status is what
//! emits `ACPI_DEVICE_OST`; the source stays what it last wrote. `query-acpi-ospm-status` shows both. A reset of the
//! machine leaves them as they are.

use qev_qmp::Object;
use qev_qmp::event::{AcpiDeviceOst, SlotType};

/// A source: notification of a device check, something was plugged.
pub(crate) const DEVICE_CHECK: u32 = 1;
/// A source: notification of an eject request, something is to be unplugged.
pub(crate) const EJECT_REQUEST: u32 = 3;

/// A status: it went well.
pub(crate) const SUCCESS: u32 = 0;
/// A status: it did not, for no reason that has a number.
pub(crate) const NON_SPECIFIC_FAILURE: u32 = 1;
/// A status: the device is busy, so it can not be ejected.
pub(crate) const DEVICE_BUSY: u32 = 0x82;
/// A status: the ejection is in progress.
pub(crate) const EJECT_IN_PROGRESS: u32 = 0x84;

/// What a guest last said about a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OstRegisters {
    pub(crate) source: u32,
    pub(crate) status: u32,
}

impl OstRegisters {
    /// The guest writes a source, if it does, and a status.
    pub(crate) fn write(&mut self, source: Option<u32>, status: u32) {
        self.source = source.unwrap_or(self.source);
        self.status = status;
    }

    /// What `query-acpi-ospm-status` and the event say about the slot.
    pub(crate) fn info(self, device: Option<&str>, slot: usize, slot_type: SlotType) -> AcpiDeviceOst {
        AcpiDeviceOst {
            device: device.map(Into::into),
            slot: slot.to_string().into(),
            slot_type,
            source: self.source.into(),
            status: self.status.into(),
            extra: Object::new(),
            extra_beside_info: Object::new(),
        }
    }
}

/// An `ACPIOSTInfo`, as `query-acpi-ospm-status` lists it.
pub(crate) fn to_object(info: &AcpiDeviceOst) -> Object {
    let mut object = Object::new();
    if let Some(device) = &info.device {
        object.insert("device", &**device);
    }
    object
        .with("source", info.source)
        .with("status", info.status)
        .with("slot", &*info.slot)
        .with("slot-type", info.slot_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_stays_when_only_the_status_is_written() {
        let mut registers = OstRegisters::default();
        registers.write(Some(EJECT_REQUEST), EJECT_IN_PROGRESS);
        registers.write(None, SUCCESS);
        assert_eq!(registers, OstRegisters { source: 3, status: 0 });
        registers.write(Some(0), u32::MAX);
        assert_eq!(registers.info(None, 7, SlotType::Cpu).status, 4_294_967_295);
    }

    #[test]
    fn a_slot_is_shown_with_its_device_if_it_has_one() {
        let registers = OstRegisters::default();
        let shown = |device| to_object(&registers.info(device, 0, SlotType::Dimm));
        let empty = Object::new().with("slot", "0").with("slot-type", "DIMM").with("source", 0).with("status", 0);
        assert_eq!(shown(None), empty);
        assert_eq!(shown(Some("d1")), empty.with("device", "d1"));
    }
}
