//! Room in an outbox while the journal cannot be written: what matters least is dropped, and a gap says what.
//!
//! Dropped is by severity, the oldest first; what is no event stays longer than any event. There is one gap for what was
//! dropped of a machine, where the first of it stood.

use super::queues::{Content, Entry, Queue, Queues};
use qev_qmp::{EventName, Timestamp};
use qev_record::{Gap, Kind, Record, Severity};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// When room is made it is more than for one record, so that not every record pays for looking through its queue.
const AT_ONCE: usize = 16;

/// How many names a gap has. A machine may make up as many as it likes.
const NAMES: usize = 64;
const NAME_BYTES: usize = 128;

const REASON: &str = "the journal could not be written";

/// What was dropped of one machine.
#[derive(Debug)]
pub(crate) struct Dropped {
    /// Whose it was.
    like: Arc<Record>,
    missed: BTreeMap<EventName, u64>,
    /// Records that are no events, and events beyond the names that a gap has.
    others: u64,
    from: Timestamp,
    until: Timestamp,
}

impl Dropped {
    fn new(record: &Record) -> Dropped {
        let mut like = Record::attached(Arc::clone(&record.host), Arc::clone(&record.machine), record.received);
        like.machine_id.clone_from(&record.machine_id);
        like.session.clone_from(&record.session);
        like.via.clone_from(&record.via);
        let (from, until) = (record.received, record.received);
        Dropped { like: Arc::new(like), missed: BTreeMap::new(), others: 0, from, until }
    }

    fn count(&mut self, record: &Record) {
        self.from = self.from.min(record.received);
        self.until = self.until.max(record.received);
        match &record.event {
            Some(event) => self.add(event, 1),
            None if record.kind == Kind::Gap => {
                // What was known to be missing still is.
                for (event, n) in &record.missed {
                    self.add(event, *n);
                }
                self.from = record.from.map_or(self.from, |from| self.from.min(from));
            }
            None => self.others = self.others.saturating_add(1),
        }
    }

    fn add(&mut self, event: &EventName, n: u64) {
        let fits = event.as_str().len() <= NAME_BYTES && (self.missed.len() < NAMES || self.missed.contains_key(event));
        let count = if fits { self.missed.entry(event.clone()).or_default() } else { &mut self.others };
        *count = count.saturating_add(n);
    }

    fn join(&mut self, other: &Dropped) {
        for (event, n) in &other.missed {
            self.add(event, *n);
        }
        self.others = self.others.saturating_add(other.others);
        self.from = self.from.min(other.from);
        self.until = self.until.max(other.until);
    }

    /// The gap.
    pub(super) fn record(&self) -> Record {
        let gap = Gap { from: Some(self.from), until: Some(self.until), missed: self.missed.clone() };
        let reason = match self.others {
            0 => REASON.to_owned(),
            1 => format!("{REASON} (1 other record is missing, too)"),
            others => format!("{REASON} ({others} other records are missing, too)"),
        };
        let (host, machine) = (Arc::clone(&self.like.host), Arc::clone(&self.like.machine));
        let mut record = Record::gap(host, machine, self.until, gap, &reason);
        // Also when no event is among it.
        record.severity = Severity::Error;
        record.machine_id.clone_from(&self.like.machine_id);
        record.session.clone_from(&self.like.session);
        record.via.clone_from(&self.like.via);
        record
    }
}

/// How much a record matters, more being more.
fn importance(record: &Record) -> (bool, Severity) {
    (record.kind != Kind::Event, record.severity)
}

impl Queues {
    /// Makes room for a record in its machine's queue, by dropping what matters no more than it does. Whether there is
    /// room then.
    pub(super) fn make_room(&mut self, id: u64, bytes: usize, incoming: &Record) -> bool {
        if !self.fits_machine(id, bytes) {
            let enough = bytes.max(self.limits.machine / AT_ONCE);
            self.drop_some(id, enough, incoming);
        }
        // Whoever has the most pays where all together are too many.
        while self.fits_machine(id, bytes) && !self.fits_all(bytes) {
            let largest = self.machines.iter().max_by_key(|(_, queue)| queue.bytes).map(|(id, _)| *id);
            let enough = bytes.max(self.limits.machine / AT_ONCE);
            if largest.is_none_or(|largest| !self.drop_some(largest, enough, incoming)) {
                return false;
            }
        }
        self.has_room(id, bytes)
    }

    /// Drops so many bytes of one machine. Whether anything was dropped.
    fn drop_some(&mut self, id: u64, enough: usize, incoming: &Record) -> bool {
        let Some(queue) = self.machines.get_mut(&id) else { return false };
        let bound = importance(incoming);
        let mut victims = Vec::new();
        for (at, entry) in queue.entries.iter().enumerate().skip(queue.taken).filter(|(_, entry)| !entry.is_own) {
            if let Content::Record(record) = &entry.content {
                victims.push((importance(record), at));
            }
        }
        victims.retain(|(importance, _)| *importance <= bound);
        victims.sort_unstable();
        let mut chosen = std::collections::BTreeSet::new();
        let mut freed = 0_usize;
        for (_, at) in victims {
            if freed >= enough {
                break;
            }
            freed = freed.saturating_add(queue.entries.get(at).map_or(0, |entry| entry.bytes));
            chosen.insert(at);
        }
        let Some(first) = chosen.first().copied() else { return false };
        let mut gap = None;
        let mut kept = VecDeque::with_capacity(queue.entries.len());
        let mut place = None;
        let mut gaps = 0_usize;
        for (at, entry) in std::mem::take(&mut queue.entries).into_iter().enumerate() {
            if at == first && place.is_none() {
                place = Some(kept.len());
            }
            match entry.content {
                Content::Record(record) if chosen.contains(&at) => {
                    gap.get_or_insert_with(|| Dropped::new(&record)).count(&record);
                }
                Content::Gap(dropped) if at >= queue.taken => {
                    place = place.or(Some(kept.len()));
                    gaps += 1;
                    match &mut gap {
                        Some(gap) => gap.join(&dropped),
                        none => *none = Some(*dropped),
                    }
                }
                content => kept.push_back(Entry { content, ..entry }),
            }
        }
        if let Some(gap) = gap {
            let entry =
                Entry { content: Content::Gap(Box::new(gap)), bytes: 0, number: 0, is_own: false, is_shown: true };
            kept.insert(place.unwrap_or(kept.len()), entry);
        }
        queue.entries = kept;
        queue.bytes = queue.bytes.saturating_sub(freed);
        self.bytes = self.bytes.saturating_sub(freed);
        self.dropped = self.dropped.saturating_add(u64::try_from(chosen.len()).unwrap_or(u64::MAX));
        self.waiting = self.waiting.saturating_add(1).saturating_sub(chosen.len().saturating_add(gaps));
        self.mark_ready(id);
        true
    }

    /// There is no room for a record: everything that waits matters more.
    pub(super) fn drop_incoming(&mut self, id: u64, record: &Record) {
        self.dropped = self.dropped.saturating_add(1);
        let Some(queue) = self.machines.get_mut(&id) else { return };
        if let Some(dropped) = queue.gap() {
            dropped.count(record);
            return;
        }
        let mut dropped = Dropped::new(record);
        dropped.count(record);
        self.push(
            id,
            Entry { content: Content::Gap(Box::new(dropped)), bytes: 0, number: 0, is_own: false, is_shown: true },
        );
    }
}

impl Queue {
    /// The gap that no group holds, if there is one.
    fn gap(&mut self) -> Option<&mut Dropped> {
        self.entries.iter_mut().skip(self.taken).find_map(|entry| match &mut entry.content {
            Content::Gap(dropped) => Some(&mut **dropped),
            Content::Record(_) => None,
        })
    }

    /// After a group that failed there may be the gap that it held, and one that came meanwhile: they become one. How
    /// many entries went.
    pub(super) fn join_gaps(&mut self) -> usize {
        let is_gap = |entry: &Entry| matches!(entry.content, Content::Gap(_));
        if self.entries.iter().filter(|entry| is_gap(entry)).count() < 2 {
            return 0;
        }
        let before = self.entries.len();
        let mut kept: VecDeque<Entry> = VecDeque::with_capacity(self.entries.len());
        let mut first: Option<usize> = None;
        for entry in std::mem::take(&mut self.entries) {
            if let (Content::Gap(dropped), Some(at)) = (&entry.content, first) {
                if let Some(Entry { content: Content::Gap(gap), .. }) = kept.get_mut(at) {
                    gap.join(dropped);
                }
                continue;
            }
            if is_gap(&entry) {
                first = Some(kept.len());
            }
            kept.push_back(entry);
        }
        self.entries = kept;
        before.saturating_sub(self.entries.len())
    }
}
