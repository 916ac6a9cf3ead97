//! DIMMs, the slots they sit in, and the properties with which `device_add` makes one.

use crate::acpi::OstRegisters;
use crate::device::{integer, narrowed, unsigned};
use crate::path::{self, Link};
use qev_qmp::event::{AcpiDeviceOst, SlotType};
use qev_qmp::{ErrorClass, QmpError};

/// Sizes and addresses are multiples of this, in bytes.
pub(crate) const ALIGNMENT: u64 = 0x20_0000;

/// A slot for a DIMM, as ACPI sees it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) dimm: Option<Dimm>,
    pub(crate) ost: OstRegisters,
    /// Something was plugged, and the guest has not been told yet.
    pub(crate) inserting: bool,
    /// It shall be unplugged, and the guest has not been told yet.
    pub(crate) removing: bool,
}

impl Slot {
    /// What ACPI knows about this slot, which is the one of this number.
    pub(crate) fn info(&self, number: usize) -> AcpiDeviceOst {
        let device = self.dimm.as_ref().and_then(|dimm| dimm.id.as_deref());
        self.ost.info(device, number, SlotType::Dimm)
    }
}

/// A DIMM in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Dimm {
    /// Its id, if it was given one.
    pub(crate) id: Option<String>,
    /// Where it is in QEMU's tree of objects.
    pub(crate) path: String,
    /// The id of the memory that it brings.
    pub(crate) memdev: String,
    /// How much that is, in bytes.
    pub(crate) size: u64,
    /// Where the guest sees it.
    pub(crate) address: u64,
    /// Whether it was there when the guest booted: then Linux has put it to use and does not let it go.
    pub(crate) there_at_boot: bool,
}

impl Dimm {
    /// The first address behind it.
    pub(crate) fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

/// What `device_add` was given for a `pc-dimm`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct DimmProperties {
    pub(crate) memdev: Option<String>,
    pub(crate) slot: Option<i32>,
    pub(crate) address: u64,
    pub(crate) node: u32,
}

impl DimmProperties {
    /// Reads properties in their order. `has_device` and `has_memdev` tell which ids there are.
    pub(crate) fn read(
        options: Vec<(String, String)>,
        has_device: impl Fn(&str) -> bool,
        has_memdev: impl Fn(&str) -> bool,
    ) -> Result<DimmProperties, QmpError> {
        let mut properties = DimmProperties::default();
        for (name, value) in options {
            match name.as_str() {
                // A link to nothing, not to something without a name.
                "memdev" if value.is_empty() => properties.memdev = None,
                "memdev" => match path::link(&value, &has_device, &has_memdev) {
                    Link::Memory(id) => properties.memdev = Some(id.to_owned()),
                    Link::OtherObject => {
                        let desc = "Invalid parameter type for 'memdev', expected: memory-backend";
                        return Err(QmpError::generic(desc));
                    }
                    Link::Nothing => {
                        return Err(QmpError::new(ErrorClass::DeviceNotFound, format!("Device '{value}' not found")));
                    }
                },
                "slot" => properties.slot = Some(narrowed(&name, integer(&name, &value)?, "int32_t")?),
                "addr" => properties.address = unsigned(&name, &value)?,
                "node" => properties.node = narrowed(&name, unsigned(&name, &value)?, "uint32_t")?,
                "hotpluggable" | "size" => {
                    return Err(QmpError::generic(format!("Property 'pc-dimm.{name}' is not writable")));
                }
                _ => return Err(QmpError::generic(format!("Property 'pc-dimm.{name}' not found"))),
            }
        }
        // -1 is the property's default: any slot.
        properties.slot = properties.slot.filter(|slot| *slot != -1);
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceOptions;
    use qev_qmp::{Object, Value};

    fn read(arguments: &Object) -> Result<DimmProperties, QmpError> {
        let options = DeviceOptions::read(arguments, |id| id == "d1")?;
        DimmProperties::read(options.properties, |id| id == "d1", |id| id == "m1")
    }

    fn dimm() -> Object {
        Object::new().with("driver", "pc-dimm").with("memdev", "m1")
    }

    #[test]
    fn numbers_are_taken_as_text_too() {
        let properties = read(&dimm().with("id", 1).with("slot", "0x1").with("addr", "0")).unwrap();
        assert_eq!((properties.slot, properties.address), (Some(1), 0));
        assert_eq!(read(&dimm().with("slot", -1)).unwrap().slot, None);
        for (text, expected) in [(" 1", 1), ("+1", 1), ("010", 8), ("-0x2", -2), ("\t0", 0)] {
            assert_eq!(read(&dimm().with("slot", text)).unwrap().slot, Some(expected), "{text}");
        }
        assert_eq!(read(&dimm().with("slot", Value::Null)).unwrap().slot, None);
        assert_eq!(read(&dimm().with("addr", -1)).unwrap().address, u64::MAX);
    }

    #[test]
    fn what_is_wrong_first_is_what_a_real_qemu_names_first() {
        let bad_id = Object::new().with("id", "1d");
        for (arguments, expected) in [
            (bad_id.clone(), "Parameter 'id' expects an identifier"),
            (bad_id.with("driver", "nosuch"), "Parameter 'id' expects an identifier"),
            (Object::new().with("id", "d1"), "Parameter 'driver' is missing"),
            (Object::new().with("driver", 1), "'1' is not a valid device model name"),
            (dimm().with("driver", "nosuch").with("id", "d1"), "'nosuch' is not a valid device model name"),
            (dimm().with("driver", "pvpanic"), "Bus 'isa.0' does not support hotplugging"),
            (dimm().with("driver", "x86_64-cpu"), "Parameter 'driver' expects a non-abstract device type"),
            (dimm().with("bus", "x").with("id", "d1"), "Bus 'x' not found"),
            (dimm().with("bus", "x/y"), "Bus 'x' not found"),
            (dimm().with("bus", ""), "Bus '' not found"),
            (dimm().with("bus", "/"), "Device 'pc-dimm' can't go on System bus"),
            (dimm().with("bus", "//x/y"), "Device 'x' not found"),
            (dimm().with("id", "d1").with("x", 1), "Duplicate device ID 'd1'"),
            (dimm().with("x", 1), "Property 'pc-dimm.x' not found"),
            // All of one chain of the hash table: the newest is looked at first.
            (dimm().with("no-1", 1).with("no-2", 1).with("no-3", 1), "Property 'pc-dimm.no-3' not found"),
            (dimm().with("memdev", 1), "Device '1' not found"),
            (dimm().with("memdev", "/m1"), "Device '/m1' not found"),
            (dimm().with("memdev", "d1"), "Invalid parameter type for 'memdev', expected: memory-backend"),
            (dimm().with("slot", "x"), "Parameter 'slot' expects integer"),
            (dimm().with("slot", ""), "Parameter 'slot' expects integer"),
            (dimm().with("slot", "1 "), "Parameter 'slot' expects integer"),
            (dimm().with("slot", "08"), "Parameter 'slot' expects integer"),
            (dimm().with("slot", "+-1"), "Parameter 'slot' expects integer"),
            (dimm().with("node", -1), "Parameter 'node' expects uint32_t"),
            (dimm().with("slot", true), "Parameter 'slot' expects integer"),
            (dimm().with("slot", 1.5), "Parameter 'slot' expects integer"),
            (dimm().with("slot", 99_999_999_999_i64), "Parameter 'slot' expects int32_t"),
            (dimm().with("addr", "1M"), "Parameter 'addr' expects integer"),
            (dimm().with("hotpluggable", false), "Property 'pc-dimm.hotpluggable' is not writable"),
        ] {
            assert_eq!(read(&arguments).unwrap_err().desc, expected, "{arguments:?}");
        }
    }
}
