//! What state a machine is in, as far as its events tell, and whether it shut down before it went.

use qev_qmp::Event;

/// A machine's run state, in QEMU's words (`RunState`).
#[derive(Clone, Debug, Default)]
pub(crate) struct RunState {
    name: Option<String>,
    /// Why it shut down, when it did.
    shut_down: Option<String>,
}

impl RunState {
    /// As `query-status` says that it is.
    pub(crate) fn found(name: Option<String>) -> RunState {
        // With -no-shutdown a machine that has shut down stays.
        let shut_down = name.as_deref().filter(|name| *name == "shutdown").map(|_| "before it was attached".to_owned());
        RunState { name, shut_down }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Why the machine shut down; `None` when it did not, or nobody heard it.
    pub(crate) fn shut_down(&self) -> Option<&str> {
        self.shut_down.as_deref()
    }

    /// Follows an event.
    pub(crate) fn hear(&mut self, event: &Event) {
        let state = match event.name.as_str() {
            "RESUME" => {
                self.shut_down = None;
                "running"
            }
            "WAKEUP" => "running",
            // What stopped it is the better name.
            "STOP" if matches!(self.name(), Some("guest-panicked" | "io-error" | "shutdown" | "watchdog")) => return,
            "STOP" => "paused",
            "SUSPEND" => "suspended",
            "SHUTDOWN" => {
                let reason = event.data.as_ref().and_then(|data| data.get("reason")?.string());
                self.shut_down = Some(reason.unwrap_or_else(|| "reason not known".to_owned()));
                "shutdown"
            }
            "GUEST_PANICKED" if self.action(event).as_deref() == Some("pause") => "guest-panicked",
            "WATCHDOG" if self.action(event).as_deref() == Some("pause") => "watchdog",
            "BLOCK_IO_ERROR" if self.action(event).as_deref() == Some("stop") => "io-error",
            _ => return,
        };
        self.name = Some(state.to_owned());
    }

    fn action(&self, event: &Event) -> Option<String> {
        event.data.as_ref()?.get("action")?.string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Message;

    fn check(found: &str, lines: &[&str], expected: &str, shut_down: Option<&str>) {
        let mut state = RunState::found(Some(found.to_owned()));
        for line in lines {
            match Message::decode(line.as_bytes()) {
                Ok(Message::Event(event)) => state.hear(&event),
                other => panic!("not an event: {other:?}"),
            }
        }
        assert_eq!((state.name(), state.shut_down()), (Some(expected), shut_down), "{found} {lines:?}");
    }

    const PANIC: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#;
    const RUNS_ON: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#;
    const SHUTDOWN: &str = r#"{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}"#;
    const STOP: &str = r#"{"event": "STOP"}"#;
    const RESUME: &str = r#"{"event": "RESUME"}"#;

    #[test]
    fn events_tell_in_what_state_a_machine_is() {
        check("running", &[], "running", None);
        check("running", &[STOP], "paused", None);
        check("paused", &[RESUME], "running", None);
        check("running", &[PANIC, STOP], "guest-panicked", None);
        check("running", &[RUNS_ON], "running", None);
        check("running", &[r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1}}"#], "running", None);
    }

    #[test]
    fn a_shutdown_counts_until_the_machine_runs_again() {
        check("running", &[SHUTDOWN, STOP], "shutdown", Some("host-qmp-quit"));
        check("running", &[SHUTDOWN, RESUME], "running", None);
        check("shutdown", &[], "shutdown", Some("before it was attached"));
        check("running", &[r#"{"event": "SHUTDOWN"}"#], "shutdown", Some("reason not known"));
    }
}
