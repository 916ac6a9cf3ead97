//! A connection that goes from one process to the next, without the QEMU noticing.
//!
//! ```text
//!   this process                        somebody who keeps it           the next process
//!   Client::take_spare ── the socket ─► (a service manager) ──────────► Resumed { stream, … }
//!   Client::suspend ───── the session ─► (memory, a file) ────────────►        │
//!                                                                              ▼
//!                                                                       Client::resume, or recover
//!                                                                       when there is no session
//! ```

use super::{Client, ConnectOptions, Connection, Events, ORDERS, Order, Protocol};
use crate::dial_in::Peer;
use qev_qmp::Greeting;
use qev_qmp::client::Session;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// A connection that another process had, and how it is gone on with.
#[derive(Debug)]
pub struct Resumed {
    /// The socket.
    pub stream: StdStream,
    /// What the QEMU greeted with.
    pub greeting: Greeting,
    /// The session as it was taken apart.
    pub session: Session,
}

/// The socket once more, on its way into a client.
#[derive(Debug)]
pub(crate) struct Spare(Option<OwnedFd>);

/// Without a descriptor to be had there is none, and the connection is as good as any.
pub(crate) fn spare(stream: &UnixStream, options: &ConnectOptions) -> Spare {
    Spare(options.spare.then(|| stream.as_fd().try_clone_to_owned().ok()).flatten())
}

impl Spare {
    pub(crate) fn put(self, (mut client, events): (Client, Events)) -> (Client, Events) {
        client.spare = self.0.map(Arc::new);
        (client, events)
    }
}

impl Client {
    /// The socket once more, if it is a Unix one and the options asked for it ([`ConnectOptions::spare`]). Whoever keeps it
    /// keeps the connection, whatever becomes of this process.
    pub fn take_spare(&mut self) -> Option<Arc<OwnedFd>> {
        self.spare.take()
    }

    /// Ends the connection here and gives out what another process needs to go on with it, which must have the socket
    /// besides. Subscribers get what was received, then learn that it was closed here; commands under way fail.
    ///
    /// Nothing, when the connection has ended or is being negotiated anew. When the future is dropped, the session may be
    /// lost.
    pub async fn suspend(&self) -> Option<Session> {
        let (taker, session) = oneshot::channel();
        self.orders.send(Order::Suspend(taker)).await.ok()?;
        session.await.ok()
    }

    /// Goes on where another process stopped. Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// When the socket cannot be waited for.
    pub fn resume(resumed: Resumed, options: ConnectOptions) -> io::Result<(Client, Events)> {
        let Resumed { stream, greeting, session } = resumed;
        Client::go_on(stream, greeting, Protocol::resume(session), options)
    }

    /// Goes on where another process was cut off, perhaps in the middle of a message: [`qev_qmp::client::Client::recover`]
    /// says how. Of what came last before that nothing is known. `next_id` of the session is the first id that the other
    /// process cannot have used; the rest of it does not count.
    ///
    /// # Errors
    ///
    /// When the socket cannot be waited for.
    pub fn recover(resumed: Resumed, options: ConnectOptions) -> io::Result<(Client, Events)> {
        let Resumed { stream, greeting, session } = resumed;
        Client::go_on(stream, greeting, Protocol::recover(session.oob, session.next_id), options)
    }

    fn go_on(
        stream: StdStream,
        greeting: Greeting,
        protocol: Protocol,
        options: ConnectOptions,
    ) -> io::Result<(Client, Events)> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let (spare, peer) = (spare(&stream, &options), Peer::of(&stream).ok());
        let (orders, queue) = mpsc::channel(ORDERS);
        let (board, events) = Client::subscribed(&orders, &options);
        let connection = Connection::new(stream, protocol, Arc::clone(&board));
        let oob = connection.has_oob();
        tokio::spawn(connection.run(queue));
        let client = Client {
            orders,
            board,
            greeting: Arc::new(greeting),
            oob,
            timeout: options.execute_timeout,
            peer,
            spare: None,
        };
        Ok(spare.put((client, events)))
    }
}
