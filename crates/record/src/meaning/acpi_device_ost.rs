//! What is said about `ACPI_DEVICE_OST`: the guest took a device into use, lets it go, or refuses to.

use super::Meaning;
use crate::acpi::{Direction, Source, Status};
use crate::explain::{Explanation, member};
use crate::plain;
use crate::severity::Severity;
use qev_qmp::event::AcpiDeviceOst;

pub(super) fn meaning(event: &AcpiDeviceOst) -> Meaning {
    let (source, status) = read(event);
    Meaning::new(severity(source, status), sentence(event, source, status))
}

fn read(event: &AcpiDeviceOst) -> (Source, Status) {
    let source = Source::new(event.source);
    (source, Status::new(source, event.status))
}

fn severity(source: Source, status: Status) -> Severity {
    match (status, source.direction()) {
        (Status::Success | Status::InProgress | Status::ShutDown, _) => Severity::Info,
        // The device is plugged, paid for, and of no use to the guest.
        (Status::NoResources(_) | Status::DriverFailed, _) => Severity::Error,
        (_, Direction::In | Direction::Out) => Severity::Warning,
        (Status::Other(_), Direction::Neither) => Severity::Notice,
        (_, Direction::Neither) => Severity::Warning,
    }
}

fn sentence(event: &AcpiDeviceOst, source: Source, status: Status) -> String {
    let slot = slot(event);
    match (source.direction(), status) {
        (Direction::In, Status::Success) => format!("guest took {slot} into use"),
        (Direction::In, Status::InProgress) => format!("guest is taking {slot} into use"),
        (Direction::In, _) => format!("guest did not take {slot} into use: {status}"),
        (Direction::Out, Status::Success) => format!("guest released {slot}"),
        (Direction::Out, Status::InProgress) => format!("guest is releasing {slot}"),
        (Direction::Out, _) => format!("guest refused to release {slot}: {status}"),
        (Direction::Neither, _) => format!("guest reports about {slot}: {source}, {status}"),
    }
}

/// `DIMM slot 2 (d1)`; without the id when QEMU does not tell it.
fn slot(event: &AcpiDeviceOst) -> String {
    let (kind, number) = (plain::name(event.slot_type.as_str()), plain::name(&event.slot));
    match &event.device {
        Some(device) => format!("{kind} slot {number} ({})", plain::name(device)),
        None => format!("{kind} slot {number}"),
    }
}

pub(super) fn advice(event: &AcpiDeviceOst) -> &'static str {
    let (source, status) = read(event);
    match (source.direction(), status) {
        (Direction::In, Status::Success) => "Nothing to do: the guest uses the device.",
        (Direction::Out, Status::Success) => "Nothing to do: the device is gone, and DEVICE_DELETED says so too.",
        (_, Status::InProgress) => {
            "Wait: another ACPI_DEVICE_OST for this slot tells how it ended. A device that was asked to go is gone \
             only when DEVICE_DELETED says so."
        }
        (_, Status::NoResources(_)) => {
            "The guest has no room for the device. For memory, look at its maximum (maxmem) and at the guest's own \
             limit; the guest's kernel log says more. Then unplug the device and plug one that fits."
        }
        (Direction::In, _) => {
            "The device is plugged but the guest does not use it. Look into the guest's kernel log; the guest needs \
             the driver for ACPI memory or CPU hotplug. Unplug the device to have its memory back on the host."
        }
        (Direction::Out, Status::NotSupported) => {
            "This guest cannot let go of such a device while it runs: shut it down and start it without the device."
        }
        (Direction::Out, _) => {
            "The guest still uses the device. Free it inside the guest (for memory: take its blocks offline under \
             /sys/devices/system/memory; pages that cannot move keep a block online), then repeat device_del. Memory \
             that was brought online as movable can be released more often."
        }
        (Direction::Neither, _) => {
            "Look the numbers up in the ACPI specification, section 6.3.5, and in the guest's kernel log."
        }
    }
}

pub(super) static EXPLANATION: Explanation = Explanation::new(
    "ACPI_DEVICE_OST",
    "2.1",
    "the guest runs the ACPI method _OST of a memory or CPU slot: it says what became of plugging or unplugging",
    &[
        member("info", "ACPIOSTInfo").says("the members below; in the document's form they stand in data itself"),
        member("device", "str").optional().says("the id of the device in the slot; absent when the slot is empty"),
        member("slot", "str").says("the number of the slot, written as a string"),
        member("slot-type", "ACPISlotType").says("DIMM for memory; CPU since 2.7"),
        member("source", "int").says(
            "what the guest reports about, unsigned and of 32 bits: 0 bus check, 1 device check (plugged), 3 eject \
             request (device_del), 0x100 shutdown, 0x103 ejection of its own accord, 0x200 insertion; other numbers \
             up to 0xff are notifications",
        ),
        member("status", "int").says(
            "how it went, unsigned and of 32 bits: 0 success, 1 failure, 2 notification not recognised; for ejection \
             (3, 0x103) 0x80 not supported, 0x81 in use by an application, 0x82 busy, 0x83 a dependency is busy, \
             0x84 in progress; for insertion (0x200) 0x80 in progress, 0x81 driver did not load, 0x82 not supported, \
             0x90 to 0x9f resources lacking",
        ),
    ],
)
.details(&[
    "The numbers are those of ACPI 6.5, section 6.3.5. QEMU sends the event when the guest writes the status \
     register of the slot; the source is what the guest wrote there before.",
    "Linux answers an eject request with status 0x84 at once, and with success or a reason when it is done. After a \
     success the device is no longer in the slot, so its id is absent.",
    "The guest decides how many of these there are: a hostile one can send as many as it likes.",
])
.dialects(
    "In the document the members of ACPIOSTInfo stand flat in data; QEMU sends them inside info. The document does not \
     know CPU slots, and does not say that device may be absent.",
)
.advice(
    "On success, nothing. While it is in progress, wait for the next one. When the guest refuses to let a device go, \
     free the device inside the guest and repeat device_del. When it does not take a device into use, look into its \
     kernel log.",
);

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_advice};
    use super::Severity::{self, Error, Info, Notice, Warning};

    fn ost(device: Option<&str>, kind: &str, slot: u8, source: i64, status: i64) -> String {
        let device = device.map(|id| format!(r#""device": "{id}", "#)).unwrap_or_default();
        format!(
            r#"{{"info": {{{device}"source": {source}, "status": {status}, "slot": "{slot}", "slot-type": "{kind}"}}}}"#
        )
    }

    fn dimm(slot: u8, source: i64, status: i64, severity: Severity, sentence: &str) {
        check("ACPI_DEVICE_OST", &ost(Some("d1"), "DIMM", slot, source, status), severity, sentence);
    }

    #[test]
    fn a_dimm_comes() {
        dimm(0, 1, 0, Info, "guest took DIMM slot 0 (d1) into use");
        dimm(0, 0x200, 0x80, Info, "guest is taking DIMM slot 0 (d1) into use");
        dimm(0, 0x200, 0x91, Error, "guest did not take DIMM slot 0 (d1) into use: no memory");
        dimm(0, 0x200, 0x81, Error, "guest did not take DIMM slot 0 (d1) into use: its driver did not load");
        dimm(0, 1, 1, Warning, "guest did not take DIMM slot 0 (d1) into use: failure");
        dimm(0, 1, 0x82, Warning, "guest did not take DIMM slot 0 (d1) into use: status 0x82");
    }

    #[test]
    fn a_dimm_goes() {
        dimm(0, 3, 0x84, Info, "guest is releasing DIMM slot 0 (d1)");
        check("ACPI_DEVICE_OST", &ost(None, "DIMM", 0, 3, 0), Info, "guest released DIMM slot 0");
        dimm(1, 0x103, 0, Info, "guest released DIMM slot 1 (d1)");
    }

    #[test]
    fn a_guest_refuses_to_let_a_dimm_go() {
        dimm(2, 3, 0x82, Warning, "guest refused to release DIMM slot 2 (d1): busy");
        dimm(2, 3, 0x80, Warning, "guest refused to release DIMM slot 2 (d1): not supported");
        dimm(2, 3, 0x81, Warning, "guest refused to release DIMM slot 2 (d1): in use by an application");
        dimm(2, 0x103, 0x83, Warning, "guest refused to release DIMM slot 2 (d1): a dependency is busy");
        dimm(2, 3, 1, Warning, "guest refused to release DIMM slot 2 (d1): failure");
        dimm(2, 3, 2, Warning, "guest refused to release DIMM slot 2 (d1): notification not recognised");
        dimm(2, 3, 0x85, Warning, "guest refused to release DIMM slot 2 (d1): status 0x85");
    }

    #[test]
    fn cpu_slots_and_slots_of_tomorrow() {
        check("ACPI_DEVICE_OST", &ost(Some("c1"), "CPU", 1, 1, 0), Info, "guest took CPU slot 1 (c1) into use");
        check("ACPI_DEVICE_OST", &ost(None, "GPU", 9, 3, 0x82), Warning, "guest refused to release GPU slot 9: busy");
    }

    #[test]
    fn numbers_that_acpi_does_not_know() {
        dimm(0, 8, 0, Info, "guest reports about DIMM slot 0 (d1): notification 0x8, success");
        dimm(0, 0x300, 0x85, Notice, "guest reports about DIMM slot 0 (d1): source 0x300, status 0x85");
        dimm(0, 0x100, 0x81, Info, "guest reports about DIMM slot 0 (d1): shutdown, in progress");
        dimm(0, 0x100, 0x80, Warning, "guest reports about DIMM slot 0 (d1): shutdown, denied");
    }

    #[test]
    fn advice_depends_on_what_the_guest_said() {
        check_advice("ACPI_DEVICE_OST", &ost(None, "DIMM", 0, 1, 0), "Nothing to do");
        check_advice("ACPI_DEVICE_OST", &ost(None, "DIMM", 0, 3, 0x84), "DEVICE_DELETED");
        check_advice("ACPI_DEVICE_OST", &ost(None, "DIMM", 0, 3, 0x82), "repeat device_del");
        check_advice("ACPI_DEVICE_OST", &ost(None, "DIMM", 0, 0x200, 0x91), "maxmem");
    }
}
