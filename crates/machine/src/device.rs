//! What `device_add` is given, and what of it is the same for every device.

use crate::arguments::missing;
use crate::config::quorum::is_identifier;
use qev_qmp::{ErrorClass, Object, QmpError, Value};

/// What `device_add` was asked to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `pc-dimm`
    Dimm,
    /// `qemu64-x86_64-cpu`
    Cpu,
    /// Another model of CPU than the machine has.
    OtherCpu,
}

/// The arguments of `device_add`, as options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceOptions {
    pub(crate) id: Option<String>,
    pub(crate) driver: Driver,
    /// The device's properties, as text, in their order.
    pub(crate) properties: Vec<(String, String)>,
}

/// The model of CPU that a QEMU without `-cpu` has.
pub(crate) const CPU_MODEL: &str = "qemu64-x86_64-cpu";

impl DeviceOptions {
    /// Reads the arguments in the order in which QEMU looks at them. `has_device` tells which ids there are.
    pub(crate) fn read(arguments: &Object, has_device: impl Fn(&str) -> bool) -> Result<DeviceOptions, QmpError> {
        let mut options = as_options(arguments);
        let id = take(&mut options, "id");
        if id.as_deref().is_some_and(|id| !is_identifier(id)) {
            return Err(QmpError::generic("Parameter 'id' expects an identifier"));
        }
        let driver = take(&mut options, "driver").ok_or_else(|| missing("driver"))?;
        let kind = match driver.as_str() {
            "pc-dimm" => Driver::Dimm,
            CPU_MODEL => Driver::Cpu,
            "virtio-balloon-pci" | "virtio-blk-pci" | "pvpanic-pci" | "i6300esb" => return Err(no_hotplug("pcie.0")),
            "pvpanic" | "ib700" => return Err(no_hotplug("isa.0")),
            "x86_64-cpu" => return Err(QmpError::generic("Parameter 'driver' expects a non-abstract device type")),
            other if other.ends_with("-x86_64-cpu") => Driver::OtherCpu,
            _ => return Err(QmpError::generic(format!("'{driver}' is not a valid device model name"))),
        };
        if let Some(bus) = take(&mut options, "bus") {
            return Err(no_bus(&driver, &bus));
        }
        if let Some(id) = id.as_deref().filter(|id| has_device(id)) {
            return Err(QmpError::generic(format!("Duplicate device ID '{id}'")));
        }
        Ok(DeviceOptions { id, driver: kind, properties: options })
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

/// DIMMs and CPUs go on no bus, whichever this path leads to: a bus, or a device on the machine's own (`/`).
fn no_bus(driver: &str, path: &str) -> QmpError {
    /// QEMU keeps so many bytes of a name.
    const LONGEST: usize = 127;
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let kept = String::from_utf8_lossy(name.as_bytes().get(..LONGEST).unwrap_or(name.as_bytes()));
    match (path.starts_with('/'), name) {
        (true, "") => QmpError::generic(format!("Device '{driver}' can't go on System bus")),
        (true, _) => QmpError::new(ErrorClass::DeviceNotFound, format!("Device '{kept}' not found")),
        (false, _) => QmpError::generic(format!("Bus '{kept}' not found")),
    }
}

fn no_hotplug(bus: &str) -> QmpError {
    QmpError::generic(format!("Bus '{bus}' does not support hotplugging"))
}

/// A signed integer as C reads it.
pub(crate) fn integer(name: &str, text: &str) -> Result<i64, QmpError> {
    let n = c_integer(text).and_then(|(negative, n)| {
        let n = i128::from(n);
        i64::try_from(if negative { -n } else { n }).ok()
    });
    n.ok_or_else(|| no_integer(name))
}

/// C takes a negative one for what it is in two's complement.
pub(crate) fn unsigned(name: &str, text: &str) -> Result<u64, QmpError> {
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

/// A number in a narrower type, which QEMU calls `kind`.
pub(crate) fn narrowed<W, N: TryFrom<W>>(name: &str, n: W, kind: &str) -> Result<N, QmpError> {
    N::try_from(n).map_err(|_| QmpError::generic(format!("Parameter '{name}' expects {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_no_text_is_none() {
        let arguments = Object::new().with("driver", "pc-dimm").with("memdev", "m1").with("id", 1);
        let read = DeviceOptions::read(&arguments, |_| false).unwrap();
        assert_eq!((read.id, read.driver), (None, Driver::Dimm));
        assert_eq!(read.properties, [("memdev".to_owned(), "m1".to_owned())]);
    }
}
