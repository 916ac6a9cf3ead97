//! UTF-8 as QEMU reads it: `C0 80` is a NUL, non-characters are none, and what is wrong is cut into pieces in its way.
//!
//! How long a wrong piece is shows in error messages: each becomes one U+FFFD. A sequence ends where a byte is missing
//! that belongs to it, and sequences of five and six bytes are one piece, though they are never a character.

/// The first character, and how many bytes it takes; what is none has a length too. `None` at the end.
pub(super) fn first(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let lead = *bytes.first()?;
    let length = usize::try_from(lead.leading_ones()).unwrap_or(0);
    if length == 0 {
        return Some((Some(char::from(lead)), 1));
    }
    if !(2..=6).contains(&length) {
        return Some((None, 1));
    }
    let mut code = u32::from(lead) & ((0x80 >> length) - 1);
    for at in 1..length {
        match bytes.get(at) {
            Some(byte) if byte & 0xC0 == 0x80 => code = code << 6 | u32::from(byte & 0x3F),
            _ => return Some((None, at)),
        }
    }
    let least = [0x80, 0x800, 0x1_0000, 0x20_0000, 0x400_0000].get(length - 2).copied().unwrap_or(0);
    let is_shortest = code >= least || (code == 0 && length == 2);
    Some((char::from_u32(code).filter(|&c| is_shortest && is_character(c)), length))
}

/// What QEMU prints of bytes that it shows in an error message: U+FFFD for each piece that is no character. A NUL ends
/// them.
pub(super) fn shown(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    while let Some((c, length)) = first(bytes).filter(|(c, length)| (*c, *length) != (Some('\0'), 1)) {
        text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        bytes = bytes.get(length..).unwrap_or_default();
    }
    text
}

/// Unicode sets 66 code points aside as non-characters; QEMU takes none of them.
pub(super) fn is_character(c: char) -> bool {
    let c = u32::from(c);
    !(0xFDD0..=0xFDEF).contains(&c) && c & 0xFFFE != 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_character_is_cut_as_qemu_cuts_it() {
        for (bytes, expected) in [
            (&b"a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"[..], "aé€😀"),
            (b"\xC0\x80x", "\0x"),
            (b"\x80\xBF", "\u{FFFD}\u{FFFD}"),
            (b"\xC3(", "\u{FFFD}("),
            (b"\xE2\x82", "\u{FFFD}"),
            (b"\xED\xA0\x80", "\u{FFFD}"),
            (b"\xC1\x81\xE0\x80\x80", "\u{FFFD}\u{FFFD}"),
            (b"\xEF\xBF\xBE\xEF\xB7\x90\xEF\xBF\xBD", "\u{FFFD}\u{FFFD}\u{FFFD}"),
            (b"\xF4\x90\x80\x80\xF8\x88\x80\x80\x80", "\u{FFFD}\u{FFFD}"),
            (b"\xFC\x84\x80\x80\x80\x80\xFE\xFF", "\u{FFFD}\u{FFFD}\u{FFFD}"),
            (b"\xFD\xBFx\0y", "\u{FFFD}x"),
        ] {
            assert_eq!(shown(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
