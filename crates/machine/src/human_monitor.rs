//! The human monitor, as `human-monitor-command` reaches it: one line in, text out.
//!
//! Its errors are text too: the command itself never fails. What `qemu-io` reads, writes and finds goes to QEMU's standard
//! output and not into the reply ([`Machine::take_output`]).

use crate::config::size::parse_size;
use crate::machine::Machine;
use crate::qemu_io;
use crate::run_state::{RunState, ShutdownCause};
use qev_qmp::QmpError;
use std::fmt::Write as _;

/// What there is beside `help`: names, arguments, help.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("balloon", "target", "request VM to change its memory allocation (in MB)"),
    ("cont|c", "", "resume emulation"),
    ("help|?", "[cmd]", "show the help"),
    ("info", "[subcommand]", "show various information about the system state"),
    ("qemu-io", "[-d] [device] \"[command]\"", QEMU_IO_HELP),
    ("quit|q", "", "quit the emulator"),
    ("stop|s", "", "stop emulation"),
    ("system_powerdown", "", "send system power down event"),
    ("system_reset", "", "reset the system"),
];

const QEMU_IO_HELP: &str = "run a qemu-io command on a block device\r\n\t\t\t\
    -d: [device] is a device ID rather than a drive ID or node name";

/// What `info` shows.
const INFO: &[(&str, &str)] = &[
    ("balloon", "show balloon information"),
    ("memory-devices", "show memory devices"),
    ("memory_size_summary", "show the amount of initially allocated and present hotpluggable memory in bytes"),
    ("name", "show the current VM name"),
    ("status", "show the current VM status (running|paused)"),
    ("uuid", "show the current VM UUID"),
    ("version", "show the version of QEMU"),
];

/// Executes a line, and gives what the monitor prints.
pub(crate) fn execute(machine: &mut Machine, line: &str) -> String {
    let (name, rest) = word(line);
    if name.is_empty() {
        return String::new();
    }
    let Some((names, ..)) = command(name) else { return format!("unknown command: '{name}'\r\n") };
    match *names {
        "balloon" => return balloon(machine, name, rest),
        "help|?" => return help(rest),
        "info" => return info(machine, rest),
        "qemu-io" => return qemu_io(machine, rest),
        _ if !rest.is_empty() => return extraneous(names, name),
        "cont|c" => return said(machine.cont()),
        "quit|q" => machine.shut_down(ShutdownCause::HostQmpQuit, 0),
        "stop|s" => machine.stop(),
        "system_powerdown" => machine.power_button(),
        _ => machine.reset(ShutdownCause::HostQmpSystemReset),
    }
    String::new()
}

fn said(result: Result<(), QmpError>) -> String {
    match result {
        Ok(()) => String::new(),
        Err(error) => format!("Error: {}\r\n", error.desc),
    }
}

fn command(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    COMMANDS.iter().find(|(names, ..)| names.split('|').any(|known| known == name))
}

/// The first word and what stands behind it.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim_start())
}

fn try_help(what: &str, name: &str) -> String {
    format!("{what}\r\nTry \"help {name}\" for more information\r\n")
}

fn extraneous(names: &str, name: &str) -> String {
    try_help(&format!("{names}: extraneous characters at the end of line"), name)
}

fn balloon(machine: &mut Machine, name: &str, rest: &str) -> String {
    let (target, more) = word(rest);
    let first = target.chars().next();
    let Some(first) = first else { return try_help("unexpected end of expression", name) };
    if first == '-' {
        return try_help("enter a positive value", name);
    }
    if !first.is_ascii_digit() {
        return try_help(&format!("invalid char '{first}' in expression"), name);
    }
    let number = parse_size(target, 1 << 20).ok().filter(|_| target.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|bytes| i64::try_from(bytes).ok()).filter(|_| more.is_empty()) {
        Some(bytes) => said(machine.set_balloon(bytes)),
        None => extraneous("balloon", name),
    }
}

/// Words behind a command that has nothing below it are not looked at.
fn help(rest: &str) -> String {
    let (name, more) = word(rest);
    let (below, _) = word(more);
    let line = |(names, arguments, help): &(&str, &str, &str)| format!("{names} {arguments} -- {help}\r\n");
    let of_info = |(name, help): &(&str, &str)| format!("info {name}  -- {help}\r\n");
    match (name, below) {
        ("", _) => COMMANDS.iter().map(line).collect(),
        ("info", "") => INFO.iter().map(of_info).collect(),
        ("info", below) => match INFO.iter().find(|(known, _)| *known == below) {
            Some(known) => of_info(known),
            None => format!("unknown command: 'info {below}'\r\n"),
        },
        _ => command(name).map_or_else(|| format!("unknown command: '{name}'\r\n"), line),
    }
}

fn info(machine: &mut Machine, rest: &str) -> String {
    let (what, more) = word(rest);
    if what.is_empty() {
        return help("info");
    }
    if !INFO.iter().any(|(known, _)| *known == what) {
        return format!("unknown command: 'info {what}'\r\n");
    }
    if !more.is_empty() {
        return extraneous(what, &format!("info {what}"));
    }
    match what {
        "balloon" => match machine.balloon_actual() {
            // An arithmetic shift, as in QEMU: less than nothing is rounded down.
            Some(actual) => format!("balloon: actual={}\r\n", actual >> 20),
            None => said(Err(crate::monitor::no_balloon())),
        },
        "memory-devices" => memory_devices(machine),
        "memory_size_summary" => {
            format!("base memory: {}\r\nplugged memory: {}\r\n", machine.memory.base(), machine.memory.plugged())
        }
        "name" => machine.config.name.as_ref().map(|name| format!("{name}\r\n")).unwrap_or_default(),
        "status" => status(machine.state),
        "uuid" => format!("{}\r\n", machine.config.uuid),
        _ => format!("{}{}\r\n", machine.config.version, machine.config.package),
    }
}

fn status(state: RunState) -> String {
    match state {
        RunState::Running => "VM status: running\r\n".to_owned(),
        RunState::Paused => "VM status: paused\r\n".to_owned(),
        why => format!("VM status: paused ({})\r\n", why.as_str()),
    }
}

fn memory_devices(machine: &Machine) -> String {
    let mut text = String::new();
    for (slot, dimm) in machine.memory.by_address() {
        let (id, address, size, memdev) = (dimm.id.as_deref().unwrap_or(""), dimm.address, dimm.size, &dimm.memdev);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "Memory device [dimm]: \"{id}\"\r\n  addr: {address:#x}\r\n  slot: {slot}\r\n  node: 0\r\n  size: {size}\r\n  \
             memdev: /objects/{memdev}\r\n  hotplugged: true\r\n  hotpluggable: true\r\n"
        );
    }
    text
}

fn qemu_io(machine: &mut Machine, rest: &str) -> String {
    let (by_device, rest) = match rest.strip_prefix("-d").filter(|rest| !rest.starts_with(|c: char| c != ' ')) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest),
    };
    let Some((node, rest)) = quotable(rest) else { return try_help("qemu-io: block device name expected", "qemu-io") };
    let Some((command, rest)) = quotable(rest) else { return try_help("qemu-io: string expected", "qemu-io") };
    if !rest.trim().is_empty() {
        return extraneous("qemu-io", "qemu-io");
    }
    if by_device {
        // Devices that hold a block node have an id; here none does.
        return format!("Error: Device '{node}' not found\r\n");
    }
    if !machine.nodes.has(&node) {
        return format!("Error: Cannot find device='' nor node-name='{node}'\r\n");
    }
    qemu_io::execute(machine, &node, &command)
}

/// The first word, or what stands in quotes with `\n`, `\r`, `\\`, `\'` and `\"` resolved; and the rest. `None` when
/// there is none.
fn quotable(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return (!word.is_empty()).then(|| (word.to_owned(), rest));
    };
    let mut resolved = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((resolved, quoted.get(at + 1..).unwrap_or(""))),
            '\\' => match chars.next()?.1 {
                'n' => resolved.push('\n'),
                'r' => resolved.push('\r'),
                c @ ('\\' | '\'' | '"') => resolved.push(c),
                _ => return None,
            },
            c => resolved.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(quotable(" q0 \"read 0\""), Some(("q0".to_owned(), "\"read 0\"")));
        assert_eq!(quotable("\"read \\\"x\\\\\" y"), Some(("read \"x\\".to_owned(), " y")));
        for none in ["", "  ", "\"a", "\"a\\", "\"\\x\""] {
            assert_eq!(quotable(none), None, "{none}");
        }
    }

    #[test]
    fn every_command_has_help() {
        let all = help("");
        for (names, ..) in COMMANDS {
            for name in names.split('|') {
                let line = if name == "info" { continue } else { help(name) };
                assert!(all.contains(&line), "{name}");
            }
        }
        assert_eq!(help("nosuch"), "unknown command: 'nosuch'\r\n");
    }
}
