//! Where clients connect: sockets, and what bounds a connection.
//!
//! What of HTTP is said on a connection hyper reads and writes; [`axum::serve`] would do, but that it sets no bound on the
//! size of a head and on the time that one takes.

use super::gate;
use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

/// How many connections there may be at all listeners together.
const CONNECTIONS: usize = 4096;

/// A request's head: how long it may be, and how long it may take to come. The time also ends a connection that is idle.
const HEAD: usize = 16 << 10;
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a request that is being answered may take when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How long it is waited when there are no descriptors left for a client.
const AGAIN: Duration = Duration::from_millis(100);

/// What who comes too late is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
    {\"type\": \"about:blank\", \"title\": \"Service Unavailable\", \"status\": 503, \"detail\": \"4096 clients are \
    connected already: end one of them\"}\n";

/// Places for connections.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Semaphore>);

/// As many as there may be.
pub(crate) fn places() -> Places {
    Places(Arc::new(Semaphore::new(CONNECTIONS)))
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
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
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers who connects.
    pub(crate) fn serve(self, router: Router, places: &Places) -> Running {
        let (stop, stopping) = watch::channel(false);
        let server = Server { router: TowerToHyperService::new(router), places: places.0.clone(), stopping };
        Running { accepting: tokio::spawn(server.accept(self)), stop }
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
    router: TowerToHyperService<Router>,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Server {
    async fn accept(self, listener: Listener) {
        loop {
            let Ok((stream, _)) = listener.socket.accept().await else {
                // The client waits; nothing but time helps.
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let place = Arc::clone(&self.places).try_acquire_owned();
            tokio::spawn(self.clone().connection(stream, listener.address, place.ok()));
        }
    }

    async fn connection(mut self, mut stream: TcpStream, address: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        let Some(_place) = place else {
            // Who does not read it hears nothing.
            let _ = tokio::time::timeout(LAST_ANSWERS, stream.write_all(FULL)).await;
            return;
        };
        // Answers are written whole: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        self.converse(stream, address).await;
    }

    async fn converse(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, address: SocketAddr) {
        let router = self.router.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let router = router.clone();
            async move {
                let answered = gate::pass(request.map(Body::new), address, |request| router.call(request)).await;
                Ok::<_, std::convert::Infallible>(answered)
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // What goes wrong on a connection is its client's affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(LAST_ANSWERS, connection).await;
    }
}
