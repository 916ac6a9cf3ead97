//! JSON as the page is given it: ASCII, on one line, members in the order in which they are written.

use super::devices::At;
use super::hour::Told;
use qev_qmp::Timestamp;
use qev_qmp::json::print::string;
use qev_record::time::to_rfc3339;
use std::fmt::{Display, Write as _};

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Members {
    out: String,
}

impl Members {
    pub(crate) fn new() -> Members {
        Members { out: "{".to_owned() }
    }

    /// Goes on with an object that ends with its brace.
    pub(crate) fn go_on(mut object: String) -> Members {
        object.truncate(object.trim_end().len().saturating_sub(1));
        Members { out: object }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        string(&mut self.out, name);
        self.out.push(':');
    }

    pub(crate) fn text(mut self, name: &str, text: &str) -> Members {
        self.name(name);
        string(&mut self.out, text);
        self
    }

    pub(crate) fn some_text(self, name: &str, text: Option<&str>) -> Members {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(crate) fn time(self, name: &str, time: Timestamp) -> Members {
        self.text(name, &to_rfc3339(time))
    }

    /// A number, or `true` and `false`.
    pub(crate) fn number(mut self, name: &str, number: impl Display) -> Members {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{number}");
        self
    }

    pub(crate) fn some_number(self, name: &str, number: Option<impl Display>) -> Members {
        match number {
            Some(number) => self.number(name, number),
            None => self,
        }
    }

    /// What is JSON already.
    pub(crate) fn json(mut self, name: &str, json: &str) -> Members {
        self.name(name);
        self.out.push_str(json);
        self
    }

    pub(crate) fn some_json(self, name: &str, json: Option<String>) -> Members {
        match json {
            Some(json) => self.json(name, &json),
            None => self,
        }
    }

    pub(crate) fn list(self, name: &str, items: impl IntoIterator<Item = String>) -> Members {
        self.json(name, &list(items))
    }

    /// When something was received, and the number of its record.
    pub(crate) fn at(self, at: At) -> Members {
        self.time("received", at.received).some_number("seq", at.seq)
    }

    pub(crate) fn close(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

/// A list of what is JSON already.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    let mut out = "[".to_owned();
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

/// What a person is told of a record.
pub(crate) fn told(told: &Told) -> String {
    Members::new()
        .some_number("seq", told.seq)
        .text("kind", told.kind.as_str())
        .some_text("event", told.event.as_deref())
        .text("severity", told.severity.as_str())
        .text("summary", &told.summary)
        .time("received", told.received)
        .close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_ascii_and_one_line() {
        let object = Members::new()
            .text("a", "\u{1b}\u{202e}\n\"é")
            .some_text("b", None)
            .number("n", 7)
            .list("l", ["1".to_owned(), Members::new().close()])
            .close();
        assert_eq!(object, r#"{"a":"\u001B\u202E\n\"\u00E9","n":7,"l":[1,{}]}"#);
        assert_eq!(Members::go_on("{\"a\":1}\n".to_owned()).number("b", true).close(), r#"{"a":1,"b":true}"#);
        assert_eq!(Members::go_on("{}".to_owned()).number("b", 2).close(), r#"{"b":2}"#);
    }
}
