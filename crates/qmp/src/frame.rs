//! Bytes to frames: where one message of a QEMU ends and the next begins.
//!
//! QEMU ends every message with CRLF, but a message is not a line: a monitor with `pretty=on` spreads it over many, others
//! let messages touch. So a frame is one whole `{…}`, found by its brackets and strings, however the bytes were split.
//!
//! What is broken must not cost what follows. These end a message that was begun:
//!
//! - a line end inside a string: JSON has none there;
//! - a `{` that is the first byte of a line: inside a message, even a pretty one, none is;
//! - the byte 0xFF, which QEMU's protocol sets aside for this;
//! - a closing bracket that nothing opened;
//! - a size past the limit.
//!
//! What was begun is then reported as [`Garbage`], like anything else that stands between messages, and reading goes on.

use std::fmt;

/// How long one message may be, in bytes: QEMU's own limit for what it reads.
pub const MAX_FRAME: usize = 64 << 20;

/// How much of some garbage is kept to be shown, in bytes.
pub(crate) const SAMPLE: usize = 120;

/// How much room is kept for what comes next, in bytes: one long message must not cost memory for ever.
const KEPT: usize = 64 << 10;

/// Garbage without an end is reported in pieces of this size, in bytes.
const GARBAGE_PIECE: usize = 4096;

/// What was found in the bytes.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// One `{…}`, whole. Whether it is JSON inside, [`crate::Message::decode`] says.
    Frame(&'a [u8]),
    /// Bytes that belong to no message.
    Garbage(Garbage),
}

/// Bytes that belong to no message, and are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// How many bytes.
    pub bytes: usize,
    /// The first 120 of them at most.
    pub sample: Vec<u8>,
    /// Why they belong to none.
    pub reason: GarbageReason,
}

/// Why bytes belong to no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GarbageReason {
    /// They stand outside of `{…}`.
    BetweenMessages,
    /// A message began and did not end.
    BrokenOff,
    /// A message is longer than the reader's limit.
    TooLong,
    /// The brackets match, but it is not JSON at this byte.
    NotJson {
        /// Counted from the start of the frame.
        at: usize,
    },
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            GarbageReason::BetweenMessages => "between messages",
            GarbageReason::BrokenOff => "of a message that breaks off",
            GarbageReason::TooLong => "of a message that is too long",
            GarbageReason::NotJson { at } => {
                return write!(f, "{} bytes that are not JSON at byte {at}: {}", self.bytes, self.shown());
            }
        };
        write!(f, "{} bytes {why}: {}", self.bytes, self.shown())
    }
}

impl Garbage {
    /// The sample, fit for a terminal.
    pub fn shown(&self) -> String {
        let more = if self.bytes > self.sample.len() { "…" } else { "" };
        format!("'{}{more}'", self.sample.escape_ascii())
    }
}

/// Finds frames in bytes that come in pieces.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where what is being read began; what lies before it is done with.
    start: usize,
    /// The next byte to look at.
    at: usize,
    state: State,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Outside of any message; this many bytes of garbage so far.
    Between { garbage: usize },
    /// In a message.
    Inside(Inside),
    /// In a message that is given up, but not at its end: until a line begins with `{`.
    Skipping { skipped: usize, line_start: bool },
}

#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    braces: i32,
    brackets: i32,
    string: bool,
    escaped: bool,
    line_start: bool,
}

/// What one byte does to a message.
enum Step {
    More,
    Complete,
    Broken {
        consumed: bool,
    },
    /// A bracket is closed that was not opened. What follows on this line may be the inside of what is broken, and must
    /// not be taken for a message.
    Mismatch,
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader::new()
    }
}

impl FrameReader {
    /// A reader with QEMU's limit.
    pub fn new() -> FrameReader {
        FrameReader::with_limit(MAX_FRAME)
    }

    /// A reader that takes messages of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> FrameReader {
        FrameReader { buffer: Vec::new(), start: 0, at: 0, state: State::Between { garbage: 0 }, limit }
    }

    /// A reader that begins somewhere in a stream, perhaps in the middle of a message: what comes before a line that begins
    /// with `{` is garbage.
    pub(crate) fn in_the_middle(limit: usize) -> FrameReader {
        FrameReader { state: State::Skipping { skipped: 0, line_start: false }, ..FrameReader::with_limit(limit) }
    }

    /// What was read and is no message yet; and whether that is the rest of one that is given up. Another reader can go on
    /// with it.
    pub(crate) fn take_rest(&mut self) -> (Vec<u8>, bool) {
        let given_up = matches!(self.state, State::Skipping { line_start: false, .. });
        let mut rest = std::mem::take(&mut self.buffer);
        rest.drain(..self.start);
        self.begin_between(0);
        (rest, given_up)
    }

    /// Changes how many bytes a message may have.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes the bytes that were read. Call [`FrameReader::next_piece`] until it has no more, then read again: so what
    /// is buffered is never more than one message and one read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.at -= self.start;
        self.start = 0;
        if self.buffer.len() < KEPT && self.buffer.capacity() > KEPT {
            self.buffer.shrink_to(KEPT);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame or garbage, if it is there whole.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        loop {
            match self.state {
                State::Between { garbage } => {
                    if let Some(garbage) = self.between(garbage) {
                        return Some(Piece::Garbage(garbage));
                    }
                    if !matches!(self.state, State::Inside(_)) {
                        return None;
                    }
                }
                State::Inside(inside) => match self.inside(inside)? {
                    Found::Frame(start, end) => {
                        self.begin_between(end);
                        return self.buffer.get(start..end).map(Piece::Frame);
                    }
                    Found::Garbage(garbage) => return Some(Piece::Garbage(garbage)),
                },
                State::Skipping { skipped, line_start } => {
                    if let Some(garbage) = self.skip(skipped, line_start) {
                        return Some(Piece::Garbage(garbage));
                    }
                    if matches!(self.state, State::Skipping { .. }) {
                        return None;
                    }
                }
            }
        }
    }

    /// The peer has ended the stream: what was begun is garbage now.
    pub fn finish(&mut self) -> Option<Garbage> {
        let reason = match self.state {
            State::Between { garbage: 0 } => return None,
            State::Between { .. } => GarbageReason::BetweenMessages,
            State::Inside(_) => GarbageReason::BrokenOff,
            State::Skipping { skipped, .. } => {
                self.begin_between(self.buffer.len());
                return (skipped > 0).then_some(Garbage {
                    bytes: skipped,
                    sample: Vec::new(),
                    reason: GarbageReason::BrokenOff,
                });
            }
        };
        self.at = self.buffer.len();
        Some(self.cut(reason))
    }

    /// How many bytes are held back because their message is not whole yet.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Looks for the start of a message. Garbage is given out at each line end, so that a peer that does not speak QMP
    /// at all is noticed at its first line.
    fn between(&mut self, mut garbage: usize) -> Option<Garbage> {
        while let Some(&byte) = self.buffer.get(self.at) {
            let ends = match byte {
                b'{' | b'\n' => garbage > 0,
                _ => garbage >= GARBAGE_PIECE,
            };
            if ends {
                return Some(self.cut(GarbageReason::BetweenMessages));
            }
            match byte {
                b'{' => {
                    self.start = self.at;
                    self.state = State::Inside(Inside::default());
                    return None;
                }
                b' ' | b'\t' | b'\r' | b'\n' if garbage == 0 => self.start = self.at + 1,
                _ => garbage += 1,
            }
            self.at += 1;
        }
        self.state = State::Between { garbage };
        None
    }

    fn inside(&mut self, mut inside: Inside) -> Option<Found> {
        let most = self.start.saturating_add(self.limit).min(self.buffer.len());
        while let Some(bytes) = self.buffer.get(self.at..most).filter(|bytes| !bytes.is_empty()) {
            let plain = inside.plain_run(bytes);
            self.at += plain;
            let Some(&byte) = bytes.get(plain) else { break };
            match inside.step(byte) {
                Step::More => self.at += 1,
                Step::Complete => return Some(Found::Frame(self.start, self.at + 1)),
                Step::Broken { consumed } => {
                    self.at += usize::from(consumed);
                    return Some(Found::Garbage(self.cut(GarbageReason::BrokenOff)));
                }
                Step::Mismatch => {
                    let garbage = self.cut(GarbageReason::BrokenOff);
                    self.state = State::Skipping { skipped: 0, line_start: false };
                    return Some(Found::Garbage(garbage));
                }
            }
        }
        if self.at - self.start >= self.limit {
            let line_start = inside.line_start && !inside.string;
            let garbage = self.cut(GarbageReason::TooLong);
            self.state = State::Skipping { skipped: 0, line_start };
            return Some(Found::Garbage(garbage));
        }
        self.state = State::Inside(inside);
        None
    }

    /// Drops bytes until a line begins with `{`.
    fn skip(&mut self, mut skipped: usize, mut line_start: bool) -> Option<Garbage> {
        while let Some(&byte) = self.buffer.get(self.at) {
            if byte == b'{' && line_start {
                self.begin_between(self.at);
                return (skipped > 0).then_some(Garbage {
                    bytes: skipped,
                    sample: Vec::new(),
                    reason: GarbageReason::BrokenOff,
                });
            }
            line_start = byte == b'\n';
            skipped += 1;
            self.at += 1;
        }
        self.start = self.at;
        self.state = State::Skipping { skipped, line_start };
        None
    }

    /// Cuts off what was begun, up to the next byte to look at.
    fn cut(&mut self, reason: GarbageReason) -> Garbage {
        let lost = self.buffer.get(self.start..self.at).unwrap_or_default();
        let garbage = Garbage { bytes: lost.len(), sample: lost.iter().copied().take(SAMPLE).collect(), reason };
        self.begin_between(self.at);
        garbage
    }

    fn begin_between(&mut self, at: usize) {
        self.start = at;
        self.at = at;
        self.state = State::Between { garbage: 0 };
    }
}

enum Found {
    Frame(usize, usize),
    Garbage(Garbage),
}

const IN_STRING: u8 = 1;
const OUTSIDE: u8 = 2;

/// Which bytes mean something: inside of strings, outside of them, or both.
#[expect(clippy::indexing_slicing, reason = "a constant: out of bounds, it would not compile")]
const MEANING: [u8; 256] = {
    let mut meaning = [0; 256];
    meaning[b'"' as usize] = IN_STRING | OUTSIDE;
    meaning[b'\n' as usize] = IN_STRING | OUTSIDE;
    meaning[0xFF] = IN_STRING | OUTSIDE;
    meaning[b'\\' as usize] = IN_STRING;
    meaning[b'{' as usize] = OUTSIDE;
    meaning[b'}' as usize] = OUTSIDE;
    meaning[b'[' as usize] = OUTSIDE;
    meaning[b']' as usize] = OUTSIDE;
    meaning
};

#[inline]
fn run_of(bytes: &[u8], place: u8) -> usize {
    let means_something = |byte: &u8| MEANING.get(usize::from(*byte)).is_some_and(|meaning| meaning & place != 0);
    bytes.iter().position(means_something).unwrap_or(bytes.len())
}

impl Inside {
    /// How many bytes from here on mean nothing: most of a message.
    #[inline]
    fn plain_run(&mut self, bytes: &[u8]) -> usize {
        let run = match (self.string, self.escaped) {
            (true, true) => return 0,
            (true, false) => run_of(bytes, IN_STRING),
            (false, _) => run_of(bytes, OUTSIDE),
        };
        if run > 0 {
            self.line_start = false;
        }
        run
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Step {
        if self.string {
            return self.step_in_string(byte);
        }
        match byte {
            b'"' => self.string = true,
            b'{' if self.line_start => return Step::Broken { consumed: false },
            b'{' => self.braces += 1,
            b'}' => self.braces -= 1,
            b'[' => self.brackets += 1,
            b']' => self.brackets -= 1,
            b'\n' => {
                self.line_start = true;
                return Step::More;
            }
            0xFF => return Step::Broken { consumed: true },
            _ => {}
        }
        self.line_start = false;
        if self.braces < 0 || self.brackets < 0 {
            return Step::Mismatch;
        }
        if self.braces == 0 && self.brackets == 0 { Step::Complete } else { Step::More }
    }

    #[inline]
    fn step_in_string(&mut self, byte: u8) -> Step {
        match byte {
            b'\n' => return Step::Broken { consumed: false },
            0xFF => return Step::Broken { consumed: true },
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.string = false,
            _ => {}
        }
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as text, garbage as `!` and its sample.
    fn pieces(chunks: &[&[u8]]) -> Vec<String> {
        let mut reader = FrameReader::new();
        let mut found = Vec::new();
        for chunk in chunks {
            reader.feed(chunk);
            while let Some(piece) = reader.next_piece() {
                found.push(match piece {
                    Piece::Frame(frame) => String::from_utf8_lossy(frame).into_owned(),
                    Piece::Garbage(garbage) => format!("!{}", String::from_utf8_lossy(&garbage.sample)),
                });
            }
        }
        found.extend(reader.finish().map(|garbage| format!("!{}", String::from_utf8_lossy(&garbage.sample))));
        found
    }

    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(pieces(&[bytes]), expected);
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(pieces(&each), expected, "byte by byte");
    }

    #[test]
    fn messages_are_found_however_they_are_laid_out() {
        check(b"{\"a\": 1}\r\n{\"b\": 2}\r\n", &["{\"a\": 1}", "{\"b\": 2}"]);
        check(b"{\"a\": 1}{\"b\": 2}", &["{\"a\": 1}", "{\"b\": 2}"]);
        check(b"{\r\n    \"a\": {\r\n    }\r\n}\r\n{}", &["{\r\n    \"a\": {\r\n    }\r\n}", "{}"]);
        check(br#"{"a": "}{\"\\"}{}"#, &[r#"{"a": "}{\"\\"}"#, "{}"]);
        check(b"{\"a\": [{}, {}]}\n", &["{\"a\": [{}, {}]}"]);
    }

    #[test]
    fn what_is_broken_does_not_cost_what_follows() {
        check(b"{\"event\": \"STO\r\n{\"b\": 2}\r\n", &["!{\"event\": \"STO\r", "{\"b\": 2}"]);
        check(b"{\"event\": \r\n{\"b\": 2}\r\n", &["!{\"event\": \r\n", "{\"b\": 2}"]);
        check(b"{\"a\\\r\n{}", &["!{\"a\\\r", "{}"]);
        check(b"{\"a\xFF{}", &["!{\"a\u{FFFD}", "{}"]);
        check(b"]}x{}", &["!]}x", "{}"]);
        check(b"{]\n{}", &["!{", "!", "{}"]);
        // What is inside of a broken message is no message, whatever it looks like.
        check(b"{\"event\": ], \"data\": {\"event\": \"FAKE\"}}\r\n{}", &["!{\"event\": ", "!", "{}"]);
        check(b"QEMU 7.2.22 monitor - type 'help'\r\n(qemu) ", &["!QEMU 7.2.22 monitor - type 'help'\r", "!(qemu) "]);
    }

    #[test]
    fn a_message_past_the_limit_is_dropped_and_the_next_is_read() {
        let mut reader = FrameReader::with_limit(16);
        reader.feed(b"{\"a\": \"0123456789012345678901234567890\"}\r\n{\"b\": 2}");
        let Some(Piece::Garbage(garbage)) = reader.next_piece() else { panic!("expected garbage") };
        assert_eq!(garbage.reason, GarbageReason::TooLong);
        assert!(matches!(reader.next_piece(), Some(Piece::Garbage(g)) if g.bytes == 26));
        assert_eq!(reader.next_piece(), Some(Piece::Frame(b"{\"b\": 2}")));
        assert_eq!(reader.pending(), 0);
    }

    #[test]
    fn the_limit_is_met_by_any_byte_even_a_line_end() {
        let mut reader = FrameReader::with_limit(5);
        reader.feed(b"{\"a\"\n{\"b\"}\n{}");
        assert!(matches!(reader.next_piece(), Some(Piece::Garbage(_))));
        let mut frames = Vec::new();
        while let Some(piece) = reader.next_piece() {
            if let Piece::Frame(frame) = piece {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [&b"{\"b\"}"[..], b"{}"]);
        assert!(FrameReader::with_limit(usize::MAX).next_piece().is_none());
    }

    #[test]
    fn garbage_without_end_is_not_kept() {
        let mut reader = FrameReader::new();
        for _ in 0..1000 {
            reader.feed(&[b'x'; 1000]);
            while reader.next_piece().is_some() {}
            assert!(reader.pending() <= GARBAGE_PIECE + 1000);
        }
    }
}
