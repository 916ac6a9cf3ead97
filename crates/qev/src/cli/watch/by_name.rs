//! Machines that the daemon holds: what it records of them.

use super::{Note, Notes};
use crate::cli::by_name::{Absence, ByName, not_asked};
use crate::daemon::control::client::{Answer, AskError};
use crate::exit::{Failure, tell};
use qev_record::Kind;
use std::fmt;
use std::time::Duration;

/// How soon the daemon is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Why a machine cannot be watched.
#[derive(Debug)]
pub(super) enum NotWatched {
    Daemon(AskError),
    Machine(Absence),
}

impl NotWatched {
    /// How the program ends for it. `name` is how the machine was called.
    pub(super) fn into_failure(self, name: &str) -> Failure {
        match self {
            NotWatched::Daemon(error) => not_asked(name, error),
            NotWatched::Machine(absence) => absence.into(),
        }
    }
}

impl fmt::Display for NotWatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotWatched::Daemon(error) => error.fmt(f),
            NotWatched::Machine(absence) => absence.fmt(f),
        }
    }
}

/// Passes on what is recorded of a machine, until it is gone, or the daemon; with `reconnect` for ever: behind the last
/// record, so that nothing is missed.
pub(super) async fn follow(machine: ByName, reconnect: bool, notes: Notes) {
    let mut after = None;
    let mut told = String::new();
    loop {
        let error = match relay(&machine, reconnect, &mut after, &notes, &mut told).await {
            Ok(()) => return,
            Err(error) => error,
        };
        let may_change = matches!(
            error,
            NotWatched::Machine(_) | NotWatched::Daemon(AskError::NotRunning { .. } | AskError::Gone { .. })
        );
        if !reconnect || !may_change {
            // The loop may have ended already; then nobody wants to know.
            let _ = notes.send(Note::NotWatched { name: machine.name, error }).await;
            return;
        }
        let message = format!("waiting: {error}");
        if message != told {
            tell(&message);
            told = message;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn relay(
    machine: &ByName,
    reconnect: bool,
    after: &mut Option<u64>,
    notes: &Notes,
    told: &mut String,
) -> Result<(), NotWatched> {
    let sight = machine.look().await.map_err(NotWatched::Daemon)?;
    let behind = *after.get_or_insert(sight.last);
    match sight.absence {
        Some(absence) if !reconnect => return Err(NotWatched::Machine(absence)),
        Some(absence) => tell(&format!("waiting: {absence}")),
        None => {}
    }
    let mut answers = machine.records(behind, true).await.map_err(NotWatched::Daemon)?;
    told.clear();
    loop {
        match answers.next().await.map_err(NotWatched::Daemon)? {
            Answer::Record(record) => {
                *after = record.seq.or(*after);
                let detached = (record.kind == Kind::Detached && !reconnect).then(|| record.clone());
                if notes.send(Note::Record(record)).await.is_err() {
                    return Ok(());
                }
                if let Some(detached) = detached
                    && machine.is_gone(&detached).await.map_err(NotWatched::Daemon)?
                {
                    return Ok(());
                }
            }
            Answer::Problem(problem) => tell(&problem),
            Answer::Machine(_) | Answer::Page(_) => {}
            Answer::End(_) => return Err(NotWatched::Daemon(answers.gone())),
        }
    }
}
