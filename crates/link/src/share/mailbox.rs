//! What waits for one client of a shared monitor, and the memory of all of them together.
//!
//! ```text
//!   upstream's task ── put ──► Mailbox ── take ──► the client's task
//!                        │ past its own bound, or the budget's and it holds the most
//!                        ▼
//!                     cut off: what waits is dropped, it is told why ──► killed, when that alone is too much still
//! ```
//!
//! Putting never waits: QEMU's connection is held back by nobody here.

use qev_qmp::{Json, QmpError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a letter takes beside its bytes, about.
const LETTER: usize = 64;

/// What a client takes that holds nothing, about: its tasks, its socket, its place.
const CLIENT: usize = 8 << 10;

/// How much memory the clients of all shared monitors that have this budget may take together.
///
/// When it is used up, the client that holds the most is cut off.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    clients: usize,
    state: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    used: usize,
    most: usize,
    next: u64,
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    mailbox: Arc<Mailbox>,
}

impl Budget {
    /// So many bytes and clients.
    pub fn new(bytes: usize, clients: usize) -> Arc<Budget> {
        Arc::new(Budget { bytes, clients, state: Mutex::default() })
    }

    /// How many bytes are held now, about.
    pub fn used(&self) -> usize {
        lock(&self.state).used
    }

    /// The most that were ever held at once.
    pub fn most(&self) -> usize {
        lock(&self.state).most
    }

    /// A place for one more client, with this bound of its own; nothing when all are taken.
    pub(super) fn enter(self: &Arc<Budget>, bound: usize) -> Option<Account> {
        let mut state = lock(&self.state);
        if state.holders.len() >= self.clients {
            return None;
        }
        state.next += 1;
        let id = state.next;
        let mailbox = Arc::new(Mailbox {
            id,
            bound,
            budget: Arc::clone(self),
            state: Mutex::default(),
            filled: Notify::new(),
            fate: Notify::new(),
            is_open: AtomicBool::new(false),
        });
        state.holders.insert(id, Holder { bytes: CLIENT, mailbox: Arc::clone(&mailbox) });
        state.used += CLIENT;
        state.most = state.most.max(state.used);
        drop(state);
        Some(Account { mailbox, own: 0 })
    }

    /// Somebody's share of it has changed. Makes room when there is none.
    fn change(&self, id: u64, more: usize, less: usize) {
        let mut state = lock(&self.state);
        let Some(holder) = state.holders.get_mut(&id) else { return };
        let before = holder.bytes;
        holder.bytes = (before + more).saturating_sub(less);
        let after = holder.bytes;
        state.used = (state.used + after).saturating_sub(before);
        while state.used > self.bytes {
            let most = state.holders.iter().max_by_key(|(_, holder)| holder.bytes).map(|(id, _)| *id);
            let Some(holder) = most.and_then(|id| state.holders.get_mut(&id)) else { break };
            let why = format!("all clients together may hold {} MiB, and this one held the most", self.bytes >> 20);
            let freed = match holder.mailbox.cut_off(&why) {
                Some(freed) => freed,
                // It is cut off already, and what it has still to be told is too much: its task ends at once.
                None => {
                    holder.mailbox.kill();
                    holder.bytes
                }
            };
            holder.bytes -= freed.min(holder.bytes);
            state.used = state.used.saturating_sub(freed);
        }
        state.most = state.most.max(state.used);
    }

    fn leave(&self, id: u64) {
        let mut state = lock(&self.state);
        if let Some(holder) = state.holders.remove(&id) {
            state.used = state.used.saturating_sub(holder.bytes);
        }
    }
}

/// A letter to a client's task.
#[derive(Debug)]
pub(super) enum Letter {
    /// An event, its line end included.
    Event(Arc<[u8]>),
    /// The answer to its command of this number.
    Answer { ticket: u64, result: Result<Json, QmpError> },
}

impl Letter {
    fn size(&self) -> usize {
        LETTER
            + match self {
                Letter::Event(line) => line.len(),
                Letter::Answer { result: Ok(json), .. } => json.as_text().len(),
                Letter::Answer { result: Err(error), .. } => error.desc.len(),
            }
    }
}

/// What waits for one client.
#[derive(Debug)]
pub(super) struct Mailbox {
    id: u64,
    bound: usize,
    budget: Arc<Budget>,
    state: Mutex<State>,
    filled: Notify,
    fate: Notify,
    /// Whether it has negotiated: only then it gets events.
    is_open: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// What the client's task holds beside the letters.
    own: usize,
    end: Option<End>,
    is_killed: bool,
}

/// There will be no more letters.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The machine has left: what waits is still written.
    Gone,
    /// What waits is still written, then this is told: what came next was lost.
    Lost(String),
    /// It is told this, and nothing else any more.
    CutOff(String),
}

impl Mailbox {
    /// What all shared monitors know the client by.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// From now on it gets events.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Puts a letter behind those that wait. At its bound the client is cut off.
    pub(super) fn put(&self, letter: Letter) {
        let size = letter.size();
        // Counted before it is there: it may be taken at once.
        self.budget.change(self.id, size, 0);
        let mut state = lock(&self.state);
        let is_full = state.bytes + state.own + size > self.bound;
        if state.end.is_none() && !is_full {
            state.letters.push_back(letter);
            state.bytes += size;
            drop(state);
            return self.filled.notify_one();
        }
        let is_cut_off_now = state.end.is_none();
        drop(state);
        self.budget.change(self.id, 0, size);
        if is_cut_off_now {
            let mib = self.bound >> 20;
            self.cut_off_here(&format!("it does not read: more than {mib} MiB would wait for it"));
        }
    }

    /// There will be no more letters, but those that wait are still to be written.
    pub(super) fn end(&self, end: End) {
        lock(&self.state).end.get_or_insert(end);
        self.filled.notify_one();
        self.fate.notify_one();
    }

    /// Cuts the client off, whatever it holds.
    pub(super) fn cut_off_here(&self, why: &str) {
        if let Some(freed) = self.cut_off(why) {
            self.budget.change(self.id, 0, freed);
        }
    }

    /// Drops what waits: so many bytes. Nothing when it was cut off before.
    fn cut_off(&self, why: &str) -> Option<usize> {
        let mut state = lock(&self.state);
        if matches!(state.end, Some(End::CutOff(_))) {
            return None;
        }
        state.end = Some(End::CutOff(why.to_owned()));
        state.letters = VecDeque::new();
        let freed = std::mem::take(&mut state.bytes);
        drop(state);
        self.filled.notify_one();
        self.fate.notify_one();
        Some(freed)
    }

    fn kill(&self) {
        lock(&self.state).is_killed = true;
        self.fate.notify_one();
    }
}

/// A client's task's end of its mailbox; its place is free when this is dropped.
#[derive(Debug)]
pub(super) struct Account {
    mailbox: Arc<Mailbox>,
    own: usize,
}

impl Account {
    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The task itself holds so many bytes now.
    pub(super) fn hold(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.own, bytes);
        if before != bytes {
            lock(&self.mailbox.state).own = bytes;
            self.mailbox.budget.change(self.mailbox.id, bytes, before);
        }
    }

    /// The next letter, if there is one.
    pub(super) fn take(&self) -> Option<Letter> {
        let mut state = lock(&self.mailbox.state);
        let letter = state.letters.pop_front()?;
        let size = letter.size();
        state.bytes -= size;
        if state.letters.is_empty() {
            // A burst is over: its space is given back.
            state.letters = VecDeque::new();
        }
        drop(state);
        self.mailbox.budget.change(self.mailbox.id, 0, size);
        Some(letter)
    }

    /// Waits until there may be a letter, or an end. Nothing is lost when the future is dropped.
    pub(super) async fn filled(&self) {
        self.mailbox.filled.notified().await;
    }

    /// Waits until its fate may have changed. Nothing is lost when the future is dropped.
    pub(super) async fn fate(&self) {
        self.mailbox.fate.notified().await;
    }

    /// Whether there will be no more letters but those that wait.
    pub(super) fn end(&self) -> Option<End> {
        lock(&self.mailbox.state).end.clone()
    }

    /// Whether the task is to end at once.
    pub(super) fn is_killed(&self) -> bool {
        lock(&self.mailbox.state).is_killed
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.mailbox.budget.leave(self.mailbox.id);
    }
}

/// What is behind these locks is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> Letter {
        Letter::Event(vec![b'x'; bytes].into())
    }

    fn why(account: &Account) -> String {
        match account.end() {
            Some(End::CutOff(why)) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn who_does_not_read_is_cut_off_at_its_own_bound_and_others_are_not() {
        let budget = Budget::new(64 << 20, 10);
        let (slow, other) = (budget.enter(1 << 20).unwrap(), budget.enter(1 << 20).unwrap());
        for _ in 0..20 {
            slow.mailbox().put(event(60_000));
        }
        other.mailbox().put(event(60_000));
        assert_eq!(why(&slow), "it does not read: more than 1 MiB would wait for it");
        assert!(slow.take().is_none() && other.end().is_none() && other.take().is_some());
        assert_eq!(budget.used(), 2 * CLIENT, "what waited is free again");
    }

    #[test]
    fn when_all_together_hold_too_much_the_greatest_is_cut_off() {
        let budget = Budget::new(1 << 20, 10);
        let (small, mut great) = (budget.enter(8 << 20).unwrap(), budget.enter(8 << 20).unwrap());
        great.hold(100_000);
        great.mailbox().put(event(800_000));
        small.mailbox().put(event(200_000));
        assert_eq!(why(&great), "all clients together may hold 1 MiB, and this one held the most");
        assert!(small.end().is_none() && !great.is_killed());
        // What it holds itself is too much as well.
        small.mailbox().put(event(90_000));
        great.hold(1_000_000);
        assert!(great.is_killed() && small.end().is_none());
        assert!(budget.used() <= 1 << 20 && budget.most() <= 2 << 20);
        drop(great);
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn there_are_places_for_so_many() {
        let budget = Budget::new(1 << 20, 2);
        let first = budget.enter(1 << 20).unwrap();
        let _second = budget.enter(1 << 20).unwrap();
        assert!(budget.enter(1 << 20).is_none());
        drop(first);
        assert!(budget.enter(1 << 20).is_some());
    }
}
