//! `/api/v1/stream`: records as they come, as server-sent events.
//!
//! ```text
//!   event: hello      data: {"last":17,"version":"…","host":"…","started":"…","role":"…"}
//!   id: 18
//!   event: record     data: {"seq":18,…}                 a record that is not kept yet has no id
//!   id: 18
//!   event: record     data: {"kind":"gap",…}             records up to 18 that cannot be given: the gap says which
//!   event: lagged     data: {"from":19,"to":20018}       too far behind: what is between is to be fetched
//!   event: problem    data: {"problem":"…"}              a part of the journal cannot be read
//!   :                                                    nothing for 15 s
//!   event: bye        data: {}                           the daemon ends, or the token was revoked
//! ```
//!
//! A client is a cursor: while it does not read, its connection is full, no piece is made for it, and nobody else notices.

use super::Site;
use super::access::Visitor;
use super::body::{Next, pieces};
use super::problem::Problem;
use super::query::{FILTERS, Parameters};
use crate::daemon::follow::{Follow, Item, Wanted};
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use qev_qmp::Object;
use qev_qmp::json::print::{Layout, Order};
use qev_record::{plain, time::to_rfc3339};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a client hears from us at least.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many numbers a client may be behind when nobody says, and at most.
const BEHIND: u64 = 10_000;
const MOST_BEHIND: u64 = 1_000_000;

/// A piece ends with the record that makes it this long.
const PIECE: usize = 64 << 10;

/// What is asked for.
struct Asked {
    wanted: Wanted,
    after: Option<u64>,
    behind: u64,
}

impl Asked {
    fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Asked, Problem> {
        let mut parameters = Parameters::of(query);
        let wanted = parameters.wanted()?;
        let after = parameters.number("after", 0..=u64::MAX)?;
        let behind = parameters.number("behind", 1..=MOST_BEHIND)?.unwrap_or(BEHIND);
        let known: Vec<&str> = FILTERS.into_iter().chain(["after", "behind"]).collect();
        parameters.end(&known)?;
        // The address is that of the first time; the header says how far a client has come.
        let last = headers.get("last-event-id").map(|id| {
            let number = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            number.ok_or_else(|| {
                let id = String::from_utf8_lossy(id.as_bytes());
                Problem::wrong(format!("Last-Event-ID: '{}': expected a sequence number", plain::name(&id)))
            })
        });
        Ok(Asked { wanted, after: last.transpose()?.or(after), behind })
    }
}

/// Follows.
pub(crate) async fn stream(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::parse(query.as_deref(), &headers)?;
    let place = site.place()?;
    let last = site.recorder.last();
    let mut first = hello(&site, &visitor, last);
    let after = match asked.after {
        // Of another journal: what the client knows is of no use to it.
        Some(after) if after > last => {
            first.push_str(&lagged(0, last));
            last
        }
        after => after.unwrap_or(last),
    };
    let follow = site.recorder.follow(asked.wanted, after).guarded(Some(place));
    let client = Client {
        site,
        visitor,
        looked: Instant::now(),
        follow,
        behind: asked.behind,
        first: Some(first),
        waiting: VecDeque::new(),
        is_over: false,
    };
    let mut response = pieces(client, Client::next).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // What stands between us is not to collect it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn hello(site: &Site, visitor: &Visitor, last: u64) -> String {
    let data = Object::new()
        .with("last", last)
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("host", &*site.host)
        .with("started", to_rfc3339(site.started))
        .with("role", visitor.role.as_str());
    message("hello", &data.print(Order::Given, Layout::Line))
}

fn lagged(from: u64, to: u64) -> String {
    message("lagged", &format!("{{\"from\":{from},\"to\":{to}}}"))
}

fn message(event: &str, data: &str) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

/// Who follows.
struct Client {
    site: Arc<Site>,
    visitor: Visitor,
    /// When it was looked last whether they may still be here.
    looked: Instant,
    follow: Follow,
    behind: u64,
    /// What is said before anything else.
    first: Option<String>,
    /// What was found and is not said yet.
    waiting: VecDeque<Item>,
    is_over: bool,
}

impl Client {
    fn next(mut self) -> Next<Client> {
        Box::pin(async move {
            if self.is_over {
                return None;
            }
            let piece = self.piece().await;
            Some((Bytes::from(piece), self))
        })
    }

    async fn piece(&mut self) -> String {
        if let Some(first) = self.first.take() {
            return first;
        }
        if self.looked.elapsed() >= KEEP_ALIVE {
            self.looked = Instant::now();
            if !self.site.access.is_still_in(&self.visitor) {
                self.is_over = true;
                return message("bye", "{}");
            }
        }
        if self.waiting.is_empty() {
            if let Some((from, to)) = self.follow.skip_when_behind(self.behind) {
                return lagged(from, to);
            }
            match tokio::time::timeout(KEEP_ALIVE, self.follow.next()).await {
                Ok(Some(items)) => self.waiting.extend(items),
                Ok(None) => {
                    self.is_over = true;
                    return message("bye", "{}");
                }
                Err(_) => return ":\n\n".to_owned(),
            }
        }
        let mut piece = String::new();
        while piece.len() < PIECE {
            let Some(item) = self.waiting.pop_front() else { break };
            match item {
                Item::Record(record) => piece.push_str(&self.site.said.of(&record)),
                Item::Missing { gap, last } => {
                    // A client that comes back behind this number is not told again.
                    piece.push_str(&last.map_or_else(String::new, |last| format!("id: {last}\n")));
                    piece.push_str(&message("record", &gap.to_line()));
                }
                Item::Problem(problem) => {
                    let data = Object::new().with("problem", plain::phrase(&problem).to_string());
                    piece.push_str(&message("problem", &data.print(Order::Given, Layout::Line)));
                }
            }
        }
        piece
    }
}
