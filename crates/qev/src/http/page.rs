//! The page's own files: they are in the program, and hold no data.

use super::problem::Problem;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qev_record::plain;
use sha2::{Digest as _, Sha256};

/// A file.
#[derive(Debug)]
struct File {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

macro_rules! file {
    ($name:literal, $kind:expr) => {
        File { name: $name, kind: $kind, content: include_bytes!(concat!("../../page/", $name)) }
    };
}

const HTML: &str = "text/html; charset=utf-8";

/// The document at `/`, and what it asks for under `/assets/`.
const INDEX: File = file!("index.html", HTML);
const FILES: &[File] = &[];

/// The page.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    answer(&INDEX, &headers)
}

/// What the page asks for.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => Ok(answer(file, &headers)),
        None => Err(Problem::missing(format!("the page has no file '{}'", plain::name(&name)))),
    }
}

/// The file, or that it is as the browser has it. It is asked each time, so that a new version is seen at once.
fn answer(file: &File, headers: &HeaderMap) -> Response {
    let tag = tag(file);
    let mut response = match headers.get(header::IF_NONE_MATCH) {
        Some(known) if known.as_bytes() == tag.as_bytes() => StatusCode::NOT_MODIFIED.into_response(),
        _ => file.content.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// What tells one version of a file from another.
fn tag(file: &File) -> String {
    let digest = Sha256::digest(file.content);
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}
