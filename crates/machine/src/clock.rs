//! The guest's time: it follows the caller's, and stands still while the guest does.

use qev_qmp::Timestamp;
use std::time::Duration;

/// The time as the caller has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment, the same for all calls to one machine. A step back counts as no step.
    pub monotonic: Duration,
    /// For the timestamps of events.
    pub wall: Timestamp,
}

/// Guest time: how long the guest has run.
///
/// Whatever the guest is going to do is due at a guest time. While it is stopped, guest time stands still, and so does
/// all of that.
#[derive(Debug)]
pub(crate) struct Clock {
    /// What the caller said last; `None` before it said anything.
    now: Option<Now>,
    running: bool,
    /// The guest time at `now`.
    guest: Duration,
    /// The guest time of what is happening: `guest`, or earlier while things that were due are caught up on.
    moment: Duration,
    /// How long before `now` that was.
    lag: Duration,
}

impl Clock {
    pub(crate) fn new(running: bool) -> Clock {
        Clock { now: None, running, guest: Duration::ZERO, moment: Duration::ZERO, lag: Duration::ZERO }
    }

    /// Takes the caller's time; what happens from here on happens now.
    pub(crate) fn follow(&mut self, now: Now) {
        let monotonic = match self.now {
            Some(last) => {
                let step = now.monotonic.saturating_sub(last.monotonic);
                if self.running {
                    self.guest = self.guest.saturating_add(step);
                }
                last.monotonic.max(now.monotonic)
            }
            None => now.monotonic,
        };
        self.now = Some(Now { monotonic, wall: now.wall });
        self.catch_up(self.guest);
    }

    /// What happens from here on happened when guest time was `moment`, which is not after `guest`.
    pub(crate) fn catch_up(&mut self, moment: Duration) {
        self.moment = moment.min(self.guest);
        self.lag = self.guest.saturating_sub(moment);
    }

    /// The guest time up to which things are due.
    pub(crate) fn guest(&self) -> Duration {
        self.guest
    }

    /// The guest time of what is happening.
    pub(crate) fn moment(&self) -> Duration {
        self.moment
    }

    /// Starts or stops guest time, at the moment of what is happening.
    pub(crate) fn set_running(&mut self, running: bool) {
        if self.running && !running {
            // The guest stopped at that moment, not when the caller came to look.
            self.guest = self.moment;
        }
        self.running = running;
    }

    /// The caller's monotonic time at which guest time will be `due`: `None` while it stands still.
    pub(crate) fn monotonic(&self, due: Duration) -> Option<Duration> {
        let now = self.now.map_or(Duration::ZERO, |now| now.monotonic);
        self.running.then(|| now.saturating_add(due.saturating_sub(self.guest)))
    }

    /// The timestamp for an event that happens at this moment.
    pub(crate) fn timestamp(&self) -> Timestamp {
        let Some(now) = self.now else { return Timestamp::UNKNOWN };
        let lag = i64::try_from(self.lag.as_micros()).unwrap_or(i64::MAX);
        match now.wall.micros().and_then(|micros| micros.checked_sub(lag)) {
            Some(micros) => Timestamp::from_micros(micros),
            None => now.wall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(ms: u64) -> Now {
        let micros = 1_000_000_000 + i64::try_from(ms).unwrap() * 1000;
        Now { monotonic: Duration::from_millis(ms), wall: Timestamp::from_micros(micros) }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn guest_time_stands_still_while_the_guest_does() {
        let mut clock = Clock::new(true);
        clock.follow(now(100));
        assert_eq!(clock.guest(), ms(0));
        clock.follow(now(130));
        assert_eq!(clock.guest(), ms(30));
        assert_eq!(clock.monotonic(ms(50)), Some(ms(150)));
        clock.set_running(false);
        assert_eq!(clock.monotonic(ms(50)), None);
        clock.follow(now(1000));
        assert_eq!(clock.guest(), ms(30));
        clock.set_running(true);
        assert_eq!(clock.monotonic(ms(50)), Some(ms(1020)));
    }

    #[test]
    fn what_was_due_earlier_gets_the_time_at_which_it_was_due() {
        let mut clock = Clock::new(true);
        clock.follow(now(0));
        clock.follow(now(1000));
        clock.catch_up(ms(400));
        assert_eq!(clock.timestamp(), now(400).wall);
        // It stopped the guest: then the guest has not run since.
        clock.set_running(false);
        assert_eq!(clock.guest(), ms(400));
        assert_eq!(clock.timestamp(), now(400).wall);
    }

    #[test]
    fn a_clock_that_goes_back_or_is_not_known_does_no_harm() {
        let mut clock = Clock::new(true);
        clock.follow(now(100));
        clock.follow(Now { monotonic: ms(50), wall: Timestamp::UNKNOWN });
        assert_eq!(clock.guest(), ms(0));
        assert_eq!(clock.timestamp(), Timestamp::UNKNOWN);
        clock.follow(Now { monotonic: Duration::MAX, wall: Timestamp { seconds: i64::MIN, microseconds: 0 } });
        clock.catch_up(ms(1));
        assert_eq!(clock.timestamp().seconds, i64::MIN);
        assert_eq!(clock.monotonic(Duration::MAX), Some(Duration::MAX));
    }
}
