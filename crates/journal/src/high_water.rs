//! How far sequence numbers were given out, in a file of its own: `numbers`.
//!
//! When a segment, or SQLite's log beside it, loses its end, nothing in it tells. This file does: up to which number
//! records were committed, and up to which numbers are reserved.
//!
//! ```text
//!   qev numbers 1: last 00000000000000001500, reserved 00000000000000066036, sum 5bd1e995a4c3f210
//! ```
//!
//! | member | written | after a crash |
//! |---|---|---|
//! | `last` | after each commit, without an fsync | exact when the process was killed; too low after a power cut |
//! | `reserved` | with an fsync, before a number above it is given out | never lower than a number that was given out |
//!
//! A journal that ends before `last` has lost records: numbers go on behind `reserved`. Otherwise they go on where the
//! journal ends, so a crash leaves no hole. A writer that ends in order makes both the same.

use crate::contents::{self, FileId};
use crate::durable;
use crate::options::Synchronous;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const NAME: &str = "numbers";

/// How many numbers are reserved at once: an fsync for each so many records.
const BLOCK: u64 = 1 << 16;

/// What stands before each part of the file.
const LAST: &str = "qev numbers 1: last ";
const RESERVED: &str = ", reserved ";
const SUM: &str = ", sum ";

/// How large the file is.
const BYTES: usize = LAST.len() + 20 + RESERVED.len() + 20 + SUM.len() + 16 + 1;

/// The group of the journal's users may read it, as it may read segments.
const MODE: u32 = 0o640;

/// How far numbers were given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HighWaterMark {
    /// The last number that was committed, as far as is known.
    pub(crate) last: u64,
    /// No larger number was given out.
    pub(crate) reserved: u64,
}

impl HighWaterMark {
    /// Reads the file of a journal; `None` when there is none, or it is damaged.
    pub(crate) fn read(dir: &Path) -> Option<HighWaterMark> {
        let mut bytes = Vec::new();
        let file = File::open(dir.join(NAME)).ok()?;
        file.take(u64::try_from(BYTES).unwrap_or(u64::MAX)).read_to_end(&mut bytes).ok()?;
        HighWaterMark::parse(std::str::from_utf8(&bytes).ok()?)
    }

    fn parse(text: &str) -> Option<HighWaterMark> {
        let (last, rest) = text.strip_prefix(LAST)?.split_once(RESERVED)?;
        let (reserved, sum) = rest.split_once(SUM)?;
        let numbers = HighWaterMark { last: last.parse().ok()?, reserved: reserved.parse().ok()? };
        (u64::from_str_radix(sum.trim_end(), 16) == Ok(numbers.sum())).then_some(numbers)
    }

    fn to_text(self) -> String {
        let HighWaterMark { last, reserved } = self;
        format!("{LAST}{last:020}{RESERVED}{reserved:020}{SUM}{:016x}\n", self.sum())
    }

    /// Tells a line that was written from one that was changed.
    fn sum(self) -> u64 {
        let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        mix(mix(1, self.last), self.reserved)
    }
}

/// The file, for its writer.
#[derive(Debug)]
pub(crate) struct HighWaterFile {
    path: PathBuf,
    file: File,
    id: Option<FileId>,
    numbers: HighWaterMark,
    synchronous: Synchronous,
}

impl HighWaterFile {
    /// Opens the file of a journal whose last number is this; makes it when there is none.
    pub(crate) fn open(dir: &Path, last: u64, synchronous: Synchronous) -> io::Result<HighWaterFile> {
        let path = HighWaterFile::path_in(dir);
        let known = HighWaterMark::read(dir);
        // The first group reserves numbers.
        let numbers = HighWaterMark { last, reserved: known.map_or(last, |known| known.reserved.max(last)) };
        if known.is_none() {
            create(&path, numbers)?;
        }
        let file = File::options().read(true).write(true).open(&path)?;
        let id = file.metadata().ok().map(|metadata| contents::id_of(&metadata));
        Ok(HighWaterFile { path, file, id, numbers, synchronous })
    }

    /// The file of a journal.
    pub(crate) fn path_in(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Whether the file is still the one that others find.
    pub(crate) fn is_in_place(&self) -> bool {
        self.id.is_some() && contents::file_id(&self.path) == self.id
    }

    /// Makes sure that numbers up to this one can be given out.
    pub(crate) fn reserve(&mut self, number: u64) -> io::Result<()> {
        if number <= self.numbers.reserved {
            return Ok(());
        }
        let numbers = HighWaterMark { reserved: number.saturating_add(BLOCK), ..self.numbers };
        self.write(numbers)?;
        if self.synchronous == Synchronous::Full {
            self.file.sync_data()?;
        }
        self.numbers = numbers;
        Ok(())
    }

    /// HighWaterMark up to this one are committed. An error is no loss: what is in the file is too low then, which is allowed.
    pub(crate) fn committed(&mut self, last: u64) {
        self.numbers.last = last;
        let _ = self.write(self.numbers);
    }

    /// No more numbers are given out: the next writer goes on behind the last one.
    pub(crate) fn close(&mut self) {
        self.numbers.reserved = self.numbers.last;
        if self.is_in_place() {
            let _ = self.write(self.numbers).and_then(|()| self.file.sync_data());
        }
    }

    fn write(&self, numbers: HighWaterMark) -> io::Result<()> {
        self.file.write_all_at(numbers.to_text().as_bytes(), 0)
    }
}

fn create(path: &Path, numbers: HighWaterMark) -> io::Result<()> {
    let new = contents::beside(path, ".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().write(true).create_new(true).mode(MODE).open(&new)?;
    file.write_all_at(numbers.to_text().as_bytes(), 0)?;
    file.sync_all()?;
    durable::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_changed_byte_is_found() {
        let numbers = HighWaterMark { last: 1500, reserved: 67_036 };
        let text = numbers.to_text();
        assert_eq!((text.len(), HighWaterMark::parse(&text)), (BYTES, Some(numbers)));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let read = HighWaterMark::parse(&String::from_utf8(bytes).unwrap());
            assert_eq!(read, None, "byte {at}");
        }
        assert_eq!(HighWaterMark::parse(""), None);
    }
}
