//! The command of `wait`, and what it starts in its turn.
//!
//! Where no terminal is, it has a process group of its own: what ends it ends all that is in it, and nothing is left behind.
//! On a terminal it stays in ours, for the kernel lets only one group read there and hear Ctrl-C. Then Ctrl-C reaches all,
//! and what else is to end it the command alone.

use crate::bound;
use crate::exit::{Exit, Failure};
use crate::signals;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::SignalKind;

/// How long a command that was asked to end may take to do so.
const ENDING: Duration = Duration::from_secs(2);

/// How soon it is looked again whether all of its group have ended.
const AGAIN: Duration = Duration::from_millis(20);

/// What reaches us and not the command on a terminal, where Ctrl-C reaches both.
const ALONE: &[SignalKind] = &[SignalKind::terminate()];

/// Where it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In our process group, which has a terminal.
    Terminal,
    /// In one of its own.
    Group,
}

impl Place {
    /// Where a command of ours belongs.
    pub(super) fn here() -> Place {
        // It opens when there is a terminal that sends us signals, wherever our own input and output are.
        if File::open("/dev/tty").is_ok() { Place::Terminal } else { Place::Group }
    }

    /// The signals that must be passed on to it, for they reach us alone.
    pub(super) fn passed_on(self) -> &'static [SignalKind] {
        match self {
            Place::Terminal => ALONE,
            Place::Group => signals::TO_END,
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Command {
    child: Child,
    /// Its group, when that is its own.
    group: Option<Pid>,
}

impl Command {
    /// Starts it. Its standard streams are ours, but for the input when `mute`.
    pub(super) fn start(program: &OsStr, arguments: &[OsString], mute: bool, place: Place) -> Result<Command, Failure> {
        let mut command = tokio::process::Command::new(program);
        if mute {
            command.stdin(Stdio::null());
        }
        if place == Place::Group {
            command.process_group(0);
        }
        let child = command.args(arguments).spawn().map_err(|error| {
            let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            Failure::new(Exit::Command(status), error).about(format!("cannot run {}", program.display()))
        })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Command { child, group: pid.filter(|_| place == Place::Group) })
    }

    /// Waits until it has ended. What it left running is its own affair.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends it, and what is in its group, a signal.
    pub(super) fn signal(&self, signal: Signal) {
        match self.group {
            // It fails only if all have ended, or have become another user's.
            Some(group) => drop(kill_process_group(group, signal)),
            None => bound::signal(&self.child, signal),
        }
    }

    /// Ends it, and what is in its group: asked first, then not.
    pub(super) async fn end(mut self) {
        self.signal(Signal::TERM);
        let ended = async {
            // It fails only if it was waited for already.
            let _ = self.child.wait().await;
            while self.group.is_some_and(|group| test_kill_process_group(group).is_ok()) {
                tokio::time::sleep(AGAIN).await;
            }
        };
        if tokio::time::timeout(ENDING, ended).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}
