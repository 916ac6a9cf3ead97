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
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The document at `/`, and what it asks for under `/assets/`.
const INDEX: File = file!("index.html", HTML);
const FILES: &[File] = &[
    file!("api.js", JS),
    file!("app.js", JS),
    file!("arrow-keys.js", JS),
    file!("disk-strips.js", JS),
    file!("event-view.js", JS),
    file!("filters.js", JS),
    file!("fleet-tile.js", JS),
    file!("fleet-view.js", JS),
    file!("focus.js", JS),
    file!("fold.js", JS),
    file!("histogram.js", JS),
    file!("icon.svg", SVG),
    file!("keyboard.js", JS),
    file!("lanes.js", JS),
    file!("links.js", JS),
    file!("machine-view.js", JS),
    file!("machines.css", CSS),
    file!("numbers.js", JS),
    file!("pace.js", JS),
    file!("plot.js", JS),
    file!("raw.js", JS),
    file!("record-list.js", JS),
    file!("record-row.js", JS),
    file!("record.js", JS),
    file!("records.css", CSS),
    file!("row-window.js", JS),
    file!("said.js", JS),
    file!("severity.js", JS),
    file!("state-words.js", JS),
    file!("stream-view.js", JS),
    file!("stream.js", JS),
    file!("style.css", CSS),
    file!("text.js", JS),
    file!("theme-choice.js", JS),
    file!("theme.js", JS),
    file!("tiles.js", JS),
    file!("tiling.js", JS),
    file!("time.js", JS),
    file!("unattached.js", JS),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words between these two, wherever they stand.
    fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(begin).skip(1).filter_map(move |rest| rest.split(end).next())
    }

    #[test]
    fn all_that_the_page_asks_for_is_there() {
        let text = |file: &File| String::from_utf8(file.content.to_vec()).unwrap();
        let index = text(&INDEX);
        let mut wanted: Vec<String> = between(&index, "\"/assets/", "\"").map(str::to_owned).collect();
        assert!(wanted.len() >= 4, "{wanted:?}");
        for file in FILES {
            wanted.extend(between(&text(file), " from \"./", "\";").map(str::to_owned));
        }
        for name in wanted {
            assert!(FILES.iter().any(|file| file.name == name), "{name} is missing");
        }
    }

    #[test]
    fn what_may_not_run_is_not_in_the_document() {
        let index = String::from_utf8(INDEX.content.to_vec()).unwrap();
        assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains(" on"), "{index}");
        assert!(!index.contains("<script>") && !index.contains("://"), "{index}");
    }
}
