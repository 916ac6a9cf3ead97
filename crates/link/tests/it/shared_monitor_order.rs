//! What a shared monitor says comes in the order of the wire: that an event is before a reply, or behind it, means something.

use crate::support::{event, ms, shared, shared_server};
use qev_link::share::Budget;
use qev_link::{Client, ConnectOptions, MonitorOptions, Server};
use qev_qmp::Object;

#[tokio::test(start_paused = true)]
async fn events_and_replies_keep_the_order_of_the_wire_for_every_client() {
    let mut shared = shared().await;
    let (mut asks, mut listens) = (shared.enter_with_oob().await, shared.enter().await);
    asks.say(r#"{"execute": "a", "id": "a"}{"execute": "b", "id": "b"}"#).await;
    shared.machine.expect(r#"{"execute": "a", "id": 2}"#).await;
    shared.machine.expect(r#"{"execute": "b", "id": 3}"#).await;
    // All of it in one read.
    let wire = [
        r#"{"event": "E1"}"#,
        r#"{"return": 1, "id": 2}"#,
        r#"{"event": "E2"}"#,
        r#"{"event": "E3"}"#,
        r#"{"return": 2, "id": 3}"#,
        r#"{"event": "E4"}"#,
    ];
    shared.machine.say(wire.join("\r\n") + "\r\n").await;
    for expected in [
        r#"{"event": "E1"}"#,
        r#"{"return": 1, "id": "a"}"#,
        r#"{"event": "E2"}"#,
        r#"{"event": "E3"}"#,
        r#"{"return": 2, "id": "b"}"#,
        r#"{"event": "E4"}"#,
    ] {
        asks.expect(expected).await;
    }
    for n in 1..5 {
        listens.expect(&format!(r#"{{"event": "E{n}"}}"#)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_events_come_to_all_in_their_order() {
    let server = crate::support::commands().unthrottled().start().await.unwrap();
    let shared = shared_server(server, Budget::new(64 << 20, 100)).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(shared.enter().await);
    }
    for n in 0..1000_i64 {
        shared.machine.emit(event("N", Some(Object::new().with("n", n)))).await.unwrap();
    }
    for client in &mut clients {
        for n in 0..1000 {
            client.expect(&format!(r#"{{"event": "N", "data": {{"n": {n}}}}}"#)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn out_of_band_overtakes_in_qemu_what_others_wait_for() {
    let mut shared = shared().await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = shared.enter().await;
        client.say(format!(r#"{{"execute": "slow", "id": {n}}}"#)).await;
        clients.push(client);
    }
    // QEMU has so many that it still reads.
    for id in 2..7 {
        shared.machine.expect(&format!(r#"{{"execute": "slow", "id": {id}}}"#)).await;
    }
    assert!(shared.machine.hears_nothing_for(ms(100)).await);
    let mut urgent = shared.enter_with_oob().await;
    urgent.say(r#"{"execute": "slow"}{"exec-oob": "now", "id": "u"}"#).await;
    shared.machine.expect(r#"{"exec-oob": "now", "id": 7}"#).await;
    shared.machine.say("{\"return\": 0, \"id\": 7}\r\n").await;
    urgent.expect(r#"{"return": 0, "id": "u"}"#).await;
    let mut with_it: std::collections::VecDeque<i32> = (2..7).collect();
    for id in 8..24 {
        let done = with_it.pop_front().unwrap();
        shared.machine.say(format!("{{\"return\": {done}, \"id\": {done}}}\r\n")).await;
        shared.machine.expect(&format!(r#"{{"execute": "slow", "id": {id}}}"#)).await;
        with_it.push_back(id);
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_much_waits_for_itself_and_others_have_their_turn() {
    let mut shared = shared().await;
    let (mut much, mut little) = (shared.enter_with_oob().await, shared.enter().await);
    much.say(r#"{"execute": "much"}"#.repeat(50)).await;
    for id in 2..7 {
        shared.machine.expect(&format!(r#"{{"execute": "much", "id": {id}}}"#)).await;
    }
    little.say(r#"{"execute": "little"}"#).await;
    tokio::time::sleep(ms(10)).await;
    shared.machine.say("{\"return\": 1, \"id\": 2}{\"return\": 1, \"id\": 3}").await;
    let next = [shared.machine.hear().await, shared.machine.hear().await];
    assert!(next.iter().any(|line| line.contains("little")), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn where_oob_was_not_negotiated_it_is_not_offered() {
    let server: Server = crate::support::server().await;
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (client, _events) = Client::over(ours, ConnectOptions::default().oob(false)).await.unwrap();
    let folder = crate::support::Folder::new();
    let gate = std::sync::Arc::new(crate::support::Open::default());
    let budget = Budget::new(1 << 20, 10);
    let share = qev_link::Share::start(&client, &folder.file("s"), qev_link::Access::default(), gate, budget).unwrap();
    let stream = tokio::net::UnixStream::connect(share.path().get()).await.unwrap();
    let mut raw = crate::support::Raw::new(stream);
    assert!(raw.hear().await.ends_with(r#""capabilities": []}}"#));
}
