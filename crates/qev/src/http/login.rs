//! `/login` and `/api/v1/logout`: how a browser comes in with a one-time key, and goes.

use super::Site;
use super::access::Visitor;
use super::access::file::FileError;
use super::problem::Problem;
use super::query::Parameters;
use crate::daemon::recorder::in_words;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// Takes the key, and gives a session for it.
pub(crate) async fn login(
    State(site): State<Arc<Site>>,
    visitor: Option<Extension<Visitor>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(query.as_deref());
    let key: String = parameters.take("token")?.unwrap_or_default();
    parameters.end(&["token"])?;
    let Some(role) = site.access.take_key(&key) else {
        // Who opens the address again is in already.
        if visitor.is_some() {
            return Ok(to_the_page());
        }
        let detail = "this address was used already, or is older than 10 minutes: ask 'qev page' for another";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    let of_thread = Arc::clone(&site);
    let cookie = on_a_thread(move || of_thread.access.begin_session(role)).await?;
    // A proxy says whether the browser spoke TLS with it; then the cookie is not to go without.
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes() == b"https");
    let mut response = to_the_page();
    set_cookie(&mut response, if is_tls { cookie + "; Secure" } else { cookie });
    Ok(response)
}

/// Who only looks what is behind an address, as programs do that show links, does not use it up.
pub(crate) async fn look() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Ends the session.
pub(crate) async fn logout(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Problem> {
    let cookie = on_a_thread(move || site.access.end_session(&visitor)).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, cookie);
    Ok(response)
}

fn to_the_page() -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response()
}

fn set_cookie(response: &mut Response, cookie: String) {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// What writes to disk, and what is told when it cannot.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, Problem> {
    let failed = |words: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, words);
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(in_words(&error))),
        Err(error) => Err(failed(error.to_string())),
    }
}
