//! A wall clock that somebody sets deletes nothing: ages grow with a clock that nobody sets.

use crate::support::{AT, Scratch, numbers, some};
use qev_journal::{Journal, Now, Options, WallClock};
use qev_qmp::Timestamp;
use std::time::Duration;

const DAY: i64 = 86_400;

/// A month is kept, and each group begins a segment.
fn options() -> Options {
    Options::default().segment_bytes(1).keep_age(Duration::from_secs(30 * 86_400))
}

/// So many seconds after [`AT`] by the wall clock, and after the start of the host by the other.
fn at(wall: i64, elapsed: i64, wall_clock: WallClock) -> Now {
    let elapsed = Duration::from_secs(elapsed.try_into().unwrap());
    Now { wall: Timestamp::from_micros(AT + wall * 1_000_000), wall_clock, elapsed }
}

fn append(journal: &mut Journal, seconds: &[i64]) {
    for seconds in seconds {
        journal.append(&mut some("web1", [seconds * 1_000_000])).unwrap();
    }
}

/// Retains until there is no more to be done; what is left then, in seconds.
fn retain(dir: &Scratch, journal: &mut Journal, now: Now) -> Vec<i64> {
    while journal.retain(now).unwrap().more {}
    numbers(&dir.all()).into_iter().map(|micros| micros / 1_000_000).collect()
}

#[test]
fn a_wall_clock_that_jumps_forward_deletes_nothing() {
    use WallClock::{Settled, Unsettled};
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    append(&mut journal, &[0, 10, 20]);
    drop(journal);
    let mut journal = dir.open(options());
    append(&mut journal, &[30, 40]);
    let ten_years = 3650 * DAY;
    let all = [0, 10, 20, 30, 40];
    assert_eq!(retain(&dir, &mut journal, at(50, 0, Unsettled)), all);
    assert_eq!(retain(&dir, &mut journal, at(3650, 3600, Settled)), all);
    for wall_clock in [Unsettled, Settled] {
        assert_eq!(retain(&dir, &mut journal, at(ten_years, 3675, wall_clock)), all);
    }
    // What came meanwhile has times of then.
    append(&mut journal, &[ten_years]);
    assert_eq!(retain(&dir, &mut journal, at(3800, 3750, Unsettled)), [&all[..], &[ten_years]].concat());
    // A month later by the clock that nobody sets.
    let month = 30 * DAY;
    assert_eq!(retain(&dir, &mut journal, at(0, month - 60, Unsettled)).len(), 6);
    assert_eq!(retain(&dir, &mut journal, at(0, month + 60, Unsettled)), [ten_years]);
    assert_eq!(retain(&dir, &mut journal, at(0, month + 4000, Unsettled)), []);
}

#[test]
fn after_a_start_nothing_of_an_earlier_run_is_deleted_until_the_wall_clock_is_settled() {
    let dir = Scratch::new();
    let mut journal = dir.open(options());
    append(&mut journal, &[0, 10, 20, 40 * DAY]);
    drop(journal);
    let mut journal = dir.open(options());
    let now = |elapsed, wall_clock| at(60 * DAY + elapsed, elapsed, wall_clock);
    assert_eq!(retain(&dir, &mut journal, now(0, WallClock::Unsettled)), [0, 10, 20, 40 * DAY]);
    assert_eq!(retain(&dir, &mut journal, now(3599, WallClock::Unsettled)), [0, 10, 20, 40 * DAY]);
    assert_eq!(retain(&dir, &mut journal, now(3600, WallClock::Settled)), [40 * DAY]);
}

#[test]
fn segments_of_this_run_are_deleted_by_their_age_whatever_the_wall_clock_says() {
    let dir = Scratch::new();
    let mut journal = dir.open(options().keep_age(Duration::from_secs(5)));
    for n in 0..20 {
        append(&mut journal, &[n]);
        // The wall clock stands still.
        let left = retain(&dir, &mut journal, at(0, n, WallClock::Unsettled));
        assert!(left.len() <= 8 && left.last() == Some(&n), "{left:?}");
    }
    // The newest one ends when its last record is old enough, and goes with the others.
    assert_eq!(retain(&dir, &mut journal, at(0, 100, WallClock::Unsettled)), []);
}
