//! [`Machine`]: its devices, its guest, its time, and the events that come of them.

use crate::agenda::Agenda;
use crate::arguments::Arguments;
use crate::balloon::Balloon;
use crate::clock::{Clock, Now};
use crate::config::MachineConfig;
use crate::cpu::Cpus;
use crate::disk::Disk;
use crate::error::MachineError;
use crate::guest::Guest;
use crate::memory::MachineMemory;
use crate::qemu_io::Output;
use crate::quorum::BlockNodes;
use crate::run_state::{RunState, ShutdownCause};
use crate::watchdog::{Watchdog, WatchdogPolicy};
use crate::{guest_commands, monitor};
use qev_qmp::{ErrorClass, Object, QmpError, Timestamp, Typed, Value};
use std::time::Duration;

/// A machine without a CPU.
///
/// Whoever drives it passes each command to [`Machine::execute`] or [`Machine::guest_execute`], calls
/// [`Machine::advance`] when [`Machine::deadline`] has come, and after each of the three takes the events and looks
/// whether the machine has ended. Events that a command caused come before its reply: that is where QEMU has them.
#[derive(Debug)]
pub struct Machine {
    pub(crate) config: MachineConfig,
    pub(crate) state: RunState,
    pub(crate) clock: Clock,
    pub(crate) agenda: Agenda,
    pub(crate) memory: MachineMemory,
    pub(crate) cpus: Cpus,
    pub(crate) balloon: Option<Balloon>,
    pub(crate) watchdog: Option<Watchdog>,
    /// What the machine does when it expires: `watchdog-set-action` changes it, whether there is one or not.
    pub(crate) watchdog_policy: WatchdogPolicy,
    pub(crate) disks: Vec<Disk>,
    pub(crate) nodes: BlockNodes,
    pub(crate) output: Output,
    pub(crate) guest: Guest,
    pub(crate) exit: Option<i32>,
    /// The number that the next device without an id gets.
    pub(crate) anonymous: usize,
    events: Vec<(Timestamp, Typed)>,
    lost: u64,
}

/// How many events [`Machine::advance`] lets wait before it leaves the rest for the next call.
const ENOUGH_EVENTS: usize = 1024;
/// How many events wait at most, when the driver takes none.
const MAX_EVENTS: usize = 65_536;
/// How many things [`Machine::advance`] does at most: not everything that is done is an event.
const MAX_STEPS: usize = 4096;

impl Machine {
    /// Makes a machine, and opens the files of its quorums' children. Its guest is up, unless the machine starts paused;
    /// its time begins with the first call that passes one.
    ///
    /// # Errors
    ///
    /// When parts of the configuration do not go together, or a child's file can not be used: missing, unreadable, not a
    /// regular file, used twice, or of another size than the others.
    pub fn new(config: MachineConfig) -> Result<Machine, MachineError> {
        config.memory.check().map_err(MachineError::Memory)?;
        config.smp.check().map_err(MachineError::Smp)?;
        for (i, disk) in config.disks.iter().enumerate() {
            let node = &disk.node;
            if !config.quorums.iter().any(|quorum| quorum.node_name == *node) {
                return Err(MachineError::NoSuchNode(node.as_str().into()));
            }
            if config.disks.iter().take(i).any(|other| other.node == *node) {
                return Err(MachineError::NodeInUse(node.as_str().into()));
            }
        }
        let running = !config.paused;
        // What the machine starts with has no id either, and stands before what is plugged.
        let anonymous = usize::from(config.balloon) + 1 + usize::from(config.watchdog.is_some()) + config.disks.len();
        let mut machine = Machine {
            state: if running { RunState::Running } else { RunState::Prelaunch },
            clock: Clock::new(running),
            agenda: Agenda::default(),
            memory: MachineMemory::new(config.memory),
            cpus: Cpus::new(config.smp, config.memory.slots > 0),
            anonymous,
            balloon: config.balloon.then(Balloon::new),
            watchdog: config.watchdog.map(|_| Watchdog::new()),
            watchdog_policy: config.watchdog_action,
            disks: config.disks.iter().cloned().map(Disk::new).collect(),
            nodes: BlockNodes::open(&config.quorums)?,
            output: Output::default(),
            guest: Guest::new(config.guest.clone(), running),
            exit: None,
            events: Vec::new(),
            lost: 0,
            config,
        };
        if !running {
            machine.guest_begins_to_boot();
        }
        Ok(machine)
    }

    /// Executes a command of the monitor, but for `qmp_capabilities`, which is the server's. Before it, what is due
    /// happens.
    ///
    /// There are `balloon`, `cont`, `device_add` (`pc-dimm`, `qemu64-x86_64-cpu`), `device_del`, `human-monitor-command` (`qemu-io`, `info` and
    /// what has a command of its own here), `migrate-pause`, `object-add` (`memory-backend-ram`), `object-del`,
    /// `query-acpi-ospm-status`, `query-balloon`, `query-commands`, `query-cpus-fast`, `query-hotpluggable-cpus`,
    /// `query-memory-devices`, `query-memory-size-summary`,
    /// `query-name`, `query-status`, `query-uuid`, `query-version`, `quit`, `stop`, `system_powerdown`, `system_reset`,
    /// `system_wakeup`, `watchdog-set-action`.
    ///
    /// # Errors
    ///
    /// As QEMU has them: the class and the words of 7.2 for what 7.2 does.
    pub fn execute(&mut self, now: Now, command: &str, arguments: Object) -> Result<Value, QmpError> {
        self.call(now, command, arguments, monitor::COMMANDS)
    }

    /// Executes a command of the guest's socket: what only a guest, or an operator's hand, could do. Before it, what is
    /// due happens.
    ///
    /// | command | arguments, those in brackets may be left out | what it does |
    /// |---|---|---|
    /// | `panic` | \[`info`: object\] \[`then`: `reboot`, `hang`, `run-on`\] | the guest panics, and does that if the machine lets it |
    /// | `ost` | `slot`: text \[`slot-type`: `DIMM`, `CPU`\] \[`source`\] `status`: 32 bits each | the guest runs `_OST`; without `source` it is the last |
    /// | `eject` | `slot`: text \[`slot-type`: `DIMM`, `CPU`\] | the guest ejects what is in a slot, asked or not |
    /// | `cpu-driver`, `dimm-driver` | \[`present`\] \[`plug`: `accept`, `fail`, `ignore`\] \[`unplug`: `accept`, `busy`, `ignore`\] \[`plug-ms`\] \[`unplug-ms`\] | how the guest answers hotplug; memory that was there when it booted is busy even where it accepts |
    /// | `balloon-driver` | \[`present`\] \[`stuck`\] \[`step-pages`\] \[`step-us`\] \[`pages`\] | how the balloon moves; `pages` writes any size at once, in pages of 4096 bytes |
    /// | `power-button` | \[`answer`: `shut-down`, `ignore`\] \[`after-ms`\] | what `system_powerdown` leads to |
    /// | `shutdown`, `reset` | | the guest shuts down, or reboots, of itself |
    /// | `disk-error` | `node`, `operation`: `read`, `write`, `flush`; `errno` \[`sector`\] \[`times`\] | a quorum's child fails from here on, where a request touches that sector of 512 bytes if one is given; `errno` 0: no longer. A flush needs a write before it |
    /// | `disk-corrupt` | `node`, `offset`, `length` in bytes \[`pattern`: a byte, 255\] | overwrites a part of a child's file |
    /// | `watchdog` | `fed` \[`timeout-ms`: 30000\] | the guest feeds its watchdog from here on, or lets it expire after that time |
    /// | `rtc` | `offset` in seconds | the guest sets its clock, so far from where the host has it |
    /// | `suspend` | \[`to`: `ram`, `disk`\] | the guest suspends to RAM, or to its disk, which ends in a shutdown |
    /// | `disk-read`, `disk-write`, `disk-flush` | `node` \[`offset`, `length` in bytes\] \[`pattern`: a byte, 0\] | the guest uses its disk on this node; returns whether it is `done`, `failed` with an `errno`, or `waits` for a `cont` |
    /// | `emit` | `event` \[`data`\] \[`unchecked`\] | emits any event that a QEMU sends, if its data is of its type (the document's five in either dialect); `unchecked`, anything |
    /// | `query-commands` | | lists these |
    ///
    /// # Errors
    ///
    /// When the command is not known or its arguments are wrong; and when it is something that a guest does and the
    /// guest is stopped.
    pub fn guest_execute(&mut self, now: Now, command: &str, arguments: Object) -> Result<Value, QmpError> {
        self.call(now, command, arguments, guest_commands::COMMANDS)
    }

    fn call(&mut self, now: Now, command: &str, arguments: Object, commands: Commands) -> Result<Value, QmpError> {
        self.advance(now);
        let Some((_, execute)) = commands.iter().find(|(name, _)| *name == command) else {
            let desc = format!("The command {command} has not been found");
            return Err(QmpError::new(ErrorClass::CommandNotFound, desc));
        };
        if let Some(status) = self.exit {
            return Err(QmpError::generic(format!("the machine has ended with status {status}: start another")));
        }
        execute(self, Arguments::new(arguments))
    }

    /// The names of the monitor's commands, `qmp_capabilities` included: what `query-commands` lists.
    pub fn command_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        names(monitor::COMMANDS)
    }

    /// The names of the commands of the guest's socket, `qmp_capabilities` included.
    pub fn guest_command_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        names(guest_commands::COMMANDS)
    }

    /// Whether a command of the monitor may be executed out of band (`exec-oob`).
    pub fn allows_oob(&self, command: &str) -> bool {
        matches!(command, "migrate-pause" | "qmp_capabilities")
    }

    /// QEMU got a signal that ends it, such as SIGTERM: the machine shuts down, `-no-shutdown` or not.
    pub fn host_signal(&mut self, now: Now) {
        self.advance(now);
        if self.exit.is_none() {
            self.shut_down(ShutdownCause::HostSignal, 0);
        }
    }

    /// Lets everything happen that is due.
    ///
    /// When that is very much, some of it is left for the next call: then [`Machine::deadline`] is not in the future.
    pub fn advance(&mut self, now: Now) {
        self.clock.follow(now);
        for _ in 0..MAX_STEPS {
            // The guest does nothing while it is stopped, not even what is due at the very moment at which it stopped.
            if self.state != RunState::Running || self.exit.is_some() || self.events.len() >= ENOUGH_EVENTS {
                break;
            }
            let Some((due, action)) = self.agenda.pop(self.clock.guest()) else { break };
            self.clock.catch_up(due);
            self.act(action);
        }
        self.clock.catch_up(self.clock.guest());
    }

    /// The monotonic time at which the next thing is due; `None` when nothing is going to happen without a command.
    pub fn deadline(&self) -> Option<Duration> {
        if self.exit.is_some() {
            return None;
        }
        self.clock.monotonic(self.agenda.next()?)
    }

    /// Takes what the devices have emitted, in order, each with the time at which it happened. Unthrottled.
    ///
    /// Up to 65,536 events wait to be taken; more are lost, and counted ([`Machine::lost_events`]).
    pub fn take_events(&mut self) -> Vec<(Timestamp, Typed)> {
        std::mem::take(&mut self.events)
    }

    /// How many events were lost because nobody took them.
    pub fn lost_events(&self) -> u64 {
        self.lost
    }

    /// Takes what `qemu-io` has printed; a real QEMU prints it to its own standard output. The last 64 KiB are kept.
    pub fn take_output(&mut self) -> String {
        self.output.take()
    }

    /// With which status the machine has ended, if it has: 0 after `quit`, a guest's shutdown, or a panic that powers
    /// off; 1 after a panic where that is a failure.
    pub fn exit_status(&self) -> Option<i32> {
        self.exit
    }

    /// What `query-status` says.
    pub fn run_state(&self) -> RunState {
        self.state
    }

    /// What the machine is made of.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// A device emits an event.
    pub(crate) fn emit(&mut self, event: Typed) {
        if self.events.len() < MAX_EVENTS {
            self.events.push((self.clock.timestamp(), event));
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// Commands by their names.
pub(crate) type Commands = &'static [(&'static str, Command)];
/// What executes a command.
pub(crate) type Command = fn(&mut Machine, Arguments) -> Result<Value, QmpError>;

pub(crate) fn names(commands: Commands) -> impl Iterator<Item = &'static str> + use<> {
    ["qmp_capabilities"].into_iter().chain(commands.iter().map(|(name, _)| *name))
}
