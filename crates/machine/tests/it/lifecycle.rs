//! What brings a machine up, stops it and ends it; and what it says about itself.

use crate::lab::{EPOCH, Lab, now};
use qev_machine::{MachineConfig, RunState};
use qev_qmp::{Dialect, Object, QemuVersion};
use std::time::Duration;

#[test]
fn the_power_button_shuts_the_guest_down_a_second_later_as_in_the_recording() {
    let mut lab = Lab::new(MachineConfig::default());
    lab.must("stop", "{}");
    lab.must("cont", "{}");
    lab.must("system_powerdown", "{}");
    assert_eq!(lab.heard(), ["STOP", "RESUME", "POWERDOWN"]);
    lab.wait(2_000);
    let ended = lab.heard_with_times(Dialect::Qemu);
    assert_eq!(ended, [(1_070_000, r#"SHUTDOWN {"guest": true, "reason": "guest-shutdown"}"#.to_owned())]);
    assert_eq!((lab.machine.exit_status(), lab.machine.deadline()), (Some(0), None));
    let error = lab.send("query-status", "{}").unwrap_err();
    assert_eq!(error.desc, "the machine has ended with status 0: start another");
}

#[test]
fn a_guest_may_ignore_the_power_button() {
    let mut lab = Lab::new(MachineConfig::default());
    lab.guest_must("power-button", r#"{"answer": "ignore"}"#);
    lab.must("system_powerdown", "{}");
    lab.wait(60_000);
    assert_eq!(lab.heard(), ["POWERDOWN"]);
    lab.guest_must("power-button", r#"{"answer": "shut-down", "after-ms": 5}"#);
    lab.must("system_powerdown", "{}");
    lab.wait(5);
    assert_eq!(lab.machine.exit_status(), Some(0));
}

#[test]
fn a_machine_that_starts_paused_boots_when_it_is_let() {
    let memory = "256M,slots=1,maxmem=1G".parse().unwrap();
    let mut lab = Lab::new(MachineConfig { paused: true, memory, ..MachineConfig::default() });
    assert_eq!(lab.machine.run_state(), RunState::Prelaunch);
    let one_slot = r#"[{"source": 0, "status": 0, "slot": "0", "slot-type": "DIMM"}]"#;
    lab.wait(60_000);
    assert_eq!(lab.query("query-acpi-ospm-status"), one_slot);
    lab.must("cont", "{}");
    lab.wait(299);
    assert_eq!(lab.query("query-acpi-ospm-status"), one_slot);
    lab.wait(1);
    // A guest is up, and with it the interface that shows CPU slots.
    assert!(lab.query("query-acpi-ospm-status").contains("CPU"));
    assert_eq!(lab.heard(), ["RESUME"]);
}

#[test]
fn firmware_that_never_ran_does_not_reset_once_more() {
    let mut lab = Lab::new(MachineConfig { paused: true, ..MachineConfig::default() });
    lab.must("system_reset", "{}");
    lab.must("cont", "{}");
    lab.wait(1_000);
    assert_eq!(lab.heard(), [r#"RESET {"guest": false, "reason": "host-qmp-system-reset"}"#, "RESUME"]);
    lab.must("system_reset", "{}");
    lab.wait(1_000);
    assert_eq!(lab.heard()[1..], [r#"RESET {"guest": true, "reason": "guest-reset"}"#]);
}

#[test]
fn a_machine_that_is_looked_at_late_tells_when_things_happened() {
    let mut lab = Lab::new(MachineConfig { balloon: true, no_shutdown: true, ..MachineConfig::default() });
    lab.guest_must("power-button", r#"{"after-ms": 10}"#);
    lab.guest_must("balloon-driver", r#"{"step-us": 5000}"#);
    lab.must("system_powerdown", "{}");
    lab.must("balloon", r#"{"value": 1048576}"#);
    lab.heard();
    lab.machine.advance(now(Duration::from_secs(60)));
    let told: Vec<_> =
        lab.machine.take_events().iter().map(|(t, e)| (t.micros().unwrap() - EPOCH, e.name().to_string())).collect();
    // The guest was off at 10 ms, so the step that was due at the same moment did not happen, nor any later one.
    let expected = [(5_000, "BALLOON_CHANGE"), (10_000, "SHUTDOWN"), (10_000, "STOP")];
    assert_eq!(told, expected.map(|(micros, name)| (micros, name.to_owned())));
    assert_eq!(lab.machine.deadline(), None);
}

#[test]
fn the_guest_shuts_down_and_reboots_of_itself() {
    let mut lab = Lab::new(MachineConfig::default());
    lab.guest_must("reset", "{}");
    lab.guest_must("shutdown", "{}");
    assert_eq!(
        lab.heard(),
        [
            r#"RESET {"guest": true, "reason": "guest-reset"}"#,
            r#"SHUTDOWN {"guest": true, "reason": "guest-shutdown"}"#
        ]
    );
}

#[test]
fn it_says_who_it_is_and_which_qemu_it_stands_for() {
    let mut lab = Lab::new(MachineConfig {
        name: Some("web1".to_owned()),
        uuid: "8a16fb5e-9f5c-4a4e-b0a4-6a1c9d5bd3f1".parse().unwrap(),
        version: QemuVersion::new(9, 0, 1),
        ..MachineConfig::default()
    });
    assert_eq!(lab.query("query-name"), r#"{"name": "web1"}"#);
    assert_eq!(lab.query("query-uuid"), r#"{"UUID": "8a16fb5e-9f5c-4a4e-b0a4-6a1c9d5bd3f1"}"#);
    assert_eq!(lab.query("query-version"), r#"{"qemu": {"micro": 1, "minor": 0, "major": 9}, "package": "qev"}"#);
    // 9.0 took singlestep out.
    assert_eq!(lab.query("query-status"), r#"{"status": "running", "running": true}"#);
}

#[test]
fn every_command_that_is_listed_is_there() {
    let mut lab = Lab::new(MachineConfig::default());
    let listed = lab.query("query-commands");
    for command in lab.machine.command_names() {
        assert!(listed.contains(&format!(r#"{{"name": "{command}"}}"#)), "{command}");
    }
    let guest_commands: Vec<_> = lab.machine.guest_command_names().collect();
    for command in guest_commands.into_iter().filter(|command| *command != "qmp_capabilities") {
        // Each knows its arguments: this is none of any.
        let error = lab.guest(command, r#"{"nosuch": 1}"#).unwrap_err();
        assert_eq!(error.class.as_str(), "GenericError", "{command}");
    }
    for error in [lab.send("panic", "{}").unwrap_err(), lab.guest("stop", "{}").unwrap_err()] {
        assert_eq!(error.class.as_str(), "CommandNotFound");
    }
    assert!(lab.machine.allows_oob("migrate-pause") && !lab.machine.allows_oob("query-status"));
}

#[test]
fn any_event_can_be_had_and_is_checked_unless_it_is_not_to_be() {
    let mut lab = Lab::new(MachineConfig::default());
    lab.guest_must("emit", r#"{"event": "RTC_CHANGE", "data": {"offset": 78}}"#);
    lab.guest_must("emit", r#"{"event": "WAKEUP"}"#);
    let flat = r#"{"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}"#;
    lab.guest_must("emit", &format!(r#"{{"event": "ACPI_DEVICE_OST", "data": {flat}}}"#));
    assert_eq!(
        lab.heard(),
        [
            r#"RTC_CHANGE {"offset": 78}"#,
            "WAKEUP",
            r#"ACPI_DEVICE_OST {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#,
        ]
    );
    for (event, member) in [("BALLOON_CHANGE", "actual"), ("RTC_CHANGE", "offset"), ("DEVICE_DELETED", "path")] {
        let wrong = format!(r#"{{"event": "{event}", "data": {{"{member}": true}}}}"#);
        let error = lab.guest("emit", &wrong).unwrap_err();
        assert!(error.desc.contains(&format!("'{member}'")), "{error}");
        lab.guest_must("emit", &wrong.replace("}}", r#"}, "unchecked": true}"#));
    }
    let error = lab.guest("emit", r#"{"event": "NOSUCH"}"#).unwrap_err();
    assert!(error.desc.starts_with("no QEMU up to 10.2 sends an event 'NOSUCH'"), "{error}");
    lab.guest_must("emit", r#"{"event": "NOSUCH", "data": {"x": [1]}, "unchecked": true}"#);
    let heard = lab.heard();
    assert_eq!((heard.len(), heard[3].as_str()), (4, r#"NOSUCH {"x": [1]}"#), "{heard:#?}");
}

#[test]
fn the_guests_socket_says_what_is_there_and_what_was_expected() {
    let mut lab =
        Lab::new(MachineConfig { memory: "256M,slots=2,maxmem=1G".parse().unwrap(), ..MachineConfig::default() });
    for (command, arguments, expected) in [
        ("ost", r#"{"slot": "2", "status": 0}"#, "DIMM slot '2' not found: this machine has DIMM slots 0 to 1"),
        (
            "ost",
            r#"{"slot": "1", "slot-type": "CPU", "status": 0}"#,
            "CPU slot '1' not found: this machine has CPU slot 0 only",
        ),
        ("ost", r#"{"slot": "1"}"#, "Parameter 'status' is missing"),
        ("eject", r#"{"slot": "1"}"#, "DIMM slot '1' is empty"),
        (
            "disk-error",
            r#"{"node": "c0", "operation": "read", "errno": 5}"#,
            "no quorum child has the node name 'c0': this machine has no quorum",
        ),
        (
            "balloon-driver",
            r#"{"step-pages": 0}"#,
            "Parameter 'step-pages' expects at least 1; 'stuck' stops the driver",
        ),
        (
            "dimm-driver",
            r#"{"unplug": "no"}"#,
            "Parameter 'unplug' does not accept value 'no': expected one of 'accept', 'busy', 'ignore'",
        ),
        ("emit", r#"{"event": ""}"#, "Parameter 'event' expects the name of an event, such as RTC_CHANGE"),
    ] {
        assert_eq!(lab.guest(command, arguments).unwrap_err().desc, expected, "{command} {arguments}");
    }
}

#[test]
fn what_is_due_happens_before_a_command_that_comes_later() {
    let mut lab = Lab::new(MachineConfig { balloon: true, ..MachineConfig::default() });
    lab.must("balloon", r#"{"value": 133169152}"#);
    // Nobody advances the machine: the command finds the balloon where it has got to.
    let reply = lab.machine.execute(now(Duration::from_secs(1)), "query-balloon", Object::new()).unwrap();
    assert_eq!(reply, Object::new().with("actual", 133_169_152).into());
}
