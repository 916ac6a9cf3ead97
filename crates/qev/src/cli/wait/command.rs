//! The command of `wait`, and what it starts in its turn.
//!
//! Where there is no terminal, the command has a process group of its own: what ends it ends all that is in the group, and
//! nothing is left behind. On a terminal it stays in our group, for the kernel lets only one group read there and get
//! Ctrl-C. Then Ctrl-C reaches all, and what else is to end the command is sent to it and to every process that descends
//! from it ([`descendants`]).

use super::descendants;
use crate::exit::{Exit, Failure};
use crate::signals;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::SignalKind;
use tokio::time::Instant;

/// How long a command that was asked to end may take to do so.
const ENDING: Duration = Duration::from_secs(2);

/// How soon it is looked again whether all that it started have ended.
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
    pid: Option<Pid>,
    place: Place,
}

impl Command {
    /// Starts it. Its standard streams are ours, but for the input when `mute`.
    pub(super) fn start(program: &OsStr, arguments: &[OsString], mute: bool, place: Place) -> Result<Command, Failure> {
        let mut command = tokio::process::Command::new(program);
        if mute {
            command.stdin(Stdio::null());
        }
        match place {
            Place::Group => drop(command.process_group(0)),
            // Where the kernel does not do it, what loses its parent is not found; the rest is.
            Place::Terminal => drop(descendants::keep()),
        }
        let child = command.args(arguments).spawn().map_err(|error| {
            let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            Failure::new(Exit::Command(status), error).about(format!("cannot run {}", program.display()))
        })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Command { child, pid, place })
    }

    /// Waits until it has ended. What it left running is its own affair.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal to it and to what it started.
    pub(super) fn signal(&self, signal: Signal) {
        match (self.place, self.pid) {
            // It fails only if all have ended, or have become another user's.
            (Place::Group, Some(group)) => drop(kill_process_group(group, signal)),
            (Place::Group, None) => {}
            (Place::Terminal, child) => {
                for pid in descendants::all(child) {
                    // It fails only if it has ended, or has become another user's.
                    let _ = kill_process(pid, signal);
                }
            }
        }
    }

    /// Whether all that it started have ended, too.
    fn is_all_over(&self) -> bool {
        match (self.place, self.pid) {
            (Place::Group, group) => group.is_none_or(|group| test_kill_process_group(group).is_err()),
            (Place::Terminal, child) => descendants::all(child).is_empty(),
        }
    }

    /// Ends it, and what it started: asked first, then not.
    pub(super) async fn end(mut self) {
        self.signal(Signal::TERM);
        if self.has_ended_within(ENDING).await {
            return;
        }
        self.signal(Signal::KILL);
        // On a terminal one that was being started just then may have been missed.
        if self.place == Place::Terminal {
            let until = Instant::now() + ENDING;
            while !self.is_all_over() && Instant::now() < until {
                self.signal(Signal::KILL);
                tokio::time::sleep(AGAIN).await;
            }
        }
        // It fails only if it was waited for already.
        let _ = self.child.wait().await;
    }

    async fn has_ended_within(&mut self, patience: Duration) -> bool {
        let ended = async {
            // It fails only if it was waited for already.
            let _ = self.child.wait().await;
            while !self.is_all_over() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(patience, ended).await.is_ok()
    }
}
