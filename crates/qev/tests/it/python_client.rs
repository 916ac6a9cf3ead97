//! The Python client `qemu.qmp` takes the simulated machine for a QEMU.

use crate::program::Machine;
use std::process::Command;

const SCRIPT: &str = include_str!("../data/qemu_qmp_client.py");

/// The Python that has `qemu.qmp`: `cargo xtask test` makes one and names it.
fn python() -> String {
    let python = std::env::var("QEV_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import qemu.qmp"]).output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "{python} has no qemu.qmp: run `cargo xtask test`, or `python3 -m pip install qemu.qmp`"
    );
    python
}

#[test]
#[ignore = "needs the Python package qemu.qmp: run by cargo xtask test"]
fn qemu_qmp_negotiates_executes_and_hears_the_five() {
    let machine = Machine::with_quorum(&["--name", "web1"]);
    let output =
        Command::new(python()).args(["-c", SCRIPT, &machine.monitor, &machine.guest]).output().expect("python runs");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    for event in ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"] {
        assert!(heard.lines().any(|line| line == event), "{event} in {heard}");
    }
}
