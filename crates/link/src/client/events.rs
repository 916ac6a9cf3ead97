//! Subscriptions: every event to everyone who asked, nobody held up by anybody.
//!
//! ```text
//!                           ┌─► queue (bounded) ─► Events::next
//!   connection's task ──► board ─► queue (bounded) ─► Events::next
//!                           └─► queue (bounded) ─► Events::next
//! ```
//!
//! The task that reads the connection does not wait for a subscriber. One that is too slow loses its oldest items and is
//! told how many; the others lose nothing. When the connection ends, each learns why, after what was still queued.
//!
//! The other kind of subscription ([`ConnectOptions::hold_back`](super::ConnectOptions)) loses nothing: while its queue is
//! full, the connection is not read.
//!
//! ```text
//!              full                                  half empty, or dropped
//!   (reading) ──────► held: what was read waits, replies too ──────────────► (reading)
//! ```

use super::execute::ExecuteError;
use super::receive::{MESSAGE_TIMEOUT, RECEIVE_BUDGET};
use qev_qmp::event::EventName;
use qev_qmp::frame::Garbage;
use qev_qmp::{Event, Greeting, Json, QmpError};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// What a subscriber gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventItem {
    /// An event.
    Event(Arc<Event>),
    /// So many items were lost here, because this subscriber did not take them in time.
    Missed(u64),
    /// An event, or an unknown object, was lost here, because it alone is larger than [`Capacity::bytes`] and another one as
    /// large was still waiting.
    TooLarge {
        /// The event's name; `None` when it was an unknown object.
        event: Option<EventName>,
        /// How many bytes its data has.
        bytes: usize,
    },
    /// Bytes that were no message. Whatever message they may have been is lost; what follows is not.
    Garbage(Arc<Garbage>),
    /// An object that is neither greeting nor event nor reply.
    Unknown(Arc<Json>),
    /// The peer greeted again: its session starts anew, and events between the two are lost.
    Restarted(Arc<Greeting>),
    /// The connection has ended, and this is why. It is the last item, and comes again if asked again.
    Ended(Arc<EndReason>),
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer closed it.
    EndOfFile,
    /// The peer closed it with bytes of ours unread: how a QEMU that exits may leave. It means what end of file means.
    Reset,
    /// Over TCP: nothing comes back from the peer's host any more, for [`VANISHED_AFTER`](crate::VANISHED_AFTER) at least or
    /// since the network says so. What became of the peer is not known.
    Vanished(io::Error),
    /// Reading failed.
    Io(io::Error),
    /// The peer greeted again and then refused the negotiation.
    NegotiationRefused(QmpError),
    /// We closed it: an incomplete message took more than [`MESSAGE_TIMEOUT`](super::MESSAGE_TIMEOUT).
    MessageTimeout,
    /// We closed it: all incomplete messages together exceeded [`RECEIVE_BUDGET`](super::RECEIVE_BUDGET), and this connection
    /// had the largest.
    MessageTooLarge,
    /// We closed it: it was asked for, or nobody held it any more.
    ClosedHere,
}

impl EndReason {
    /// Why a read failed.
    pub(crate) fn from_error(error: io::Error) -> EndReason {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => EndReason::Reset,
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => EndReason::Vanished(error),
            _ => EndReason::Io(error),
        }
    }

    /// Whether the other side left, in whichever of the ways.
    pub fn is_by_peer(&self) -> bool {
        matches!(self, EndReason::EndOfFile | EndReason::Reset)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::EndOfFile => "the peer closed the connection",
            EndReason::Reset => "the peer closed the connection without reading everything",
            EndReason::Vanished(_) => "nothing comes back from the peer's host any more",
            EndReason::Io(_) => "reading from the connection failed",
            EndReason::NegotiationRefused(_) => "the peer started the session anew and refused the negotiation",
            EndReason::MessageTimeout => {
                return write!(f, "the connection was closed here: a message was incomplete after {MESSAGE_TIMEOUT:?}");
            }
            EndReason::MessageTooLarge => {
                return write!(
                    f,
                    "the connection was closed here: it had the largest incomplete message when all together exceeded \
                     {} MiB",
                    RECEIVE_BUDGET >> 20
                );
            }
            EndReason::ClosedHere => "the connection was closed on this side",
        })
    }
}

impl std::error::Error for EndReason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EndReason::Io(error) | EndReason::Vanished(error) => Some(error),
            EndReason::NegotiationRefused(error) => Some(error),
            _ => None,
        }
    }
}

/// How much is kept for a subscriber that does not take it: whichever of the two is reached first.
///
/// One item that alone has more bytes is kept beside the others. While it waits, each further one is replaced by
/// [`EventItem::TooLarge`].
///
/// At this bound the oldest items are dropped and counted, or the connection is held back: as was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Items.
    pub items: usize,
    /// Bytes of the data that they carry, about.
    pub bytes: usize,
}

impl Default for Capacity {
    /// 1024 items, 1 MiB.
    fn default() -> Capacity {
        Capacity { items: 1024, bytes: 1 << 20 }
    }
}

impl From<usize> for Capacity {
    /// So many items, and at most 1 MiB; at least one.
    fn from(items: usize) -> Capacity {
        Capacity { items, ..Capacity::default() }
    }
}

/// One subscriber's end: events from the moment of the subscription on.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
    /// While someone wants events, the connection is wanted.
    pub(super) _keep: super::Orders,
}

impl Events {
    /// The next item; waits for it if there is none. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> EventItem {
        loop {
            if let Some(item) = self.try_next() {
                return item;
            }
            self.filled().await;
        }
    }

    /// The next item, if there is one already.
    pub fn try_next(&mut self) -> Option<EventItem> {
        loop {
            match self.queue.take()? {
                Entry::Item(item) => return Some(item),
                // Answers are among the events of a relay only, which asks for entries.
                Entry::Answer(_) => {}
            }
        }
    }

    /// The next event or answer, if there is one already.
    pub(super) fn try_entry(&self) -> Option<Entry> {
        self.queue.take()
    }

    /// Waits until there may be something. Nothing is lost when the future is dropped.
    pub(super) async fn filled(&self) {
        self.queue.filled.notified().await;
    }

    /// Where answers are put that are to stand among the events.
    pub(super) fn answers(&self) -> Weak<Queue> {
        Arc::downgrade(&self.queue)
    }
}

/// Where the connection's task puts what comes in.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<BoardState>,
    brake: Arc<Brake>,
}

/// What subscriptions hold the connection back with.
#[derive(Debug, Default)]
struct Brake {
    /// How many do.
    held: AtomicUsize,
    released: Notify,
}

#[derive(Debug, Default)]
struct BoardState {
    subscribers: Vec<Weak<Queue>>,
    ended: Option<Arc<EndReason>>,
}

impl Board {
    /// A subscription that loses its oldest items when it is full.
    pub(super) fn subscribe(&self, capacity: Capacity, keep: super::Orders) -> Events {
        self.add(capacity, None, keep)
    }

    /// A subscription that holds the connection back when it is full.
    pub(super) fn subscribe_holding_back(&self, capacity: Capacity, keep: super::Orders) -> Events {
        self.add(capacity, Some(Arc::clone(&self.brake)), keep)
    }

    fn add(&self, capacity: Capacity, brake: Option<Arc<Brake>>, keep: super::Orders) -> Events {
        let queue = Arc::new(Queue { capacity, brake, state: Mutex::default(), filled: Notify::new() });
        let mut state = lock(&self.state);
        match &state.ended {
            Some(reason) => queue.end(reason),
            None => state.subscribers.push(Arc::downgrade(&queue)),
        }
        Events { queue, _keep: keep }
    }

    pub(super) fn publish(&self, item: &EventItem) {
        // Those who have left are forgotten on the way.
        lock(&self.state).subscribers.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.put(item.clone());
                true
            }
            None => false,
        });
    }

    pub(super) fn end(&self, reason: EndReason) {
        let reason = Arc::new(reason);
        let mut state = lock(&self.state);
        for queue in state.subscribers.drain(..) {
            if let Some(queue) = queue.upgrade() {
                queue.end(&reason);
            }
        }
        state.ended = Some(reason);
    }

    /// Whether a subscription holds the connection back.
    pub(super) fn is_held(&self) -> bool {
        self.brake.held.load(Ordering::Acquire) > 0
    }

    /// Waits until one that held it back does so no more. Nothing is lost when the future is dropped.
    pub(super) async fn released(&self) {
        self.brake.released.notified().await;
    }

    /// Why the connection ended, if it has.
    pub(super) fn ended(&self) -> Option<Arc<EndReason>> {
        lock(&self.state).ended.clone()
    }
}

/// What stands in a queue.
#[derive(Debug)]
pub(crate) enum Entry {
    Item(EventItem),
    /// Boxed, because most entries are none.
    Answer(Box<Answer>),
}

/// The answer to a command of a relay.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the relay knows the command by.
    pub(crate) ticket: u64,
    pub(crate) result: Result<Json, ExecuteError>,
}

impl Entry {
    fn size(&self) -> usize {
        match self {
            Entry::Item(item) => size(item),
            Entry::Answer(answer) => 100 + answer.result.as_ref().map_or(0, |json| json.as_text().len()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    capacity: Capacity,
    /// Of one that holds back.
    brake: Option<Arc<Brake>>,
    state: Mutex<QueueState>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    items: VecDeque<Entry>,
    /// Of all items, but in a queue that drops not of the large one.
    bytes: usize,
    /// An item that alone is larger than the capacity waits in a queue that drops.
    has_large: bool,
    missed: u64,
    /// Whether it holds the connection back.
    held: bool,
    ended: Option<Arc<EndReason>>,
}

impl Queue {
    /// Answers are never dropped: there are no more than commands under way.
    pub(super) fn put_answer(&self, answer: Answer) {
        self.push(Entry::Answer(Box::new(answer)));
    }

    fn put(&self, item: EventItem) {
        self.push(Entry::Item(item));
    }

    fn push(&self, mut entry: Entry) {
        let mut state = lock(&self.state);
        if self.is_large(&entry) {
            match too_large(&entry).filter(|_| state.has_large) {
                Some(replacement) => entry = Entry::Item(replacement),
                None => state.has_large = true,
            }
        }
        if !self.is_large(&entry) {
            state.bytes += entry.size();
        }
        state.items.push_back(entry);
        if let Some(brake) = &self.brake {
            if !state.held && (state.items.len() >= self.capacity.items || state.bytes >= self.capacity.bytes) {
                state.held = true;
                brake.held.fetch_add(1, Ordering::AcqRel);
            }
            self.filled.notify_one();
            return;
        }
        while state.items.len() > 1 && (state.items.len() > self.capacity.items || state.bytes > self.capacity.bytes) {
            let oldest = state.items.iter().position(|entry| matches!(entry, Entry::Item(_)));
            let Some(oldest) = oldest.and_then(|at| state.items.remove(at)) else { break };
            self.removed(&oldest, &mut state);
            state.missed += 1;
        }
        self.filled.notify_one();
    }

    fn end(&self, reason: &Arc<EndReason>) {
        lock(&self.state).ended = Some(Arc::clone(reason));
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Entry> {
        let mut state = lock(&self.state);
        // The oldest were dropped: what was missed lies before all that is left.
        if state.missed > 0 {
            return Some(Entry::Item(EventItem::Missed(std::mem::take(&mut state.missed))));
        }
        let Some(item) = state.items.pop_front() else {
            return state.ended.clone().map(|reason| Entry::Item(EventItem::Ended(reason)));
        };
        self.removed(&item, &mut state);
        let half_empty = state.items.len() <= self.capacity.items / 2 && state.bytes <= self.capacity.bytes / 2;
        if state.held && (half_empty || state.items.is_empty()) {
            self.release(&mut state);
        }
        if state.items.is_empty() {
            // A burst is over: its space is given back.
            state.items = VecDeque::new();
        }
        Some(item)
    }

    /// Returns whether an entry is an item that a queue that drops does not count among the others.
    fn is_large(&self, entry: &Entry) -> bool {
        self.brake.is_none() && matches!(entry, Entry::Item(_)) && entry.size() > self.capacity.bytes
    }

    fn removed(&self, entry: &Entry, state: &mut QueueState) {
        if self.is_large(entry) {
            state.has_large = false;
        } else {
            state.bytes -= entry.size();
        }
    }

    fn release(&self, state: &mut QueueState) {
        state.held = false;
        if let Some(brake) = &self.brake {
            brake.held.fetch_sub(1, Ordering::AcqRel);
            brake.released.notify_one();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Who has left holds nobody back.
        let mut state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        if state.held {
            self.release(&mut state);
        }
    }
}

/// What stands for an item that is too large, where it has data at all.
fn too_large(entry: &Entry) -> Option<EventItem> {
    match entry {
        Entry::Item(EventItem::Event(event)) => {
            let bytes = event.data.as_ref().map_or(0, |data| data.as_text().len());
            Some(EventItem::TooLarge { event: Some(event.name.clone()), bytes })
        }
        Entry::Item(EventItem::Unknown(json)) => Some(EventItem::TooLarge { event: None, bytes: json.as_text().len() }),
        _ => None,
    }
}

fn size(item: &EventItem) -> usize {
    match item {
        EventItem::Event(event) => 100 + event.data.as_ref().map_or(0, |data| data.as_text().len()),
        EventItem::Unknown(json) => json.as_text().len(),
        _ => 100,
    }
}

/// What is behind these locks is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Dialect;
    use qev_qmp::Object;
    use qev_qmp::event::OtherEvent;

    fn event(name: &str, data: usize) -> EventItem {
        let data = (data > 0).then(|| Object::new().with("x", "x".repeat(data)));
        EventItem::Event(Arc::new(Event::new(&OtherEvent::new(name, data).into(), None, Dialect::Qemu)))
    }

    fn subscribe(board: &Board, capacity: impl Into<Capacity>) -> Events {
        board.subscribe(capacity.into(), tokio::sync::mpsc::channel(1).0)
    }

    /// What is there, in a few words.
    fn drain(events: &mut Events) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(item) = events.try_next() {
            found.push(match item {
                EventItem::Event(event) => event.name.to_string(),
                EventItem::Missed(n) => format!("missed {n}"),
                EventItem::TooLarge { event, bytes } => format!("{bytes} bytes of {event:?} too large"),
                EventItem::Ended(reason) => {
                    found.push(reason.to_string());
                    return found;
                }
                other => format!("{other:?}"),
            });
        }
        found
    }

    #[test]
    fn who_is_slow_learns_what_it_missed_and_others_miss_nothing() {
        let board = Board::default();
        let (mut slow, mut fast) = (subscribe(&board, 2), subscribe(&board, 8));
        for name in ["A", "B", "C", "D", "E"] {
            board.publish(&event(name, 0));
        }
        assert_eq!(drain(&mut slow), ["missed 3", "D", "E"]);
        assert_eq!(drain(&mut fast), ["A", "B", "C", "D", "E"]);
        board.publish(&event("F", 0));
        assert_eq!(drain(&mut slow), ["F"]);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_item_is_always_kept() {
        let board = Board::default();
        let mut events = subscribe(&board, Capacity { items: 100, bytes: 1000 });
        for name in ["A", "B", "C"] {
            board.publish(&event(name, 300));
        }
        assert_eq!(drain(&mut events), ["missed 1", "B", "C"]);
        let mut none = subscribe(&board, 0);
        board.publish(&event("C", 0));
        assert_eq!(drain(&mut none), ["C"]);
    }

    #[test]
    fn a_large_item_costs_no_other_and_a_second_one_is_reported_with_its_name_and_size() {
        let board = Board::default();
        let mut events = subscribe(&board, Capacity { items: 100, bytes: 1000 });
        for (name, bytes) in [("A", 300), ("B", 5000), ("C", 6000), ("D", 300)] {
            board.publish(&event(name, bytes));
        }
        let too_large = format!("{} bytes of {:?} too large", 6000 + r#"{"x": ""}"#.len(), Some(EventName::from("C")));
        assert_eq!(drain(&mut events), ["A", "B", &too_large, "D"]);
        board.publish(&event("E", 5000));
        assert_eq!(drain(&mut events), ["E"], "once the first is taken, the next is kept");
    }

    #[test]
    fn everyone_learns_why_it_ended_and_late_comers_too() {
        let board = Board::default();
        let mut early = subscribe(&board, 2);
        board.publish(&event("A", 0));
        board.end(EndReason::EndOfFile);
        let why = "the peer closed the connection";
        assert_eq!(drain(&mut early), ["A", why]);
        assert_eq!(drain(&mut early), [why], "and again");
        assert_eq!(drain(&mut subscribe(&board, 2)), [why]);
    }

    #[test]
    fn one_that_holds_back_loses_nothing_and_lets_go_when_it_is_half_empty() {
        let board = Board::default();
        let keep = tokio::sync::mpsc::channel(1).0;
        let mut events = board.subscribe_holding_back(Capacity { items: 4, bytes: 10_000 }, keep);
        for name in ["A", "B", "C"] {
            board.publish(&event(name, 0));
        }
        assert!(!board.is_held());
        board.publish(&event("D", 0));
        assert!(board.is_held());
        assert!(events.try_next().is_some() && board.is_held());
        assert!(events.try_next().is_some() && !board.is_held());
        board.publish(&event("E", 20_000));
        assert!(board.is_held(), "bytes hold back too");
        assert_eq!(drain(&mut events), ["C", "D", "E"]);
        assert!(!board.is_held());
    }

    #[test]
    fn one_that_has_left_holds_nobody_back() {
        let board = Board::default();
        let events = board.subscribe_holding_back(Capacity::from(1), tokio::sync::mpsc::channel(1).0);
        board.publish(&event("A", 0));
        assert!(board.is_held());
        drop(events);
        assert!(!board.is_held());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let board = Board::default();
        drop(subscribe(&board, 2));
        board.publish(&event("A", 0));
        assert!(lock(&board.state).subscribers.is_empty());
    }
}
