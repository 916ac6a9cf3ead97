//! Clients of every sort at the daemon's socket.

use super::*;
use crate::daemon::control::client::{Answer, AskError, ask, machines};
use crate::daemon::recorder::Running;
use crate::daemon::recorder::tests::{Scratch, event};
use qev_journal::{Journal, Options, Synchronous};
use qev_qmp::Timestamp;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

/// Long enough for a busy machine: a test that waits for what does not come is to fail, not to hang.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn who_may_not_ask_is_told_who_may() {
    let scratch = Scratch::new();
    let path = scratch.0.join("qev.sock");
    std::fs::write(&path, "").unwrap();
    let error = AskError::Unreachable { path: path.clone(), source: io::ErrorKind::PermissionDenied.into() };
    let gid = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&path).unwrap());
    let group = crate::config::group::name_of(gid);
    let how = crate::config::group::how_to_join(&path).map(|how| format!("; {how}")).unwrap_or_default();
    let expected = format!(
        "the daemon at {} answers root and its own user, and members of the group {group}: ask as one of them{how}",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

struct Daemon {
    scratch: Scratch,
    recorder: Recorder,
    roster: Roster,
    _running: Running,
}

impl Daemon {
    fn start() -> Daemon {
        let scratch = Scratch::new();
        let options = Options::default().synchronous(Synchronous::Off);
        let journal = Journal::open(&scratch.0.join("journal"), options).unwrap();
        let (recorder, running) = Recorder::start(journal).unwrap();
        let roster = Roster::default();
        let control = Control::bind(&scratch.0).unwrap();
        tokio::spawn(control.serve(recorder.clone(), roster.clone(), None, Descriptors::new(1 << 20)));
        Daemon { scratch, recorder, roster, _running: running }
    }

    /// Puts events 1 to `count` in, and waits until they are kept.
    async fn with_events(count: u64) -> Daemon {
        let daemon = Daemon::start();
        let outbox = daemon.recorder.outbox();
        for n in 1..=count {
            outbox.put(event(if n % 2 == 0 { "even" } else { "odd" }, "STOP", n)).await;
        }
        let kept = async {
            while daemon.recorder.last() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, kept).await.unwrap();
        daemon
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(path(&self.scratch.0)).await.unwrap())
    }

    /// Sends bytes, and reads all lines of the answer.
    async fn say(&self, bytes: &[u8]) -> Vec<String> {
        let mut client = self.connect().await;
        client.write_all(bytes).await.unwrap();
        lines(&mut client).await
    }
}

async fn line(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    timeout(PATIENCE, client.read_line(&mut line)).await.expect("a line").unwrap();
    line.trim_end().to_owned()
}

async fn lines(client: &mut BufReader<UnixStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match line(client).await {
            line if line.is_empty() => return lines,
            line => lines.push(line),
        }
    }
}

fn seqs(lines: &[String]) -> Vec<u64> {
    lines.iter().filter_map(|line| qev_record::Record::parse(line).ok()?.seq).collect()
}

#[tokio::test]
async fn what_is_asked_is_answered_and_then_there_is_an_end() {
    let daemon = Daemon::with_events(10).await;
    assert_eq!(daemon.say(b"{\"request\":\"ping\"}\n").await, ["{\"end\":{\"last\":10}}"]);
    let all = daemon.say(b"{\"request\":\"log\"}\n").await;
    assert_eq!((seqs(&all), all.last().unwrap().as_str()), ((1..=10).collect(), "{\"end\":{\"last\":10}}"));
}

#[tokio::test]
async fn a_log_may_be_filtered_and_limited_and_turned_round() {
    let daemon = Daemon::with_events(10).await;
    for (request, expected) in [
        (r#"{"request":"log","machines":["od*"],"after":3,"limit":2}"#, vec![5, 7]),
        (r#"{"request":"log","newest_first":true,"limit":3}"#, vec![10, 9, 8]),
        (r#"{"request":"log","wheres":["data.n=4"]}"#, vec![4]),
        (r#"{"request":"log","events":["RESUME"]}"#, vec![]),
        (r#"{"request":"log","severity":"critical"}"#, vec![]),
        (r#"{"request":"log","until":"2001-01-01T00:00:00Z"}"#, vec![]),
        (r#"{"request":"log","since":"2001-01-01T00:00:00Z","after":8}"#, vec![9, 10]),
        (r#"{"request":"log","follow":true,"after":7,"limit":3}"#, vec![8, 9, 10]),
    ] {
        let answer = daemon.say(format!("{request}\n").as_bytes()).await;
        assert_eq!(seqs(&answer), expected, "{request}");
        assert_eq!(answer.last().unwrap(), "{\"end\":{\"last\":10}}", "{request}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_told_what_is_wrong_with_it() {
    let daemon = Daemon::with_events(1).await;
    for (request, expected) in [
        ("", r#"{"error":"not a request: expected an object such as {\"request\":\"ping\"}"}"#),
        ("[1]", r#"{"error":"not a request: expected an object such as {\"request\":\"ping\"}"}"#),
        ("{}", r#"{"error":"member 'request' is missing: expected log, machines, page or ping"}"#),
        (
            r#"{"request":"quit\u001b"}"#,
            r#"{"error":"there is no request 'quit\\u{1b}': expected log, machines, page or ping"}"#,
        ),
        (r#"{"request":"log","after":"x"}"#, r#"{"error":"member 'after' is not a whole number"}"#),
        (r#"{"request":"log","events":["["]}"#, r#"{"error":"member 'events' is not a list of patterns"}"#),
        (r#"{"request":"log","events":"X"}"#, r#"{"error":"member 'events' is not a list of patterns"}"#),
        (r#"{"request":"log","follow":1}"#, r#"{"error":"member 'follow' is not true or false"}"#),
        (
            r#"{"request":"log","follow":true,"newest_first":true}"#,
            r#"{"error":"follow and newest_first exclude each other"}"#,
        ),
        (
            r#"{"request":"log","after":2}"#,
            r#"{"error":"there is no record 2: the last one is 1; is this another journal?"}"#,
        ),
    ] {
        assert_eq!(daemon.say(format!("{request}\n").as_bytes()).await, [expected], "{request}");
    }
    let member = daemon.say(b"{\"request\":\"machines\",\"machine\":\"a\"}\n").await;
    assert!(member[0].starts_with(r#"{"error":"a request has no member 'machine': log has "#), "{member:?}");
    assert_eq!(daemon.say(b"\xff\xfe\n").await.len(), 1);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up() {
    let daemon = Daemon::with_events(0).await;
    let mut client = daemon.connect().await;
    let endless = vec![b' '; MAX_REQUEST + 4096];
    // It may be gone before it has taken all.
    let _ = client.write_all(&endless).await;
    assert_eq!(line(&mut client).await, r#"{"error":"the request is longer than 65536 bytes"}"#);

    let mut half = daemon.connect().await;
    half.write_all(b"{\"request\":").await.unwrap();
    half.get_mut().shutdown().await.unwrap();
    assert!(line(&mut half).await.starts_with(r#"{"error":"not a request"#));

    let mut silent = daemon.connect().await;
    silent.write_all(b"{\"request\":").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::time::pause();
    assert_eq!(line(&mut silent).await, r#"{"error":"no request came within 10 s"}"#);
}

#[tokio::test]
async fn who_follows_sees_what_comes_and_nothing_else_may_be_asked() {
    let daemon = Daemon::with_events(3).await;
    let mut client = daemon.connect().await;
    client.write_all(b"{\"request\":\"log\",\"after\":2,\"follow\":true,\"machines\":[\"odd\"]}\n").await.unwrap();
    assert_eq!(seqs(&[line(&mut client).await]), [3]);
    let outbox = daemon.recorder.outbox();
    outbox.put(event("even", "STOP", 4)).await;
    outbox.put(event("odd", "STOP", 5)).await;
    assert_eq!(seqs(&[line(&mut client).await]), [5]);
    client.write_all(b"{\"request\":\"ping\"}\n").await.unwrap();
    assert_eq!(line(&mut client).await, r#"{"error":"one request a connection"}"#);
}

#[tokio::test]
async fn a_client_that_never_reads_is_in_nobodys_way() {
    let daemon = Daemon::with_events(20_000).await;
    let mut stuck = Vec::new();
    for request in ["{\"request\":\"log\"}\n", "{\"request\":\"log\",\"follow\":true}\n"] {
        let mut client = daemon.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        stuck.push(client);
    }
    let outbox = daemon.recorder.outbox();
    for n in 0..20_000 {
        outbox.put(event("a", "STOP", n)).await;
    }
    let last = daemon.say(b"{\"request\":\"log\",\"newest_first\":true,\"limit\":1}\n").await;
    assert_eq!(last.len(), 2);
    // And when it reads after all, everything is there.
    let all = seqs(&lines(&mut stuck[0]).await);
    assert_eq!(all, (1..=20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn there_are_so_many_clients_and_those_that_vanish_make_room() {
    let daemon = Daemon::with_events(1).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = daemon.connect().await;
        client.write_all(b"{\"request\":\"log\",\"follow\":true}\n").await.unwrap();
        assert_eq!(seqs(&[line(&mut client).await]), [1]);
        clients.push(client);
    }
    let expected = r#"{"error":"256 clients are connected already: end one of them"}"#;
    assert_eq!(daemon.say(b"").await, [expected]);
    drop(clients);
    let room = async {
        while daemon.say(b"{\"request\":\"ping\"}\n").await != ["{\"end\":{\"last\":1}}"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, room).await.unwrap();
}

#[tokio::test]
async fn machines_are_told_as_they_are_known() {
    let daemon = Daemon::with_events(0).await;
    let mut status = MachineStatus::not_attached(
        "we\u{1b}b1",
        "held",
        Timestamp::from_micros(1_795_347_310_942_911),
        "/run/web1.sock".to_owned(),
        "held by \"socat\"".to_owned(),
    );
    status.pid = Some(7);
    daemon.roster.put("k", status);
    let told = daemon.say(b"{\"request\":\"machines\"}\n").await;
    let expected = r#"{"machine":"we\u001Bb1","state":"held","since":"2026-11-22T11:35:10.942911Z","way":"dial-out","place":"/run/web1.sock","note":"held by \"socat\"","pid":7,"events":0}"#;
    assert_eq!(told, [expected, r#"{"end":{"last":0}}"#]);
    let (known, last) = machines(&daemon.scratch.0).await.unwrap();
    assert_eq!((known[0].name.as_str(), known[0].state.as_str(), last), ("we\u{1b}b1", "held", 0));
}

#[tokio::test]
async fn a_request_means_what_was_meant() {
    let daemon = Daemon::with_events(10).await;
    let filter = qev_record::Filter {
        events: vec!["ST?P".parse().unwrap()],
        wheres: vec!["data.action=pause".parse().unwrap()],
        machines: vec!["\"odd\"".parse().unwrap(), "odd".parse().unwrap()],
        severity: Some(qev_record::Severity::Debug),
        since: Some(Timestamp::from_micros(1)),
        until: Some(Timestamp::from_micros(253_402_207_199_000_000)),
        text: Some("\"action\"".parse().unwrap()),
        gaps: true,
    };
    let wanted = crate::daemon::follow::Wanted { filter, others: true, ..crate::daemon::follow::Wanted::default() };
    let log = Log { wanted, after: Some(1), limit: Some(3), newest_first: true, follow: false };
    let mut answers = ask(&daemon.scratch.0, &Request::Log(log.into())).await.unwrap();
    for expected in [9, 7, 5] {
        let Answer::Record(record) = answers.next().await.unwrap() else { panic!("a record") };
        assert_eq!(record.seq, Some(expected));
    }
    assert!(matches!(answers.next().await, Ok(Answer::End(10))));
    assert!(matches!(answers.next().await, Err(AskError::Gone { .. })));
}

#[tokio::test]
async fn the_socket_is_for_the_daemons_group_and_goes_with_it() {
    let scratch = Scratch::new();
    std::fs::write(path(&scratch.0), "old").unwrap();
    let control = Control::bind(&scratch.0).unwrap();
    let mode = std::fs::metadata(path(&scratch.0)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(UnixStream::connect(path(&scratch.0)).await.is_ok());
    drop(control);
    let error = ask(&scratch.0, &Request::Ping).await.unwrap_err();
    assert!(matches!(&error, AskError::NotRunning { .. }), "{error}");
}
