//! In what run state a machine is, as far as its events and its answers to `query-status` tell, and whether it shut down.
//!
//! Events do not tell all: none says that a migrated machine has become `postmigrate`. So the machine is asked after each event
//! that may have changed its run state ([`status_query`](super::status_query)), and where the answer differs from what the
//! events said, it is recorded: the run state follows from the records alone.

use qev_qmp::{Event, RunState};

/// Follows the run state of one machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunStateTracker {
    state: Option<RunState>,
    /// Why it shut down, when it did.
    shut_down: Option<Box<str>>,
}

impl RunStateTracker {
    /// The machine is found in this state; `None` when it is not known.
    pub(crate) fn new(state: Option<RunState>) -> RunStateTracker {
        // With -no-shutdown a machine that has shut down stays.
        let shut_down = (state == Some(RunState::Shutdown)).then(|| "before it was attached".into());
        RunStateTracker { state, shut_down }
    }

    pub(crate) fn state(&self) -> Option<&RunState> {
        self.state.as_ref()
    }

    /// QEMU's name of the state.
    pub(crate) fn name(&self) -> Option<&str> {
        self.state.as_ref().map(RunState::as_str)
    }

    /// Why the machine shut down; `None` when it did not, or the event was not received.
    pub(crate) fn shut_down(&self) -> Option<&str> {
        self.shut_down.as_deref()
    }

    /// Takes an answer to `query-status`. Returns whether it differs from what events said.
    pub(crate) fn answer(&mut self, state: &RunState) -> bool {
        if *state != RunState::Shutdown {
            // It goes on.
            self.shut_down = None;
        }
        let differs = self.state.as_ref() != Some(state);
        if differs {
            self.state = Some(state.clone());
        }
        differs
    }

    /// Applies an event.
    pub(crate) fn apply(&mut self, event: &Event) {
        let word = |member: &str| event.data.as_ref()?.get(member)?.string();
        let is = |member: &str, value: &str| word(member).as_deref() == Some(value);
        let state = match event.name.as_str() {
            "RESUME" => {
                self.shut_down = None;
                RunState::Running
            }
            "WAKEUP" => RunState::Running,
            // Why it was stopped is the better name.
            "STOP" => match &self.state {
                Some(RunState::GuestPanicked | RunState::IoError | RunState::Shutdown | RunState::Watchdog) => return,
                _ => RunState::Paused,
            },
            "SUSPEND" => RunState::Suspended,
            "SHUTDOWN" => {
                self.shut_down = Some(word("reason").unwrap_or_else(|| "reason not known".to_owned()).into());
                RunState::Shutdown
            }
            "RESET" => match &self.state {
                None | Some(RunState::Running | RunState::InMigrate | RunState::FinishMigrate) => return,
                Some(_) => {
                    self.shut_down = None;
                    RunState::Prelaunch
                }
            },
            "GUEST_PANICKED" if is("action", "pause") => RunState::GuestPanicked,
            "WATCHDOG" if is("action", "pause") => RunState::Watchdog,
            "BLOCK_IO_ERROR" if is("action", "stop") => RunState::IoError,
            // It is stopped for the last part of a migration, and stays so when it is the source.
            "MIGRATION" if is("status", "completed") && self.state == Some(RunState::Paused) => RunState::PostMigrate,
            _ => return,
        };
        self.state = Some(state);
    }
}

/// Returns whether the machine may be in another run state after this event.
pub(crate) fn may_change_run_state(event: &Event) -> bool {
    matches!(
        event.name.as_str(),
        "BLOCK_IO_ERROR"
            | "COLO_EXIT"
            | "GUEST_PANICKED"
            | "MIGRATION"
            | "RESET"
            | "RESUME"
            | "SHUTDOWN"
            | "STOP"
            | "SUSPEND"
            | "SUSPEND_DISK"
            | "WAKEUP"
            | "WATCHDOG"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Message;

    fn event(line: &str) -> Event {
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    fn after(found: &str, lines: &[&str]) -> RunStateTracker {
        let mut tracker = RunStateTracker::new(Some(RunState::from(found)));
        lines.iter().for_each(|line| tracker.apply(&event(line)));
        tracker
    }

    fn check(found: &str, lines: &[&str], expected: &str, shut_down: Option<&str>) {
        let tracker = after(found, lines);
        assert_eq!((tracker.name(), tracker.shut_down()), (Some(expected), shut_down), "{found} {lines:?}");
    }

    const PANIC: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#;
    const RUNS_ON: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#;
    const SHUTDOWN: &str = r#"{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}"#;
    const RESET: &str = r#"{"event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}"#;
    const MIGRATED: &str = r#"{"event": "MIGRATION", "data": {"status": "completed"}}"#;
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
        check("of-a-later-qemu", &[], "of-a-later-qemu", None);
    }

    #[test]
    fn a_reset_of_a_machine_that_does_not_run_makes_it_wait_for_its_start() {
        check("running", &[RESET], "running", None);
        check("running", &[PANIC, STOP, RESET], "prelaunch", None);
        check("running", &[STOP, RESET], "prelaunch", None);
        check("running", &[SHUTDOWN, STOP, RESET], "prelaunch", None);
        check("inmigrate", &[RESET], "inmigrate", None);
    }

    #[test]
    fn the_source_of_a_migration_is_not_only_paused() {
        check("running", &[STOP, MIGRATED], "postmigrate", None);
        check("running", &[MIGRATED], "running", None);
        check("inmigrate", &[MIGRATED, RESUME], "running", None);
    }

    #[test]
    fn a_shutdown_counts_until_the_machine_runs_again() {
        check("running", &[SHUTDOWN, STOP], "shutdown", Some("host-qmp-quit"));
        check("running", &[SHUTDOWN, RESUME], "running", None);
        check("shutdown", &[], "shutdown", Some("before it was attached"));
        check("running", &[r#"{"event": "SHUTDOWN"}"#], "shutdown", Some("reason not known"));
    }

    #[test]
    fn an_answer_counts_and_says_whether_it_is_news() {
        let check = |found: &str, lines: &[&str], answer: &str, is_news: bool, shut_down: Option<&str>| {
            let mut tracker = after(found, lines);
            assert_eq!(tracker.answer(&RunState::from(answer)), is_news, "{found} {lines:?} {answer}");
            assert_eq!((tracker.name(), tracker.shut_down()), (Some(answer), shut_down));
        };
        check("running", &[STOP], "paused", false, None);
        check("running", &[STOP], "postmigrate", true, None);
        check("running", &[SHUTDOWN], "shutdown", false, Some("host-qmp-quit"));
        check("running", &[SHUTDOWN], "running", true, None);
        check("running", &[], "of-a-later-qemu", true, None);
    }
}
