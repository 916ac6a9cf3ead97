//! Events at a steady rate, of the guest's own accord: the load under which a reader of many machines is tried.
//!
//! The guest runs `_OST` of its first CPU slot, which every machine has, and QEMU never throttles what comes of that
//! (`ACPI_DEVICE_OST`). The events are numbered: `source` is 1 in the first, 2 in the second, and so on (0 after
//! 4,294,967,295), and `status` is 0, success. So a reader of one machine that sees 17 after 15 has missed one, and one
//! that sees 1 again has another machine before it. A guest that is stopped emits nothing, and its numbers go on where
//! they were.

use qev_qmp::Object;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The command of the guest's side that makes an event.
pub(super) const COMMAND: &str = "ost";

/// What is due for longer than this is not made up for: a host that was asleep wakes to a trickle, not to a flood.
const LATEST: Duration = Duration::from_secs(1);

/// How many events a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(f64);

/// The text is no rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotARate(String);

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a rate: expected events a second, from {} to {}, such as 1, 0.1 or 200",
            self.0.escape_debug(),
            Rate::LEAST,
            Rate::MOST
        )
    }
}

impl std::error::Error for NotARate {}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Rate, NotARate> {
        let rate = text.parse().ok().filter(|rate| (Rate::LEAST..=Rate::MOST).contains(rate));
        rate.map(Rate).ok_or_else(|| NotARate(text.to_owned()))
    }
}

impl Rate {
    const LEAST: f64 = 0.0001;
    const MOST: f64 = 10_000.0;

    /// The time from one event to the next.
    pub(crate) fn period(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

/// The events of one machine at a rate.
#[derive(Debug)]
pub(crate) struct Traffic {
    period: Duration,
    due: Duration,
    number: u32,
}

impl Traffic {
    /// The first event comes this long after the machine's start.
    pub(crate) fn new(rate: Rate, first: Duration) -> Traffic {
        Traffic { period: rate.period(), due: first, number: 1 }
    }

    /// When the next event is due.
    pub(super) fn due(&self) -> Duration {
        self.due
    }

    /// The arguments of the guest's next `ost`.
    pub(super) fn arguments(&self) -> Object {
        Object::new()
            .with("slot", "0")
            .with("slot-type", "CPU")
            .with("source", i64::from(self.number))
            .with("status", 0)
    }

    /// The guest did it at this time, or did not because it is stopped.
    pub(super) fn done(&mut self, now: Duration, emitted: bool) {
        if emitted {
            self.number = self.number.wrapping_add(1);
        }
        self.due += self.period;
        if self.due + LATEST < now {
            self.due = now + self.period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_is_a_number_of_events_a_second() {
        for (text, period) in [("1", ms(1000)), ("0.1", ms(10_000)), ("200", ms(5))] {
            assert_eq!(text.parse().map(Rate::period), Ok(period), "{text}");
        }
        for text in ["", "fast", "0", "-1", "inf", "nan", "1e9"] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.ends_with("from 0.0001 to 10000, such as 1, 0.1 or 200"), "{error}");
        }
    }

    #[test]
    fn numbers_have_no_hole_whatever_happens() {
        let mut traffic = Traffic::new(Rate(10.0), ms(30));
        assert_eq!((traffic.due(), traffic.number), (ms(30), 1));
        traffic.done(ms(31), true);
        assert_eq!((traffic.due(), traffic.number), (ms(130), 2));
        traffic.done(ms(130), false);
        assert_eq!((traffic.due(), traffic.number), (ms(230), 2));
        // A little late is made up for, very late is not.
        traffic.done(ms(900), true);
        assert_eq!((traffic.due(), traffic.number), (ms(330), 3));
        traffic.done(ms(9000), true);
        assert_eq!((traffic.due(), traffic.number), (ms(9100), 4));
        traffic.number = u32::MAX;
        traffic.done(ms(9100), true);
        assert_eq!(traffic.arguments().get("source"), Some(&0.into()));
    }
}
