//! A client's bytes to values, with QEMU's limits and QEMU's error messages.
//!
//! A document ends where its brackets match, or at once if it is no object or array; no line end is needed. An error
//! drops what was begun, and reading goes on behind it.

use super::lexer::{Kind, Lexer};
use super::text::number;
use super::{Object, Value, utf8};
use std::fmt;

/// How many bytes of tokens a document may have.
pub const MAX_TOKEN_BYTES: usize = 64 << 20;
/// How many tokens a document may have.
pub const MAX_TOKENS: usize = 2 << 20;
/// How deep a document may be nested.
pub const MAX_NESTING: i32 = 1024;

/// Why bytes are no document; the sentence is QEMU's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

fn error<T>(message: impl AsRef<[u8]>) -> Result<T, ParseError> {
    /// QEMU prints into a buffer of this size, of which the last byte ends it.
    const LONGEST: usize = 1023;
    let message = message.as_ref();
    let message = utf8::shown(message.get(..LONGEST).unwrap_or(message));
    Err(ParseError(format!("JSON parse error, {message}")))
}

/// Reads documents from bytes that come in pieces.
#[derive(Debug)]
pub struct RequestReader {
    lexer: Lexer,
    tokens: Tokens,
    braces: i32,
    brackets: i32,
    input: Vec<u8>,
    at: usize,
}

/// The tokens of the document that is being read, one behind the other in one piece of memory.
#[derive(Debug, Default)]
struct Tokens {
    text: Vec<u8>,
    kinds_and_ends: Vec<(Kind, usize)>,
}

impl Tokens {
    fn push(&mut self, kind: Kind, token: &[u8]) {
        self.text.extend_from_slice(token);
        self.kinds_and_ends.push((kind, self.text.len()));
    }

    fn get(&self, at: usize) -> Option<(Kind, &[u8])> {
        let &(kind, end) = self.kinds_and_ends.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.kinds_and_ends.get(before)).map_or(0, |&(_, end)| end);
        Some((kind, self.text.get(start..end)?))
    }
}

impl Default for RequestReader {
    fn default() -> RequestReader {
        RequestReader::new()
    }
}

impl RequestReader {
    /// A reader at the start of a stream.
    pub fn new() -> RequestReader {
        RequestReader {
            lexer: Lexer::new(),
            tokens: Tokens::default(),
            braces: 0,
            brackets: 0,
            input: Vec::new(),
            at: 0,
        }
    }

    /// Takes the bytes that were read. Call [`RequestReader::next_document`] until it has no more, then read again.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// How many bytes of memory hold what was read and is no whole document yet.
    pub fn held(&self) -> usize {
        let tokens = self.tokens.kinds_and_ends.capacity() * size_of::<(Kind, usize)>();
        self.input.capacity() + self.lexer.token_size() + self.tokens.text.capacity() + tokens
    }

    /// The next document, or what is wrong with it.
    pub fn next_document(&mut self) -> Option<Result<Value, ParseError>> {
        while let Some(&byte) = self.input.get(self.at) {
            let mut cut = Cut::default();
            self.lexer.feed(byte, |kind, token| cut.push(kind, token));
            // A byte can end one token and be another; if the first ends a document, the byte is looked at again.
            if let Some((kind, token)) = cut.first {
                if let Some(done) = self.token(kind, &token) {
                    match cut.second {
                        Some(_) => self.lexer.reset(),
                        None => self.at += 1,
                    }
                    return Some(done);
                }
                if let Some((kind, token)) = cut.second
                    && let Some(done) = self.token(kind, &token)
                {
                    self.at += 1;
                    return Some(done);
                }
            }
            self.at += 1;
            if self.lexer.token_size() > MAX_TOKEN_BYTES {
                self.lexer.reset();
                self.drop_document();
                return Some(Err(ParseError("JSON token size limit exceeded".into())));
            }
        }
        None
    }

    fn token(&mut self, kind: Kind, token: &[u8]) -> Option<Result<Value, ParseError>> {
        match kind {
            Kind::LeftBrace => self.braces += 1,
            Kind::RightBrace => self.braces -= 1,
            Kind::LeftBracket => self.brackets += 1,
            Kind::RightBracket => self.brackets -= 1,
            Kind::Stray => {
                self.drop_document();
                return Some(Err(ParseError(format!("JSON parse error, stray '{}'", utf8::shown(token)))));
            }
            _ => {}
        }
        let limit = if self.tokens.text.len() + token.len() + 1 > MAX_TOKEN_BYTES {
            Some("token size")
        } else if self.tokens.kinds_and_ends.len() + 1 > MAX_TOKENS {
            Some("token count")
        } else if self.braces + self.brackets > MAX_NESTING {
            Some("nesting depth")
        } else {
            None
        };
        if let Some(limit) = limit {
            self.drop_document();
            return Some(Err(ParseError(format!("JSON {limit} limit exceeded"))));
        }
        self.tokens.push(kind, token);
        let open = self.braces > 0 || self.brackets > 0;
        if open && self.braces >= 0 && self.brackets >= 0 {
            return None;
        }
        let value = Parser { tokens: &self.tokens, at: 0 }.value();
        self.drop_document();
        Some(value)
    }

    fn drop_document(&mut self) {
        self.tokens = Tokens::default();
        self.braces = 0;
        self.brackets = 0;
    }
}

/// The tokens that one byte ended: what was before it, and itself.
#[derive(Default)]
struct Cut {
    first: Option<(Kind, Vec<u8>)>,
    second: Option<(Kind, Vec<u8>)>,
}

impl Cut {
    fn push(&mut self, kind: Kind, token: &[u8]) {
        let place = if self.first.is_none() { &mut self.first } else { &mut self.second };
        *place = Some((kind, token.to_vec()));
    }
}

/// Tokens to a value. The nesting is bounded by the reader.
struct Parser<'a> {
    tokens: &'a Tokens,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<(Kind, &'a [u8])> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<(Kind, &'a [u8])> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        let Some((kind, token)) = self.next() else {
            return error("premature EOI");
        };
        match kind {
            Kind::LeftBrace => self.object(),
            Kind::LeftBracket => self.array(),
            Kind::Integer | Kind::Float => Ok(number(&String::from_utf8_lossy(token))),
            Kind::String => string(token).map(Value::String),
            Kind::Keyword => match token {
                b"true" => Ok(Value::Bool(true)),
                b"false" => Ok(Value::Bool(false)),
                b"null" => Ok(Value::Null),
                other => error([b"invalid keyword '", other, b"'"].concat()),
            },
            _ => error("expecting value"),
        }
    }

    fn object(&mut self) -> Result<Value, ParseError> {
        let mut members = Object::new();
        if matches!(self.peek(), Some((Kind::RightBrace, _))) {
            self.at += 1;
            return Ok(members.into());
        }
        loop {
            let Value::String(name) = self.value()? else {
                return error("key is not a string in object");
            };
            match self.next() {
                Some((Kind::Colon, _)) => {}
                Some(_) => return error("missing : in object pair"),
                None => return error("premature EOI"),
            }
            let value = self.value()?;
            if members.get(&name).is_some() {
                return error("duplicate key");
            }
            members.insert(name, value);
            match self.next() {
                Some((Kind::Comma, _)) => {}
                Some((Kind::RightBrace, _)) => return Ok(members.into()),
                Some(_) => return error("expected separator in dict"),
                None => return error("premature EOI"),
            }
        }
    }

    fn array(&mut self) -> Result<Value, ParseError> {
        let mut items = Vec::new();
        if matches!(self.peek(), Some((Kind::RightBracket, _))) {
            self.at += 1;
            return Ok(items.into());
        }
        loop {
            items.push(self.value()?);
            match self.next() {
                Some((Kind::Comma, _)) => {}
                Some((Kind::RightBracket, _)) => return Ok(items.into()),
                Some(_) => return error("expected separator in list"),
                None => return error("premature EOI"),
            }
        }
    }
}

/// A string token to the string: QEMU takes no non-characters, no half pairs, and `C0 80` for a NUL.
fn string(token: &[u8]) -> Result<String, ParseError> {
    let mut rest = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    let quote = token.first().copied().unwrap_or(b'"');
    let mut out = String::with_capacity(rest.len());
    while let Some(&byte) = rest.first() {
        if byte == b'\\' {
            rest = escape(rest, quote, &mut out)?;
            continue;
        }
        let run = rest.iter().position(|&b| b == b'\\').unwrap_or(rest.len());
        let (plain, behind) = rest.split_at(run);
        push_utf8(plain, &mut out)?;
        rest = behind;
    }
    Ok(out)
}

fn push_utf8(mut bytes: &[u8], out: &mut String) -> Result<(), ParseError> {
    while !bytes.is_empty() {
        let plain = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
        let (plain, behind) = bytes.split_at(plain);
        // It is ASCII.
        out.push_str(std::str::from_utf8(plain).unwrap_or_default());
        bytes = match utf8::first(behind) {
            None => return Ok(()),
            Some((None, _)) => return error("invalid UTF-8 sequence in string"),
            Some((Some(c), length)) => {
                out.push(c);
                behind.get(length..).unwrap_or_default()
            }
        };
    }
    Ok(())
}

/// Resolves the escape at the start of `text`, and gives what is behind it.
fn escape<'a>(text: &'a [u8], quote: u8, out: &mut String) -> Result<&'a [u8], ParseError> {
    let Some((&kind, behind)) = text.get(1..).and_then(<[u8]>::split_first) else {
        return error("invalid escape sequence in string");
    };
    out.push(match kind {
        b'"' | b'\'' | b'\\' | b'/' => char::from(kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let Some((c, length)) = code_point(behind) else {
                // Of a good pair that is no character both halves are shown.
                let length = if is_pair(behind) { 12 } else { 6 };
                let shown = text.get(..length).unwrap_or(text);
                // The token's closing quote is shown too when the digits run into it.
                let quote = if text.len() < length { &[quote][..] } else { &[] };
                return error([shown, quote, b" is not a valid Unicode character"].concat());
            };
            out.push(c);
            return Ok(behind.get(length..).unwrap_or_default());
        }
        _ => return error("invalid escape sequence in string"),
    });
    Ok(behind)
}

/// The character that stands behind `\u`, and how many bytes it took.
fn code_point(text: &[u8]) -> Option<(char, usize)> {
    let (c, length) = match unit(text, 0)? {
        high @ 0xD800..0xDC00 if is_pair(text) => (0x1_0000 + ((high - 0xD800) << 10) + (unit(text, 6)? - 0xDC00), 10),
        unit => (unit, 4),
    };
    char::from_u32(c).filter(|&c| utf8::is_character(c)).map(|c| (c, length))
}

/// Whether two halves of a surrogate pair stand behind `\u`.
fn is_pair(text: &[u8]) -> bool {
    matches!(unit(text, 0), Some(0xD800..0xDC00))
        && text.get(4..6) == Some(b"\\u")
        && matches!(unit(text, 6), Some(0xDC00..0xE000))
}

/// The four hexadecimal digits at this place.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(bytes: &[u8]) -> Vec<Result<Value, String>> {
        let mut reader = RequestReader::new();
        let mut found = Vec::new();
        for chunk in bytes.chunks(3) {
            reader.feed(chunk);
            found.extend(std::iter::from_fn(|| reader.next_document()).map(|d| d.map_err(|e| e.to_string())));
        }
        found
    }

    #[test]
    fn documents_may_touch() {
        assert_eq!(documents(b"{}[]12{}\"x\"'y'true\n").len(), 7);
        assert_eq!(documents(b"1{}"), [Ok(Value::Int(1)), Ok(super::super::Object::new().into())]);
    }

    #[test]
    fn what_is_no_character_is_shown_as_qemu_shows_it() {
        for (text, shown) in [
            (r#""\udbff\udfff""#, r"\udbff\udfff"),
            (r#""\udbffx""#, r"\udbff"),
            (r"'\u12'", r"\u12'"),
            (r#""\u12""#, r#"\u12""#),
            (r#""\u12é""#, "\\u12é"),
            (r#""\u12€""#, "\\u12\u{FFFD}"),
        ] {
            let expected = format!("JSON parse error, {shown} is not a valid Unicode character");
            assert_eq!(documents(text.as_bytes()), [Err(expected)]);
        }
    }

    #[test]
    fn limits_are_qemus() {
        let errors = |bytes: &[u8]| documents(bytes).into_iter().filter_map(Result::err).next();
        assert_eq!(errors("[".repeat(1025).as_bytes()).as_deref(), Some("JSON nesting depth limit exceeded"));
        let deep = format!("{}{}", "[".repeat(1024), "]".repeat(1024));
        assert_eq!(errors(deep.as_bytes()), None);
    }

    #[test]
    fn a_message_is_cut_where_qemus_buffer_ends() {
        let check = |letters: usize, shown: usize, behind: &str| {
            let line = format!("{}\n", "k".repeat(letters));
            let expected = format!("JSON parse error, invalid keyword '{}{behind}", "k".repeat(shown));
            assert_eq!(documents(line.as_bytes()), [Err(expected)]);
        };
        check(1005, 1005, "'");
        check(1006, 1006, "");
        check(1007, 1006, "");
        check(3000, 1006, "");
    }

    #[test]
    fn a_token_that_does_not_end_is_dropped() {
        let mut reader = RequestReader::new();
        reader.feed(b"{\"a\": \"");
        assert!(reader.next_document().is_none());
        let mut errors = 0;
        for _ in 0..65 {
            reader.feed(&vec![b'x'; 1 << 20]);
            errors += std::iter::from_fn(|| reader.next_document()).filter(Result::is_err).count();
        }
        assert!(errors > 0);
        assert!(reader.input.len() <= 1 << 20);
    }
}
