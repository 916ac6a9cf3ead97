//! A service that lives in time and ends by itself, and the sockets that a server leaves behind: none.

use crate::support::{Folder, Raw, at, commands, event, greeting, ms, raw};
use qev_link::server::{Ended, ServerEnded};
use qev_link::{Context, MonitorOptions, Server, Service, StartError};
use qev_qmp::server::Request;
use qev_qmp::{Object, QmpError, Value};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Ticks every 300 ms until it is told to quit.
#[derive(Default)]
struct Ticker {
    ticks: u32,
    ended: Option<i32>,
}

impl Service for Ticker {
    fn execute(&mut self, context: &mut Context<'_>, request: Request) -> Result<Value, QmpError> {
        if request.command != "quit" {
            return Err(qev_link::server::unknown_command(&request.command));
        }
        context.emit(event("SHUTDOWN", None));
        self.ended = Some(7);
        Ok(Object::new().into())
    }

    fn negotiated(&mut self, context: &mut Context<'_>) {
        let data = Object::new().with("monitor", context.monitor().unwrap_or_default());
        context.emit(event("HELLO", Some(data)));
    }

    fn deadline(&self) -> Option<Duration> {
        Some(ms(300) * (self.ticks + 1))
    }

    fn wake(&mut self, context: &mut Context<'_>) {
        self.ticks += 1;
        let mut event = event("TICK", None);
        event.timestamp = Some(context.timestamp());
        context.emit(event);
    }

    fn exit_status(&self) -> Option<i32> {
        self.ended
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_woken_when_it_wants_and_its_last_words_are_written() {
    let mut server = Server::with_service(greeting(), Ticker::default()).clock(at(10)).start().await.unwrap();
    let mut client = raw(&server, MonitorOptions::default().name("m1")).await;
    client.negotiate().await;
    client.expect(r#"{"event": "HELLO", "data": {"monitor": "m1"}}"#).await;
    client.expect(r#"{"timestamp": {"seconds": 10, "microseconds": 300000}, "event": "TICK"}"#).await;
    client.expect(r#"{"timestamp": {"seconds": 10, "microseconds": 600000}, "event": "TICK"}"#).await;
    assert_eq!(server.call(|ticker, context| (ticker.ticks, context.now())).await, Ok((2, ms(600))));
    client.say(r#"{"execute": "quit", "id": 1}{"execute": "quit", "id": 2}"#).await;
    client.expect(r#"{"event": "SHUTDOWN"}"#).await;
    client.expect(r#"{"return": {}, "id": 1}"#).await;
    assert_eq!(client.hear().await, "", "the second is not executed any more");
    assert_eq!(server.ended().await, Ended::Exited(7));
    assert_eq!(server.ended().await, Ended::Exited(7));
    assert_eq!(server.call(|_, _| ()).await, Err(ServerEnded));
    assert_eq!(server.emit(event("STOP", None)).await, Err(ServerEnded));
}

#[tokio::test(start_paused = true)]
async fn what_is_emitted_from_outside_keeps_its_order_whichever_way_it_comes() {
    let mut server = commands().start().await.unwrap();
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    let emitter = server.emitter();
    for _ in 0..20 {
        emitter.emit(event("A", None)).await.unwrap();
        server.call(|_, context| context.emit(event("B", None))).await.unwrap();
    }
    emitter.emit(event("C", None)).await.unwrap();
    server.stop().await;
    for _ in 0..20 {
        client.expect(r#"{"event": "A"}"#).await;
        client.expect(r#"{"event": "B"}"#).await;
    }
    client.expect(r#"{"event": "C"}"#).await;
    assert_eq!(emitter.emit(event("D", None)).await, Err(ServerEnded));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_held_up_by_a_client_that_does_not_read() {
    let mut server = commands().start().await.unwrap();
    let mut deaf = crate::support::raw_with(&server, MonitorOptions::default(), 1000).await;
    deaf.negotiate().await;
    server.emit(event("A", Some(Object::new().with("x", "x".repeat(5000))))).await.unwrap();
    server.call(|_, _| ()).await.unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(server.stop().await, Ended::Stopped);
    assert_eq!(before.elapsed(), ms(5000));
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_there_while_the_server_is() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let mut server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    assert!(path.exists());
    assert_eq!(server.stop().await, Ended::Stopped);
    assert!(!path.exists());
    let server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let mut client = Raw::new(UnixStream::connect(&path).await.unwrap());
    client.negotiate().await;
    drop(server);
    assert_eq!(client.hear().await, "");
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mut first = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let error = commands().bind(&path, MonitorOptions::default()).start().await.unwrap_err();
    assert!(matches!(error, StartError::InUse { .. }), "{error:?}");
    let expected = format!("another program listens at {}: end it, or choose another path", path.display());
    assert_eq!(error.to_string(), expected);
    // The one that is alive was not disturbed.
    Raw::new(UnixStream::connect(&path).await.unwrap()).negotiate().await;
    first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    let path = folder.file("disk.raw");
    std::fs::write(&path, "data").unwrap();
    let error = commands().bind(&path, MonitorOptions::default()).start().await.unwrap_err();
    assert!(matches!(error, StartError::NotASocket { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
    let nowhere = folder.file("no/such/folder");
    let error = commands().bind(&nowhere, MonitorOptions::default()).start().await.unwrap_err();
    assert!(matches!(error, StartError::Io { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_became_anothers_is_not_removed() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let mut server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    server.stop().await;
    assert!(path.exists());
}

#[tokio::test(start_paused = true)]
async fn one_served_over_a_stream_is_waited_for_until_it_leaves() {
    let server = commands().start().await.unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let served = server.over(theirs, MonitorOptions::default()).await.unwrap();
    let mut client = Raw::new(ours);
    client.negotiate().await;
    drop(client);
    served.ended().await;
}
