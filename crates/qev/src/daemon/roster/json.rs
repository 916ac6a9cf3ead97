//! What is known of a machine, read back from what the daemon answers on its socket ([`machine_line`]).
//!
//! [`machine_line`]: crate::daemon::control::machine_line

use super::{MachineStatus, SharedAt};
use qev_qmp::Json;
use qev_record::time::from_rfc3339;
use std::sync::Arc;

/// The states that there are; one that another version knows is shown as unknown.
const STATES: [&str; 6] = ["attached", "detached", "silent", "held", "gone", "unknown"];

/// The ways that there are.
const WAYS: [&str; 4] = ["dial-in", "dial-out", "libvirt", "unknown"];

impl MachineStatus {
    /// What a line of the daemon's says; `None` when it is something else.
    pub(crate) fn parse(json: &Json) -> Option<MachineStatus> {
        let text = |name: &str| json.get(name)?.string();
        let shared = |name: &str| text(name).map(Arc::from);
        let whole = |name: &str| json.get(name)?.value().as_u64();
        let one_of = |known: &[&'static str], name: &str| {
            let text = text(name)?;
            Some(known.iter().copied().find(|known| *known == text).unwrap_or("unknown"))
        };
        Some(MachineStatus {
            machine: shared("machine")?,
            machine_id: shared("machine_id"),
            session: shared("session"),
            state: one_of(&STATES, "state")?,
            since: from_rfc3339(&text("since")?)?,
            way: one_of(&WAYS, "way")?,
            place: text("place")?,
            pid: whole("pid").and_then(|pid| u32::try_from(pid).ok()),
            run_state: text("run_state"),
            qemu: text("qemu"),
            events: whole("events").unwrap_or_default(),
            share: json.get("share").and_then(|share| {
                let clients = share.get("clients")?.value().as_u64()?;
                Some(SharedAt { path: share.get("path")?.string()?.into(), clients: usize::try_from(clients).ok()? })
            }),
            note: text("note"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::machine_line;
    use qev_qmp::Timestamp;

    #[test]
    fn what_is_known_comes_back_as_it_went() {
        let since = Timestamp { seconds: 1_795_347_310, microseconds: 5 };
        let little = MachineStatus::not_attached("web1", "held", since, "/a \"b\"".to_owned(), "held\u{1b}".to_owned());
        let much = MachineStatus {
            machine_id: Some("u1".into()),
            session: Some("pid-7@9".into()),
            pid: Some(7),
            run_state: Some("running".to_owned()),
            qemu: Some("7.2.22".to_owned()),
            events: 1 << 60,
            share: Some(SharedAt { path: "/run/qev/share/\u{e9}.qmp".into(), clients: 3 }),
            note: None,
            ..little.clone()
        };
        for status in [little, much] {
            let line = machine_line(&status);
            assert!(line.is_ascii() && !line.contains('\u{1b}') && line.ends_with('\n'), "{line}");
            assert_eq!(MachineStatus::parse(&Json::parse(&line).unwrap()), Some(status), "{line}");
        }
    }

    #[test]
    fn what_is_something_else_is_none() {
        for line in ["{}", "7", r#"{"machine": "a", "state": "attached", "since": "noon", "way": "dial-in"}"#] {
            assert_eq!(MachineStatus::parse(&Json::parse(line).unwrap()), None, "{line}");
        }
    }
}
