//! A QMP client of a few lines, by which the lab commands its QEMU and checks what it sent.
//!
//! It is on purpose not the client under test: it shares no code with qev, reads JSON by `serde_json`, plain or
//! pretty-printed alike, and keeps every event until it is asked for. A thread reads all the time, so that QEMU never
//! has to buffer.

#![expect(clippy::indexing_slicing, reason = "a JSON value without that member reads as null, and never panics")]

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value};

use super::EVENT_PATIENCE;

/// Why a monitor did not give what was asked of it.
#[derive(Debug)]
pub enum Error {
    /// QEMU answered with an error.
    Refused {
        /// The command as it was sent.
        command: String,
        /// QEMU's class of error, such as `CommandNotFound`.
        class: String,
        /// QEMU's words.
        description: String,
    },
    /// Nothing came in time.
    TimedOut {
        /// What was waited for.
        wanted: String,
        /// The names of the events that came and that nobody has asked for.
        instead: Vec<String>,
    },
    /// The connection ended.
    Gone {
        /// What was waited for.
        wanted: String,
        /// How it ended.
        reason: String,
    },
    /// The connection could not be made or written to.
    Io(io::Error),
    /// The other end does not greet as QMP does.
    NoGreeting(Value),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { command, class, description } => {
                write!(f, "QEMU refused {command} ({class}): {description}")
            }
            Self::TimedOut { wanted, instead } if instead.is_empty() => write!(f, "QEMU sent no {wanted} in time"),
            Self::TimedOut { wanted, instead } => {
                write!(f, "QEMU sent no {wanted} in time, only {}", instead.join(", "))
            }
            Self::Gone { wanted, reason } => write!(f, "the monitor is gone while waiting for {wanted}: {reason}"),
            Self::Io(_) => f.write_str("cannot talk to the monitor"),
            Self::NoGreeting(instead) => write!(f, "expected a QMP greeting, got {instead}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        Self::because("QEMU's monitor did not do as expected", error)
    }
}

/// A monitor that has left negotiation: it takes commands and gets every event.
#[derive(Debug)]
pub struct Monitor {
    stream: UnixStream,
    /// Messages in the order in which they came; the error says how the connection ended.
    inbox: Receiver<Result<Value, String>>,
    /// Events that came and were not asked for yet.
    unclaimed: VecDeque<Value>,
    greeting: Value,
}

impl Monitor {
    /// Connects to a monitor that listens (`server=on`).
    pub fn connect(path: &Path) -> Result<Self, Error> {
        Self::negotiate(UnixStream::connect(path).map_err(Error::Io)?)
    }

    /// Takes over a connection, reads QEMU's greeting and leaves negotiation.
    pub fn negotiate(stream: UnixStream) -> Result<Self, Error> {
        let reader = stream.try_clone().map_err(Error::Io)?;
        let mut monitor =
            Self { stream, inbox: read_all_the_time(reader), unclaimed: VecDeque::new(), greeting: Value::Null };
        let first = monitor.next_message("greeting", Instant::now() + EVENT_PATIENCE)?;
        match first.get("QMP") {
            Some(greeting) => monitor.greeting = greeting.clone(),
            None => return Err(Error::NoGreeting(first)),
        }
        monitor.execute(r#"{"execute": "qmp_capabilities"}"#)?;
        Ok(monitor)
    }

    /// The version in the greeting and the package it came in: `7.2.22 (Debian …)`.
    pub fn version(&self) -> String {
        let version = &self.greeting["version"];
        let number = |part: &str| version["qemu"][part].as_u64().unwrap_or_default();
        let numbers = format!("{}.{}.{}", number("major"), number("minor"), number("micro"));
        match version["package"].as_str() {
            None | Some("") => numbers,
            Some(package) => format!("{numbers} ({})", package.trim_matches(['(', ')', ' '])),
        }
    }

    /// Sends a command, as JSON, and gives what it returned. Events that come before the reply are kept.
    pub fn execute(&mut self, command: &str) -> Result<Value, Error> {
        self.stream.write_all(command.as_bytes()).map_err(Error::Io)?;
        let deadline = Instant::now() + EVENT_PATIENCE;
        loop {
            let mut message = self.next_message(&format!("reply to {command}"), deadline)?;
            if let Some(error) = message.get("error") {
                let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
                return Err(Error::Refused {
                    command: command.to_owned(),
                    class: text("class"),
                    description: text("desc"),
                });
            }
            match message.get_mut("return") {
                Some(reply) => return Ok(reply.take()),
                None => self.unclaimed.push_back(message),
            }
        }
    }

    /// The next event of this name that was not asked for before; those that came meanwhile are kept.
    pub fn wait_for_event(&mut self, name: &str, within: Duration) -> Result<Value, Error> {
        self.wait_for_event_where(name, within, |_| true)
    }

    /// The next event of this name whose `data` is as wanted.
    pub fn wait_for_event_where(
        &mut self,
        name: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        let deadline = Instant::now() + within;
        let is_it = |event: &Value| event["event"] == name && wanted(&event["data"]);
        let kept = self.unclaimed.iter().position(is_it).and_then(|place| self.unclaimed.remove(place));
        if let Some(event) = kept {
            return Ok(event);
        }
        loop {
            let message = self.next_message(name, deadline)?;
            if is_it(&message) {
                return Ok(message);
            }
            self.unclaimed.push_back(message);
        }
    }

    fn next_message(&mut self, wanted: &str, deadline: Instant) -> Result<Value, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let gone = |reason: String| Error::Gone { wanted: wanted.to_owned(), reason };
        match self.inbox.recv_timeout(left) {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(reason)) => Err(gone(reason)),
            Err(RecvTimeoutError::Disconnected) => Err(gone("it had ended before".to_owned())),
            Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut {
                wanted: wanted.to_owned(),
                instead: self.unclaimed.iter().filter_map(|event| Some(event["event"].as_str()?.to_owned())).collect(),
            }),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Ends the thread that reads; the connection may well be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read_all_the_time(stream: UnixStream) -> Receiver<Result<Value, String>> {
    let (sender, inbox) = mpsc::channel();
    thread::spawn(move || {
        for message in Deserializer::from_reader(BufReader::new(stream)).into_iter::<Value>() {
            let last = message.is_err();
            // The monitor may have been dropped: nobody wants the rest.
            if sender.send(message.map_err(|error| error.to_string())).is_err() || last {
                return;
            }
        }
        let _ = sender.send(Err("QEMU closed it".to_owned()));
    });
    inbox
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = concat!(
        r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "#,
        r#""capabilities": ["oob"]}}"#,
        "\r\n"
    );

    /// A monitor, and the other end after negotiation.
    fn pair() -> (Monitor, UnixStream) {
        let (ours, mut qemu) = UnixStream::pair().unwrap();
        qemu.write_all(format!("{GREETING}{{\"return\": {{}}}}\r\n").as_bytes()).unwrap();
        (Monitor::negotiate(ours).unwrap(), qemu)
    }

    #[test]
    fn events_before_a_reply_are_kept_in_their_order() {
        let (mut monitor, mut qemu) = pair();
        assert_eq!(monitor.version(), "7.2.22 (Debian 1:7.2)");
        qemu.write_all(b"{\"event\": \"STOP\"}\r\n{\n    \"event\": \"A\",\n    \"data\": {\n \"n\": 1}}\r\n").unwrap();
        qemu.write_all(br#"{"event": "A", "data": {"n": 2}}{"return": {"actual": 5}}"#).unwrap();
        let reply = monitor.execute(r#"{"execute": "query-balloon"}"#).unwrap();
        assert_eq!(reply["actual"], 5);
        let second = monitor.wait_for_event_where("A", EVENT_PATIENCE, |data| data["n"] == 2).unwrap();
        assert_eq!(second["data"]["n"], 2);
        assert_eq!(monitor.wait_for_event("A", EVENT_PATIENCE).unwrap()["data"]["n"], 1);
        let error = monitor.wait_for_event("A", Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "QEMU sent no A in time, only STOP");
    }

    #[test]
    fn a_refusal_keeps_its_class() {
        let (mut monitor, mut qemu) = pair();
        qemu.write_all(br#"{"error": {"class": "CommandNotFound", "desc": "no such thing"}}"#).unwrap();
        match monitor.execute(r#"{"execute": "nonsense"}"#) {
            Err(Error::Refused { class, description, .. }) => {
                assert_eq!((class.as_str(), description.as_str()), ("CommandNotFound", "no such thing"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_end_is_not_a_silence() {
        let (mut monitor, qemu) = pair();
        assert!(matches!(monitor.wait_for_event("STOP", Duration::ZERO), Err(Error::TimedOut { .. })));
        drop(qemu);
        assert!(matches!(monitor.wait_for_event("STOP", EVENT_PATIENCE), Err(Error::Gone { .. })));
    }

    #[test]
    fn what_greets_otherwise_is_not_talked_to() {
        let (ours, mut other) = UnixStream::pair().unwrap();
        other.write_all(br#"{"hello": 1}"#).unwrap();
        assert!(matches!(Monitor::negotiate(ours), Err(Error::NoGreeting(_))));
    }
}
