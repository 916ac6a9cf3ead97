//! DIMMs, the slots they sit in, and the properties with which `device_add` makes one.

use crate::acpi::OstRegisters;
use crate::arguments::missing;
use crate::config::quorum::is_identifier;
use qev_qmp::event::{AcpiDeviceOst, SlotType};
use qev_qmp::{ErrorClass, Object, QmpError, Value};

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
    pub(crate) id: Option<String>,
    pub(crate) memdev: Option<String>,
    pub(crate) slot: Option<i32>,
    pub(crate) address: u64,
    pub(crate) node: u32,
}

impl DimmProperties {
    /// Reads the arguments of `device_add` in the order in which QEMU looks at them. `has_device` and `has_memdev` tell
    /// which ids there are.
    pub(crate) fn read(
        arguments: &Object,
        has_device: impl Fn(&str) -> bool,
        has_memdev: impl Fn(&str) -> bool,
    ) -> Result<DimmProperties, QmpError> {
        let mut options = as_options(arguments);
        let id = take(&mut options, "id");
        if id.as_deref().is_some_and(|id| !is_identifier(id)) {
            return Err(QmpError::generic("Parameter 'id' expects an identifier"));
        }
        let driver = take(&mut options, "driver").ok_or_else(|| missing("driver"))?;
        match driver.as_str() {
            "pc-dimm" => {}
            "virtio-balloon-pci" | "pvpanic-pci" => return Err(no_hotplug("pcie.0")),
            "pvpanic" => return Err(no_hotplug("isa.0")),
            _ => return Err(QmpError::generic(format!("'{driver}' is not a valid device model name"))),
        }
        if let Some(bus) = take(&mut options, "bus") {
            return Err(QmpError::generic(format!("Bus '{bus}' not found")));
        }
        if let Some(id) = id.as_deref().filter(|id| has_device(id)) {
            return Err(QmpError::generic(format!("Duplicate device ID '{id}'")));
        }
        let mut properties = DimmProperties { id, ..DimmProperties::default() };
        for (name, value) in options {
            match name.as_str() {
                // A link to nothing, not to something without a name.
                "memdev" if value.is_empty() => properties.memdev = None,
                "memdev" => {
                    let memdev = value.strip_prefix("/objects/").unwrap_or(&value);
                    if !has_memdev(memdev) {
                        return Err(QmpError::new(ErrorClass::DeviceNotFound, format!("Device '{value}' not found")));
                    }
                    properties.memdev = Some(memdev.to_owned());
                }
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

/// QEMU makes text of what `device_add` is given, and drops what it can not make text of. The order is that of its hash
/// table: the arguments become options, those a table again, and that is copied, so that members which share a chain
/// are turned around twice.
fn as_options(arguments: &Object) -> Vec<(String, String)> {
    let option = |(name, value): (&str, &Value)| Some((name.to_owned(), as_option(name, value)?));
    arguments.in_qemu_order().into_iter().filter_map(option).collect()
}

/// What QEMU makes of one argument. An `id` must be text.
fn as_option(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ if name == "id" => None,
        Value::Bool(true) => Some("on".to_owned()),
        Value::Bool(false) => Some("off".to_owned()),
        Value::Int(_) | Value::Uint(_) | Value::Double(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn take(options: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = options.iter().position(|(option, _)| option == name)?;
    Some(options.remove(at).1)
}

fn no_hotplug(bus: &str) -> QmpError {
    QmpError::generic(format!("Bus '{bus}' does not support hotplugging"))
}

fn integer(name: &str, text: &str) -> Result<i64, QmpError> {
    let n = c_integer(text).and_then(|(negative, n)| {
        let n = i128::from(n);
        i64::try_from(if negative { -n } else { n }).ok()
    });
    n.ok_or_else(|| no_integer(name))
}

/// C takes a negative one for what it is in two's complement.
fn unsigned(name: &str, text: &str) -> Result<u64, QmpError> {
    let n = c_integer(text).map(|(negative, n)| if negative { n.wrapping_neg() } else { n });
    n.ok_or_else(|| no_integer(name))
}

fn no_integer(name: &str) -> QmpError {
    QmpError::generic(format!("Parameter '{name}' expects integer"))
}

/// Sign and magnitude of an integer as C reads it: behind space and a sign, hexadecimal behind `0x`, octal behind `0`.
fn c_integer(text: &str) -> Option<(bool, u64)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // Rust takes a sign of its own.
    let magnitude = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some((negative, magnitude))
}

fn narrowed<W, N: TryFrom<W>>(name: &str, n: W, kind: &str) -> Result<N, QmpError> {
    N::try_from(n).map_err(|_| QmpError::generic(format!("Parameter '{name}' expects {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &Object) -> Result<DimmProperties, QmpError> {
        DimmProperties::read(arguments, |id| id == "d1", |id| id == "m1")
    }

    fn dimm() -> Object {
        Object::new().with("driver", "pc-dimm").with("memdev", "m1")
    }

    #[test]
    fn numbers_are_taken_as_text_too_and_an_id_that_is_none_is_none() {
        let properties = read(&dimm().with("id", 1).with("slot", "0x1").with("addr", "0")).unwrap();
        assert_eq!((properties.id, properties.slot, properties.address), (None, Some(1), 0));
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
            (dimm().with("bus", "x").with("id", "d1"), "Bus 'x' not found"),
            (dimm().with("id", "d1").with("x", 1), "Duplicate device ID 'd1'"),
            (dimm().with("x", 1), "Property 'pc-dimm.x' not found"),
            // All of one chain of the hash table: the newest is looked at first.
            (dimm().with("no-1", 1).with("no-2", 1).with("no-3", 1), "Property 'pc-dimm.no-3' not found"),
            (dimm().with("memdev", 1), "Device '1' not found"),
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
