//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// How long to wait before the next attempt: twice as long each time, from the beginning after a connection that lasted.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    last: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    /// The longest wait.
    pub(crate) const LAST: Duration = Duration::from_secs(10);

    /// One that waits so long at first, and so long at last.
    pub(crate) fn between(first: Duration, last: Duration) -> Backoff {
        Backoff { next: first, first, last }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        wait
    }

    /// A machine that comes and goes at once should not be asked four times a second.
    pub(crate) fn was_connected(&mut self, lasted: Duration) {
        if lasted >= self.last {
            self.next = self.first;
        }
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::between(Backoff::FIRST, Backoff::LAST)
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
