//! JSON text as nobody should write it: every kind of number, string, escape, space and nesting, right or wrong.

use super::odd::{ESCAPES, NO_ESCAPES, NO_NUMBERS, NO_TEXT, NO_VALUES, NUMBERS, WORDS};
use super::random::Random;

/// How far a text strays from plain JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Double quotes, no space but where people put it, nothing that is wrong.
    Plain,
    /// Single quotes, escapes, spaces anywhere; still right.
    Odd,
    /// Now and then a number, string or keyword that is none.
    Wrong,
}

/// Writes a text, piece by piece.
#[derive(Debug)]
pub(super) struct Document<'r> {
    random: &'r mut Random,
    manner: Manner,
    text: Vec<u8>,
}

impl<'r> Document<'r> {
    /// An empty text.
    pub(super) fn new(random: &'r mut Random, manner: Manner) -> Document<'r> {
        Document { random, manner, text: Vec::new() }
    }

    /// The text.
    pub(super) fn done(self) -> Vec<u8> {
        self.text
    }

    /// Where the randomness comes from.
    pub(super) fn random(&mut self) -> &mut Random {
        self.random
    }

    /// These bytes as they are.
    pub(super) fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.text.extend_from_slice(bytes.as_ref());
    }

    /// True once in so many times, and only where something wrong may stand.
    fn goes_wrong(&mut self, one_in: usize) -> bool {
        self.manner == Manner::Wrong && self.random.one_in(one_in)
    }

    /// Space where space may be: mostly none.
    fn space(&mut self) {
        if self.manner != Manner::Plain && self.random.one_in(4) {
            let space = self.random.text(&[" ", "  ", "\t", "\n", "\r\n", "\n\n    ", " \t ", "\r"]);
            self.raw(space);
        }
    }

    /// A mark (`:`, `,`) with space around it.
    fn mark(&mut self, mark: &str) {
        self.space();
        self.raw(mark);
        if self.manner == Manner::Plain {
            self.raw(" ");
        } else {
            self.space();
        }
    }

    /// A string that says `content`.
    pub(super) fn string(&mut self, content: &str) {
        let odd = self.manner != Manner::Plain;
        let quote = if odd && self.random.one_in(3) { '\'' } else { '"' };
        self.raw([u8::try_from(quote).unwrap_or(b'"')]);
        for c in content.chars() {
            match c {
                _ if odd && self.random.one_in(25) => self.escaped(c),
                '\\' => self.raw("\\\\"),
                '\0'..' ' => self.escaped(c),
                _ if c == quote => {
                    self.raw("\\");
                    self.raw(c.encode_utf8(&mut [0; 4]));
                }
                _ => self.raw(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.raw([u8::try_from(quote).unwrap_or(b'"')]);
    }

    fn escaped(&mut self, c: char) {
        let upper = self.random.one_in(2);
        for unit in c.encode_utf16(&mut [0; 2]) {
            let digits = if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            self.raw(digits);
        }
    }

    /// A string of words and escapes, in which all kinds of things are wrong where that may be.
    pub(super) fn any_string(&mut self) {
        if self.random.one_in(2) {
            let word = self.random.text(WORDS);
            return self.string(word);
        }
        let quote = if self.random.one_in(3) { "'" } else { "\"" };
        self.raw(quote);
        for _ in 0..self.random.below(6) {
            match self.random.below(4) {
                0 => {
                    let piece = self.random.text(ESCAPES);
                    self.raw(piece);
                }
                1 if self.goes_wrong(4) => {
                    let piece = self.random.text(NO_ESCAPES);
                    self.raw(piece);
                }
                2 if self.goes_wrong(4) => {
                    let piece = NO_TEXT.get(self.random.below(NO_TEXT.len())).copied().unwrap_or_default();
                    self.raw(piece);
                }
                _ => {
                    let piece =
                        self.random.text(&["a", "Z9", "é", "€", "😀", "-", " ", "/", "%", "{", "]", ",", "\u{7f}"]);
                    self.raw(piece);
                }
            }
        }
        if self.random.one_in(60) {
            let length = self.random.between(500, 3000);
            self.raw("x".repeat(length));
        }
        if !self.goes_wrong(40) {
            self.raw(quote);
        }
    }

    /// A number, or what looks like one.
    pub(super) fn number(&mut self) {
        if self.goes_wrong(8) {
            let number = self.random.text(NO_NUMBERS);
            return self.raw(number);
        }
        if self.random.one_in(2) {
            let number = self.random.text(NUMBERS);
            return self.raw(number);
        }
        let mut number = String::new();
        let digits = |random: &mut Random, most: usize| -> String {
            let count = random.between(1, most);
            (0..count).map(|_| char::from(b'0' + random.byte() % 10)).collect()
        };
        if self.random.one_in(3) {
            number.push('-');
        }
        let whole = digits(self.random, 21);
        let whole = whole.trim_start_matches('0');
        number.push_str(if whole.is_empty() { "0" } else { whole });
        if self.random.one_in(2) {
            number.push('.');
            number.push_str(&digits(self.random, 20));
        }
        // A bare 0 takes no exponent in QEMU.
        if self.random.one_in(3) && !number.ends_with("-0") && number != "0" {
            number.push_str(self.random.text(&["e", "E", "e-", "E+"]));
            number.push_str(&digits(self.random, 3));
        }
        self.raw(number);
    }

    /// Any value, nested so deep at most.
    pub(super) fn value(&mut self, depth: usize) {
        if self.goes_wrong(40) {
            let value = self.random.text(NO_VALUES);
            return self.raw(value);
        }
        match self.random.below(if depth == 0 { 6 } else { 9 }) {
            0 => {
                let value = self.random.text(&["true", "false", "null"]);
                self.raw(value);
            }
            1 | 2 => self.number(),
            3..=5 => self.any_string(),
            6 => self.array(depth - 1),
            _ => {
                let count = self.random.below(6);
                self.object(count, |document, _| {
                    document.name();
                    document.colon();
                    document.value(depth - 1);
                });
            }
        }
    }

    /// A name that is likely to come twice, or to lie where another lies in a hash table.
    fn name(&mut self) {
        if self.goes_wrong(60) {
            return self.value(0);
        }
        if self.random.one_in(3) {
            let letters = ["a", "b", "c", "aa", "ab", "ba", "k1", "k2", "k3", "Zz", "id", "\u{0}", "a\u{0}b", "é"];
            let letters = self.random.text(&letters);
            return self.string(letters);
        }
        self.any_string();
    }

    /// What stands between a name and its value.
    pub(super) fn colon(&mut self) {
        if self.goes_wrong(100) {
            let wrong = self.random.text(&["", ",", "=", "::"]);
            return self.raw(wrong);
        }
        self.mark(":");
    }

    fn comma(&mut self) {
        if self.goes_wrong(100) {
            let wrong = self.random.text(&["", ";", ":", ",,", " "]);
            return self.raw(wrong);
        }
        self.mark(",");
    }

    fn array(&mut self, depth: usize) {
        self.raw("[");
        for at in 0..self.random.below(6) {
            if at > 0 {
                self.comma();
            }
            self.value(depth);
        }
        if self.goes_wrong(60) {
            self.raw(",");
        }
        self.space();
        if !self.goes_wrong(100) {
            self.raw("]");
        }
    }

    /// An object of so many members, each written by `member`.
    pub(super) fn object(&mut self, count: usize, mut member: impl FnMut(&mut Self, usize)) {
        self.raw("{");
        self.space();
        for at in 0..count {
            if at > 0 {
                self.comma();
            }
            member(self, at);
        }
        if self.goes_wrong(100) {
            self.raw(",");
        }
        self.space();
        if !self.goes_wrong(150) {
            self.raw("}");
        }
    }

    /// Brackets in brackets, around QEMU's limit now and then.
    pub(super) fn deep(&mut self) {
        let depth = if self.random.one_in(3) { self.random.between(1021, 1027) } else { self.random.between(2, 60) };
        let (open, close) = if self.random.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
        self.raw(open.repeat(depth));
        self.number();
        self.raw(close.repeat(depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, manner: Manner, write: impl FnOnce(&mut Document<'_>)) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut document = Document::new(&mut random, manner);
        write(&mut document);
        document.done()
    }

    #[test]
    fn a_seed_gives_the_same_text() {
        for seed in 0..200 {
            let once = text(seed, Manner::Wrong, |document| document.value(4));
            assert_eq!(once, text(seed, Manner::Wrong, |document| document.value(4)));
        }
    }

    #[test]
    fn plain_text_is_json() {
        for seed in 0..2000 {
            let line = text(seed, Manner::Plain, |document| document.string("it's \"é\" \\ \u{1}"));
            let read: String = serde_json::from_slice(&line).unwrap();
            assert_eq!(read, "it's \"é\" \\ \u{1}");
        }
    }

    #[test]
    fn what_is_odd_and_what_is_wrong_does_come() {
        let all: Vec<Vec<u8>> =
            (0..20_000).map(|seed| text(seed, Manner::Wrong, |document| document.value(3))).collect();
        let come = |what: &[u8]| all.iter().any(|text| text.windows(what.len()).any(|window| window == what));
        for what in
            [&b"\xFF"[..], b"\xC0\x80", b"'", b"\\uD83D\\uDE00", b"\\uD83D\\n", b"1.5e400", b"0e5", b"\0", b",]"]
        {
            assert!(come(what), "{}", what.escape_ascii());
        }
    }
}
