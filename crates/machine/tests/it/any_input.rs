//! No input panics a machine or hangs it: any commands, with any arguments, at any times.

use crate::lab::{QuorumLab, now};
use proptest::prelude::*;
use qev_machine::{MachineConfig, Memory, QuorumConfig, Uuid};
use qev_qmp::{Object, Value};
use std::time::Duration;

/// Names that commands know, so that arbitrary arguments get past the first check.
const NAMES: &[&str] = &[
    "value",
    "id",
    "qom-type",
    "size",
    "driver",
    "memdev",
    "slot",
    "addr",
    "node",
    "command-line",
    "cpu-index",
    "status",
    "source",
    "slot-type",
    "pages",
    "present",
    "stuck",
    "step-pages",
    "step-us",
    "plug",
    "unplug",
    "plug-ms",
    "unplug-ms",
    "answer",
    "after-ms",
    "operation",
    "errno",
    "sector",
    "times",
    "offset",
    "length",
    "pattern",
    "event",
    "data",
    "info",
    "then",
    "nosuch",
];

/// Texts that commands know.
const TEXTS: &[&str] = &[
    "",
    "m1",
    "m2",
    "d1",
    "d2",
    "memory-backend-ram",
    "pc-dimm",
    "0",
    "1",
    "CPU",
    "DIMM",
    "q0",
    "c0",
    "c1",
    "read",
    "write",
    "flush",
    "accept",
    "busy",
    "ignore",
    "fail",
    "shut-down",
    "run-on",
    "hang",
    "reboot",
    "BALLOON_CHANGE",
    "QUORUM_FAILURE",
    "qemu-io q0 \"read -P 1 0 1M\"",
    "qemu-io q0 \"write -P 2 511 2\"",
    "qemu-io q0 flush",
    "qemu-io c0 \"read 0 7E\"",
    "info balloon",
    "info memory-devices",
    "balloon 64",
    "stop",
    "cont",
    "system_reset",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::sample::select(TEXTS).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2_i64..300).prop_map(Value::from),
        (1_i64..64).prop_map(|n| Value::from(n << 21)),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            members(inner).prop_map(Value::from),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Object> {
    proptest::collection::vec((proptest::sample::select(NAMES), value), 0..5)
        .prop_map(|members| members.into_iter().fold(Object::new(), |object, (name, value)| object.with(name, value)))
}

/// Members that belong together often enough for devices to be plugged, unplugged and asked about.
fn sensible() -> impl Strategy<Value = (&'static str, Object)> {
    prop_oneof![
        (1_u64..400, proptest::sample::select(&["m1", "m2"][..])).prop_map(|(size, id)| {
            let backend = Object::new().with("qom-type", "memory-backend-ram").with("id", id).with("size", size << 21);
            ("object-add", backend)
        }),
        proptest::sample::select(&[("d1", "m1"), ("d2", "m2"), ("d1", "m2")][..]).prop_map(|(id, memdev)| {
            ("device_add", Object::new().with("driver", "pc-dimm").with("id", id).with("memdev", memdev))
        }),
        proptest::sample::select(&["d1", "d2"][..]).prop_map(|id| ("device_del", Object::new().with("id", id))),
        (1_i64..1 << 29).prop_map(|value| ("balloon", Object::new().with("value", value))),
        proptest::sample::select(&["stop", "cont", "cont", "system_reset", "system_powerdown"][..])
            .prop_map(|name| (name, Object::new())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_commands_with_any_arguments_at_any_times(
        steps in proptest::collection::vec(
            (any::<proptest::sample::Index>(), members(value()), 0_u64..2_000_000, sensible(), 0_u8..3),
            1..60,
        ),
        no_shutdown in any::<bool>(),
        paused in any::<bool>(),
    ) {
        let config = MachineConfig {
            memory: "256M,slots=2,maxmem=1G".parse().unwrap(),
            balloon: true,
            no_shutdown,
            paused,
            ..MachineConfig::default()
        };
        let mut machine = QuorumLab::with_config(&[0, 0, 1], "vote-threshold=2", config).lab.machine;
        let monitor: Vec<_> = machine.command_names().chain(["nosuch"]).filter(|name| *name != "quit").collect();
        let guest: Vec<_> = machine.guest_command_names().chain(["nosuch"]).collect();
        let mut at = Duration::ZERO;
        for (which, arguments, micros, (name, sensible), kind) in steps {
            at += Duration::from_micros(micros);
            let _ = match kind {
                0 => machine.execute(now(at), monitor[which.index(monitor.len())], arguments),
                1 => machine.guest_execute(now(at), guest[which.index(guest.len())], arguments),
                _ => machine.execute(now(at), name, sensible),
            };
            let events = machine.take_events();
            prop_assert!(events.len() <= 1100, "{}", events.len());
            prop_assert!(events.iter().all(|(time, _)| *time <= now(at).wall));
            prop_assert!(machine.deadline().is_none_or(|due| due >= at));
            for query in ["query-acpi-ospm-status", "query-memory-devices", "query-balloon", "query-status"] {
                let asked = machine.execute(now(at), query, Object::new());
                prop_assert!(asked.is_ok() || machine.exit_status().is_some(), "{query}: {asked:?}");
            }
        }
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,40}", lists in "[0-9kMG.,:=@a-z-]{0,40}") {
        for text in [text, lists] {
            let _ = text.parse::<Memory>();
            let _ = text.parse::<Uuid>();
            let _ = text.parse::<QuorumConfig>();
            let _ = qev_machine::parse_size(&text, 1 << 20);
            if let Ok(quorum) = format!("q0,vote-threshold=1,children={text}").parse::<QuorumConfig>() {
                prop_assert!(!quorum.children.is_empty());
            }
        }
    }

    #[test]
    fn any_line_for_qemu_io_and_the_human_monitor(line in "\\PC{0,40}", words in "[a-z0-9 \"\\\\-]{0,40}") {
        let mut machine = QuorumLab::new(&[0, 0, 0], "vote-threshold=2").lab.machine;
        for line in [line, words] {
            for line in [format!("qemu-io q0 \"{line}\""), format!("qemu-io q0 \"read {line}\""), line] {
                let arguments = Object::new().with("command-line", line);
                let _ = machine.execute(now(Duration::ZERO), "human-monitor-command", arguments);
            }
        }
    }
}
