//! What can be asked of the daemon. A member that is not known is an error: it would be a wish that is not granted.

use crate::daemon::follow::Wanted;
use qev_qmp::Json;
use qev_qmp::json::print::string;
use qev_record::time::{from_rfc3339, to_rfc3339};
use qev_record::{Filter, plain};
use std::fmt;
use std::str::FromStr;

/// How long a request may be, in bytes.
pub(crate) const MAX_REQUEST: usize = 64 << 10;

/// A question to the daemon.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Records.
    Log(Box<Log>),
    /// Who is there.
    Machines,
    /// Whether anybody answers.
    Ping,
    /// An address that lets one in to the page.
    Page,
}

/// Which records are wanted, and in which order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) wanted: Wanted,
    /// Only those behind this number.
    pub(crate) after: Option<u64>,
    /// At most so many.
    pub(crate) limit: Option<u64>,
    /// The newest first.
    pub(crate) newest_first: bool,
    /// Go on with what comes.
    pub(crate) follow: bool,
}

/// The line is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotARequest {
    /// It is not even an object.
    NotJson,
    /// It does not say what is asked.
    Unknown { request: Option<String> },
    /// Nobody knows this member.
    Member { member: String },
    /// A member is not what it should be.
    Misfit { member: &'static str, expected: &'static str },
    /// Both cannot be.
    FollowNewestFirst,
}

impl fmt::Display for NotARequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotARequest::NotJson => f.write_str("not a request: expected an object such as {\"request\":\"ping\"}"),
            NotARequest::Unknown { request: None } => {
                f.write_str("member 'request' is missing: expected log, machines, page or ping")
            }
            NotARequest::Unknown { request: Some(request) } => {
                write!(f, "there is no request '{}': expected log, machines, page or ping", plain::name(request))
            }
            NotARequest::Member { member } => write!(
                f,
                "a request has no member '{}': log has events, wheres, machines, severity, grep, since, until, others, gaps, \
                 after, limit, newest_first, follow; the others have none",
                plain::name(member)
            ),
            NotARequest::Misfit { member, expected } => write!(f, "member '{member}' is not {expected}"),
            NotARequest::FollowNewestFirst => f.write_str("follow and newest_first exclude each other"),
        }
    }
}

impl std::error::Error for NotARequest {}

impl Request {
    /// Reads a request's line.
    pub(crate) fn parse(line: &[u8]) -> Result<Request, NotARequest> {
        let text = std::str::from_utf8(line).map_err(|_| NotARequest::NotJson)?;
        let json = Json::parse(text).map_err(|_| NotARequest::NotJson)?;
        if !json.as_text().starts_with('{') {
            return Err(NotARequest::NotJson);
        }
        let request = json.get("request").and_then(|request| request.string());
        let mut log = Log::default();
        let mut wrong = None;
        json.members(|name, text| {
            let is_log = request.as_deref() == Some("log");
            let taken = if is_log { log.take(name, text) } else { Err(unknown(name)) };
            match taken {
                Err(error) if name != "request" => wrong = wrong.take().or(Some(error)),
                _ => {}
            }
        });
        match (request.as_deref(), wrong) {
            (Some("log" | "machines" | "page" | "ping"), Some(wrong)) => Err(wrong),
            (Some("log"), None) if log.follow && log.newest_first => Err(NotARequest::FollowNewestFirst),
            (Some("log"), None) => Ok(Request::Log(log.into())),
            (Some("machines"), None) => Ok(Request::Machines),
            (Some("page"), None) => Ok(Request::Page),
            (Some("ping"), None) => Ok(Request::Ping),
            _ => Err(NotARequest::Unknown { request }),
        }
    }

    /// The request as its line, with its end.
    pub(crate) fn to_line(&self) -> String {
        match self {
            Request::Machines => "{\"request\":\"machines\"}\n".to_owned(),
            Request::Ping => "{\"request\":\"ping\"}\n".to_owned(),
            Request::Page => "{\"request\":\"page\"}\n".to_owned(),
            Request::Log(log) => log.to_line(),
        }
    }
}

fn unknown(name: &str) -> NotARequest {
    NotARequest::Member { member: name.to_owned() }
}

const TRUTH: &str = "true or false";
const NUMBER: &str = "a whole number";
const TIME: &str = "a time such as \"2026-11-22T11:35:10Z\"";

impl Log {
    fn take(&mut self, name: &str, text: &str) -> Result<(), NotARequest> {
        let misfit = |member, expected| NotARequest::Misfit { member, expected };
        let string = || Json::parse(text).ok()?.string();
        let filter = &mut self.wanted.filter;
        match name {
            "events" => filter.events = list(text).ok_or(misfit("events", "a list of patterns"))?,
            "machines" => filter.machines = list(text).ok_or(misfit("machines", "a list of patterns"))?,
            "wheres" => filter.wheres = list(text).ok_or(misfit("wheres", "a list of conditions PATH=VALUE"))?,
            "severity" => {
                let severity = string().and_then(|name| name.parse().ok());
                filter.severity = Some(severity.ok_or(misfit("severity", "a severity such as \"warning\""))?);
            }
            "grep" => {
                let text = string().and_then(|text| text.parse().ok());
                filter.text = Some(text.ok_or(misfit("grep", "a text to search for"))?);
            }
            "since" => filter.since = Some(string().and_then(|t| from_rfc3339(&t)).ok_or(misfit("since", TIME))?),
            "until" => filter.until = Some(string().and_then(|t| from_rfc3339(&t)).ok_or(misfit("until", TIME))?),
            "gaps" => filter.gaps = text.parse().map_err(|_| misfit("gaps", TRUTH))?,
            "others" => self.wanted.others = text.parse().map_err(|_| misfit("others", TRUTH))?,
            "after" => self.after = Some(text.parse().map_err(|_| misfit("after", NUMBER))?),
            "limit" => self.limit = Some(text.parse().map_err(|_| misfit("limit", NUMBER))?),
            "newest_first" => self.newest_first = text.parse().map_err(|_| misfit("newest_first", TRUTH))?,
            "follow" => self.follow = text.parse().map_err(|_| misfit("follow", TRUTH))?,
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn to_line(&self) -> String {
        let mut line = String::from("{\"request\":\"log\"");
        let Filter { events, wheres, machines, severity, since, until, text, gaps } = &self.wanted.filter;
        push_list(&mut line, "events", events);
        push_list(&mut line, "wheres", wheres);
        push_list(&mut line, "machines", machines);
        let times = [("since", since), ("until", until)].map(|(name, time)| (name, time.map(to_rfc3339)));
        let texts = [
            ("severity", severity.map(|severity| severity.as_str().to_owned())),
            ("grep", text.as_ref().map(ToString::to_string)),
        ];
        for (name, text) in times.into_iter().chain(texts) {
            if let Some(text) = text {
                line.push_str(&format!(",\"{name}\":"));
                string(&mut line, &text);
            }
        }
        for (name, number) in [("after", self.after), ("limit", self.limit)] {
            if let Some(number) = number {
                line.push_str(&format!(",\"{name}\":{number}"));
            }
        }
        let truths = [
            ("others", self.wanted.others),
            ("gaps", *gaps),
            ("newest_first", self.newest_first),
            ("follow", self.follow),
        ];
        for (name, _) in truths.into_iter().filter(|(_, truth)| *truth) {
            line.push_str(&format!(",\"{name}\":true"));
        }
        line.push_str("}\n");
        line
    }
}

fn list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    let mut list = Vec::new();
    let mut is_good = text.starts_with('[');
    let json = Json::parse(text).ok()?;
    json.elements(|element| {
        match Json::parse(element).ok().and_then(|element| element.string()).and_then(|text| text.parse().ok()) {
            Some(item) => list.push(item),
            None => is_good = false,
        }
    });
    is_good.then_some(list)
}

fn push_list<T: fmt::Display>(line: &mut String, name: &str, list: &[T]) {
    if list.is_empty() {
        return;
    }
    line.push_str(&format!(",\"{name}\":"));
    for (n, item) in list.iter().enumerate() {
        line.push(if n == 0 { '[' } else { ',' });
        string(line, &item.to_string());
    }
    line.push(']');
}
