//! `/api/v1/events`: the history, a page at a time, as `qev log -o json` prints it.
//!
//! A page is cut by `limit`, and by 8 MiB; where there may be more, a header says how to go on:
//!
//! ```text
//!   Link: </api/v1/events?event=GUEST_*&before=1042>; rel="next"
//! ```

use super::Site;
use super::machines::{Segment, sequence_number};
use super::problem::Problem;
use super::query::{FILTERS, Parameters};
use crate::daemon::follow::{Item, Pages, Wanted, up_to};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qev_journal::Query;
use qev_qmp::json::print::string;
use std::sync::Arc;

/// How many records a page has when nobody says, and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 1000;

/// A page is not begun anew when it has this many bytes already.
const BYTES: usize = 8 << 20;

/// The last number of the journal when it was asked.
const LAST: HeaderName = HeaderName::from_static("qev-last");

/// Which records a page has, and in which order.
struct Asked {
    wanted: Wanted,
    after: Option<u64>,
    before: Option<u64>,
    newest_first: bool,
    limit: u64,
}

impl Asked {
    fn parse(query: Option<&str>) -> Result<Asked, Problem> {
        let mut parameters = Parameters::of(query);
        let wanted = parameters.wanted()?;
        let any = 0..=u64::MAX;
        let (after, before) = (parameters.number("after", any.clone())?, parameters.number("before", any)?);
        let order = parameters.one_of("order", &[("newest", true), ("oldest", false)])?;
        let limit = parameters.number("limit", 1..=MOST)?.unwrap_or(LIMIT);
        let known: Vec<&str> = FILTERS.into_iter().chain(["after", "before", "order", "limit"]).collect();
        parameters.end(&known)?;
        Ok(Asked { wanted, after, before, newest_first: order.unwrap_or(true), limit })
    }
}

/// A page of records.
pub(crate) async fn events(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::parse(query.as_deref())?;
    let turn = site.turn().await?;
    let last = site.recorder.last();
    if let Some(after) = asked.after.filter(|after| *after > last) {
        let detail = format!("there is no record {after}: the last one is {last}; is this another journal?");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let now = up_to(last);
    let query_of_journal = Query {
        after: asked.after,
        before: now.before.min(asked.before.or(now.before)),
        newest_first: asked.newest_first,
        limit: Some(asked.limit),
        ..Query::default()
    };
    let mut pages = Pages::new(site.recorder.reader(), asked.wanted, &query_of_journal, Some(turn));
    let (mut body, mut found, mut at) = (String::new(), 0, None);
    let is_cut = loop {
        let Some(page) = pages.next().await else { break found == asked.limit };
        for item in page {
            match item {
                Item::Record(record) => {
                    found += 1;
                    at = record.seq;
                    body.push_str(&record.to_line());
                    body.push('\n');
                }
                Item::Missing { gap, last } => {
                    at = last.filter(|_| !asked.newest_first).or(at);
                    body.push_str(&gap.to_line());
                    body.push('\n');
                }
                Item::Problem(problem) => push_problem(&mut body, &problem),
            }
        }
        if body.len() >= BYTES {
            break true;
        }
    };
    let mut response = jsonl(body);
    response.headers_mut().insert(LAST, HeaderValue::from(last));
    let link = at.filter(|_| is_cut).map(|at| next(query.as_deref(), asked.newest_first, at));
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// One record.
pub(crate) async fn event(
    State(site): State<Arc<Site>>,
    seq: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let number = sequence_number(seq)?;
    let turn = site.turn().await?;
    let query = Query {
        after: Some(number.saturating_sub(1)),
        before: Some(number.saturating_add(1)),
        limit: Some(1),
        ..Query::default()
    };
    let mut pages = Pages::new(site.recorder.reader(), Wanted::default(), &query, Some(turn));
    while let Some(page) = pages.next().await {
        for item in page {
            match item {
                Item::Record(record) if record.seq == Some(number) => {
                    let mut response = (record.to_line() + "\n").into_response();
                    let json = HeaderValue::from_static("application/json");
                    response.headers_mut().insert(header::CONTENT_TYPE, json);
                    return Ok(response);
                }
                // What was deleted is told below, what cannot be read by a problem.
                Item::Record(_) | Item::Missing { .. } => {}
                Item::Problem(problem) => return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem)),
            }
        }
    }
    Err(site.no_record(number))
}

fn jsonl(body: String) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    response
}

/// A part of the journal that cannot be read; what follows is behind it.
fn push_problem(body: &mut String, problem: &str) {
    body.push_str("{\"problem\":");
    string(body, problem);
    body.push_str("}\n");
}

/// Where the page behind this one is: the same question, from this record on.
fn next(query: Option<&str>, newest_first: bool, at: u64) -> String {
    let cursor = if newest_first { "before" } else { "after" };
    let mut written = form_urlencoded::Serializer::new(String::new());
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    written.extend_pairs(pairs.filter(|(name, _)| name != cursor));
    written.append_pair(cursor, &at.to_string());
    format!("</api/v1/events?{}>; rel=\"next\"", written.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_for_as_this_one() {
        assert_eq!(next(None, true, 5), "</api/v1/events?before=5>; rel=\"next\"");
        let query = "where=a%3D%22%3E%C3%BC&before=9&limit=2";
        assert_eq!(
            next(Some(query), true, 5),
            "</api/v1/events?where=a%3D%22%3E%C3%BC&limit=2&before=5>; rel=\"next\""
        );
        assert_eq!(next(Some("after=1&before=9"), false, 5), "</api/v1/events?before=9&after=5>; rel=\"next\"");
    }

    #[test]
    fn what_a_page_can_be_asked_for() {
        let asked = Asked::parse(Some("after=3&before=9&order=oldest&limit=1000&machine=a")).unwrap();
        assert_eq!((asked.after, asked.before, asked.newest_first, asked.limit), (Some(3), Some(9), false, 1000));
        for (query, expected) in [
            ("limit=0", "limit=0: expected a whole number from 1 to 1000"),
            ("limit=1001", "from 1 to 1000"),
            ("after=-1", "after=-1: expected a whole number"),
            ("order=up", "order=up: expected newest or oldest"),
            ("befor=1", "did you mean before?"),
        ] {
            let detail = Asked::parse(Some(query)).err().unwrap().detail;
            assert!(detail.contains(expected), "{detail}");
        }
    }
}
