//! Programs that end when we do, however we end.
//!
//! ```text
//!   qev ── starts ──► qev bound … PROGRAM        asks the kernel: when my parent ends, send me this signal
//!    │                     │ exec: the same process, the same descriptors
//!    │ SIGKILL             ▼
//!    └───────────────► PROGRAM ◄── the kernel's signal
//! ```
//!
//! Who is killed outright can do nothing more, so the kernel does it (`PR_SET_PDEATHSIG`). Only a process itself can ask
//! for that, between its start and its becoming the program; code in that place would have to be `unsafe`, so it is a
//! program: qev itself, by a verb that is not shown. No second process is needed that could be killed as well.
//!
//! The kernel forgets the wish when the program takes another identity: when its file is set-user-id or has
//! capabilities, and when QEMU is told to become another user (`-runas`). And it takes the *thread* that started the
//! program for its parent: start it from one that lasts as long as qev, as the one of the runtime does.

use crate::exit::{Exit, Failure};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use tokio::process::{Child, Command};

/// What the verb is called.
const VERB: &str = "bound";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process that this is bound to: our parent, unless it has ended already
    #[arg(long, value_name = "PID")]
    parent: i32,

    /// The program to become
    program: OsString,

    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A command for a program that the kernel kills when this process ends, and that is killed when its handle is dropped.
/// A program that cannot be run ends with 126 or 127, as in a shell, after a word on standard error.
pub(crate) fn command(program: &OsStr, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    // A unit test's own program has no verbs.
    let mut command = if cfg!(test) {
        Command::new(program)
    } else {
        // Even when the file that we were started from is gone, as after an upgrade.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("qev").args([VERB, "--parent", &std::process::id().to_string(), "--"]).arg(program);
        command
    };
    command.args(arguments).kill_on_drop(true);
    command
}

/// Sends a program of ours a signal, if it has not ended.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It fails only if the program has become another user's: then it is not ours to end.
        let _ = kill_process(pid, signal);
    }
}

/// Becomes the program.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    bound.map_err(|error| Failure::new(Exit::Failed, error).about("asking to be ended with qev"))?;
    // It may have ended before the kernel was asked.
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|parent| parent.get() != args.parent) {
        return Ok(Exit::Failed);
    }
    let error = std::process::Command::new(&args.program).args(&args.arguments).exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Err(Failure::new(Exit::Command(status), error).about(format!("cannot run {}", args.program.display())))
}
