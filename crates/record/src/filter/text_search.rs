//! A text that is searched for in records, as `grep -F` searches: `qev log -g TEXT`.
//!
//! The text is taken as it stands and is no pattern. A text without capital letters is found in upper and lower case
//! (ASCII letters), as journalctl does. It is looked for in the summary, the name of the event, the name of the machine,
//! and in the data as QEMU sent it, which is JSON. The time that a search takes grows with the length of what is searched
//! alone, whatever the text is.

use crate::plain;
use crate::record::Record;
use memchr::memmem::Finder;
use qev_qmp::json::print::string;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How long a text may be, in bytes. A longer one is an error.
const LONGEST: usize = 256;

/// How much is searched at once when upper and lower case are one, in bytes: as much is copied.
const PART: usize = 64 << 10;

/// A text to search for. A clone costs next to nothing.
#[derive(Clone, Debug)]
pub struct TextSearch(Arc<Search>);

#[derive(Debug)]
struct Search {
    text: Box<str>,
    finder: Finder<'static>,
    /// For JSON, when the text stands otherwise there.
    in_json: Option<Finder<'static>>,
    case: Case,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

/// The text cannot be searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSearchError {
    /// It is empty, and would be found everywhere.
    Empty,
    /// It is longer than 256 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl fmt::Display for TextSearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextSearchError::Empty => f.write_str("the text to search for is empty"),
            TextSearchError::TooLong { length } => {
                write!(f, "the text to search for has {length} bytes: at most {LONGEST} are allowed")
            }
        }
    }
}

impl std::error::Error for TextSearchError {}

impl FromStr for TextSearch {
    type Err = TextSearchError;

    fn from_str(text: &str) -> Result<TextSearch, TextSearchError> {
        match text.len() {
            0 => return Err(TextSearchError::Empty),
            length if length > LONGEST => return Err(TextSearchError::TooLong { length }),
            _ => {}
        }
        let case = if text.chars().any(char::is_uppercase) { Case::Matters } else { Case::Ignored };
        let finder = |text: &str| {
            let text = if case == Case::Ignored { text.to_ascii_lowercase() } else { text.to_owned() };
            Finder::new(text.as_bytes()).into_owned()
        };
        let mut quoted = String::new();
        string(&mut quoted, text);
        let json = quoted.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
        let in_json = json.filter(|json| *json != text).map(finder);
        Ok(TextSearch(Arc::new(Search { text: text.into(), finder: finder(text), in_json, case })))
    }
}

impl fmt::Display for TextSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl PartialEq for TextSearch {
    fn eq(&self, other: &TextSearch) -> bool {
        self.0.text == other.0.text
    }
}

impl TextSearch {
    /// Returns whether a record has the text.
    pub fn matches(&self, record: &Record) -> bool {
        self.is_in(&record.summary)
            || self.is_in(&record.machine)
            || record.event.as_ref().is_some_and(|event| self.is_in(event.as_str()))
            || record.data.as_ref().is_some_and(|data| {
                let data = data.as_text();
                self.is_in(data) || self.0.in_json.as_ref().is_some_and(|finder| self.0.finds(finder, data.as_bytes()))
            })
    }

    /// Returns whether the text is in another one.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.finds(&self.0.finder, text.as_bytes())
    }

    /// Says that the text looks like a regular expression, which it is not, when it does.
    pub fn hint(&self) -> Option<String> {
        let is_pattern = [".*", ".+", "\\", "|", "[", "^", "$"].iter().any(|sign| self.0.text.contains(sign));
        is_pattern.then(|| {
            format!("'{}' is searched for as it stands: it is no regular expression", plain::name(&self.0.text))
        })
    }
}

impl Search {
    fn finds(&self, finder: &Finder<'_>, mut bytes: &[u8]) -> bool {
        if self.case == Case::Matters {
            return finder.find(bytes).is_some();
        }
        let length = finder.needle().len();
        let mut part = Vec::with_capacity(bytes.len().min(PART));
        while bytes.len() >= length {
            part.clear();
            part.extend(bytes.iter().take(PART).map(u8::to_ascii_lowercase));
            if finder.find(&part).is_some() {
                return true;
            }
            if bytes.len() <= PART {
                return false;
            }
            // What begins at the end of this part ends in the next one.
            let next = PART.saturating_sub(length).saturating_add(1);
            bytes = bytes.get(next..).unwrap_or_default();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::{Message, Timestamp};

    fn search(text: &str) -> TextSearch {
        text.parse().unwrap()
    }

    fn record() -> Record {
        let line = r#"{"event": "BLOCK_IO_ERROR", "data": {"device": "disk0", "reason": "Input/output error \u20ac", "say": "\"hi\""}}"#;
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
        let mut record = Record::event("h1", "Web1", Timestamp::from_micros(0), &event);
        record.summary = "a read of disk0 failed".into();
        record
    }

    fn check(text: &str, expected: bool) {
        assert_eq!(search(text).matches(&record()), expected, "{text}");
    }

    #[test]
    fn looks_into_summary_event_machine_and_data() {
        check("read of disk0", true);
        check("block_io", true);
        check("web1", true);
        check("input/output", true);
        check("\"device\": \"disk0\"", true);
        check("disk1", false);
        check("h1", false);
    }

    #[test]
    fn a_text_with_a_capital_letter_is_found_only_as_it_is() {
        check("Web1", true);
        check("WEB1", false);
        check("Input", true);
        check("INPUT", false);
    }

    #[test]
    fn finds_in_the_data_what_json_writes_otherwise() {
        check("error €", true);
        check("ERROR €", false);
        check("\"hi\"", true);
        check("say: \"hi\"", false);
    }

    #[test]
    fn finds_what_stands_across_two_parts() {
        for before in [0, PART - 7, PART - 6, PART - 1, PART, 3 * PART - 2] {
            let text = format!("{}NEEDLE{}", "n".repeat(before), "x".repeat(PART));
            assert!(search("needle").is_in(&text), "{before}");
            assert!(!search("needles").is_in(&text), "{before}");
        }
        assert!(!search("needle").is_in("need"));
    }

    #[test]
    fn rejects_an_empty_and_an_endless_text() {
        assert_eq!("".parse::<TextSearch>().unwrap_err().to_string(), "the text to search for is empty");
        assert_eq!("a".repeat(LONGEST).parse::<TextSearch>().map(|_| ()), Ok(()));
        let error = "a".repeat(LONGEST + 1).parse::<TextSearch>().unwrap_err().to_string();
        assert_eq!(error, "the text to search for has 257 bytes: at most 256 are allowed");
    }

    #[test]
    fn hints_at_a_regular_expression() {
        assert!(search("guest.*panic").hint().is_some());
        assert_eq!(search("c1 (read)").hint(), None);
    }
}
