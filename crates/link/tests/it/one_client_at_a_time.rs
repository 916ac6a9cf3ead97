//! A monitor serves one client. The next one waits, hears nothing, and inherits it.

use crate::support::{Folder, Raw, commands, event, ms};
use qev_link::{Client, ConnectError, ConnectOptions, InUseCheck, MonitorOptions, Sockets, Target};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_second_client_hears_nothing_until_the_first_has_left() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let mut first = Raw::new(UnixStream::connect(&path).await.unwrap());
    first.negotiate().await;
    let mut second = Raw::new(UnixStream::connect(&path).await.unwrap());
    second.say(r#"{"execute": "qmp_capabilities"}"#).await;
    assert!(second.hears_nothing_for(ms(60_000)).await);
    server.emit(event("STOP", None)).await.unwrap();
    first.expect(r#"{"event": "STOP"}"#).await;
    drop(first);
    second.expect(crate::support::GREETING).await;
    second.expect(r#"{"return": {}}"#).await;
    server.emit(event("RESUME", None)).await.unwrap();
    second.expect(r#"{"event": "RESUME"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_second_is_told_that_the_monitor_is_held() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let _server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let target = Target::from(path.clone());
    let (_client, _events) = Client::connect(&target, ConnectOptions::default()).await.unwrap();
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
    // It is held by ourselves.
    let by = format!("{} is in use by another client, process {} (", path.display(), std::process::id());
    assert!(error.to_string().starts_with(&by), "{error}");
    // Some wait in the backlog, until one more finds no room there.
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        waiting.push(stream);
    }
    assert!(waiting.len() <= 2);
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_in_use_is_found_before_it_is_connected_to() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let _server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let target = Target::from(path.clone());
    let (client, events) = Client::connect(&target, ConnectOptions::default()).await.unwrap();
    let start = Instant::now();
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
    assert!(start.elapsed() <= ms(250), "{:?}", start.elapsed());
    assert_eq!(Sockets::look().await.unwrap().at(&path).waiting.len(), 0, "nobody was left to wait");
    let late = ConnectOptions::default().in_use_check(InUseCheck::AtTimeout);
    let error = Client::connect(&target, late).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
    assert!(start.elapsed() >= ms(5000), "{:?}", start.elapsed());
    // Whoever waits for a turn gets it.
    let (waited, ()) = tokio::join!(Client::connect(&target, late), async {
        tokio::time::sleep(ms(1000)).await;
        drop((client, events));
    });
    waited.unwrap();
}

/// The client of a server for many says nothing about the next, however long the server takes to accept it.
#[tokio::test(start_paused = true)]
async fn a_client_of_a_server_for_many_does_not_use_it() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    let (_accepted, _) = listener.accept().await.unwrap();
    let target = Target::from(path);
    let (connected, _machine) = tokio::join!(Client::connect(&target, ConnectOptions::default()), async {
        tokio::time::sleep(ms(4000)).await;
        let mut machine = Raw::new(listener.accept().await.unwrap().0);
        machine.let_in().await;
        machine
    });
    connected.unwrap();
}

/// A server that has accepted us has nobody before us: it is silent for a reason of its own.
#[tokio::test(start_paused = true)]
async fn a_server_that_has_accepted_a_second_client_is_not_in_use() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    let (_accepted, _) = listener.accept().await.unwrap();
    let target = Target::from(path);
    let (error, _second) = tokio::join!(Client::connect(&target, ConnectOptions::default()), listener.accept());
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
}

/// Over TCP within this host, where the kernel's table tells who was accepted.
#[tokio::test]
async fn a_monitor_over_tcp_that_is_in_use_is_found_too() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target: Target = format!("tcp:127.0.0.1:{port}").parse().unwrap();
    let first = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let long = ConnectOptions::default().greeting_timeout(Duration::from_secs(3600));
    let error = Client::connect(&target, long).await.unwrap_err();
    let ConnectError::Held { holder: Some(holder), .. } = &error else { panic!("{error:?}") };
    assert_eq!(holder.pid, std::process::id());
    drop((first, accepted));
    let served = async {
        // The one that gave up waits here, too.
        drop(listener.accept().await.unwrap());
        let mut machine = Raw::new(listener.accept().await.unwrap().0);
        machine.let_in().await;
        machine
    };
    let (connected, _machine) = tokio::join!(Client::connect(&target, long), served);
    connected.unwrap();
}

/// A QEMU that is stopped accepts nobody, and does not notice that a client has left.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_left_does_not_use_a_monitor_that_does_not_answer() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let first = UnixStream::connect(&path).await.unwrap();
    let _accepted = listener.accept().unwrap();
    let target = Target::from(path.clone());
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
    drop(first);
    // Each leaves one more that waits to be accepted.
    for _ in 0..2 {
        let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
    }
}

/// As QEMU listens: one may wait, and on Linux one more.
#[tokio::test(start_paused = true)]
async fn a_queue_full_of_clients_that_have_left_is_not_another_client() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let listener = tokio::net::UnixSocket::new_stream().unwrap();
    listener.bind(&path).unwrap();
    let _listener = listener.listen(1).unwrap();
    let target = Target::from(path.clone());
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        waiting.push(stream);
    }
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Held { .. }), "{error:?}");
    drop(waiting);
    let error = Client::connect(&target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotAccepting { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_for_many_serves_as_many() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let server = commands().bind(&path, MonitorOptions::default().clients(3)).start().await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::new(UnixStream::connect(&path).await.unwrap());
        client.negotiate().await;
        clients.push(client);
    }
    let mut fourth = Raw::new(UnixStream::connect(&path).await.unwrap());
    assert!(fourth.hears_nothing_for(ms(1000)).await);
    server.emit(event("STOP", None)).await.unwrap();
    for client in &mut clients {
        client.expect(r#"{"event": "STOP"}"#).await;
    }
    clients.pop();
    fourth.negotiate().await;
}

#[tokio::test(start_paused = true)]
async fn several_monitors_are_served_at_once_and_each_gets_every_event() {
    let folder = Folder::new();
    let (a, b) = (folder.file("a.sock"), folder.file("b.sock"));
    let server = commands()
        .command("which", |context, _| Ok(context.monitor().unwrap_or("none").into()))
        .bind(&a, MonitorOptions::default().name("main"))
        .bind(&b, MonitorOptions::default().name("quiet").events(false))
        .start()
        .await
        .unwrap();
    let mut main = Raw::new(UnixStream::connect(&a).await.unwrap());
    let mut quiet = Raw::new(UnixStream::connect(&b).await.unwrap());
    for (client, name) in [(&mut main, "main"), (&mut quiet, "quiet")] {
        client.negotiate().await;
        client.say(r#"{"execute": "which"}"#).await;
        client.expect(&format!(r#"{{"return": "{name}"}}"#)).await;
    }
    server.emit(event("STOP", None)).await.unwrap();
    main.expect(r#"{"event": "STOP"}"#).await;
    assert!(quiet.hears_nothing_for(ms(1000)).await);
}
