//! What waits for the journal: a queue a machine, all of them behind one lock. No clock and no thread.
//!
//! ```text
//!              put ──►  machine a  [····|·········]  ┐
//!                       machine b  [·|]              ├─►  take: a group, from each machine that has something
//!                       machine c  [|····]           ┘    committed: what was taken goes
//!                                  ▲                      failed: what was taken stays, in its place
//!                                  └ what a group under way holds
//! ```
//!
//! Each machine gives the same share to a group, so one that floods delays another's event by one group. At a bound `put`
//! gives the record back, for its machine to wait with; only when the journal is in trouble room is made ([`super::room`]).

use super::room::Dropped;
use qev_record::{Kind, Record, Severity};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Bounds, in bytes, records and time.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Of one machine.
    pub(crate) machine: usize,
    /// Of all machines together.
    pub(crate) all: usize,
    /// Of one machine, for what must not be lost, beside the rest.
    pub(crate) own: usize,
    /// Of all machines together, for what must not be lost.
    pub(crate) all_own: usize,
    /// Records of a group.
    pub(crate) group: usize,
    /// Bytes of a group.
    pub(crate) group_bytes: usize,
    /// How long what is left is tried to be committed when the daemon ends.
    pub(crate) last_tries: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            machine: 1 << 20,
            all: 256 << 20,
            own: 128 << 10,
            all_own: 32 << 20,
            group: 1000,
            group_bytes: 8 << 20,
            last_tries: Duration::from_secs(5),
        }
    }
}

/// A group has a record of each machine that has one, up to so many machines.
const MACHINES_A_GROUP: usize = 10_000;

/// What waits, of all machines.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(super) limits: Limits,
    pub(super) machines: HashMap<u64, Queue>,
    next_id: u64,
    /// Machines that have what no group holds yet.
    ready: VecDeque<u64>,
    /// Machines of which the group under way holds something.
    under_way: Vec<u64>,
    /// Bytes in the common room, of all machines.
    pub(super) bytes: usize,
    /// Bytes in the rooms of their own.
    own: usize,
    /// How many records wait, a group under way included.
    pub(super) waiting: usize,
    /// How many were ever put in.
    puts: u64,
    /// Commits have failed, or taken, for too long.
    pub(in crate::daemon) in_trouble: bool,
    /// How many groups were committed.
    commits: u64,
    /// How many records were dropped, ever.
    pub(super) dropped: u64,
    /// How large the next group may be: less after a failure.
    group: usize,
}

/// What waits, of one machine.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) entries: VecDeque<Entry>,
    /// How many entries, from the front, the group under way holds.
    pub(super) taken: usize,
    pub(super) bytes: usize,
    own: usize,
    is_ready: bool,
    /// Nobody puts anything in any more.
    is_left: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) bytes: usize,
    /// The how manyth it is of all machines' records.
    pub(super) number: u64,
    /// It is in the room of its own.
    pub(super) is_own: bool,
    /// Live followers saw it.
    pub(super) is_shown: bool,
}

#[derive(Debug)]
pub(super) enum Content {
    Record(Arc<Record>),
    /// It stands for what was dropped.
    Gap(Box<Dropped>),
}

/// What became of a record that was put in.
#[derive(Debug)]
pub(crate) enum Put {
    /// It waits for the journal.
    Waits,
    /// The same, and live followers are to see it now.
    Show(Arc<Record>),
    /// There is no room.
    Full(Arc<Record>),
}

impl Queues {
    pub(crate) fn new(limits: Limits) -> Queues {
        let group = limits.group;
        Queues {
            limits,
            machines: HashMap::new(),
            next_id: 0,
            ready: VecDeque::new(),
            under_way: Vec::new(),
            bytes: 0,
            own: 0,
            waiting: 0,
            puts: 0,
            in_trouble: false,
            commits: 0,
            dropped: 0,
            group,
        }
    }

    /// A queue for one more machine.
    pub(crate) fn enter(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.machines.insert(self.next_id, Queue::default());
        self.next_id
    }

    /// A machine puts nothing in any more: when what it has is committed it is forgotten.
    pub(crate) fn leave(&mut self, id: u64) {
        if let Some(queue) = self.machines.get_mut(&id) {
            queue.is_left = true;
            if queue.entries.is_empty() {
                self.machines.remove(&id);
            }
        }
    }

    /// Puts a record in, if there is room. When the journal is in trouble room is made.
    pub(crate) fn put(&mut self, id: u64, record: Arc<Record>) -> Put {
        self.puts = self.puts.wrapping_add(1);
        let bytes = weight(&record);
        let used = self.machines.get(&id).map_or((0, 0), |queue| (queue.bytes, queue.own));
        let is_own = is_precious(&record) && self.has_own_room(used.1, bytes);
        let mut fits = is_own || (self.fits(used.0, bytes) && self.fits_all(bytes));
        if !fits && !self.in_trouble {
            return Put::Full(record);
        }
        if !fits {
            fits = self.make_room(id, bytes, &record);
        }
        let show = self.in_trouble.then(|| Arc::clone(&record));
        if fits {
            let is_shown = show.is_some();
            self.push(id, Entry { content: Content::Record(record), bytes, number: self.puts, is_own, is_shown });
        } else {
            self.drop_incoming(id, &record);
        }
        show.map_or(Put::Waits, Put::Show)
    }

    fn has_own_room(&self, used: usize, bytes: usize) -> bool {
        used.saturating_add(bytes) <= self.limits.own && self.own.saturating_add(bytes) <= self.limits.all_own
    }

    /// A record that is larger than a bound has room where nothing else is.
    pub(super) fn has_room(&self, id: u64, bytes: usize) -> bool {
        self.fits_machine(id, bytes) && self.fits_all(bytes)
    }

    pub(super) fn fits_machine(&self, id: u64, bytes: usize) -> bool {
        self.fits(self.machines.get(&id).map_or(0, |queue| queue.bytes), bytes)
    }

    fn fits(&self, used: usize, bytes: usize) -> bool {
        used == 0 || used.saturating_add(bytes) <= self.limits.machine
    }

    pub(super) fn fits_all(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(bytes) <= self.limits.all
    }

    pub(super) fn push(&mut self, id: u64, entry: Entry) {
        let Some(queue) = self.machines.get_mut(&id) else { return };
        let (total, used) = match entry.is_own {
            true => (&mut self.own, &mut queue.own),
            false => (&mut self.bytes, &mut queue.bytes),
        };
        *total = total.saturating_add(entry.bytes);
        *used = used.saturating_add(entry.bytes);
        queue.entries.push_back(entry);
        self.waiting = self.waiting.saturating_add(1);
        if !queue.is_ready {
            queue.is_ready = true;
            self.ready.push_back(id);
        }
    }

    pub(super) fn mark_ready(&mut self, id: u64) {
        if let Some(queue) = self.machines.get_mut(&id)
            && !queue.is_ready
            && queue.taken < queue.entries.len()
        {
            queue.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// The next group: the same share of each machine that has something, then the rest in turn. What it holds stays in
    /// its place until [`Queues::committed`] or [`Queues::failed`] says what became of it.
    pub(crate) fn take(&mut self) -> Vec<Arc<Record>> {
        let turns = self.ready.len().min(MACHINES_A_GROUP);
        // After a failure one record at a time may still go where a thousand do not.
        let limit = if self.group < self.limits.group { self.group } else { self.group.max(turns) };
        let share = (limit / turns.max(1)).max(1);
        let mut group = Vec::new();
        let mut bytes = 0_usize;
        while group.len() < limit && bytes < self.limits.group_bytes {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(queue) = self.machines.get_mut(&id) else { continue };
            queue.is_ready = false;
            if queue.taken == 0 {
                self.under_way.push(id);
            }
            for entry in queue.entries.iter().skip(queue.taken).take(share.min(limit - group.len())) {
                if bytes >= self.limits.group_bytes {
                    break;
                }
                bytes = bytes.saturating_add(entry.bytes);
                queue.taken += 1;
                group.push(match &entry.content {
                    Content::Record(record) => Arc::clone(record),
                    Content::Gap(dropped) => Arc::new(dropped.record()),
                });
            }
            self.mark_ready(id);
        }
        group
    }

    /// The group under way is on disk. Whether that ended a trouble.
    pub(crate) fn committed(&mut self) -> bool {
        for id in std::mem::take(&mut self.under_way) {
            let Some(queue) = self.machines.get_mut(&id) else { continue };
            for entry in queue.entries.drain(..queue.taken) {
                let (total, used) = match entry.is_own {
                    true => (&mut self.own, &mut queue.own),
                    false => (&mut self.bytes, &mut queue.bytes),
                };
                *total = total.saturating_sub(entry.bytes);
                *used = used.saturating_sub(entry.bytes);
                self.waiting = self.waiting.saturating_sub(1);
            }
            queue.taken = 0;
            if queue.entries.is_empty() {
                // A burst should not cost room for ever.
                queue.entries.shrink_to(16);
                if queue.is_left {
                    self.machines.remove(&id);
                }
            }
        }
        self.commits = self.commits.wrapping_add(1);
        self.group = self.group.saturating_mul(2).min(self.limits.group);
        std::mem::take(&mut self.in_trouble)
    }

    /// The group under way is not on disk: what it held waits again, before all that came after it.
    pub(crate) fn failed(&mut self) {
        for id in std::mem::take(&mut self.under_way) {
            if let Some(queue) = self.machines.get_mut(&id) {
                queue.taken = 0;
                self.waiting = self.waiting.saturating_sub(queue.join_gaps());
            }
            self.mark_ready(id);
        }
        self.group = (self.group / 2).max(1);
    }

    /// From now on room is made at a bound. Gives back what live followers have not seen, in the order in which it came.
    pub(crate) fn begin_trouble(&mut self) -> Vec<Arc<Record>> {
        self.in_trouble = true;
        let mut hidden = Vec::new();
        for queue in self.machines.values_mut() {
            for entry in queue.entries.iter_mut().filter(|entry| !entry.is_shown) {
                entry.is_shown = true;
                if let Content::Record(record) = &entry.content {
                    hidden.push((entry.number, Arc::clone(record)));
                }
            }
        }
        hidden.sort_unstable_by_key(|(number, _)| *number);
        hidden.into_iter().map(|(_, record)| record).collect()
    }

    /// Whether there is something that no group holds.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many records wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many groups were committed.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// How many records were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether a record has room of its own: panics, quorum failures, shutdowns, and whatever else is critical.
fn is_precious(record: &Record) -> bool {
    let named = |name: &str| matches!(name, "GUEST_PANICKED" | "QUORUM_FAILURE" | "SHUTDOWN");
    record.severity == Severity::Critical
        || (record.kind == Kind::Event && record.event.as_ref().is_some_and(|event| named(event.as_str())))
}

/// About how much memory a record takes, in bytes.
pub(crate) fn weight(record: &Record) -> usize {
    const FIXED: usize = 512;
    let text = |json: &Option<qev_qmp::Json>| json.as_ref().map_or(0, |json| json.as_text().len());
    let unknown = record.unknown.iter().map(|(name, json)| name.len() + json.as_text().len() + 64);
    FIXED
        + record.summary.len()
        + record.reason.as_ref().map_or(0, |reason| reason.len())
        + record.event.as_ref().map_or(0, |event| event.as_str().len())
        + record.missed.keys().map(|name| name.as_str().len() + 64).sum::<usize>()
        + text(&record.data)
        + text(&record.extra)
        + unknown.sum::<usize>()
}
