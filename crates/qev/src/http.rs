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
//! | connections | 4096 | 503, and the connection ends |
//! | a request's head | 16 KiB, 10 s to send it | 431, or the connection ends |
//! | a request's body | 64 KiB, 10 s to send it | 413, 408 |
//! | clients of the stream | 2048 | 503 |
//! | readers of the journal at once | 16; others wait 10 s | 503 |
//! | what a client has not read | a page of records | its cursor stands still; nobody else notices |

mod body;
mod context;
mod events;
mod gate;
mod health;
mod histogram;
pub(crate) mod listen;
mod machines;
mod metrics;
mod page;
mod problem;
mod query;
mod stream;

use crate::config;
use crate::daemon::recorder::Recorder;
use crate::daemon::view::View;
use crate::exit::{Exit, Failure, tell};
use crate::printer::now;
use axum::Router;
use axum::routing::get;
use listen::{Listener, Running};
use problem::Problem;
use qev_qmp::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many clients may follow the stream, and how many may read the journal at once.
const STREAMS: usize = 2048;
const READERS: usize = 16;

/// How long who wants to read the journal waits for a turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) host: Arc<str>,
    pub(crate) started: Timestamp,
    pub(crate) recorder: Recorder,
    pub(crate) view: View,
    streams: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// The servers of a daemon.
#[derive(Debug)]
pub(crate) struct Http {
    running: Vec<Running>,
}

impl Http {
    /// Listens as the configuration says, and answers from then on. An address that nobody asked for and that is taken is
    /// told, and done without.
    ///
    /// # Errors
    ///
    /// When there is no listening at an address that was asked for.
    pub(crate) async fn start(
        config: &config::Http,
        host: Arc<str>,
        recorder: Recorder,
        view: View,
    ) -> Result<Http, Failure> {
        let site = Arc::new(Site {
            host,
            started: now(),
            recorder,
            view,
            streams: Arc::new(Semaphore::new(STREAMS)),
            readers: Arc::new(Semaphore::new(READERS)),
        });
        let mut listeners = Vec::new();
        if let Some(address) = config.listen.iter().find(|address| !address.ip().is_loopback()) {
            let error = "whoever reaches this address would see every machine: listen at a loopback address";
            return Err(Failure::new(Exit::Failed, error).about(format!("http {address}")));
        }
        for address in &config.listen {
            match Listener::bind(*address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if config.is_default => tell(&format!("there is no page: {address}: {error}")),
                Err(error) => return Err(Failure::new(Exit::Failed, error).about(format!("http {address}"))),
            }
        }
        let router = router(Arc::clone(&site));
        let connections = listen::places();
        let mut running = Vec::new();
        for listener in listeners {
            tell(&format!("page at http://{}/", listener.address()));
            running.push(listener.serve(router.clone(), &connections));
        }
        Ok(Http { running })
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

impl Site {
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
        .route("/stream", get(stream::stream))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready));
    Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(metrics::metrics))
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .with_state(site)
}
