//! Conditions: `PATH=VALUE`, such as `data.action=pause`.
//!
//! The path goes from the record inward, by member names and by numbers of array elements, with points between. A
//! string equals a value that has the same characters; a number one that is the same number, in whatever way it is
//! written (`1e3`, `0x3e8`); `true`, `false` and `null` themselves; an object or array JSON that says the same. What
//! is not there equals nothing.

use crate::plain;
use crate::record::Record;
use crate::time::to_rfc3339;
use qev_qmp::json::scan::{Scanner, SyntaxError};
use qev_qmp::{EventName, Json, Timestamp, Value};
use std::fmt;
use std::str::FromStr;

/// A condition that a record meets or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    path: Box<str>,
    value: Box<str>,
}

/// The text is not a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhereError {
    /// There is no `=`, or nothing before it.
    NoPath(Box<str>),
    /// There is nothing between two points of the path.
    EmptyName(Box<str>),
}

impl fmt::Display for WhereError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhereError::NoPath(text) => {
                write!(f, "'{}' is not a condition: expected PATH=VALUE, such as data.action=pause", plain::name(text))
            }
            WhereError::EmptyName(text) => {
                write!(f, "'{}' is not a condition: a name in its path is empty", plain::name(text))
            }
        }
    }
}

impl std::error::Error for WhereError {}

impl FromStr for Where {
    type Err = WhereError;

    fn from_str(text: &str) -> Result<Where, WhereError> {
        let (path, value) = match text.split_once('=') {
            Some((path, value)) if !path.is_empty() => (path, value),
            _ => return Err(WhereError::NoPath(text.into())),
        };
        if path.split('.').any(str::is_empty) {
            return Err(WhereError::EmptyName(text.into()));
        }
        Ok(Where { path: path.into(), value: value.into() })
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

impl Where {
    /// The member of the record that the path begins with.
    pub fn member(&self) -> &str {
        self.path.split_once('.').map_or(&*self.path, |(member, _)| member)
    }

    /// Whether a record meets the condition.
    pub fn matches(&self, record: &Record) -> bool {
        let (member, inward) = match self.path.split_once('.') {
            Some((member, inward)) => (member, Some(inward)),
            None => (&*self.path, None),
        };
        match (member, inward) {
            ("seq", None) => self.is_number(record.seq),
            ("kind", None) => self.is_text(Some(record.kind.as_str())),
            ("host", None) => self.is_text(Some(&record.host)),
            ("machine", None) => self.is_text(Some(&record.machine)),
            ("machine_id", None) => self.is_text(record.machine_id.as_deref()),
            ("session", None) => self.is_text(record.session.as_deref()),
            ("uid", None) => self.is_number(record.uid.map(u64::from)),
            ("via", None) => self.is_text(record.via.as_deref()),
            ("received", None) => self.is_time(Some(record.received)),
            ("durable", None) => record.durable.is_some_and(|durable| self.equals(&Value::Bool(durable))),
            ("severity", None) => self.is_text(Some(record.severity.as_str())),
            ("summary", None) => self.is_text(Some(&record.summary)),
            ("reason", None) => self.is_text(record.reason.as_deref()),
            ("from", None) => self.is_time(record.from),
            ("until", None) => self.is_time(record.until),
            ("missed", Some(event)) => self.is_number(record.missed.get(&event.into()).copied()),
            ("event", None) => self.is_text(record.event.as_ref().map(EventName::as_str)),
            ("timestamp", Some("seconds")) => self.is_number(record.timestamp.map(|time| time.seconds)),
            ("timestamp", Some("microseconds")) => self.is_number(record.timestamp.map(|time| time.microseconds)),
            ("data", inward) => self.is_inside(record.data.as_ref(), inward),
            ("extra", inward) => self.is_inside(record.extra.as_ref(), inward),
            ("departs", inward) => self.is_inside(record.departs.as_ref(), inward),
            (name, inward) => {
                let unknown = record.unknown.iter().find(|(known, _)| **known == *name);
                self.is_inside(unknown.map(|(_, value)| value), inward)
            }
        }
    }

    fn is_text(&self, text: Option<&str>) -> bool {
        text == Some(&*self.value)
    }

    fn is_number<N: Into<Value>>(&self, n: Option<N>) -> bool {
        n.is_some_and(|n| self.equals(&n.into()))
    }

    fn is_time(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| to_rfc3339(time) == *self.value)
    }

    fn is_inside(&self, json: Option<&Json>, inward: Option<&str>) -> bool {
        let mut names = inward.into_iter().flat_map(|inward| inward.split('.'));
        let found = json.and_then(|json| names.try_fold(json.as_text(), step));
        found.and_then(|text| Json::parse(text).ok()).is_some_and(|found| self.equals(&found.value()))
    }

    fn equals(&self, found: &Value) -> bool {
        match found {
            Value::String(text) => **text == *self.value,
            Value::Int(n) => self.integer().map_or(self.double() == Some(*n as f64), |value| value == i128::from(*n)),
            Value::Uint(n) => self.integer().map_or(self.double() == Some(*n as f64), |value| value == i128::from(*n)),
            Value::Double(n) => self.double() == Some(*n),
            Value::Bool(truth) => *self.value == *if *truth { "true" } else { "false" },
            Value::Null => &*self.value == "null",
            Value::Array(_) | Value::Object(_) => Json::parse(&self.value).is_ok_and(|value| value.value() == *found),
        }
    }

    /// The value as an integer: wide enough for every integer that JSON from QEMU has.
    fn integer(&self) -> Option<i128> {
        match self.value.strip_prefix("0x").or_else(|| self.value.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
            None => self.value.parse().ok(),
        }
    }

    fn double(&self) -> Option<f64> {
        self.value.parse().ok()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"seq":17,"kind":"event","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","durable":true,"severity":"error","summary":"s","missed":{"STOP":3},"event":"ACPI_DEVICE_OST","timestamp":{"seconds":1795347310,"microseconds":942235},"data":{"info": {"device": "d1", "source": 3, "status": 132, "slot": "0"}, "list": [1, {"a": "b"}], "big": 18446744073709551615, "half": 0.5, "on": true, "off": null, "none": ""},"site":"bonn"}"#;

    fn check(condition: &str, expected: bool) {
        let record = Record::parse(LINE).unwrap();
        let condition: Where = condition.parse().unwrap();
        assert_eq!(condition.matches(&record), expected, "{condition}");
    }

    #[test]
    fn members_of_the_record() {
        for condition in [
            "seq=17",
            "kind=event",
            "host=h1",
            "machine=web1",
            "received=2026-11-22T11:35:10.942911Z",
            "durable=true",
            "severity=error",
            "summary=s",
            "missed.STOP=3",
            "event=ACPI_DEVICE_OST",
            "timestamp.seconds=1795347310",
            "timestamp.microseconds=942235",
            "site=bonn",
        ] {
            check(condition, true);
        }
        for condition in
            ["seq=18", "kind=gap", "durable=false", "session=", "missed.RESET=3", "timestamp=1", "seq.x=17"]
        {
            check(condition, false);
        }
    }

    #[test]
    fn members_of_the_data() {
        check("data.info.device=d1", true);
        check("data.info.device=d2", false);
        check("data.info.slot=0", true);
        check("data.info.slot=00", false);
        check("data.list.1.a=b", true);
        check("data.list.0=1", true);
        check("data.list.2=1", false);
        check("data.list.x=1", false);
        check("data.on=true", true);
        check("data.on=1", false);
        check("data.off=null", true);
        check("data.none=", true);
        check("data.absent=null", false);
        check("data.absent=", false);
        check(r#"data.list=[1,{"a":"b"}]"#, true);
        check("data.list=1", false);
    }

    #[test]
    fn numbers_are_numbers_however_they_are_written() {
        check("data.info.status=132", true);
        check("data.info.status=0x84", true);
        check("data.info.status=1.32e2", true);
        check("data.info.status=132.5", false);
        check("data.info.status=0x", false);
        check("data.big=18446744073709551615", true);
        check("data.big=18446744073709551614", false);
        check("data.half=5e-1", true);
        check("data.half=.5", true);
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let condition: Where = "summary=a=b".parse().unwrap();
        assert_eq!(condition.to_string(), "summary=a=b");
    }

    #[test]
    fn what_is_no_condition_is_told_why() {
        let error = |text: &str| text.parse::<Where>().unwrap_err().to_string();
        let expected = "'data.action' is not a condition: expected PATH=VALUE, such as data.action=pause";
        assert_eq!(error("data.action"), expected);
        assert_eq!(error("=x"), "'=x' is not a condition: expected PATH=VALUE, such as data.action=pause");
        assert_eq!(error("data..a=x"), "'data..a=x' is not a condition: a name in its path is empty");
    }
}
