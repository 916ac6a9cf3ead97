//! CPU slots: what is plugged into them, what the guest says about it, and what is taken out again.

use crate::lab::Lab;
use qev_machine::{MachineConfig, MachineError};
use std::error::Error as _;

const C1: &str = r#"{"driver": "qemu64-x86_64-cpu", "id": "c1", "socket-id": 0, "core-id": 1, "thread-id": 0}"#;

fn lab(smp: &str, memory: &str) -> Lab {
    let (smp, memory) = (smp.parse().unwrap(), memory.parse().unwrap());
    Lab::new(MachineConfig { smp, memory, ..MachineConfig::default() })
}

fn ost(device: &str, source: u32, status: u32) -> String {
    format!(
        r#"ACPI_DEVICE_OST {{"info": {{{device}"source": {source}, "status": {status}, "slot": "1", "slot-type": "CPU"}}}}"#
    )
}

#[test]
fn a_cpu_is_plugged_and_unplugged_and_the_guest_says_so() {
    let mut lab = lab("1,maxcpus=2", "256M,slots=1,maxmem=1G");
    lab.must("device_add", C1);
    lab.wait(1_000);
    assert_eq!(lab.heard(), [ost(r#""device": "c1", "#, 1, 0)]);
    assert_eq!(
        lab.query("query-acpi-ospm-status"),
        concat!(
            r#"[{"source": 0, "status": 0, "slot": "0", "slot-type": "DIMM"}, "#,
            r#"{"source": 0, "status": 0, "slot": "0", "slot-type": "CPU"}, "#,
            r#"{"device": "c1", "source": 1, "status": 0, "slot": "1", "slot-type": "CPU"}]"#
        )
    );
    lab.must("device_del", r#"{"id": "c1"}"#);
    lab.wait(1_000);
    assert_eq!(
        lab.heard(),
        [
            ost(r#""device": "c1", "#, 3, 132),
            r#"DEVICE_DELETED {"path": "/machine/peripheral/c1/lapic"}"#.to_owned(),
            r#"DEVICE_DELETED {"device": "c1", "path": "/machine/peripheral/c1"}"#.to_owned(),
            ost("", 3, 0)
        ]
    );
    // The slot and the id are free again.
    lab.must("device_add", C1);
    assert!(lab.query("query-cpus-fast").contains(r#""qom-path": "/machine/peripheral/c1", "cpu-index": 1"#));
}

#[test]
fn a_guest_may_refuse_a_cpu_or_not_answer() {
    let mut lab = lab("1,maxcpus=2", "256M");
    lab.guest_must("cpu-driver", r#"{"plug": "fail", "unplug": "busy"}"#);
    lab.must("device_add", C1);
    lab.must("device_del", r#"{"id": "c1"}"#);
    lab.wait(1_000);
    let device = r#""device": "c1", "#;
    assert_eq!(lab.heard(), [ost(device, 1, 1), ost(device, 3, 132), ost(device, 3, 130)]);
    lab.guest_must("cpu-driver", r#"{"present": false}"#);
    lab.must("device_del", r#"{"id": "/machine/peripheral/c1"}"#);
    lab.wait(1_000);
    assert!(lab.heard().is_empty());
    // The guest lets it go of itself.
    lab.guest_must("eject", r#"{"slot": "1", "slot-type": "CPU"}"#);
    assert_eq!(lab.heard().len(), 2);
    let refused = lab.guest("eject", r#"{"slot": "1", "slot-type": "CPU"}"#).unwrap_err();
    assert_eq!(refused.desc, "CPU slot '1' is empty");
    let refused = lab.guest("eject", r#"{"slot": "0", "slot-type": "CPU"}"#).unwrap_err();
    assert_eq!(refused.desc, "CPU slot '0' holds the boot CPU, which stays");
}

#[test]
fn the_guests_own_word_about_a_slot_names_the_cpu_in_it() {
    let mut lab = lab("1,maxcpus=2", "256M");
    lab.guest_must("cpu-driver", r#"{"plug": "ignore"}"#);
    lab.must("device_add", C1);
    lab.wait(1_000);
    lab.guest_must("ost", r#"{"slot": "1", "slot-type": "CPU", "source": 259, "status": 129}"#);
    assert_eq!(lab.heard(), [ost(r#""device": "c1", "#, 259, 129)]);
}

#[test]
fn cpus_that_do_not_go_together_are_refused() {
    let mut config = MachineConfig::default();
    config.smp.cpus = 9;
    let error = qev_machine::Machine::new(config).unwrap_err();
    assert!(matches!(error, MachineError::Smp(_)), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "smp: 9 CPUs do not go into 1 slots: give a larger maxcpus");
}
