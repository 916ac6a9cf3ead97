//! What people look at: how each machine is and what its last hour was like, kept from the records as they come.
//!
//! ```text
//!   Recorder ──► follow ──► one task: Machines::hear ──► snapshot ──► JSON for the page
//!   journal ──► start ──────┘      └─► Counted ─────────────────────► /metrics
//! ```
//!
//! The task alone changes what is known. Who reads takes a snapshot, which shares the machines, and makes text of it with
//! no lock held. What is about the past is read from the journal, within a budget.
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | machines | 20,480 | those that were heard longest ago are forgotten |
//! | slots, replicas, quorums of a machine | 256, 64, 16 | the one that was heard longest ago is forgotten, and counted |
//! | a name from the wire | 128 characters | cut |
//! | read at the start | 262,144 records of the hour, 1,048,576 for how machines are | older ones are not known |

pub(crate) mod context;
pub(crate) mod counted;
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of all machines. Clones are for the same.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) recorder: Recorder,
    pub(crate) roster: Roster,
    machines: Arc<Mutex<Machines>>,
    pub(crate) counted: Counted,
}

impl View {
    /// Starts the task, which ends when the recorder does.
    pub(crate) fn start(recorder: Recorder, roster: Roster) -> View {
        let last = recorder.last();
        let follow = recorder.follow(Wanted::default(), last);
        let view = View { recorder, roster, machines: Arc::default(), counted: Counted::default() };
        tokio::spawn(view.clone().run(follow, last));
        view
    }

    async fn run(self, mut follow: Follow, last: u64) {
        let reader = self.recorder.reader().clone();
        let begun = tokio::task::spawn_blocking(move || start::read(&reader, last, now())).await;
        if let Ok((machines, problem)) = begun {
            *self.lock() = machines;
            if let Some(error) = problem {
                tell(&format!("the last hour is not known in full: {}", in_words(&error)));
            }
        }
        let mut counting = self.counted.counting();
        while let Some(items) = follow.next().await {
            {
                let mut machines = self.lock();
                for item in &items {
                    if let Item::Record(record) = item {
                        machines.hear(record);
                        counting.count(record);
                    }
                }
            }
            // A flood must not keep the other tasks waiting.
            tokio::task::yield_now().await;
        }
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
