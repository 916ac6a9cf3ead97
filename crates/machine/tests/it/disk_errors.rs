//! What a guest's disk does when its quorum fails, and the watchdog of a guest that hangs.

use crate::lab::{Lab, QuorumLab};
use qev_machine::{Machine, MachineConfig, QuorumConfig};

const FULL: &str = r#"{"node": "c0", "operation": "write", "errno": 28, "times": 2}"#;

fn lab(disk: &str) -> QuorumLab {
    let disks = vec![disk.parse().unwrap()];
    QuorumLab::with_config(&[0], "vote-threshold=1", MachineConfig { disks, ..MachineConfig::default() })
}

/// The same for a request that the guest makes of its disk; what becomes of it.
fn asks(lab: &mut Lab, command: &str, arguments: &str) -> String {
    lab.guest(command, arguments).unwrap().to_string()
}

fn names(lab: &mut Lab) -> Vec<String> {
    lab.heard().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_write_without_space_stops_the_machine_until_it_goes_through() {
    let QuorumLab { mut lab, images, _folder } = lab("q0");
    lab.guest_must("disk-error", FULL);
    let write = r#"{"node": "q0", "offset": 4096, "length": 512, "pattern": 7}"#;
    assert!(asks(&mut lab, "disk-write", write).contains("waits"));
    lab.wait(0);
    let failed = r#"BLOCK_IO_ERROR {"device": "", "nospace": true, "node-name": "q0", "reason": "No space left on device", "operation": "write", "action": "stop"}"#;
    let heard = lab.heard();
    assert_eq!(heard[2..], [failed, "STOP"], "{heard:#?}");
    assert!(lab.query("query-status").contains(r#""status": "io-error""#));
    assert!(lab.guest("disk-write", write).unwrap_err().desc.contains("the guest does not run"));
    // There still is none, and the next time there is.
    lab.must("cont", "{}");
    lab.wait(0);
    assert_eq!(names(&mut lab), ["RESUME", "QUORUM_REPORT_BAD", "QUORUM_FAILURE", "BLOCK_IO_ERROR", "STOP"]);
    lab.must("cont", "{}");
    lab.wait(0);
    assert_eq!(names(&mut lab), ["RESUME"]);
    assert_eq!(std::fs::read(&images[0]).unwrap()[4096..4098], [7, 7]);
}

#[test]
fn a_reset_forgets_what_waited() {
    let mut lab = lab("q0").lab;
    lab.guest_must("disk-error", FULL);
    asks(&mut lab, "disk-write", r#"{"node": "q0", "offset": 0, "length": 512}"#);
    lab.wait(0);
    lab.must("system_reset", "{}");
    lab.must("cont", "{}");
    lab.heard();
    lab.wait(0);
    assert!(lab.heard().is_empty());
}

#[test]
fn a_guest_that_is_told_gets_the_error_and_one_that_is_not_goes_on() {
    for (disk, expected) in [("q0,werror=report", r#""errno": 28"#), ("q0,werror=ignore", "done")] {
        let mut lab = lab(disk).lab;
        lab.guest_must("disk-error", FULL);
        let answer = asks(&mut lab, "disk-write", r#"{"node": "q0", "offset": 0, "length": 512}"#);
        assert!(answer.contains(expected), "{disk}: {answer}");
        let heard = lab.heard();
        assert!(!heard[2].contains("nospace"), "{heard:#?}");
    }
}

#[test]
fn requests_that_no_guest_makes_are_refused() {
    let mut lab = lab("q0").lab;
    for (arguments, expected) in [
        (r#"{"node": "q1", "offset": 0, "length": 512}"#, "no disk has the node 'q1': expected one of q0"),
        (r#"{"node": "q0", "offset": 1, "length": 512}"#, "a guest asks for whole sectors"),
        (
            r#"{"node": "q0", "offset": 1048576, "length": 512}"#,
            "the range goes past the end of 'q0', which has 1048576",
        ),
        (r#"{"node": "q0", "offset": 0}"#, "Parameter 'length' is missing"),
    ] {
        let error = lab.guest("disk-read", arguments).unwrap_err();
        assert!(error.desc.starts_with(expected), "{}", error.desc);
    }
    let mut lab = Lab::new(MachineConfig::default());
    let error = lab.guest("disk-flush", r#"{"node": "q0"}"#).unwrap_err();
    assert_eq!(
        error.desc,
        "no disk has the node 'q0': this machine has none: give it one on a quorum, as in q0,werror=stop"
    );
}

#[test]
fn a_disk_needs_a_quorum_of_its_own() {
    let check = |disks: &[&str], quorums: Vec<QuorumConfig>, expected: &str| {
        let disks = disks.iter().map(|disk| disk.parse().unwrap()).collect();
        let error = Machine::new(MachineConfig { disks, quorums, ..MachineConfig::default() }).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let none = "a disk lies on 'q0', which is no quorum of this machine: give it a --quorum of that name";
    check(&["q0"], Vec::new(), none);
    let quorum = "q0,vote-threshold=1,children=/nowhere".parse().unwrap();
    let both = "two disks lie on the quorum 'q0': give each disk a quorum of its own";
    check(&["q0", "q0,werror=stop"], vec![quorum], both);
}

#[test]
fn a_guest_that_fed_its_watchdog_and_hangs_is_reset() {
    let watchdog = Some("i6300esb".parse().unwrap());
    let panic = "none".parse().unwrap();
    let mut lab = Lab::new(MachineConfig { watchdog, panic, ..MachineConfig::default() });
    lab.guest_must("watchdog", r#"{"fed": true, "timeout-ms": 5000}"#);
    lab.wait(60_000);
    lab.guest_must("panic", r#"{"then": "hang"}"#);
    lab.wait(4_999);
    assert_eq!(names(&mut lab), ["GUEST_PANICKED"]);
    lab.wait(1);
    assert_eq!(names(&mut lab), ["WATCHDOG", "RESET"]);
    // The next guest has not opened it yet.
    lab.wait(60_000);
    assert_eq!(names(&mut lab), ["RESET"]);
    let mut lab = Lab::new(MachineConfig::default());
    let error = lab.guest("watchdog", r#"{"fed": false}"#).unwrap_err();
    assert_eq!(error.desc, "this machine has no watchdog: give it one, i6300esb or ib700");
}

#[test]
fn a_guest_that_sleeps_does_nothing_until_it_is_woken() {
    let mut lab = Lab::new(MachineConfig { balloon: true, ..MachineConfig::default() });
    lab.must("balloon", r#"{"value": 1048576}"#);
    lab.guest_must("suspend", "{}");
    lab.wait(60_000);
    assert_eq!(lab.heard(), ["SUSPEND"]);
    lab.must("system_wakeup", "{}");
    lab.wait(1_000);
    let heard = names(&mut lab);
    assert_eq!(heard[..2], ["WAKEUP", "BALLOON_CHANGE"]);
}
