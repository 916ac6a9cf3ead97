//! JSON Lines to records.

use super::{Kind, Record};
use crate::severity::Severity;
use crate::time::from_rfc3339;
use qev_qmp::json::scan::{Scanner, SyntaxError};
use qev_qmp::{EventName, Json, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// The line is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It is not even a JSON object.
    NotJson(SyntaxError),
    /// A member that every record of this kind has is not there.
    Missing {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A member is something else than it should be.
    Misfit {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::NotJson(_) => f.write_str("not a record: not a JSON object"),
            RecordError::Missing { member, expected } => {
                write!(f, "not a record: member '{member}' is missing: expected {expected}")
            }
            RecordError::Misfit { member, expected, found } => {
                write!(f, "not a record: member '{member}' is {found}: expected {expected}")
            }
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordError::NotJson(error) => Some(error),
            RecordError::Missing { .. } | RecordError::Misfit { .. } => None,
        }
    }
}

impl From<SyntaxError> for RecordError {
    fn from(error: SyntaxError) -> RecordError {
        RecordError::NotJson(error)
    }
}

const STRING: &str = "a string";
const WHOLE: &str = "a whole number from 0 to 2^64 - 1";
const WHOLE_OF_32_BITS: &str = "a whole number from 0 to 2^32 - 1";
const TIME: &str = "a time as RFC 3339 has it, such as \"2026-11-22T11:35:10.942911Z\"";
const TIMESTAMP: &str = "an object with the integers 'seconds' and 'microseconds'";
const COUNTS: &str = "an object with a whole number for each event's name";
const SEVERITY: &str = "one of \"debug\", \"info\", \"notice\", \"warning\", \"error\", \"critical\"";
const OBJECT: &str = "an object";
const LIST: &str = "a list of sentences";

impl Record {
    /// Reads a record from its line. Members may stand in any order; `null` is the same as not there, except as `data`.
    ///
    /// A kind that this version does not know is [`Kind::Other`], a member that it does not know is kept in
    /// [`Record::unknown`], and of members with the same name the last one counts.
    ///
    /// # Errors
    ///
    /// When the line is not a JSON object, or when a member is missing or is not what it should be.
    pub fn parse(line: &str) -> Result<Record, RecordError> {
        let mut scanner = Scanner::new(line);
        let mut members = Members::new();
        scanner.object(|scanner, name| {
            let text = scanner.value()?;
            members.take(&name.text(), text)
        })?;
        scanner.end()?;
        members.record()
    }
}

/// What is read so far: the members that every record must have, and all others in a record.
struct Members {
    kind: Option<Kind>,
    host: Option<Arc<str>>,
    machine: Option<Arc<str>>,
    received: Option<Timestamp>,
    severity: Option<Severity>,
    summary: Option<Box<str>>,
    others: Record,
    /// Where in `unknown` a name is: a line of a million names must not take a million times a million comparisons.
    places: HashMap<Box<str>, usize>,
}

impl Members {
    fn new() -> Members {
        let nobody: Arc<str> = Arc::from("");
        let others = Record::new(
            Kind::Other("".into()),
            nobody.clone(),
            nobody,
            Timestamp::UNKNOWN,
            Severity::Debug,
            String::new(),
        );
        Members {
            kind: None,
            host: None,
            machine: None,
            received: None,
            severity: None,
            summary: None,
            others,
            places: HashMap::new(),
        }
    }

    fn take(&mut self, name: &str, text: &str) -> Result<(), RecordError> {
        let text = Found { text };
        let others = &mut self.others;
        match name {
            "seq" => others.seq = text.read("seq", WHOLE, |text| text.parse().ok())?,
            "kind" => self.kind = text.string("kind", |s| s.into())?,
            "host" => self.host = text.string("host", |s| s.into())?,
            "machine" => self.machine = text.string("machine", |s| s.into())?,
            "machine_id" => others.machine_id = text.string("machine_id", |s| s.into())?,
            "session" => others.session = text.string("session", |s| s.into())?,
            "uid" => others.uid = text.read("uid", WHOLE_OF_32_BITS, |text| text.parse().ok())?,
            "via" => others.via = text.string("via", |s| s.into())?,
            "received" => self.received = text.time("received")?,
            "durable" => others.durable = text.read("durable", "true or false", |text| text.parse().ok())?,
            "severity" => self.severity = text.read("severity", SEVERITY, |text| unquote(text)?.parse().ok())?,
            "summary" => self.summary = text.string("summary", |s| s.into())?,
            "reason" => others.reason = text.string("reason", |s| s.into())?,
            "from" => others.from = text.time("from")?,
            "until" => others.until = text.time("until")?,
            "missed" => others.missed = text.read("missed", COUNTS, counts)?.unwrap_or_default(),
            "event" => others.event = text.string("event", |s| s.into())?,
            "timestamp" => others.timestamp = text.read("timestamp", TIMESTAMP, timestamp)?,
            "data" => others.data = json(text.text),
            "departs" => {
                others.departs = text.read("departs", LIST, |text| json(text).filter(|_| text.starts_with('[')))?;
            }
            "extra" => {
                others.extra = text.read("extra", OBJECT, |text| json(text).filter(|_| text.starts_with('{')))?;
            }
            _ => self.keep(name, text.text),
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, text: &str) {
        let Some(value) = json(text) else { return };
        let unknown = &mut self.others.unknown;
        let place = *self.places.entry(name.into()).or_insert(unknown.len());
        match unknown.get_mut(place) {
            Some((_, old)) => *old = value,
            None => unknown.push((name.into(), value)),
        }
    }

    fn record(self) -> Result<Record, RecordError> {
        let kind = required("kind", STRING, self.kind)?;
        if kind == Kind::Event && self.others.event.is_none() {
            return Err(RecordError::Missing { member: "event", expected: "the event's name" });
        }
        Ok(Record {
            kind,
            host: required("host", STRING, self.host)?,
            machine: required("machine", STRING, self.machine)?,
            received: required("received", TIME, self.received)?,
            severity: required("severity", SEVERITY, self.severity)?,
            summary: required("summary", STRING, self.summary)?,
            ..self.others
        })
    }
}

fn required<T>(member: &'static str, expected: &'static str, value: Option<T>) -> Result<T, RecordError> {
    value.ok_or(RecordError::Missing { member, expected })
}

/// The text of a member's value, checked.
struct Found<'a> {
    text: &'a str,
}

impl Found<'_> {
    fn read<T>(
        &self,
        member: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        if self.text == "null" {
            return Ok(None);
        }
        match read(self.text) {
            Some(value) => Ok(Some(value)),
            None => Err(RecordError::Misfit { member, expected, found: self.what() }),
        }
    }

    fn string<T>(&self, member: &'static str, make: impl FnOnce(&str) -> T) -> Result<Option<T>, RecordError> {
        self.read(member, STRING, |text| Scanner::new(text).string().ok().map(|s| make(&s.text())))
    }

    fn time(&self, member: &'static str) -> Result<Option<Timestamp>, RecordError> {
        self.read(member, TIME, |text| from_rfc3339(&unquote(text)?))
    }

    fn what(&self) -> &'static str {
        match self.text.as_bytes().first() {
            Some(b'"') => "another string",
            Some(b'{') => "another object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            _ => "another number",
        }
    }
}

fn unquote(text: &str) -> Option<String> {
    Scanner::new(text).string().ok().map(|s| s.text().into_owned())
}

/// The value was scanned as part of the line, so it is JSON.
fn json(text: &str) -> Option<Json> {
    Json::parse(text).ok()
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let (mut seconds, mut microseconds) = (None, None);
    let walked = Scanner::new(text).object(|scanner, name| {
        match name.plain() {
            Some("seconds") => seconds = Some(scanner.integer()?),
            Some("microseconds") => microseconds = Some(scanner.integer()?),
            _ => drop(scanner.value()?),
        }
        Ok::<_, SyntaxError>(())
    });
    walked.ok()?;
    Some(Timestamp { seconds: seconds?, microseconds: microseconds? })
}

fn counts(text: &str) -> Option<BTreeMap<EventName, u64>> {
    let (mut counts, mut fit) = (BTreeMap::new(), true);
    let walked = Scanner::new(text).object(|scanner, name| {
        match scanner.value()?.parse() {
            Ok(n) => drop(counts.insert(EventName::from(&*name.text()), n)),
            Err(_) => fit = false,
        }
        Ok::<_, SyntaxError>(())
    });
    walked.ok()?;
    fit.then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    const LEAST: &str = r#""kind":"attached","host":"h1","machine":"web1","received":"2026-11-22T11:35:10Z","severity":"info","summary":"attached""#;

    fn check_error(line: &str, expected: &str) {
        assert_eq!(Record::parse(line).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_least_record_is_a_record() {
        let record = Record::parse(&format!("{{{LEAST}}}")).unwrap();
        assert_eq!((record.kind, &*record.machine, record.seq), (Kind::Attached, "web1", None));
        assert_eq!(record.received.micros(), Some(1_795_347_310_000_000));
    }

    #[test]
    fn a_line_that_is_no_record_is_told_which_member_is_wrong_and_what_it_should_be() {
        check_error("", "not a record: not a JSON object");
        check_error("{} x", "not a record: not a JSON object");
        check_error("{}", "not a record: member 'kind' is missing: expected a string");
        check_error(
            &format!(r#"{{{LEAST},"kind":"event"}}"#),
            "not a record: member 'event' is missing: expected the event's name",
        );
        check_error(
            &format!(r#"{{{LEAST},"seq":-1}}"#),
            "not a record: member 'seq' is another number: expected a whole number from 0 to 2^64 - 1",
        );
        check_error(
            &format!(r#"{{{LEAST},"severity":"fatal"}}"#),
            "not a record: member 'severity' is another string: expected one of \"debug\", \"info\", \"notice\", \
             \"warning\", \"error\", \"critical\"",
        );
        check_error(
            &format!(r#"{{{LEAST},"received":"noon"}}"#),
            "not a record: member 'received' is another string: expected a time as RFC 3339 has it, such as \
             \"2026-11-22T11:35:10.942911Z\"",
        );
        check_error(
            &format!(r#"{{{LEAST},"durable":1}}"#),
            "not a record: member 'durable' is another number: expected true or false",
        );
        check_error(&format!(r#"{{{LEAST},"host":[]}}"#), "not a record: member 'host' is an array: expected a string");
        check_error(
            &format!(r#"{{{LEAST},"extra":true}}"#),
            "not a record: member 'extra' is a boolean: expected an object",
        );
        check_error(
            &format!(r#"{{{LEAST},"timestamp":{{"seconds":1}}}}"#),
            "not a record: member 'timestamp' is another object: expected an object with the integers 'seconds' and \
             'microseconds'",
        );
        check_error(
            &format!(r#"{{{LEAST},"missed":{{"STOP":"x"}}}}"#),
            "not a record: member 'missed' is another object: expected an object with a whole number for \
             each event's name",
        );
    }

    #[test]
    fn the_reason_why_it_is_not_json_is_the_source() {
        let error = Record::parse("{").unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "not JSON at byte 1: expected a string");
    }

    #[test]
    fn null_is_not_there_except_as_data() {
        let record = Record::parse(&format!(r#"{{{LEAST},"seq":null,"missed":null,"data":null}}"#)).unwrap();
        assert_eq!((record.seq, record.missed.len()), (None, 0));
        assert_eq!(record.data, Json::parse("null").ok());
    }
}
