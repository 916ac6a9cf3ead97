//! How much memory messages take that are received in part.
//!
//! A peer may send the beginning of a message and never its end. Before the greeting a message has at most
//! [`qev_qmp::client::MAX_GREETING`] bytes. After it three limits hold:
//!
//! | limit | at the limit |
//! |---|---|
//! | one message: [`qev_qmp::frame::MAX_FRAME`] | the message is dropped and reported |
//! | all clients of this process together: [`RECEIVE_BUDGET`] | the connection that holds most is closed |
//! | the time of one message: [`MESSAGE_TIMEOUT`] | its connection is closed |
//!
//! The last two count only what is larger than [`COUNTED_FROM`], so most connections never take the lock.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many bytes of incomplete messages all clients of this process may hold together.
pub const RECEIVE_BUDGET: usize = 256 << 20;

/// How long a message larger than 4 KiB may take from its first byte to its last.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Incomplete messages are counted from this size on, in bytes.
const COUNTED_FROM: usize = 4 << 10;

/// The budget of this process.
static BUDGET: LazyLock<Arc<ReceiveBudget>> = LazyLock::new(|| ReceiveBudget::new(RECEIVE_BUDGET));

/// A limit for the incomplete messages of many connections.
#[derive(Debug)]
pub(super) struct ReceiveBudget {
    limit: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    total: usize,
    next: u64,
    connections: BTreeMap<u64, (usize, Arc<Notify>)>,
}

impl ReceiveBudget {
    fn new(limit: usize) -> Arc<ReceiveBudget> {
        Arc::new(ReceiveBudget { limit, counted: Mutex::default() })
    }

    /// What is behind the lock is whole at every moment, so a panic elsewhere does not spoil it.
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The incomplete message of one connection.
#[derive(Debug)]
pub(super) struct Incomplete {
    budget: Arc<ReceiveBudget>,
    /// Its number in the budget, while it is counted.
    number: Option<u64>,
    /// When it was counted first.
    began: Option<Instant>,
    /// The connection is to be closed. This is kept until it is asked for.
    closed: Arc<Notify>,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It holds most when the budget is used up.
    Memory,
    /// A message took too long.
    Time,
}

impl Incomplete {
    /// That of a new connection, in the budget of this process.
    pub(super) fn new() -> Incomplete {
        Incomplete::in_budget(Arc::clone(&BUDGET))
    }

    fn in_budget(budget: Arc<ReceiveBudget>) -> Incomplete {
        Incomplete { budget, number: None, began: None, closed: Arc::default() }
    }

    /// A message was completed: what comes now belongs to another.
    pub(super) fn completed(&mut self) {
        self.began = None;
    }

    /// The incomplete message has so many bytes now.
    pub(super) fn is_now(&mut self, bytes: usize) {
        if bytes < COUNTED_FROM {
            if self.number.is_some() {
                self.forget();
            }
            self.began = None;
            return;
        }
        self.began.get_or_insert_with(Instant::now);
        let mut counted = self.budget.counted();
        let number = *self.number.get_or_insert_with(|| {
            counted.next += 1;
            counted.next
        });
        let before = counted.connections.insert(number, (bytes, Arc::clone(&self.closed)));
        counted.total = counted.total.saturating_sub(before.map_or(0, |(bytes, _)| bytes)).saturating_add(bytes);
        while counted.total > self.budget.limit {
            let largest = counted.connections.iter().max_by_key(|(_, (bytes, _))| *bytes).map(|(number, _)| *number);
            let Some((bytes, closed)) = largest.and_then(|number| counted.connections.remove(&number)) else { break };
            counted.total = counted.total.saturating_sub(bytes);
            closed.notify_one();
        }
    }

    /// Waits until the connection is to be closed. Nothing is lost when the future is dropped.
    pub(super) async fn exceeded(&self) -> Excess {
        let Some(began) = self.began else {
            self.closed.notified().await;
            return Excess::Memory;
        };
        tokio::select! {
            () = self.closed.notified() => Excess::Memory,
            () = tokio::time::sleep_until(began + MESSAGE_TIMEOUT) => Excess::Time,
        }
    }

    fn forget(&mut self) {
        let mut counted = self.budget.counted();
        if let Some((bytes, _)) = self.number.take().and_then(|number| counted.connections.remove(&number)) {
            counted.total = counted.total.saturating_sub(bytes);
        }
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    async fn is_closed(incomplete: &Incomplete) -> bool {
        tokio::time::timeout(Duration::ZERO, incomplete.exceeded()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_holds_most_is_closed_and_the_others_go_on() {
        let budget = ReceiveBudget::new(10 * MIB);
        let [mut small, mut large, mut last] = [(); 3].map(|()| Incomplete::in_budget(Arc::clone(&budget)));
        small.is_now(3 * MIB);
        large.is_now(6 * MIB);
        assert!(!is_closed(&small).await && !is_closed(&large).await);
        last.is_now(2 * MIB);
        assert!(is_closed(&large).await && !is_closed(&small).await && !is_closed(&last).await);
        drop(large);
        assert_eq!(budget.counted().total, 5 * MIB);
        small.is_now(100);
        assert_eq!(budget.counted().total, 2 * MIB);
        drop(last);
        assert_eq!(budget.counted().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_has_a_minute_and_each_has_its_own() {
        let mut incomplete = Incomplete::in_budget(ReceiveBudget::new(10 * MIB));
        incomplete.is_now(MIB);
        tokio::time::advance(MESSAGE_TIMEOUT - Duration::from_secs(1)).await;
        assert!(!is_closed(&incomplete).await);
        incomplete.completed();
        incomplete.is_now(MIB);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!is_closed(&incomplete).await);
        tokio::time::advance(MESSAGE_TIMEOUT).await;
        assert_eq!(incomplete.exceeded().await, Excess::Time);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_message_may_take_its_time() {
        let mut incomplete = Incomplete::in_budget(ReceiveBudget::new(MIB));
        incomplete.is_now(1000);
        tokio::time::advance(MESSAGE_TIMEOUT * 10).await;
        assert!(!is_closed(&incomplete).await);
    }
}
