//! Sizes as QEMU reads them: `256M`, `1.5k`, `0x200`.

use std::fmt;

/// The text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeError {
    /// Not a number with a suffix that QEMU knows.
    Malformed,
    /// 2^64 bytes or more.
    TooLarge,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SizeError::Malformed => {
                "expected a size: a number, with k, M, G, T, P or E behind it, such as 256M or 1.5G"
            }
            SizeError::TooLarge => "expected a size below 2^64 bytes",
        })
    }
}

impl std::error::Error for SizeError {}

/// Reads a size as QEMU does, in bytes; `unit` is how many bytes a number without a suffix counts in.
///
/// Suffixes are powers of 1024, in either case, and `b` for bytes; a fraction needs one that it fits (`1.5k`); a number
/// may be hexadecimal. No sign, no exponent.
///
/// # Errors
///
/// When it is anything else, or does not fit 64 bits.
pub fn parse_size(text: &str, unit: u64) -> Result<u64, SizeError> {
    let (number, scale) = split_suffix(text).ok_or(SizeError::Malformed)?;
    let scale = u128::from(scale.unwrap_or(unit));
    if let Some(digits) = number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        return fits(all_digits(digits, 16)?.checked_mul(scale));
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = all_digits(whole, 10)?.checked_mul(scale).ok_or(SizeError::TooLarge)?;
    fits(whole.checked_add(part_of(fraction, scale)?))
}

fn fits(bytes: Option<u128>) -> Result<u64, SizeError> {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or(SizeError::TooLarge)
}

/// The number, and what its suffix multiplies it with. In a hexadecimal number `b` and `e` are digits.
fn split_suffix(text: &str) -> Option<(&str, Option<u64>)> {
    let last = text.chars().next_back()?;
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let shift = match last.to_ascii_lowercase() {
        'b' | 'e' if hexadecimal => return Some((text, None)),
        'b' => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        'p' => 50,
        'e' => 60,
        _ => return Some((text, None)),
    };
    Some((text.strip_suffix(last)?, Some(1 << shift)))
}

fn all_digits(digits: &str, radix: u32) -> Result<u128, SizeError> {
    // from_str_radix takes a sign too.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(SizeError::Malformed);
    }
    u64::from_str_radix(digits, radix).map(u128::from).map_err(|_| SizeError::TooLarge)
}

/// The fraction with these decimals of `scale`, rounded to bytes. Decimals past the fifteenth do not count.
fn part_of(decimals: &str, scale: u128) -> Result<u128, SizeError> {
    if decimals.is_empty() || !decimals.chars().all(|c| c.is_ascii_digit()) {
        return Err(SizeError::Malformed);
    }
    let decimals = decimals.get(..15).unwrap_or(decimals);
    let value = all_digits(decimals, 10)?;
    if value != 0 && scale == 1 {
        return Err(SizeError::Malformed);
    }
    let one = decimals.bytes().fold(1_u128, |one, _| one * 10);
    Ok((value * scale * 2 + one) / (one * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn sizes_come_out_as_a_real_qemu_reads_them_for_its_memory() {
        for (text, bytes) in [
            ("100", 100 * MIB),
            ("256M", 256 * MIB),
            ("256m", 256 * MIB),
            ("1.5G", 1536 * MIB),
            ("5.5k", 5632),
            ("1b", 1),
            ("0x100", 256 * MIB),
            ("0x100M", 256 * MIB),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse_size(text, MIB), Ok(bytes), "{text}");
        }
        for text in ["", "x", "M", "-1", "+1", "256MiB", "1e3", "1.5b", "1.", ".5", "0x", " 1", "1 M", "1.-5M", "é"] {
            assert_eq!(parse_size(text, MIB), Err(SizeError::Malformed), "{text}");
        }
        for text in ["16E", "18446744073709551616b", "99999999999999999999999999999999999999999"] {
            assert_eq!(parse_size(text, MIB), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sizes_come_out_as_qemu_io_reads_them() {
        for (text, bytes) in [("512", 512), ("1.5k", 1536), ("0x200", 512), ("1b", 1), ("0xb", 11), ("0xe", 14)] {
            assert_eq!(parse_size(text, 1), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("1.5", 1), Err(SizeError::Malformed));
    }

    #[test]
    fn the_largest_size_is_one_below_2_to_the_64() {
        assert_eq!(parse_size("18446744073709551615b", MIB), Ok(u64::MAX));
    }
}
