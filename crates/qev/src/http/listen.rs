//! Where clients connect: sockets, and what bounds a connection.
//!
//! What of HTTP is said on a connection hyper reads and writes; `axum::serve` would do, but that it sets no bound on the
//! size of a head and on the time that one takes.

use super::Site;
use super::gate::{Gate, Peer};
use crate::daemon::control::SocketFile;
use crate::daemon::descriptors::{DescriptorPermit, DescriptorUse, Descriptors};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

/// How many connections there may be at all listeners together.
const CONNECTIONS: usize = 4096;

/// How many may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A request's head: how long it may be, and how long it may take to come. The time also ends a connection that is idle.
const HEAD: usize = 16 << 10;
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a request that is being answered may take when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How much is read, and for how long, of a client that was told to go.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1 << 20;

/// How long it is waited when there are no descriptors left for a client.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a client over the network may leave what was sent to it where it is, in milliseconds.
const TAKEN_WITHIN: u32 = 300_000;

/// How many connections beyond the limit are told so at once. Each takes a descriptor for up to 3 s; further ones are closed
/// without a word.
const TURNED_AWAY_AT_ONCE: usize = 8;

/// Places for connections.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    connections: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    descriptors: Arc<Descriptors>,
    most: usize,
}

/// What a connection takes for as long as it is there.
type Place = (OwnedSemaphorePermit, DescriptorPermit);

/// As many as there may be.
pub(crate) fn places(descriptors: &Arc<Descriptors>) -> Places {
    let most = CONNECTIONS.min(descriptors.most(DescriptorUse::HttpConnection));
    let (connections, turned_away) = (Semaphore::new(most), Semaphore::new(TURNED_AWAY_AT_ONCE));
    let descriptors = Arc::clone(descriptors);
    Places { connections: Arc::new(connections), turned_away: Arc::new(turned_away), descriptors, most }
}

impl Places {
    fn take(&self) -> Option<Place> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some((connection, self.descriptors.try_take(DescriptorUse::HttpConnection)?))
    }

    /// What a client that gets no place is told.
    fn full(&self) -> String {
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
             {{\"type\": \"about:blank\", \"title\": \"Service Unavailable\", \"status\": 503, \"detail\": \"{} clients are \
             connected already: end one of them\"}}\n",
            self.most
        )
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(SocketFile),
}

/// One that is served.
#[derive(Debug)]
pub(crate) struct Running {
    accepting: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Listener {
    /// Listens at an address; with port 0 at one that is free.
    ///
    /// # Errors
    ///
    /// When it is taken, or not ours.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // What a daemon before us left to be said does not keep us out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let address = socket.local_addr()?;
        Ok(Listener { socket: Socket::Tcp(socket, address) })
    }

    /// Listens at a path.
    ///
    /// # Errors
    ///
    /// When there can be no socket of that name.
    pub(crate) fn bind_unix(path: &Path) -> io::Result<Listener> {
        Ok(Listener { socket: Socket::Unix(SocketFile::bind(path)?) })
    }

    /// Where it listens, if that is an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(_, address) => Some(*address),
            Socket::Unix(_) => None,
        }
    }

    /// Answers who connects.
    pub(crate) fn serve(self, site: Arc<Site>, router: Router, places: &Places) -> Running {
        let (stop, stopping) = watch::channel(false);
        let server = Server { site, router: TowerToHyperService::new(router), places: places.clone(), stopping };
        Running { accepting: tokio::spawn(server.accept(self.socket)), stop }
    }
}

impl Running {
    /// No more is accepted, and what is idle ends.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
        self.stop.send_replace(true);
    }

    /// Waits until all connections have ended.
    pub(crate) async fn ended(self) {
        let _ = self.accepting.await;
        self.stop.closed().await;
    }
}

#[derive(Clone)]
struct Server {
    site: Arc<Site>,
    router: TowerToHyperService<Router>,
    places: Places,
    stopping: watch::Receiver<bool>,
}

impl Server {
    async fn accept(self, socket: Socket) {
        loop {
            let accepted = match &socket {
                Socket::Tcp(socket, _) => match socket.accept().await {
                    Ok((stream, _)) => self.clone().tcp(stream),
                    Err(_) => false,
                },
                Socket::Unix(file) => match file.listener.accept().await {
                    Ok((stream, _)) => self.clone().unix(stream),
                    Err(_) => false,
                },
            };
            if !accepted {
                // The client waits; nothing but time helps.
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    fn tcp(self, stream: TcpStream) -> bool {
        // One that is gone already says no address.
        if let Ok(ours) = stream.local_addr() {
            // Answers are written whole: there is nothing to wait for.
            let _ = stream.set_nodelay(true);
            // What is sent and not taken keeps a place that somebody else may want.
            let _ = set_tcp_user_timeout(&stream, TAKEN_WITHIN);
            tokio::spawn(self.connection(stream, Peer::Tcp { ours }));
        }
        true
    }

    fn unix(self, stream: UnixStream) -> bool {
        if let Ok(credentials) = stream.peer_cred() {
            tokio::spawn(self.connection(stream, Peer::Unix { uid: credentials.uid() }));
        }
        true
    }

    async fn connection(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Some(_place) = self.places.take() else {
            if let Ok(_turned_away) = self.places.turned_away.try_acquire() {
                // A client that does not read it goes without.
                let _ = tokio::time::timeout(LAST_ANSWERS, stream.write_all(self.places.full().as_bytes())).await;
                linger(stream).await;
            }
            return;
        };
        let stream = self.converse(stream, peer).await;
        // At the end of the daemon nobody waits for a client that does not read.
        if !*self.stopping.borrow() {
            linger(stream).await;
        }
    }

    /// Answers request after request, until one of us has enough.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&mut self, stream: S, peer: Peer) -> S {
        let (site, router) = (Arc::clone(&self.site), self.router.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| -> Answering {
            let (site, router) = (Arc::clone(&site), router.clone());
            Box::pin(async move {
                let gate = Gate { access: &site.access, hosts: &site.hosts };
                Ok(gate.pass(request.map(Body::new), peer, |request| router.call(request)).await)
            })
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD);
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        // What goes wrong on a connection is its client's affair.
        let is_over = tokio::select! {
            _ = poll_fn(|context| connection.poll_without_shutdown(context)) => true,
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        };
        if !is_over {
            Pin::new(&mut connection).graceful_shutdown();
            let rest = poll_fn(|context| connection.poll_without_shutdown(context));
            let _ = tokio::time::timeout(LAST_ANSWERS, rest).await;
        }
        connection.into_parts().io.into_inner()
    }
}

/// What answers one request.
type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Ends a connection so that the last answer arrives: a socket that is closed while something unread is in it resets the
/// connection, and what was sent may be lost with it.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let read_out = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // It was the last of it, whatever comes of it.
    let _ = tokio::time::timeout(LINGER, read_out).await;
}

#[cfg(test)]
mod tests;
