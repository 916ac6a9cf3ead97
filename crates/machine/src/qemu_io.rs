//! `qemu-io` on a block node: `read`, `write`, `flush` and `length`, with what it prints.
//!
//! QEMU prints that to its own standard output, so it is kept apart from the reply. Times are left out of it: there is
//! no clock here.

use crate::config::size::{SizeError, parse_size};
use crate::machine::Machine;
use crate::quorum::child::{Answer, Errno};
use crate::quorum::{Done, Pattern, Range};
use qev_qmp::Typed;
use std::fmt::Write as _;

/// What was printed and not taken yet. When it is more than 64 KiB the oldest goes.
#[derive(Debug, Default)]
pub(crate) struct Output(String);

const MAX_OUTPUT: usize = 64 * 1024;

impl Output {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
        if self.0.len() > MAX_OUTPUT {
            let mut from = self.0.len() - MAX_OUTPUT / 2;
            while !self.0.is_char_boundary(from) {
                from += 1;
            }
            self.0.drain(..from);
        }
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

/// The longest request, in bytes, as QEMU has it.
const MAX_REQUEST: u64 = 2_147_483_136;
/// What QEMU fills a buffer with that is written without `-P`.
const DEFAULT_PATTERN: u8 = 0xCD;
const READ_USAGE: &str =
    "read [-q] [-P pattern [-s off] [-l len]] off len -- reads a number of bytes at a specified offset";
const WRITE_USAGE: &str = "write [-q] [-P pattern] off len -- writes a number of bytes at a specified offset";

/// Executes a command on a node, which there is. The reply is empty but where the node can not be written to.
pub(crate) fn execute(machine: &mut Machine, node: &str, command: &str) -> String {
    let mut words = command.split_ascii_whitespace();
    let Some(name) = words.next() else { return String::new() };
    let words: Vec<&str> = words.collect();
    let expected = match name {
        "read" | "r" | "write" | "w" if words.len() < 2 => "at least 2",
        "flush" | "f" | "length" | "l" if !words.is_empty() => "0",
        "read" | "r" => {
            report(machine, Request::read(&words), |machine, request| read(machine, node, request));
            return String::new();
        }
        "write" | "w" => {
            let conflict = write_conflict(machine, node);
            if conflict.is_none() {
                report(machine, Request::write(&words), |machine, request| write(machine, node, request));
            }
            return conflict.unwrap_or_default();
        }
        "flush" | "f" => {
            flush(machine, node);
            return String::new();
        }
        "length" | "l" => {
            let length = length(machine, node);
            machine.output.line(&human(length));
            return String::new();
        }
        _ => {
            machine.output.line(&format!("command \"{name}\" not found"));
            return String::new();
        }
    };
    let count = words.len();
    machine.output.line(&format!("bad argument count {count} to {name}, expected {expected} arguments"));
    String::new()
}

/// A read or a write, understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    offset: u64,
    length: u64,
    quiet: bool,
    pattern: Option<u8>,
    /// Where in what is read the pattern is looked for.
    part: Option<Range>,
}

/// Prints why a request can not be understood, or executes it.
fn report(machine: &mut Machine, request: Result<Request, String>, execute: impl FnOnce(&mut Machine, &Request)) {
    match request {
        Ok(request) => execute(machine, &request),
        Err(why) => machine.output.line(&why),
    }
}

impl Request {
    fn read(words: &[&str]) -> Result<Request, String> {
        Request::parse("read", words, READ_USAGE, "s:l:")
    }

    fn write(words: &[&str]) -> Result<Request, String> {
        Request::parse("write", words, WRITE_USAGE, "")
    }

    /// Reads options and operands in any order, as `getopt` does. `more` names the options beside `-q` and `-P`.
    fn parse(name: &str, words: &[&str], usage: &str, more: &str) -> Result<Request, String> {
        let mut request = Request::default();
        let (mut start, mut length) = (None, None);
        let mut operands = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                operands.push(*word);
                continue;
            };
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                if letter == 'q' {
                    request.quiet = true;
                    continue;
                }
                if letter != 'P' && !more.contains(&format!("{letter}:")) {
                    return Err(format!("{name}: invalid option -- '{letter}'\n{usage}"));
                }
                let rest = letters.as_str();
                let value = if rest.is_empty() { words.next().copied() } else { Some(rest) };
                let value =
                    value.ok_or_else(|| format!("{name}: option requires an argument -- '{letter}'\n{usage}"))?;
                match letter {
                    'P' => request.pattern = Some(pattern(value)?),
                    's' => start = Some(number(value)?),
                    _ => length = Some(number(value)?),
                }
                break;
            }
        }
        request.operands(&operands, usage)?;
        request.part = request.part_of(start, length, usage)?;
        Ok(request)
    }

    fn operands(&mut self, operands: &[&str], usage: &str) -> Result<(), String> {
        let [offset, length] = operands else { return Err(usage.to_owned()) };
        self.offset = number(offset)?;
        self.length = number(length)?;
        if self.length > MAX_REQUEST {
            return Err(format!("length cannot exceed {MAX_REQUEST}, given {length}"));
        }
        Ok(())
    }

    fn part_of(&self, start: Option<u64>, length: Option<u64>, usage: &str) -> Result<Option<Range>, String> {
        if self.pattern.is_none() {
            return if start.or(length).is_some() { Err(usage.to_owned()) } else { Ok(None) };
        }
        let offset = start.unwrap_or(0);
        let length = length.unwrap_or_else(|| self.length.saturating_sub(offset));
        if offset.saturating_add(length) > self.length {
            return Err("pattern verification range exceeds end of read data".to_owned());
        }
        Ok(Some(Range { offset, length }))
    }

    fn range(&self) -> Range {
        Range { offset: self.offset, length: self.length }
    }
}

fn pattern(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("{text} is not a valid pattern byte"))
}

fn number(text: &str) -> Result<u64, String> {
    match parse_size(text, 1) {
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        Ok(_) | Err(SizeError::TooLarge) => Err(format!("Parsing error: argument too large -- {text}")),
        Err(SizeError::Malformed) => {
            Err(format!("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {text}"))
        }
    }
}

/// A number of bytes in the largest unit that it reaches.
fn human(bytes: u64) -> String {
    let units = [(60, "EiB"), (50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} bytes");
    };
    let (whole, part) = (bytes >> shift, bytes & ((1 << shift) - 1));
    // Thousandths are enough, and need no floating point.
    let thousandths = (u128::from(part) * 1000) >> shift;
    if part == 0 { format!("{whole} {unit}") } else { format!("{whole}.{thousandths:03} {unit}") }
}

fn length(machine: &Machine, node: &str) -> u64 {
    let quorum = machine.nodes.quorums.iter().find(|quorum| quorum.node_name == node);
    let child = || machine.nodes.children().find(|child| child.node_name == node);
    quorum.map(|quorum| quorum.length).or_else(|| child().map(|child| child.length)).unwrap_or(0)
}

/// Why a node can not be written to: the quorum over it would not see it.
fn write_conflict(machine: &Machine, node: &str) -> Option<String> {
    let children = |quorum: &crate::quorum::Quorum| quorum.children.iter().position(|child| child.node_name == node);
    let (quorum, at) = machine.nodes.quorums.iter().find_map(|quorum| Some((quorum, children(quorum)?)))?;
    let parent = &quorum.node_name;
    Some(format!(
        "Permission conflict on node '{node}': permissions 'write' are both required by an unnamed block device \
         (uses node '{node}' as 'root' child) and unshared by node '{parent}' (uses node '{node}' as 'children.{at}' child).\r\n"
    ))
}

/// Does something with a node: with a quorum, whose events are emitted, or with a child of one by itself.
fn on_node<T>(
    machine: &mut Machine,
    node: &str,
    on_quorum: impl FnOnce(&mut crate::quorum::Quorum) -> Done<T>,
    on_child: impl FnOnce(&mut crate::quorum::child::Child) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let done = match machine.nodes.quorums.iter_mut().find(|quorum| quorum.node_name == node) {
        Some(quorum) => on_quorum(quorum),
        None => {
            let result = machine.nodes.child(node).map_or(Err(Errno::EIO), on_child);
            Done { events: Vec::<Typed>::new(), result }
        }
    };
    for event in done.events {
        machine.emit(event);
    }
    done.result
}

fn read(machine: &mut Machine, node: &str, request: &Request) {
    let (range, part) = (request.range(), request.part);
    let pattern = request.pattern.zip(part).map(|(byte, part)| Pattern { byte, part });
    let result = within(machine, node, range).and_then(|()| {
        on_node(machine, node, |quorum| quorum.read(range, pattern), |child| child.read(range, pattern))
    });
    if let (Ok(Answer { is_pattern: false, .. }), Some(part)) = (&result, part) {
        let at = range.offset.saturating_add(part.offset);
        machine.output.line(&format!("Pattern verification failed at offset {at}, {} bytes", part.length));
    }
    print(machine, ("read", "read"), request, result.map(|_| ()));
}

fn write(machine: &mut Machine, node: &str, request: &Request) {
    let (range, byte) = (request.range(), request.pattern.unwrap_or(DEFAULT_PATTERN));
    let result = within(machine, node, range)
        .and_then(|()| on_node(machine, node, |quorum| quorum.write(range, byte), |child| child.write(range, byte)));
    print(machine, ("write", "wrote"), request, result);
}

fn flush(machine: &mut Machine, node: &str) {
    // It prints nothing, whatever comes of it.
    let _ = on_node(machine, node, super::quorum::Quorum::flush, super::quorum::child::Child::flush);
}

/// A request that goes past the end of its node fails before any child hears of it.
fn within(machine: &Machine, node: &str, range: Range) -> Result<(), Errno> {
    let end = range.offset.checked_add(range.length);
    if end.is_some_and(|end| end <= length(machine, node)) { Ok(()) } else { Err(Errno::EIO) }
}

fn print(machine: &mut Machine, (name, past): (&str, &str), request: &Request, result: Result<(), Errno>) {
    let Request { offset, length, quiet, .. } = request;
    match result {
        Err(error) => machine.output.line(&format!("{name} failed: {error}")),
        Ok(()) if *quiet => {}
        Ok(()) => {
            machine.output.line(&format!("{past} {length}/{length} bytes at offset {offset}"));
            machine.output.line(&format!("{}, 1 ops", human(*length)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        Request::read(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere_and_together() {
        let expected = Request {
            offset: 512,
            length: 1536,
            quiet: true,
            pattern: Some(7),
            part: Some(Range { offset: 2, length: 3 }),
        };
        assert_eq!(read("-qP 7 -s 2 -l3 0x200 1.5k"), Ok(expected));
        assert_eq!(read("0 16 -P 0xff").unwrap().part, Some(Range { offset: 0, length: 16 }));
    }

    #[test]
    fn what_is_wrong_is_said_in_qemus_words() {
        for (line, expected) in [
            ("-P 1", READ_USAGE),
            ("0 1x", "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 1x"),
            ("0 16E", "Parsing error: argument too large -- 16E"),
            ("0 7E", "length cannot exceed 2147483136, given 7E"),
            ("-P 256 0 1", "256 is not a valid pattern byte"),
            ("-P -1 0 1", "-1 is not a valid pattern byte"),
            ("-P x 0 1", "x is not a valid pattern byte"),
            ("-P 1 -s 10 -l 1000 0 512", "pattern verification range exceeds end of read data"),
            ("0 1 1", READ_USAGE),
            ("-s 1 0 512", READ_USAGE),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line}");
        }
        assert_eq!(read("-Z 0 1"), Err(format!("read: invalid option -- 'Z'\n{READ_USAGE}")));
        assert_eq!(read("-1 1"), Err(format!("read: invalid option -- '1'\n{READ_USAGE}")));
    }

    #[test]
    fn bytes_are_shown_as_qemu_io_shows_them() {
        for (bytes, expected) in
            [(0, "0 bytes"), (512, "512 bytes"), (4096, "4 KiB"), (1536, "1.500 KiB"), (1 << 20, "1 MiB")]
        {
            assert_eq!(human(bytes), expected);
        }
        assert_eq!(human(u64::MAX), "15.999 EiB");
    }

    #[test]
    fn output_nobody_takes_is_bounded() {
        let mut output = Output::default();
        for _ in 0..10_000 {
            output.line("ä read failed: Input/output error");
        }
        assert!(output.take().len() <= MAX_OUTPUT);
        assert_eq!(output.take(), "");
    }
}
