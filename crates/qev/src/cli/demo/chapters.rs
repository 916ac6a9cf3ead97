//! The demo's story: a chapter for each of the five events, in the document's order. In each the reason comes first, then
//! what causes it, then the event.

use super::stage::{DemoError, Stage, bold};
use qev_qmp::Typed;

pub(super) async fn play(stage: &mut Stage) -> Result<(), DemoError> {
    stage.show(&bold("qev demo: five events of QEMU, each for its reason"))?;
    stage.show("A machine without a CPU runs in this process: 256 MiB, a balloon, two DIMM slots, a panic device,")?;
    stage.show("and a disk in three replicas that vote. A client watches its monitor as it would watch a QEMU's.")?;
    stage.pause().await;
    acpi_device_ost(stage).await?;
    balloon_change(stage).await?;
    guest_panicked(stage).await?;
    quorum_failure(stage).await?;
    quorum_report_bad(stage).await?;
    stage.show("")?;
    stage.show(&bold("That was all five. The same from a real QEMU: cargo xtask lab"))?;
    stage.show("Next: qev explain GUEST_PANICKED; qev simulate --qmp vm.sock; qev watch unix:vm.sock")
}

async fn chapter(stage: &mut Stage, number: u8, event: &str, emitted_when: &str) -> Result<(), DemoError> {
    stage.show("")?;
    stage.show(&bold(&format!("{number} of 5  {event}: emitted when {emitted_when}")))?;
    stage.pause().await;
    Ok(())
}

async fn acpi_device_ost(stage: &mut Stage) -> Result<(), DemoError> {
    chapter(stage, 1, "ACPI_DEVICE_OST", "the guest runs ACPI _OST").await?;
    stage.show("    The host plugs 128 MiB of memory in; the guest takes it, and says so.")?;
    stage.host("object-add", r#"{"qom-type": "memory-backend-ram", "id": "m1", "size": 134217728}"#).await?;
    stage.host("device_add", r#"{"driver": "pc-dimm", "id": "d1", "memdev": "m1"}"#).await?;
    stage.await_event("ACPI_DEVICE_OST", |_| true).await?;
    stage.pause().await;
    stage.show("    The host wants it back; the guest begins to release it, and has done so.")?;
    stage.host("device_del", r#"{"id": "d1"}"#).await?;
    let released = |event: &Typed| matches!(event, Typed::AcpiDeviceOst(ost) if ost.source == 3 && ost.status == 0);
    stage.await_event("ACPI_DEVICE_OST", released).await?;
    stage.pause().await;
    Ok(())
}

async fn balloon_change(stage: &mut Stage) -> Result<(), DemoError> {
    chapter(stage, 2, "BALLOON_CHANGE", "the guest changes the balloon").await?;
    stage.show(
        "    The host asks for half of the memory; the guest's driver gives it, 1 MiB a step. Of the 128 steps",
    )?;
    stage.show("    QEMU tells the first at once and the last after a second: it throttles this event.")?;
    stage.host("balloon", r#"{"value": 134217728}"#).await?;
    let settled = |event: &Typed| matches!(event, Typed::BalloonChange(balloon) if balloon.actual == 134_217_728);
    let last = stage.await_event("BALLOON_CHANGE", settled).await?;
    let asked = stage.host("query-balloon", "").await?;
    let said = asked.get("actual").map(|actual| actual.to_string()).unwrap_or_default();
    let Typed::BalloonChange(last) = last else { return Ok(()) };
    if said != last.actual.to_string() {
        return Err(DemoError::NotEqual { actual: said, expected: last.actual.to_string() });
    }
    stage
        .show(&format!("    query-balloon says actual {said}: equal to the last event's, as the document promises."))?;
    stage.pause().await;
    Ok(())
}

async fn guest_panicked(stage: &mut Stage) -> Result<(), DemoError> {
    chapter(stage, 3, "GUEST_PANICKED", "a guest OS panic is detected").await?;
    stage
        .show("    The guest's kernel panics and tells its panic device; the machine runs with -action panic=pause.")?;
    stage.guest("panic", "").await?;
    stage.await_event("GUEST_PANICKED", |_| true).await?;
    let status = stage.host("query-status", "").await?;
    let status = status.get("status").and_then(|status| status.string()).unwrap_or_default();
    stage.show(&format!("    query-status says {status}. The operator lets it go on, and the guest reboots."))?;
    stage.host("cont", "").await?;
    stage.pause().await;
    Ok(())
}

async fn quorum_failure(stage: &mut Stage) -> Result<(), DemoError> {
    chapter(stage, 4, "QUORUM_FAILURE", "no quorum can be established").await?;
    stage.show("    Sector 128 of the disk is read: all three replicas answer, and no two of them agree.")?;
    stage.host("human-monitor-command", r#"{"command-line": "qemu-io q0 \"read 65536 512\""}"#).await?;
    stage.await_event("QUORUM_FAILURE", |_| true).await?;
    stage.pause().await;
    Ok(())
}

async fn quorum_report_bad(stage: &mut Stage) -> Result<(), DemoError> {
    chapter(stage, 5, "QUORUM_REPORT_BAD", "a quorum child is found bad").await?;
    stage.show("    Sectors 8 to 15 are read: replicas c0 and c2 agree, c1 has something else and is outvoted.")?;
    stage.host("human-monitor-command", r#"{"command-line": "qemu-io q0 \"read 4096 4096\""}"#).await?;
    stage.await_event("QUORUM_REPORT_BAD", |_| true).await?;
    stage.pause().await;
    Ok(())
}
