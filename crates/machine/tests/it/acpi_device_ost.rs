//! `ACPI_DEVICE_OST`: the guest runs ACPI `_OST`, because memory was plugged, or shall go, or because it pleases.

use crate::lab::Lab;
use qev_machine::MachineConfig;
use qev_qmp::Dialect;

/// A guest with three DIMM slots, and memory to put into one.
fn with_slots() -> Lab {
    let memory = "256M,slots=3,maxmem=1G".parse().unwrap();
    let mut lab = Lab::new(MachineConfig { memory, ..MachineConfig::default() });
    lab.must("object-add", r#"{"qom-type": "memory-backend-ram", "id": "m1", "size": 134217728}"#);
    lab
}

fn with_dimm() -> Lab {
    let mut lab = with_slots();
    lab.must("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#);
    lab.wait(100);
    lab
}

#[test]
fn the_guest_takes_memory_that_was_plugged() {
    // The document's own example.
    Lab::check_in_both(
        with_dimm,
        &[r#"ACPI_DEVICE_OST {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#],
        &[r#"ACPI_DEVICE_OST {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}"#],
    );
}

#[test]
fn the_command_comes_first_and_the_answer_when_the_guest_has_run() {
    let mut lab = with_slots();
    lab.must("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#);
    lab.wait(32);
    assert_eq!(lab.heard(), [""; 0]);
    // A guest that is stopped says nothing, however long.
    lab.must("stop", "{}");
    lab.wait(60_000);
    assert_eq!(lab.heard(), ["STOP"]);
    lab.must("cont", "{}");
    lab.wait(1);
    let told = lab.heard_with_times(Dialect::Document);
    assert_eq!(told[0], (60_032_000, "RESUME".to_owned()));
    assert_eq!(told[1].0, 60_033_000);
    assert_eq!(told.len(), 2);
}

#[test]
fn the_guest_lets_memory_go() {
    let unplugged = || {
        let mut lab = with_dimm();
        lab.heard();
        lab.must("device_del", r#"{"id": "d1"}"#);
        lab.wait(100);
        lab
    };
    Lab::check_in_both(
        unplugged,
        &[
            r#"ACPI_DEVICE_OST {"info": {"device": "d1", "source": 3, "status": 132, "slot": "0", "slot-type": "DIMM"}}"#,
            r#"DEVICE_DELETED {"device": "d1", "path": "/machine/peripheral/d1"}"#,
            r#"ACPI_DEVICE_OST {"info": {"source": 3, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#,
        ],
        &[
            r#"ACPI_DEVICE_OST {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 3, "status": 132}"#,
            r#"DEVICE_DELETED {"device": "d1", "path": "/machine/peripheral/d1"}"#,
            r#"ACPI_DEVICE_OST {"slot": "0", "slot-type": "DIMM", "source": 3, "status": 0}"#,
        ],
    );
    assert_eq!(
        unplugged().query("query-acpi-ospm-status"),
        r#"[{"source": 3, "status": 0, "slot": "0", "slot-type": "DIMM"}, "#.to_owned()
            + r#"{"source": 0, "status": 0, "slot": "1", "slot-type": "DIMM"}, "#
            + r#"{"source": 0, "status": 0, "slot": "2", "slot-type": "DIMM"}, "#
            + r#"{"source": 0, "status": 0, "slot": "0", "slot-type": "CPU"}]"#
    );
}

#[test]
fn a_guest_that_is_busy_refuses_and_keeps_the_memory() {
    let refused = || {
        let mut lab = with_dimm();
        lab.heard();
        lab.guest_must("dimm-driver", r#"{"unplug": "busy"}"#);
        lab.must("device_del", r#"{"id": "d1"}"#);
        lab.wait(100);
        lab
    };
    // Nothing but _OST says so: no MEM_UNPLUG_ERROR, no DEVICE_UNPLUG_GUEST_ERROR, as on a real QEMU.
    Lab::check_in_both(
        refused,
        &[
            r#"ACPI_DEVICE_OST {"info": {"device": "d1", "source": 3, "status": 132, "slot": "0", "slot-type": "DIMM"}}"#,
            r#"ACPI_DEVICE_OST {"info": {"device": "d1", "source": 3, "status": 130, "slot": "0", "slot-type": "DIMM"}}"#,
        ],
        &[
            r#"ACPI_DEVICE_OST {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 3, "status": 132}"#,
            r#"ACPI_DEVICE_OST {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 3, "status": 130}"#,
        ],
    );
    assert_eq!(
        refused().query("query-memory-size-summary"),
        r#"{"base-memory": 268435456, "plugged-memory": 134217728}"#
    );
}

#[test]
fn a_guest_says_what_it_likes_about_any_slot() {
    let said = || {
        let mut lab = with_slots();
        lab.guest_must("ost", r#"{"slot": "2", "source": 4294967295, "status": 4294967295}"#);
        lab.guest_must("ost", r#"{"slot": "2", "status": 7}"#);
        lab.guest_must("ost", r#"{"slot": "0", "slot-type": "CPU", "source": 259, "status": 128}"#);
        lab
    };
    Lab::check_in_both(
        said,
        &[
            r#"ACPI_DEVICE_OST {"info": {"source": 4294967295, "status": 4294967295, "slot": "2", "slot-type": "DIMM"}}"#,
            r#"ACPI_DEVICE_OST {"info": {"source": 4294967295, "status": 7, "slot": "2", "slot-type": "DIMM"}}"#,
            r#"ACPI_DEVICE_OST {"info": {"source": 259, "status": 128, "slot": "0", "slot-type": "CPU"}}"#,
        ],
        &[
            r#"ACPI_DEVICE_OST {"slot": "2", "slot-type": "DIMM", "source": 4294967295, "status": 4294967295}"#,
            r#"ACPI_DEVICE_OST {"slot": "2", "slot-type": "DIMM", "source": 4294967295, "status": 7}"#,
            r#"ACPI_DEVICE_OST {"slot": "0", "slot-type": "CPU", "source": 259, "status": 128}"#,
        ],
    );
}

#[test]
fn a_guest_may_fail_to_take_it_ignore_it_or_do_no_hotplug_at_all() {
    let heard = |driver: &str| {
        let mut lab = with_slots();
        lab.guest_must("dimm-driver", driver);
        lab.must("device_add", r#"{"driver": "pc-dimm", "memdev": "m1"}"#);
        lab.must("device_del", r#"{"id": "/machine/peripheral-anon/device[1]"}"#);
        lab.wait(1000);
        lab.heard()
    };
    assert_eq!(
        heard(r#"{"plug": "fail", "unplug": "ignore"}"#),
        [r#"ACPI_DEVICE_OST {"info": {"source": 1, "status": 1, "slot": "0", "slot-type": "DIMM"}}"#]
    );
    assert_eq!(heard(r#"{"plug": "ignore", "unplug": "ignore"}"#), [""; 0]);
    assert_eq!(heard(r#"{"present": false}"#), [""; 0]);
}
