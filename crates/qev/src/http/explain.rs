//! `/api/v1/explain`: what events mean, as `qev explain` says it.

use super::problem::Problem;
use super::query::Parameters;
use crate::cli::explain::to_object;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Event, Message, Object, Value};
use qev_record::explain::{self, Explanation};
use qev_record::{Meaning, Severity};

/// All of them, in a line each: what there is to ask for.
pub(crate) async fn all(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let events: Vec<Value> = explain::all().map(|event| in_short(event).into()).collect();
    Ok(json(&Object::new().with("events", events)))
}

/// One of them, in full.
pub(crate) async fn one(Path(name): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let event = Explanation::find(&name).map_err(|error| Problem::missing(error.to_string()))?;
    let severity = severity(event).map_or(Value::Null, |severity| severity.as_str().into());
    Ok(json(&to_object(event).with("severity", severity)))
}

fn in_short(event: &Explanation) -> Object {
    let optional = |text: Option<&'static str>| text.map_or(Value::Null, Value::from);
    Object::new()
        .with("event", event.event)
        .with("since", event.since)
        .with("until", optional(event.until))
        .with("severity", severity(event).map_or(Value::Null, |severity| severity.as_str().into()))
        .with("sentence", format!("emitted when {}", event.emitted))
}

/// How much it matters when its data does not say that it matters less; of the five, at worst.
fn severity(event: &Explanation) -> Option<Severity> {
    let line = Object::new().with("event", event.event).print(Order::Given, Layout::Line);
    let event: Event = match Message::decode(line.as_bytes()) {
        Ok(Message::Event(event)) => event,
        _ => return None,
    };
    Some(Meaning::of(&event).severity)
}

fn json(object: &Object) -> Response {
    let mut response = (object.print(Order::Given, Layout::Line) + "\n").into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_event_is_there_with_how_much_it_matters() {
        for event in explain::all() {
            assert!(severity(event).is_some(), "{}", event.event);
        }
        let answer = one(Path("guest-panicked".to_owned()), RawQuery(None)).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.starts_with(r#"{"event": "GUEST_PANICKED", "since": "#), "{text}");
        assert!(text.ends_with("\"severity\": \"critical\"}\n"), "{text}");
        let problem = one(Path("GUEST_PANICK".to_owned()), RawQuery(None)).await.unwrap_err();
        assert!(problem.detail.contains("GUEST_PANICKED"), "{}", problem.detail);
    }
}
