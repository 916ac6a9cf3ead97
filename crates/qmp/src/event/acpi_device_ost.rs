//! `ACPI_DEVICE_OST`: the guest runs ACPI `_OST`.
//!
//! `_OST` (OSPM Status Indication, ACPI 6.5 section 6.3.5) is how a guest says what became of a hotplug request: memory
//! was plugged, an eject is in progress, an eject was refused. Emitted when the guest writes the *status* register of a
//! slot. Since QEMU 2.1, for CPU slots since 2.7. Never throttled: the guest decides how many there are.

use super::fields::{Fields, open_enum, put_back};
use super::{EventError, Typed};
use crate::dialect::Dialect;
use crate::json::{Json, Object};

open_enum! {
    /// What kind of slot the device sits in (`ACPISlotType`).
    SlotType {
        /// Memory.
        Dimm = "DIMM",
        /// A processor, since QEMU 2.7.
        Cpu = "CPU",
    }
}

/// The guest ran ACPI `_OST`: what QEMU calls an `ACPIOSTInfo`.
///
/// The document has its members flat in `data`; QEMU has them inside `info`.
#[derive(Clone, Debug, PartialEq)]
pub struct AcpiDeviceOst {
    /// The id of the device in the slot. Absent when the slot is empty or the device has no id.
    pub device: Option<Box<str>>,
    /// Which slot: a number, written as a string.
    pub slot: Box<str>,
    /// What kind of slot.
    pub slot_type: SlotType,
    /// What the guest reports about, as ACPI numbers it: 1 device check, 3 eject request, 0x103 ejection, …
    pub source: i64,
    /// How it went, as ACPI numbers it: 0 success; the meaning of others depends on `source`.
    pub status: i64,
    /// Members of the `ACPIOSTInfo` that qev does not know.
    pub extra: Object,
    /// Members of `data` beside `info` that qev does not know.
    pub extra_beside_info: Object,
}

impl AcpiDeviceOst {
    /// The event's name.
    pub const NAME: &'static str = "ACPI_DEVICE_OST";
    const FIELDS: Fields = Fields { event: Self::NAME };

    pub(super) fn decode(data: Option<&Json>) -> Result<AcpiDeviceOst, EventError> {
        let mut flat = Info::default();
        let mut beside = Object::new();
        let mut inside = None;
        Self::FIELDS.read(data, &mut beside, |name, scanner| {
            if name != "info" || scanner.peek() != Some(b'{') {
                return flat.take(name, scanner);
            }
            let (mut info, mut extra) = (Info::default(), Object::new());
            Self::FIELDS.walk(scanner, &mut extra, &mut |name, scanner| info.take(name, scanner))?;
            inside = Some((info, extra));
            Ok(true)
        })?;
        let (info, extra, extra_beside_info) = match inside {
            Some((info, extra)) => {
                flat.put_into(&mut beside);
                (info, extra, beside)
            }
            None => (flat, beside, Object::new()),
        };
        Ok(AcpiDeviceOst {
            device: info.device,
            slot: Self::FIELDS.required("slot", info.slot)?,
            slot_type: Self::FIELDS.required("slot-type", info.slot_type)?,
            source: Self::FIELDS.required("source", info.source)?,
            status: Self::FIELDS.required("status", info.status)?,
            extra,
            extra_beside_info,
        })
    }

    pub(super) fn encode(&self, dialect: Dialect) -> Object {
        let mut info = Object::new();
        if let Some(device) = &self.device {
            info.insert("device", &**device);
        }
        info.insert("slot", &*self.slot);
        info.insert("slot-type", self.slot_type.as_str());
        info.insert("source", self.source);
        info.insert("status", self.status);
        put_back(&mut info, &self.extra);
        let mut data = match dialect {
            Dialect::Document => info,
            Dialect::Qemu => Object::new().with("info", info),
        };
        put_back(&mut data, &self.extra_beside_info);
        data
    }
}

#[derive(Default)]
struct Info {
    device: Option<Box<str>>,
    slot: Option<Box<str>>,
    slot_type: Option<SlotType>,
    source: Option<i64>,
    status: Option<i64>,
}

impl Info {
    fn take(&mut self, name: &str, scanner: &mut crate::json::scan::Scanner<'_>) -> Result<bool, EventError> {
        let fields = AcpiDeviceOst::FIELDS;
        match name {
            "device" => self.device = Some(fields.string(scanner, "device")?),
            "slot" => self.slot = Some(fields.string(scanner, "slot")?),
            "slot-type" => self.slot_type = Some((&*fields.string(scanner, "slot-type")?).into()),
            "source" => self.source = Some(fields.integer(scanner, "source")?),
            "status" => self.status = Some(fields.integer(scanner, "status")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Beside an `info` these are members like any other.
    fn put_into(self, beside: &mut Object) {
        let texts = [("device", self.device), ("slot", self.slot)];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            beside.insert(name, &*text);
        }
        if let Some(slot_type) = self.slot_type {
            beside.insert("slot-type", slot_type.as_str());
        }
        let numbers = [("source", self.source), ("status", self.status)];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            beside.insert(name, number);
        }
    }
}

impl From<AcpiDeviceOst> for Typed {
    fn from(event: AcpiDeviceOst) -> Typed {
        Typed::AcpiDeviceOst(event)
    }
}
