//! Figures about the daemon's own work, for `/metrics`: how long commits take, how many fail, how far readers are behind.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The borders between commits that are counted apart, in seconds: from a fast disk's to a broken one's.
const BORDERS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The figures.
#[derive(Debug)]
pub(crate) struct Figures {
    /// How long commits took that were made.
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_failures: Counter,
    /// Messages of monitors that came faster than they could be kept.
    pub(crate) missed: Counter,
    followers: Mutex<Followers>,
}

#[derive(Debug, Default)]
struct Followers {
    next: u64,
    /// The last number that each has seen.
    seen: BTreeMap<u64, Arc<AtomicU64>>,
}

/// A follower, for as long as it is there.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    seen: Arc<AtomicU64>,
    figures: Arc<Figures>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            commit_seconds: Histogram::new(BORDERS),
            commit_failures: Counter::default(),
            missed: Counter::default(),
            followers: Mutex::default(),
        }
    }
}

impl Figures {
    pub(crate) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A place for a follower that has seen everything up to this number.
    pub(crate) fn enter(self: &Arc<Figures>, seen: u64) -> Place {
        let seen = Arc::new(AtomicU64::new(seen));
        let mut followers = self.lock();
        let id = followers.next;
        followers.next = id.wrapping_add(1);
        followers.seen.insert(id, Arc::clone(&seen));
        Place { id, seen, figures: Arc::clone(self) }
    }

    /// How many followers there are, and how many records the slowest is behind the last one.
    pub(crate) fn followers(&self, last: u64) -> (usize, u64) {
        let followers = self.lock();
        let least = followers.seen.values().map(|seen| seen.load(Ordering::Relaxed)).min();
        (followers.seen.len(), least.map_or(0, |least| last.saturating_sub(least)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Followers> {
        // What is behind the lock is whole at every moment.
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has seen everything up to this number.
    pub(crate) fn has_seen(&self, seq: u64) {
        self.seen.store(seq, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.figures.lock().seen.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_follower_is_told_until_it_is_gone() {
        let figures = Arc::new(Figures::default());
        assert_eq!(figures.followers(7), (0, 0));
        let (slow, fast) = (figures.enter(2), figures.enter(5));
        fast.has_seen(9);
        assert_eq!(figures.followers(10), (2, 8));
        drop(slow);
        assert_eq!(figures.followers(10), (1, 1));
        assert_eq!(figures.followers(3), (1, 0));
    }
}
