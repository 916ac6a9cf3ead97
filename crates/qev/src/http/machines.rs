//! `/api/v1/machines`: who is there and how each is; `/api/v1/machines/NAME`, and its lanes over time.

use super::Site;
use super::problem::Problem;
use super::query::Parameters;
use crate::daemon::identity::Identity;
use crate::daemon::view::list::Which;
use crate::daemon::view::timeline::{Asked, MOST_POINTS, POINTS};
use crate::printer::now;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qev_qmp::Timestamp;
use qev_record::plain;
use std::sync::Arc;

/// How much time is looked at when nobody says, in seconds.
const AN_HOUR: i64 = 3600;

/// All machines, or those that patterns name.
pub(crate) async fn machines(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(query.as_deref());
    let patterns = parameters.take_all("machine")?;
    parameters.end(&["machine"])?;
    if patterns.is_empty() {
        return site.view.fleet().await.map(|text| json_of(Bytes::from_owner(text))).ok_or_else(failed);
    }
    blocking(move || site.view.machines_json(&patterns, now())).await.map(json)
}

/// One machine.
pub(crate) async fn machine(
    State(site): State<Arc<Site>>,
    name: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let name = segment(name)?;
    let mut parameters = Parameters::of(query.as_deref());
    let which = which(&mut parameters)?;
    parameters.end(&["machine_id", "session"])?;
    site.view.machine_json(&name, &which, now()).map(json).ok_or_else(|| nobody(&name))
}

/// A machine over time.
pub(crate) async fn timeline(
    State(site): State<Arc<Site>>,
    name: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let name = segment(name)?;
    let mut parameters = Parameters::of(query.as_deref());
    let which = which(&mut parameters)?;
    let (since, until) = span(parameters.time("since")?, parameters.time("until")?)?;
    let points = parameters.number("points", 8..=MOST_POINTS)?.unwrap_or(POINTS);
    parameters.end(&["machine_id", "session", "since", "until", "points"])?;
    let identity: Identity = site.view.identity(&name, &which, now()).ok_or_else(|| nobody(&name))?;
    let asked = Asked { since, until, points: usize::try_from(points).unwrap_or(usize::MAX) };
    let turn = site.turn().await?;
    let view = site.view.clone();
    let text = blocking(move || {
        let text = view.timeline_json(&identity, &asked);
        drop(turn);
        text
    });
    text.await.map(json)
}

/// A part of an address that says which one.
pub(super) type Segment = Result<Path<String>, PathRejection>;

pub(super) fn segment(segment: Segment) -> Result<String, Problem> {
    let wrong = |_| Problem::wrong("the address is no UTF-8 text behind its '%': encode it as UTF-8");
    segment.map(|Path(text)| text).map_err(wrong)
}

/// The sequence number that an address has.
pub(super) fn sequence_number(seq: Segment) -> Result<u64, Problem> {
    let seq = segment(seq)?;
    let wrong = |_| Problem::wrong(format!("'{}' is no sequence number: expected a whole number", plain::name(&seq)));
    seq.parse().map_err(wrong)
}

fn which(parameters: &mut Parameters) -> Result<Which, Problem> {
    Ok(Which { machine_id: parameters.take("machine_id")?, session: parameters.take("session")? })
}

fn nobody(name: &str) -> Problem {
    let name = plain::name(name);
    Problem::missing(format!("there is no machine '{name}': /api/v1/machines has those that there are"))
}

/// From when to when; without `until` to now, without `since` an hour.
pub(super) fn span(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(Timestamp, Timestamp), Problem> {
    let until = until.unwrap_or_else(now);
    let since = since.unwrap_or(Timestamp { seconds: until.seconds.saturating_sub(AN_HOUR), ..until });
    match since > until {
        true => Err(Problem::wrong("since is behind until: say the earlier time first")),
        false => Ok((since, until)),
    }
}

/// What takes its time is done on a thread that may take it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| failed())
}

fn failed() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this could not be answered: the reason is in qev's log")
}

pub(super) fn json(text: String) -> Response {
    json_of((text + "\n").into())
}

fn json_of(text: Bytes) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
