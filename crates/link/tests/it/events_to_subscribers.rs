//! Who subscribes gets everything, or learns what it missed, and in the end why it ended.

use crate::support::{client, event, heard, ms, server};
use qev_link::{Client, ConnectOptions, EventItem, MonitorOptions};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Events by the names `A0`, `A1`, …
fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("{{\"event\": \"A{n}\"}}\r\n")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_learns_what_it_missed_and_holds_up_nobody() {
    let (client, mut slow, mut machine) = client(ConnectOptions::default().events(2)).await;
    let mut fast = client.subscribe(100);
    machine.say(lines(0..5)).await;
    assert_eq!(heard(&mut fast, 5).await, [0, 1, 2, 3, 4].map(|n| format!("{{\"event\": \"A{n}\"}}")));
    assert_eq!(heard(&mut slow, 3).await, ["missed 3", r#"{"event": "A3"}"#, r#"{"event": "A4"}"#]);
    machine.say(lines(5..6)).await;
    assert_eq!(heard(&mut slow, 1).await, [r#"{"event": "A5"}"#]);
}

#[tokio::test(start_paused = true)]
async fn the_machine_is_read_whether_anybody_listens_or_not() {
    let (client, mut events, mut machine) = client(ConnectOptions::default().events(4)).await;
    // Far more than fits between the two: it would stand still if nobody read.
    machine.say(lines(0..100_000)).await;
    drop(machine);
    client.ended().await;
    let heard = heard(&mut events, 100).await;
    assert_eq!(heard[0], "missed 99996");
    assert_eq!(heard.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn every_subscriber_learns_that_the_peer_closed_and_what_was_left_half_said() {
    let (client, mut first, mut machine) = client(ConnectOptions::default()).await;
    let mut second = client.subscribe(10);
    machine.say("{\"event\": \"STOP\"}\r\n{\"event\": \"SHUTDO").await;
    drop(machine);
    let expected =
        [r#"{"event": "STOP"}"#, r#"garbage: {\"event\": \"SHUTDO"#, "ended: the peer closed the connection"];
    assert_eq!(heard(&mut first, 9).await, expected);
    assert_eq!(heard(&mut second, 9).await, expected);
    assert_eq!(heard(&mut client.subscribe(1), 9).await, expected[2..]);
    assert!(client.ended().await.is_by_peer());
}

#[tokio::test]
async fn a_reset_means_what_an_end_of_file_means_and_what_came_before_it_is_read() {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let mut machine = crate::support::Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, ConnectOptions::default()), machine.let_in());
    let (client, mut events) = connected.unwrap();
    // Bytes that the machine leaves unread make its close a reset, as a QEMU's that exits.
    let (answer, ()) = tokio::join!(client.execute("quit", None), async {
        machine.say("{\"event\": \"SHUTDOWN\"}\r\n").await;
        machine.stream.readable().await.unwrap();
        drop(machine);
    });
    assert!(answer.is_err());
    let heard = heard(&mut events, 9).await;
    assert_eq!(heard[0], r#"{"event": "SHUTDOWN"}"#);
    assert_eq!(heard[1], "ended: the peer closed the connection without reading everything");
    assert!(client.ended().await.is_by_peer());
}

#[tokio::test(start_paused = true)]
async fn who_closes_is_told_so_and_the_peer_sees_it() {
    let (client, mut events, mut machine) = client(ConnectOptions::default()).await;
    client.close().await;
    assert_eq!(heard(&mut events, 9).await, ["ended: the connection was closed on this side"]);
    assert_eq!(machine.hear().await, "");
    assert!(machine.stream.write_all(b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_connection_lasts_while_anybody_wants_it_and_no_longer() {
    let (client, mut events, mut machine) = client(ConnectOptions::default()).await;
    drop(client);
    machine.say(lines(0..1)).await;
    assert_eq!(heard(&mut events, 1).await, [r#"{"event": "A0"}"#]);
    assert!(machine.hears_nothing_for(Duration::from_secs(60)).await);
    drop(events);
    assert_eq!(machine.hear().await, "", "closed");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_event_can_be_given_up_without_losing_one() {
    let server = server().await;
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (_client, mut events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    for n in 0..20 {
        assert!(tokio::time::timeout(ms(10), events.next()).await.is_err());
        server.emit(event(&format!("A{n}"), None)).await.unwrap();
        let EventItem::Event(event) = events.next().await else { panic!("no event") };
        assert_eq!(event.name, *format!("A{n}"));
    }
}
