//! Who may have how many of a socket's places: where anybody may dial, one user must not keep all others out.
//!
//! ```text
//!   half of all are free ──► whoever dials is taken
//!   fewer are            ──► another user than root and ours is taken while it has less than its share, a quarter
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of one socket. Clones are for the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    taken: Arc<Mutex<Taken>>,
    room: usize,
    ours: u32,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<u32, usize>,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    uid: u32,
}

impl Seats {
    /// So many, of a daemon that is this user's.
    pub(crate) fn new(room: usize, ours: u32) -> Seats {
        Seats { taken: Arc::default(), room, ours }
    }

    /// How many a user may have when half of all are taken.
    pub(crate) fn share(&self) -> usize {
        self.room / 4
    }

    /// A place for this user, if there is one.
    pub(crate) fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.lock();
        let all = taken.all;
        let of_user = taken.by_user.get(&uid).copied().unwrap_or_default();
        let is_trusted = uid == 0 || uid == self.ours;
        let has_more = is_trusted || of_user < self.share() || all < self.room / 2;
        if all >= self.room || !has_more {
            return None;
        }
        taken.all = all.saturating_add(1);
        taken.by_user.insert(uid, of_user.saturating_add(1));
        Some(Seat { seats: self.clone(), uid })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // What is behind the lock is whole at every moment.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_user) = taken.by_user.get_mut(&self.uid) {
            *of_user = of_user.saturating_sub(1);
            if *of_user == 0 {
                taken.by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 900;

    /// How many a user gets, who takes what it can.
    fn fill(seats: &Seats, uid: u32, held: &mut Vec<Seat>) -> usize {
        let before = held.len();
        held.extend(std::iter::from_fn(|| seats.take(uid)));
        held.len() - before
    }

    #[test]
    fn one_user_gets_half_at_most_and_a_quarter_when_that_is_taken() {
        let seats = Seats::new(16, OURS);
        let (mut one, mut two, mut three, mut rest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        assert_eq!(fill(&seats, 1001, &mut one), 8);
        assert_eq!(fill(&seats, 1002, &mut two), 4);
        assert_eq!(fill(&seats, 1001, &mut one), 0);
        assert_eq!(fill(&seats, 1003, &mut three), 4);
        assert!(seats.take(0).is_none(), "all are taken");
        // Who leaves makes room, for whoever has less than its share.
        one.truncate(4);
        assert_eq!(fill(&seats, 1001, &mut one), 0);
        assert_eq!(fill(&seats, 1004, &mut rest), 4);
        drop((one, two, three, rest));
        let taken = seats.lock();
        assert_eq!((taken.all, taken.by_user.len()), (0, 0));
    }

    #[test]
    fn root_and_the_daemons_own_user_may_have_all() {
        for uid in [0, OURS] {
            assert_eq!(fill(&Seats::new(16, OURS), uid, &mut Vec::new()), 16);
        }
    }
}
