//! Numbers of bytes as people read them: `128 MiB`, `900.9 MiB`, `-4 KiB`.

use std::fmt;

/// A number of bytes in binary units.
///
/// An exact number of a unit has no decimals (`128 MiB`, `1536 MiB`); with one decimal it is rounded (`900.9 MiB`), so
/// `128.0 MiB` says: nearly. Below 1024 it is in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    negative: bool,
    magnitude: u64,
}

impl From<i64> for Size {
    fn from(bytes: i64) -> Size {
        Size { negative: bytes < 0, magnitude: bytes.unsigned_abs() }
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Size {
        Size { negative: false, magnitude: bytes }
    }
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Exact numbers up to this are taken from the next smaller unit: nobody counts 524352 KiB.
const MOST_OF_SMALLER_UNIT: u64 = 9999;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let bytes = self.magnitude;
        if bytes < 1024 {
            return write!(f, "{bytes} {}", if bytes == 1 { "byte" } else { "bytes" });
        }
        let (mut unit, mut smaller) = (1024_u64, ("bytes", 1_u64));
        for (i, name) in UNITS.iter().enumerate() {
            if bytes.is_multiple_of(unit) && bytes / unit < 1024 {
                return write!(f, "{} {name}", bytes / unit);
            }
            let last = i + 1 == UNITS.len();
            let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
            if tenths < 10240 || last {
                let (smaller_name, smaller_unit) = smaller;
                if bytes.is_multiple_of(smaller_unit) && bytes / smaller_unit <= MOST_OF_SMALLER_UNIT {
                    return write!(f, "{} {smaller_name}", bytes / smaller_unit);
                }
                return write!(f, "{}.{} {name}", tenths / 10, tenths % 10);
            }
            smaller = (name, unit);
            unit = unit.saturating_mul(1024);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: i64, expected: &str) {
        assert_eq!(Size::from(bytes).to_string(), expected);
    }

    #[test]
    fn exact_sizes_are_exact() {
        check(0, "0 bytes");
        check(1, "1 byte");
        check(1023, "1023 bytes");
        check(1024, "1 KiB");
        check(134_217_728, "128 MiB");
        check(944_766_976, "901 MiB");
        check(1_610_612_736, "1536 MiB");
        check(4_294_967_296, "4 GiB");
        check(1 << 62, "4 EiB");
    }

    #[test]
    fn others_have_one_decimal() {
        check(1025, "1025 bytes");
        check(944_662_118, "900.9 MiB");
        check(134_217_728 + 4096, "128.0 MiB");
        check(1_073_741_823, "1.0 GiB");
        check(1_099_511_627_776 - 4096, "1.0 TiB");
        check(10_200_547_328, "9728 MiB");
        check(12_348_030_976, "11.5 GiB");
        check(i64::MAX, "8.0 EiB");
        assert_eq!(Size::from(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn a_hostile_guest_can_have_less_than_nothing() {
        check(-1, "-1 byte");
        check(-4096, "-4 KiB");
        check(i64::MIN, "-8 EiB");
    }
}
