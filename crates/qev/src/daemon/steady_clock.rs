//! Whether the wall clock can be trusted, for who deletes what is old.
//!
//! Somebody may set the wall clock: an administrator by mistake, NTP soon after the start of a host without a battery. So
//! retention counts with `CLOCK_BOOTTIME`, and believes the wall clock only when it has run for an hour without a step.

use qev_journal::{Now, WallClock};
use qev_qmp::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How long the wall clock must have run without a step.
const SETTLED_AFTER: Duration = Duration::from_secs(60 * 60);

/// By how many microseconds the wall clock may differ from the other one, from one look to the next. Clocks that are slewed
/// differ less.
const STEP: i128 = 5_000_000;

/// The wall clock beside one that nobody sets.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    last: (Timestamp, Duration),
    /// When the wall clock was set last, or since when it is looked at.
    unset_since: Duration,
}

impl SteadyClock {
    pub(crate) fn new(wall: Timestamp, elapsed: Duration) -> SteadyClock {
        SteadyClock { last: (wall, elapsed), unset_since: elapsed }
    }

    /// What time it is, by both clocks.
    pub(crate) fn look(&mut self, wall: Timestamp, elapsed: Duration) -> Now {
        let (last_wall, last_elapsed) = self.last;
        let micros = |time: Timestamp| i128::from(time.seconds) * 1_000_000 + i128::from(time.microseconds);
        let by_wall = micros(wall) - micros(last_wall);
        let by_other = i128::try_from(elapsed.saturating_sub(last_elapsed).as_micros()).unwrap_or(i128::MAX);
        if (by_wall - by_other).abs() > STEP {
            self.unset_since = elapsed;
        }
        self.last = (wall, elapsed);
        let is_settled = elapsed.saturating_sub(self.unset_since) >= SETTLED_AFTER;
        let wall_clock = if is_settled { WallClock::Settled } else { WallClock::Unsettled };
        Now { wall, wall_clock, elapsed }
    }
}

/// How long this host has run, suspended or not.
pub(crate) fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at the clock after so many seconds of both clocks each, and says when it was settled.
    fn check(looks: &[(i64, u64)], expected: &[bool]) {
        let (mut wall, mut elapsed) = (1_795_347_310, 100);
        let time = |seconds| Timestamp { seconds, microseconds: 0 };
        let mut clock = SteadyClock::new(time(wall), Duration::from_secs(elapsed));
        let mut settled = Vec::new();
        for (by_wall, by_other) in looks {
            (wall, elapsed) = (wall + by_wall, elapsed + by_other);
            let now = clock.look(time(wall), Duration::from_secs(elapsed));
            settled.push(now.wall_clock == WallClock::Settled);
        }
        assert_eq!(settled, expected, "{looks:?}");
    }

    #[test]
    fn is_settled_after_an_hour_without_a_step() {
        check(&[(60, 60), (3539, 3539), (1, 1), (60, 60)], &[false, false, true, true]);
    }

    #[test]
    fn a_step_in_either_direction_takes_another_hour() {
        let ten_years = 10 * 365 * 86_400;
        check(&[(3600, 3600), (ten_years, 60), (3599, 3599), (1, 1)], &[true, false, false, true]);
        check(&[(3600, 3600), (-ten_years, 60), (60, 60)], &[true, false, false]);
        // There and back.
        check(&[(3600, 3600), (ten_years, 1), (-ten_years, 75), (3600, 3600)], &[true, false, false, true]);
    }

    #[test]
    fn a_clock_that_is_slewed_is_not_stepped() {
        check(&[(1804, 1800), (1796, 1800)], &[false, true]);
    }
}
