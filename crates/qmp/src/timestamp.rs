//! When QEMU says an event happened.

use crate::json::Object;

/// Wall-clock time since the Unix epoch, in seconds and microseconds, as QEMU's host read it.
///
/// It may go backwards, and [`Timestamp::UNKNOWN`] is what QEMU 2.1 to 7.0 sent when it could not read its clock; up to
/// 2.0 the member was left out then, which is `None` wherever a timestamp is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Microseconds of the second, 0 to 999999.
    pub microseconds: i64,
}

impl Timestamp {
    /// `-1` and `-1`: the clock could not be read.
    pub const UNKNOWN: Timestamp = Timestamp { seconds: -1, microseconds: -1 };

    /// A time from microseconds since the epoch.
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp { seconds: micros.div_euclid(1_000_000), microseconds: micros.rem_euclid(1_000_000) }
    }

    /// Microseconds since the epoch; `None` when the time is not known, or is none (out of range).
    pub fn micros(self) -> Option<i64> {
        if !(0..1_000_000).contains(&self.microseconds) {
            return None;
        }
        self.seconds.checked_mul(1_000_000)?.checked_add(self.microseconds)
    }

    /// As it stands in an event.
    pub(crate) fn to_object(self) -> Object {
        Object::new().with("seconds", self.seconds).with("microseconds", self.microseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_go_there_and_back() {
        for micros in [0, 1, -1, 1_267_020_223_435_656, i64::MAX / 2] {
            assert_eq!(Timestamp::from_micros(micros).micros(), Some(micros));
        }
        assert_eq!(Timestamp::UNKNOWN.micros(), None);
        assert_eq!(Timestamp { seconds: i64::MAX, microseconds: 0 }.micros(), None);
    }
}
