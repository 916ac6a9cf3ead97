//! `/api/v1/events/SEQ/context`: a record among its neighbours, with its causes and consequences.

use super::Site;
use super::machines::{Segment, blocking, json, sequence_number};
use super::problem::Problem;
use super::query::Parameters;
use crate::daemon::recorder::in_words;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

pub(crate) async fn context(
    State(site): State<Arc<Site>>,
    seq: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let number = sequence_number(seq)?;
    let turn = site.turn().await?;
    let view = site.view.clone();
    let found = blocking(move || {
        let found = view.context_json(number);
        drop(turn);
        found
    });
    match found.await? {
        Ok(Some(text)) => Ok(json(text)),
        Ok(None) => Err(site.no_record(number)),
        Err(error) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, in_words(&error))),
    }
}
