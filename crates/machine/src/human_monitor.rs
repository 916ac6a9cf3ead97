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
    let Some(Named { name, shown, rest }) = named(line, 0) else { return String::new() };
    let Some((names, ..)) = command(name) else { return unknown(shown) };
    match *names {
        "balloon" => return balloon(machine, shown, rest),
        "help|?" => return help(rest),
        "info" => return info(machine, line, shown.len()),
        "qemu-io" => return qemu_io(machine, shown, rest),
        _ if !rest.is_empty() => return extraneous(names, shown),
        "cont|c" => return said(machine.cont()),
        "quit|q" => machine.shut_down(ShutdownCause::HostQmpQuit, 0),
        "stop|s" => machine.stop(),
        "system_powerdown" => machine.power_button(),
        _ => machine.reset(ShutdownCause::HostQmpSystemReset),
    }
    String::new()
}

/// The name of a command in a line.
struct Named<'a> {
    name: &'a str,
    /// The line up to the end of the name, which is how messages show it.
    shown: &'a str,
    /// What stands behind the name.
    rest: &'a str,
}

/// The name that stands behind this place, which ends at a space or a `/`. `None` if there is nothing more.
fn named(line: &str, from: usize) -> Option<Named<'_>> {
    let behind = line.get(from..)?;
    let text = behind.trim_start_matches(SPACE);
    if text.is_empty() {
        return None;
    }
    let length = text.find(|c| c == '/' || SPACE.contains(&c)).unwrap_or(text.len());
    let end = line.len() - text.len() + length;
    Some(Named { name: text.get(..length)?, shown: line.get(..end)?, rest: line.get(end..)?.trim_matches(SPACE) })
}

/// What C takes for space.
const SPACE: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

fn unknown(shown: &str) -> String {
    format!("unknown command: '{shown}'\r\n")
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
    let line = line.trim_matches(SPACE);
    let (word, rest) = line.split_once(SPACE).unwrap_or((line, ""));
    (word, rest.trim_start_matches(SPACE))
}

fn try_help(what: &str, shown: &str) -> String {
    format!("{what}\r\nTry \"help {shown}\" for more information\r\n")
}

fn extraneous(names: &str, shown: &str) -> String {
    try_help(&format!("{names}: extraneous characters at the end of line"), shown)
}

fn balloon(machine: &mut Machine, shown: &str, rest: &str) -> String {
    let (target, more) = word(rest);
    let first = target.chars().next();
    let Some(first) = first else { return try_help("unexpected end of expression", shown) };
    if first == '-' {
        return try_help("enter a positive value", shown);
    }
    if !first.is_ascii_digit() {
        return try_help(&format!("invalid char '{first}' in expression"), shown);
    }
    let number = parse_size(target, 1 << 20).ok().filter(|_| target.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|bytes| i64::try_from(bytes).ok()).filter(|_| more.is_empty()) {
        Some(bytes) => said(machine.set_balloon(bytes)),
        None => extraneous("balloon", shown),
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
            None => unknown(&format!("info {below}")),
        },
        _ => command(name).map_or_else(|| unknown(name), line),
    }
}

/// `from`: where `info` ends in the line.
fn info(machine: &mut Machine, line: &str, from: usize) -> String {
    let Some(Named { name: what, shown, rest }) = named(line, from) else { return help("info") };
    if !INFO.iter().any(|(known, _)| *known == what) {
        return unknown(shown);
    }
    if !rest.is_empty() {
        return extraneous(what, shown);
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

fn qemu_io(machine: &mut Machine, shown: &str, rest: &str) -> String {
    let (by_device, rest) = match rest.strip_prefix("-d").filter(|rest| !rest.starts_with(|c: char| c != ' ')) {
        Some(rest) => (true, rest.trim_start_matches(SPACE)),
        None => (false, rest),
    };
    let Some((node, rest)) = quotable(rest) else { return try_help("qemu-io: block device name expected", shown) };
    let Some((command, rest)) = quotable(rest) else { return try_help("qemu-io: string expected", shown) };
    if !rest.trim_matches(SPACE).is_empty() {
        return extraneous("qemu-io", shown);
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
    let text = text.trim_start_matches(SPACE);
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_once(SPACE).unwrap_or((text, ""));
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
    fn a_name_is_shown_with_what_stands_before_it() {
        for (line, from, expected) in [
            ("stop", 0, Some(("stop", "stop", ""))),
            (" stop  now ", 0, Some(("stop", " stop", "now"))),
            ("info\t x", 4, Some(("x", "info\t x", ""))),
            ("/{{", 0, Some(("", "", "/{{"))),
            ("info/x", 4, Some(("", "info", "/x"))),
            ("\u{a0}", 0, Some(("\u{a0}", "\u{a0}", ""))),
            (" \n", 0, None),
        ] {
            let found = named(line, from).map(|found| (found.name, found.shown, found.rest));
            assert_eq!(found, expected, "{line:?}");
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
