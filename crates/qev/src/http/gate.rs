//! What every request passes: whether it is meant for us, and what every answer says to a browser.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use std::convert::Infallible;
use std::net::SocketAddr;

/// What a browser is told with every answer: the page is what stands here, and nothing that stands elsewhere; nobody puts it
/// into a frame; nothing is what it does not say that it is.
const SAFE: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Lets a request through, or answers it.
pub(crate) async fn pass<F>(request: Request, _address: SocketAddr, answer: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Result<Response, Infallible>>,
{
    let mut response = match answer(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    guard(&mut response);
    response
}

fn guard(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in SAFE {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // What machines said is for who asked, and for now.
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
}
