//! What to do to a machine so that it sends each of the five events, for the reason that the event is there for.
//!
//! Each function acts through the control monitor, waits there until QEMU has sent what it should, and returns those
//! events as QEMU sent them. So when a watcher lacks one, it is certain that it was sent; and what the watcher shows
//! can be compared with it to the last member.

#![expect(clippy::indexing_slicing, reason = "a JSON value without that member reads as null, and never panics")]

use serde_json::{Value, json};

use super::EVENT_PATIENCE;
use super::guest::Hands;
use super::quorum::{ALL_DIFFER, NODE, ONE_DIFFERS, Region};
use crate::error::{Context, Error};

/// What the balloon is told to leave the guest. Much less, and the guest sometimes dies of it.
pub const BALLOON_TARGET: u64 = 192 << 20;

/// The name of the memory that is plugged in and out.
pub const DIMM: &str = "d1";

/// The size of that memory: the least that Linux takes on this architecture.
const DIMM_SIZE: u64 = 128 << 20;

/// A device check or an ejection, as `source` in `ACPI_DEVICE_OST`, and what the guest says about it, as `status`.
const DEVICE_CHECK: u64 = 1;
const EJECT_REQUEST: u64 = 3;
const SUCCESS: u64 = 0;
const IN_PROGRESS: u64 = 0x84;

/// One of the five: its name, in plain words what is done, and the doing.
#[derive(Debug, Clone, Copy)]
pub struct Provocation {
    /// The event that comes of it.
    pub event: &'static str,
    /// What is done, for a person who watches.
    pub words: &'static str,
    /// Does it, and returns the events that QEMU sent.
    pub provoke: fn(&mut Hands) -> Result<Vec<Value>, Error>,
}

/// All five, in an order in which one machine can send them: a panic is the last thing that a guest does, and the
/// balloon counts plugged memory as well, so it moves before there is any.
pub const FIVE: [Provocation; 5] = [
    Provocation {
        event: "BALLOON_CHANGE",
        words: "the host wants memory back: the balloon shall leave the guest 192 MiB of its 256",
        provoke: balloon_change,
    },
    Provocation {
        event: "ACPI_DEVICE_OST",
        words: "128 MiB of memory are plugged in and, once the guest has taken them, out again",
        provoke: acpi_device_ost,
    },
    Provocation {
        event: "QUORUM_REPORT_BAD",
        words: "a disk of three replicas is read where replica c1 differs from the two others",
        provoke: quorum_report_bad,
    },
    Provocation {
        event: "QUORUM_FAILURE",
        words: "the same disk is read where all three replicas differ",
        provoke: quorum_failure,
    },
    Provocation {
        event: "GUEST_PANICKED",
        words: "the guest's kernel is made to panic, by sysrq from inside",
        provoke: guest_panicked,
    },
];

/// The balloon grows until the guest has [`BALLOON_TARGET`] left. Returns every step that QEMU reported.
pub fn balloon_change(guest: &mut Hands) -> Result<Vec<Value>, Error> {
    let failed = || "the balloon did not reach its size".to_owned();
    let control = &mut guest.control;
    control
        .execute(&json!({"execute": "balloon", "arguments": {"value": BALLOON_TARGET}}).to_string())
        .context(failed)?;
    let mut steps = Vec::new();
    loop {
        let step = control.wait_for_event("BALLOON_CHANGE", EVENT_PATIENCE).context(failed)?;
        let reached = step["data"]["actual"] == BALLOON_TARGET;
        steps.push(step);
        if reached {
            break;
        }
    }
    let asked = control.execute(r#"{"execute": "query-balloon"}"#).context(failed)?;
    if asked["actual"] == BALLOON_TARGET {
        Ok(steps)
    } else {
        Err(Error::new(format!("the last BALLOON_CHANGE said {BALLOON_TARGET}, but query-balloon says {asked}")))
    }
}

/// Memory is plugged in, and when the guest has taken it, out again. Returns the guest's three answers: it has taken
/// it, it is giving it back, it has given it back.
pub fn acpi_device_ost(guest: &mut Hands) -> Result<Vec<Value>, Error> {
    let taken = plug_memory(guest)?;
    let unplug = json!({"execute": "device_del", "arguments": {"id": DIMM}});
    guest.control.execute(&unplug.to_string()).context(|| "the memory can not be asked back".to_owned())?;
    Ok(vec![taken, answer(guest, EJECT_REQUEST, IN_PROGRESS)?, answer(guest, EJECT_REQUEST, SUCCESS)?])
}

/// Memory is plugged in. Returns the guest's answer: it has taken it.
pub fn plug_memory(guest: &mut Hands) -> Result<Value, Error> {
    let control = &mut guest.control;
    let memory = json!({"qom-type": "memory-backend-ram", "id": "m1", "size": DIMM_SIZE});
    let plug = [
        json!({"execute": "object-add", "arguments": memory}),
        json!({"execute": "device_add", "arguments": {"driver": "pc-dimm", "id": DIMM, "memdev": "m1"}}),
    ];
    for command in plug {
        control.execute(&command.to_string()).context(|| "the memory can not be plugged in".to_owned())?;
    }
    answer(guest, DEVICE_CHECK, SUCCESS)
}

/// The next `ACPI_DEVICE_OST`, which must be this one: any other is the guest saying no.
fn answer(guest: &mut Hands, source: u64, status: u64) -> Result<Value, Error> {
    let expected = format!("the guest's answer with source {source} and status {status}");
    let event = guest
        .control
        .wait_for_event("ACPI_DEVICE_OST", EVENT_PATIENCE)
        .context(|| format!("{expected} did not come"))?;
    let info = &event["data"]["info"];
    if info["source"] == source && info["status"] == status {
        Ok(event)
    } else {
        Err(Error::new(format!("expected {expected}, but it said {}", event["data"])))
    }
}

/// The disk is read where one replica differs from the two others.
pub fn quorum_report_bad(guest: &mut Hands) -> Result<Vec<Value>, Error> {
    read_quorum(guest, ONE_DIFFERS, "QUORUM_REPORT_BAD")
}

/// The disk is read where no two replicas agree.
pub fn quorum_failure(guest: &mut Hands) -> Result<Vec<Value>, Error> {
    read_quorum(guest, ALL_DIFFER, "QUORUM_FAILURE")
}

fn read_quorum(guest: &mut Hands, region: Region, event: &str) -> Result<Vec<Value>, Error> {
    let Region { offset, length } = region;
    let line = format!("qemu-io {NODE} \"read {offset} {length}\"");
    let command = json!({"execute": "human-monitor-command", "arguments": {"command-line": line}});
    let control = &mut guest.control;
    let printed = control.execute(&command.to_string()).context(|| format!("cannot run {line}"))?;
    // The human monitor answers with text, and with an error's text too; what qemu-io itself prints goes elsewhere.
    if printed.as_str() != Some("") {
        return Err(Error::new(format!("{line}: {printed}")));
    }
    let event = control.wait_for_event(event, EVENT_PATIENCE).context(|| format!("{line} led to nothing"))?;
    Ok(vec![event])
}

/// The guest's kernel panics, tells QEMU so, and QEMU stops the machine.
pub fn guest_panicked(guest: &mut Hands) -> Result<Vec<Value>, Error> {
    guest.serial.tell("echo c > /proc/sysrq-trigger")?;
    let failed = || "the guest was made to panic, and QEMU does not say so".to_owned();
    let event = guest.control.wait_for_event("GUEST_PANICKED", EVENT_PATIENCE).context(failed)?;
    if event["data"]["action"] == "pause" {
        guest.control.wait_for_event("STOP", EVENT_PATIENCE).context(failed)?;
    }
    Ok(vec![event])
}
