//! The stream: who follows it gets every record once, whatever becomes of connections, of the daemon, and of others.

use crate::daemon::{History, dialling, emit};
use crate::http::{Sent, Site, Stream};
use crate::program::{Raw, Scratch};
use qev_record::Kind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write as _;
use std::os::unix::net::UnixStream;

/// How many records, of 300 bytes each.
const MORE_THAN_A_SOCKET_HOLDS: u64 = 2000;

/// A record as it came: its number, and its line.
fn numbers(stream: &mut Stream, from: u64, to: u64) {
    for expected in from..=to {
        let (id, line) = stream.record();
        assert_eq!(id, expected, "{line}");
        assert!(line.starts_with(&format!("{{\"seq\":{id},")), "{line}");
    }
}

#[test]
fn who_drops_and_resumes_misses_nothing_and_sees_nothing_twice_over_a_restart_too() {
    let scratch = Scratch::new();
    let mut site = Site::start(&scratch);
    let mut history = History::of(&scratch);
    let _web1 = dialling(&scratch, "web1", &["--rate", "200"]);
    history.until("a beginning", |record| record.seq >= Some(300));

    let (mut seen, mut restarts) = (0, 0);
    // From the beginning, then as far as it got each time, and the connection is cut in the middle of things.
    for turn in 0..12 {
        let more = if turn == 0 { String::new() } else { format!("Last-Event-ID: {seen}\r\n") };
        // The address stays as it was the first time: the header counts.
        let mut stream = site.follow("?after=0", &more);
        assert_eq!(stream.next().map(|sent| sent.event).as_deref(), Some("hello"));
        for _ in 0..97 {
            let (id, line) = stream.record();
            assert_eq!(id, seen + 1, "{line}");
            seen = id;
        }
        drop(stream);
        if turn % 4 == 3 {
            let Site { daemon, token, .. } = site;
            if turn % 8 == 3 {
                daemon.kill();
            } else {
                daemon.stop();
            }
            site = Site::again(&scratch, &token);
            restarts += 1;
        }
    }
    assert_eq!((seen, restarts), (12 * 97, 3));
    site.daemon.stop();
}

#[test]
fn who_is_too_far_behind_is_told_what_to_fetch_and_goes_on() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let mut history = History::of(&scratch);
    let web1 = dialling(&scratch, "web1", &["--rate", "500"]);
    history.until("some records", |record| record.seq >= Some(60));
    drop(web1);
    let gone = history.kind(&Kind::Detached, "web1").seq.unwrap();
    let mut stream = site.follow("?after=5&behind=50", "");
    assert_eq!(stream.next().unwrap().event, "hello");
    let lagged = stream.next().unwrap();
    let to: u64 =
        lagged.data.strip_prefix("{\"from\":6,\"to\":").and_then(|to| to.strip_suffix('}')).unwrap().parse().unwrap();
    assert!(lagged.event == "lagged" && lagged.id.is_none() && to == gone, "{lagged:?}");
    // Attached, how it is, and 18 events: fewer than it may be behind, so none is passed over, however slow we are.
    let _web2 = dialling(&scratch, "web2", &[]);
    history.kind(&Kind::State, "web2");
    let mut guest = Raw::connect(&scratch.path("web2"));
    for _ in 0..18 {
        assert_eq!(guest.execute("emit", r#"{"event": "WAKEUP"}"#), r#"{"return": {}}"#);
    }
    numbers(&mut stream, to + 1, to + 20);

    // What another journal had is of no use here.
    let mut stream = site.follow("", "Last-Event-ID: 99999999\r\n");
    assert_eq!(stream.next().unwrap().event, "hello");
    let Sent { event, data, .. } = stream.next().unwrap();
    assert!(event == "lagged" && data.starts_with("{\"from\":0,\"to\":"), "{event} {data}");
    site.daemon.stop();
}

#[test]
fn filters_choose_and_the_end_is_told() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let _web1 = dialling(&scratch, "web1", &[]);
    let _db1 = dialling(&scratch, "db1", &[]);
    for name in ["web1", "db1"] {
        History::of(&scratch).kind(&Kind::State, name);
    }
    let mut stream = site.follow("?machine=web*&event=WAKEUP&others=true&kind=event&kind=detached", "");
    assert_eq!(stream.next().unwrap().event, "hello");
    for name in ["db1", "web1", "db1", "web1"] {
        emit(&scratch, name, "WAKEUP");
        emit(&scratch, name, "SUSPEND");
    }
    for _ in 0..2 {
        let (_, line) = stream.record();
        assert!(line.contains("\"machine\":\"web1\"") && line.contains("\"event\":\"WAKEUP\""), "{line}");
    }
    site.daemon.stop();
    // The daemon's last word on each machine comes before its own.
    let (_, line) = stream.record();
    assert!(line.contains("\"kind\":\"detached\"") && line.contains("\"machine\":\"web1\""), "{line}");
    assert_eq!(stream.next().unwrap().event, "bye");
    assert_eq!(stream.next(), None);
}

/// A thousand, where this process may have so many files open, and less where it may not. What it may have is asked for: the
/// usual limit of a shell is 1024, and it may be raised.
fn a_thousand() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(8192);
    let current = limit.current.unwrap_or(u64::MAX).max(most);
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    // Other tests have files open, too.
    usize::try_from(current / 4).unwrap().min(1000)
}

#[test]
fn a_thousand_follow_and_one_that_is_stuck_costs_the_others_nothing() {
    // Before the daemon is there, which inherits what it may.
    let count = a_thousand();
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let mut history = History::of(&scratch);
    let filler = dialling(&scratch, "filler", &["--rate", "500"]);
    history.until("more than a socket holds", |record| record.seq >= Some(MORE_THAN_A_SOCKET_HOLDS));
    drop(filler);
    let gone = history.kind(&Kind::Detached, "filler").seq.unwrap();

    // It asks for everything, and reads nothing of it: a Unix socket holds about 200 KiB, and this is three times as much.
    let mut stuck = UnixStream::connect(scratch.path("state/http.sock")).unwrap();
    stuck.write_all(b"GET /api/v1/stream?after=0&behind=1000000 HTTP/1.1\r\nHost: qev\r\n\r\n").unwrap();

    let _web1 = dialling(&scratch, "web1", &["--rate", "2"]);
    let mut streams: Vec<Stream> = (0..count).map(|_| site.follow(&format!("?after={gone}"), "")).collect();
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().event, "hello");
    }
    for stream in &mut streams {
        numbers(stream, gone + 1, gone + 30);
    }
    // The stuck one is none the worse either: it goes on where it stood.
    let mut stuck = Stream::of(stuck);
    assert_eq!(stuck.next().unwrap().event, "hello");
    numbers(&mut stuck, 1, gone + 30);
    drop(streams);
    site.daemon.stop();
}
