//! `/metrics`: for Prometheus, in OpenMetrics when it asks for that.

use super::Site;
use super::machines::blocking;
use super::problem::Problem;
use crate::daemon::view::metrics::Exposition;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(crate) async fn metrics(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let exposition = Exposition::accepted(accept);
    let mut response = blocking(move || site.view.metrics(exposition)).await?.into_response();
    let kind = HeaderValue::from_static(exposition.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
