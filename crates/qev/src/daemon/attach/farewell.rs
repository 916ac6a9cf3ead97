//! What is said when a machine is gone, and how much it matters: a machine that was told to end is news, one that was
//! killed is a calamity, and nothing is called a shutdown that nobody heard of.

use crate::daemon::process::Fate;
use qev_link::EndReason;
use qev_record::Severity;

/// Why a machine is not attached any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) reason: String,
    pub(super) severity: Severity,
    /// Its process has ended, as far as is known: nothing more can be missed of it.
    pub(super) has_ended: bool,
}

impl Farewell {
    /// It is we who leave.
    pub(super) fn stopped() -> Farewell {
        Farewell { reason: "qev was stopped".to_owned(), severity: Severity::Notice, has_ended: false }
    }

    /// What follows from how the connection ended, what became of the process, and why the machine said it shuts down, if
    /// it did.
    pub(super) fn of(end: &EndReason, fate: Option<(u32, Fate)>, shut_down: Option<&str>) -> Farewell {
        let has_ended = match fate {
            Some((_, fate)) => fate != Fate::Running,
            None => shut_down.is_some(),
        };
        let (severity, reason) = match (fate, shut_down) {
            (None, Some(why)) => (Severity::Notice, format!("the machine shut down ({why})")),
            (None, None) => (severity_of(end), said(end)),
            (Some((pid, Fate::Running)), Some(why)) => {
                (Severity::Notice, format!("the machine shut down ({why}); process {pid} still runs"))
            }
            (Some((pid, Fate::Running)), None) => {
                (severity_of(end), format!("the monitor was closed, and process {pid} still runs: {}", said(end)))
            }
            (Some((_, Fate::Gone)), Some(why)) => (Severity::Notice, format!("the machine shut down ({why})")),
            (Some((pid, fate)), Some(why)) => {
                (Severity::Notice, format!("the machine shut down ({why}); process {pid} {fate}"))
            }
            (Some((pid, fate @ (Fate::Killed(_) | Fate::OutOfMemory))), None) => {
                (Severity::Critical, format!("process {pid} {fate}"))
            }
            (Some((pid, Fate::Gone)), None) => {
                (Severity::Error, format!("process {pid} is gone without a shutdown, and how it ended is not known"))
            }
            (Some((pid, fate @ Fate::Exited(_))), None) => {
                (Severity::Warning, format!("process {pid} {fate}, without a shutdown"))
            }
        };
        Farewell { reason, severity, has_ended }
    }
}

/// The severity of an end that nothing else explains.
fn severity_of(end: &EndReason) -> Severity {
    match end {
        // What became of the machine nobody can know.
        EndReason::Vanished(_) => Severity::Error,
        // A message is lost.
        EndReason::MessageTimeout | EndReason::MessageTooLarge => Severity::Error,
        _ => Severity::Notice,
    }
}

/// How the connection ended, with what caused it.
fn said(end: &EndReason) -> String {
    match std::error::Error::source(end) {
        Some(source) => format!("{end}: {source}"),
        None => end.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fate: Option<Fate>, shut_down: Option<&str>, severity: Severity, reason: &str) {
        let farewell = Farewell::of(&EndReason::EndOfFile, fate.map(|fate| (7, fate)), shut_down);
        assert_eq!((farewell.severity, &*farewell.reason), (severity, reason));
    }

    #[test]
    fn a_machine_has_ended_when_its_process_has_or_it_said_so_and_no_process_is_known() {
        let quit = Some("host-qmp-quit");
        for (fate, shut_down, expected) in [
            (Some(Fate::Killed(9)), None, true),
            (Some(Fate::Gone), quit, true),
            (Some(Fate::Running), None, false),
            (Some(Fate::Running), quit, false),
            (None, quit, true),
            (None, None, false),
        ] {
            let farewell = Farewell::of(&EndReason::EndOfFile, fate.map(|fate| (7, fate)), shut_down);
            assert_eq!(farewell.has_ended, expected, "{fate:?} {shut_down:?}");
        }
    }

    #[test]
    fn how_much_an_end_matters_is_for_the_process_to_tell() {
        let quit = Some("host-qmp-quit");
        check(Some(Fate::Killed(9)), None, Severity::Critical, "process 7 was killed by SIGKILL");
        check(
            Some(Fate::Gone),
            None,
            Severity::Error,
            "process 7 is gone without a shutdown, and how it ended is not known",
        );
        check(Some(Fate::Exited(33)), None, Severity::Warning, "process 7 ended with status 33, without a shutdown");
        check(
            Some(Fate::Running),
            None,
            Severity::Notice,
            "the monitor was closed, and process 7 still runs: the peer closed the connection",
        );
        check(None, None, Severity::Notice, "the peer closed the connection");
        let vanished = EndReason::Vanished(std::io::ErrorKind::TimedOut.into());
        let farewell = Farewell::of(&vanished, None, None);
        let reason = "nothing comes back from the peer's host any more: timed out";
        assert_eq!((farewell.severity, &*farewell.reason), (Severity::Error, reason));
        for end in [EndReason::MessageTimeout, EndReason::MessageTooLarge] {
            assert_eq!(Farewell::of(&end, Some((7, Fate::Running)), None).severity, Severity::Error);
        }
        for fate in [Some(Fate::Gone), None] {
            check(fate, quit, Severity::Notice, "the machine shut down (host-qmp-quit)");
        }
        check(
            Some(Fate::Killed(9)),
            quit,
            Severity::Notice,
            "the machine shut down (host-qmp-quit); process 7 was killed by SIGKILL",
        );
        check(
            Some(Fate::Exited(0)),
            quit,
            Severity::Notice,
            "the machine shut down (host-qmp-quit); process 7 ended with status 0",
        );
    }
}
