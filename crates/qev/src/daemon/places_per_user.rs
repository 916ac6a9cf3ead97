//! How many of a limited number of places one user may have: a user must not keep all others out.
//!
//! ```text
//!   root, the daemon's user, users that run a host's machines ──► any place that is free
//!   every other user ──► half of all while half are free, else a quarter
//!   all other users together ──► seven eighths
//! ```
//!
//! Places are connections through an attach socket, and sockets of shared monitors.

use crate::config::group;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Users of whom a distribution's packages run virtual machines: those of libvirt on Debian and on Fedora.
const RUN_MACHINES: [&str; 2] = ["libvirt-qemu", "qemu"];

/// Users that may have every place.
#[derive(Clone, Debug)]
pub(crate) struct TrustedUsers(Arc<BTreeSet<u32>>);

impl TrustedUsers {
    /// Looks them up.
    pub(crate) fn of_host() -> TrustedUsers {
        let ours = rustix::process::getuid().as_raw();
        TrustedUsers::new(RUN_MACHINES.iter().filter_map(|name| group::local_user(name)).chain([ours]))
    }

    /// These users and root.
    pub(crate) fn new(users: impl IntoIterator<Item = u32>) -> TrustedUsers {
        TrustedUsers(Arc::new(users.into_iter().chain([0]).collect()))
    }

    fn contains(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }
}

/// Places that are given out per user. Clones are for the same places.
#[derive(Clone, Debug)]
pub(crate) struct PlacesPerUser {
    taken: Arc<Mutex<Taken>>,
    room: usize,
    trusted: TrustedUsers,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_others: usize,
    by_user: HashMap<u32, usize>,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: PlacesPerUser,
    uid: u32,
}

impl PlacesPerUser {
    /// Gives out `room` places.
    pub(crate) fn new(room: usize, trusted: TrustedUsers) -> PlacesPerUser {
        PlacesPerUser { taken: Arc::default(), room, trusted }
    }

    /// Returns how many a user who is not trusted may have when half of all places are taken.
    pub(crate) fn part(&self) -> usize {
        (self.room / 4).max(1)
    }

    /// Takes a place for this user, if there is one.
    pub(crate) fn take(&self, uid: u32) -> Option<Place> {
        let mut taken = self.lock();
        let of_user = taken.by_user.get(&uid).copied().unwrap_or_default();
        let is_trusted = self.trusted.contains(uid);
        let others = self.room - self.room.div_ceil(8);
        let may_have_more =
            is_trusted || taken.by_others < others && (of_user < self.part() || taken.all < self.room / 2);
        if taken.all >= self.room || !may_have_more {
            return None;
        }
        taken.all += 1;
        taken.by_others += usize::from(!is_trusted);
        taken.by_user.insert(uid, of_user + 1);
        Some(Place { places: self.clone(), uid })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // What is behind the lock is whole at every moment.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_trusted = self.places.trusted.contains(self.uid);
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        taken.by_others = taken.by_others.saturating_sub(usize::from(!is_trusted));
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

    fn places() -> PlacesPerUser {
        PlacesPerUser::new(16, TrustedUsers::new([OURS]))
    }

    /// Takes as many places for a user as there are, and returns how many.
    fn fill(places: &PlacesPerUser, uid: u32, taken: &mut Vec<Place>) -> usize {
        let before = taken.len();
        taken.extend(std::iter::from_fn(|| places.take(uid)));
        taken.len() - before
    }

    #[test]
    fn one_user_gets_half_while_it_is_free_and_then_a_quarter() {
        let places = places();
        let (mut one, mut two, mut three) = (Vec::new(), Vec::new(), Vec::new());
        assert_eq!(fill(&places, 1001, &mut one), 8);
        assert_eq!(fill(&places, 1002, &mut two), 4);
        assert_eq!(fill(&places, 1001, &mut one), 0);
        one.truncate(4);
        assert_eq!(fill(&places, 1001, &mut one), 0);
        assert_eq!(fill(&places, 1004, &mut three), 4);
        drop((one, two, three));
        let taken = places.lock();
        assert_eq!((taken.all, taken.by_others, taken.by_user.len()), (0, 0, 0));
    }

    #[test]
    fn many_users_together_leave_places_for_root_and_the_daemons_user() {
        let (places, mut taken) = (places(), Vec::new());
        for uid in 1001..1100 {
            fill(&places, uid, &mut taken);
        }
        assert_eq!(taken.len(), 14);
        assert!(places.take(1100).is_none());
        assert!(places.take(0).is_some() && places.take(OURS).is_some());
    }

    #[test]
    fn trusted_users_may_have_every_place() {
        for uid in [0, OURS] {
            assert_eq!(fill(&places(), uid, &mut Vec::new()), 16);
        }
    }

    #[test]
    fn a_small_room_is_not_closed_to_other_users() {
        let places = PlacesPerUser::new(2, TrustedUsers::new([OURS]));
        let _place = places.take(1001).unwrap();
        assert!(places.take(1001).is_none() && places.take(1002).is_none());
        assert!(places.take(0).is_some());
    }
}
