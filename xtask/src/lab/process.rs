//! A program that does not outlive us, however we end.
//!
//! Three ends are covered. A [`Running`] that goes out of scope, by an error or a panic too, kills its program.
//! Ctrl-C reaches the program as it reaches us, for it stays in the terminal's process group. And when we are killed
//! outright, nothing of ours can run any more, so the kernel does it: each program is started by
//! `setpriv --pdeathsig KILL`, which asks the kernel for that signal and then becomes the program, with the same
//! process id.
//!
//! The kernel counts the *thread* that started the program as its parent. A test's thread ends with its test, while
//! what it started may be meant to live on; therefore one thread that never ends starts everything.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Error};
use crate::programs::SETPRIV;

/// How often a process that we wait for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A program that was started, and is killed when this goes out of scope.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

/// A command for `program` that the kernel will kill when this process ends. Give it arguments, then
/// [`Running::start`] it.
pub fn bound_to_us(program: &Path) -> Result<Command, Error> {
    let mut command = Command::new(SETPRIV.path()?);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    Ok(command)
}

impl Running {
    /// Starts a command made by [`bound_to_us`]; `name` is for messages.
    pub fn start(command: Command, name: &str) -> Result<Self, Error> {
        let child = start_from_the_lasting_thread(command).context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The streams of the program that were asked for as pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().context(|| format!("cannot tell whether {} still runs", self.name))
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let name = &self.name;
                return Err(Error::new(format!("{name} was to end within {within:?} and still runs")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

fn start_from_the_lasting_thread(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            // Ends never: the sender is in a static.
            for mut order in taken {
                let child = order.command.spawn();
                // Nobody waits for the answer only if the asking thread died in between; then the child is dropped, and
                // runs until we end.
                let _ = order.answer.send(child);
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts programs is gone");
    orders.send(Order { command, answer }).map_err(|_| io::Error::other("the thread that starts programs is gone"))?;
    answered.recv().map_err(gone)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep_for(seconds: &str) -> Running {
        let mut command = bound_to_us(Path::new("sleep")).unwrap();
        command.arg(seconds);
        Running::start(command, "sleep").unwrap()
    }

    #[test]
    fn out_of_scope_is_out_of_the_process_table() {
        let running = sleep_for("1000");
        let entry = Path::new("/proc").join(running.id().to_string());
        assert!(entry.exists());
        drop(running);
        assert!(!entry.exists());
    }

    #[test]
    fn outlives_the_thread_that_asked_for_it() {
        let mut running = thread::spawn(|| sleep_for("1000")).join().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(running.status().unwrap().is_none());
    }

    #[test]
    fn waiting_ends_with_the_program_or_at_the_deadline() {
        assert!(sleep_for("0").wait(Duration::from_secs(120)).unwrap().success());
        let error = sleep_for("1000").wait(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "sleep was to end within 20ms and still runs");
    }
}
