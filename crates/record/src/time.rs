//! Times as records write them: RFC 3339, UTC, microseconds.

use jiff::fmt::temporal::DateTimePrinter;
use qev_qmp::Timestamp;

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// The years that RFC 3339 can write, 0000 to 9999 but for the last day (jiff's limit), in microseconds since the
/// epoch.
const WRITABLE: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_207_200_000_000;

/// Appends a time: `2026-11-22T11:35:10.942911Z`. One that is not known, or that lies outside the years 0000 to 9999,
/// becomes the epoch, so that a record can always be written.
pub(crate) fn push_rfc3339(out: &mut String, time: Timestamp) {
    let micros = time.micros().filter(|micros| WRITABLE.contains(micros)).unwrap_or_default();
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = PRINTER.print_timestamp(&time, out);
}

/// A time as records write it: `2026-11-22T11:35:10.942911Z`. The epoch, when it is not one that can be written.
pub fn to_rfc3339(time: Timestamp) -> String {
    let mut out = String::with_capacity(27);
    push_rfc3339(&mut out, time);
    out
}

/// Reads a time as RFC 3339 has it, with any offset from UTC; what is finer than a microsecond is dropped.
pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(micros: i64, expected: &str) {
        assert_eq!(to_rfc3339(Timestamp::from_micros(micros)), expected);
    }

    #[test]
    fn six_decimals_always() {
        check(1_795_347_310_942_911, "2026-11-22T11:35:10.942911Z");
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z");
        check(253_402_207_199_999_999, "9999-12-30T21:59:59.999999Z");
    }

    #[test]
    fn a_time_that_is_none_does_not_cost_the_record() {
        assert_eq!(to_rfc3339(Timestamp::UNKNOWN), "1970-01-01T00:00:00.000000Z");
        check(253_402_207_200_000_000, "1970-01-01T00:00:00.000000Z");
        check(i64::MIN, "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn other_clocks_are_understood() {
        let time = |text| from_rfc3339(text).and_then(Timestamp::micros);
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(time("1970-01-01T00:00:00.0000019Z"), Some(1));
        assert_eq!(time("yesterday"), None);
        assert_eq!(time("1970-01-01"), None);
    }

    proptest! {
        #[test]
        fn times_go_there_and_back(micros in WRITABLE) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(from_rfc3339(&to_rfc3339(time)), Some(time));
        }
    }
}
