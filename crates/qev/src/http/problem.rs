//! What is told a client whose request is not answered: `application/problem+json` (RFC 9457), in a plain sentence that says
//! what to do.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use qev_qmp::Object;
use qev_qmp::json::print::{Layout, Order};
use qev_record::plain::Plain;

/// How long a detail may be, as it is shown: what a client sent may be in it.
const DETAIL: usize = 1000;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// What is wrong with this request, and what to do. Foreign words in it are made safe here.
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    /// The request says something that is not understood.
    pub(crate) fn wrong(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub(crate) fn missing(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Not now.
    pub(crate) fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The problem as JSON.
    pub(crate) fn to_json(&self) -> String {
        let title = self.status.canonical_reason().unwrap_or("a problem");
        Object::new()
            .with("type", "about:blank")
            .with("title", title)
            .with("status", u64::from(self.status.as_u16()))
            .with("detail", Plain::new(&self.detail, DETAIL).to_string())
            .print(Order::Given, Layout::Line)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json() + "\n").into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// For an address that there is none of.
pub(crate) async fn not_found(uri: Uri) -> Problem {
    Problem::missing(format!("there is no {}: the API is under /api/v1/, the page is at /", uri.path()))
}

/// For a method that an address does not have.
pub(crate) async fn not_allowed(method: axum::http::Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} cannot be asked with {method}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_that_acts_on_nothing() {
        let json = Problem::wrong("there is no \u{1b}[2J\"ü\"").to_json();
        assert!(json.is_ascii() && !json.contains('\u{1b}'), "{json}");
        assert!(
            json.starts_with(r#"{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": ""#),
            "{json}"
        );
    }
}
