//! Conditions: `PATH=VALUE` and `PATH!=VALUE`, such as `data.action=pause`.
//!
//! The path leads from the record inward: names of members and numbers of array elements, with points between them. A
//! string equals a value that has the same characters, or the same in double quotes as JSON. A number equals a value that
//! is the same number, however it is written (`1e3`, `0x3e8`). `true`, `false` and `null` equal themselves, and an object
//! or an array equals JSON that says the same.
//!
//! A member that is not there equals nothing and differs from nothing: it meets neither kind of condition.

use super::lookup::{Found, find};
use crate::plain;
use crate::record::Record;
use qev_qmp::{Json, Value};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A condition that a record meets or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    path: Box<str>,
    operator: Operator,
    value: Box<str>,
    /// The value without its quotes, when it is a string of JSON.
    unquoted: Option<Box<str>>,
}

/// How a member is compared with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`: the member has the value.
    Equals,
    /// `!=`: the member is there and has another value.
    Differs,
}

impl Operator {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Equals => "=",
            Operator::Differs => "!=",
        }
    }
}

/// What other languages have between a path and a value, the longest first.
const UNSUPPORTED: [&str; 14] = ["===", "!==", "==", "=~", "!~", "~=", "<=", ">=", "=<", "=>", "<>", "<", ">", "~"];

/// The text is not a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhereError {
    /// There is no operator, or nothing before it.
    NoPath(Box<str>),
    /// There is nothing between two points of the path.
    EmptyName(Box<str>),
    /// A name in the path begins or ends with a space, as no member does.
    Space {
        /// The condition.
        text: Box<str>,
        /// The same without the spaces around the operator.
        meant: Box<str>,
    },
    /// There is no such operator.
    Operator {
        /// The condition.
        text: Box<str>,
        /// What stands between the path and the value.
        operator: &'static str,
        /// The path before it.
        path: Box<str>,
        /// The value behind it.
        value: Box<str>,
    },
}

impl fmt::Display for WhereError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhereError::NoPath(text) => write!(
                f,
                "'{}' is not a condition: expected PATH=VALUE or PATH!=VALUE, such as data.action=pause",
                plain::name(text)
            ),
            WhereError::EmptyName(text) => {
                write!(f, "'{}' is not a condition: a name in its path is empty", plain::name(text))
            }
            WhereError::Space { text, meant } => {
                let (text, meant) = (plain::name(text), plain::name(meant));
                write!(f, "'{text}' is not a condition: no space may stand around the operator: write '{meant}'")
            }
            WhereError::Operator { text, operator, path, value } => {
                let (text, path, value) = (plain::name(text), plain::name(path), plain::name(value));
                write!(f, "'{text}' is not a condition: there is no operator {operator}; write '{path}={value}' or ")?;
                write!(f, "'{path}!={value}'")?;
                // Of an operator with an equals sign in front, the rest may have been meant as the value.
                match operator.strip_prefix('=').filter(|rest| !rest.is_empty()) {
                    Some(rest) => write!(f, ", or '{path}=\"{rest}{value}\"' when the value begins with {rest}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for WhereError {}

impl FromStr for Where {
    type Err = WhereError;

    fn from_str(text: &str) -> Result<Where, WhereError> {
        let no_path = || WhereError::NoPath(text.into());
        let end = text.find(['=', '!', '<', '>', '~']).filter(|end| *end > 0).ok_or_else(no_path)?;
        let (path, rest) = text.split_at_checked(end).ok_or_else(no_path)?;
        let unsupported = UNSUPPORTED.into_iter().find_map(|operator| Some((operator, rest.strip_prefix(operator)?)));
        if let Some((operator, value)) = unsupported {
            let (path, value) = (path.trim().into(), value.trim().into());
            return Err(WhereError::Operator { text: text.into(), operator, path, value });
        }
        let (operator, value) = match (rest.strip_prefix("!="), rest.strip_prefix('=')) {
            (Some(value), _) => (Operator::Differs, value),
            (None, Some(value)) => (Operator::Equals, value),
            (None, None) => return Err(no_path()),
        };
        if path.split('.').any(|name| name.trim().is_empty()) {
            return Err(WhereError::EmptyName(text.into()));
        }
        if path.split('.').any(|name| name.trim() != name) {
            let path: Vec<&str> = path.split('.').map(str::trim).collect();
            let meant = format!("{}{}{}", path.join("."), operator.as_str(), value.trim());
            return Err(WhereError::Space { text: text.into(), meant: meant.into() });
        }
        let quoted = Some(value).filter(|value| value.starts_with('"'));
        let unquoted = quoted.and_then(|value| Json::parse(value).ok()?.string()).map(Into::into);
        Ok(Where { path: path.into(), operator, value: value.into(), unquoted })
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.path, self.operator.as_str(), self.value)
    }
}

impl Where {
    /// The path, such as `data.action`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How the member at the path is compared with the value.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The value that the member is compared with; of a string in quotes what is in them.
    pub fn value(&self) -> &str {
        self.unquoted.as_deref().unwrap_or(&self.value)
    }

    /// The member of the record that the path begins with.
    pub fn member(&self) -> &str {
        self.path.split_once('.').map_or(&*self.path, |(member, _)| member)
    }

    /// Returns whether a record meets the condition.
    pub fn matches(&self, record: &Record) -> bool {
        let Some(found) = find(&self.path, record) else { return false };
        match self.operator {
            Operator::Equals => self.equals(&found),
            Operator::Differs => !self.equals(&found),
        }
    }

    /// What a record has at the path, as it would be written behind the operator; `None` when there is nothing.
    pub fn found_in<'a>(&self, record: &'a Record) -> Option<Cow<'a, str>> {
        Some(match find(&self.path, record)? {
            Found::Text(text) => text.into(),
            Found::Time(text) => text.into(),
            Found::Number(number) => number.to_string().into(),
            Found::Bool(truth) => if truth { "true" } else { "false" }.into(),
            Found::Json(text) => match Json::parse(text).ok().and_then(|json| json.string()) {
                Some(string) => string.into(),
                None => text.into(),
            },
        })
    }

    fn equals(&self, found: &Found<'_>) -> bool {
        match found {
            Found::Text(text) => self.is_text(text),
            Found::Time(text) => self.is_text(text),
            Found::Number(number) => {
                self.integer().map_or(self.double() == Some(*number as f64), |value| value == *number)
            }
            Found::Bool(truth) => *self.value == *if *truth { "true" } else { "false" },
            Found::Json(text) => Json::parse(text).is_ok_and(|json| self.equals_value(&json.value())),
        }
    }

    fn equals_value(&self, found: &Value) -> bool {
        match found {
            Value::String(text) => self.is_text(text),
            Value::Int(n) => self.equals(&Found::Number((*n).into())),
            Value::Uint(n) => self.equals(&Found::Number((*n).into())),
            Value::Double(n) => self.double() == Some(*n),
            Value::Bool(truth) => self.equals(&Found::Bool(*truth)),
            Value::Null => &*self.value == "null",
            Value::Array(_) | Value::Object(_) => Json::parse(&self.value).is_ok_and(|value| value.value() == *found),
        }
    }

    fn is_text(&self, text: &str) -> bool {
        text == &*self.value || self.unquoted.as_deref() == Some(text)
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
        check("data.info.device=\"d1\"", true);
        check("data.info.device=\"d2\"", false);
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
    fn differs_is_met_by_another_value_and_not_by_none() {
        check("data.info.device!=d2", true);
        check("data.info.device!=d1", false);
        check("data.info.status!=0x85", true);
        check("data.info.status!=0x84", false);
        check("data.off!=null", false);
        check("data.on!=false", true);
        check("data.absent!=5", false);
        check("seq!=18", true);
        check("seq!=17", false);
        check("session!=a", false);
        check("kind!=gap", true);
        check("severity!=error", false);
        check("missed.STOP!=2", true);
    }

    #[test]
    fn a_value_may_hold_what_looks_like_an_operator() {
        for text in ["summary=a=b", "summary!=a!=b", "summary=a>b", "summary=-~"] {
            let condition: Where = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
        }
        let condition: Where = "summary=\"~x\"".parse().unwrap();
        assert_eq!((condition.value(), condition.operator()), ("~x", Operator::Equals));
    }

    #[test]
    fn what_a_record_has_at_the_path_can_be_told() {
        let record = Record::parse(LINE).unwrap();
        let found = |path: &str| {
            let condition: Where = format!("{path}=").parse().unwrap();
            condition.found_in(&record).map(Cow::into_owned)
        };
        assert_eq!(found("data.info.device").as_deref(), Some("d1"));
        assert_eq!(found("data.info.status").as_deref(), Some("132"));
        assert_eq!(found("data.off").as_deref(), Some("null"));
        assert_eq!(found("seq").as_deref(), Some("17"));
        assert_eq!(found("durable").as_deref(), Some("true"));
        assert_eq!(found("received").as_deref(), Some("2026-11-22T11:35:10.942911Z"));
        assert_eq!(found("data.absent"), None);
    }

    #[test]
    fn rejects_what_is_not_a_condition() {
        let error = |text: &str| text.parse::<Where>().unwrap_err().to_string();
        let expected = "is not a condition: expected PATH=VALUE or PATH!=VALUE, such as data.action=pause";
        for text in ["data.action", "=x", "data.action!pause", "data.action:pause", ""] {
            assert_eq!(error(text), format!("'{text}' {expected}"));
        }
        assert_eq!(error("data..a=x"), "'data..a=x' is not a condition: a name in its path is empty");
        assert_eq!(
            error("data.actual != 5"),
            "'data.actual != 5' is not a condition: no space may stand around the operator: write 'data.actual!=5'"
        );
    }

    #[test]
    fn rejects_an_operator_that_there_is_not() {
        let check = |operator: &str, expected: &str| {
            let text = format!("data.actual{operator}5");
            let error = text.parse::<Where>().unwrap_err().to_string();
            let start = format!("'{text}' is not a condition: there is no operator {operator}; ");
            assert_eq!(error, format!("{start}write 'data.actual=5' or 'data.actual!=5'{expected}"));
        };
        for operator in ["===", "!==", "!~", "~=", "<=", ">=", "<>", "<", ">", "~"] {
            let behind = operator
                .strip_prefix('=')
                .map(|rest| format!(", or 'data.actual=\"{rest}5\"' when the value begins with {rest}"));
            check(operator, &behind.unwrap_or_default());
        }
        check("=~", ", or 'data.actual=\"~5\"' when the value begins with ~");
        check("==", ", or 'data.actual=\"=5\"' when the value begins with =");
        assert!("data.actual == 5".parse::<Where>().unwrap_err().to_string().contains("write 'data.actual=5' or"));
    }
}
