//! What is said about `GUEST_PANICKED`: the guest's kernel gave up, and what QEMU did about it.

use super::Meaning;
use crate::explain::{Explanation, member};
use crate::plain;
use crate::severity::Severity;
use qev_qmp::Object;
use qev_qmp::event::{GuestPanicInformation, GuestPanicked, PanicAction};

/// A panic is critical whatever QEMU did about it: paused, powered off or running on, the guest's service is gone.
pub(super) fn meaning(event: &GuestPanicked) -> Meaning {
    let mut sentence = "guest kernel panicked".to_owned();
    if let Some(info) = &event.info {
        sentence.push_str(&format!(" ({})", information(info)));
    }
    sentence.push_str(&match &event.action {
        PanicAction::Pause => "; QEMU paused it".into(),
        PanicAction::Poweroff => "; QEMU powered it off".into(),
        PanicAction::Run => "; it runs on".into(),
        PanicAction::Other(action) => format!("; QEMU's action: {}", plain::name(action)),
    });
    Meaning::new(Severity::Critical, sentence)
}

fn information(info: &GuestPanicInformation) -> String {
    match info {
        GuestPanicInformation::HyperV { args: [code, ..] } => format!("bug check {code:#x}"),
        GuestPanicInformation::S390 { core, psw_addr, reason, .. } => {
            format!("core {core}, {} at {psw_addr:#x}", plain::name(reason.as_str()))
        }
        GuestPanicInformation::Tdx { error_code, message, .. } => {
            format!("TDX error {error_code:#x}, \"{}\"", plain::phrase(message))
        }
        GuestPanicInformation::Other(object) => other(object),
        _ => "with information".into(),
    }
}

/// A kind that has no type yet (`sev`, from QEMU 11.0, is known), or one whose members are not as they should be.
fn other(object: &Object) -> String {
    let number = |name| object.get(name).and_then(qev_qmp::Value::as_u64);
    match object.get("type").and_then(qev_qmp::Value::as_str) {
        Some("sev") => match (number("set"), number("code")) {
            (Some(set), Some(code)) => format!("SEV reason {code:#x} of set {set:#x}"),
            _ => "SEV".into(),
        },
        Some(kind) => format!("information of type {}", plain::name(kind)),
        None => "information without a type".into(),
    }
}

pub(super) fn advice(event: &GuestPanicked) -> &'static str {
    match &event.action {
        PanicAction::Pause => {
            "The guest stands still with its memory as it was: save that with dump-guest-memory if you want to know \
             why. Then start it anew with system_reset and cont, or end it with quit."
        }
        PanicAction::Poweroff => {
            "QEMU ends: start the machine again. To be able to look at the guest's memory next time, start it with \
             -action panic=pause."
        }
        PanicAction::Run => {
            "QEMU leaves it to the guest: it may reboot or save a crash dump by itself. If it does neither, \
             system_reset starts it anew."
        }
        PanicAction::Other(_) => "Look at query-status: it tells what QEMU did with the guest.",
    }
}

pub(super) static EXPLANATION: Explanation = Explanation::new(
    "GUEST_PANICKED",
    "1.5",
    "the guest's operating system tells its panic device (pvpanic, Hyper-V's crash registers, …) that it panicked",
    &[
        member("action", "GuestPanicAction").says(
            "what QEMU did: pause; poweroff (since 2.8); run, the guest runs on (since 5.0). Chosen with -action \
             panic=, the default is poweroff",
        ),
        member("info", "GuestPanicInformation").optional().since("2.9").says(
            "what the guest told, by its type: hyper-v has arg1 to arg5, where arg1 is the bug check code of \
             Windows; s390 (since 2.12) the core, its program status word and the reason; tdx (since 10.1) an error \
             code and a message that the guest wrote; sev (since 11.0) a reason and its set",
        ),
    ],
)
.details(&[
    "After pause come STOP and the status guest-panicked; after poweroff comes SHUTDOWN with reason guest-panic; \
     after run comes nothing. With -no-shutdown the default is pause.",
    "Once a panic since QEMU 6.0; QEMU 2.8 to 5.2 sent pause and then poweroff. Never throttled.",
    "A guest without a panic device, or one whose kernel hangs instead of panicking, never causes it.",
])
.dialects(
    "The document knows one action only, pause, and no info: both are kept when they are there, but info is dropped \
     when an event is written in the document's form.",
)
.advice(
    "When QEMU paused the guest, save its memory with dump-guest-memory, then system_reset and cont, or quit. When it \
     powered it off, start it again. When it runs on, see whether it reboots by itself.",
);

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_advice};
    use super::Severity::Critical;

    fn panicked(data: &str, sentence: &str) {
        check("GUEST_PANICKED", data, Critical, sentence);
    }

    #[test]
    fn what_qemu_did_about_it() {
        panicked(r#"{"action": "pause"}"#, "guest kernel panicked; QEMU paused it");
        panicked(r#"{"action": "poweroff"}"#, "guest kernel panicked; QEMU powered it off");
        panicked(r#"{"action": "run"}"#, "guest kernel panicked; it runs on");
        panicked(r#"{"action": "ascend"}"#, "guest kernel panicked; QEMU's action: ascend");
    }

    #[test]
    fn what_the_guest_told_about_it() {
        panicked(
            r#"{"action": "pause", "info": {"type": "hyper-v", "arg1": 126, "arg2": 18446744073709551615, "arg3": 0, "arg4": 0, "arg5": 0}}"#,
            "guest kernel panicked (bug check 0x7e); QEMU paused it",
        );
        panicked(
            r#"{"action": "poweroff", "info": {"type": "s390", "core": 0, "psw-mask": 1, "psw-addr": 4096, "reason": "disabled-wait"}}"#,
            "guest kernel panicked (core 0, disabled-wait at 0x1000); QEMU powered it off",
        );
        panicked(
            r#"{"action": "pause", "info": {"type": "tdx", "error-code": 1, "message": "no\u001b[2J\u202eway", "gpa": 7}}"#,
            r#"guest kernel panicked (TDX error 0x1, "no\u{1b}[2J\u{202e}way"); QEMU paused it"#,
        );
        panicked(
            r#"{"action": "pause", "info": {"type": "sev", "set": 0, "code": 2}}"#,
            "guest kernel panicked (SEV reason 0x2 of set 0x0); QEMU paused it",
        );
        panicked(
            r#"{"action": "pause", "info": {"type": "z80", "halt": true}}"#,
            "guest kernel panicked (information of type z80); QEMU paused it",
        );
    }

    #[test]
    fn advice_depends_on_the_action() {
        check_advice("GUEST_PANICKED", r#"{"action": "pause"}"#, "dump-guest-memory");
        check_advice("GUEST_PANICKED", r#"{"action": "poweroff"}"#, "panic=pause");
        check_advice("GUEST_PANICKED", r#"{"action": "run"}"#, "system_reset");
    }
}
