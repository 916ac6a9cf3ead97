//! Lines that may be given to qev to read: its own records, events as QEMU wrote them, and recordings of a monitor.
//!
//! | the object has | the line is |
//! |---|---|
//! | `kind` | a record |
//! | `t`, `dir` and `msg` | a message of a recording |
//! | `event` | an event as QEMU wrote it |
//! | `QMP`, `return`, `error`, `execute`, `exec-oob` | another message of a monitor |

use crate::record::{Record, RecordError};
use qev_qmp::json::scan::{Scanner, SyntaxError};
use qev_qmp::{Event, Json, Message};
use std::fmt;
use std::time::Duration;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Nothing but white space.
    Blank,
    /// A record.
    Record(Box<Record>),
    /// An event as QEMU wrote it.
    Event(Box<Event>),
    /// A message of a recording.
    Recorded(Recorded),
    /// A message of a monitor that is not an event: a greeting, a command, a reply.
    Message(Json),
}

/// A message of a recording: `{"t": 1.5, "dir": "<", "msg": {…}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// How long after the start of the recording: `t`, in seconds.
    pub at: Duration,
    /// Who said it: `dir`.
    pub direction: Direction,
    /// What was said: `msg`.
    pub message: Json,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client, to QEMU: `>`.
    Sent,
    /// QEMU, to the client: `<`.
    Received,
}

/// The line is none that qev reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputError {
    /// It is not a JSON object.
    NotJson(SyntaxError),
    /// It says that it is a record, and is none.
    Record(RecordError),
    /// It looks like a message of a recording, and is none.
    Recorded {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It is some other object.
    Unknown,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::NotJson(_) => f.write_str("not a JSON object"),
            InputError::Record(_) => f.write_str("a record that cannot be read"),
            InputError::Recorded { member, expected } => {
                write!(f, "a line of a recording whose member '{member}' is not {expected}")
            }
            InputError::Unknown => f.write_str(
                "neither a record (it has no 'kind'), nor an event of QEMU's (no 'event'), nor a line of a recording \
                 (no 't', 'dir' and 'msg')",
            ),
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InputError::NotJson(error) => Some(error),
            InputError::Record(error) => Some(error),
            InputError::Recorded { .. } | InputError::Unknown => None,
        }
    }
}

impl Line {
    /// Reads one line, with or without its line end.
    ///
    /// # Errors
    ///
    /// When it is not a JSON object, or none of those that qev reads.
    pub fn parse(line: &str) -> Result<Line, InputError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Line::Blank);
        }
        let mut keys = Keys::default();
        let mut scanner = Scanner::new(line);
        let walked = scanner.object(|scanner, name| {
            let value = scanner.value()?;
            keys.note(&name.text(), value);
            Ok(())
        });
        walked.and_then(|()| scanner.end()).map_err(InputError::NotJson)?;
        if keys.kind {
            return Record::parse(line).map(|record| Line::Record(record.into())).map_err(InputError::Record);
        }
        if let (Some(t), Some(dir), Some(msg)) = (keys.t, keys.dir, keys.msg) {
            return Recorded::read(t, dir, msg).map(Line::Recorded);
        }
        match Message::decode(line.as_bytes()) {
            Ok(Message::Event(event)) => Ok(Line::Event(event.into())),
            Ok(_) if keys.message => Json::parse(line).map(Line::Message).map_err(|error| InputError::NotJson(error.0)),
            _ => Err(InputError::Unknown),
        }
    }

    /// The event on this line, if there is one, whatever the line is.
    pub fn to_event(&self) -> Option<Event> {
        match self {
            Line::Blank | Line::Message(_) => None,
            Line::Record(record) => record.to_event(),
            Line::Event(event) => Some((**event).clone()),
            Line::Recorded(recorded) => recorded.to_event(),
        }
    }
}

impl Recorded {
    fn read(t: &str, dir: &str, msg: &str) -> Result<Recorded, InputError> {
        let misfit = |member, expected| InputError::Recorded { member, expected };
        let seconds = t.parse().ok().and_then(|t| Duration::try_from_secs_f64(t).ok());
        let direction = match dir {
            r#"">""# => Some(Direction::Sent),
            r#""<""# => Some(Direction::Received),
            _ => None,
        };
        Ok(Recorded {
            at: seconds.ok_or(misfit("t", "a number of seconds, 0 or more"))?,
            direction: direction.ok_or(misfit("dir", "\">\" (sent) or \"<\" (received)"))?,
            message: Json::parse(msg).map_err(|error| InputError::NotJson(error.0))?,
        })
    }

    /// The event, if QEMU said one.
    pub fn to_event(&self) -> Option<Event> {
        match (self.direction, Message::decode(self.message.as_text().as_bytes())) {
            (Direction::Received, Ok(Message::Event(event))) => Some(event),
            _ => None,
        }
    }
}

/// The members that tell one kind of line from another.
#[derive(Default)]
struct Keys<'a> {
    kind: bool,
    message: bool,
    t: Option<&'a str>,
    dir: Option<&'a str>,
    msg: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn note(&mut self, name: &str, value: &'a str) {
        match name {
            "kind" => self.kind = true,
            "t" => self.t = Some(value),
            "dir" => self.dir = Some(value),
            "msg" => self.msg = Some(value),
            "QMP" | "return" | "error" | "execute" | "exec-oob" => self.message = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn name(line: &str) -> Option<String> {
        Line::parse(line).unwrap().to_event().map(|event| event.name.to_string())
    }

    #[test]
    fn an_event_is_found_in_whatever_line_it_stands() {
        for line in [
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
            "  {\"event\": \"STOP\"}\r\n",
            r#"{"t": 6.4, "dir": "<", "msg": {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}}"#,
            r#"{"seq":17,"kind":"event","host":"h1","machine":"web1","received":"2026-11-22T11:35:10.942911Z","severity":"notice","summary":"s","event":"STOP"}"#,
        ] {
            assert_eq!(name(line).as_deref(), Some("STOP"), "{line}");
        }
    }

    #[test]
    fn other_lines_have_none() {
        for line in [
            "",
            " \t\r\n",
            r#"{"return": {}, "id": 1}"#,
            r#"{"execute": "cont"}"#,
            r#"{"QMP": {"version": {}, "capabilities": []}}"#,
            r#"{"t": 0, "dir": ">", "msg": {"event": "STOP"}}"#,
            r#"{"t": 0, "dir": "<", "msg": {"return": {}}}"#,
        ] {
            assert_eq!(name(line), None, "{line}");
        }
    }

    #[test]
    fn a_recording_tells_when() {
        let line = Line::parse(r#"{"t": 6.342593, "dir": "<", "msg": {"return": {}}}"#).unwrap();
        let Line::Recorded(recorded) = line else { panic!("{line:?}") };
        assert_eq!(recorded.at, Duration::from_micros(6_342_593));
        assert_eq!(recorded.message.as_text(), r#"{"return": {}}"#);
    }

    fn check_error(line: &str, expected: &str) {
        assert_eq!(Line::parse(line).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_why() {
        check_error("STOP", "not a JSON object");
        check_error("[]", "not a JSON object");
        check_error(r#"{"event": "STOP"} {}"#, "not a JSON object");
        check_error(
            r#"{"a": 1}"#,
            "neither a record (it has no 'kind'), nor an event of QEMU's (no 'event'), nor a line of a recording (no \
             't', 'dir' and 'msg')",
        );
        check_error(
            r#"{"t": -1, "dir": "<", "msg": {}}"#,
            "a line of a recording whose member 't' is not a number of seconds, 0 or more",
        );
        check_error(
            r#"{"t": 1, "dir": "?", "msg": {}}"#,
            "a line of a recording whose member 'dir' is not \">\" (sent) or \"<\" (received)",
        );
        let error = Line::parse(r#"{"kind": "gap"}"#).unwrap_err();
        assert_eq!(error.to_string(), "a record that cannot be read");
        assert!(error.source().unwrap().to_string().contains("member 'host' is missing"));
    }
}
