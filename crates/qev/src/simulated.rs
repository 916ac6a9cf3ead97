//! A simulated machine behind real sockets: `qev-machine` makes devices act, `qev-link` carries what they say.

mod emit;
pub(crate) mod script;
pub(crate) mod traffic;

use crate::cli::simulate::scenario::images::Images;
use crate::exit::tell;
use qev_link::server::unknown_command;
use qev_link::{Context, Service};
use qev_machine::{Machine, Now};
use qev_qmp::server::Request;
use qev_qmp::{Dialect, Event, Object, QmpError, Value};
use script::{Script, Side};
use std::io::Write as _;
use std::time::Duration;
use traffic::Traffic;

/// What the guest's monitor is called, so that its commands are told from those of QEMU's monitor.
pub(crate) const GUEST: &str = "guest";

/// A machine as the service behind its monitors.
pub(crate) struct Simulated {
    machine: Machine,
    dialect: Dialect,
    /// Whether what `qemu-io` prints goes to standard output, as QEMU's does.
    prints: bool,
    traffic: Option<Traffic>,
    script: Option<Box<Script>>,
    /// The files of its quorums, when they are to go with it.
    _images: Option<Images>,
}

impl Simulated {
    pub(crate) fn new(machine: Machine, dialect: Dialect) -> Simulated {
        Simulated { machine, dialect, prints: false, traffic: None, script: None, _images: None }
    }

    /// Prints to standard output what a QEMU prints there: what `qemu-io` says.
    pub(crate) fn printing(mut self) -> Simulated {
        self.prints = true;
        self
    }

    /// Has the guest emit events at a rate.
    pub(crate) fn traffic(mut self, traffic: Traffic) -> Simulated {
        self.traffic = Some(traffic);
        self
    }

    /// Has the machine execute what a scenario has for it.
    pub(crate) fn script(mut self, script: Script) -> Simulated {
        self.script = Some(script.into());
        self
    }

    /// Keeps the files of its quorums until it has ended.
    pub(crate) fn images(mut self, images: Option<Images>) -> Simulated {
        self._images = images;
        self
    }

    /// Does what the scenario has for this time.
    fn play(&mut self, context: &mut Context<'_>) {
        let now = now(context);
        let Some(script) = &mut self.script else { return };
        while let (None, Some(mut step)) = (self.machine.exit_status(), script.take(now.monotonic)) {
            let arguments = std::mem::take(&mut step.arguments);
            let executed = match step.side {
                Side::Monitor => self.machine.execute(now, &step.command, arguments),
                Side::Guest => guest_execute(&mut self.machine, now, &step.command, arguments),
            };
            if let Err(error) = executed {
                tell(&script.refused(&step, error).to_string());
            }
        }
    }

    /// A signal ends it, as it ends a QEMU.
    pub(crate) fn host_signal(&mut self, context: &mut Context<'_>) {
        self.machine.host_signal(now(context));
        self.emit(context);
    }

    /// Few commands may be executed out of band. That a command is not known comes before that it may not.
    fn no_oob(&self, guest: bool, command: &str) -> QmpError {
        let machine = &self.machine;
        let known = match guest {
            true => machine.guest_command_names().any(|name| name == command),
            false => machine.command_names().any(|name| name == command),
        };
        if known {
            QmpError::generic(format!("The command {command} does not support OOB"))
        } else {
            unknown_command(command)
        }
    }

    /// Hands what the devices emitted to the server, which throttles it as QEMU does.
    fn emit(&mut self, context: &mut Context<'_>) {
        let printed = self.machine.take_output();
        if self.prints && !printed.is_empty() {
            // Nobody is left to be told that this failed.
            let _ = std::io::stdout().write_all(printed.as_bytes());
        }
        for (timestamp, event) in self.machine.take_events() {
            context.emit(Event::new(&event, Some(timestamp), self.dialect));
        }
    }
}

/// Executes a command of the guest's side. What it emits is checked more closely than a machine does.
fn guest_execute(machine: &mut Machine, now: Now, command: &str, arguments: Object) -> Result<Value, QmpError> {
    if command == emit::COMMAND {
        emit::check(&arguments)?;
    }
    machine.guest_execute(now, command, arguments)
}

fn now(context: &Context<'_>) -> Now {
    Now { monotonic: context.now(), wall: context.timestamp() }
}

impl Service for Simulated {
    fn execute(&mut self, context: &mut Context<'_>, request: Request) -> Result<Value, QmpError> {
        let guest = context.monitor() == Some(GUEST);
        let now = now(context);
        let result = if request.oob && (guest || !self.machine.allows_oob(&request.command)) {
            Err(self.no_oob(guest, &request.command))
        } else if guest {
            guest_execute(&mut self.machine, now, &request.command, request.arguments)
        } else {
            self.machine.execute(now, &request.command, request.arguments)
        };
        self.emit(context);
        result
    }

    fn negotiated(&mut self, context: &mut Context<'_>) {
        if let Some(script) = self.script.as_mut().filter(|_| context.monitor() != Some(GUEST)) {
            script.client_came(context.now());
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let traffic = self.traffic.as_ref().map(Traffic::due);
        let script = self.script.as_ref().and_then(|script| script.due());
        [self.machine.deadline(), traffic, script].into_iter().flatten().min()
    }

    fn wake(&mut self, context: &mut Context<'_>) {
        self.machine.advance(now(context));
        if let Some(traffic) = self.traffic.as_mut().filter(|traffic| traffic.due() <= context.now()) {
            // A guest that is stopped does nothing, and misses nothing.
            let done = self.machine.guest_execute(now(context), traffic::COMMAND, traffic.arguments());
            traffic.done(context.now(), done.is_ok());
        }
        self.play(context);
        self.emit(context);
    }

    fn exit_status(&self) -> Option<i32> {
        let status = self.machine.exit_status()?;
        Some(self.script.as_ref().map_or(status, |script| script.exit_status(status)))
    }
}
