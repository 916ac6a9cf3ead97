//! One look at all Unix sockets of this host, so that a monitor that somebody uses or waits for is left alone: a client that
//! connects to it all the same hears nothing, and gets the monitor when the other leaves, which nobody meant.
//!
//! A socket is known by its file (device and inode), by whatever path it is reached: through a symbolic link, or in another
//! mount namespace, or where the listener was given a path relative to a folder of its own. Only where the kernel's number
//! of a device is not what `stat` shows, as on some file systems, paths are compared.

use super::diag::{self, End, Name, SocketFile};
use super::{Holder, is_path, owners};
use crate::unix_address::UnixAddress;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

/// The Unix sockets that listen, as the kernel showed them at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    all: Vec<Listed>,
    by_name: HashMap<Name, Vec<usize>>,
    by_file: HashMap<SocketFile, Vec<usize>>,
    /// Those whose listeners were given a relative path.
    relative: Vec<usize>,
}

/// One socket, with the connections that its listener has accepted.
#[derive(Clone, Debug)]
struct Listed {
    name: Name,
    file: Option<SocketFile>,
    standing: Standing,
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
    /// How many clients the listener lets wait, at most.
    backlog: Option<u32>,
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

    fn add(&mut self, other: &Standing) {
        self.is_listening |= other.is_listening;
        self.waiting.extend_from_slice(&other.waiting);
        self.clients.extend_from_slice(&other.clients);
        self.abandoned = self.abandoned.saturating_add(other.abandoned);
        self.backlog = self.backlog.max(other.backlog);
    }

    /// Whether it listens, serves nobody, and nobody waits for it. Whoever has left does not count.
    pub fn is_free(&self) -> bool {
        self.is_listening && self.clients.is_empty() && self.waiting.is_empty()
    }

    /// Whether it listens as QEMU does, which serves one client and lets one wait, and serves one. A server for many lets
    /// more wait: whether it has a client says nothing about the next.
    pub fn is_in_use(&self) -> bool {
        self.is_listening && !self.clients.is_empty() && self.backlog.is_some_and(|backlog| backlog <= 1)
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
        let mut standings: BTreeMap<(Name, Option<SocketFile>), Standing> = BTreeMap::new();
        for bound in diag::bound()? {
            let standing = standings.entry((bound.name, bound.file)).or_default();
            match bound.end {
                End::Listens { waiting, backlog } => {
                    standing.is_listening = true;
                    standing.backlog = standing.backlog.max(backlog);
                    for client in waiting {
                        standing.count(client, Place::Waiting);
                    }
                }
                End::Accepted { client } => standing.count(client, Place::Accepted),
            }
        }
        let mut sockets = Sockets::default();
        for ((name, file), standing) in standings {
            let place = sockets.all.len();
            if let Some(file) = file {
                sockets.by_file.entry(file).or_default().push(place);
            }
            if let Name::Path(path) = &name
                && path.is_relative()
            {
                sockets.relative.push(place);
            }
            sockets.by_name.entry(name.clone()).or_default().push(place);
            sockets.all.push(Listed { name, file, standing });
        }
        Ok(sockets)
    }

    /// How it stands with the socket at this path. Where the path leads nowhere, nobody listens there, though there may be a
    /// listener whose file was removed.
    pub fn at(&self, path: &Path) -> Standing {
        let file = match std::fs::metadata(path) {
            Ok(file) => Some(SocketFile::of(&file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Standing::default(),
            Err(_) => None,
        };
        let canonical = std::fs::canonicalize(path).ok().filter(|canonical| canonical != path);
        let named = |path: &Path| self.by_name.get(&Name::Path(path.to_owned())).into_iter().flatten();
        let mut places: BTreeSet<usize> = named(path).copied().collect();
        places.extend(canonical.as_deref().into_iter().flat_map(named));
        places.extend(self.relative.iter().filter(|place| self.is_relative_to(**place, path)));
        places.extend(file.and_then(|file| self.by_file.get(&file)).into_iter().flatten());
        let mut found = Standing::default();
        for listed in places.into_iter().filter_map(|place| self.all.get(place)) {
            // Two sockets had the path, one after the other: this is the other.
            let is_another = file.zip(listed.file).is_some_and(|(file, other)| file.is_another_than(other));
            if !is_another {
                found.add(&listed.standing);
            }
        }
        found
    }

    fn is_relative_to(&self, place: usize, path: &Path) -> bool {
        let listed = self.all.get(place).map(|listed| &listed.name);
        matches!(listed, Some(Name::Path(shown)) if is_path(shown, path))
    }

    /// How it stands with the socket of this abstract name.
    pub fn at_abstract(&self, name: &str) -> Standing {
        let places = self.by_name.get(&Name::Abstract(name.as_bytes().to_vec())).into_iter().flatten();
        let mut found = Standing::default();
        places.filter_map(|place| self.all.get(*place)).for_each(|listed| found.add(&listed.standing));
        found
    }

    pub(crate) fn at_address(&self, address: UnixAddress<'_>) -> Standing {
        match address {
            UnixAddress::Path(path) => self.at(path),
            UnixAddress::Abstract(name) => self.at_abstract(name),
        }
    }

    /// Whose these ends of connections are, by inode; those of other users only root sees. It looks through all
    /// processes, once.
    pub async fn holders(clients: Vec<u32>) -> BTreeMap<u32, Holder> {
        tokio::task::spawn_blocking(move || owners(&clients)).await.unwrap_or_default()
    }
}

impl SocketFile {
    /// Whether both are on one device, and are two files there.
    fn is_another_than(self, other: SocketFile) -> bool {
        self.device == other.device && self.inode != other.inode
    }
}
