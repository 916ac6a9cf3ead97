//! The recorder: one thread owns the journal, takes from all outboxes, commits in groups, publishes.
//!
//! ```text
//!   take ──► commit ──► published ──► take …            within 2 ms of what is quiet
//!              │ fails
//!              └─► told once, 50 ms to 1 s later again, in smaller groups; told again when it works
//! ```
//!
//! What is to be deleted is looked for when a segment was sealed, every minute, and when a commit fails: then the disk may be
//! full, so it goes at once and the commit is tried again. What was lost of the journal itself becomes a gap.
//!
//! A group is what came while the one before was written. A commit that fails costs nothing: its records stand in their
//! outboxes until they are on disk, or until [`super::outbox`] has to make room.

#[cfg(test)]
pub(crate) mod tests;

use super::figures::Figures;
use super::follow::{Follow, Wanted};
pub(crate) use super::outbox::Outbox;
use super::outbox::{Depot, Limits, Taken, mind};
use super::steady_clock::{SteadyClock, boot_time};
use super::tail::{Cursor, Tail};
use crate::exit::tell;
use crate::monitor::hostname;
use crate::printer::now;
use qev_journal::{AppendError, Journal, Reader};
use qev_qmp::Timestamp;
use qev_record::{Gap, Record};
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Groups are not written closer together than this while they are small: the disk has better things to do.
const BETWEEN: Duration = Duration::from_millis(2);
const SMALL: usize = 256;

/// How soon a commit that failed is tried again, at first and at last.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_LAST: Duration = Duration::from_secs(1);

/// How often old segments are looked for, also when none was sealed.
const RETAIN: Duration = Duration::from_secs(60);

/// How often the journal is told that nothing is missing while nothing comes: so much longer than it was may a gap after a
/// crash be.
const HEARD: Duration = Duration::from_secs(60);

/// How many steps of deleting are done at once when there is no room: more than a segment that is rewritten takes.
const STEPS_FOR_ROOM: usize = 1000;

/// The way from machines to the journal. Clones are for the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    depot: Arc<Depot>,
    reader: Reader,
    /// The thread has the other end.
    alive: Weak<()>,
}

/// The recorder's thread.
#[derive(Debug)]
pub(crate) struct Running {
    depot: Arc<Depot>,
    ended: oneshot::Receiver<bool>,
}

/// Where groups are committed: the journal, and in tests one that fails when it is told to.
pub(crate) trait Store: Send + 'static {
    /// Commits a group and numbers it, from the number on that it gives back; or does neither.
    fn append(&mut self, records: &mut [Arc<Record>]) -> Result<u64, Box<dyn Error>>;
    /// Deletes what is old, or does a part of that.
    fn retain(&mut self, now: Timestamp) -> Result<Retained, Box<dyn Error>>;
    /// There may be something to delete now.
    fn is_retention_due(&self) -> bool;
    /// What was lost of what was kept, since this was asked last: a reason for a gap each.
    fn losses(&mut self) -> Vec<Box<str>>;
    /// Everything that was received until now is committed.
    fn heard(&mut self, now: Timestamp);
}

/// What came of deleting what is old.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    /// What was found and mended since it was asked last, and what was lost, in words.
    news: Vec<String>,
    /// There is more to do.
    more: bool,
}

/// A journal, and how many of its findings were told.
struct Kept {
    journal: Journal,
    told: usize,
    /// What is to be told, from when room was made.
    news: Vec<String>,
    clock: SteadyClock,
}

impl Kept {
    fn new(journal: Journal) -> Kept {
        let clock = SteadyClock::new(now(), boot_time());
        Kept { told: journal.findings().len(), journal, news: Vec::new(), clock }
    }

    /// Deletes all at once what is to be deleted. Whether that was anything.
    fn make_room(&mut self) -> bool {
        let mut is_any = false;
        for _ in 0..STEPS_FOR_ROOM {
            let time = self.clock.look(now(), boot_time());
            let Ok(retained) = self.journal.retain(time) else { break };
            is_any |= retained.segments > 0 || retained.records > 0;
            self.news.extend(retained.problem.map(String::from));
            if !retained.more {
                break;
            }
        }
        is_any
    }
}

impl Store for Kept {
    fn append(&mut self, records: &mut [Arc<Record>]) -> Result<u64, Box<dyn Error>> {
        match self.journal.append_shared(records) {
            // Whatever the error is called, it may be room that is missing.
            Err(AppendError::Store { .. } | AppendError::Segment(_)) if self.make_room() => {
                Ok(self.journal.append_shared(records)?)
            }
            appended => Ok(appended?),
        }
    }

    fn retain(&mut self, now: Timestamp) -> Result<Retained, Box<dyn Error>> {
        let retained = self.journal.retain(self.clock.look(now, boot_time()))?;
        let mut news = std::mem::take(&mut self.news);
        news.extend(self.journal.findings().iter().skip(self.told).map(ToString::to_string));
        news.extend(self.journal.take_warnings().into_iter().map(String::from));
        news.extend(retained.problem.map(String::from));
        self.told = self.journal.findings().len();
        Ok(Retained { news, more: retained.more })
    }

    fn is_retention_due(&self) -> bool {
        self.journal.is_retention_due()
    }

    fn losses(&mut self) -> Vec<Box<str>> {
        self.journal.take_losses()
    }

    fn heard(&mut self, now: Timestamp) {
        // A disk on which this fails says so with the next group; until then a gap after a crash begins earlier.
        let _ = self.journal.heard(now);
    }
}

impl Recorder {
    /// Starts the thread, and a task in this runtime that minds it.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had, or the journal's directory cannot be read.
    pub(crate) fn start(journal: Journal) -> io::Result<(Recorder, Running)> {
        let reader = Reader::open(journal.dir()).map_err(io::Error::other)?;
        let last = journal.last_seq().unwrap_or(0);
        Recorder::start_with(Kept::new(journal), Tail::new(last), reader, Limits::default())
    }

    pub(crate) fn start_with(
        store: impl Store,
        tail: Tail,
        reader: Reader,
        limits: Limits,
    ) -> io::Result<(Recorder, Running)> {
        let last_tries = limits.last_tries;
        let depot = Depot::new(limits, tail);
        let (end, ended) = oneshot::channel();
        let of_thread = Arc::clone(&depot);
        let alive = Arc::new(());
        let is_alive = Arc::downgrade(&alive);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            let _alive = alive;
            let is_whole = record(&of_thread, store, last_tries);
            of_thread.tail.close();
            // Nobody may be waiting for it.
            let _ = end.send(is_whole);
        })?;
        tokio::spawn(mind(Arc::downgrade(&depot)));
        Ok((Recorder { depot: Arc::clone(&depot), reader, alive: is_alive }, Running { depot, ended }))
    }

    /// Whether the thread runs. One that only waits for the disk does.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Whether the journal has not committed anything for so long that records are shown without having been kept.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.depot.lock().queues.in_trouble
    }

    /// An outbox for one session of one machine.
    pub(crate) fn outbox(&self) -> Outbox {
        self.depot.outbox()
    }

    /// The records that are wanted, from behind this number on, for ever.
    pub(crate) fn follow(&self, wanted: Wanted, after: u64) -> Follow {
        let cursor = Cursor { seq: after, ..self.depot.tail.end() };
        Follow::new(Arc::clone(&self.depot), self.reader.clone(), wanted, cursor)
    }

    /// The number of the last record that is on disk, 0 when there is none.
    pub(crate) fn last(&self) -> u64 {
        self.depot.tail.end().seq
    }

    /// Figures about commits and followers.
    pub(crate) fn figures(&self) -> &Figures {
        &self.depot.figures
    }

    /// How many records wait for the journal, and how many were dropped since it could not be written.
    pub(crate) fn waiting_and_dropped(&self) -> (usize, u64) {
        let state = self.depot.lock();
        (state.queues.waiting(), state.queues.dropped())
    }

    /// To read the journal with.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Running {
    /// Commits what was put in and ends. What is put in later is lost. Whether all of it could be committed.
    pub(crate) async fn stop(self) -> bool {
        self.depot.close();
        // That it is gone is the end, too.
        self.ended.await.unwrap_or(false)
    }
}

/// Until nothing is left; `false` when something is, and cannot be committed.
fn record(depot: &Arc<Depot>, mut store: impl Store, last_tries: Duration) -> bool {
    let mut failures = Failures::default();
    let (mut retained, mut heard, mut more) = (Instant::now(), Instant::now(), false);
    let own = depot.outbox();
    let mut gaps: VecDeque<Arc<Record>> = VecDeque::new();
    loop {
        // A step between two groups, so that no machine waits for it.
        if more || store.is_retention_due() || retained.elapsed() >= RETAIN {
            retained = Instant::now();
            more = failures.retained(store.retain(now()));
        }
        gaps.extend(store.losses().iter().map(|reason| Arc::new(gap_of_journal(reason))));
        while let Some(gap) = gaps.pop_front() {
            // Where there is no room for it now there is after a group.
            if let Some(gap) = own.try_put(gap) {
                gaps.push_front(gap);
                break;
            }
        }
        let until_retained = RETAIN.saturating_sub(retained.elapsed());
        let mut group = match depot.take(if more { Duration::ZERO } else { until_retained }) {
            Taken::Group(group) => group,
            Taken::Nothing => {
                if heard.elapsed() >= HEARD {
                    heard = Instant::now();
                    store.heard(now());
                }
                continue;
            }
            Taken::Closed => return true,
        };
        let size = group.len();
        let begun = Instant::now();
        match store.append(&mut group) {
            Ok(first) => {
                heard = Instant::now();
                depot.figures.committed(begun.elapsed());
                let was_in_trouble = depot.committed(group, first);
                failures.ended(was_in_trouble, depot);
                if size < SMALL {
                    depot.pause(BETWEEN);
                }
            }
            Err(error) => {
                depot.figures.commit_failures.inc();
                depot.failed();
                let is_closed = depot.pause(failures.failed(&*error));
                if is_closed && failures.since_closed() >= last_tries {
                    let left = depot.lock().queues.waiting();
                    tell(&format!("{left} records are lost: the journal could not be written to the end"));
                    return false;
                }
                if is_closed {
                    // Nothing interrupts us any more.
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }
}

/// The gap about what the journal lost.
fn gap_of_journal(reason: &str) -> Record {
    let time = now();
    Record::gap_of_journal(hostname(), time, Gap { until: Some(time), ..Gap::default() }, reason)
}

/// What is told about commits that fail: that they do, once, and that they do no longer.
#[derive(Debug, Default)]
struct Failures {
    pause: Option<Duration>,
    /// Since when it fails although no more is put in.
    closed: Option<Instant>,
    dropped: u64,
    retain_failed: bool,
}

impl Failures {
    /// How soon to try again.
    fn failed(&mut self, error: &dyn Error) -> Duration {
        if self.pause.is_none() {
            tell(&format!("the journal cannot be written, it is tried again: {}", in_words(error)));
        }
        let pause = self.pause.map_or(AGAIN, |pause| pause.saturating_mul(2).min(AGAIN_AT_LAST));
        self.pause = Some(pause);
        pause
    }

    fn ended(&mut self, was_in_trouble: bool, depot: &Depot) {
        if self.pause.take().is_none() && !was_in_trouble {
            return;
        }
        let dropped = depot.lock().queues.dropped();
        let new = dropped.saturating_sub(std::mem::replace(&mut self.dropped, dropped));
        match new {
            0 => tell("the journal is written again: nothing that waited was lost"),
            1 => tell("the journal is written again: 1 record was lost, a gap says which"),
            new => tell(&format!("the journal is written again: {new} records were lost, gaps say which")),
        }
    }

    fn since_closed(&mut self) -> Duration {
        self.closed.get_or_insert_with(Instant::now).elapsed()
    }

    /// Whether there is more to do.
    fn retained(&mut self, retained: Result<Retained, Box<dyn Error>>) -> bool {
        match retained {
            Ok(Retained { news, more }) => {
                self.retain_failed = false;
                for finding in news {
                    tell(&finding);
                }
                return more;
            }
            Err(error) if !self.retain_failed => {
                self.retain_failed = true;
                tell(&format!("old segments cannot be deleted: {}", in_words(&*error)));
            }
            Err(_) => {}
        }
        false
    }
}

/// An error with what caused it.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(&format!(": {error}"));
        source = error.source();
    }
    words
}
