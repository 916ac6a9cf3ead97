//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// How long to wait before the next attempt: twice as long each time, from the beginning after a connection that lasted.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    /// The longest wait.
    pub(crate) const LAST: Duration = Duration::from_secs(10);

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Backoff::LAST);
        wait
    }

    /// A machine that comes and goes at once should not be asked four times a second.
    pub(crate) fn was_connected(&mut self, lasted: Duration) {
        if lasted >= Backoff::LAST {
            *self = Backoff::default();
        }
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(Backoff::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_to_ten_seconds_and_begins_anew_after_a_connection_that_lasted() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.was_connected(Duration::from_secs(9));
        assert_eq!(backoff.next(), Backoff::LAST);
        backoff.was_connected(Duration::from_secs(10));
        assert_eq!(backoff.next(), Backoff::FIRST);
    }
}
