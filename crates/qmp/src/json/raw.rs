//! [`Json`]: a checked document kept as its text.

use super::print::{Layout, Order};
use super::scan::{Scanner, SyntaxError};
use super::{Object, Value};
use std::fmt;

/// One checked JSON document, kept as the text that came.
///
/// The `data` of an event and the `return` of a reply are carried as this: nothing is lost on the way, whatever it
/// holds, and nobody pays for values that nobody looks at. The text may hold `inf` and `nan`, which QEMU prints and
/// JSON does not know; [`Json::strict`] is for those who pass it on.
///
/// Equality is that of the text: `{"a":1}` is not `{"a": 1}`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

/// The text is not a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson(pub SyntaxError);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotJson {}

impl Json {
    /// Checks a text and keeps it.
    pub fn parse(text: &str) -> Result<Json, NotJson> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value().map_err(NotJson)?;
        scanner.end().map_err(NotJson)?;
        Ok(Json::checked(value))
    }

    /// For text that a scanner has walked over.
    pub(crate) fn checked(text: &str) -> Json {
        Json(text.into())
    }

    /// For text that a printer has made.
    pub(crate) fn printed(text: String) -> Json {
        Json(text.into())
    }

    /// The text of the document: quotes and escapes are in it. [`Json::string`] is what a string says.
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// The document as values.
    pub fn value(&self) -> Value {
        // It was checked when it was made.
        super::text::parse(&self.0).unwrap_or_default()
    }

    /// The member of this name of an object.
    pub fn get(&self, name: &str) -> Option<Json> {
        let mut found = None;
        self.members(|member, text| {
            if member == name {
                found = Some(Json::checked(text));
            }
        });
        found
    }

    /// Calls `each` with the name and text of each member of an object; with nothing, if it is not an object.
    pub fn members(&self, mut each: impl FnMut(&str, &str)) {
        // An error can only mean that it is not an object: then there are no members.
        let _ = Scanner::new(&self.0).object(|scanner, name| {
            let value = scanner.value()?;
            each(&name.text(), value);
            Ok::<_, SyntaxError>(())
        });
    }

    /// Calls `each` with the text of each element of an array; with nothing, if it is not an array.
    pub fn elements(&self, mut each: impl FnMut(&str)) {
        // An error can only mean that it is not an array: then there are no elements.
        let _ = Scanner::new(&self.0).array(|scanner| {
            each(scanner.value()?);
            Ok::<_, SyntaxError>(())
        });
    }

    /// The string that this is, if it is one.
    pub fn string(&self) -> Option<String> {
        Scanner::new(&self.0).string().ok().map(|s| s.text().into_owned())
    }

    /// The document as JSON that other readers take, on one line: numbers that JSON cannot say become strings (`"inf"`),
    /// and anything that is not printable ASCII is escaped, so it cannot act on a terminal. Where that takes a change,
    /// numbers are printed anew, with 17 digits at most. It is nested as deep as it was: up to 1024, which is more than
    /// some readers take.
    pub fn strict(&self) -> std::borrow::Cow<'_, str> {
        if self.0.bytes().all(|b| (0x20..0x7F).contains(&b)) && !self.is_beyond_json() {
            return (&*self.0).into();
        }
        finite(self.value()).print(Order::Given, Layout::Line).into()
    }

    /// Whether it holds what QEMU prints, or takes, and JSON does not know.
    pub(crate) fn is_beyond_json(&self) -> bool {
        let mut scanner = Scanner::new(&self.0);
        scanner.value().is_err() || scanner.met_beyond_json()
    }
}

fn finite(value: Value) -> Value {
    match value {
        Value::Double(n) if !n.is_finite() => Value::String(Value::Double(n).to_string()),
        Value::Array(items) => items.into_iter().map(finite).collect::<Vec<_>>().into(),
        Value::Object(object) => {
            object.into_iter().map(|(name, value)| (name, finite(value))).collect::<Object>().into()
        }
        other => other,
    }
}

impl From<&Value> for Json {
    /// The value as QEMU prints it, on one line.
    fn from(value: &Value) -> Json {
        Json(value.print(Order::Qemu, Layout::Line).into())
    }
}

impl From<&Object> for Json {
    /// The object as QEMU prints it, on one line.
    fn from(object: &Object) -> Json {
        Json(object.print(Order::Qemu, Layout::Line).into())
    }
}

impl std::str::FromStr for Json {
    type Err = NotJson;

    fn from_str(text: &str) -> Result<Json, NotJson> {
        Json::parse(text)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kept_to_the_byte() {
        let text = r#"{"b": 1e3,  "a":[18446744073709551615]}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.as_text(), text);
        assert_eq!(json.get("b").unwrap().as_text(), "1e3");
        assert_eq!(json.get("c"), None);
    }

    #[test]
    fn what_json_cannot_say_is_said_otherwise() {
        let strict = |text| Json::parse(text).unwrap().strict().into_owned();
        assert_eq!(strict(r#"{"a": inf, "b": [-nan]}"#), r#"{"a": "inf", "b": ["-nan"]}"#);
        assert_eq!(strict("{\n    \"a\": \"\u{202e}\"\n}"), r#"{"a": "\u202E"}"#);
        assert_eq!(strict(r#"{"info":  1e3}"#), r#"{"info":  1e3}"#);
        assert_eq!(strict(r#"{"a":  1}"#), r#"{"a":  1}"#);
        assert_eq!(strict(r#"[1e999, -1e400]"#), r#"["inf", "-inf"]"#);
        assert_eq!(strict(r#"["it\'s", "\uD83D"]"#), r#"["it's", "\uFFFD"]"#);
    }
}
