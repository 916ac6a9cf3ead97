//! The client's end: a handle for commands, subscriptions for events, and one task that owns the connection.
//!
//! ```text
//!             connect / over                       all handles dropped, close, or the peer leaves
//!   (socket) ───────────────► negotiated, reading ──────────────────────────────────────────────► ended
//!                  │ ConnectError      │                                                            │
//!                  ▼                   ▼                                                            ▼
//!               nothing is left    events to every subscriber                       each learns the EndReason
//! ```

mod connect;
mod connection;
mod events;
mod execute;
pub(crate) mod handover;
mod in_use;
mod receive;
pub(crate) mod relay;

pub use connect::{ConnectError, ConnectOptions};
pub(crate) use events::{Answer, Entry};
pub use events::{Capacity, EndReason, EventItem, Events};
pub use execute::ExecuteError;
pub use handover::Resumed;
pub use in_use::InUseCheck;
pub use receive::{MESSAGE_TIMEOUT, RECEIVE_BUDGET};

use crate::dial_in::Peer;
use crate::stream::Duplex;
use crate::target::Target;
pub(crate) use connect::Place;
use connection::Connection;
use events::Board;
use execute::{Order, ReplyTo, Submission};
use qev_qmp::client::Client as Protocol;
use qev_qmp::{Greeting, Json};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait for the connection's task; more wait in their callers.
const ORDERS: usize = 16;

type Orders = mpsc::Sender<Order>;

/// A handle for a connection to a QEMU. Clones are for the same connection.
///
/// The connection lasts until the peer ends it, [`Client::close`] is called, or every `Client` and every [`Events`] of it
/// is dropped.
#[derive(Clone, Debug)]
pub struct Client {
    orders: Orders,
    board: Arc<Board>,
    greeting: Arc<Greeting>,
    oob: bool,
    timeout: Duration,
    peer: Option<Peer>,
    /// The socket once more, for who wants it to outlive us.
    spare: Option<Arc<OwnedFd>>,
}

impl Client {
    /// Connects to a monitor and negotiates. The first subscription comes with it, so that no event is lost in between;
    /// who does not want it drops it.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which of the many ways it did not work, and what to do.
    pub async fn connect(target: &Target, options: ConnectOptions) -> Result<(Client, Events), ConnectError> {
        connect::connect(target, options, |_| ()).await
    }

    /// The same for who has to know who is at the other end of a Unix socket before a byte is exchanged: `connected` is
    /// called as soon as the connection stands.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn connect_announced(
        target: &Target,
        options: ConnectOptions,
        connected: impl FnOnce(Peer),
    ) -> Result<(Client, Events), ConnectError> {
        connect::connect(target, options, connected).await
    }

    /// The same over a stream that is there already: one of a socket pair, an inherited descriptor, a connection that a
    /// QEMU made to us. Writes must reach the peer without being flushed.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`], but for what concerns finding the socket.
    pub async fn over<S>(stream: S, options: ConnectOptions) -> Result<(Client, Events), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let deadline = tokio::time::Instant::now() + options.greeting_timeout;
        Client::negotiate(stream, &Place::given(), options, deadline).await
    }

    pub(crate) async fn negotiate<S: Duplex + 'static>(
        stream: S,
        place: &Place<'_>,
        options: ConnectOptions,
        deadline: tokio::time::Instant,
    ) -> Result<(Client, Events), ConnectError> {
        let (orders, queue) = mpsc::channel(ORDERS);
        let (board, events) = Client::subscribed(&orders, &options);
        let protocol = if options.ahead { Protocol::ahead() } else { Protocol::new(options.oob) };
        let mut connection = Connection::new(stream, protocol, Arc::clone(&board));
        let greeting = connect::negotiate(&mut connection, place, deadline).await?;
        let oob = connection.has_oob();
        tokio::spawn(connection.run(queue));
        let (timeout, peer) = (options.execute_timeout, place.peer);
        Ok((Client { orders, board, greeting: Arc::new(greeting), oob, timeout, peer, spare: None }, events))
    }

    /// The first subscription, before the first byte is read.
    fn subscribed(orders: &Orders, options: &ConnectOptions) -> (Arc<Board>, Events) {
        let board = Arc::new(Board::default());
        let events = match options.hold_back {
            true => board.subscribe_holding_back(options.events, orders.clone()),
            false => board.subscribe(options.events, orders.clone()),
        };
        (board, events)
    }

    /// Who answered, and what it offered.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Whose process is at the other end of a Unix socket, as the kernel says: who connected to us, or who made the socket
    /// that we connected to.
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Whether out-of-band execution was negotiated.
    pub fn has_oob(&self) -> bool {
        self.oob
    }

    /// Executes a command and waits for its result, as long as the options of the connection say.
    ///
    /// # Errors
    ///
    /// The command's own error, or that there was no answer. After a timeout the connection goes on.
    pub async fn execute(&self, command: &str, arguments: Option<Json>) -> Result<Json, ExecuteError> {
        self.submit(command, arguments, false, self.timeout).await
    }

    /// Executes a command and waits for its result for as long as this.
    ///
    /// # Errors
    ///
    /// As [`Client::execute`].
    pub async fn execute_with_timeout(
        &self,
        command: &str,
        arguments: Option<Json>,
        timeout: Duration,
    ) -> Result<Json, ExecuteError> {
        self.submit(command, arguments, false, timeout).await
    }

    /// Executes a command out of band: past those that the peer has not executed yet.
    ///
    /// # Errors
    ///
    /// As [`Client::execute`], and when out-of-band execution was not negotiated. Few commands allow it.
    pub async fn execute_oob(&self, command: &str, arguments: Option<Json>) -> Result<Json, ExecuteError> {
        self.submit(command, arguments, true, self.timeout).await
    }

    /// Subscribes to the events that come from now on. When this many are not taken, the oldest are dropped, and counted.
    pub fn subscribe(&self, capacity: impl Into<Capacity>) -> Events {
        self.board.subscribe(capacity.into(), self.orders.clone())
    }

    /// Closes the connection; commands under way fail.
    pub async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.orders.send(Order::Close).await;
        self.orders.closed().await;
    }

    /// Waits until the connection has ended, and says why.
    pub async fn ended(&self) -> Arc<EndReason> {
        self.orders.closed().await;
        self.end_reason()
    }

    async fn submit(
        &self,
        command: &str,
        arguments: Option<Json>,
        oob: bool,
        timeout: Duration,
    ) -> Result<Json, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        let submission = Submission { command: command.to_owned(), arguments, oob, reply: ReplyTo::Caller(reply) };
        let answered = async {
            if self.orders.send(Order::Execute(Box::new(submission))).await.is_err() {
                return Err(ExecuteError::Closed(self.end_reason()));
            }
            answer.await.unwrap_or_else(|_| Err(ExecuteError::Closed(self.end_reason())))
        };
        // When the time is over, the receiver is dropped: that is how the task knows.
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(ExecuteError::Timeout(timeout)))
    }

    /// The task leaves the reason before it ends; when a runtime is shut down, the task is cut off without one.
    fn end_reason(&self) -> Arc<EndReason> {
        self.board.ended().unwrap_or_else(|| Arc::new(EndReason::ClosedHere))
    }
}
