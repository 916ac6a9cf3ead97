//! Listening at a path, as QEMU does it: one that nobody listens at any more is replaced, what another program needs is
//! left alone, and what we made is removed when we are done with it.

use crate::dial_in::Access;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket};

/// How long accepting pauses after it failed: when there are no descriptors left, there may be some soon.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Why a socket could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Another program listens at this path.
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// There is something at this path that is no socket, and it was left alone.
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The socket could not be made.
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::InUse { path } => {
                write!(f, "another program listens at {}: end it, or choose another path", path.display())
            }
            StartError::NotASocket { path } => {
                write!(f, "{} is there already and is not a socket: choose another path", path.display())
            }
            StartError::Io { path, .. } => write!(f, "making the socket {} failed", path.display()),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Makes a socket at this path, and lets as many wait as the backlog says, and on Linux one more.
pub(crate) fn listen(path: &Path, backlog: u32, access: Access) -> Result<(UnixListener, SocketFile), StartError> {
    let failed = |source| StartError::Io { path: path.to_owned(), source };
    let socket = UnixSocket::new_stream().map_err(failed)?;
    match socket.bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            make_way(path)?;
            socket.bind(path).map_err(failed)?;
        }
        bound => bound.map_err(failed)?,
    }
    let file = SocketFile::new(path);
    // Until it listens nobody can connect.
    let allowed = access.mode.map_or(Ok(()), |mode| std::fs::set_permissions(path, Permissions::from_mode(mode)));
    allowed.and_then(|()| access.group.map_or(Ok(()), |group| chown(path, None, Some(group)))).map_err(failed)?;
    Ok((socket.listen(backlog).map_err(failed)?, file))
}

/// Removes a socket that nobody listens at.
///
/// Asked with a datagram socket: one that is alive refuses it as being of the wrong type, and is not disturbed; one that
/// is dead refuses every connection.
fn make_way(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Io { path: path.to_owned(), source };
    let is_socket = std::fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket();
    if !is_socket {
        return Err(StartError::NotASocket { path: path.to_owned() });
    }
    match UnixDatagram::unbound().and_then(|probe| probe.connect(path)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(failed(error)),
        _ => Err(StartError::InUse { path: path.to_owned() }),
    }
}

/// The file of a socket of ours: removed at the end, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// `None` when the file is not ours any more.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> SocketFile {
        // Where the working folder changes later, it is still the same file.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        SocketFile { place: Mutex::new(Place { identity: identity(&path), path }) }
    }

    /// Where it is, or was.
    pub(crate) fn path(&self) -> PathBuf {
        self.lock().path.clone()
    }

    /// Moves the file; whoever is connected stays so. A file that is there already is left alone, and so is ours then.
    pub(crate) fn move_to(&self, path: &Path) -> io::Result<()> {
        let mut place = self.lock();
        if place.identity.is_none() || identity(&place.path) != place.identity {
            return Err(io::ErrorKind::NotFound.into());
        }
        renameat_with(CWD, &place.path, CWD, path, RenameFlags::NOREPLACE)?;
        path.clone_into(&mut place.path);
        Ok(())
    }

    /// Removes the file: nobody finds the socket any more.
    pub(crate) fn remove(&self) {
        let mut place = self.lock();
        let known = place.identity.take();
        if known.is_some() && identity(&place.path) == known {
            // If it cannot be removed, it is a stale socket, which the next one will replace.
            let _ = std::fs::remove_file(&place.path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        // What is behind the lock is whole at every moment.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}
