//! What time it is for people: the only place in this crate where the wall clock is read.
//!
//! Everything that waits, waits by tokio's clock, which tests can pause. Only the timestamps of events are wall-clock
//! time, and where they come from is for the embedder to say.

use qev_qmp::Timestamp;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where timestamps come from.
pub struct Clock(Source);

enum Source {
    System,
    StartingAt(Timestamp),
    Custom(Box<dyn Fn(Duration) -> Timestamp + Send>),
}

impl Clock {
    /// The host's clock.
    pub const fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that showed this when the server started and goes as tokio's clock goes: under paused time, timestamps
    /// are the same in every run.
    pub const fn starting_at(start: Timestamp) -> Clock {
        Clock(Source::StartingAt(start))
    }

    /// Any other clock: it is given the time since the server's start.
    pub fn custom(read: impl Fn(Duration) -> Timestamp + Send + 'static) -> Clock {
        Clock(Source::Custom(Box::new(read)))
    }

    /// What the clock shows, this long after the server's start.
    pub fn read(&self, since_start: Duration) -> Timestamp {
        match &self.0 {
            Source::System => from_system(SystemTime::now()),
            Source::StartingAt(start) => add(*start, since_start),
            Source::Custom(read) => read(since_start),
        }
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::System => "Clock::system",
            Source::StartingAt(_) => "Clock::starting_at",
            Source::Custom(_) => "Clock::custom",
        })
    }
}

/// A host's clock may be set to before 1970: then the time is as unknown as QEMU says it is when it cannot read its own.
fn from_system(now: SystemTime) -> Timestamp {
    now.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .map_or(Timestamp::UNKNOWN, Timestamp::from_micros)
}

fn add(start: Timestamp, since: Duration) -> Timestamp {
    let micros = start.micros().zip(i64::try_from(since.as_micros()).ok());
    micros.and_then(|(start, since)| start.checked_add(since)).map_or(start, Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_starts_at_a_time_goes_on_from_there() {
        let clock = Clock::starting_at(Timestamp { seconds: 10, microseconds: 999_999 });
        assert_eq!(clock.read(Duration::ZERO), Timestamp { seconds: 10, microseconds: 999_999 });
        assert_eq!(clock.read(Duration::from_micros(2)), Timestamp { seconds: 11, microseconds: 1 });
    }

    #[test]
    fn a_clock_that_does_not_know_stays_unknown() {
        assert_eq!(Clock::starting_at(Timestamp::UNKNOWN).read(Duration::from_secs(1)), Timestamp::UNKNOWN);
        assert_eq!(from_system(UNIX_EPOCH - Duration::from_secs(1)), Timestamp::UNKNOWN);
        assert!(Clock::system().read(Duration::ZERO).seconds > 1_700_000_000);
    }
}
