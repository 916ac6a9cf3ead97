//! What is said about a machine's state: on attach, and later where it differs from what events said. Events that came
//! before it was attached are lost, so a machine that is found panicked is as critical as one that panics.

use crate::meaning::Meaning;
use crate::plain;
use crate::severity::Severity;
use crate::size::Size;
use qev_qmp::{Json, RunState, Value};

/// `data` has the answers by command: `query-status`, `query-balloon`, …
pub(super) fn meaning(data: &Json) -> Meaning {
    let answer = |command: &str, member: &str| {
        let answer = data.get(command)?.get(member)?;
        Some(answer.value())
    };
    let status = answer("query-status", "status");
    let status = status.as_ref().and_then(Value::as_str);
    let mut sentence = "on attach".to_owned();
    match status {
        Some(status) => sentence.push_str(&format!(": {}", plain::name(status))),
        None => sentence.push_str(": state not known"),
    }
    if let Some(actual) = answer("query-balloon", "actual").as_ref().and_then(Value::as_i64) {
        sentence.push_str(&format!(", balloon at {}", Size::from(actual)));
    }
    Meaning { severity: status.map_or(Severity::Notice, |status| severity(&RunState::from(status))), sentence }
}

/// What is said when a machine is found in another run state than its events said.
pub(super) fn run_state(state: &RunState) -> Meaning {
    let mut sentence = format!("run state: {}", plain::name(state.as_str()));
    if *state == RunState::PostMigrate {
        sentence.push_str(" (it was migrated away: do not continue it here)");
    }
    Meaning { severity: severity(state), sentence }
}

/// How much a run state matters when a machine is found in it.
fn severity(state: &RunState) -> Severity {
    match state {
        RunState::GuestPanicked | RunState::InternalError | RunState::IoError | RunState::Watchdog => {
            Severity::Critical
        }
        RunState::Paused
        | RunState::Shutdown
        | RunState::Suspended
        | RunState::Debug
        | RunState::PostMigrate
        | RunState::Colo => Severity::Notice,
        _ => Severity::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, severity: Severity, sentence: &str) {
        let expected = Meaning { severity, sentence: sentence.to_owned() };
        assert_eq!(meaning(&Json::parse(data).unwrap()), expected);
    }

    #[test]
    fn a_machine_is_found_as_it_is() {
        check(
            r#"{"query-status": {"status": "running", "running": true}, "query-balloon": {"actual": 134217728}}"#,
            Severity::Info,
            "on attach: running, balloon at 128 MiB",
        );
        check(r#"{"query-status": {"status": "paused"}}"#, Severity::Notice, "on attach: paused");
        check(r#"{"query-status": {"status": "guest-panicked"}}"#, Severity::Critical, "on attach: guest-panicked");
        check(r#"{"query-status": {"status": "io-error"}}"#, Severity::Critical, "on attach: io-error");
        check("{}", Severity::Notice, "on attach: state not known");
        check("7", Severity::Notice, "on attach: state not known");
    }

    #[test]
    fn a_run_state_that_no_event_told_says_what_it_means() {
        let check = |state: &str, severity: Severity, sentence: &str| {
            let expected = Meaning { severity, sentence: sentence.to_owned() };
            assert_eq!(run_state(&RunState::from(state)), expected);
        };
        check("prelaunch", Severity::Info, "run state: prelaunch");
        check("io-error", Severity::Critical, "run state: io-error");
        let migrated = "run state: postmigrate (it was migrated away: do not continue it here)";
        check("postmigrate", Severity::Notice, migrated);
        check("later\u{1b}", Severity::Info, r"run state: later\u{1b}");
    }
}
