//! A subscription that holds the connection back: whatever the speeds, nothing is lost, and the machine waits.

use crate::support::{client, heard, ms};
use proptest::prelude::*;
use qev_link::{Capacity, ConnectOptions, EventItem};

/// Events by the names `A0`, `A1`, … with data of these sizes.
fn said(sizes: &[usize]) -> Vec<u8> {
    let line = |(n, size): (usize, &usize)| {
        format!("{{\"event\": \"A{n}\", \"data\": {{\"x\": \"{}\"}}}}\r\n", "x".repeat(*size))
    };
    sizes.iter().enumerate().map(line).collect::<String>().into_bytes()
}

/// One that says all of it in pieces with pauses, and one that takes it a few at a time with pauses of its own.
async fn check(sizes: Vec<usize>, capacity: Capacity, piece: usize, says: Vec<u64>, takes: Vec<(usize, u64)>) {
    let (_client, mut events, mut machine) = client(ConnectOptions::default().events(capacity).hold_back(true)).await;
    let said = said(&sizes);
    let saying = tokio::spawn(async move {
        for (piece, pause) in said.chunks(piece).zip(says.iter().cycle()) {
            machine.say(piece).await;
            tokio::time::sleep(ms(*pause)).await;
        }
    });
    let mut next = 0;
    'all: for (count, pause) in takes.iter().cycle() {
        tokio::time::sleep(ms(*pause)).await;
        for _ in 0..*count {
            match events.next().await {
                EventItem::Event(event) => assert_eq!(event.name, *format!("A{next}")),
                EventItem::Ended(_) => break 'all,
                other => panic!("after {next} events: {other:?}"),
            }
            next += 1;
        }
    }
    assert_eq!(next, sizes.len());
    saying.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_whatever_the_speeds(
        sizes in prop::collection::vec(prop_oneof![9 => 0_usize..200, 1 => 0_usize..5000], 1..300),
        items in 0_usize..20,
        bytes in 0_usize..4000,
        piece in 1_usize..3000,
        says in prop::collection::vec(0_u64..20, 1..5),
        takes in prop::collection::vec((1_usize..30, 0_u64..100), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(sizes, Capacity { items, bytes }, piece, says, takes));
    }
}

#[tokio::test(start_paused = true)]
async fn the_machine_waits_and_so_do_replies_until_something_is_taken() {
    let (client, mut events, mut machine) = client(ConnectOptions::default().events(2).hold_back(true)).await;
    machine.say("{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n").await;
    let execute = tokio::spawn({
        let client = client.clone();
        async move { client.execute("query-status", None).await }
    });
    machine.expect(r#"{"execute": "query-status", "id": 2}"#).await;
    machine.say("{\"return\": 7, \"id\": 2}\r\n").await;
    // Far more than fits between the two.
    let flood = "{\"event\": \"C\"}\r\n".repeat(100_000);
    let saying = tokio::spawn(async move {
        machine.say(flood).await;
        machine
    });
    tokio::time::sleep(ms(10_000)).await;
    assert!(!saying.is_finished() && !execute.is_finished());
    assert_eq!(heard(&mut events, 2).await, [r#"{"event": "A"}"#, r#"{"event": "B"}"#]);
    assert_eq!(execute.await.unwrap().unwrap().as_text(), "7");
    let rest = heard(&mut events, 100_000).await;
    assert!(rest.iter().all(|line| line == r#"{"event": "C"}"#));
    let mut machine = saying.await.unwrap();
    client.close().await;
    assert_eq!(heard(&mut events, 1).await, ["ended: the connection was closed on this side"]);
    assert_eq!(machine.hear().await, "");
}

#[tokio::test(start_paused = true)]
async fn one_that_holds_back_does_not_keep_a_connection_from_being_closed_or_left() {
    let (client, events, mut machine) = client(ConnectOptions::default().events(1).hold_back(true)).await;
    let mut other = client.subscribe(10);
    machine.say("{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n").await;
    assert_eq!(heard(&mut other, 1).await, [r#"{"event": "A"}"#]);
    assert!(tokio::time::timeout(ms(10_000), other.next()).await.is_err(), "the other waits too");
    drop(events);
    assert_eq!(heard(&mut other, 1).await, [r#"{"event": "B"}"#]);
    client.close().await;
    assert_eq!(machine.hear().await, "");
}
