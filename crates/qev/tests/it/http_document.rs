//! docs/http-api.md keeps its word: what it shows is said to a daemon, in its order, and the answers are those that it shows.
//!
//! In an indented block a line that begins with `$` is a command, what follows up to the next is its answer. `…` stands for
//! anything. Times, process numbers and the names of hosts and ports are not compared.

use crate::daemon::{History, dialling};
use crate::http::{Answer, Site, Stream, connect};
use crate::program::{Scratch, run, stderr, stdout};
use qev_record::Kind;
use std::io::Write as _;
use std::os::unix::net::UnixStream;

const PAGE: &str = include_str!("../../../../docs/http-api.md");

/// What the page says is said, and answered.
struct Example {
    command: String,
    answer: Vec<String>,
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_in_block = false;
    let mut is_fenced = false;
    for line in page.lines() {
        is_fenced ^= line.starts_with("```");
        let Some(code) = line.strip_prefix("    ").filter(|_| !is_fenced) else {
            is_in_block &= line.is_empty();
            continue;
        };
        if let Some(command) = code.strip_prefix("$ ") {
            examples.push(Example { command: command.to_owned(), answer: Vec::new() });
        } else {
            assert!(is_in_block, "a block that begins with no command: {line}");
            examples.last_mut().unwrap().answer.push(code.to_owned());
        }
        is_in_block = true;
    }
    examples
}

/// A command's words, as a shell takes them apart.
fn words(command: &str, token: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.replace("$TOKEN", token).chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words
}

/// What curl is told.
#[derive(Default)]
struct Curl {
    headers: String,
    shows_head: bool,
    follows: bool,
    socket: bool,
    url: String,
}

impl Curl {
    fn parse(words: &[String]) -> Curl {
        let mut curl = Curl::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-H" => curl.headers.push_str(&format!("{}\r\n", words.next().unwrap())),
                "-i" => curl.shows_head = true,
                "-N" => curl.follows = true,
                "--unix-socket" => curl.socket = words.next().is_some(),
                url => curl.url = url.to_owned(),
            }
        }
        curl
    }

    fn head(&self, site: &Site) -> String {
        let (host, path) = self.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let host = host.replace("127.0.0.1:7780", &site.address);
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", self.headers)
    }

    /// The lines of the answer, as many as are of interest.
    fn ask(&self, site: &Site, scratch: &Scratch, expected: &[String]) -> Vec<String> {
        let head = self.head(site);
        if self.follows {
            let mut stream = connect(&site.address);
            stream.write_all(head.as_bytes()).unwrap();
            let mut stream = Stream::of(stream);
            let count = expected.iter().filter(|line| line.starts_with("event: ")).count();
            return (0..count).flat_map(|_| stream.next().unwrap().lines()).collect();
        }
        let answer = if self.socket {
            let mut stream = UnixStream::connect(scratch.path("state/http.sock")).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            Answer::read(stream)
        } else {
            crate::http::say(&site.address, &head)
        };
        let mut lines = if self.shows_head { answer.head_with(expected) } else { Vec::new() };
        lines.extend(answer.body.lines().map(str::to_owned));
        lines
    }
}

/// With what differs from run to run taken out.
fn steady(line: &str, address: &str) -> String {
    let mut line = line.replace(address, "127.0.0.1:7780");
    for before in ["pid-", "@", "process ", "of user ", "\"pid\":", "seconds\":"] {
        let mut parts = line.split(before);
        let mut steady = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            steady.push_str(&format!("{before}{}{rest}", if rest.len() < part.len() { "0" } else { "" }));
        }
        line = steady;
    }
    for before in ["\"host\":\"", "\"host\": \""] {
        if let Some((start, rest)) = line.split_once(before) {
            line = format!("{start}{before}h1{}", rest.trim_start_matches(|c| c != '"'));
        }
    }
    let mut steady = String::new();
    let mut rest = line.as_str();
    while let Some(at) = rest.find("T") {
        let (start, end) = (at.checked_sub(10), at + 17);
        let time = start.and_then(|start| rest.get(start..end)).filter(|time| time.ends_with('Z'));
        match time.and_then(qev_record::time::from_rfc3339) {
            Some(_) => {
                steady.push_str(&rest[..at - 10]);
                steady.push_str("TIME");
                rest = &rest[end..];
            }
            None => {
                steady.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    steady + rest
}

/// Whether the text is what the pattern says, `…` being anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn check(example: &Example, answered: &[String], address: &str) {
    let join = |lines: &[String]| {
        let lines = lines.iter().filter(|line| !line.is_empty()).map(|line| steady(line, address));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (expected, answered) = (join(&example.answer), join(answered));
    assert!(is_like(&answered, &expected), "$ {}\nthe page says:\n{expected}\nit is:\n{answered}", example.command);
}

#[test]
fn every_example_is_answered_as_the_page_shows() {
    let scratch = Scratch::new();
    let mut site = Site::start(&scratch);
    let _web1 = dialling(&scratch, "web1", &["--panic", "pause"]);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "web1");
    let bad = r#"{"event": "QUORUM_REPORT_BAD", "data": {"type": "read", "node-name": "c1", "sector-num": 8, "sectors-count": 8}}"#;
    for command in [&["emit", bad][..], &["panic"]] {
        let output = run(&[&["send", &scratch.path("web1")], command].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    history.event("STOP", "web1");
    until_the_view_has_it(&site);

    let examples = examples(PAGE);
    assert!(examples.len() > 15, "{}", examples.len());
    for example in examples {
        let words = words(&example.command, &site.token);
        let address = site.address.clone();
        let qev = |arguments: &[&str]| {
            let output = run(&[arguments, &["--state-dir", &scratch.path("state")]].concat());
            assert!(output.status.success(), "{}", stderr(&output));
            stdout(&output).trim_end().to_owned()
        };
        match words[0].as_str() {
            "curl" => {
                let answered = Curl::parse(&words[1..]).ask(&site, &scratch, &example.answer);
                check(&example, &answered, &address);
            }
            "qev" => {
                let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
                check(&example, &[qev(&arguments)], &address);
            }
            _ => {
                let arguments = example.command.strip_prefix("TOKEN=$(qev ").and_then(|rest| rest.strip_suffix(')'));
                site.token = qev(&arguments.expect("a command that is known").split(' ').collect::<Vec<_>>());
            }
        }
    }
    site.daemon.stop();
}

/// The machines are folded behind the journal.
fn until_the_view_has_it(site: &Site) {
    let deadline = std::time::Instant::now() + crate::daemon::PATIENCE;
    while !site.get("/api/v1/machines").body.ends_with("\"last\":5}\n")
        || !site.get("/metrics").body.contains("GUEST_PANICKED")
    {
        assert!(std::time::Instant::now() < deadline, "{:?}", site.get("/api/v1/machines"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn every_address_that_there_is_stands_on_the_page() {
    let source = include_str!("../../src/http.rs");
    let routes = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut count = 0;
    for route in routes.filter(|route| *route != "/" && !route.starts_with("/assets")) {
        let named = route.replace("{seq}", "SEQ").replace("{name}", "NAME").replace("{event}", "EVENT");
        let named = if ["/metrics", "/login"].contains(&route) { named } else { format!("/api/v1{named}") };
        assert!(PAGE.contains(&named), "{named}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn a_pattern_is_what_the_page_may_leave_out() {
    for (text, pattern, expected) in [
        ("abc", "abc", true),
        ("abc", "a…c", true),
        ("abc", "…", true),
        ("abcd", "a…c", false),
        ("abc", "ab", false),
        ("a1b2c", "a…b…c", true),
        ("a1c", "a…b…c", false),
    ] {
        assert_eq!(is_like(text, pattern), expected, "{text} {pattern}");
    }
    let line = r#"{"host":"vm","session":"pid-15@99","received":"2026-11-24T20:31:19.991906Z","timestamp":{"seconds":5,"microseconds":7}}"#;
    let steadied = r#"{"host":"h1","session":"pid-0@0","received":"TIME","timestamp":{"seconds":0,"microseconds":0}}"#;
    assert_eq!(steady(line, "127.0.0.1:1"), steadied);
}
