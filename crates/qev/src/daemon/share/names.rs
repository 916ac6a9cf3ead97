//! What the sockets of shared monitors are called: `NAME.qmp`, and `NAME-PID.qmp` while another machine of this name is there.
//! When the one that has the plain name ends, the one that has waited longest gets it; its clients notice nothing.

use crate::daemon::roster::Roster;
use qev_link::share::{ClientCount, SharePath};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sockets that there are, by their plain names.
#[derive(Debug, Default)]
pub(super) struct Names {
    dir: PathBuf,
    named: Mutex<BTreeMap<String, Vec<Named>>>,
}

/// A socket, and whose row of the roster says where it is.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: SharePath,
    pub(super) clients: ClientCount,
    pub(super) roster: Roster,
    pub(super) key: String,
}

/// A name that a socket has. When this is dropped its file is gone, and the name may be another's.
#[derive(Debug)]
pub(super) struct Name {
    names: Arc<Names>,
    plain: String,
    key: String,
}

impl Names {
    /// Those of the sockets in this folder.
    pub(super) fn new(dir: PathBuf) -> Arc<Names> {
        Arc::new(Names { dir, named: Mutex::default() })
    }

    /// A socket has this plain name, or one that is made from it.
    pub(super) fn take(self: &Arc<Names>, plain: &str, named: Named) -> Name {
        let key = named.key.clone();
        self.lock().entry(plain.to_owned()).or_default().push(named);
        Name { names: Arc::clone(self), plain: plain.to_owned(), key }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Named>>> {
        // What is behind the lock is whole at every moment.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut all = self.names.lock();
        let Some(of_name) = all.get_mut(&self.plain) else { return };
        for gone in of_name.extract_if(.., |named| named.key == self.key) {
            gone.path.remove();
        }
        match of_name.first() {
            None => drop(all.remove(&self.plain)),
            Some(next) => {
                let path = self.names.dir.join(&self.plain);
                // It has the plain name already, or something else is there.
                if next.path.move_to(&path).is_ok() {
                    next.roster.lent(&next.key, path.to_string_lossy().into(), next.clients.clone());
                }
            }
        }
    }
}
