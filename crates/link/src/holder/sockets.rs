//! One look at all Unix sockets of this host, so that a monitor that somebody holds or waits for is left alone: who connects
//! to it all the same hears nothing, and gets the monitor when the other leaves, which nobody meant.

use super::diag::{self, End};
use super::{Holder, is_path, owners};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The Unix sockets that listen at a path, as the kernel showed them at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// By the path that the listener was given.
    by_path: BTreeMap<PathBuf, Standing>,
}

/// How it stands with one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Somebody listens there.
    pub is_listening: bool,
    /// The clients whose connections were accepted: the inodes of their ends.
    pub clients: Vec<u32>,
    /// The clients that wait to be accepted, by the same.
    pub waiting: Vec<u32>,
    /// How many connections there are, accepted or not, whose clients have closed them and the listener has not: it does
    /// not run, or has not come to it yet.
    pub abandoned: usize,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Accepted,
    Waiting,
}

impl Standing {
    /// Counts a connection of the client with this inode; 0 is one that has left.
    fn count(&mut self, client: u32, place: Place) {
        match (client, place) {
            (0, _) => self.abandoned = self.abandoned.saturating_add(1),
            (client, Place::Accepted) => self.clients.push(client),
            (client, Place::Waiting) => self.waiting.push(client),
        }
    }

    /// Whether it listens, serves nobody, and nobody waits for it. Whoever has left does not count.
    pub fn is_free(&self) -> bool {
        self.is_listening && self.clients.is_empty() && self.waiting.is_empty()
    }
}

impl Sockets {
    /// Looks. It costs a millisecond or so, whatever the number of paths that are asked for afterwards.
    ///
    /// # Errors
    ///
    /// When the kernel was built without socket diagnostics for Unix sockets, or does not let us ask.
    pub async fn look() -> io::Result<Sockets> {
        tokio::task::spawn_blocking(Sockets::ask).await.map_err(io::Error::other)?
    }

    pub(super) fn ask() -> io::Result<Sockets> {
        let mut by_path: BTreeMap<PathBuf, Standing> = BTreeMap::new();
        for bound in diag::bound()? {
            let standing = by_path.entry(bound.path).or_default();
            match bound.end {
                End::Listens { waiting } => {
                    standing.is_listening = true;
                    for client in waiting {
                        standing.count(client, Place::Waiting);
                    }
                }
                End::Accepted { client } => standing.count(client, Place::Accepted),
            }
        }
        Ok(Sockets { by_path })
    }

    /// How it stands with the socket at this path.
    ///
    /// A listener that was given a relative path is known by the end of its path only: of several, all are meant.
    pub fn at(&self, path: &Path) -> Standing {
        let mut found = Standing::default();
        let canonical = std::fs::canonicalize(path).ok().filter(|canonical| canonical != path);
        let named = [Some(path), canonical.as_deref()].into_iter().flatten().filter_map(|path| self.by_path.get(path));
        let relative = self.by_path.iter().filter(|(shown, _)| shown.is_relative() && is_path(shown, path));
        for standing in named.chain(relative.map(|(_, standing)| standing)) {
            found.is_listening |= standing.is_listening;
            found.waiting.extend_from_slice(&standing.waiting);
            found.clients.extend_from_slice(&standing.clients);
            found.abandoned = found.abandoned.saturating_add(standing.abandoned);
        }
        found
    }

    /// Whose these ends of connections are, by inode; those of other users only root sees. It looks through all
    /// processes, once.
    pub async fn holders(clients: Vec<u32>) -> BTreeMap<u32, Holder> {
        tokio::task::spawn_blocking(move || owners(&clients)).await.unwrap_or_default()
    }
}
