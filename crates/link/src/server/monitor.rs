//! One monitor: its socket, and how many clients it serves.
//!
//! ```text
//!              seat free              accept             client has left
//!   Listening ──────────► Accepting ─────────► Serving ────────────────► Listening
//! ```
//!
//! QEMU serves one client a monitor. While it does, it does not accept: a second one's `connect` succeeds, it waits in the
//! backlog, hears nothing, and inherits the monitor. So it is here.

use crate::dial_in::Access;
use crate::listen::{ACCEPT_AGAIN, SocketFile, StartError, listen};
use crate::stream::Duplex;
use qev_qmp::json::print::Layout;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
        let (socket, file) = listen(path, options.backlog, Access::default())?;
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
