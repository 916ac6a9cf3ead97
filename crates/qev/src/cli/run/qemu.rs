//! The QEMU process: started with a monitor that nobody else can reach, and ended step by step.
//!
//! ```text
//!   running ── end ──► told to quit over QMP ──► SIGTERM ──► SIGKILL ──► given up
//!                        10 s                     5 s          5 s
//! ```
//!
//! A QEMU that hangs reads no monitor, one that is stopped takes no SIGTERM, and one that waits for storage which does not
//! answer cannot even be killed: so each step has its patience.

use crate::bound;
use crate::exit::{Exit, Failure};
use qev_link::Client;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::Instant;

/// How long QEMU may take to quit: it writes what its disks have not got yet.
pub(super) const QUIT: Duration = Duration::from_secs(10);

/// How long it may take after a signal.
const SIGNAL: Duration = Duration::from_secs(5);

/// The monitor's name inside QEMU.
const ID: &str = "qev-run";

/// A pair of sockets: our end, and the one that QEMU is to have.
pub(super) fn monitor() -> Result<(UnixStream, StdStream), Failure> {
    let pair = || -> io::Result<(UnixStream, StdStream)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, theirs))
    };
    pair().map_err(|error| Failure::new(Exit::Failed, error).about("making a monitor"))
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With this status.
    Status(ExitStatus),
    /// Not even after SIGKILL.
    NotAtAll,
    /// Nobody can tell.
    Unknown(io::Error),
}

/// What happens to it next.
#[derive(Debug)]
pub(super) enum Step {
    /// It has ended.
    Ended(Ended),
    /// It did not end when it was asked to; what is done now.
    Insists(String),
}

/// What was done to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing yet: it is to run.
    Nothing,
    /// It is to be ended.
    Wanted,
    Quit,
    Term,
    Kill,
}

/// The process.
#[derive(Debug)]
pub(super) struct Qemu {
    child: Child,
    asked: Asked,
    patience: Instant,
    terminal: Terminal,
}

impl Qemu {
    /// Starts it with one more monitor, if it is to have one. Its standard streams are ours, but for the output when it is
    /// to be this pipe.
    pub(super) fn start(
        command: &[OsString],
        monitor: Option<StdStream>,
        stdout: Option<PipeWriter>,
    ) -> Result<Qemu, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::Failed, error).about("starting QEMU");
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::usage("there is no program to start"));
        };
        let terminal = Terminal::now();
        let mut command = bound::command(program, arguments);
        if let Some(monitor) = &monitor {
            command.args(["-chardev", &format!("socket,id={ID},fd={}", monitor.as_raw_fd())]);
            command.args(["-mon", &format!("chardev={ID},mode=control")]);
            // From here to its closing every program that is started inherits it: no other is.
            fcntl_setfd(monitor, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        }
        if let Some(stdout) = stdout {
            command.stdout(stdout);
        }
        let child = command.spawn().map_err(failed)?;
        // Ours is closed, and the pipe with the command, so that both end with QEMU.
        drop((monitor, command));
        Ok(Qemu { child, asked: Asked::Nothing, patience: Instant::now(), terminal })
    }

    /// Ends it, from the next step on.
    pub(super) fn end(&mut self) {
        if self.asked == Asked::Nothing {
            self.asked = Asked::Wanted;
        }
    }

    /// Whoever wants it to end has no patience left for this step.
    pub(super) fn hurry(&mut self) {
        self.patience = Instant::now();
    }

    /// What happens next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, client: Option<&Client>) -> Step {
        if self.asked == Asked::Wanted {
            self.quit(client);
        }
        let patience = async {
            match self.asked {
                Asked::Nothing => std::future::pending().await,
                _ => tokio::time::sleep_until(self.patience).await,
            }
        };
        tokio::select! {
            status = self.child.wait() => {
                return Step::Ended(match status {
                    Ok(status) => {
                        if status.signal().is_some() {
                            self.terminal.restore();
                        }
                        Ended::Status(status)
                    }
                    Err(error) => Ended::Unknown(error),
                });
            }
            () = patience => {}
        }
        match self.asked {
            Asked::Nothing | Asked::Wanted | Asked::Quit => {
                self.signal(rustix::process::Signal::TERM, Asked::Term);
                Step::Insists("QEMU did not quit: sending SIGTERM".to_owned())
            }
            Asked::Term => {
                self.signal(rustix::process::Signal::KILL, Asked::Kill);
                Step::Insists("QEMU did not end: sending SIGKILL".to_owned())
            }
            Asked::Kill => Step::Ended(Ended::NotAtAll),
        }
    }

    fn quit(&mut self, client: Option<&Client>) {
        let Some(client) = client.cloned() else { return self.signal(rustix::process::Signal::TERM, Asked::Term) };
        (self.asked, self.patience) = (Asked::Quit, Instant::now() + QUIT);
        // Whether it is obeyed, its end will tell.
        tokio::spawn(async move { client.execute_with_timeout("quit", None, QUIT).await });
    }

    fn signal(&mut self, signal: rustix::process::Signal, asked: Asked) {
        (self.asked, self.patience) = (asked, Instant::now() + SIGNAL);
        bound::signal(&self.child, signal);
    }
}

/// How the terminal was before: a QEMU whose console is on it changes it, and one that is killed cannot change it back.
#[derive(Debug)]
struct Terminal {
    modes: Option<Termios>,
    flags: Vec<Option<OFlags>>,
}

impl Terminal {
    fn now() -> Terminal {
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let streams: [BorrowedFd<'_>; 3] = [input.as_fd(), output.as_fd(), error.as_fd()];
        Terminal {
            modes: tcgetattr(&input).ok(),
            flags: streams.iter().map(|stream| fcntl_getfl(stream).ok()).collect(),
        }
    }

    fn restore(&self) {
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        if let Some(modes) = &self.modes {
            // It fails only when the terminal is gone.
            let _ = tcsetattr(&input, OptionalActions::Now, modes);
        }
        let streams: [BorrowedFd<'_>; 3] = [input.as_fd(), output.as_fd(), error.as_fd()];
        for (stream, flags) in streams.iter().zip(&self.flags) {
            if let Some(flags) = flags {
                let _ = fcntl_setfl(stream, *flags);
            }
        }
    }
}
