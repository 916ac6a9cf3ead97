//! The end of the journal in memory, for who follows it closely; and what is shown while the journal is in trouble.
//!
//! ```text
//!   journal on disk   1 2 3 4 5 6 7 8 9
//!   tail                        6 7 8 9 ◄── published when committed
//!   live                                · · ·  without a number: shown, not kept (yet)
//! ```
//!
//! While nobody follows the tail is empty: a flood costs no memory then. Both have bounds. Who is behind the tail reads the journal; who is behind the live ones misses some, and gets them
//! with their numbers when the journal works again, or a gap that counts them.

use qev_record::Record;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How much the tail holds, and how much of it one look gives.
const RECORDS: usize = 16_384;
const BYTES: usize = 16 << 20;
const A_LOOK: usize = 256;

#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    news: Notify,
    /// How many records it holds.
    room: usize,
}

#[derive(Debug)]
struct State {
    /// What was committed last.
    records: Ring,
    /// The largest number that was published.
    last: u64,
    /// Everything with a larger number is in the tail.
    floor: u64,
    live: Ring,
    /// How many live ones there were.
    shown: u64,
    /// How many follow.
    followers: usize,
    is_closed: bool,
}

/// Records with the number by which a cursor finds them.
#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<(u64, Arc<Record>)>,
    bytes: usize,
}

/// Where a follower stands: behind which record, and behind which live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: u64,
    pub(crate) live: u64,
}

/// What a follower finds.
#[derive(Debug)]
pub(crate) enum Look {
    /// The next records.
    Records(Vec<Arc<Record>>),
    /// What comes next is in the journal alone; this is the last number there.
    Behind(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    End,
}

impl Tail {
    /// The tail of a journal with this last number.
    pub(crate) fn new(last: u64) -> Tail {
        Tail::with_room(last, RECORDS)
    }

    pub(crate) fn with_room(last: u64, room: usize) -> Tail {
        let (records, live) = (Ring::default(), Ring::default());
        let state = State { records, last, floor: last, live, shown: 0, followers: 0, is_closed: false };
        Tail { state: Mutex::new(state), news: Notify::new(), room }
    }

    /// Adds what was committed. After a trouble live records are here, or counted in a gap. What it gives back is not
    /// needed any more: to be dropped where nobody waits for it.
    pub(crate) fn publish(&self, records: Vec<Arc<Record>>, after_trouble: bool) -> Vec<Arc<Record>> {
        let mut state = self.lock();
        let mut gone = Vec::new();
        if after_trouble {
            state.live = Ring::default();
        }
        if state.followers == 0 {
            state.last = records.iter().filter_map(|record| record.seq).max().unwrap_or(state.last);
            state.floor = state.last;
            gone = records;
            gone.extend(std::mem::take(&mut state.records).records.into_iter().map(|(_, record)| record));
            return gone;
        }
        for record in records {
            let Some(seq) = record.seq else { continue };
            state.last = seq;
            let floor = state.records.push(seq, record, self.room, &mut gone);
            state.floor = floor.unwrap_or(state.floor);
        }
        drop(state);
        self.news.notify_waiters();
        gone
    }

    /// One more follows.
    pub(crate) fn enter(&self) {
        let mut state = self.lock();
        state.followers = state.followers.saturating_add(1);
    }

    /// One follows no more.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.followers = state.followers.saturating_sub(1);
    }

    /// Shows a record that is not on disk.
    pub(crate) fn show(&self, record: &Record) {
        let mut record = record.clone();
        record.durable = Some(false);
        let mut state = self.lock();
        state.shown = state.shown.saturating_add(1);
        let shown = state.shown;
        let mut gone = Vec::new();
        state.live.push(shown, Arc::new(record), self.room, &mut gone);
        drop(state);
        self.news.notify_waiters();
    }

    /// What is behind a cursor, which moves there. What was committed comes first.
    pub(crate) fn look(&self, cursor: &mut Cursor) -> Look {
        let state = self.lock();
        if cursor.seq < state.floor {
            return Look::Behind(state.last);
        }
        let (records, seq) = state.records.after(cursor.seq);
        if let Some(seq) = seq {
            cursor.seq = seq;
            return Look::Records(records);
        }
        let (records, live) = state.live.after(cursor.live);
        if let Some(live) = live {
            cursor.live = live;
            return Look::Records(records);
        }
        if state.is_closed { Look::End } else { Look::Nothing }
    }

    /// Behind everything that was committed or shown.
    pub(crate) fn end(&self) -> Cursor {
        let state = self.lock();
        Cursor { seq: state.last, live: state.shown }
    }

    /// Nothing will be published any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_waiters();
    }

    /// To wait for what comes after this call.
    pub(crate) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Adds a record; gives back the number of the last one that had to go for it.
    fn push(&mut self, number: u64, record: Arc<Record>, room: usize, all_gone: &mut Vec<Arc<Record>>) -> Option<u64> {
        self.bytes = self.bytes.saturating_add(super::outbox::weight(&record));
        self.records.push_back((number, record));
        let mut gone = None;
        while self.records.len() > room || (self.bytes > BYTES && self.records.len() > 1) {
            let (number, record) = self.records.pop_front()?;
            self.bytes = self.bytes.saturating_sub(super::outbox::weight(&record));
            gone = Some(number);
            all_gone.push(record);
        }
        gone
    }

    /// The next records behind a number, and the number of the last of them.
    fn after(&self, number: u64) -> (Vec<Arc<Record>>, Option<u64>) {
        let start = self.records.partition_point(|(at, _)| *at <= number);
        let found: Vec<_> = self.records.range(start..).take(A_LOOK).collect();
        let last = found.last().map(|(at, _)| *at);
        (found.into_iter().map(|(_, record)| Arc::clone(record)).collect(), last)
    }
}
