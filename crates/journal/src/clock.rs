//! What time it is, as the caller knows it. The journal reads no clock.

use qev_qmp::Timestamp;
use std::time::Duration;

/// What time it is, for [`Journal::retain`](crate::Journal::retain).
///
/// Somebody may set the wall clock, by years, at any moment. So the age of a segment grows with a clock that nobody sets; the
/// wall clock only tells how old a segment of an earlier run is, and only when it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// Whether it can be trusted.
    pub wall_clock: WallClock,
    /// A clock that nobody sets, `CLOCK_BOOTTIME` for example, since any moment.
    pub elapsed: Duration,
}

/// Whether the wall clock can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// It has run for long enough without a step.
    Settled,
    /// It was set, or nobody knows yet. No segment of an earlier run is deleted by its age.
    Unsettled,
}

impl From<Timestamp> for Now {
    /// For a caller that has no other clock than a settled wall clock.
    fn from(wall: Timestamp) -> Now {
        let micros = wall.micros().and_then(|micros| u64::try_from(micros).ok()).unwrap_or_default();
        Now { wall, wall_clock: WallClock::Settled, elapsed: Duration::from_micros(micros) }
    }
}
