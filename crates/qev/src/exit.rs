//! How the program ends: the exit codes that scripts rely on, and the one way in which errors are told.

use qev_link::{ConnectError, ExecuteError};
use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It failed.
    Failed,
    /// It was called wrongly.
    Usage,
    /// The machine or the connection went away.
    Gone,
    /// There is no such socket.
    NoSuchSocket,
    /// Nobody is behind the socket.
    NobodyListens,
    /// Another client holds the monitor.
    Held,
    /// It is a human monitor (HMP).
    HumanMonitor,
    /// No greeting came in time.
    Silent,
    /// What answers does not speak QMP.
    NotQmp,
    /// The time was over, as `timeout(1)` says it.
    TimedOut,
    /// What a simulated machine ended with.
    Machine(u8),
    /// The guest of `run` panicked.
    Panicked,
    /// An event of `run --fail-on` came.
    FailOn,
    /// The guest of `run` reset.
    GuestReset,
    /// What the command of `wait`, or the QEMU of `run`, ended with.
    Command(u8),
}

impl Exit {
    /// What a command ended with, as a shell has it: 128+N when signal N ended it.
    pub(crate) fn of_command(status: ExitStatus) -> Exit {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Exit::Command(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Gone => 4,
            Exit::NoSuchSocket => 10,
            Exit::NobodyListens => 11,
            Exit::Held => 12,
            Exit::HumanMonitor => 13,
            Exit::Silent => 14,
            Exit::NotQmp => 15,
            Exit::Panicked => 100,
            Exit::FailOn => 101,
            Exit::GuestReset => 102,
            Exit::TimedOut => 124,
            Exit::Machine(status) | Exit::Command(status) => status,
        }
    }
}

/// What the codes say: for the help and the manual, which both have it from here.
const MEANINGS: [(Exit, &str); 14] = [
    (Exit::Done, "done"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "wrong usage"),
    (Exit::Gone, "the machine or the connection went away"),
    (Exit::NoSuchSocket, "no such socket"),
    (Exit::NobodyListens, "refused: nobody is behind the socket"),
    (Exit::Held, "in use by another client"),
    (Exit::HumanMonitor, "a human monitor (HMP)"),
    (Exit::Silent, "silent: no greeting in time"),
    (Exit::NotQmp, "not QMP"),
    (Exit::Panicked, "run: the guest panicked"),
    (Exit::FailOn, "run: an event came that --fail-on names"),
    (Exit::GuestReset, "run: the guest reset under -no-reboot"),
    (Exit::TimedOut, "timed out"),
];

/// Each code and what it says.
pub(crate) fn codes() -> impl Iterator<Item = (u8, &'static str)> {
    MEANINGS.into_iter().map(|(exit, meaning)| (exit.code(), meaning))
}

/// The codes as they stand behind the help.
pub(crate) fn help() -> String {
    let lines: Vec<String> = codes().map(|(code, meaning)| format!("\n  {code:>3}  {meaning}")).collect();
    format!("Exit codes:{}", lines.concat())
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<&ConnectError> for Exit {
    fn from(error: &ConnectError) -> Exit {
        match error {
            ConnectError::NoSuchSocket { .. } | ConnectError::NotASocket { .. } | ConnectError::NotInherited { .. } => {
                Exit::NoSuchSocket
            }
            ConnectError::NobodyListens { .. } => Exit::NobodyListens,
            ConnectError::Held { .. } => Exit::Held,
            ConnectError::HumanMonitor { .. } => Exit::HumanMonitor,
            ConnectError::Silent { .. }
            | ConnectError::NotAccepting { .. }
            | ConnectError::NegotiationTimeout { .. } => Exit::Silent,
            ConnectError::NotQmp { .. } => Exit::NotQmp,
            ConnectError::Ended { .. } => Exit::Gone,
            ConnectError::MachineName { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

impl From<&ExecuteError> for Exit {
    fn from(error: &ExecuteError) -> Exit {
        match error {
            ExecuteError::Timeout(_) => Exit::TimedOut,
            ExecuteError::Closed(_) | ExecuteError::Restarted => Exit::Gone,
            _ => Exit::Failed,
        }
    }
}

/// Why a verb did not do what it should, and how the program ends for it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// What was being done: the name of the thing that is wrong.
    about: Option<String>,
    error: Box<dyn Error>,
    /// Nobody wants to hear of it.
    quiet: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error>>) -> Failure {
        Failure { exit, about: None, error: error.into(), quiet: false }
    }

    /// It was called wrongly.
    pub(crate) fn usage(error: impl Into<Box<dyn Error>>) -> Failure {
        Failure::new(Exit::Usage, error)
    }

    /// Names the thing that is wrong.
    pub(crate) fn about(mut self, about: impl fmt::Display) -> Failure {
        self.about = Some(about.to_string());
        self
    }

    /// Tells the error on standard error, with what caused it.
    pub(crate) fn report(self) -> Exit {
        if self.quiet {
            return self.exit;
        }
        let mut message = match self.about {
            Some(about) => format!("{about}: {}", self.error),
            None => self.error.to_string(),
        };
        let mut source = self.error.source();
        while let Some(error) = source {
            message.push_str(&format!(": {error}"));
            source = error.source();
        }
        tell(&message);
        self.exit
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::new(Exit::from(&error), error)
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Failure {
        Failure::new(Exit::from(&error), error)
    }
}

/// Writing to standard output failed. A closed pipe ends the program quietly: who reads has seen enough.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure { quiet: true, ..Failure::new(Exit::Done, error) };
        }
        Failure::new(Exit::Failed, error).about("standard output")
    }
}

/// Says something on standard error.
pub(crate) fn tell(message: &str) {
    // Nobody is left to be told that this failed.
    let _ = std::io::Write::write_all(&mut anstream::stderr().lock(), format!("qev: {message}\n").as_bytes());
}
