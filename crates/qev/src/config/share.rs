//! What the configuration says about shared monitors: where they are, who may open them, and who may do what.

use super::Group;
use std::path::{Path, PathBuf};

/// The mode of a shared monitor's socket when nobody says otherwise: for the user and the group of the daemon.
const MODE: u32 = 0o660;

/// How monitors are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Whether they are.
    pub(crate) enabled: bool,
    /// The folder of the sockets.
    pub(crate) dir: PathBuf,
    /// The mode of the sockets' files: who may write to one may be its client.
    pub(crate) mode: u32,
    /// The group of the folder and the sockets, when it is not that of the process.
    pub(crate) group: Option<Group>,
    /// Whether commands that are not queries are kept in the journal.
    pub(crate) audit: bool,
    /// Who may do what: the first that fits a client counts.
    pub(crate) policies: Vec<SharePolicy>,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharePolicy {
    /// At the monitors of the machines that are called so; a glob.
    pub(crate) machine: Option<String>,
    /// This user.
    pub(crate) user: Option<User>,
    /// The members of this group.
    pub(crate) group: Option<Group>,
    /// What they may do.
    pub(crate) allow: Allow,
    /// Which commands beside queries, as globs: of `operate`. None is all.
    pub(crate) commands: Vec<String>,
}

/// What a client may do at a shared monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Allow {
    /// Hear events, and execute nothing
    Events,
    /// Ask: a list of queries
    #[default]
    Read,
    /// Execute commands
    Operate,
}

impl Allow {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Allow::Events => "events",
            Allow::Read => "read",
            Allow::Operate => "operate",
        }
    }
}

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// As it was written: a name or a number.
    pub(crate) name: String,
    /// Its number.
    pub(crate) uid: u32,
}

impl Share {
    /// In this folder of sockets, for the daemon's own user and group, who may ask.
    pub(crate) fn under(run_dir: &Path) -> Share {
        let dir = run_dir.join("share");
        Share { enabled: true, dir, mode: MODE, group: None, audit: false, policies: Vec::new() }
    }
}
