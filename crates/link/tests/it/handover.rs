//! A connection that goes from one process to the next; here both are played by this one.

use crate::support::{Folder, Raw, heard};
use qev_link::{Client, ConnectOptions, DialIn, Events, Resumed};
use qev_qmp::client::Session;
use std::os::fd::OwnedFd;
use tokio::net::UnixStream;

/// A machine that dialled in, and the spare socket that somebody keeps.
async fn dialled_in(options: ConnectOptions) -> (Client, Events, Raw<UnixStream>, OwnedFd) {
    let folder = Folder::new();
    let dial_in = DialIn::bind(&folder.file("attach.sock")).unwrap();
    let mut machine = Raw::new(UnixStream::connect(dial_in.path()).await.unwrap());
    let caller = dial_in.accept().await.unwrap();
    let (connected, ()) = tokio::join!(caller.connect(options.spare(true)), machine.let_in());
    let (mut client, events) = connected.unwrap();
    let spare = std::sync::Arc::into_inner(client.take_spare().unwrap()).unwrap();
    assert!(client.take_spare().is_none());
    (client, events, machine, spare)
}

fn resumed(spare: OwnedFd, client: &Client, session: Session) -> Resumed {
    Resumed { stream: spare.into(), greeting: client.greeting().clone(), session }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_in_the_middle_of_a_message_of_either_side() {
    let (client, mut events, mut machine, spare) = dialled_in(ConnectOptions::default()).await;
    machine.say("{\"event\": \"STOP\"}\r\n{\"event\": \"SHUT").await;
    assert_eq!(heard(&mut events, 1).await, [r#"{"event": "STOP"}"#]);
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.execute("query-status", None).await }
    });
    machine.expect(r#"{"execute": "query-status", "id": 2}"#).await;

    let session = client.suspend().await.unwrap();
    assert!(asked.await.unwrap().is_err());
    assert_eq!(heard(&mut events, 9).await, ["ended: the connection was closed on this side"]);
    assert_eq!((session.unread.as_slice(), session.next_id), (&b"{\"event\": \"SHUT"[..], 3));
    machine.say("DOWN\"}\r\n{\"return\": {}, \"id\": 2}\r\n").await;

    let options = ConnectOptions::default();
    let (next, mut events) = Client::resume(resumed(spare, &client, session), options).unwrap();
    assert_eq!(heard(&mut events, 1).await, [r#"{"event": "SHUTDOWN"}"#]);
    assert_eq!((next.peer(), next.has_oob()), (client.peer(), true));
    let (answer, ()) = tokio::join!(next.execute("query-status", None), async {
        machine.expect(r#"{"execute": "query-status", "id": 3}"#).await;
        machine.say("{\"return\": {\"status\": \"running\"}, \"id\": 3}\r\n").await;
    });
    assert_eq!(answer.unwrap().to_string(), r#"{"status": "running"}"#);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_subscriber_held_back_goes_along() {
    let options = ConnectOptions::default().events(1).hold_back(true);
    let (client, mut events, mut machine, spare) = dialled_in(options).await;
    for number in 0..10 {
        machine.say(format!("{{\"event\": \"E{number}\"}}\r\n")).await;
    }
    let first = heard(&mut events, 3).await;
    let session = client.suspend().await.unwrap();
    let mut all: Vec<String> = [first, heard(&mut events, 99).await].concat();
    assert_eq!(all.pop().unwrap(), "ended: the connection was closed on this side");
    let (_next, mut events) = Client::resume(resumed(spare, &client, session), ConnectOptions::default()).unwrap();
    all.extend(heard(&mut events, 10 - all.len()).await);
    let expected: Vec<String> = (0..10).map(|number| format!("{{\"event\": \"E{number}\"}}")).collect();
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn after_a_process_was_cut_off_the_next_finds_its_place() {
    let (client, events, mut machine, spare) = dialled_in(ConnectOptions::default()).await;
    // Closed without a word, as the kernel does it.
    drop((client.clone(), events));
    client.close().await;
    machine.say("\"action\": \"pause\"}}\r\n{\"event\": \"STOP\"}\r\n").await;
    let session = Session { oob: true, next_id: 1 << 32, ..Session::default() };
    let (next, mut events) = Client::recover(resumed(spare, &client, session), ConnectOptions::default()).unwrap();
    assert_eq!(heard(&mut events, 2).await[1..], [r#"{"event": "STOP"}"#]);
    let (answer, ()) = tokio::join!(next.execute("query-status", None), async {
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut machine.stream, &mut byte).await.unwrap();
        assert_eq!(byte, [0xFF]);
        machine.say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray\"}}\r\n").await;
        machine.expect(r#"{"execute": "query-status", "id": 4294967296}"#).await;
        machine.say("{\"return\": {}, \"id\": 4294967296}\r\n").await;
    });
    assert_eq!(answer.unwrap().to_string(), "{}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_ended_has_no_session() {
    let (client, _events, machine, _spare) = dialled_in(ConnectOptions::default()).await;
    drop(machine);
    client.ended().await;
    assert_eq!(client.suspend().await, None);
}
