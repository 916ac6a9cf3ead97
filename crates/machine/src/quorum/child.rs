//! A child of a quorum: a raw image in a file, read and written for real; and its errors, real ones and ordered ones.

use super::{Pattern, Range};
use crate::error::MachineError;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A raw image in a regular file.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) node_name: String,
    pub(crate) path: PathBuf,
    /// Its length in bytes when it was opened, rounded up to 512.
    pub(crate) length: u64,
    file: File,
    /// Whether something was written that no flush has reached: QEMU does not flush without.
    dirty: bool,
    /// Errors that someone ordered: at most one for each operation.
    pub(crate) errors: Vec<OrderedError>,
}

/// An error that a child shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderedError {
    pub(crate) operation: Operation,
    pub(crate) errno: Errno,
    /// Only requests that touch this sector of 512 bytes have it. It does not bear on a flush.
    pub(crate) sector: Option<u64>,
    /// How many more requests have it; `None` for all.
    pub(crate) times: Option<u64>,
}

/// What can be done with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
}

impl Operation {
    /// Operations by their names.
    pub(crate) const NAMES: [(&'static str, Operation); 3] =
        [("read", Operation::Read), ("write", Operation::Write), ("flush", Operation::Flush)];
}

/// An error number of the operating system. It prints as `strerror` has it, which is what QEMU sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const EIO: Errno = Errno(5);
    pub(crate) const ENOSPC: Errno = Errno(28);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text))
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno)
    }
}

/// What a child answered to a read: two answers are equal when their content is.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The SHA-256 of the content: QEMU's quorum votes by it.
    digest: [u8; 32],
    /// Whether the part that a pattern was given for is that pattern.
    pub(crate) is_pattern: bool,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        self.digest == other.digest
    }
}

/// How much is read or written at a time: requests may be of 2 GiB.
const CHUNK: usize = 64 * 1024;

impl Child {
    /// Opens a file; beside the child comes what tells whether two paths are one file.
    pub(crate) fn open(node_name: String, path: &Path) -> Result<(Child, (u64, u64)), MachineError> {
        let failed = |source| MachineError::OpenChild { path: path.to_owned(), source };
        // Looked at first: opening a pipe would wait, and a directory can not be opened for writing to say that it is one.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(MachineError::NotAFile(path.to_owned()));
        }
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let length = metadata.len().div_ceil(512).saturating_mul(512);
        let child = Child { node_name, path: path.to_owned(), length, file, dirty: false, errors: Vec::new() };
        Ok((child, (metadata.dev(), metadata.ino())))
    }

    /// Orders an error, in the place of the one there was for this operation; or none, if it shall be had no times.
    pub(crate) fn order(&mut self, error: OrderedError) {
        self.errors.retain(|other| other.operation != error.operation);
        if error.times != Some(0) {
            self.errors.push(error);
        }
    }

    /// The error that was ordered for a request, which counts as had.
    fn ordered(&mut self, operation: Operation, range: Option<Range>) -> Result<(), Errno> {
        let touches = |sector: u64| {
            range.is_none_or(|range| {
                let behind = range.offset.saturating_add(range.length).div_ceil(512);
                (range.offset / 512..behind).contains(&sector)
            })
        };
        let found = self.errors.iter_mut().find(|error| error.operation == operation);
        let Some(error) = found.filter(|error| error.sector.is_none_or(touches)) else { return Ok(()) };
        let errno = error.errno;
        if let Some(times) = &mut error.times {
            *times = times.saturating_sub(1);
        }
        self.errors.retain(|error| error.times != Some(0));
        Err(errno)
    }

    /// Reads. Behind the end of the file there are zeros, as for QEMU's raw images.
    pub(crate) fn read(&mut self, range: Range, pattern: Option<Pattern>) -> Result<Answer, Errno> {
        self.ordered(Operation::Read, Some(range))?;
        let mut digest = Sha256::new();
        let mut is_pattern = true;
        let mut buffer = [0; CHUNK];
        let mut done = 0;
        while done < range.length {
            let chunk = chunk_of(&mut buffer, range.length - done);
            self.fill(chunk, range.offset.saturating_add(done))?;
            digest.update(&*chunk);
            if let Some(pattern) = pattern {
                is_pattern &= pattern.holds(chunk, done);
            }
            done = done.saturating_add(length_of(chunk));
        }
        Ok(Answer { digest: digest.finalize().into(), is_pattern })
    }

    fn fill(&self, chunk: &mut [u8], offset: u64) -> Result<(), Errno> {
        chunk.fill(0);
        let mut filled = 0;
        while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX))) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes one byte all over a range.
    pub(crate) fn write(&mut self, range: Range, byte: u8) -> Result<(), Errno> {
        // QEMU flushes after a write that failed as well.
        self.dirty = true;
        self.ordered(Operation::Write, Some(range))?;
        self.overwrite(range, byte)
    }

    /// The same by an operator's hand: nothing but the file learns of it.
    pub(crate) fn overwrite(&self, range: Range, byte: u8) -> Result<(), Errno> {
        let mut buffer = [byte; CHUNK];
        let mut done = 0;
        while done < range.length {
            let chunk = chunk_of(&mut buffer, range.length - done);
            self.file.write_all_at(chunk, range.offset.saturating_add(done))?;
            done = done.saturating_add(length_of(chunk));
        }
        Ok(())
    }

    /// Flushes, if something was written since the last flush that went well.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        if self.dirty {
            self.ordered(Operation::Flush, None)?;
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}

impl Pattern {
    /// Whether the bytes that begin at `at` are the pattern, where they are in its part.
    fn holds(self, bytes: &[u8], at: u64) -> bool {
        let end = self.part.offset.saturating_add(self.part.length);
        let first = usize::try_from(self.part.offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let behind = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        bytes.get(first..behind).is_none_or(|part| part.iter().all(|byte| *byte == self.byte))
    }
}

fn chunk_of(buffer: &mut [u8; CHUNK], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    // The length was cut to what is there.
    buffer.get_mut(..length).unwrap_or_default()
}

fn length_of(chunk: &[u8]) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_print_as_qemu_sends_them() {
        assert_eq!(Errno::EIO.to_string(), "Input/output error");
        assert_eq!(Errno(28).to_string(), "No space left on device");
        assert_eq!(Errno(100_000).to_string(), "Unknown error 100000");
    }

    #[test]
    fn a_pattern_is_looked_for_where_it_was_said_to_be() {
        let pattern = Pattern { byte: 7, part: Range { offset: 4, length: 3 } };
        assert!(pattern.holds(&[0, 0, 0, 0, 7, 7, 7, 0], 0));
        assert!(!pattern.holds(&[0, 0, 0, 0, 7, 7, 0], 0));
        assert!(pattern.holds(&[7, 0], 6));
        assert!(pattern.holds(&[0, 0], 0));
        assert!(pattern.holds(&[0, 0], 7));
    }
}
