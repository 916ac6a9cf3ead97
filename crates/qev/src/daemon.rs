//! The daemon: it holds monitors for everyone, and keeps what they say.
//!
//! ```text
//!   sources             one task a machine      one thread            readers, each a cursor
//!   dial-in   ─┐                               ┌──────────┐           ┌─► qev log -f, watch and wait by name
//!   dial-out  ─┼──► attach ──► Outbox::put ──► │ Recorder │ ──► journal ─┤
//!   libvirt   ─┘      │        (bounded)       └──────────┘           └─► (page, sinks)
//!                     └──► Roster: who is there ──► qev machines
//! ```

pub(crate) mod absence;
pub(crate) mod attach;
pub(crate) mod control;
pub(crate) mod descriptors;
pub(crate) mod discover;
pub(crate) mod figures;
pub(crate) mod follow;
pub(crate) mod handover;
pub(crate) mod identity;
pub(crate) mod managers;
pub(crate) mod outbox;
pub(crate) mod places_per_user;
pub(crate) mod process;
mod readiness;
pub(crate) mod recorder;
pub(crate) mod roster;
pub(crate) mod serve;
pub(crate) mod session_id;
pub(crate) mod sessions;
pub(crate) mod share;
pub(crate) mod source;
mod steady_clock;
pub(crate) mod systemd;
pub(crate) mod tail;
pub(crate) mod view;

use crate::log_limiter::LogLimiter;
use absence::Absences;
use descriptors::Descriptors;
use handover::Handover;
use recorder::Recorder;
use roster::Roster;
use sessions::Sessions;
use share::Shares;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Where the journal is, in the folder of the daemon's state.
pub(crate) fn journal_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// What sources and machines' tasks have in common. Each task holds a clone; when all are gone, all have ended.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    /// The name of this host.
    pub(crate) host: Arc<str>,
    pub(crate) recorder: Recorder,
    pub(crate) roster: Roster,
    pub(crate) absences: Absences,
    /// The sessions that are attached, by process.
    pub(crate) sessions: Sessions,
    /// The log of what others cause.
    pub(crate) log: Arc<LogLimiter>,
    /// The open files that peers may take.
    pub(crate) descriptors: Arc<Descriptors>,
    /// Who keeps monitors open while the daemon is restarted.
    pub(crate) handover: Handover,
    /// The monitors that are lent.
    pub(crate) shares: Arc<Shares>,
    stop: watch::Receiver<bool>,
}

/// Tells when the daemon is being stopped.
#[derive(Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Daemon {
    /// Whether the daemon is being stopped.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// To wait for the end with.
    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.clone())
    }
}

impl Stopping {
    /// Waits until the daemon is being stopped.
    pub(crate) async fn wait(&mut self) {
        // Whose sender is gone is stopped too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
