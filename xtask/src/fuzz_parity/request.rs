//! What a client writes at once: a request, several, a part of one, or nothing of the kind.

use super::commands::{self, CAPABILITIES, COMMANDS, Command, UNKNOWN, Value, When};
use super::document::{Document, Manner};
use super::random::Random;

/// What may be sent in a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// The machine runs at times.
    pub(super) runs: bool,
    /// Each piece waits for its answer.
    pub(super) stepped: bool,
    /// Requests may be out of band, or say that they are.
    pub(super) oob: bool,
    /// What is broken may be among them.
    pub(super) broken: bool,
}

/// The next piece.
pub(super) fn piece(random: &mut Random, allowed: Allowed) -> Vec<u8> {
    let mut manner = manner(random);
    let mut kind = random.below(100);
    if !allowed.broken {
        kind = if matches!(kind, 60..70 | 76..84 | 88..92) { 0 } else { kind };
        manner = if manner == Manner::Wrong { Manner::Odd } else { manner };
    }
    let mut piece = match kind {
        0..60 => request(random, manner, allowed),
        60..70 => mutated(random, allowed),
        70..76 => document(random, manner, |document| document.value(5)),
        76..78 => document(random, manner, |document| {
            document.deep();
        }),
        78..84 => garbage(random),
        84..88 => [request(random, manner, allowed), request(random, Manner::Plain, allowed)].concat(),
        88..92 => spread(random, allowed),
        92..95 => command(random, manner, &CAPABILITIES, allowed),
        _ => unknown(random, manner),
    };
    piece.extend_from_slice(match random.below(20) {
        0 => b"",
        1 => b" ",
        2 | 3 => b"\r\n",
        4 => b"\n\n\n",
        _ => b"\n",
    });
    piece
}

/// The reads that a quorum has something to say about, each once.
pub(super) fn spoilt_reads() -> Vec<Vec<u8>> {
    let lines = commands::SPOILT_READS.arguments.iter().flat_map(|argument| argument.good);
    let mut random = Random::new(0);
    lines
        .map(|line| {
            let mut document = Document::new(&mut random, Manner::Plain);
            document.object(2, |document, at| {
                document.string(["execute", "arguments"].get(at).copied().unwrap_or(""));
                document.colon();
                if at == 0 {
                    document.string(commands::SPOILT_READS.name);
                } else {
                    document.object(1, |document, _| {
                        document.string("command-line");
                        document.colon();
                        value(document, *line);
                    });
                }
            });
            document.raw("\n");
            document.done()
        })
        .collect()
}

/// Whether a piece that was made by cutting another asks for nothing that only QEMU has.
pub(super) fn is_fair(piece: &[u8]) -> bool {
    let has = |what: &[u8]| piece.windows(what.len()).any(|window| window == what);
    // A letter less, or a word, makes another command of QEMU's of it.
    !has(b"query-stats") && (!has(b"migrate") || has(b"\"migrate-pause\""))
}

/// Whether a piece may be cut anywhere: another size could be more than the host has, another line another command, and
/// what has wrong arguments on purpose could have none.
pub(super) fn may_be_cut(piece: &[u8]) -> bool {
    let has = |what: &[u8]| piece.windows(what.len()).any(|window| window == what);
    let delicate = ["object-add", "human", "command-line", "size", "quit", "cont", "query-commands", "\\u"];
    !delicate.iter().any(|what| has(what.as_bytes()))
}

fn manner(random: &mut Random) -> Manner {
    match random.below(10) {
        0..4 => Manner::Plain,
        4..8 => Manner::Odd,
        _ => Manner::Wrong,
    }
}

fn document(random: &mut Random, manner: Manner, write: impl FnOnce(&mut Document<'_>)) -> Vec<u8> {
    let mut document = Document::new(random, manner);
    write(&mut document);
    document.done()
}

fn request(random: &mut Random, manner: Manner, allowed: Allowed) -> Vec<u8> {
    loop {
        let Some(command) = COMMANDS.get(random.below(COMMANDS.len())) else { continue };
        let fits = match command.when {
            When::Always | When::Refused => true,
            When::Paused => !allowed.runs,
            When::Runs => allowed.runs,
            When::Stepped => allowed.stepped && !allowed.runs,
        };
        if fits {
            return self::command(random, manner, command, allowed);
        }
    }
}

/// A member of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Execute,
    ExecOob,
    Arguments,
    Id,
    Other,
}

fn command(random: &mut Random, manner: Manner, command: &Command, allowed: Allowed) -> Vec<u8> {
    let refused = command.when == When::Refused;
    let mut members = vec![if allowed.oob && random.one_in(3) { Member::ExecOob } else { Member::Execute }];
    if refused || !command.arguments.is_empty() || random.one_in(4) {
        members.push(Member::Arguments);
    }
    if !random.one_in(3) {
        members.push(Member::Id);
    }
    // What is wrong about the request as a whole: then it is refused whatever its arguments are.
    if random.one_in(15) {
        members.push(Member::Other);
    }
    if allowed.oob && random.one_in(30) {
        members.push(Member::ExecOob);
    }
    if random.one_in(60) {
        members.push(if random.one_in(2) { Member::Execute } else { Member::Id });
    }
    random.shuffle(&mut members);
    document(random, manner, |document| {
        document.object(members.len(), |document, at| match members.get(at) {
            Some(Member::Execute) => verb(document, "execute", command.name),
            Some(Member::ExecOob) => verb(document, "exec-oob", command.name),
            Some(Member::Arguments) => {
                document.string("arguments");
                document.colon();
                if document.random().one_in(40) { document.any_string() } else { arguments(document, command) }
            }
            Some(Member::Id) => {
                document.string("id");
                document.colon();
                document.value(3);
            }
            _ => {
                document.any_string();
                document.colon();
                document.value(2);
            }
        });
    })
}

fn verb(document: &mut Document<'_>, verb: &str, name: &str) {
    document.string(verb);
    document.colon();
    if document.random().one_in(60) {
        // No command at all.
        let value = document.random().text(&["null", "1", "[\"stop\"]", "{}", "true"]);
        document.raw(value);
    } else {
        document.string(name);
    }
}

/// What is written for one argument.
enum Given<'a> {
    Good(&'a commands::Argument),
    Bad(&'a commands::Argument),
    Unknown,
}

fn arguments(document: &mut Document<'_>, command: &Command) {
    let random = document.random();
    let how = random.below(10);
    let mut given: Vec<Given<'_>> = Vec::new();
    for argument in command.arguments {
        if argument.required || random.one_in(4) {
            given.push(Given::Good(argument));
        }
    }
    let chosen = random.below(given.len());
    match how {
        0 if chosen < given.len() => drop(given.swap_remove(chosen)),
        1 | 2 => {
            if let Some(slot) = given.get_mut(chosen)
                && let Given::Good(argument) = *slot
            {
                *slot = Given::Bad(argument);
            }
        }
        _ => {}
    }
    if how == 3 || how == 4 || command.when == When::Refused {
        let many = if random.one_in(8) { random.between(4, 40) } else { random.between(1, 3) };
        given.extend((0..many).map(|_| Given::Unknown));
    }
    random.shuffle(&mut given);
    let mut number = 0;
    document.object(given.len(), |document, at| match given.get(at) {
        Some(Given::Good(argument)) => {
            document.string(argument.name);
            document.colon();
            let at = document.random().below(argument.good.len());
            argument.good.get(at).into_iter().for_each(|good| value(document, *good));
        }
        Some(Given::Bad(argument)) => {
            document.string(argument.name);
            document.colon();
            let at = document.random().below(argument.bad.len());
            match argument.bad.get(at) {
                Some(bad) => value(document, *bad),
                None => document.value(2),
            }
        }
        _ => {
            number += 1;
            unknown_name(document, number);
            document.colon();
            document.value(2);
        }
    });
}

/// A name that no command has an argument of; mostly another each time, since names that come twice are an error.
fn unknown_name(document: &mut Document<'_>, number: usize) {
    match document.random().below(4) {
        0 => document.any_string(),
        1 => document.string(&format!("no-{number}")),
        2 => document.string(&format!("é{number}\u{0}")),
        _ => {
            let length = document.random().between(1, 12);
            let name: String = (0..length).map(|_| char::from(b'A' + document.random().byte() % 26)).collect();
            document.string(&name);
        }
    }
}

fn value(document: &mut Document<'_>, value: Value) {
    match value {
        Value::Text(text) => document.string(text),
        Value::Json(json) => document.raw(json),
    }
}

fn unknown(random: &mut Random, manner: Manner) -> Vec<u8> {
    document(random, manner, |document| {
        document.object(2, |document, at| {
            document.string(["execute", "id"].get(at).copied().unwrap_or(""));
            document.colon();
            if at == 0 {
                let name = document.random().text(UNKNOWN);
                document.string(name);
            } else {
                document.value(3);
            }
        });
    })
}

/// Bytes that mean something to somebody.
const BYTES: &[u8] = b"\"'\\{}[],: \n\t\r\0\x01\x1F\x7F\x80\xBF\xC0\xED\xF0\xFE\xFFu0e.-+aZ%@";

/// A request with a few bytes changed.
fn mutated(random: &mut Random, allowed: Allowed) -> Vec<u8> {
    let mut piece = request(random, Manner::Plain, allowed);
    if !may_be_cut(&piece) {
        return piece;
    }
    let whole = piece.clone();
    for _ in 0..random.between(1, 3) {
        let at = random.below(piece.len());
        let until = (at + random.between(1, 8)).min(piece.len());
        match random.below(5) {
            0 => drop(piece.drain(at..until)),
            1 => {
                let again: Vec<u8> = piece.get(at..until).unwrap_or_default().to_vec();
                piece.splice(at..at, again);
            }
            2 => piece.truncate(at.max(1)),
            kind => {
                let byte = BYTES.get(random.below(BYTES.len())).copied().unwrap_or(0);
                piece.splice(at..if kind == 3 { at } else { (at + 1).min(piece.len()) }, [byte]);
            }
        }
    }
    if is_fair(&piece) { piece } else { whole }
}

/// A request over several lines, or a part of one.
fn spread(random: &mut Random, allowed: Allowed) -> Vec<u8> {
    let piece = request(random, Manner::Odd, allowed);
    let mut lines = Vec::new();
    for byte in piece {
        lines.push(byte);
        // In a string this breaks the request: that is to be tried as well.
        if matches!(byte, b',' | b':' | b'{') && random.one_in(2) {
            lines.extend_from_slice(b"\r\n");
        }
    }
    lines
}

fn garbage(random: &mut Random) -> Vec<u8> {
    let count = random.between(1, 12);
    match random.below(4) {
        0 => vec![0xFF; random.between(1, 3)],
        1 => (0..count).map(|_| random.byte()).collect(),
        2 => (0..count).map(|_| BYTES.get(random.below(BYTES.len())).copied().unwrap_or(0)).collect(),
        _ => {
            let length = if random.one_in(10) { random.between(1000, 1100) } else { random.between(1, 30) };
            (0..length).map(|_| b'a' + random.byte() % 26).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ALL: Allowed = Allowed { runs: false, stepped: true, oob: true, broken: true };

    fn pieces(allowed: Allowed) -> Vec<Vec<u8>> {
        let mut random = Random::new(5);
        (0..20_000).map(|_| piece(&mut random, allowed)).collect()
    }

    fn has(piece: &[u8], what: &str) -> bool {
        piece.windows(what.len()).any(|window| window == what.as_bytes())
    }

    #[test]
    fn a_seed_gives_the_same_pieces() {
        assert_eq!(pieces(ALL), pieces(ALL));
    }

    #[test]
    fn every_command_comes_and_most_requests_are_json() {
        let pieces = pieces(ALL);
        let mut names = HashSet::new();
        let mut sound = 0;
        for piece in &pieces {
            let Ok(read) = serde_json::from_slice::<serde_json::Value>(piece) else { continue };
            sound += 1;
            let name = read.get("execute").or(read.get("exec-oob")).and_then(serde_json::Value::as_str);
            names.extend(name.map(str::to_owned));
        }
        assert!(sound > pieces.len() / 3, "{sound}");
        for command in COMMANDS.iter().filter(|command| command.when != When::Runs) {
            assert!(names.contains(command.name), "{}", command.name);
        }
    }

    #[test]
    fn nothing_comes_that_was_not_allowed() {
        for piece in pieces(Allowed { runs: false, stepped: false, oob: false, broken: true }) {
            assert!(!has(&piece, "exec-oob") && !has(&piece, "\"system_reset\""), "{}", piece.escape_ascii());
        }
    }

    #[test]
    fn what_was_cut_asks_for_nothing_that_only_qemu_has() {
        assert!(is_fair(b"{\"execute\": \"query-status\"}"));
        assert!(!is_fair(b"{\"execute\": \"query-stats\"}"));
        assert!(!is_fair(b"{\"execute\": \"migrate\"}") && is_fair(b"{\"execute\": \"migrate-pause\"}"));
        assert!(!may_be_cut(b"{\"execute\": \"object-add\""));
    }

    #[test]
    fn spoilt_reads_are_plain_requests() {
        let reads = spoilt_reads();
        assert_eq!(reads.len(), 2);
        for read in reads {
            let read: serde_json::Value = serde_json::from_slice(&read).unwrap();
            assert_eq!(read["execute"], "human-monitor-command");
        }
    }
}
