//! Bytes to tokens, as QEMU cuts them.
//!
//! QEMU's lexer takes single-quoted strings and any escape, lets no exponent follow a bare `0`, and when a byte fits
//! nowhere it says which token went astray and skips to the next bracket, comma, colon or control character. Its
//! clients see all of that in error messages, so it is the same here: measured on QEMU 7.2.

/// What kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Colon,
    Comma,
    Integer,
    Float,
    Keyword,
    String,
    /// Bytes that are no token.
    Stray,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Behind a stray token.
    Recovery,
    /// In a string that ends with this quote.
    String(u8),
    Escape(u8),
    Sign,
    Zero,
    Digits,
    Point,
    Decimals,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Keyword,
}

/// What a byte does in a state.
enum Step {
    /// The byte belongs to the token, which goes on in this state.
    Into(State),
    /// The byte is dropped.
    Skip(State),
    /// The byte is the last of a token.
    Last(Kind),
    /// The token ended before this byte.
    Before(Kind),
    /// The recovery ended before this byte.
    Recovered,
    /// The byte fits nowhere.
    Stray,
}

/// Cuts bytes into tokens.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    /// The token that is being read.
    token: Vec<u8>,
}

impl Lexer {
    pub(super) fn new() -> Lexer {
        Lexer { state: State::Start, token: Vec::new() }
    }

    /// How many bytes the token that was begun has so far.
    pub(super) fn token_size(&self) -> usize {
        self.token.len()
    }

    /// Drops the token that was begun.
    pub(super) fn reset(&mut self) {
        self.state = State::Start;
        self.token = Vec::new();
    }

    /// Takes one byte; `token` is called with each token that it ends: two at most.
    pub(super) fn feed(&mut self, byte: u8, mut token: impl FnMut(Kind, &[u8])) {
        loop {
            match self.state.step(byte) {
                Step::Into(state) => {
                    self.token.push(byte);
                    self.state = state;
                }
                Step::Skip(state) => self.state = state,
                Step::Last(kind) => {
                    self.token.push(byte);
                    token(kind, &self.token);
                    self.token.clear();
                    self.state = State::Start;
                }
                Step::Stray => {
                    self.token.push(byte);
                    token(Kind::Stray, &self.token);
                    self.token.clear();
                    self.state = State::Recovery;
                }
                Step::Before(kind) => {
                    token(kind, &self.token);
                    self.token.clear();
                    self.state = State::Start;
                    continue;
                }
                Step::Recovered => {
                    self.state = State::Start;
                    continue;
                }
            }
            return;
        }
    }
}

impl State {
    fn step(self, byte: u8) -> Step {
        match self {
            State::Start => start(byte),
            State::Recovery => match byte {
                b'\t' => Step::Skip(self),
                0..0x20 | 0xFE.. | b'[' | b']' | b'{' | b'}' | b':' | b',' => Step::Recovered,
                _ => Step::Skip(self),
            },
            State::String(quote) => match byte {
                b'\\' => Step::Into(State::Escape(quote)),
                _ if byte == quote => Step::Last(Kind::String),
                0x20..=0xFD => Step::Into(self),
                _ => Step::Stray,
            },
            State::Escape(quote) => match byte {
                0x20..=0xFD => Step::Into(State::String(quote)),
                _ => Step::Stray,
            },
            State::Sign => match byte {
                b'0' => Step::Into(State::Zero),
                b'1'..=b'9' => Step::Into(State::Digits),
                _ => Step::Stray,
            },
            State::Zero => match byte {
                b'0'..=b'9' => Step::Stray,
                b'.' => Step::Into(State::Point),
                _ => Step::Before(Kind::Integer),
            },
            State::Digits => match byte {
                b'0'..=b'9' => Step::Into(self),
                b'.' => Step::Into(State::Point),
                b'e' | b'E' => Step::Into(State::Exponent),
                _ => Step::Before(Kind::Integer),
            },
            State::Point => match byte {
                b'0'..=b'9' => Step::Into(State::Decimals),
                _ => Step::Stray,
            },
            State::Decimals => match byte {
                b'0'..=b'9' => Step::Into(self),
                b'e' | b'E' => Step::Into(State::Exponent),
                _ => Step::Before(Kind::Float),
            },
            State::Exponent => match byte {
                b'+' | b'-' => Step::Into(State::ExponentSign),
                b'0'..=b'9' => Step::Into(State::ExponentDigits),
                _ => Step::Stray,
            },
            State::ExponentSign => match byte {
                b'0'..=b'9' => Step::Into(State::ExponentDigits),
                _ => Step::Stray,
            },
            State::ExponentDigits => match byte {
                b'0'..=b'9' => Step::Into(self),
                _ => Step::Before(Kind::Float),
            },
            State::Keyword => match byte {
                b'a'..=b'z' => Step::Into(self),
                _ => Step::Before(Kind::Keyword),
            },
        }
    }
}

fn start(byte: u8) -> Step {
    match byte {
        b'"' | b'\'' => Step::Into(State::String(byte)),
        b'0' => Step::Into(State::Zero),
        b'1'..=b'9' => Step::Into(State::Digits),
        b'-' => Step::Into(State::Sign),
        b'a'..=b'z' => Step::Into(State::Keyword),
        b'{' => Step::Last(Kind::LeftBrace),
        b'}' => Step::Last(Kind::RightBrace),
        b'[' => Step::Last(Kind::LeftBracket),
        b']' => Step::Last(Kind::RightBracket),
        b':' => Step::Last(Kind::Colon),
        b',' => Step::Last(Kind::Comma),
        b' ' | b'\t' | b'\r' | b'\n' => Step::Skip(State::Start),
        _ => Step::Stray,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &[(Kind, &str)]) {
        let mut lexer = Lexer::new();
        let mut tokens = Vec::new();
        for &byte in bytes {
            lexer.feed(byte, |kind, token| tokens.push((kind, String::from_utf8_lossy(token).into_owned())));
        }
        let tokens: Vec<_> = tokens.iter().map(|(kind, token)| (*kind, token.as_str())).collect();
        assert_eq!(tokens, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn tokens_end_where_qemu_ends_them() {
        check(
            b"[1,-2.5e+3 ",
            &[(Kind::LeftBracket, "["), (Kind::Integer, "1"), (Kind::Comma, ","), (Kind::Float, "-2.5e+3")],
        );
        check(b"'it\\'s'", &[(Kind::String, "'it\\'s'")]);
        check(b"0e5 ", &[(Kind::Integer, "0"), (Kind::Keyword, "e"), (Kind::Integer, "5")]);
    }

    #[test]
    fn behind_a_stray_byte_it_skips_to_where_a_value_may_begin() {
        check(b"@#$ x {", &[(Kind::Stray, "@"), (Kind::LeftBrace, "{")]);
        check(b"\xFF\xFF", &[(Kind::Stray, "\u{FFFD}"), (Kind::Stray, "\u{FFFD}")]);
        check(b"\"tab\tin\",", &[(Kind::Stray, "\"tab\t"), (Kind::Comma, ",")]);
        check(b"01}", &[(Kind::Stray, "01"), (Kind::RightBrace, "}")]);
    }
}
