//! `QUORUM_FAILURE`: no quorum could be established, because children fail or because too few of them agree.

use crate::lab::{Lab, QuorumLab};
use qev_qmp::Dialect;

/// The same story in both dialects: the machine is gone with its images when it has been heard.
fn check(story: impl Fn() -> QuorumLab, qemu: &[&str], document: &[&str]) {
    assert_eq!(story().lab.heard_in(Dialect::Qemu), qemu, "QEMU's dialect");
    assert_eq!(story().lab.heard_in(Dialect::Document), document, "the document's dialect");
}

fn fails(lab: &mut Lab, node: &str, operation: &str, errno: i32) {
    lab.guest_must("disk-error", &format!(r#"{{"node": "{node}", "operation": "{operation}", "errno": {errno}}}"#));
}

#[test]
fn all_replicas_differ() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 1, 2], "vote-threshold=2");
            machine.lab.qemu_io("q0", "read 65536 512");
            assert_eq!(machine.lab.machine.take_output(), "read failed: Input/output error\n");
            machine
        },
        // Nobody is named bad when nobody is known to be right.
        &[r#"QUORUM_FAILURE {"reference": "q0", "sectors-count": 1, "sector-num": 128}"#],
        &[r#"QUORUM_FAILURE {"reference": "q0", "sector-num": 128, "sector-count": 1}"#],
    );
}

#[test]
fn the_winner_has_fewer_votes_than_the_threshold() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 1, 0], "vote-threshold=3");
            machine.lab.qemu_io("q0", "read 511 2");
            machine
        },
        &[r#"QUORUM_FAILURE {"reference": "q0", "sectors-count": 2, "sector-num": 0}"#],
        &[r#"QUORUM_FAILURE {"reference": "q0", "sector-num": 0, "sector-count": 2}"#],
    );
}

#[test]
fn too_few_children_can_be_read() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
            fails(&mut machine.lab, "c0", "read", 5);
            fails(&mut machine.lab, "c1", "read", 28);
            machine.lab.qemu_io("q0", "read 512 512");
            // Of errors that equally many children have, the later wins too.
            assert_eq!(machine.lab.machine.take_output(), "read failed: No space left on device\n");
            machine
        },
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c0", "sectors-count": 1, "sector-num": 1, "type": "read", "error": "Input/output error"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 1, "sector-num": 1, "type": "read", "error": "No space left on device"}"#,
            r#"QUORUM_FAILURE {"reference": "q0", "sectors-count": 1, "sector-num": 1}"#,
        ],
        &[
            r#"QUORUM_REPORT_BAD {"error": "Input/output error", "node-name": "c0", "sector-num": 1, "sector-count": 1}"#,
            r#"QUORUM_REPORT_BAD {"error": "No space left on device", "node-name": "c1", "sector-num": 1, "sector-count": 1}"#,
            r#"QUORUM_FAILURE {"reference": "q0", "sector-num": 1, "sector-count": 1}"#,
        ],
    );
}

#[test]
fn too_few_children_can_be_written() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
            fails(&mut machine.lab, "c1", "write", 5);
            fails(&mut machine.lab, "c2", "write", 5);
            machine.lab.qemu_io("q0", "write -P 7 0 1k");
            assert_eq!(std::fs::read(&machine.images[0]).unwrap()[1023..1025], [7, 0]);
            assert_eq!(std::fs::read(&machine.images[1]).unwrap()[0], 0);
            machine
        },
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 2, "sector-num": 0, "type": "write", "error": "Input/output error"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c2", "sectors-count": 2, "sector-num": 0, "type": "write", "error": "Input/output error"}"#,
            r#"QUORUM_FAILURE {"reference": "q0", "sectors-count": 2, "sector-num": 0}"#,
        ],
        &[
            r#"QUORUM_REPORT_BAD {"error": "Input/output error", "node-name": "c1", "sector-num": 0, "sector-count": 2}"#,
            r#"QUORUM_REPORT_BAD {"error": "Input/output error", "node-name": "c2", "sector-num": 0, "sector-count": 2}"#,
            r#"QUORUM_FAILURE {"reference": "q0", "sector-num": 0, "sector-count": 2}"#,
        ],
    );
}

#[test]
fn a_flush_never_leads_to_it_nor_does_a_read_one_by_one() {
    let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2,read-pattern=fifo");
    for node in ["c0", "c1", "c2"] {
        fails(&mut machine.lab, node, "flush", 5);
        fails(&mut machine.lab, node, "read", 5);
    }
    machine.lab.qemu_io("q0", "write 0 512");
    machine.lab.qemu_io("q0", "flush");
    machine.lab.qemu_io("q0", "read 0 512");
    let heard = machine.lab.heard();
    assert_eq!(heard.len(), 6);
    assert!(heard.iter().all(|event| event.starts_with("QUORUM_REPORT_BAD")), "{heard:?}");
}
