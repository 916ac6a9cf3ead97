//! Who is let in over HTTP, and what everybody else is told: each a clear answer, and none of it reaches a record.

use crate::daemon::Daemon;
use crate::http::{Answer, Site, connect, say, token};
use crate::program::{Scratch, qev, run, stderr, stdout};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// What a browser that opens an address is told to keep, and where it is sent.
fn open(address: &str, host: &str) -> Answer {
    let path = address.strip_prefix(&format!("http://{host}")).expect(address);
    say(host, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn page(scratch: &Scratch, more: &[&str]) -> String {
    let output = run(&[&["page", "--state-dir", &scratch.path("state")], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

fn by_cookie(address: &str, cookie: &str, path: &str) -> Answer {
    say(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n"))
}

#[test]
fn what_is_not_let_in_is_told_why_and_reaches_no_record() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let _web1 = crate::daemon::dialling(&scratch, "web1", &[]);
    crate::daemon::History::of(&scratch).kind(&qev_record::Kind::State, "web1");
    let before = std::fs::read_to_string(scratch.path("state/tokens")).unwrap();

    let host = format!("Host: {}\r\n", site.address);
    let get = |path: &str, headers: &str| say(&site.address, &format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
    let bearer = site.bearer();
    let events = "/api/v1/events";

    let answer = get(events, &host);
    assert!(answer.problem(401).contains("open the address that 'qev page' prints"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"qev\""));
    assert!(get(events, &format!("{host}Authorization: Bearer wrong\r\n")).problem(401).contains("is not known"));
    assert!(get(events, &format!("{host}Authorization: Basic YTpi\r\n")).problem(401).contains("is not known"));
    let evil = format!("Host: evil.example\r\n{bearer}");
    assert!(get(events, &evil).problem(421).contains("this is not 'evil.example'"));
    assert!(get(events, &bearer).problem(421).contains("this is not 'nothing'"));
    let foreign = format!("{host}{bearer}Origin: http://evil.example\r\n");
    assert!(get(events, &foreign).problem(403).contains("asked from 'http://evil.example'"));
    let all = format!("{host}{bearer}");
    let wrong = [
        ("?machines=a", "there is no parameter 'machines' here: did you mean machine?"),
        ("?since=soon", "since=soon: 'soon' is not a time: expected one such as -1h"),
        ("?severity=loud", "severity=loud: "),
        ("?limit=0", "limit=0: expected a whole number from 1 to 1000"),
        ("?where=x", "where=x: "),
    ];
    for (query, expected) in wrong {
        let detail = get(&format!("{events}{query}"), &all).problem(400);
        assert!(detail.contains(expected), "{detail}");
    }
    assert!(get("/api/v1/stream?limit=1", &all).problem(400).contains("there is no parameter 'limit' here"));
    let resumed = format!("{all}Last-Event-ID: x\r\n");
    assert!(get("/api/v1/stream", &resumed).problem(400).contains("expected a sequence number"));
    assert!(get("/api/v1/nothing", &all).problem(404).contains("the API is under /api/v1/"));
    assert!(get("/assets/nothing.js", &host).problem(404).contains("the page has no file 'nothing.js'"));
    let posted = say(&site.address, &format!("POST {events} HTTP/1.1\r\n{all}Content-Length: 0\r\n\r\n"));
    assert!(posted.problem(405).contains("cannot be asked with POST"));

    // A body without end: more than is taken, piece by piece.
    let mut stream = connect(&site.address);
    stream.write_all(format!("GET {events} HTTP/1.1\r\n{all}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let piece = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
    let mut writer = stream.try_clone().unwrap();
    let writes = std::thread::spawn(move || while writer.write_all(&piece).is_ok() {});
    let answer = Answer::read(&stream);
    assert!(answer.problem(413).contains("longer than 65536 bytes"));
    assert_eq!(answer.header("connection"), Some("close"));
    drop(stream);
    writes.join().unwrap();
    // A head that is too long, and one that is none.
    let long = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(say(&site.address, &long).status, 431);
    assert_eq!(say(&site.address, "what?\r\n\r\n").status, 400);

    let log = stdout(&run(&["log", "-o", "json", "--state-dir", &scratch.path("state")]));
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(!log.contains("evil"), "{log}");
    assert_eq!(std::fs::read_to_string(scratch.path("state/tokens")).unwrap(), before);
    site.daemon.stop();
}

#[test]
fn a_one_time_address_opens_once_and_the_session_outlives_the_daemon() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let address = page(&scratch, &[]);
    // What only looks at a link does not use it up.
    let path = address.strip_prefix(&format!("http://{}", site.address)).unwrap();
    let looked =
        say(&site.address, &format!("HEAD {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.address));
    assert_eq!(looked.status, 204);
    let opened = open(&address, &site.address);
    assert_eq!((opened.status, opened.header("location")), (303, Some("/")));
    let cookie = opened.header("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=604800"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(open(&address, &site.address).problem(401).contains("was used already"));
    assert_eq!(by_cookie(&site.address, &cookie, "/api/v1/events").status, 200);
    // Who is in already and opens it again is not turned away.
    assert_eq!(by_cookie(&site.address, &cookie, path).status, 303);

    let Site { daemon, token, .. } = site;
    daemon.stop();
    let site = Site::again(&scratch, &token);
    let address = site.address.clone();
    assert_eq!(by_cookie(&site.address, &cookie, "/api/v1/events").status, 200);
    let logout =
        format!("POST /api/v1/logout HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n");
    let answer = say(&address, &logout);
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").unwrap().ends_with("Max-Age=0"), "{answer:?}");
    assert_eq!(by_cookie(&site.address, &cookie, "/api/v1/events").status, 401);
    // What is kept of all this tells nobody a secret.
    let kept = std::fs::read_to_string(scratch.path("state/tokens")).unwrap();
    assert!(!kept.contains(&token) && kept.contains("token test read "), "{kept}");
    let mode = std::fs::metadata(scratch.path("state/tokens")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    site.daemon.stop();
}

#[test]
fn a_token_counts_until_it_is_revoked() {
    let scratch = Scratch::new();
    let mut site = Site::start(&scratch);
    let grafana = token(&scratch, "grafana");
    let first = std::mem::replace(&mut site.token, grafana);
    assert_eq!(site.get("/api/v1/events").status, 200);
    let twice = run(&["page", "--token", "grafana", "--state-dir", &scratch.path("state")]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(stderr(&twice).contains("qev page --revoke grafana"), "{}", stderr(&twice));
    let list = page(&scratch, &["--list"]);
    assert!(list.contains("grafana") && list.contains("test") && !list.contains(&site.token), "{list}");
    page(&scratch, &["--revoke", "grafana"]);
    assert_eq!(site.get("/api/v1/events").status, 401);
    site.token = first;
    assert_eq!(site.get("/api/v1/events").status, 200);
    // A cookie goes with all others.
    let opened = open(&page(&scratch, &[]), &site.address);
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    page(&scratch, &["--log-out"]);
    assert_eq!(by_cookie(&site.address, &cookie, "/api/v1/events").status, 401);
    site.daemon.stop();
}

#[test]
fn the_unix_socket_asks_for_no_token_and_goes_with_the_daemon() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let path = scratch.path("state/http.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: anything\r\n\r\n").unwrap();
    assert_eq!(Answer::read(stream).status, 200);
    site.daemon.stop();
    assert!(!crate::program::exists(&path));
}

#[test]
fn what_others_can_reach_is_not_opened_without_a_token() {
    let scratch = Scratch::new();
    let serve = || {
        let mut command = qev(&["serve", "--state-dir", &scratch.path("state"), "--attach", &scratch.path("a.sock")]);
        command.args(["--http", "0.0.0.0:0"]).env("XDG_CONFIG_HOME", scratch.path("none"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let output = serve().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("there is no token: make one with qev page --token NAME"), "{told}");
    let token = token(&scratch, "elsewhere");
    let daemon = Daemon::start(&scratch, &["--http", "0.0.0.0:0"]);
    let address = daemon.page.clone().unwrap().replace("0.0.0.0", "127.0.0.1");
    let site = Site { daemon, address, token };
    assert_eq!(site.get("/api/v1/events").status, 200);
    assert!(page(&scratch, &[]).starts_with(&format!("http://{}/login?token=", site.address)));
    site.daemon.stop();
}

#[test]
fn without_a_page_there_is_no_address() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let output = run(&["page", "--state-dir", &scratch.path("state")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it serves no page"), "{}", stderr(&output));
    daemon.stop();
    let output = run(&["page", "--state-dir", &scratch.path("state")]);
    assert_eq!(output.status.code(), Some(10));
}

#[test]
fn every_answer_tells_a_browser_what_it_may_do() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    for answer in [site.get("/"), site.get("/api/v1/events"), site.get("/nowhere")] {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let page = site.get("/");
    let tag = page.header("etag").unwrap();
    assert_eq!(site.get_with("/", &format!("If-None-Match: {tag}\r\n")).status, 304);
    site.daemon.stop();
}
