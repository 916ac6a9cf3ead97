//! How tests ask over HTTP: a client that says exactly what it is told to, and reads answers as they come.

use crate::daemon::{Daemon, PATIENCE};
use crate::program::{Scratch, qev, run, stderr, stdout};
use qev_qmp::Json;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

/// A daemon with a page, and a token for it.
pub(crate) struct Site {
    pub(crate) daemon: Daemon,
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Site {
    pub(crate) fn start(scratch: &Scratch) -> Site {
        Site::start_with(scratch, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(scratch: &Scratch, more: &[&str]) -> Site {
        let daemon = Daemon::start(scratch, &[&["--http", "127.0.0.1:0"], more].concat());
        let address = daemon.page.clone().unwrap();
        Site { daemon, address, token: token(scratch, "test") }
    }

    /// The next daemon, where there is room: who knows who has the last one's port by now.
    pub(crate) fn again(scratch: &Scratch, token: &str) -> Site {
        let daemon = Daemon::start(scratch, &["--http", "127.0.0.1:0"]);
        let address = daemon.page.clone().unwrap();
        Site { daemon, address, token: token.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// With more headers, each with its line end.
    pub(crate) fn get_with(&self, path: &str, more: &str) -> Answer {
        say(&self.address, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{}{more}\r\n", self.address, self.bearer()))
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// Follows the stream; `more` are headers.
    pub(crate) fn follow(&self, query: &str, more: &str) -> Stream {
        let mut stream = connect(&self.address);
        let head =
            format!("GET /api/v1/stream{query} HTTP/1.1\r\nHost: {}\r\n{}{more}\r\n", self.address, self.bearer());
        stream.write_all(head.as_bytes()).unwrap();
        Stream::of(stream)
    }
}

/// A token that lasts.
pub(crate) fn token(scratch: &Scratch, name: &str) -> String {
    let output = run(&["page", "--token", name, "--state-dir", &scratch.path("state")]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // A test that waits for what does not come is to fail, not to hang.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says a request as it stands, and reads the answer.
pub(crate) fn say(address: &str, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(stream)
}

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The first line.
    first: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: impl Read) -> Answer {
        let mut reader = BufReader::new(stream);
        let mut answer = Answer::head(&mut reader);
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                reader.take(length).read_to_end(&mut body).unwrap();
                assert_eq!(body.len() as u64, length, "{answer:?}");
            }
            None => drop(reader.read_to_end(&mut body).unwrap()),
        }
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    fn head(reader: &mut impl std::io::BufRead) -> Answer {
        let mut answer = Answer::default();
        for at in 0.. {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end();
            match line.split_once(": ") {
                _ if at == 0 => {
                    line.clone_into(&mut answer.first);
                    answer.status = line.split(' ').nth(1).expect("an answer").parse().unwrap();
                }
                _ if line.is_empty() => break,
                Some((name, value)) => answer.headers.push((name.to_owned(), value.to_owned())),
                None => panic!("{line}"),
            }
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first line, and of the headers those that are expected, in the order in which they are.
    pub(crate) fn head_with(&self, expected: &[String]) -> Vec<String> {
        let names = expected.iter().skip(1).map_while(|line| line.split_once(": ").filter(|_| !line.starts_with('{')));
        let header = |name: &str| format!("{name}: {}", self.header(name).unwrap_or("(there is none)"));
        [self.first.clone()].into_iter().chain(names.map(|(name, _)| header(name))).collect()
    }

    /// The sentence of a problem, which this must be.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = Json::parse(self.body.trim()).unwrap();
        assert_eq!(problem.get("status").unwrap().as_text(), status.to_string(), "{self:?}");
        problem.get("detail").and_then(|detail| detail.string()).unwrap()
    }
}

/// What is read of a body that comes in chunks.
struct Chunked<R> {
    reader: R,
    left: usize,
    is_over: bool,
}

impl<R: std::io::BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.is_over {
            let mut line = String::new();
            // A chunk ends with a line end of its own.
            while line.trim().is_empty() {
                line.clear();
                if self.reader.read_line(&mut line)? == 0 {
                    self.is_over = true;
                    return Ok(0);
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).unwrap();
            self.is_over = self.left == 0;
        }
        let length = self.left.min(buffer.len());
        let read = self.reader.read(&mut buffer[..length])?;
        self.left -= read;
        Ok(read)
    }
}

/// Who follows.
pub(crate) struct Stream {
    body: BufReader<Chunked<BufReader<Box<dyn Read>>>>,
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Sent {
    /// As it stood in the stream, but for the line behind it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let id = self.id.map(|id| format!("id: {id}"));
        id.into_iter().chain([format!("event: {}", self.event), format!("data: {}", self.data)]).collect()
    }
}

impl Stream {
    /// What is answered on a connection on which it was asked for.
    pub(crate) fn of(stream: impl Read + 'static) -> Stream {
        let mut reader: BufReader<Box<dyn Read>> = BufReader::new(Box::new(stream));
        let answer = Answer::head(&mut reader);
        assert_eq!(answer.status, 200, "{answer:?}");
        Stream { body: BufReader::new(Chunked { reader, left: 0, is_over: false }) }
    }

    /// The next event; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => sent.id = Some(id.parse().unwrap()),
                Some(("event", event)) => sent.event = event.to_owned(),
                Some(("data", data)) => sent.data = data.to_owned(),
                _ if line == "\n" && !sent.event.is_empty() => return Some(sent),
                _ => assert!(line.trim().is_empty() || line.starts_with(':'), "{line}"),
            }
        }
    }

    /// The next record, which must be the next event.
    pub(crate) fn record(&mut self) -> (u64, String) {
        let sent = self.next().expect("a record");
        assert_eq!(sent.event, "record", "{sent:?}");
        (sent.id.unwrap(), sent.data)
    }
}

#[test]
fn the_history_is_what_qev_log_prints() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let _web1 = crate::daemon::dialling(&scratch, "web1", &[]);
    let _db1 = crate::daemon::dialling(&scratch, "db1", &[]);
    let mut history = crate::daemon::History::of(&scratch);
    for name in ["web1", "db1"] {
        crate::daemon::History::of(&scratch).kind(&qev_record::Kind::State, name);
    }
    for _ in 0..5 {
        crate::daemon::emit(&scratch, "web1", "WAKEUP");
    }
    let is_fifth = |record: &qev_record::Record| record.seq >= Some(9);
    history.until("the fifth", is_fifth);
    let log = |arguments: &[&str]| {
        let state = scratch.path("state");
        let all = [&["log", "-o", "json", "--state-dir", &state], arguments].concat();
        stdout(&run(&all))
    };
    let answer = site.get("/api/v1/events?order=oldest");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jsonl")));
    assert_eq!(answer.body, log(&[]));
    assert_eq!(site.get("/api/v1/events").body, log(&["-r"]));
    assert_eq!(
        site.get("/api/v1/events?machine=web*&event=wakeup&order=oldest").body,
        log(&["-m", "web*", "-e", "WAKEUP"])
    );
    assert_eq!(answer.header("link"), None);

    // By pages, in both directions, each record once.
    for order in ["oldest", "newest"] {
        let (mut path, mut pages) = (format!("/api/v1/events?limit=2&order={order}"), String::new());
        loop {
            let page = site.get(&path);
            pages.push_str(&page.body);
            let Some(link) = page.header("link") else { break };
            path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
        }
        assert_eq!(pages, log(if order == "newest" { &["-r"] } else { &[] }), "{order}");
    }

    // One of them.
    let third = log(&["--after", "2", "-n", "100"]).lines().next().unwrap().to_owned();
    assert_eq!(site.get("/api/v1/events/3").body.trim_end(), third);
    assert!(site.get("/api/v1/events/999").problem(404).contains("there is no record 999: the last one is "));
    assert!(site.get("/api/v1/events/three").problem(400).contains("'three' is no sequence number"));
    assert!(site.get("/api/v1/events?after=999").problem(409).contains("is this another journal?"));

    // What it means.
    let explained = stdout(&run(&["explain", "-o", "json", "WAKEUP"]));
    let answer = site.get("/api/v1/explain/WAKEUP");
    assert!(answer.body.starts_with(explained.trim_end().trim_end_matches('}')), "{answer:?}");
    assert!(site.get("/api/v1/explain/WAKEUPS").problem(404).contains("WAKEUP"));
    site.daemon.stop();
}

#[test]
fn health_and_readiness_need_no_token_and_name_nobody() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    for (path, body) in [("health", "{\"status\": \"alive\"}\n"), ("ready", "{\"status\": \"ready\"}\n")] {
        let answer = say(&site.address, &format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    site.daemon.stop();
}

#[test]
fn an_address_that_is_taken_is_told() {
    let scratch = Scratch::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = qev(&["serve", "--state-dir", &scratch.path("state"), "--attach", &scratch.path("a.sock")]);
    command.args(["--http", &address]).env("XDG_CONFIG_HOME", scratch.path("none")).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("http {address}: another program listens there already: give another address with --http, or");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn the_default_address_is_done_without_when_it_is_taken() {
    let scratch = Scratch::new();
    // When somebody else has it already, so much the better.
    let _taken = std::net::TcpListener::bind("127.0.0.1:7780");
    let mut command = qev(&["serve", "--state-dir", &scratch.path("state"), "--attach", &scratch.path("a.sock")]);
    command.env("XDG_CONFIG_HOME", scratch.path("none")).stdin(Stdio::null()).stderr(Stdio::piped());
    command.args(["--config", "/dev/null"]);
    let mut running = crate::program::Running(command.spawn().unwrap());
    let mut told = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let line = told.next().unwrap().unwrap();
    assert!(line.starts_with("qev: there is no page: 127.0.0.1:7780: "), "{line}");
    let line = told.next().unwrap().unwrap();
    assert!(line.starts_with("qev: listening at "), "{line}");
    // The Unix socket is there all the same.
    assert!(crate::program::exists(&scratch.path("state/http.sock")));
    crate::daemon::signal(&running, "TERM");
    assert_eq!(running.status(), 0);
}
