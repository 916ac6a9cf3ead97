//! `/api/v1/histogram`: how many records there were when, for the same filters as everywhere.

use super::Site;
use super::machines::{blocking, json, span};
use super::problem::Problem;
use super::query::{FILTERS, Parameters};
use crate::daemon::view::histogram::{Asked, BUCKETS, MOST_BUCKETS};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use std::sync::Arc;

/// The bars.
pub(crate) async fn histogram(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(query.as_deref());
    let wanted = parameters.wanted()?;
    let buckets = parameters.number("buckets", 1..=MOST_BUCKETS)?.unwrap_or(BUCKETS);
    let known: Vec<&str> = FILTERS.into_iter().chain(["buckets"]).collect();
    parameters.end(&known)?;
    let (since, until) = span(wanted.filter.since, wanted.filter.until)?;
    let asked = Asked { wanted, since, until, buckets: usize::try_from(buckets).unwrap_or(usize::MAX) };
    let turn = site.turn().await?;
    let view = site.view.clone();
    let text = blocking(move || {
        let text = view.histogram_json(&asked);
        drop(turn);
        text
    });
    text.await.map(json)
}
