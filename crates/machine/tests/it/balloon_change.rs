//! `BALLOON_CHANGE`: the guest changed the balloon, because its driver was told to, or because it pleases.

use crate::lab::Lab;
use qev_machine::MachineConfig;
use qev_qmp::Dialect;

fn with_balloon(memory: &str) -> Lab {
    let memory = memory.parse().unwrap();
    Lab::new(MachineConfig { memory, balloon: true, ..MachineConfig::default() })
}

#[test]
fn the_driver_moves_a_mebibyte_a_step_and_tells_each() {
    let two_steps = || {
        let mut lab = with_balloon("256M");
        lab.must("balloon", r#"{"value": 266338304}"#);
        lab.wait(100);
        lab
    };
    // 255 MiB is the first event of the recording. The same in both dialects.
    let expected = [r#"BALLOON_CHANGE {"actual": 267386880}"#, r#"BALLOON_CHANGE {"actual": 266338304}"#];
    Lab::check_in_both(two_steps, &expected, &expected);
}

#[test]
fn the_whole_way_is_that_of_the_recording() {
    let mut lab = with_balloon("256M");
    lab.must("balloon", r#"{"value": 134217728}"#);
    assert_eq!(lab.query("query-balloon"), r#"{"actual": 268435456}"#);
    lab.wait(1000);
    let steps = lab.heard_with_times(Dialect::Qemu);
    assert_eq!(steps.len(), 128);
    assert_eq!(steps[0], (2_300, r#"BALLOON_CHANGE {"actual": 267386880}"#.to_owned()));
    // The recording's last is 0.3 s after its first.
    assert_eq!(steps[127], (294_400, r#"BALLOON_CHANGE {"actual": 134217728}"#.to_owned()));
    assert_eq!(lab.query("query-balloon"), r#"{"actual": 134217728}"#);
    lab.must("balloon", r#"{"value": 268435456}"#);
    lab.wait(1000);
    let steps = lab.heard();
    assert_eq!((steps.len(), &*steps[0]), (128, r#"BALLOON_CHANGE {"actual": 135266304}"#));
}

#[test]
fn query_balloon_tells_what_the_last_event_did_at_any_time() {
    let mut lab = with_balloon("256M");
    lab.must("balloon", r#"{"value": 134217728}"#);
    for _ in 0..50 {
        lab.wait(7);
        if let Some(last) = lab.heard().last() {
            assert_eq!(format!("BALLOON_CHANGE {}", lab.query("query-balloon")), *last);
        }
    }
}

#[test]
fn a_guest_that_is_stopped_or_stuck_moves_nothing() {
    let mut lab = with_balloon("256M");
    lab.must("balloon", r#"{"value": 264241152}"#);
    lab.must("stop", "{}");
    lab.wait(60_000);
    assert_eq!(lab.heard(), ["STOP"]);
    lab.must("cont", "{}");
    lab.wait(3);
    assert_eq!(lab.heard(), ["RESUME", r#"BALLOON_CHANGE {"actual": 267386880}"#]);
    lab.guest_must("balloon-driver", r#"{"stuck": true}"#);
    lab.wait(60_000);
    assert_eq!(lab.heard(), [""; 0]);
    lab.guest_must("balloon-driver", r#"{"stuck": false, "step-pages": 512, "step-us": 1000}"#);
    lab.wait(1);
    assert_eq!(lab.heard(), [r#"BALLOON_CHANGE {"actual": 265289728}"#]);
}

#[test]
fn a_plugged_dimm_counts_and_its_leaving_is_no_event() {
    let mut lab = with_balloon("256M,slots=1,maxmem=1G");
    lab.must("object-add", r#"{"qom-type": "memory-backend-ram", "id": "m1", "size": 134217728}"#);
    lab.must("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#);
    lab.must("balloon", r#"{"value": 401604608}"#);
    lab.wait(100);
    assert!(lab.heard().contains(&r#"BALLOON_CHANGE {"actual": 401604608}"#.to_owned()));
    lab.must("device_del", r#"{"id": "d1"}"#);
    lab.wait(100);
    assert!(lab.heard().iter().all(|event| !event.starts_with("BALLOON_CHANGE")));
    assert_eq!(lab.query("query-balloon"), r#"{"actual": 267386880}"#);
}

#[test]
fn a_hostile_guest_makes_it_negative() {
    let hostile = || {
        let mut lab = with_balloon("512M");
        for pages in ["1048576", "4294967295", "4294967295"] {
            lab.guest_must("balloon-driver", &format!(r#"{{"pages": {pages}}}"#));
        }
        lab
    };
    // Writing the same again changes nothing, and is no event.
    let expected = [r#"BALLOON_CHANGE {"actual": -3758096384}"#, r#"BALLOON_CHANGE {"actual": -17591649169408}"#];
    Lab::check_in_both(hostile, &expected, &expected);
    assert_eq!(hostile().query("query-balloon"), r#"{"actual": -17591649169408}"#);
}

#[test]
fn a_driver_that_is_unloaded_gives_all_back_and_begins_again_when_it_is_loaded() {
    let mut lab = with_balloon("256M");
    lab.must("balloon", r#"{"value": 266338304}"#);
    lab.wait(100);
    lab.heard();
    lab.guest_must("balloon-driver", r#"{"present": false}"#);
    assert_eq!(lab.heard(), [r#"BALLOON_CHANGE {"actual": 268435456}"#]);
    lab.must("balloon", r#"{"value": 267386880}"#);
    lab.wait(100);
    assert_eq!(lab.heard(), [""; 0]);
    lab.guest_must("balloon-driver", r#"{"present": true}"#);
    lab.wait(100);
    assert_eq!(lab.heard(), [r#"BALLOON_CHANGE {"actual": 267386880}"#]);
}

#[test]
fn a_guest_that_boots_again_finds_its_target_there() {
    let mut lab = with_balloon("256M");
    lab.must("balloon", r#"{"value": 266338304}"#);
    lab.wait(100);
    lab.heard();
    lab.must("system_reset", "{}");
    // What the last guest wrote stands until the next one writes.
    assert_eq!(lab.query("query-balloon"), r#"{"actual": 266338304}"#);
    lab.wait(1000);
    let balloon: Vec<_> = lab.heard().into_iter().filter(|event| event.starts_with("BALLOON")).collect();
    assert_eq!(balloon, [r#"BALLOON_CHANGE {"actual": 267386880}"#, r#"BALLOON_CHANGE {"actual": 266338304}"#]);
}

#[test]
fn a_machine_without_a_balloon_says_so() {
    let mut lab = Lab::new(MachineConfig::default());
    for (command, arguments) in [("query-balloon", "{}"), ("balloon", r#"{"value": 1}"#)] {
        let error = lab.send(command, arguments).unwrap_err();
        assert_eq!(error.to_string(), "DeviceNotActive: No balloon device has been activated");
    }
    let error = lab.guest("balloon-driver", r#"{"stuck": true}"#).unwrap_err();
    assert_eq!(error.to_string(), "DeviceNotActive: No balloon device has been activated");
}
