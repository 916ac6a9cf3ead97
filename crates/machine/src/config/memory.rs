//! How much memory a machine has, and how much more it may get: QEMU's `-m`.

use super::size::{SizeError, parse_size};
use std::fmt;
use std::str::FromStr;

/// A machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it has from the start, in bytes; a multiple of 8192, as in QEMU.
    pub size: u64,
    /// How many DIMM slots it has, 0 to 256.
    pub slots: u32,
    /// How much it can have with DIMMs in its slots, in bytes.
    pub maxmem: u64,
}

const MIB: u64 = 1 << 20;
/// QEMU's `ACPI_MAX_RAM_SLOTS`.
const MAX_SLOTS: u32 = 256;
/// What 47 bits of address reach: more than any QEMU gets from its host, and nothing overflows.
const MAX_SIZE: u64 = 1 << 47;

impl Default for Memory {
    /// 128 MiB without slots, as a QEMU without `-m`.
    fn default() -> Memory {
        Memory { size: 128 * MIB, slots: 0, maxmem: 128 * MIB }
    }
}

/// The text does not describe a machine's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// A size is not one.
    Size {
        /// Which member: `size` or `maxmem`.
        member: &'static str,
        /// What was given.
        given: Box<str>,
        /// Why it is none.
        source: SizeError,
    },
    /// More memory than there is address space for.
    TooLarge,
    /// The number of slots is not one, or too large.
    Slots(Box<str>),
    /// There is no such member.
    NoSuchMember(Box<str>),
    /// Slots were given, but not how much memory may go into them.
    SlotsWithoutMaxmem,
    /// The largest size must be above the size if there are slots, and not below it without.
    MaxmemTooSmall,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::Size { member, given, .. } => {
                write!(
                    f,
                    "memory: {member} '{}' is not a size such as 256M; expected SIZE[,slots=N,maxmem=SIZE]",
                    given.escape_debug()
                )
            }
            MemoryError::TooLarge => write!(f, "memory: more than 128T: give less"),
            MemoryError::Slots(given) => {
                write!(f, "memory: slots '{}': expected a number from 0 to {MAX_SLOTS}", given.escape_debug())
            }
            MemoryError::NoSuchMember(name) => write!(
                f,
                "memory: no '{}': expected SIZE[,slots=N,maxmem=SIZE], such as 256M,slots=2,maxmem=1G",
                name.escape_debug()
            ),
            MemoryError::SlotsWithoutMaxmem => {
                write!(f, "memory: slots without maxmem: say how much memory there may be in all, such as maxmem=1G")
            }
            MemoryError::MaxmemTooSmall => {
                write!(
                    f,
                    "memory: maxmem must be above the size, to leave room for the slots; without slots not below it"
                )
            }
        }
    }
}

impl std::error::Error for MemoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MemoryError::Size { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl FromStr for Memory {
    type Err = MemoryError;

    /// Reads `256M,slots=2,maxmem=1G` by the rules of QEMU's `-m`: MiB without a suffix, `size=` may be left out, the
    /// last of the same name counts, the size is rounded up to 8 KiB, and 0 or nothing is the default.
    fn from_str(text: &str) -> Result<Memory, MemoryError> {
        let (mut size, mut slots, mut maxmem) = (0, 0, None);
        for (position, part) in text.split(',').enumerate() {
            match part.split_once('=') {
                None if position == 0 => size = read_size("size", part)?,
                None if part.is_empty() => {}
                Some(("size", value)) => size = read_size("size", value)?,
                Some(("slots", value)) => slots = read_slots(value)?,
                Some(("maxmem", value)) => maxmem = Some(read_size("maxmem", value)?),
                Some((name, _)) => return Err(MemoryError::NoSuchMember(name.into())),
                None => return Err(MemoryError::NoSuchMember(part.into())),
            }
        }
        let size = if size == 0 { Memory::default().size } else { size.div_ceil(8192) * 8192 };
        Memory { size, slots, maxmem: maxmem.unwrap_or(size) }.checked(maxmem.is_some())
    }
}

impl Memory {
    fn checked(self, maxmem_given: bool) -> Result<Memory, MemoryError> {
        if self.slots > 0 && !maxmem_given {
            return Err(MemoryError::SlotsWithoutMaxmem);
        }
        self.check().map(|()| self)
    }

    /// Whether the numbers go together: they may have been put in one by one.
    pub(crate) fn check(&self) -> Result<(), MemoryError> {
        if self.size > MAX_SIZE || self.maxmem > MAX_SIZE {
            return Err(MemoryError::TooLarge);
        }
        if self.slots > MAX_SLOTS {
            return Err(MemoryError::Slots(self.slots.to_string().into()));
        }
        if self.maxmem < self.size || (self.slots > 0 && self.maxmem == self.size) {
            return Err(MemoryError::MaxmemTooSmall);
        }
        Ok(())
    }
}

fn read_size(member: &'static str, given: &str) -> Result<u64, MemoryError> {
    if given.is_empty() {
        return Ok(0);
    }
    let size = parse_size(given, MIB).map_err(|source| MemoryError::Size { member, given: given.into(), source })?;
    if size > MAX_SIZE { Err(MemoryError::TooLarge) } else { Ok(size) }
}

fn read_slots(given: &str) -> Result<u32, MemoryError> {
    given.parse().ok().filter(|slots| *slots <= MAX_SLOTS).ok_or_else(|| MemoryError::Slots(given.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(text: &str) -> Result<(u64, u32, u64), MemoryError> {
        text.parse().map(|memory: Memory| (memory.size, memory.slots, memory.maxmem))
    }

    #[test]
    fn memory_is_read_as_a_real_qemu_reads_it() {
        for (text, expected) in [
            ("256M,slots=2,maxmem=1G", (256 * MIB, 2, 1024 * MIB)),
            ("100", (100 * MIB, 0, 100 * MIB)),
            ("", (128 * MIB, 0, 128 * MIB)),
            ("0", (128 * MIB, 0, 128 * MIB)),
            ("slots=1,maxmem=1G", (128 * MIB, 1, 1024 * MIB)),
            ("size=64M", (64 * MIB, 0, 64 * MIB)),
            ("300001b", (303_104, 0, 303_104)),
            ("256M,", (256 * MIB, 0, 256 * MIB)),
            ("256M,maxmem=1G", (256 * MIB, 0, 1024 * MIB)),
            ("256M,maxmem=256M", (256 * MIB, 0, 256 * MIB)),
            ("256M,slots=2,slots=3,maxmem=1G", (256 * MIB, 3, 1024 * MIB)),
            ("256M,slots=256,maxmem=1G", (256 * MIB, 256, 1024 * MIB)),
        ] {
            assert_eq!(memory(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_a_real_qemu_refuses_is_refused_and_says_what_to_do() {
        for (text, expected) in [
            (
                "256M,slots=2",
                "memory: slots without maxmem: say how much memory there may be in all, such as maxmem=1G",
            ),
            ("256M,slots=257,maxmem=1G", "memory: slots '257': expected a number from 0 to 256"),
            ("256M,slots=-1,maxmem=1G", "memory: slots '-1': expected a number from 0 to 256"),
            ("x", "memory: size 'x' is not a size such as 256M; expected SIZE[,slots=N,maxmem=SIZE]"),
            ("256M,foo=1", "memory: no 'foo': expected SIZE[,slots=N,maxmem=SIZE], such as 256M,slots=2,maxmem=1G"),
            ("256M,512M", "memory: no '512M': expected SIZE[,slots=N,maxmem=SIZE], such as 256M,slots=2,maxmem=1G"),
            ("129T", "memory: more than 128T: give less"),
        ] {
            assert_eq!(memory(text).unwrap_err().to_string(), expected, "{text}");
        }
        for text in ["256M,slots=2,maxmem=256M", "256M,slots=2,maxmem=128M", "256M,maxmem=128M"] {
            assert_eq!(memory(text), Err(MemoryError::MaxmemTooSmall), "{text}");
        }
    }
}
