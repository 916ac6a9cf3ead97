//! What became of the guest, from what was seen: the events, what we did, and how QEMU ended.
//!
//! Once QEMU is being ended, the verdict stands: what happens then, we caused.

use super::qemu::Ended;
use crate::cli::near_misses::NearMisses;
use crate::exit::Exit;
use qev_record::filter::{Glob, Where};
use qev_record::{Filter, Kind, Record, plain};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

/// Looks at the events of one run.
#[derive(Debug)]
pub(super) struct Judge {
    stop_on: Filter,
    fail_on: Filter,
    /// Events that came and were not as they were to be.
    near: NearMisses,
    allow_reset: bool,
    /// QEMU is to be ended, or ends.
    done: bool,
    timed_out: bool,
    interrupted: Option<u8>,
    /// What the records of events said that mattered.
    failed: Option<Box<str>>,
    panicked: Option<Box<str>>,
    stopped: Option<Box<str>>,
    /// Why QEMU said that it shuts down; empty when it did not say.
    shutdown: Option<String>,
    silent: bool,
}

impl Judge {
    pub(super) fn new(stop_on: Vec<Glob>, fail_on: Vec<Glob>, wheres: Vec<Where>, allow_reset: bool) -> Judge {
        Judge {
            stop_on: Filter { events: stop_on, wheres: wheres.clone(), ..Filter::default() },
            fail_on: Filter { events: fail_on, wheres, ..Filter::default() },
            near: NearMisses::default(),
            allow_reset,
            done: false,
            timed_out: false,
            interrupted: None,
            failed: None,
            panicked: None,
            stopped: None,
            shutdown: None,
            silent: false,
        }
    }

    /// Whether QEMU is to be ended.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The time is over.
    pub(super) fn timed_out(&mut self) {
        self.timed_out |= !self.done;
        self.done = true;
    }

    /// A signal came that ends us.
    pub(super) fn interrupted(&mut self, number: u8) {
        if !self.done {
            self.interrupted = Some(number);
        }
        self.done = true;
    }

    /// A text of `--fail-on-console` is on the console. QEMU is not to be ended yet.
    ///
    /// A panic that QEMU reported as well was on the console first, whichever of the two was read first.
    pub(super) fn console_has(&mut self, text: &str, line: &str) {
        let by_panic = self.panicked.is_some() && self.stopped.is_none();
        if (!self.done || by_panic) && !self.timed_out && self.interrupted.is_none() {
            let (text, line) = (plain::name(text), plain::phrase(line));
            self.failed.get_or_insert(format!("--fail-on-console '{text}': {line}").into());
        }
    }

    /// What followed that text was shown.
    pub(super) fn console_shown(&mut self) {
        self.done = true;
    }

    /// Whether QEMU reported a panic.
    pub(super) fn has_panic(&self) -> bool {
        self.panicked.is_some()
    }

    /// It ended, and no monitor ever answered.
    pub(super) fn never_spoke(&mut self) {
        self.silent = true;
    }

    /// Looks at an event.
    pub(super) fn take(&mut self, record: &Record) {
        let Some(event) = record.event.as_ref().filter(|_| record.kind == Kind::Event && !self.done) else { return };
        let data = |name: &str| record.data.as_ref().and_then(|data| data.get(name)).and_then(|value| value.string());
        self.near.look_at(&self.fail_on, record);
        self.near.look_at(&self.stop_on, record);
        if matches(&self.fail_on, record) {
            self.failed = Some(format!("--fail-on: {}", said(record)).into());
            self.done = true;
        }
        if matches(&self.stop_on, record) {
            self.stopped = Some(said(record));
            self.done = true;
        }
        match event.as_str() {
            "GUEST_PANICKED" => {
                self.panicked.get_or_insert(record.summary.clone());
                // Paused, it would stand there for ever. Otherwise QEMU ends by itself, or the guest is meant to run on.
                self.done |= data("action").is_none_or(|action| action == "pause");
            }
            "SHUTDOWN" => self.shutdown = Some(data("reason").unwrap_or_default()),
            // Only a QEMU that was told to stay (`-no-shutdown`) stops after that.
            "STOP" if self.shutdown.is_some() => self.done = true,
            // It was told to go on.
            "RESUME" => self.shutdown = None,
            _ => {}
        }
    }

    /// How we end, and a sentence that says why.
    pub(super) fn verdict(&self, ended: &Ended, timeout: Option<Duration>) -> (Exit, String) {
        let (exit, mut sentence) = self.judge(ended, timeout);
        match ended {
            Ended::Status(_) => {}
            Ended::NotAtAll => sentence.push_str("; QEMU does not end, not even by SIGKILL: it may wait for storage"),
            Ended::Unknown(error) => sentence.push_str(&format!("; how QEMU ended is not known: {error}")),
        }
        (exit, sentence)
    }

    fn judge(&self, ended: &Ended, timeout: Option<Duration>) -> (Exit, String) {
        if self.timed_out {
            let timeout = timeout.unwrap_or_default();
            return (Exit::TimedOut, format!("timed out after {timeout:?}{}", self.near.sentence()));
        }
        if let Some(why) = &self.failed {
            return (Exit::FailOn, why.to_string());
        }
        if let Some(summary) = &self.panicked {
            return (Exit::Panicked, format!("the guest panicked: {}", plain::phrase(summary)));
        }
        if let Some(event) = &self.stopped {
            return (Exit::Done, format!("--stop-on: {event}"));
        }
        if let Some(number) = self.interrupted {
            return (Exit::Command(128 + number), format!("ended by signal {number}"));
        }
        let Ended::Status(status) = ended else { return (Exit::Failed, "nobody knows what became of QEMU".to_owned()) };
        if let Some(signal) = status.signal() {
            return (Exit::of_command(*status), format!("QEMU was killed by signal {signal}"));
        }
        if !status.success() {
            let code = status.code().unwrap_or(1);
            return (Exit::of_command(*status), format!("QEMU ended with status {code}"));
        }
        match self.shutdown.as_deref() {
            Some("guest-reset") if !self.allow_reset => {
                (Exit::GuestReset, "the guest reset (--allow-reset takes that for a good end)".to_owned())
            }
            Some("guest-reset") => (Exit::Done, "the guest reset".to_owned()),
            Some("guest-shutdown") => (Exit::Done, "the guest shut down".to_owned()),
            Some("" | "none") => (Exit::Done, "it shut down".to_owned()),
            Some(reason) => (Exit::Done, format!("QEMU was shut down ({})", plain::name(reason))),
            None if self.silent => (
                Exit::Failed,
                "it ended, and never spoke QMP with qev: it ran no guest, or did not pass its arguments on to QEMU"
                    .to_owned(),
            ),
            None => (Exit::Done, "QEMU ended with status 0 and did not say why".to_owned()),
        }
    }
}

/// Nothing is everything to a filter.
fn matches(filter: &Filter, record: &Record) -> bool {
    !filter.events.is_empty() && filter.matches(record)
}

fn said(record: &Record) -> Box<str> {
    let event = record.event.as_ref().map_or("", |event| event.as_str());
    format!("{}: {}", plain::name(event), plain::phrase(&record.summary)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::{Message, Timestamp};
    use std::process::ExitStatus;

    fn record(line: &str) -> Record {
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("no event: {line}") };
        Record::event("h1", "vm1", Timestamp::from_micros(0), &event)
    }

    fn judge(stop_on: &[&str], fail_on: &[&str], wheres: &[&str]) -> Judge {
        let globs = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let wheres = wheres.iter().map(|text| text.parse().unwrap()).collect();
        Judge::new(globs(stop_on), globs(fail_on), wheres, false)
    }

    /// Wait statuses: an exit code is in the second byte, a signal in the first.
    const OK: i32 = 0;
    const FAILED: i32 = 1 << 8;
    const KILLED: i32 = 9;

    fn ended(judge: &Judge, status: i32) -> (Exit, String) {
        judge.verdict(&Ended::Status(ExitStatus::from_raw(status)), Some(Duration::from_secs(5)))
    }

    fn check(lines: &[&str], is_done: bool, status: i32, exit: Exit, sentence: &str) {
        let mut judge = judge(&["BALLOON_CHANGE"], &["QUORUM_*"], &[]);
        for line in lines {
            judge.take(&record(line));
        }
        assert_eq!(judge.is_done(), is_done, "{lines:?}");
        assert_eq!(ended(&judge, status), (exit, sentence.to_owned()), "{lines:?}");
    }

    const PAUSED: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#;
    const POWEROFF: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "poweroff"}}"#;
    const RUN: &str = r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#;
    const SHUTDOWN: &str = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
    const RESET: &str = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
    const BALLOON: &str = r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1073741824}}"#;
    const QUORUM: &str =
        r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q0", "sector-num": 1, "sectors-count": 1}}"#;
    const STOP: &str = r#"{"event": "STOP"}"#;

    #[test]
    fn how_it_ended_is_said_by_the_status() {
        check(&[SHUTDOWN], false, OK, Exit::Done, "the guest shut down");
        check(&[RESET], false, OK, Exit::GuestReset, "the guest reset (--allow-reset takes that for a good end)");
        check(&[SHUTDOWN], false, FAILED, Exit::Command(1), "QEMU ended with status 1");
        check(&[], false, KILLED, Exit::Command(137), "QEMU was killed by signal 9");
        check(&[], false, OK, Exit::Done, "QEMU ended with status 0 and did not say why");
        check(&[r#"{"event": "SHUTDOWN"}"#], false, OK, Exit::Done, "it shut down");
        let by_signal = r#"{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-signal"}}"#;
        check(&[by_signal], false, OK, Exit::Done, "QEMU was shut down (host-signal)");
    }

    #[test]
    fn a_panic_counts_whatever_qemu_does_then_and_only_a_paused_one_is_ended() {
        let said = |rest: &str| format!("the guest panicked: guest kernel panicked; {rest}");
        check(&[PAUSED, STOP], true, OK, Exit::Panicked, &said("QEMU paused it"));
        let shutdown = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-panic"}}"#;
        check(&[POWEROFF, shutdown], false, FAILED, Exit::Panicked, &said("QEMU powered it off"));
        check(&[RUN, SHUTDOWN], false, OK, Exit::Panicked, &said("it runs on"));
    }

    #[test]
    fn the_first_that_applies_is_the_exit_code() {
        check(
            &[QUORUM],
            true,
            OK,
            Exit::FailOn,
            "--fail-on: QUORUM_FAILURE: no quorum on q0: 1 sector at 1 could not be read",
        );
        check(&[BALLOON, QUORUM, PAUSED], true, KILLED, Exit::Done, "--stop-on: BALLOON_CHANGE: balloon at 1 GiB");
        let mut both = judge(&["*"], &["SHUTDOWN"], &[]);
        both.take(&record(SHUTDOWN));
        assert_eq!(ended(&both, OK).0, Exit::FailOn);
        both.timed_out();
        assert_eq!(ended(&both, OK).0, Exit::FailOn, "it was over before the time was");

        let mut late = judge(&[], &["SHUTDOWN"], &[]);
        late.timed_out();
        late.take(&record(SHUTDOWN));
        assert_eq!(ended(&late, KILLED), (Exit::TimedOut, "timed out after 5s".to_owned()));
        let mut interrupted = judge(&[], &[], &[]);
        interrupted.interrupted(2);
        interrupted.interrupted(15);
        assert_eq!(ended(&interrupted, OK), (Exit::Command(130), "ended by signal 2".to_owned()));
    }

    #[test]
    fn a_qemu_that_stays_after_the_shutdown_is_ended() {
        check(&[STOP, r#"{"event": "RESUME"}"#], false, OK, Exit::Done, "QEMU ended with status 0 and did not say why");
        check(&[SHUTDOWN, STOP], true, OK, Exit::Done, "the guest shut down");
        check(&[RESET, STOP], true, OK, Exit::GuestReset, "the guest reset (--allow-reset takes that for a good end)");
        check(
            &[SHUTDOWN, r#"{"event": "RESUME"}"#, STOP],
            false,
            OK,
            Exit::Done,
            "QEMU ended with status 0 and did not say why",
        );
    }

    #[test]
    fn only_events_with_the_wanted_values_count_and_without_a_wish_none_does() {
        let mut judge = judge(&["JOB_STATUS_CHANGE"], &[], &["data.status=concluded"]);
        for status in ["created", "running"] {
            let line = format!(r#"{{"event": "JOB_STATUS_CHANGE", "data": {{"id": "j", "status": "{status}"}}}}"#);
            judge.take(&record(&line));
            assert!(!judge.is_done(), "{status}");
        }
        judge.take(&record(r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": "concluded"}}"#));
        assert!(judge.is_done());
    }

    #[test]
    fn events_without_the_wanted_value_are_told_when_the_time_is_over() {
        let mut judge = judge(&["BALLOON_CHANGE"], &[], &["data.actual=7"]);
        judge.take(&record(BALLOON));
        judge.timed_out();
        let expected = "timed out after 5s; BALLOON_CHANGE came once, with data.actual=1073741824";
        assert_eq!(ended(&judge, KILLED), (Exit::TimedOut, expected.to_owned()));
    }

    #[test]
    fn a_text_on_the_console_fails_the_run_also_when_its_panic_was_read_first() {
        let expected = (Exit::FailOn, "--fail-on-console 'Kernel panic': Kernel panic - not syncing".to_owned());
        for first in [&[][..], &[PAUSED]] {
            let mut judge = judge(&["BALLOON_CHANGE"], &[], &[]);
            first.iter().for_each(|line| judge.take(&record(line)));
            judge.console_has("Kernel panic", "Kernel panic - not syncing");
            judge.console_shown();
            judge.timed_out();
            assert_eq!(ended(&judge, OK), expected, "{first:?}");
        }
        let mut stopped = judge(&["BALLOON_CHANGE"], &[], &[]);
        stopped.take(&record(BALLOON));
        stopped.console_has("Kernel panic", "Kernel panic - not syncing");
        assert_eq!(ended(&stopped, OK).0, Exit::Done, "it was over before");
    }

    #[test]
    fn what_never_spoke_qmp_is_no_success() {
        let mut judge = judge(&[], &[], &[]);
        judge.never_spoke();
        assert_eq!(ended(&judge, OK).0, Exit::Failed);
        assert_eq!(ended(&judge, FAILED).0, Exit::Command(1));
    }

    #[test]
    fn a_qemu_that_cannot_be_ended_is_said_to_be_there() {
        let mut judge = judge(&[], &[], &[]);
        judge.timed_out();
        let (exit, sentence) = judge.verdict(&Ended::NotAtAll, Some(Duration::from_secs(5)));
        assert_eq!(exit, Exit::TimedOut);
        assert!(sentence.starts_with("timed out after 5s; QEMU does not end"), "{sentence}");
    }
}
