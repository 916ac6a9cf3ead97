//! A monitor serves one client. The next one waits, hears nothing, and inherits it.

use crate::support::{Folder, Raw, commands, event, ms};
use qev_link::{Client, ConnectError, ConnectOptions, MonitorOptions, Target};
use tokio::net::UnixStream;

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
    let by = format!("{} is held by another client, process {} (", path.display(), std::process::id());
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
