//! Text to checked text: the whole grammar is checked, no value is built.
//!
//! A [`Scanner`] walks over one document and hands out slices of it. That is all an event needs: its name,
//! its time, and where its `data` begins and ends. It takes what QEMU prints, so `inf` and `nan` are numbers
//! here, and the escape `\'` that QEMU takes; everything else is RFC 8259.

use std::borrow::Cow;

/// How deep a document may be nested: QEMU's own limit for what it reads.
pub const MAX_NESTING: usize = 1024;

/// Where and why a document is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The byte, counted from the start of the document.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not JSON at byte {}: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for SyntaxError {}

/// The bytes at which a run of plain characters in a string ends. A table, because strings are most of a message.
#[expect(clippy::indexing_slicing, reason = "a constant: out of bounds, it would not compile")]
const ENDS_RUN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        ends[control] = true;
        control += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

/// A string as it stands in the document, between its quotes.
#[derive(Clone, Copy, Debug)]
pub struct RawStr<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> RawStr<'a> {
    /// The string with its escapes resolved; borrowed when there are none. Half of a surrogate pair becomes U+FFFD.
    pub fn text(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.inner)) } else { Cow::Borrowed(self.inner) }
    }

    /// The string, if it was written without escapes. Names on QEMU's wire always are.
    pub fn plain(&self) -> Option<&'a str> {
        if self.escaped { None } else { Some(self.inner) }
    }
}

/// Which brackets are open: a bit each, set for an object.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    objects: [u64; MAX_NESTING / 64],
}

impl Nesting {
    /// Whether there is room for one more.
    fn enter(&mut self, is_object: bool) -> bool {
        let Some(bits) = self.objects.get_mut(self.depth / 64) else { return false };
        let bit = 1 << (self.depth % 64);
        *bits = if is_object { *bits | bit } else { *bits & !bit };
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn innermost(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects.get(at / 64)? & (1 << (at % 64)) != 0)
    }
}

/// Walks over the text of one document.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    beyond_json: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of this text.
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, beyond_json: false }
    }

    /// The next byte that is not white space, not consumed.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b) = self.byte() {
            if !matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(b);
            }
            self.at += 1;
        }
        None
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }

    /// The text of the next value, whole and checked.
    pub fn value(&mut self) -> Result<&'a str, SyntaxError> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        Ok(self.since(start))
    }

    /// Whether something was met that QEMU prints or takes and JSON does not know (`inf`, `nan`, `\'`), or that other readers
    /// may not take: a number past a double, half of a surrogate pair.
    pub fn met_beyond_json(&self) -> bool {
        self.beyond_json
    }

    /// Walks over an object: `member` is called with each name, and must consume its value from the scanner.
    pub fn object<E: From<SyntaxError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, RawStr<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{', "'{'")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.expected("',' or '}'").into()),
            }
        }
    }

    /// Walks over an array: `element` must consume one value from the scanner.
    pub fn array<E: From<SyntaxError>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'[', "'['")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.expected("',' or ']'").into()),
            }
        }
    }

    /// The next value, which must be a string.
    pub fn string(&mut self) -> Result<RawStr<'a>, SyntaxError> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|b| ENDS_RUN.get(usize::from(*b)) == Some(&true)).unwrap_or(rest.len());
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    let inner = self.since(start);
                    self.at += 1;
                    return Ok(RawStr { inner, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.expected("no bare control character in a string")),
                None => return Err(self.expected("the end of the string")),
            }
        }
    }

    /// The next value, which must be an integer that fits 64 bits with sign.
    pub fn integer(&mut self) -> Result<i64, SyntaxError> {
        self.peek();
        let start = self.at;
        let expected = |at| SyntaxError { at, expected: "an integer" };
        self.skip_number().map_err(|_| expected(start))?;
        self.since(start).parse().map_err(|_| expected(start))
    }

    /// Walks over one value. Without recursion: how deep a document is nested must not decide over a thread's stack.
    fn skip_value(&mut self) -> Result<(), SyntaxError> {
        let mut open = Nesting::default();
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    let is_object = bracket == b'{';
                    if !open.enter(is_object) {
                        return Err(self.expected("a document nested at most 1024 deep"));
                    }
                    self.at += 1;
                    match self.peek() {
                        Some(b'}') if is_object => self.at += 1,
                        Some(b']') if !is_object => self.at += 1,
                        _ => {
                            if is_object {
                                self.name()?;
                            }
                            continue;
                        }
                    }
                    open.leave();
                }
                Some(b'"') => drop(self.string()?),
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') if self.rest().starts_with("null") => self.word("null")?,
                _ => self.skip_number()?,
            }
            if self.leave_ended(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: closes what ends here. Whether it was the last one.
    fn leave_ended(&mut self, open: &mut Nesting) -> Result<bool, SyntaxError> {
        while let Some(is_object) = open.innermost() {
            match (self.peek(), is_object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.name()?;
                    return Ok(false);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    open.leave();
                }
                (_, true) => return Err(self.expected("',' or '}'")),
                (_, false) => return Err(self.expected("',' or ']'")),
            }
        }
        Ok(true)
    }

    fn name(&mut self) -> Result<RawStr<'a>, SyntaxError> {
        let name = self.string()?;
        self.take(b':', "':'")?;
        Ok(name)
    }

    fn skip_number(&mut self) -> Result<(), SyntaxError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits("a digit")?,
            // What QEMU prints for a double that overflowed.
            Some(b'i') => return self.word_beyond_json("inf"),
            Some(b'n') => return self.word_beyond_json("nan"),
            _ => return Err(self.expected("a value")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits("a digit behind the point")?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            // It may be more than a double holds.
            self.beyond_json |= self.rest().get(1..).is_some_and(exceeds_a_double);
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("a digit of the exponent")?;
        }
        Ok(())
    }

    fn digits(&mut self, expected: &'static str) -> Result<(), SyntaxError> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        self.at += rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        // No double has more digits before its point.
        self.beyond_json |= self.at - start > 308;
        if self.at == start { Err(self.expected(expected)) } else { Ok(()) }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'\'') => {
                self.beyond_json = true;
                self.at += 1;
            }
            Some(b'u') => {
                // One half of a pair may stand alone here; to tell, the whole string would have to be looked at.
                self.beyond_json |= self.rest().get(1..2).is_some_and(|digit| digit.eq_ignore_ascii_case("d"));
                self.at += 1;
                for _ in 0..4 {
                    match self.byte() {
                        Some(b) if b.is_ascii_hexdigit() => self.at += 1,
                        _ => return Err(self.expected("four hexadecimal digits behind \\u")),
                    }
                }
            }
            _ => return Err(self.expected("an escape that JSON knows")),
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.expected("a value"))
        }
    }

    fn word_beyond_json(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        self.beyond_json = true;
        self.word(word)
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), SyntaxError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a str {
        // Both ends lie beside ASCII bytes, so they are character boundaries.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, expected }
    }
}

/// Whether an exponent of this text may be more than a double holds.
fn exceeds_a_double(exponent: &str) -> bool {
    let digits = exponent.trim_start_matches('+').bytes().take_while(u8::is_ascii_digit).count();
    digits >= 3
}

/// Resolves the escapes of a checked string.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let mut chars = rest.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let (c, length) = code_point(chars.as_str());
                out.push(c);
                chars = chars.as_str().get(length..).unwrap_or_default().chars();
            }
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// The character that stands behind `\u`, and how many bytes it took.
fn code_point(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let high = unit(0).unwrap_or(0xFFFD);
    if let 0xD800..0xDC00 = high
        && text.get(4..6) == Some("\\u")
        && let Some(low @ 0xDC00..0xE000) = unit(6)
    {
        let c = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<&str, SyntaxError> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    #[test]
    fn what_qemu_prints_is_taken() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "1.5",
            "1e+21",
            "9.9999999999999995e-08",
            "inf",
            "-inf",
            "nan",
            "-nan",
            "18446744073709551615",
            r#""""#,
            r#""a\"\\\u00E9\uD83D\uDE00""#,
            "[]",
            "{}",
            "[1, [2, {}]]",
            "{\r\n    \"a\": [\r\n    ]\r\n}",
            r#"{"a": {"b": [true, null]}, "c": "d"}"#,
        ] {
            assert_eq!(whole(text), Ok(text));
        }
    }

    #[test]
    fn what_is_broken_is_refused_at_the_byte_where_it_breaks() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("[1 2]", 3),
            ("01", 1),
            ("1.", 2),
            ("1e", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("tru", 0),
            ("nul", 0),
            ("'a'", 0),
            ("-", 1),
            ("{a:1}", 1),
            ("\"abc", 4),
        ] {
            assert_eq!(whole(text).map_err(|e| e.at), Err(at), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_qemus_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(whole(&nested(1024)).is_ok());
        assert!(whole(&nested(1024).replace("[]", "[0]")).is_ok());
        assert!(whole(&nested(1025)).is_err());
        assert!(whole(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn strings_are_unescaped() {
        let text = |json: &str| Scanner::new(json).string().map(|s| s.text().into_owned());
        for (json, expected) in [
            (r#""plain""#, "plain"),
            (r#""\"\\\/\b\f\n\r\t\'""#, "\"\\/\u{8}\u{c}\n\r\t'"),
            (r#""\u00E9\uD83D\uDE00!""#, "é😀!"),
            (r#""\uD83D""#, "\u{FFFD}"),
            (r#""\uD83Dx\uDE00""#, "\u{FFFD}x\u{FFFD}"),
        ] {
            assert_eq!(text(json).as_deref(), Ok(expected));
        }
    }
}
