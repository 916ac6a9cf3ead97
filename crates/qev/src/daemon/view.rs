//! What people look at: how each machine is and what its last hour was like, kept from the records as they come.
//!
//! ```text
//!   Recorder ──► follow ──► one thread: Machines::hear ──► snapshot ──► JSON for the page
//!   journal ──► start ──────┘      └─► Counted ─────────────────────► /metrics
//! ```
//!
//! The thread alone changes what is known. Who reads takes a snapshot, which shares the machines, and makes text of it with
//! no lock held. What is about the past is read from the journal, within a budget.
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | machines | 20,480 | those that were heard longest ago are forgotten |
//! | slots, replicas, quorums of a machine | 256, 64, 16 | the one that was heard longest ago is forgotten, and counted |
//! | a name from the wire | 128 characters | cut |
//! | read at the start | 262,144 records of the hour, 1,048,576 for how machines are | older ones are not known |
//! | the text of all machines | made twice a second at most | who asks within half a second gets the same |

pub(crate) mod context;
pub(crate) mod counted;
pub(crate) mod current;
pub(crate) mod devices;
pub(crate) mod histogram;
pub(crate) mod hour;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod machine;
pub(crate) mod machines;
pub(crate) mod merged;
pub(crate) mod metrics;
pub(crate) mod past;
pub(crate) mod start;
pub(crate) mod timeline;

use super::follow::{Follow, Item, Wanted};
use super::recorder::{Recorder, in_words};
use super::roster::Roster;
use crate::exit::tell;
use crate::printer::now;
use counted::Counted;
use machine::Machine;
use machines::Machines;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How old the text of all machines may be. However many look at the fleet, it is made so often.
const FRESH: Duration = Duration::from_millis(500);

/// A text, and when it was made.
type Text = (Instant, Arc<[u8]>);

/// What is known of all machines. Clones are for the same.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) recorder: Recorder,
    pub(crate) roster: Roster,
    machines: Arc<Mutex<Machines>>,
    pub(crate) counted: Counted,
    /// All of them as text, and when that was made.
    text: Arc<tokio::sync::Mutex<Option<Text>>>,
}

impl View {
    /// Starts the task, which ends when the recorder does. It has a thread of its own: thousands of machines that flood keep
    /// the daemon's thread busy, and what people look at must not fall behind for it.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn start(recorder: Recorder, roster: Roster) -> io::Result<View> {
        let last = recorder.last();
        let follow = recorder.follow(Wanted::default(), last);
        let view =
            View { recorder, roster, machines: Arc::default(), counted: Counted::default(), text: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let run = view.clone().run(follow, last);
        std::thread::Builder::new().name("view".to_owned()).spawn(move || runtime.block_on(run))?;
        Ok(view)
    }

    async fn run(self, mut follow: Follow, last: u64) {
        let reader = self.recorder.reader().clone();
        if let Some(error) = start::read(&reader, last, now(), |records| self.lock().hear_all(records)) {
            tell(&format!("the last hour is not known in full: {}", in_words(&error)));
        }
        let mut counting = self.counted.counting();
        while let Some(items) = follow.next().await {
            let mut machines = self.lock();
            for item in &items {
                match item {
                    Item::Record(record) => {
                        machines.hear(record);
                        counting.count(record);
                    }
                    // How a machine is may be wrong until its next event.
                    Item::Missing { gap, .. } => tell(&format!("how machines are shown: {}", gap.summary)),
                    Item::Problem(_) => {}
                }
            }
        }
    }

    /// All machines as a line of JSON, no older than half a second; whoever comes while it is made gets the same. `None`
    /// when it could not be made.
    pub(crate) async fn fleet(&self) -> Option<Arc<[u8]>> {
        let mut text = self.text.lock().await;
        if let Some((_, fresh)) = text.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Some(Arc::clone(fresh));
        }
        let (view, made) = (self.clone(), Instant::now());
        // Text of thousands of machines: not on a thread that others wait for.
        let new = tokio::task::spawn_blocking(move || view.machines_json(&[], now()) + "\n").await;
        let new: Arc<[u8]> = new.ok()?.into_bytes().into();
        *text = Some((made, Arc::clone(&new)));
        Some(new)
    }

    /// All machines that were heard, by the key of their identity.
    pub(crate) fn heard(&self) -> BTreeMap<Arc<str>, Arc<Machine>> {
        self.lock().all()
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        // What is behind the lock is whole at every moment.
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
