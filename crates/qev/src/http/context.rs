//! `/api/v1/events/SEQ/context`: a record among its neighbours, with its causes and consequences.

use super::Site;
use super::machines::{blocking, json};
use super::problem::Problem;
use super::query::Parameters;
use crate::daemon::recorder::in_words;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use qev_record::plain;
use std::sync::Arc;

pub(crate) async fn context(
    State(site): State<Arc<Site>>,
    Path(seq): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let wrong = || Problem::wrong(format!("'{}' is no sequence number: expected a whole number", plain::name(&seq)));
    let number: u64 = seq.parse().map_err(|_| wrong())?;
    let turn = site.turn().await?;
    let view = site.view.clone();
    let found = blocking(move || {
        let found = view.context_json(number);
        drop(turn);
        found
    });
    match found.await? {
        Ok(Some(text)) => Ok(json(text)),
        Ok(None) => {
            let last = site.recorder.last();
            let detail = format!("there is no record {number}: the last one is {last}, and old ones may be deleted");
            Err(Problem::missing(detail))
        }
        Err(error) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, in_words(&error))),
    }
}
