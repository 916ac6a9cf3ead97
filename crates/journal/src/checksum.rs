//! What tells bytes that were written from bytes that were changed on the disk.
//!
//! A sum over words of 64 bits: no proof against a forger, but one bit that flipped shows. Each word `w` makes the sum `s` into
//! `(rotate_left(s, 5) ^ w) * 0x517c_c1b7_2722_0a95`, modulo 2^64.

use rusqlite::types::ValueRef;

/// A sum that words are added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checksum(u64);

impl Checksum {
    pub(crate) fn word(&mut self, word: [u8; 8]) {
        self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds a number; one that is absent is the smallest there is.
    pub(crate) fn number(&mut self, n: Option<i64>) {
        self.word(n.unwrap_or(i64::MIN).to_le_bytes());
    }

    /// Adds bytes: their length, then the bytes in words, the lowest first, filled up with zeros.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(u64::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(*word);
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(word);
        }
    }

    /// Adds bytes that may be absent, which is one word of ones.
    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.word([0xFF; 8]),
        }
    }

    pub(crate) fn value(self) -> i64 {
        i64::from_le_bytes(self.0.to_le_bytes())
    }

    /// The upper half, which takes four bytes in a row.
    pub(crate) fn short(self) -> i64 {
        i64::from(i32::from_le_bytes(upper_half(self.0)))
    }

    /// Whether this is the sum in the column `row_checksum` of a row. A segment of an older qev does not have the column:
    /// [`crate::store::prepare`] puts a word in its place.
    pub(crate) fn is_in(self, column: ValueRef<'_>) -> bool {
        match column {
            ValueRef::Integer(sum) => sum == self.short(),
            ValueRef::Text(word) => word == ABSENT.as_bytes(),
            _ => false,
        }
    }
}

/// What stands for a checksum that a segment does not have.
pub(crate) const ABSENT: &str = "none";

fn upper_half(sum: u64) -> [u8; 4] {
    let [_, _, _, _, a, b, c, d] = sum.to_le_bytes();
    [a, b, c, d]
}
