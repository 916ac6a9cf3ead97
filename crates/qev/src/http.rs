//! The daemon over HTTP: the API under `/api/v1`, the page, and who may ask.
//!
//! ```text
//!   listen ──► connection ──► gate: whose address, whose page ──► router ──► events, stream: cursors over the journal
//!   (bounds)   (hyper)                                                  ├──► explain, health
//!                                                                       └──► the page's files
//! ```
//!
//! | queue | bound | at the bound |
//! |---|---|---|
//! | connections | 4096, or what the open files allow ([`Descriptors`]) | 503, and the connection ends |
//! | a request's head | 16 KiB, 10 s to send it | 431, or the connection ends |
//! | a request's body | 64 KiB, 10 s to send it | 413, 408 |
//! | clients of the stream | 2048 | 503 |
//! | readers of the journal at once | 16; others wait 10 s | 503 |
//! | what a client has not read | a page of records | its cursor stands still; nobody else notices |

pub(crate) mod access;
mod body;
mod context;
mod discover;
mod events;
mod explain;
mod gate;
mod health;
mod histogram;
pub(crate) mod listen;
mod login;
mod machines;
mod metrics;
mod page;
mod problem;
mod query;
mod said;
mod stream;

use crate::config::Config;
use crate::daemon::descriptors::Descriptors;
use crate::daemon::recorder::Recorder;
use crate::daemon::roster::Roster;
use crate::daemon::view::View;
use crate::exit::{Exit, Failure, tell};
use crate::printer::now;
use access::{Access, Role};
use axum::Router;
use axum::routing::{get, post};
use discover::Discovery;
use listen::{Listener, Running};
use problem::Problem;
use qev_qmp::Timestamp;
use said::Said;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How many clients may follow the stream, and how many may read the journal at once.
const STREAMS: usize = 2048;
const READERS: usize = 16;

/// The Unix socket's name in the state directory.
pub(crate) const SOCKET: &str = "http.sock";

/// How long who wants to read the journal waits for a turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) host: Arc<str>,
    pub(crate) started: Timestamp,
    pub(crate) recorder: Recorder,
    pub(crate) view: View,
    pub(crate) access: Arc<Access>,
    /// Names by which we may be asked for, beside localhost and our addresses.
    hosts: Vec<String>,
    said: Said,
    discovery: Discovery,
    streams: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// The servers of a daemon.
#[derive(Debug)]
pub(crate) struct Http {
    running: Vec<Running>,
    door: Option<Door>,
    /// Dropped last: then it ends.
    _thread: Option<Thread>,
}

/// The thread on which everything is answered: machines that flood keep the daemon's busy, and who looks does not wait for
/// them, nor they for who asks for much.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Thread {
    fn start() -> io::Result<Thread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            // That the other end is gone is the end.
            let _ = runtime.block_on(ended);
            // Nobody waits for an answer any more, nor for who still reads the journal for one.
            runtime.shutdown_background();
        })?;
        Ok(Thread { runtime: handle, _end: end })
    }
}

/// How a person comes to the page.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    access: Arc<Access>,
    address: SocketAddr,
}

impl Http {
    /// Listens as the configuration says, and answers from then on. An address that nobody asked for and that is taken is
    /// told, and done without.
    ///
    /// # Errors
    ///
    /// When there is no listening at an address that was asked for, when one can be reached from elsewhere and there is no
    /// token, and when the file of tokens says something else.
    pub(crate) fn start(
        config: &Config,
        host: Arc<str>,
        recorder: Recorder,
        roster: Roster,
        descriptors: &Arc<Descriptors>,
    ) -> Result<Http, Failure> {
        let Config { http, state_dir, .. } = config;
        if http.listen.is_empty() && !http.socket {
            return Ok(Http { running: Vec::new(), door: None, _thread: None });
        }
        let failed = |error: Box<dyn Error>| Failure::new(Exit::Failed, error);
        let access = Arc::new(Access::open(state_dir).map_err(|error| failed(error.into()))?);
        let is_near = |address: &&SocketAddr| address.ip().to_canonical().is_loopback();
        if let Some(address) = http.listen.iter().find(|address| !is_near(address))
            && !access.has_tokens()
        {
            let error = "other computers can reach this address, and there is no token: make one with qev page --token NAME, \
                         or listen at 127.0.0.1";
            return Err(failed(error.into()).about(format!("http {address}")));
        }
        let thread = Thread::start().map_err(|error| failed(error.into()).about("starting the thread of HTTP"))?;
        // Sockets and tasks that are made here are that thread's.
        let inside = thread.runtime.enter();
        let mut listeners = Vec::new();
        for address in &http.listen {
            match Listener::bind(*address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if http.is_default => tell(&format!("there is no page: {address}: {error}")),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let error =
                        "another program listens there already: give another address with --http, or --http none";
                    return Err(failed(error.into()).about(format!("http {address}")));
                }
                Err(error) => return Err(failed(error.into()).about(format!("http {address}"))),
            }
        }
        let address = listeners.iter().find_map(Listener::address);
        if http.socket {
            let path = state_dir.join(SOCKET);
            let listener = Listener::bind_unix(&path).map_err(|error| failed(error.into()).about(path.display()))?;
            listeners.push(listener);
        }
        let discovery = Discovery::new(config.attach.iter().map(|attach| attach.path.clone()).collect());
        let site = Site::new(host, recorder, roster, Arc::clone(&access), http.hosts.clone(), discovery)
            .map_err(|error| Failure::new(Exit::Failed, error).about("starting the view"))?;
        let router = router(Arc::clone(&site));
        let connections = listen::places(descriptors);
        let mut running = Vec::new();
        for listener in listeners {
            if let Some(address) = listener.address() {
                tell(&format!("page at http://{address}/"));
            }
            running.push(listener.serve(Arc::clone(&site), router.clone(), &connections));
        }
        let door = address.map(|address| Door { access, address });
        drop(inside);
        Ok(Http { running, door, _thread: Some(thread) })
    }

    /// How a person comes to the page, if there is one.
    pub(crate) fn door(&self) -> Option<Door> {
        self.door.clone()
    }

    /// Ends: what is being answered is answered to the end, but not for long.
    pub(crate) async fn end(self) {
        for running in &self.running {
            running.stop();
        }
        for running in self.running {
            running.ended().await;
        }
    }
}

impl Door {
    /// An address that lets one in, once and not for long.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes.
    pub(crate) fn address(&self, role: Role) -> io::Result<String> {
        let key = self.access.key(role)?;
        let mut address = self.address;
        // Everywhere is also here.
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Ok(format!("http://{address}/login?token={}", key.reveal()))
    }
}

impl Site {
    fn new(
        host: Arc<str>,
        recorder: Recorder,
        roster: Roster,
        access: Arc<Access>,
        hosts: Vec<String>,
        discovery: Discovery,
    ) -> io::Result<Arc<Site>> {
        let view = View::start(recorder.clone(), roster)?;
        Ok(Arc::new(Site {
            host,
            started: now(),
            view,
            recorder,
            access,
            hosts,
            said: Said::default(),
            discovery,
            streams: Arc::new(Semaphore::new(STREAMS)),
            readers: Arc::new(Semaphore::new(READERS)),
        }))
    }

    /// The answer when the journal has no record of this number.
    pub(crate) fn no_record(&self, number: u64) -> Problem {
        let last = self.recorder.last();
        Problem::missing(format!("there is no record {number}: the last one is {last}, and old ones may be deleted"))
    }

    /// A turn at reading the journal, for as long as it is kept.
    pub(crate) async fn turn(&self) -> Result<Arc<OwnedSemaphorePermit>, Problem> {
        let turn = tokio::time::timeout(TURN_WITHIN, Arc::clone(&self.readers).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok(Arc::new(turn)),
            _ => Err(Problem::busy(format!("{READERS} others read the journal: ask again, or for less"))),
        }
    }

    /// A place among those who follow the stream.
    pub(crate) fn place(&self) -> Result<Arc<OwnedSemaphorePermit>, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map(Arc::new).map_err(|_| Problem::busy(format!("{STREAMS} clients follow already: end one of them")))
    }
}

/// What is answered where.
fn router(site: Arc<Site>) -> Router {
    let api = Router::new()
        .route("/events", get(events::events))
        .route("/events/{seq}", get(events::event))
        .route("/events/{seq}/context", get(context::context))
        .route("/histogram", get(histogram::histogram))
        .route("/machines", get(machines::machines))
        .route("/machines/{name}", get(machines::machine))
        .route("/machines/{name}/timeline", get(machines::timeline))
        .route("/discover", get(discover::discover))
        .route("/explain", get(explain::all))
        .route("/explain/{event}", get(explain::one))
        .route("/logout", post(login::logout))
        .route("/stream", get(stream::stream))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready));
    Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/", get(page::index))
        .route("/login", get(login::login).head(login::look))
        .route("/assets/{name}", get(page::asset))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .with_state(site)
}
