//! `qev watch` on a real QEMU with a real Linux guest: all five events, with the values that QEMU sent.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::lab::five_events::{BALLOON_TARGET, DIMM, FIVE, plug_memory};
use xtask::lab::guest::{Guest, Options};
use xtask::lab::kernel::Kernel;
use xtask::lab::watch::{MONITOR_GONE, Output, Watch};
use xtask::workspace;

/// How long `qev watch` may take to end after QEMU has.
const END_PATIENCE: Duration = Duration::from_secs(120);

/// One machine, watched from boot to panic on a plain and on a pretty-printing monitor.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn qev_watch_prints_all_five_events_of_a_real_qemu() {
    let boots = if std::env::var_os("QEV_TEST_LONG").is_some() { 10 } else { 1 };
    for boot in 1..=boots {
        eprintln!("boot {boot} of {boots}");
        watch_one_machine();
    }
}

fn watch_one_machine() {
    let qev = workspace::qev_program().unwrap();
    let say = |line: &str| eprintln!("{line}");
    let kernel = Kernel::obtain(&say).unwrap();
    let mut guest = Guest::boot(&kernel, Options::for_the_five_events(), &say).unwrap();
    let mut watchers = ["plain", "pretty"].map(|monitor| {
        let socket = guest.monitor_socket(monitor).unwrap();
        let watch = Watch::start(&qev, monitor, Output::Json, socket, guest.scratch()).unwrap();
        watch.wait_until_attached().unwrap();
        watch
    });

    let mut sent = Vec::new();
    for provocation in FIVE {
        sent.extend((provocation.provoke)(guest.hands()).unwrap());
    }
    for watch in &watchers {
        watch.wait_for_record("GUEST_PANICKED", |record| record["event"] == "GUEST_PANICKED").unwrap();
    }
    assert!(guest.quit().unwrap().success());

    for watch in &mut watchers {
        let status = watch.wait_for_end(END_PATIENCE).unwrap();
        assert_eq!(status.code(), Some(MONITOR_GONE), "{status}");
        let records = watch.records().unwrap();
        all_as_sent(&records, &sent);
        all_five_as_documented(&records);
    }
}

/// The event that a command leads to, of a real guest that gives memory back: README shows this line.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_command_is_sent_and_what_it_leads_to_is_waited_for() {
    let say = |line: &str| eprintln!("{line}");
    let kernel = Kernel::obtain(&say).unwrap();
    let mut guest = Guest::boot(&kernel, Options::for_the_five_events(), &say).unwrap();
    plug_memory(guest.hands()).unwrap();
    let mut qev = Command::new(workspace::qev_program().unwrap());
    qev.arg("send").arg(guest.monitor_socket("plain").unwrap()).args(["device_del", &json!({"id": DIMM}).to_string()]);
    qev.args(["--wait", "DEVICE_DELETED", "--where", &format!("data.device={DIMM}"), "-o", "json"]);
    let output = qev.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let event: Value = serde_json::from_str(printed.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&event["event"], &event["data"]["device"]), (&json!("DEVICE_DELETED"), &json!(DIMM)));
}

/// Each event that the lab's own monitor got is there once, in the same order, with the same data and time.
fn all_as_sent(records: &[Value], sent: &[Value]) {
    let ours = |record: &&Value| FIVE.iter().any(|provocation| record["event"] == provocation.event);
    let printed: Vec<Value> = records
        .iter()
        .filter(ours)
        .map(|record| {
            assert_eq!(record["kind"], "event", "{record}");
            assert!(record["machine"].is_string(), "{record}");
            json!({"event": record["event"], "data": record["data"], "timestamp": record["timestamp"]})
        })
        .collect();
    assert_eq!(printed, sent);
}

/// Each of the five has the values that follow from what was done to the machine.
fn all_five_as_documented(records: &[Value]) {
    let data = |name: &str| -> Vec<Value> {
        records.iter().filter(|record| record["event"] == name).map(|record| record["data"].clone()).collect()
    };
    assert_eq!(data("BALLOON_CHANGE").last(), Some(&json!({"actual": BALLOON_TARGET})));
    let ost = |source: u32, status: u32| {
        let info = json!({"slot": "0", "slot-type": "DIMM", "source": source, "status": status});
        json!({ "info": info })
    };
    let with_device = |mut ost: Value| {
        ost["info"]["device"] = json!(DIMM);
        ost
    };
    assert_eq!(data("ACPI_DEVICE_OST"), [with_device(ost(1, 0)), with_device(ost(3, 0x84)), ost(3, 0)]);
    assert_eq!(
        data("QUORUM_REPORT_BAD"),
        [json!({"node-name": "c1", "sector-num": 8, "sectors-count": 8, "type": "read"})]
    );
    assert_eq!(data("QUORUM_FAILURE"), [json!({"reference": "q0", "sector-num": 128, "sectors-count": 1})]);
    assert_eq!(data("GUEST_PANICKED"), [json!({"action": "pause"})]);
}
