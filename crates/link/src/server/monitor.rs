//! One monitor: its socket, and how many clients it serves.
//!
//! ```text
//!              seat free              accept             client has left
//!   Listening ──────────► Accepting ─────────► Serving ────────────────► Listening
//! ```
//!
//! QEMU serves one client a monitor. While it does, it does not accept: a second one's `connect` succeeds, it waits in the
//! backlog, hears nothing, and inherits the monitor. So it is here.

use crate::stream::Duplex;
use qev_qmp::json::print::Layout;
use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How long accepting pauses after it failed: when there are no descriptors left, there may be some soon.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How a monitor serves its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// How many clients are served at once; QEMU serves 1. At least 1.
    pub clients: usize,
    /// How messages are laid out: QEMU's `pretty=on` is [`Layout::Pretty`].
    pub layout: Layout,
    /// The backlog of the socket; QEMU's is 1. Linux lets one more wait than this.
    pub backlog: u32,
    /// Whether the clients get events.
    pub events: bool,
    /// What the service knows the monitor by; without it, its path.
    pub name: Option<String>,
}

impl Default for MonitorOptions {
    /// As a QEMU serves its monitor.
    fn default() -> MonitorOptions {
        MonitorOptions { clients: 1, layout: Layout::Line, backlog: 1, events: true, name: None }
    }
}

impl MonitorOptions {
    /// Serves this many clients at once, and lets as many wait.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> MonitorOptions {
        self.clients = clients.max(1);
        self.backlog = u32::try_from(self.clients).unwrap_or(u32::MAX);
        self
    }

    /// Lays messages out this way.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> MonitorOptions {
        self.layout = layout;
        self
    }

    /// Sends events to the clients, or only replies.
    #[must_use]
    pub fn events(mut self, events: bool) -> MonitorOptions {
        self.events = events;
        self
    }

    /// Names the monitor.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> MonitorOptions {
        self.name = Some(name.into());
        self
    }
}

/// Why a server did not start.
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

/// What the server's task needs to know of the monitor that a client came through.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) name: Arc<str>,
    pub(super) layout: Layout,
    pub(super) events: bool,
}

impl Monitor {
    pub(super) fn new(options: &MonitorOptions, default_name: &str) -> Arc<Monitor> {
        let name = options.name.as_deref().unwrap_or(default_name).into();
        Arc::new(Monitor { name, layout: options.layout, events: options.events })
    }
}

/// What a listener gives to the server's task.
pub(super) enum FromListener {
    /// A client, and the seat that it has until it leaves.
    Client { stream: Box<dyn Duplex>, monitor: Arc<Monitor>, seat: OwnedSemaphorePermit },
    /// Accepting failed, and will be tried again.
    Failed { monitor: Arc<Monitor>, error: io::Error },
}

/// A socket that is listened at.
#[derive(Debug)]
pub(super) struct Listener {
    file: SocketFile,
    socket: UnixListener,
    monitor: Arc<Monitor>,
    seats: Arc<Semaphore>,
}

impl Listener {
    /// Makes the socket; one that nobody listens at any more is replaced, as QEMU does.
    pub(super) fn bind(path: &Path, options: &MonitorOptions) -> Result<Listener, StartError> {
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
        let socket = socket.listen(options.backlog).map_err(failed)?;
        let monitor = Monitor::new(options, &path.display().to_string());
        let seats = options.clients.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Listener { file, socket, monitor, seats: Arc::new(Semaphore::new(seats)) })
    }

    /// The task of a monitor; the socket's file is removed when it is cut off.
    pub(super) async fn run(self, clients: mpsc::Sender<FromListener>) {
        let Listener { file: _file, socket, monitor, seats } = self;
        // The semaphore is never closed, and the server's task outlives this one.
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            let monitor = Arc::clone(&monitor);
            let accepted = match socket.accept().await {
                Ok((stream, _)) => FromListener::Client { stream: Box::new(stream), monitor, seat },
                Err(error) => FromListener::Failed { monitor, error },
            };
            let failed = matches!(accepted, FromListener::Failed { .. });
            if clients.send(accepted).await.is_err() {
                return;
            }
            if failed {
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
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
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> SocketFile {
        // Where the working folder changes later, it is still the same file.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        SocketFile { identity: identity(&path), path }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // If it cannot be removed, it is a stale socket, which the next one will replace.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
