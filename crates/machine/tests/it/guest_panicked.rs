//! `GUEST_PANICKED`: a guest OS panic was detected; and what the machine does then, by QEMU's four actions.

use crate::lab::Lab;
use qev_machine::MachineConfig;

fn with_action(action: &str) -> Lab {
    Lab::new(MachineConfig { panic: action.parse().unwrap(), ..MachineConfig::default() })
}

fn panicked(action: &str) -> Lab {
    let mut lab = with_action(action);
    lab.guest_must("panic", "{}");
    lab
}

#[test]
fn pause_stops_the_guest_and_keeps_it() {
    let expected = [r#"GUEST_PANICKED {"action": "pause"}"#, "STOP"];
    Lab::check_in_both(|| panicked("pause"), &expected, &expected);
    let mut lab = panicked("pause");
    assert_eq!(lab.query("query-status"), r#"{"status": "guest-panicked", "singlestep": false, "running": false}"#);
    assert_eq!(lab.machine.exit_status(), None);
}

#[test]
fn shutdown_ends_with_status_0() {
    let expected = [r#"GUEST_PANICKED {"action": "poweroff"}"#, r#"SHUTDOWN {"guest": true, "reason": "guest-panic"}"#];
    Lab::check_in_both(|| panicked("shutdown"), &expected, &expected);
    assert_eq!(panicked("shutdown").machine.exit_status(), Some(0));
}

#[test]
fn exit_failure_ends_with_status_1() {
    let expected = [r#"GUEST_PANICKED {"action": "poweroff"}"#, r#"SHUTDOWN {"guest": true, "reason": "guest-panic"}"#];
    Lab::check_in_both(|| panicked("exit-failure"), &expected, &expected);
    assert_eq!(panicked("exit-failure").machine.exit_status(), Some(1));
}

#[test]
fn none_lets_the_guest_run_on() {
    let expected = [r#"GUEST_PANICKED {"action": "run"}"#];
    Lab::check_in_both(|| panicked("none"), &expected, &expected);
    let mut lab = panicked("none");
    assert_eq!(lab.query("query-status"), r#"{"status": "running", "singlestep": false, "running": true}"#);
    // Then Linux with panic=-1 reboots, and the firmware resets once more.
    lab.wait(1000);
    let reset = r#"RESET {"guest": true, "reason": "guest-reset"}"#;
    assert_eq!(lab.heard()[1..], [reset, reset]);
}

#[test]
fn a_panicked_guest_that_is_let_go_on_reboots_as_in_the_recording() {
    let mut lab = panicked("pause");
    lab.wait(3_000);
    lab.heard();
    lab.must("cont", "{}");
    lab.wait(500);
    let reset = r#"RESET {"guest": true, "reason": "guest-reset"}"#;
    assert_eq!(lab.heard(), ["RESUME", reset, reset]);
    lab.must("system_reset", "{}");
    assert_eq!(lab.heard(), [r#"RESET {"guest": false, "reason": "host-qmp-system-reset"}"#]);
    assert_eq!(lab.query("query-status"), r#"{"status": "running", "singlestep": false, "running": true}"#);
}

#[test]
fn it_may_hang_or_panic_again_instead() {
    let mut lab = with_action("none");
    lab.guest_must("panic", r#"{"then": "run-on"}"#);
    lab.guest_must("panic", r#"{"then": "hang"}"#);
    lab.wait(60_000);
    assert_eq!(lab.heard(), [r#"GUEST_PANICKED {"action": "run"}"#; 2]);
}

#[test]
fn information_from_the_guest_is_carried_whole_where_the_dialect_has_a_place_for_it() {
    let windows = || {
        let mut lab = with_action("pause");
        let info = r#"{"type": "hyper-v", "arg1": 226, "arg2": 0, "arg3": 18446744073709551615, "arg4": 0, "arg5": 1}"#;
        lab.guest_must("panic", &format!(r#"{{"info": {info}}}"#));
        lab
    };
    Lab::check_in_both(
        windows,
        &[
            r#"GUEST_PANICKED {"action": "pause", "info": {"arg5": 1, "arg4": 0, "arg3": 18446744073709551615, "arg2": 0, "arg1": 226, "type": "hyper-v"}}"#,
            "STOP",
        ],
        &[r#"GUEST_PANICKED {"action": "pause"}"#, "STOP"],
    );
}

#[test]
fn a_guest_that_does_not_run_can_not_panic() {
    let mut lab = panicked("pause");
    let error = lab.guest("panic", "{}").unwrap_err();
    assert_eq!(error.desc, "the guest does not run (status 'guest-panicked'): send 'cont' to the monitor first");
}

#[test]
fn no_shutdown_keeps_the_machine_for_whoever_wants_to_look() {
    let kept = |action: &str| {
        let panic = action.parse().unwrap();
        let mut lab = Lab::new(MachineConfig { panic, no_shutdown: true, ..MachineConfig::default() });
        lab.guest_must("panic", "{}");
        lab
    };
    assert_eq!(kept("shutdown").heard(), [r#"GUEST_PANICKED {"action": "pause"}"#, "STOP"]);
    let mut lab = kept("exit-failure");
    assert_eq!(
        lab.heard(),
        [r#"GUEST_PANICKED {"action": "poweroff"}"#, r#"SHUTDOWN {"guest": true, "reason": "guest-panic"}"#, "STOP"]
    );
    assert_eq!(lab.query("query-status"), r#"{"status": "shutdown", "singlestep": false, "running": false}"#);
    assert_eq!(lab.machine.exit_status(), None);
}
