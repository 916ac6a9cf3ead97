//! What a record has at a path such as `data.info.device`.

use crate::record::Record;
use crate::time::to_rfc3339;
use qev_qmp::json::scan::{Scanner, SyntaxError};
use qev_qmp::{EventName, Json, Timestamp};

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Text(&'a str),
    Time(String),
    /// Wide enough for every integer that JSON from QEMU has.
    Number(i128),
    Bool(bool),
    /// The text of a value of JSON.
    Json(&'a str),
}

/// Finds what a record has at a path; `None` when there is nothing.
pub(super) fn find<'a>(path: &str, record: &'a Record) -> Option<Found<'a>> {
    let (member, inward) = match path.split_once('.') {
        Some((member, inward)) => (member, Some(inward)),
        None => (path, None),
    };
    match (member, inward) {
        ("seq", None) => number(record.seq),
        ("kind", None) => Some(Found::Text(record.kind.as_str())),
        ("host", None) => Some(Found::Text(&record.host)),
        ("machine", None) => Some(Found::Text(&record.machine)),
        ("machine_id", None) => record.machine_id.as_deref().map(Found::Text),
        ("session", None) => record.session.as_deref().map(Found::Text),
        ("uid", None) => number(record.uid),
        ("via", None) => record.via.as_deref().map(Found::Text),
        ("received", None) => time(Some(record.received)),
        ("durable", None) => record.durable.map(Found::Bool),
        ("severity", None) => Some(Found::Text(record.severity.as_str())),
        ("summary", None) => Some(Found::Text(&record.summary)),
        ("reason", None) => record.reason.as_deref().map(Found::Text),
        ("from", None) => time(record.from),
        ("until", None) => time(record.until),
        ("missed", Some(event)) => number(record.missed.get(&event.into()).copied()),
        ("event", None) => record.event.as_ref().map(EventName::as_str).map(Found::Text),
        ("timestamp", Some("seconds")) => number(record.timestamp.map(|time| time.seconds)),
        ("timestamp", Some("microseconds")) => number(record.timestamp.map(|time| time.microseconds)),
        ("data", inward) => inside(record.data.as_ref(), inward),
        ("extra", inward) => inside(record.extra.as_ref(), inward),
        ("departs", inward) => inside(record.departs.as_ref(), inward),
        (name, inward) => {
            let unknown = record.unknown.iter().find(|(known, _)| **known == *name);
            inside(unknown.map(|(_, value)| value), inward)
        }
    }
}

fn number<'a>(number: Option<impl Into<i128>>) -> Option<Found<'a>> {
    number.map(|number| Found::Number(number.into()))
}

fn time<'a>(time: Option<Timestamp>) -> Option<Found<'a>> {
    time.map(|time| Found::Time(to_rfc3339(time)))
}

fn inside<'a>(json: Option<&'a Json>, inward: Option<&str>) -> Option<Found<'a>> {
    let mut names = inward.into_iter().flat_map(|inward| inward.split('.'));
    names.try_fold(json?.as_text(), step).map(Found::Json)
}

/// The text of the member of this name of an object, or of the element with this number of an array.
fn step<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut scanner = Scanner::new(text);
    let mut found = None;
    if scanner.peek() == Some(b'[') {
        let wanted: usize = name.parse().ok()?;
        let mut at = 0;
        let walked = scanner.array(|scanner| {
            let element = scanner.value()?;
            if at == wanted {
                found = Some(element);
            }
            at += 1;
            Ok::<_, SyntaxError>(())
        });
        walked.ok()?;
    } else {
        let walked = scanner.object(|scanner, member| {
            let value = scanner.value()?;
            if member.text() == name {
                found = Some(value);
            }
            Ok::<_, SyntaxError>(())
        });
        walked.ok()?;
    }
    found
}
