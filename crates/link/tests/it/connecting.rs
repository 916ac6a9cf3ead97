//! The ways in which one does not get in, each told from the others, in sentences that say what to do.

use crate::support::{Folder, GREETING, Raw};
use qev_link::{Client, ConnectError, ConnectOptions, Target};
use std::os::linux::net::SocketAddrExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

async fn error(target: &Target) -> ConnectError {
    Client::connect(target, ConnectOptions::default()).await.map(|_| ()).unwrap_err()
}

/// Whoever connects is told this.
async fn fails_after(path: &Path, said: &str, then_close: bool) -> ConnectError {
    let listener = UnixListener::bind(path).unwrap();
    let target = Target::from(path);
    let (error, _stream) = tokio::join!(error(&target), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        if then_close {
            stream.shutdown().await.unwrap();
        }
        stream
    });
    std::fs::remove_file(path).unwrap();
    error
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_is_dead_or_is_no_socket() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let target = Target::from(path.clone());
    let absent = error(&target).await;
    assert!(matches!(absent, ConnectError::NoSuchSocket { .. }), "{absent:?}");
    assert!(absent.to_string().starts_with(&format!("there is no socket at {}: ", path.display())));
    drop(UnixListener::bind(&path).unwrap());
    let dead = error(&target).await;
    assert!(matches!(dead, ConnectError::NobodyListens { .. }), "{dead:?}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let file = error(&target).await;
    assert!(matches!(file, ConnectError::NotASocket { .. }), "{file:?}");
    let name = error(&Target::Machine("web1".to_owned())).await;
    assert!(matches!(name, ConnectError::MachineName { .. }), "{name:?}");
}

#[tokio::test(start_paused = true)]
async fn what_answers_but_is_no_qmp() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let start = Instant::now();
    let hmp = "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";
    let human = fails_after(&path, hmp, false).await;
    assert!(matches!(human, ConnectError::HumanMonitor { .. }), "{human:?}");
    assert_eq!(start.elapsed(), Duration::ZERO, "told at once");
    for (said, close) in [("RFB 003.008\n", false), ("RFB 003.008\n", true), ("{\"hello\": 1}\n", false), ("%", true)] {
        let other = fails_after(&path, said, close).await;
        let ConnectError::NotQmp { said: heard, .. } = &other else { panic!("{other:?}") };
        assert_eq!(String::from_utf8_lossy(heard), said.trim_end());
    }
    assert!(start.elapsed() <= Duration::from_secs(2), "told soon");
}

#[tokio::test(start_paused = true)]
async fn what_is_silent_or_stops_on_the_way() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let start = Instant::now();
    let silent = fails_after(&path, "", false).await;
    assert!(matches!(silent, ConnectError::Silent { after, .. } if after == Duration::from_secs(5)), "{silent:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let half = fails_after(&path, &format!("{GREETING}\r\n"), false).await;
    assert!(matches!(half, ConnectError::NegotiationTimeout { .. }), "{half:?}");
    let closed = fails_after(&path, "", true).await;
    assert!(matches!(closed, ConnectError::Ended { .. }), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_is_told_what_the_peer_said() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let said = r#"{"error": {"class": "GenericError", "desc": "there are as many clients as there may be"}}"#;
    let full = fails_after(&path, &format!("{said}\r\n"), true).await;
    let ConnectError::TurnedAway { source, .. } = &full else { panic!("{full:?}") };
    assert_eq!(source.desc, "there are as many clients as there may be");
    assert_eq!(full.to_string(), format!("{} does not let us in", path.display()));
    // That alone is no end.
    let silent = fails_after(&path, &format!("{said}\r\n"), false).await;
    assert!(matches!(silent, ConnectError::Silent { .. }), "{silent:?}");
}

/// As a QEMU that was given a path relative to a folder that is far down.
#[tokio::test(start_paused = true)]
async fn a_path_that_is_longer_than_the_kernel_takes_is_connected_to() {
    let folder = Folder::new();
    let deep = folder.file(&["d".repeat(100), "e".repeat(100)].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    let short = folder.file("short");
    std::os::unix::fs::symlink(&deep, &short).unwrap();
    let listener = UnixListener::bind(short.join("x.sock")).unwrap();
    let target = Target::from(deep.join("x.sock"));
    let (connected, _machine) = tokio::join!(Client::connect(&target, ConnectOptions::default()), async {
        let mut machine = Raw::new(listener.accept().await.unwrap().0);
        machine.let_in().await;
        machine
    });
    connected.unwrap();
    drop(listener);
    let dead = error(&target).await;
    assert!(matches!(dead, ConnectError::NobodyListens { .. }), "{dead:?}");
    std::fs::remove_file(short.join("x.sock")).unwrap();
    let absent = error(&target).await;
    assert!(matches!(absent, ConnectError::NoSuchSocket { .. }), "{absent:?}");
}

#[tokio::test(start_paused = true)]
async fn an_abstract_socket_is_connected_to() {
    let name = format!("qev-connecting-{}", std::process::id());
    let target: Target = format!("unix:{name},abstract=on").parse().unwrap();
    let absent = error(&target).await;
    assert!(matches!(absent, ConnectError::NobodyListens { .. }), "{absent:?}");
    assert!(absent.to_string().starts_with(&format!("nobody listens at @{name}: ")), "{absent}");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let (connected, _machine) = tokio::join!(Client::connect(&target, ConnectOptions::default()), async {
        let mut machine = Raw::new(listener.accept().await.unwrap().0);
        machine.let_in().await;
        machine
    });
    let _connected = connected.unwrap();
    assert_eq!(qev_link::Sockets::look().await.unwrap().at_abstract(&name).clients.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_has_accepted_is_silent_not_held() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = error(&Target::from(path)).await;
    assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_greeting_behind_something_strange_is_still_a_greeting() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut machine = Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, ConnectOptions::default()), async {
        machine.say("{\"QMP\": {\"vers\r\n").await;
        machine.let_in().await;
    });
    connected.unwrap();
}

/// What the kernel waits for at the connection with this port of ours: 0 for nothing, 1 for an acknowledgement, 2 for the
/// time to probe whether anybody is there.
fn timer_of(port: u16) -> u8 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words[1].ends_with(&format!(":{port:04X}"))).unwrap();
    line[5].split(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn tcp_is_spoken_too() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target: Target = format!("tcp:127.0.0.1:{port},server=on").parse().unwrap();
    let (connected, machine) = tokio::join!(Client::connect(&target, ConnectOptions::default()), async {
        let (stream, ours) = listener.accept().await.unwrap();
        let mut machine = Raw::new(stream);
        machine.let_in().await;
        (machine, ours.port())
    });
    let _client = connected.unwrap();
    // Quiet as it is, the kernel looks whether the other host is still there.
    let probed = async {
        while timer_of(machine.1) != 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), probed).await.expect("it is probed");
    drop(listener);
    let refused = error(&target).await;
    assert!(matches!(refused, ConnectError::NobodyListens { .. }), "{refused:?}");
}
