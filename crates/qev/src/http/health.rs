//! `/api/v1/health` and `/api/v1/ready`: for who minds the daemon. They need no token and say nothing of any machine.

use super::Site;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Object, Value};
use std::sync::Arc;

/// The daemon answers.
pub(crate) async fn health() -> Response {
    json(StatusCode::OK, &Object::new().with("status", "alive"))
}

/// The daemon keeps what it hears; 503 with the reasons when it does not.
pub(crate) async fn ready(State(site): State<Arc<Site>>) -> Response {
    let mut reasons = Vec::new();
    if !site.recorder.is_alive() {
        reasons.push("the recorder has ended");
    }
    if site.recorder.is_in_trouble() {
        reasons.push("the journal has not committed anything for 5 s");
    }
    if reasons.is_empty() {
        return json(StatusCode::OK, &Object::new().with("status", "ready"));
    }
    let reasons = Value::Array(reasons.into_iter().map(Value::from).collect());
    json(StatusCode::SERVICE_UNAVAILABLE, &Object::new().with("status", "not ready").with("reasons", reasons))
}

fn json(status: StatusCode, object: &Object) -> Response {
    let mut response = (status, object.print(Order::Given, Layout::Line) + "\n").into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
