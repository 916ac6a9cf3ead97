//! Outboxes: each machine's way to the journal, with a bound, and what happens at it.
//!
//! | journal | below the bound | at the bound |
//! |---|---|---|
//! | commits | waits for the next group | the machine's task waits; nothing is ever dropped |
//! | has not committed for up to 5 s | the same | the same |
//! | for longer: in trouble | waits; live followers see it now, marked | what matters least is dropped, a gap counts it |
//!
//! Whether the journal is in trouble is counted in ticks of half a second, not read from a clock: when the whole program
//! was stopped for a minute, that is one long tick, and no reason to drop anything.

mod queues;
mod room;
#[cfg(test)]
mod tests;

pub(crate) use queues::{Limits, Put, Queues, weight};

use super::figures::Figures;
use super::tail::Tail;
use crate::exit::tell;
use qev_record::Record;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The journal is in trouble when it has not committed anything for so many ticks of this length: 5 s.
const TICK: Duration = Duration::from_millis(500);
const TICKS: u32 = 10;

/// One machine's way to the journal.
#[derive(Debug)]
pub(crate) struct Outbox {
    id: u64,
    depot: Arc<Depot>,
}

impl Outbox {
    /// Puts a record in. At the outbox's bound it waits for the journal, 5 s at most when that does not commit; then room
    /// is made by dropping what matters least, which a gap record tells. A record that is being put is lost when this
    /// future is dropped.
    pub(crate) async fn put(&self, record: Record) {
        self.put_all(vec![record]).await;
    }

    /// The same for records that came together, in their order.
    pub(crate) async fn put_all(&self, records: Vec<Record>) {
        let mut records = records.into_iter().map(Arc::new);
        let mut full = match self.depot.put(self.id, records.next(), &mut records) {
            None => return,
            Some(record) => record,
        };
        loop {
            let progress = self.depot.progress.notified();
            let mut progress = pin!(progress);
            progress.as_mut().enable();
            // There may be room since it was found full.
            match self.depot.put(self.id, Some(full), &mut records) {
                None => return,
                Some(record) => full = record,
            }
            progress.await;
        }
    }
}

impl Outbox {
    /// Puts a record in without waiting; gives it back when there is no room.
    pub(crate) fn try_put(&self, record: Arc<Record>) -> Option<Arc<Record>> {
        self.depot.put(self.id, Some(record), &mut std::iter::empty())
    }

    /// So many messages were missed before they could be put in.
    pub(crate) fn missed(&self, count: u64) {
        self.depot.figures.missed.inc_by(count);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.depot.lock().queues.leave(self.id);
    }
}

/// All outboxes: machines' tasks put in, the journal's thread takes out.
#[derive(Debug)]
pub(crate) struct Depot {
    state: Mutex<State>,
    /// For the thread: there is something to take, or it is to stop.
    work: Condvar,
    /// For machines' tasks: there may be room now.
    progress: Notify,
    /// For who counts ticks: something waits.
    begun: Notify,
    pub(crate) tail: Tail,
    pub(crate) figures: Arc<Figures>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queues: Queues,
    /// No more is put in.
    is_closed: bool,
}

impl Depot {
    pub(crate) fn new(limits: Limits, tail: Tail) -> Arc<Depot> {
        Arc::new(Depot {
            state: Mutex::new(State { queues: Queues::new(limits), is_closed: false }),
            work: Condvar::new(),
            progress: Notify::new(),
            begun: Notify::new(),
            tail,
            figures: Arc::default(),
        })
    }

    pub(crate) fn outbox(self: &Arc<Depot>) -> Outbox {
        Outbox { id: self.lock().queues.enter(), depot: Arc::clone(self) }
    }

    /// Puts a record in and those behind it; gives one back when there is no room for it.
    fn put(
        &self,
        id: u64,
        first: Option<Arc<Record>>,
        rest: &mut impl Iterator<Item = Arc<Record>>,
    ) -> Option<Arc<Record>> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let (had_ready, had_any) = (state.queues.has_ready(), state.queues.waiting() > 0);
        let mut full = None;
        let mut next = first.or_else(|| rest.next());
        while let Some(record) = next.take() {
            match state.queues.put(id, record) {
                Put::Full(record) => {
                    full = Some(record);
                    break;
                }
                // Under the lock, so that live followers see a machine's records in their order.
                Put::Show(record) => self.tail.show(&record),
                Put::Waits => {}
            }
            next = rest.next();
        }
        let (has_ready, has_any) = (state.queues.has_ready(), state.queues.waiting() > 0);
        drop(state);
        if has_ready && !had_ready {
            self.work.notify_one();
        }
        if has_any && !had_any {
            self.begun.notify_one();
        }
        full
    }

    /// The next group, when there is one within this time; the thread waits here.
    pub(crate) fn take(&self, within: Duration) -> Taken {
        let state = self.lock();
        let idle = |state: &mut State| !state.queues.has_ready() && !state.is_closed;
        let waited = self.work.wait_timeout_while(state, within, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let group = state.queues.take();
        match group.is_empty() {
            false => Taken::Group(group),
            true if state.is_closed => Taken::Closed,
            true => Taken::Nothing,
        }
    }

    /// Waits so long; less when no more is put in. Whether that is so.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let waited = self.work.wait_timeout_while(self.lock(), time, |state| !state.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// The group under way is on disk, numbered from this number on. Whether that ended a trouble.
    pub(crate) fn committed(&self, mut group: Vec<Arc<Record>>, first: u64) -> bool {
        let mut state = self.lock();
        let was_in_trouble = state.queues.committed();
        for (seq, record) in (first..).zip(&mut group) {
            // The queues have let go of it, so nothing is copied.
            Arc::make_mut(record).seq = Some(seq);
        }
        let gone = self.tail.publish(group, was_in_trouble);
        drop(state);
        drop(gone);
        self.progress.notify_waiters();
        was_in_trouble
    }

    /// The group under way is not on disk.
    pub(crate) fn failed(&self) {
        self.lock().queues.failed();
    }

    /// No more is put in: what is there is committed, then the thread ends.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
        self.progress.notify_waiters();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unless there was a commit after so many.
    fn begin_trouble(&self, commits: u64) {
        let mut state = self.lock();
        if state.queues.commits() != commits {
            return;
        }
        for record in state.queues.begin_trouble() {
            self.tail.show(&record);
        }
        drop(state);
        self.progress.notify_waiters();
    }
}

/// What there was to take.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Records to commit together.
    Group(Vec<Arc<Record>>),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// Counts the ticks without a commit while something waits; for as long as there are outboxes.
pub(crate) async fn mind(depot: Weak<Depot>) {
    loop {
        let Some(strong) = depot.upgrade() else { return };
        if strong.lock().queues.waiting() == 0 {
            // Not held while nothing happens, so that the last outbox ends this, too.
            let begun = strong.begun.notified();
            let mut begun = pin!(begun);
            begun.as_mut().enable();
            if strong.lock().queues.waiting() == 0 && tokio::time::timeout(60 * TICK, begun).await.is_err() {
                continue;
            }
        }
        let commits = strong.lock().queues.commits();
        drop(strong);
        if !goes_without(&depot, commits).await {
            continue;
        }
        let Some(strong) = depot.upgrade() else { return };
        strong.begin_trouble(commits);
        drop(strong);
        tell("the journal has not committed anything for 5 s: records are shown without having been kept");
        while depot.upgrade().is_some_and(|depot| depot.lock().queues.commits() == commits) {
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Whether so many ticks pass without a commit, while something waits.
async fn goes_without(depot: &Weak<Depot>, commits: u64) -> bool {
    for _ in 0..TICKS {
        tokio::time::sleep(TICK).await;
        let Some(depot) = depot.upgrade() else { return false };
        let state = depot.lock();
        if state.queues.commits() != commits || state.queues.waiting() == 0 {
            return false;
        }
    }
    true
}
