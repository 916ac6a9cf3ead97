//! Records to JSON Lines.

use super::Record;
use crate::time::push_rfc3339;
use qev_qmp::json::print::string;
use qev_qmp::{EventName, Json, Timestamp};
use std::fmt::Write as _;

/// The members that a record can have, in their order.
pub const MEMBERS: [&str; 21] = [
    "seq",
    "kind",
    "host",
    "machine",
    "machine_id",
    "session",
    "uid",
    "via",
    "received",
    "durable",
    "severity",
    "summary",
    "reason",
    "from",
    "until",
    "missed",
    "event",
    "timestamp",
    "data",
    "extra",
    "departs",
];

impl Record {
    /// The record as one line of JSON, without its line end.
    ///
    /// Members stand in a fixed order, those that do not apply are left out. The line is ASCII, so that nothing in it
    /// acts on a terminal, and strict JSON: where QEMU printed `inf` or `nan`, which JSON does not have, there is a
    /// string.
    pub fn to_line(&self) -> String {
        let mut line =
            Line { out: String::with_capacity(320 + self.data.as_ref().map_or(0, |data| data.as_text().len())) };
        line.whole("seq", self.seq);
        line.text("kind", Some(self.kind.as_str()));
        line.text("host", Some(&self.host));
        line.text("machine", Some(&self.machine));
        line.text("machine_id", self.machine_id.as_deref());
        line.text("session", self.session.as_deref());
        line.whole("uid", self.uid.map(u64::from));
        line.text("via", self.via.as_deref());
        line.time("received", Some(self.received));
        line.truth("durable", self.durable);
        line.text("severity", Some(self.severity.as_str()));
        line.text("summary", Some(&self.summary));
        line.text("reason", self.reason.as_deref());
        line.time("from", self.from);
        line.time("until", self.until);
        line.counts("missed", self);
        line.text("event", self.event.as_ref().map(EventName::as_str));
        line.timestamp("timestamp", self.timestamp);
        line.json("data", self.data.as_ref());
        line.json("extra", self.extra.as_ref());
        line.json("departs", self.departs.as_ref());
        for (name, value) in &self.unknown {
            line.json(name, Some(value));
        }
        line.out.push('}');
        line.out
    }
}

struct Line {
    out: String,
}

impl Line {
    fn name(&mut self, name: &str) {
        self.out.push(if self.out.is_empty() { '{' } else { ',' });
        string(&mut self.out, name);
        self.out.push(':');
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.name(name);
            string(&mut self.out, text);
        }
    }

    fn whole(&mut self, name: &str, n: Option<u64>) {
        if let Some(n) = n {
            self.name(name);
            // Writing to a String cannot fail.
            let _ = write!(self.out, "{n}");
        }
    }

    fn truth(&mut self, name: &str, truth: Option<bool>) {
        if let Some(truth) = truth {
            self.name(name);
            self.out.push_str(if truth { "true" } else { "false" });
        }
    }

    fn time(&mut self, name: &str, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.name(name);
            self.out.push('"');
            push_rfc3339(&mut self.out, time);
            self.out.push('"');
        }
    }

    fn timestamp(&mut self, name: &str, time: Option<Timestamp>) {
        if let Some(Timestamp { seconds, microseconds }) = time {
            self.name(name);
            let _ = write!(self.out, r#"{{"seconds":{seconds},"microseconds":{microseconds}}}"#);
        }
    }

    fn counts(&mut self, name: &str, record: &Record) {
        if record.missed.is_empty() {
            return;
        }
        self.name(name);
        let mut counts = Line { out: String::new() };
        for (event, n) in &record.missed {
            counts.whole(event.as_str(), Some(*n));
        }
        self.out.push_str(&counts.out);
        self.out.push('}');
    }

    fn json(&mut self, name: &str, value: Option<&Json>) {
        if let Some(value) = value {
            self.name(name);
            self.out.push_str(&value.strict());
        }
    }
}
