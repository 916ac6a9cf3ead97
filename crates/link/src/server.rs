//! The server's end: monitors as a QEMU has them, and a service behind them.
//!
//! ```text
//!                  start               exit_status, stop
//!   ServerBuilder ───────► Serving ─────────────────────► Ending ────────────────────► Ended
//!        │ StartError         │        sockets are gone,      everything written,
//!        ▼                    │        last replies go out    or 5 s are over
//!     nothing is left         └── Server dropped: all at once, nothing waited for
//! ```
//!
//! Everything is as with a QEMU: one client a monitor while others wait, events to every client that has negotiated,
//! throttled for all alike, and kept for a client that does not read, here up to a limit.

mod connection;
mod hub;
mod monitor;
mod owner;
mod service;

pub use crate::listen::StartError;
pub use monitor::MonitorOptions;
pub use service::{Commands, Context, Service, unknown_command};

use crate::clock::Clock;
use hub::{Hub, OnNotice};
use monitor::Listener;
use owner::{Ask, Over, Owner, Queues};
use qev_qmp::{Event, Greeting, Object, QmpError, Value};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How much a client may leave unread, in bytes.
pub const MAX_BUFFER: usize = 256 << 20;

/// How many events from outside may wait for the server's task; who emits more waits.
const EVENTS: usize = 256;

/// How many other things asked from outside may wait for it.
const ASKS: usize = 16;

/// What happens to a server's clients, for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A client has come.
    Connected {
        /// Through which monitor.
        monitor: Arc<str>,
    },
    /// A client has left.
    Left {
        /// Through which monitor it had come.
        monitor: Arc<str>,
        /// Why.
        reason: LeaveReason,
    },
    /// A client could not be accepted. It will be tried again.
    AcceptFailed {
        /// At which monitor.
        monitor: Arc<str>,
        /// Why.
        error: io::Error,
    },
}

/// Why a client left.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It closed the connection.
    EndOfFile,
    /// Reading from it failed.
    Io(io::Error),
    /// It did not read, and with one more message more than `max_buffer` would have waited for it.
    CutOff {
        /// How many bytes waited.
        buffered: usize,
    },
    /// The server ended.
    ServerEnded,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Connected { monitor } => write!(f, "{monitor}: a client connected"),
            Notice::Left { monitor, reason } => write!(f, "{monitor}: a client left: {reason}"),
            Notice::AcceptFailed { monitor, error } => write!(f, "{monitor}: accepting a client failed: {error}"),
        }
    }
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaveReason::EndOfFile => f.write_str("it closed the connection"),
            LeaveReason::Io(error) => write!(f, "reading from it failed: {error}"),
            LeaveReason::CutOff { buffered } => {
                write!(f, "cut off, because it does not read: {buffered} bytes wait for it")
            }
            LeaveReason::ServerEnded => f.write_str("the server ended"),
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The service ended, with this status.
    Exited(i32),
    /// It was stopped.
    Stopped,
    /// The service panicked, or the runtime was shut down.
    Broken,
}

/// The server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEnded;

impl fmt::Display for ServerEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server has ended")
    }
}

impl std::error::Error for ServerEnded {}

/// A server to be.
pub struct ServerBuilder<S> {
    service: S,
    greeting: Greeting,
    monitors: Vec<(PathBuf, MonitorOptions)>,
    clock: Clock,
    max_buffer: usize,
    throttled: bool,
    on_notice: OnNotice,
}

impl ServerBuilder<Commands> {
    /// Adds a command. The closure gets what it may act on, and the arguments.
    #[must_use]
    pub fn command(
        mut self,
        name: impl Into<String>,
        handler: impl FnMut(&mut Context<'_>, &Object) -> Result<Value, QmpError> + Send + 'static,
    ) -> ServerBuilder<Commands> {
        self.service.register(name, false, handler);
        self
    }

    /// Adds a command that may be executed out of band too.
    #[must_use]
    pub fn oob_command(
        mut self,
        name: impl Into<String>,
        handler: impl FnMut(&mut Context<'_>, &Object) -> Result<Value, QmpError> + Send + 'static,
    ) -> ServerBuilder<Commands> {
        self.service.register(name, true, handler);
        self
    }
}

impl<S: Service> ServerBuilder<S> {
    /// Listens at this path, too. Several monitors are served at once.
    #[must_use]
    pub fn bind(mut self, path: impl Into<PathBuf>, options: MonitorOptions) -> ServerBuilder<S> {
        self.monitors.push((path.into(), options));
        self
    }

    /// Takes the time for events from this clock, instead of the host's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> ServerBuilder<S> {
        self.clock = clock;
        self
    }

    /// Cuts a client off when it leaves more than this many bytes unread, instead of [`MAX_BUFFER`].
    #[must_use]
    pub fn max_buffer(mut self, bytes: usize) -> ServerBuilder<S> {
        self.max_buffer = bytes;
        self
    }

    /// Lets every event out at once: for events that a QEMU has throttled already.
    #[must_use]
    pub fn unthrottled(mut self) -> ServerBuilder<S> {
        self.throttled = false;
        self
    }

    /// Tells this about clients that come and go. It must not block.
    #[must_use]
    pub fn on_notice(mut self, on_notice: impl FnMut(Notice) + Send + 'static) -> ServerBuilder<S> {
        self.on_notice = Box::new(on_notice);
        self
    }

    /// Makes the sockets and starts to serve. Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// When a socket cannot be made; then none is left.
    pub async fn start(self) -> Result<Server<S>, StartError> {
        let mut listeners = Vec::new();
        for (path, options) in &self.monitors {
            listeners.push(Listener::bind(path, options)?);
        }
        let hub = Hub::new(self.greeting, self.clock, self.max_buffer, self.on_notice);
        let hub = if self.throttled { hub } else { hub.unthrottled() };
        let (events, events_end) = mpsc::channel(EVENTS);
        let (asks, asks_end) = mpsc::channel(ASKS);
        let queues = Queues { events: events_end, asks: asks_end };
        let task = tokio::spawn(Owner::run(self.service, hub, listeners, queues));
        Ok(Server { emitter: Emitter { events }, asks, task: Task(task), ended: None })
    }
}

/// A server that runs. Dropped, it ends at once; [`Server::stop`] lets the clients get their last replies.
pub struct Server<S = Commands> {
    emitter: Emitter,
    asks: mpsc::Sender<Ask<S>>,
    task: Task,
    ended: Option<Ended>,
}

impl Server<Commands> {
    /// A server of a few commands, each a closure.
    pub fn builder(greeting: Greeting) -> ServerBuilder<Commands> {
        Server::with_service(greeting, Commands::new())
    }
}

impl<S: Service> Server<S> {
    /// A server of what this service does.
    pub fn with_service(greeting: Greeting, service: S) -> ServerBuilder<S> {
        ServerBuilder {
            service,
            greeting,
            monitors: Vec::new(),
            clock: Clock::system(),
            max_buffer: MAX_BUFFER,
            throttled: true,
            on_notice: Box::new(|_| {}),
        }
    }

    /// Emits an event: see [`Emitter::emit`].
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub async fn emit(&self, event: Event) -> Result<(), ServerEnded> {
        self.emitter.emit(event).await
    }

    /// A handle that emits events from anywhere. It does not keep the server alive.
    pub fn emitter(&self) -> Emitter {
        self.emitter.clone()
    }

    /// Serves one client over a stream that is there already: one of a socket pair, a connection made by us or to us.
    /// What comes back tells when it has left.
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub async fn over<T>(&self, stream: T, options: MonitorOptions) -> Result<Served, ServerEnded>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (ended, served) = oneshot::channel();
        let ask = Ask::Over(Box::new(Over { stream: Box::new(stream), options, ended }));
        self.asks.send(ask).await.map_err(|_| ServerEnded)?;
        Ok(Served(served))
    }

    /// Calls this with the service, between two commands, and gives back what it returns: for what happens to a machine
    /// and was no client's wish. Events that were emitted before come before those that it emits.
    ///
    /// # Errors
    ///
    /// When the server has ended, or ends before it is called.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut S, &mut Context<'_>) -> T + Send + 'static,
    ) -> Result<T, ServerEnded> {
        let (reply, answer) = oneshot::channel();
        let call = move |service: &mut S, context: &mut Context<'_>| {
            // Who asked may have stopped waiting.
            let _ = reply.send(call(service, context));
        };
        self.asks.send(Ask::Call(Box::new(call))).await.map_err(|_| ServerEnded)?;
        answer.await.map_err(|_| ServerEnded)
    }

    /// Ends the server: the sockets are removed, and the clients get what was still to be written, for 5 s at most.
    pub async fn stop(&mut self) -> Ended {
        // An error means that it has ended already.
        let _ = self.asks.send(Ask::Stop).await;
        self.ended().await
    }

    /// Waits until the server has ended, and says how. May be dropped, and called again.
    pub async fn ended(&mut self) -> Ended {
        match self.ended {
            Some(ended) => ended,
            None => {
                let ended = (&mut self.task.0).await.unwrap_or(Ended::Broken);
                *self.ended.insert(ended)
            }
        }
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for ServerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("service", &self.service)
            .field("monitors", &self.monitors)
            .finish_non_exhaustive()
    }
}

/// The server's task, which does not outlive its handle.
struct Task(JoinHandle<Ended>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Emits events from outside of a service.
#[derive(Clone, Debug)]
pub struct Emitter {
    events: mpsc::Sender<Box<Event>>,
}

impl Emitter {
    /// Emits an event to every client of every monitor that has negotiated, at once or when the throttle lets it; with
    /// the timestamp that it has, or without one. Waits when 256 events are on their way to the server.
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub async fn emit(&self, event: Event) -> Result<(), ServerEnded> {
        self.events.send(Box::new(event)).await.map_err(|_| ServerEnded)
    }
}

/// One client that is served over a stream of the embedder's.
#[derive(Debug)]
pub struct Served(oneshot::Receiver<()>);

impl Served {
    /// Waits until the client has left.
    pub async fn ended(self) {
        // The sender is never used: it is dropped with the client's task.
        let _ = self.0.await;
    }
}
