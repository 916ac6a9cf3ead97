//! Nothing grows without bound, whatever a guest or a client asks for.

use crate::lab::{Lab, now, object};
use qev_machine::MachineConfig;
use std::time::Duration;

#[test]
fn a_balloon_of_a_hundred_million_steps_comes_in_pieces() {
    let memory = "1T".parse().unwrap();
    let mut lab = Lab::new(MachineConfig { memory, balloon: true, ..MachineConfig::default() });
    lab.guest_must("balloon-driver", r#"{"step-pages": 1, "step-us": 0}"#);
    lab.must("balloon", r#"{"value": 1}"#);
    for _ in 0..10 {
        lab.machine.advance(now(Duration::from_secs(3600)));
        // There is more: the machine is due at once.
        assert_eq!(lab.machine.deadline(), Some(Duration::from_secs(3600)));
        assert_eq!(lab.machine.take_events().len(), 1024);
    }
    // A driver that takes nothing gets nothing more, and can still command.
    for _ in 0..10 {
        lab.machine.advance(now(Duration::from_secs(3600)));
    }
    lab.must("stop", "{}");
    assert!(lab.heard().len() <= 1025);
}

#[test]
fn events_that_nobody_takes_are_counted_when_they_are_lost() {
    let mut lab = Lab::new(MachineConfig::default());
    for _ in 0..70_000 {
        let emitted = lab.machine.guest_execute(now(Duration::ZERO), "emit", object(r#"{"event": "WAKEUP"}"#));
        assert!(emitted.is_ok());
    }
    assert_eq!((lab.machine.take_events().len(), lab.machine.lost_events()), (65_536, 70_000 - 65_536));
}

#[test]
fn a_flood_of_unplug_requests_is_one_after_the_other_for_the_guest() {
    let memory = "256M,slots=2,maxmem=1G".parse().unwrap();
    let mut lab = Lab::new(MachineConfig { memory, ..MachineConfig::default() });
    lab.guest_must("dimm-driver", r#"{"unplug": "busy"}"#);
    lab.must("object-add", r#"{"qom-type": "memory-backend-ram", "id": "m1", "size": 134217728}"#);
    lab.must("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#);
    for _ in 0..5000 {
        lab.must("device_del", r#"{"id": "d1"}"#);
    }
    lab.wait(3_600_000);
    // Plugged once, and 1024 requests that had room to wait, each answered twice; the rest were one request.
    let answers = lab.heard().len();
    assert!((2 * 1023..=1 + 2 * 1026).contains(&answers), "{answers}");
}

#[test]
fn objects_are_bounded() {
    let mut lab = Lab::new(MachineConfig::default());
    let add = |lab: &mut Lab, i: usize| {
        lab.send("object-add", &format!(r#"{{"qom-type": "memory-backend-ram", "id": "m{i}", "size": 1}}"#))
    };
    for i in 0..4096 {
        add(&mut lab, i).unwrap();
    }
    assert_eq!(add(&mut lab, 4096).unwrap_err().desc, "cannot set up guest memory 'm4096': Cannot allocate memory");
}
