//! Reading what is to be played: every line is read before the first client is served.
//!
//! Each line has a time by which the recording is paced: `t` of a recording, `received` of a record, the timestamp of an
//! event that stands alone. Only the difference to the line before it counts, so that files of different kinds can be
//! played one after the other.

use super::replies::Replies;
use crate::exit::Failure;
use qev_qmp::{Event, Message, QemuVersion, Timestamp};
use qev_record::input::{Direction, Line, Recorded};
use qev_record::{Glob, Kind, Record};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a line may be, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// How much may be read in all, in bytes: it is kept in memory while it is played.
const MAX_TOTAL: u64 = 1 << 30;

/// A step back of an event's timestamp up to this, in microseconds, is one that the throttle held back: those are sent
/// later than events that happened after them. More than this, and somebody has set the clock.
const HELD_BACK: i64 = 10_000_000;

/// What is to be played.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// The events, in the order in which they were sent, with their times since the beginning.
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) replies: Replies,
    /// Which QEMU it was.
    pub(super) version: Option<QemuVersion>,
    /// From its beginning to its last line.
    pub(super) length: Duration,
    last: Option<Clock>,
}

/// What a line says about its time.
#[derive(Clone, Copy, Debug)]
enum Clock {
    SinceStart(Duration),
    /// Microseconds since the epoch.
    Wall(i64),
}

/// Why there is nothing to be played.
#[derive(Debug)]
enum RecordingError {
    NoEvents,
    TooLarge,
    Unreadable(io::Error),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingError::NoEvents => f.write_str(
                "no line has an event: expected what qev watch -o json prints, a recording of a monitor, or events as \
                 QEMU writes them",
            ),
            RecordingError::Unreadable(_) => f.write_str(
                "cannot be read: expected a file with what qev watch -o json prints, a recording of a monitor, or \
                 events as QEMU writes them",
            ),
            RecordingError::TooLarge => write!(f, "more than {} GiB in all: play a part of it", MAX_TOTAL >> 30),
        }
    }
}

impl std::error::Error for RecordingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordingError::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::usage(RecordingError::Unreadable(error))
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.events.len();
        write!(f, "{count} event{} in {:.1} s", if count == 1 { "" } else { "s" }, self.length.as_secs_f64())
    }
}

impl Recording {
    /// Reads these files, one after the other. Of records, only those of the machines that are wanted, if any are named.
    ///
    /// # Errors
    ///
    /// When a file or a line of it cannot be read: which.
    pub(super) fn read(files: &[PathBuf], machines: &[Glob]) -> Result<Recording, Failure> {
        let mut recording = Recording::default();
        let mut left = MAX_TOTAL;
        for path in files {
            if path == Path::new("-") {
                recording.read_lines("standard input", io::stdin().lock(), machines, &mut left)?;
                continue;
            }
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| unreadable(error).about(&name))?;
            recording.read_lines(&name, BufReader::new(file), machines, &mut left)?;
        }
        if recording.events.is_empty() {
            let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::usage(RecordingError::NoEvents).about(names.join(", ")));
        }
        Ok(recording)
    }

    /// Reads a text.
    #[cfg(test)]
    pub(super) fn parse(name: &str, text: &str) -> Result<Recording, Failure> {
        let mut recording = Recording::default();
        recording.read_lines(name, text.as_bytes(), &[], &mut MAX_TOTAL.clone())?;
        Ok(recording)
    }

    fn read_lines(
        &mut self,
        name: &str,
        mut input: impl BufRead,
        machines: &[Glob],
        left: &mut u64,
    ) -> Result<(), Failure> {
        self.last = None;
        self.replies.forget_waiting();
        let mut bytes = Vec::new();
        for number in 1_u64.. {
            bytes.clear();
            let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| unreadable(error).about(name))?;
            if read == 0 {
                break;
            }
            *left =
                left.checked_sub(read as u64).ok_or_else(|| Failure::usage(RecordingError::TooLarge).about(name))?;
            let line = Line::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|error| Failure::usage(error).about(format_args!("{name}, line {number}")))?;
            self.put(line, machines);
        }
        Ok(())
    }

    fn put(&mut self, line: Line, machines: &[Glob]) {
        match line {
            Line::Blank => {}
            Line::Record(record) => {
                if machines.is_empty() || machines.iter().any(|glob| glob.matches(&record.machine)) {
                    self.put_record(&record);
                }
            }
            Line::Event(event) => {
                self.advance(event.timestamp.and_then(Timestamp::micros).map(Clock::Wall));
                self.events.push((self.length, *event));
            }
            Line::Recorded(Recorded { at, direction, message }) => {
                self.advance(Some(Clock::SinceStart(at)));
                match direction {
                    Direction::Sent => self.replies.sent(&message.value()),
                    Direction::Received => self.put_message(message.as_text()),
                }
            }
            // Who said it, its members tell.
            Line::Message(message) if message.get("execute").or_else(|| message.get("exec-oob")).is_some() => {
                self.replies.sent(&message.value());
            }
            Line::Message(message) => self.put_message(message.as_text()),
        }
    }

    fn put_record(&mut self, record: &Record) {
        self.advance(record.received.micros().map(Clock::Wall));
        if let (Kind::State, Some(state)) = (&record.kind, &record.data) {
            self.replies.state(state, self.length);
        }
        if let Some(event) = record.to_event() {
            self.events.push((self.length, event));
        }
    }

    fn put_message(&mut self, message: &str) {
        match Message::decode(message.as_bytes()) {
            Ok(Message::Event(event)) => self.events.push((self.length, event)),
            Ok(Message::Reply(reply)) => self.replies.received(reply, self.length),
            Ok(Message::Greeting(greeting)) => self.version = self.version.or(Some(greeting.version)),
            _ => {}
        }
    }

    /// The time goes on to that of the next line. A line without one happened when the line before it did.
    fn advance(&mut self, clock: Option<Clock>) {
        let Some(clock) = clock else { return };
        let passed = match (self.last, clock) {
            (Some(Clock::SinceStart(last)), Clock::SinceStart(now)) => now.saturating_sub(last),
            (Some(Clock::Wall(last)), Clock::Wall(now)) if now < last && last.saturating_sub(now) <= HELD_BACK => {
                return;
            }
            (Some(Clock::Wall(last)), Clock::Wall(now)) => {
                Duration::from_micros(u64::try_from(now.saturating_sub(last)).unwrap_or_default())
            }
            _ => Duration::ZERO,
        };
        self.length = self.length.saturating_add(passed);
        self.last = Some(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and times of the events of these lines, in milliseconds.
    fn check(lines: &str, expected: &[(&str, u128)]) {
        let recording = Recording::parse("r", lines).unwrap();
        let times = recording.events.iter().map(|(at, event)| (event.name.as_str(), at.as_millis()));
        assert_eq!(times.collect::<Vec<_>>(), expected, "{lines}");
    }

    fn event(name: &str, seconds: i64, ms: i64) -> String {
        format!(r#"{{"timestamp": {{"seconds": {seconds}, "microseconds": {}}}, "event": "{name}"}}"#, ms * 1000)
    }

    #[test]
    fn events_that_stand_alone_are_paced_by_their_timestamps() {
        let lines = [event("A", 100, 0), event("B", 101, 500), event("C", 100, 900), event("D", 102, 0)];
        // C was held back by a throttle: it came when it came, and D is not late for it.
        check(&lines.join("\n"), &[("A", 0), ("B", 1500), ("C", 1500), ("D", 2000)]);
        let lines = [event("A", 100, 0), "{\"event\": \"B\"}".to_owned(), event("C", -1, -1), event("D", 101, 0)];
        check(&lines.join("\r\n\r\n"), &[("A", 0), ("B", 0), ("C", 0), ("D", 1000)]);
        // Somebody set the clock: it goes on from there.
        let lines = [event("A", 5000, 0), event("B", 100, 0), event("C", 101, 0)];
        check(&lines.join("\n"), &[("A", 0), ("B", 0), ("C", 1000)]);
    }

    #[test]
    fn records_are_paced_by_when_they_were_received() {
        let record = |second: u32, more: &str| {
            format!(
                r#"{{"kind":{more},"host":"h1","machine":"web1","received":"2026-11-22T11:35:{second}.000000Z","severity":"info","summary":"s"}}"#
            )
        };
        let lines = [
            record(10, r#""attached""#),
            record(11, r#""state","data":{"query-status":{"running":true}}"#),
            record(13, r#""event","event":"STOP","timestamp":{"seconds":1,"microseconds":2}"#),
            record(20, r#""detached","reason":"gone""#),
        ];
        check(&lines.join("\n"), &[("STOP", 3000)]);
        let recording = Recording::parse("r", &lines.join("\n")).unwrap();
        let status = recording.replies.answer("query-status", &qev_qmp::Object::new(), Duration::ZERO);
        assert_eq!(status.unwrap().to_string(), r#"{"running": true}"#);
        assert_eq!(recording.to_string(), "1 event in 10.0 s");
    }

    #[test]
    fn kinds_may_be_mixed_and_time_never_goes_back() {
        let lines = [
            r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 1, "major": 9}, "package": ""}, "capabilities": []}}"#,
            r#"{"t": 5, "dir": "<", "msg": {"event": "A"}}"#,
            r#"{"t": 4, "dir": "<", "msg": {"event": "B"}}"#,
            r#"{"t": 6, "dir": "<", "msg": {"event": "C"}}"#,
            &event("D", 100, 0),
            r#"{"execute": "stop"}"#,
            r#"{"return": {}}"#,
            &event("E", 101, 0),
        ];
        check(&lines.join("\n"), &[("A", 0), ("B", 0), ("C", 2000), ("D", 2000), ("E", 3000)]);
        let recording = Recording::parse("r", &lines.join("\n")).unwrap();
        assert_eq!(recording.version, Some(QemuVersion::new(9, 1, 2)));
        assert!(recording.replies.answer("stop", &qev_qmp::Object::new(), Duration::ZERO).is_ok());
    }
}
