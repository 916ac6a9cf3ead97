//! A list of commands with times, which a machine executes of itself: the playing side of a scenario.
//!
//! ```text
//!              the machine starts, or its first client has negotiated        no step is left
//!   Waiting ─────────────────────────────────────────────────────► Playing ─────────────────► Over
//! ```
//!
//! A step that the machine refuses is told, the others are executed all the same, and the machine ends with status 1
//! where it would have ended with 0: a test that plays a scenario is to notice.

use qev_qmp::{Object, QmpError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One command and its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// How long after the beginning.
    pub(crate) at: Duration,
    /// Who executes it.
    pub(crate) side: Side,
    /// The command.
    pub(crate) command: String,
    /// Its arguments.
    pub(crate) arguments: Object,
    /// On which line of the scenario it stands.
    pub(crate) line: usize,
}

/// Whose command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// One of the monitor's.
    Monitor,
    /// One of the guest's side.
    Guest,
}

impl Side {
    /// The member of a step that has the command.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Side::Monitor => "monitor",
            Side::Guest => "guest",
        }
    }
}

/// When a scenario begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// When the machine starts.
    #[default]
    Start,
    /// When a client of its monitor has negotiated, so that somebody hears it all.
    Client,
}

/// The steps of one machine, and how far it is.
#[derive(Debug)]
pub(crate) struct Script {
    name: Arc<str>,
    steps: Arc<[Step]>,
    next: usize,
    begun: Option<Duration>,
    failed: bool,
}

/// The machine refused a step.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    name: &'a str,
    step: &'a Step,
    error: QmpError,
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: {}: {}", self.name, self.step.line, self.step.command, self.error)
    }
}

impl Script {
    /// Steps in the order of their times, from a scenario of this name.
    pub(crate) fn new(name: Arc<str>, steps: Arc<[Step]>, beginning: Beginning) -> Script {
        let begun = (beginning == Beginning::Start).then_some(Duration::ZERO);
        Script { name, steps, next: 0, begun, failed: false }
    }

    /// A client has negotiated at this time.
    pub(super) fn client_came(&mut self, now: Duration) {
        self.begun.get_or_insert(now);
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Option<Duration> {
        Some(self.begun?.saturating_add(self.steps.get(self.next)?.at))
    }

    /// The next step, if it is due by this time.
    pub(super) fn take(&mut self, now: Duration) -> Option<Step> {
        self.due().filter(|due| *due <= now)?;
        let step = self.steps.get(self.next).cloned();
        self.next += 1;
        step
    }

    /// Notes that a step was refused, and says how that is told.
    pub(super) fn refused<'a>(&'a mut self, step: &'a Step, error: QmpError) -> Refused<'a> {
        self.failed = true;
        Refused { name: &self.name, step, error }
    }

    /// With which status a machine ends that itself ends with this one.
    pub(super) fn exit_status(&self, status: i32) -> i32 {
        if self.failed && status == 0 { 1 } else { status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(beginning: Beginning) -> Script {
        let step = |seconds, line| Step {
            at: Duration::from_secs(seconds),
            side: Side::Monitor,
            command: "stop".to_owned(),
            arguments: Object::new(),
            line,
        };
        Script::new("s".into(), [step(1, 2), step(1, 3), step(5, 4)].into(), beginning)
    }

    #[test]
    fn steps_are_taken_when_they_are_due() {
        let mut script = script(Beginning::Start);
        assert_eq!(script.due(), Some(Duration::from_secs(1)));
        assert_eq!(script.take(Duration::from_millis(999)), None);
        let lines: Vec<_> = std::iter::from_fn(|| script.take(Duration::from_secs(2))).map(|step| step.line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(script.take(Duration::from_secs(5)).map(|step| step.line), Some(4));
        assert_eq!(script.due(), None);
    }

    #[test]
    fn one_that_waits_begins_with_the_first_client_and_only_once() {
        let mut script = script(Beginning::Client);
        assert_eq!(script.due(), None);
        script.client_came(Duration::from_secs(10));
        script.client_came(Duration::from_secs(20));
        assert_eq!(script.due(), Some(Duration::from_secs(11)));
    }

    #[test]
    fn a_step_that_was_refused_is_told_and_shows_in_the_status() {
        let mut script = script(Beginning::Start);
        assert_eq!(script.exit_status(0), 0);
        let step = script.take(Duration::from_secs(1)).unwrap();
        let told = script.refused(&step, QmpError::generic("no")).to_string();
        assert_eq!(told, "s, line 2: stop: GenericError: no");
        assert_eq!((script.exit_status(0), script.exit_status(3)), (1, 3));
    }
}
