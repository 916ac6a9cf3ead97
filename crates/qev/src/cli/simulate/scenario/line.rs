//! One line of a scenario: what the machine is made of, or one command and its time.

use super::MachineOptions;
use super::images::ImageFile;
use crate::cli::duration;
use crate::simulated::script::{Beginning, Side, Step};
use qev_machine::{Machine, MachineConfig};
use qev_qmp::json::NotJson;
use qev_qmp::{Json, Object, Value};
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a line may be.
pub(super) enum Line {
    Machine { beginning: Beginning, options: Box<MachineOptions> },
    Step(Box<Step>),
}

/// What is wrong with a line.
#[derive(Debug)]
pub(super) enum LineError {
    NotJson(NotJson),
    NotAnObject,
    NoSuchMember { member: String, expected: &'static str },
    Member { member: &'static str, expected: &'static str },
    Option { member: &'static str, error: Box<dyn Error> },
    Commands { found: usize },
    NoSuchCommand { side: Side, command: String, known: String },
    Backwards { at: Duration, before: Duration, line: usize },
    NotFirst,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::NotJson(error) => error.fmt(f),
            LineError::NotAnObject => f.write_str("expected an object, such as {\"at\": 1.5, \"guest\": \"panic\"}"),
            LineError::NoSuchMember { member, expected } => {
                write!(f, "no member '{}': expected {expected}", member.escape_debug())
            }
            LineError::Member { member, expected } => write!(f, "member '{member}': expected {expected}"),
            LineError::Option { member, error } => write!(f, "member '{member}': {error}"),
            LineError::Commands { found: 0 } => f.write_str(
                "no command: expected \"monitor\": \"NAME\" for what a client of QEMU's sends, or \"guest\": \"NAME\" \
                 for what the guest does",
            ),
            LineError::Commands { .. } => {
                f.write_str("two commands: expected either 'monitor' or 'guest', give the other a line of its own")
            }
            LineError::NoSuchCommand { side, command, known } => {
                write!(f, "no command '{}' for the {}: expected one of {known}", command.escape_debug(), side.as_str())
            }
            LineError::Backwards { at, before, line } => write!(
                f,
                "member 'at' is {at:?}, which is before the {before:?} of line {line}: put the lines in the order of \
                 their times"
            ),
            LineError::NotFirst => f.write_str(
                "'machine', 'from' and 'about' say what the scenario begins with: put them on its first line",
            ),
        }
    }
}

impl Error for LineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LineError::Option { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// The commands that there are.
pub(super) struct Names {
    monitor: Vec<&'static str>,
    guest: Vec<&'static str>,
}

impl Names {
    /// Those of any machine: what it is made of makes no difference.
    pub(super) fn known() -> Names {
        // The default is a machine that can be.
        let Ok(machine) = Machine::new(MachineConfig::default()) else {
            return Names { monitor: Vec::new(), guest: Vec::new() };
        };
        // Negotiation is what a connection does, and there is none here.
        let is_command = |name: &&str| *name != "qmp_capabilities";
        let monitor = machine.command_names().filter(is_command).collect();
        let guest = machine.guest_command_names().filter(is_command).collect();
        Names { monitor, guest }
    }

    fn of(&self, side: Side) -> &[&'static str] {
        match side {
            Side::Monitor => &self.monitor,
            Side::Guest => &self.guest,
        }
    }
}

/// Reads one line that is not empty. Whoever has the other lines knows its number and whether it is in its place.
pub(super) fn parse(text: &str, names: &Names) -> Result<Line, LineError> {
    let Value::Object(mut line) = Json::parse(text).map_err(LineError::NotJson)?.value() else {
        return Err(LineError::NotAnObject);
    };
    let text = |member| LineError::Member { member, expected: "text" };
    if ["machine", "from", "about"].iter().any(|member| line.get(member).is_some()) {
        take(&mut line, "about", |about| about.as_str().map(drop)).map_err(|()| text("about"))?;
        let beginning = take(&mut line, "from", beginning).map_err(|()| LineError::Member {
            member: "from",
            expected: "\"start\", when the machine starts, or \"client\", when its first client has negotiated",
        })?;
        let options = match line.remove("machine") {
            None => MachineOptions::default(),
            Some(Value::Object(options)) => machine(options)?,
            Some(_) => return Err(LineError::Member { member: "machine", expected: "an object" }),
        };
        end(&line, "machine, from and about on the first line of a scenario")?;
        return Ok(Line::Machine { beginning: beginning.unwrap_or_default(), options: options.into() });
    }
    let at = take(&mut line, "at", time).ok().flatten().ok_or(LineError::Member {
        member: "at",
        expected: "the time since the beginning: a number of seconds, or a duration such as \"1m30s\"",
    })?;
    let monitor = take(&mut line, "monitor", string).map_err(|()| text("monitor"))?;
    let guest = take(&mut line, "guest", string).map_err(|()| text("guest"))?;
    let (side, command) = match (monitor, guest) {
        (Some(command), None) => (Side::Monitor, command),
        (None, Some(command)) => (Side::Guest, command),
        (monitor, guest) => return Err(LineError::Commands { found: usize::from(monitor.and(guest).is_some()) * 2 }),
    };
    if !names.of(side).contains(&command.as_str()) {
        return Err(LineError::NoSuchCommand { side, command, known: names.of(side).join(", ") });
    }
    let arguments = take(&mut line, "arguments", |value| value.as_object().cloned())
        .map_err(|()| LineError::Member { member: "arguments", expected: "an object: {\"name\": value, …}" })?;
    take(&mut line, "note", |note| note.as_str().map(drop)).map_err(|()| text("note"))?;
    end(&line, "at, monitor or guest, arguments and note")?;
    Ok(Line::Step(Box::new(Step { at, side, command, arguments: arguments.unwrap_or_default(), line: 0 })))
}

fn machine(mut object: Object) -> Result<MachineOptions, LineError> {
    let strings = |value: &Value| value.as_array()?.iter().map(string).collect::<Option<Vec<_>>>();
    let text = |member| LineError::Member { member, expected: "text, as the option --help tells" };
    let memory = take(&mut object, "memory", string).map_err(|()| text("memory"))?;
    let smp = take(&mut object, "smp", string).map_err(|()| text("smp"))?;
    let panic = take(&mut object, "panic", string).map_err(|()| text("panic"))?;
    let balloon = take(&mut object, "balloon", Value::as_bool)
        .map_err(|()| LineError::Member { member: "balloon", expected: "true or false" })?;
    let watchdog = take(&mut object, "watchdog", string).map_err(|()| text("watchdog"))?;
    let watchdog_action = take(&mut object, "watchdog-action", string).map_err(|()| text("watchdog-action"))?;
    let disks = take(&mut object, "disk", strings)
        .map_err(|()| LineError::Member { member: "disk", expected: "an array of texts such as \"q0,werror=stop\"" })?;
    let quorums = take(&mut object, "quorum", strings).map_err(|()| LineError::Member {
        member: "quorum",
        expected: "an array of texts such as \"q0,vote-threshold=2,children=c0@a.raw:c1@b.raw:c2@c.raw\"",
    })?;
    let images = match object.remove("images") {
        None => Vec::new(),
        Some(Value::Object(images)) => {
            let images = images.iter().map(|(name, size)| ImageFile::new(name, size));
            images.collect::<Result<_, _>>().map_err(|error| option("images", error))?
        }
        Some(_) => {
            let expected = "an object of file names and sizes: {\"a.raw\": \"1M\", …}";
            return Err(LineError::Member { member: "images", expected });
        }
    };
    end(&object, "memory, smp, balloon, panic, watchdog, watchdog-action, disk, quorum and images in 'machine'")?;
    Ok(MachineOptions {
        memory: memory.map(|memory| read("memory", &memory)).transpose()?,
        smp: smp.map(|smp| read("smp", &smp)).transpose()?,
        balloon: balloon.unwrap_or_default(),
        panic: panic.map(|panic| read("panic", &panic)).transpose()?,
        watchdog: watchdog.map(|model| read("watchdog", &model)).transpose()?,
        watchdog_action: watchdog_action.map(|action| read("watchdog-action", &action)).transpose()?,
        disks: disks.unwrap_or_default().iter().map(|disk| read("disk", disk)).collect::<Result<_, _>>()?,
        quorums: quorums.unwrap_or_default().iter().map(|quorum| read("quorum", quorum)).collect::<Result<_, _>>()?,
        images,
    })
}

fn read<T: FromStr<Err: Error + 'static>>(member: &'static str, text: &str) -> Result<T, LineError> {
    text.parse().map_err(|error| option(member, error))
}

fn option(member: &'static str, error: impl Error + 'static) -> LineError {
    LineError::Option { member, error: Box::new(error) }
}

/// Takes a member out, if it is there; an error when it is not what `read` reads.
fn take<T>(object: &mut Object, member: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, ()> {
    object.remove(member).map(|value| read(&value).ok_or(())).transpose()
}

/// Nothing may be left.
fn end(object: &Object, expected: &'static str) -> Result<(), LineError> {
    match object.iter().next() {
        Some((member, _)) => Err(LineError::NoSuchMember { member: member.to_owned(), expected }),
        None => Ok(()),
    }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn beginning(value: &Value) -> Option<Beginning> {
    match value.as_str()? {
        "start" => Some(Beginning::Start),
        "client" => Some(Beginning::Client),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Duration> {
    match value {
        Value::Int(seconds) => Some(Duration::from_secs(u64::try_from(*seconds).ok()?)),
        Value::Double(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        Value::String(text) => duration::parse(text).ok(),
        _ => None,
    }
}
