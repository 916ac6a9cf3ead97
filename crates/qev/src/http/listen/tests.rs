//! Connections of clients that take their time, at a clock of their own.

use super::*;
use crate::daemon::recorder::tests::Scratch;
use crate::daemon::recorder::{Recorder, Running as Recording};
use crate::daemon::roster::Roster;
use crate::http::access::Access;
use crate::http::discover::Discovery;
use crate::http::{STREAMS, router};
use qev_journal::{Journal, Options, Synchronous};
use tokio::io::DuplexStream;
use tokio::time::Instant;

struct Daemon {
    server: Server,
    stop: watch::Sender<bool>,
    _running: Recording,
    _scratch: Scratch,
}

impl Daemon {
    fn start() -> Daemon {
        let scratch = Scratch::new();
        let options = Options::default().synchronous(Synchronous::Off);
        let (recorder, running) = Recorder::start(Journal::open(&scratch.0.join("journal"), options).unwrap()).unwrap();
        let access = Arc::new(Access::open(&scratch.0).unwrap());
        let site = Site::new("h1".into(), recorder, Roster::default(), access, Vec::new(), Discovery::new(Vec::new()))
            .unwrap();
        let (stop, stopping) = watch::channel(false);
        let router = TowerToHyperService::new(router(Arc::clone(&site)));
        Daemon {
            server: Server { site, router, places: places(&Descriptors::new(1 << 20)), stopping },
            stop,
            _running: running,
            _scratch: scratch,
        }
    }

    /// A client of the Unix socket, whom this user's process is.
    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let peer = Peer::Unix { uid: rustix::process::geteuid().as_raw() };
        tokio::spawn(self.server.clone().connection(ours, peer));
        theirs
    }

    /// Says something, and reads until the end; and how long that took, in seconds.
    async fn say(&self, bytes: &[u8]) -> (String, u64) {
        let mut client = self.connect();
        let begin = Instant::now();
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (String::from_utf8(answer).unwrap(), begin.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection() {
    let daemon = Daemon::start();
    for begun in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let (answer, seconds) = daemon.say(begun.as_bytes()).await;
        assert!(answer.is_empty() && (10..12).contains(&seconds), "{begun}: {answer} after {seconds} s");
    }
    // And so does one that asks no more.
    let (answer, seconds) = daemon.say(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && (10..12).contains(&seconds), "{answer} after {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_waited_for_and_told() {
    let daemon = Daemon::start();
    let head = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n";
    for body in ["Content-Length: 5\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (answer, seconds) = daemon.say(format!("{head}{body}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout"), "{answer}");
        assert!(answer.contains("the body did not end within 10 s: send none") && seconds >= 10, "{answer}");
    }
    let (answer, _) = daemon.say(format!("{head}Content-Length: 99999\r\n\r\n{}", "x".repeat(99_999)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_follows_hears_from_us_though_nothing_happens_and_only_so_many_may() {
    let daemon = Daemon::start();
    let follow = b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = daemon.connect();
    client.write_all(follow).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b":\n\n\r\n") {
        assert_ne!(client.read_buf(&mut heard).await.unwrap(), 0);
    }
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.contains("event: hello\ndata: {\"last\": 0,"), "{heard}");

    let mut others = Vec::new();
    for _ in 1..STREAMS {
        let mut other = daemon.connect();
        other.write_all(follow).await.unwrap();
        others.push(other);
    }
    for other in &mut others {
        let mut first = [0; 15];
        other.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
    }
    let (answer, _) = daemon.say(follow).await;
    assert!(answer.contains("2048 clients follow already: end one of them"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_connections() {
    let daemon = Daemon::start();
    let mut others: Vec<_> = (0..CONNECTIONS).map(|_| daemon.connect()).collect();
    // Each has had its turn.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (answer, _) = daemon.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("4096 clients are connected already"), "{answer}");
    others.pop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut client = daemon.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_a_client_that_does_not_read_is_not_waited_for_long() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    client.read_exact(&mut first).await.unwrap();
    let Daemon { server, stop, .. } = daemon;
    drop(server);
    let begin = Instant::now();
    stop.send_replace(true);
    stop.closed().await;
    assert_eq!(begin.elapsed().as_secs(), LAST_ANSWERS.as_secs());
}
