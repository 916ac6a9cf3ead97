//! `QUORUM_REPORT_BAD`: a quorum child was found bad, because it failed or because it was outvoted.

use crate::lab::{QuorumLab, poke};
use qev_machine::{Machine, MachineConfig, QuorumChildConfig, QuorumConfig, ReadPattern};
use qev_qmp::Dialect;

/// The same story in both dialects: the machine is gone with its images when it has been heard.
fn check(story: impl Fn() -> QuorumLab, qemu: &[&str], document: &[&str]) {
    assert_eq!(story().lab.heard_in(Dialect::Qemu), qemu, "QEMU's dialect");
    assert_eq!(story().lab.heard_in(Dialect::Document), document, "the document's dialect");
}

#[test]
fn one_replica_differs_where_it_is_read() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
            machine.lab.qemu_io("q0", "read 4096 4096");
            assert_eq!(machine.lab.heard(), [""; 0]);
            poke(&machine.images[1], 5000, b"rot");
            machine.lab.qemu_io("q0", "read 4096 4096");
            machine.lab.qemu_io("q0", "read -q -P 0 4608 512");
            machine.lab.qemu_io("q0", "read 5120 512");
            machine
        },
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 8, "sector-num": 8, "type": "read"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 1, "sector-num": 9, "type": "read"}"#,
        ],
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sector-num": 8, "sector-count": 8}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sector-num": 9, "sector-count": 1}"#,
        ],
    );
}

#[test]
fn the_reader_gets_what_the_winners_have() {
    let mut machine = QuorumLab::new(&[1, 2, 1, 3, 1], "vote-threshold=2");
    machine.lab.qemu_io("q0", "read -P 1 0 512");
    assert_eq!(machine.lab.machine.take_output(), "read 512/512 bytes at offset 0\n512 bytes, 1 ops\n");
    // Losers are named from the last to the first.
    assert_eq!(
        machine.lab.heard(),
        [
            r#"QUORUM_REPORT_BAD {"node-name": "c3", "sectors-count": 1, "sector-num": 0, "type": "read"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 1, "sector-num": 0, "type": "read"}"#,
        ]
    );
}

#[test]
fn on_a_tie_the_version_of_the_later_child_wins() {
    let mut machine = QuorumLab::new(&[1, 2, 1, 2], "vote-threshold=2");
    machine.lab.qemu_io("q0", "read -q -P 2 0 1");
    assert_eq!(machine.lab.machine.take_output(), "");
    assert_eq!(
        machine.lab.heard(),
        [
            r#"QUORUM_REPORT_BAD {"node-name": "c2", "sectors-count": 1, "sector-num": 0, "type": "read"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c0", "sectors-count": 1, "sector-num": 0, "type": "read"}"#,
        ]
    );
}

#[test]
fn a_child_that_can_not_be_read_is_reported_with_its_error() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
            machine.lab.guest_must("disk-error", r#"{"node": "c1", "operation": "read", "errno": 5, "sector": 9}"#);
            machine.lab.qemu_io("q0", "read 0 4k");
            machine.lab.qemu_io("q0", "read 4k 4k");
            machine
        },
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c1", "sectors-count": 8, "sector-num": 8, "type": "read", "error": "Input/output error"}"#,
        ],
        &[
            r#"QUORUM_REPORT_BAD {"error": "Input/output error", "node-name": "c1", "sector-num": 8, "sector-count": 8}"#,
        ],
    );
}

#[test]
fn one_that_can_not_be_written_or_flushed_too() {
    check(
        || {
            let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
            machine.lab.guest_must("disk-error", r#"{"node": "c2", "operation": "write", "errno": 28, "times": 1}"#);
            machine.lab.guest_must("disk-error", r#"{"node": "c0", "operation": "flush", "errno": 5}"#);
            // Nothing was written yet, so there is nothing to flush.
            machine.lab.qemu_io("q0", "flush");
            machine.lab.qemu_io("q0", "write 0 512");
            machine.lab.qemu_io("q0", "write 0 512");
            machine.lab.qemu_io("q0", "flush");
            machine.lab.guest_must("disk-error", r#"{"node": "c0", "operation": "flush", "errno": 0}"#);
            machine.lab.qemu_io("q0", "flush");
            machine
        },
        &[
            r#"QUORUM_REPORT_BAD {"node-name": "c2", "sectors-count": 1, "sector-num": 0, "type": "write", "error": "No space left on device"}"#,
            r#"QUORUM_REPORT_BAD {"node-name": "c0", "sectors-count": 0, "sector-num": 0, "type": "flush", "error": "Input/output error"}"#,
        ],
        &[
            r#"QUORUM_REPORT_BAD {"error": "No space left on device", "node-name": "c2", "sector-num": 0, "sector-count": 1}"#,
            r#"QUORUM_REPORT_BAD {"error": "Input/output error", "node-name": "c0", "sector-num": 0, "sector-count": 0}"#,
        ],
    );
}

#[test]
fn one_after_the_other_each_that_fails_is_reported_until_one_answers() {
    let mut machine = QuorumLab::new(&[1, 1, 3], "vote-threshold=2,read-pattern=fifo");
    machine.lab.guest_must("disk-error", r#"{"node": "c0", "operation": "read", "errno": 5}"#);
    machine.lab.qemu_io("q0", "read -q -P 1 513 512");
    assert_eq!(machine.lab.machine.take_output(), "");
    assert_eq!(
        machine.lab.heard(),
        [
            r#"QUORUM_REPORT_BAD {"node-name": "c0", "sectors-count": 2, "sector-num": 1, "type": "read", "error": "Input/output error"}"#
        ]
    );
}

#[test]
fn a_replica_is_overwritten_by_hand_and_a_child_by_itself_is_no_quorum() {
    let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2");
    machine.lab.guest_must("disk-corrupt", r#"{"node": "c1", "offset": 0, "length": 512, "pattern": 7}"#);
    machine.lab.qemu_io("c1", "read -q -P 7 0 512");
    assert_eq!((machine.lab.machine.take_output().as_str(), machine.lab.heard()), ("", vec![]));
    machine.lab.qemu_io("q0", "read 0 512");
    assert_eq!(machine.lab.heard().len(), 1);
    let error = machine.lab.guest("disk-corrupt", r#"{"node": "c9", "offset": 0, "length": 1}"#).unwrap_err();
    assert_eq!(error.desc, "no quorum child has the node name 'c9': expected one of c0, c1, c2");
    let error = machine.lab.guest("disk-corrupt", r#"{"node": "c0", "offset": 1048576, "length": 1}"#).unwrap_err();
    assert_eq!(error.desc, "the range goes past the end of 'c0', which has 1048576 bytes");
}

#[test]
fn a_large_read_does_not_need_as_much_memory() {
    let mut machine = QuorumLab::new(&[5, 5, 5], "vote-threshold=2");
    poke(&machine.images[2], 1_048_575, b"x");
    machine.lab.qemu_io("q0", "read -q -P 5 0 1M");
    assert_eq!(machine.lab.machine.take_output(), "");
    assert_eq!(
        machine.lab.heard(),
        [r#"QUORUM_REPORT_BAD {"node-name": "c2", "sectors-count": 2048, "sector-num": 0, "type": "read"}"#]
    );
}

#[test]
fn files_that_can_not_be_children_are_refused_by_name() {
    let folder = crate::lab::Folder::new();
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    for (name, bytes) in [("a", 1024), ("b", 1024), ("short", 512), ("odd", 1000)] {
        std::fs::write(path(name), vec![0; bytes]).unwrap();
    }
    let refused = |children: &[&str]| {
        let children = children.iter().map(|name| QuorumChildConfig { node_name: None, path: path(name).into() });
        let quorum = QuorumConfig {
            node_name: "q0".to_owned(),
            vote_threshold: 1,
            children: children.collect(),
            read_pattern: ReadPattern::Quorum,
        };
        let made = Machine::new(MachineConfig { quorums: vec![quorum], ..MachineConfig::default() });
        made.map(|_| ()).map_err(|error| error.to_string().replace(&path(""), ""))
    };
    assert_eq!(refused(&["a", "b"]), Ok(()));
    // 1000 bytes are two sectors, as 1024 are.
    assert_eq!(refused(&["a", "odd"]), Ok(()));
    for (children, expected) in [
        (
            &["a", "none"][..],
            "quorum child 'none' can not be opened for reading and writing: expected an existing raw image, such as 'truncate -s 64M FILE' makes",
        ),
        (&["a", "."], "quorum child '.' is not a regular file: expected a raw image"),
        (&["a", "b", "./a"], "quorum child './a' is the same file as another child: give each child a file of its own"),
        (
            &["a", "short"],
            "quorum child 'short' has 1 sectors of 512 bytes where the first child has 2: \
             make all children of a quorum the same size",
        ),
        (&[], "a quorum can not be as given"),
    ] {
        assert_eq!(refused(children), Err(expected.to_owned()));
    }
}
