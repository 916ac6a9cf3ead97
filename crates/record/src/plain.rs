//! Foreign text made safe to read.
//!
//! Device ids, node names and messages come from a command line, from a storage backend or from inside a guest, and can
//! hold anything: escape sequences that act on a terminal, characters that turn the line around, characters that nobody
//! sees, a megabyte of them. [`Plain`] shows such characters instead of obeying them (`\u{202e}`), and ends a long text
//! with `…`. Every foreign word in a sentence goes through it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// How many characters of a name are shown.
pub const NAME: usize = 64;

/// How many characters of a message are shown.
pub const PHRASE: usize = 200;

/// A text in which nothing acts, that takes at most so many characters, on one line.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    text: &'a str,
    limit: usize,
}

/// A name from outside: a device, a node, a machine.
pub fn name(text: &str) -> Plain<'_> {
    Plain { text, limit: NAME }
}

/// A message from outside: what the block layer or a guest says.
pub fn phrase(text: &str) -> Plain<'_> {
    Plain { text, limit: PHRASE }
}

/// Returns the text if it has at most `bytes` bytes, else as much of its beginning as fits, and `…`.
pub fn limited(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return text.into();
    }
    let room = bytes.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

impl<'a> Plain<'a> {
    /// The text, of which at most `limit` characters are shown, counted as they are shown.
    pub fn new(text: &'a str, limit: usize) -> Plain<'a> {
        Plain { text, limit }
    }

    fn is_short_printable_ascii(&self) -> bool {
        self.text.len() <= self.limit && self.text.bytes().all(|b| matches!(b, b' '..=b'~'))
    }

    fn fits(&self) -> bool {
        let mut width = 0;
        self.text.chars().all(|c| {
            width += shown_width(c);
            width <= self.limit
        })
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_short_printable_ascii() {
            return f.write_str(self.text);
        }
        if self.fits() {
            return self.text.chars().try_for_each(|c| show(c, f));
        }
        let mut room = self.limit.saturating_sub(1);
        for c in self.text.chars() {
            let Some(left) = room.checked_sub(shown_width(c)) else { break };
            room = left;
            show(c, f)?;
        }
        f.write_char('…')
    }
}

fn show(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if acts(c) => write!(f, "{}", c.escape_unicode()),
        c => f.write_char(c),
    }
}

fn shown_width(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        '\n' | '\r' | '\t' => 2,
        c if acts(c) => c.escape_unicode().len(),
        _ => 1,
    }
}

/// Whether a character does something other than being seen: it controls a terminal, ends a line, changes the direction
/// of the text, joins or splits what stands beside it, or is invisible.
pub fn acts(c: char) -> bool {
    let code = u32::from(c);
    // The last two of each plane are no characters at all.
    code & 0xFFFE == 0xFFFE || ACTING.iter().take_while(|(first, _)| *first <= c).any(|(_, last)| c <= *last)
}

/// First and last of each range, sorted: controls, format characters (Unicode's categories Cc, Cf, Zl and Zp), fillers
/// that look like nothing, variation selectors and tags.
const ACTING: &[(char, char)] = &[
    ('\0', '\u{1F}'),
    ('\u{7F}', '\u{9F}'),
    ('\u{AD}', '\u{AD}'),
    ('\u{34F}', '\u{34F}'),
    ('\u{600}', '\u{605}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{6DD}', '\u{6DD}'),
    ('\u{70F}', '\u{70F}'),
    ('\u{890}', '\u{891}'),
    ('\u{8E2}', '\u{8E2}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{2028}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFFB}'),
    ('\u{110BD}', '\u{110BD}'),
    ('\u{110CD}', '\u{110CD}'),
    ('\u{13430}', '\u{1343F}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Plain::new(text, 12).to_string(), expected);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        for (text, bytes, expected) in
            [("web1", 4, "web1"), ("web10", 4, "w…"), ("éé", 4, "éé"), ("ééé", 5, "é…"), ("ééé", 4, "…"), ("x", 0, "…")]
        {
            assert_eq!(limited(text, bytes), expected, "{text} in {bytes}");
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        check("d1", "d1");
        check("größe😀", "größe😀");
        check("\u{1b}[2J", r"\u{1b}[2J");
        check("a\nb\r\tc", r"a\nb\r\tc");
        check("a\u{202e}b", r"a\u{202e}b");
        check("\u{200b}", r"\u{200b}");
        check("\u{2028}", r"\u{2028}");
        check("\u{9b}", r"\u{9b}");
        check("\u{FFFF}", r"\u{ffff}");
        check("", "");
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis_and_no_escape_is_cut_in_two() {
        check("123456789012", "123456789012");
        check("1234567890123", "12345678901…");
        check("12345\u{202e}", r"12345…");
        check("1234\u{202e}", r"1234\u{202e}");
        check(&"ä".repeat(13), "äääääääääää…");
    }

    #[test]
    fn the_table_is_sorted_or_characters_would_be_missed() {
        assert!(ACTING.is_sorted_by(|a, b| a.0 <= a.1 && a.1 < b.0));
    }

    #[test]
    fn every_control_character_acts() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            assert!(acts(c), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_nothing_that_acts_comes_out(text in any::<String>(), limit in 1_usize..40) {
            let shown = Plain::new(&text, limit).to_string();
            prop_assert!(!shown.chars().any(acts), "{shown:?}");
            prop_assert!(shown.chars().count() <= limit, "{shown:?}");
        }
    }
}
