//! One machine, many clients: each sees a QEMU of its own.

use crate::support::{GREETING, Open, Raw, commands, event, ms, shared, shared_server, shared_with};
use qev_link::share::{Budget, Outcome};
use std::sync::Arc;

fn budget() -> Arc<Budget> {
    Budget::new(64 << 20, 4096)
}

#[tokio::test(start_paused = true)]
async fn each_client_negotiates_for_itself_and_gets_events_only_then() {
    let shared = shared_server(commands().start().await.unwrap(), budget()).await;
    let mut early = shared.connect().await;
    early.expect(GREETING).await;
    early.say(r#"{"execute": "query-status", "id": null}"#).await;
    early
        .expect(r#"{"id": null, "error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}}"#)
        .await;
    let (mut one, mut two) = (shared.enter().await, shared.enter().await);
    shared.machine.emit(event("A", None)).await.unwrap();
    one.expect(r#"{"event": "A"}"#).await;
    two.expect(r#"{"event": "A"}"#).await;
    assert!(early.hears_nothing_for(ms(100)).await);
    early.say(r#"{"execute": "qmp_capabilities"}"#).await;
    early.expect(r#"{"return": {}}"#).await;
    shared.machine.emit(event("B", None)).await.unwrap();
    for client in [&mut early, &mut one, &mut two] {
        client.expect(r#"{"event": "B"}"#).await;
    }
    one.say(r#"{"execute": "qmp_capabilities", "id": 1}"#).await;
    one.expect(r#"{"id": 1, "error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}}"#).await;
}

#[tokio::test(start_paused = true)]
async fn every_reply_goes_to_whom_it_belongs_whatever_the_ids() {
    let shared = shared_server(commands().start().await.unwrap(), budget()).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push((n, shared.enter().await));
    }
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|(n, mut client)| {
            tokio::spawn(async move {
                for round in 0..50 {
                    // The ids of all are the same; some clients say much at once.
                    let ids: Vec<u32> = (0..=round % (n % 5 + 1)).collect();
                    for id in &ids {
                        client.say(format!(r#"{{"execute": "echo", "arguments": {{"r": {round}, "i": {id}, "n": {n}}}, "id": {id}}}"#)).await;
                    }
                    for id in ids {
                        client.expect(&format!(r#"{{"return": {{"r": {round}, "i": {id}, "n": {n}}}, "id": {id}}}"#)).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_reach_the_machine_printed_anew_and_what_it_returns_is_passed_on_as_it_is() {
    let mut shared = shared().await;
    let mut client = shared.enter().await;
    client.say("{'execute': 'x',\n 'arguments': {'b': 1e3, 'a': [0.1, 18446744073709551615]}, 'id': 1e3}").await;
    let sent = r#"{"execute": "x", "arguments": {"b": 1e3, "a": [1e-1, 18446744073709551615]}, "id": 2}"#;
    shared.machine.expect(sent).await;
    let returned = r#"{"d": 0.10000000000000001, "e":  1E+2, "i": inf, "big": 123456789012345678901234567890}"#;
    shared.machine.say(format!("{{\"return\": {returned}, \"id\": 2}}\r\n")).await;
    client.expect(&format!("{{\"return\": {returned}, \"id\": 1000}}")).await;
    client.say(r#"{"execute": "x", "arguments": {"n": 1.5e400}, "id": {"a": ["é"]}}"#).await;
    shared.machine.expect(r#"{"execute": "x", "arguments": {"n": 1e999}, "id": 3}"#).await;
    shared.machine.say("{\"id\": 3, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no \\u00E9\"}}\r\n").await;
    client.expect(r#"{"id": {"a": ["\u00E9"]}, "error": {"class": "DeviceNotFound", "desc": "no \u00E9"}}"#).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_and_what_is_not_allowed_is_refused_with_the_rule_in_its_place() {
    let mut shared = shared().await;
    let mut client = shared.enter_with_oob().await;
    client.say(r#"{"execute": "slow", "id": 1}{"execute": "getfd", "arguments": {"fdname": "f"}, "id": 2}{"execute": "x-y", "id": 3}{"exec-oob": "add-fd"}"#).await;
    shared.machine.expect(r#"{"execute": "slow", "id": 2}"#).await;
    let descriptors = "it takes a descriptor from the client's socket, which cannot be passed on (rule 'descriptors')";
    client
        .expect(&format!(
            r#"{{"error": {{"class": "GenericError", "desc": "add-fd cannot be shared: {descriptors}"}}}}"#
        ))
        .await;
    assert!(client.hears_nothing_for(ms(100)).await, "they wait for their turn");
    shared.machine.say("{\"return\": 1, \"id\": 2}\r\n").await;
    client.expect(r#"{"return": 1, "id": 1}"#).await;
    client
        .expect(&format!(
            r#"{{"id": 2, "error": {{"class": "GenericError", "desc": "getfd cannot be shared: {descriptors}"}}}}"#
        ))
        .await;
    client
        .expect(r#"{"id": 3, "error": {"class": "GenericError", "desc": "x-y is refused by qev's rule 'nothing experimental'"}}"#)
        .await;
}

#[tokio::test(start_paused = true)]
async fn how_many_clients_there_are_can_be_seen_at_any_time_and_outlives_the_share() {
    let shared = shared_server(commands().start().await.unwrap(), budget()).await;
    let clients = shared.share.clients();
    assert_eq!(clients.now(), 0);
    let (one, _two) = (shared.enter().await, shared.enter().await);
    // One that does not negotiate has a place, too.
    let mut three = shared.connect().await;
    three.expect(GREETING).await;
    assert_eq!(clients.now(), 3);
    drop(one);
    tokio::time::sleep(ms(10)).await;
    assert_eq!(clients.now(), 2);
    drop(shared);
    tokio::time::sleep(ms(10)).await;
    assert_eq!(clients.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_replies_with_it_and_others_go_on() {
    let mut shared = shared().await;
    let (mut leaving, mut staying) = (shared.enter().await, shared.enter().await);
    leaving.say(r#"{"execute": "slow", "id": "mine"}"#).await;
    shared.machine.expect(r#"{"execute": "slow", "id": 2}"#).await;
    drop(leaving);
    staying.say(r#"{"execute": "quick", "id": "mine"}"#).await;
    shared.machine.expect(r#"{"execute": "quick", "id": 3}"#).await;
    shared.machine.say("{\"return\": \"slow\", \"id\": 2}{\"return\": \"quick\", \"id\": 3}").await;
    staying.expect(r#"{"return": "quick", "id": "mine"}"#).await;
    assert!(staying.hears_nothing_for(ms(100)).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_says_all_and_closes_its_end_gets_its_replies() {
    let shared = shared_server(commands().start().await.unwrap(), budget()).await;
    let mut client = shared.connect().await;
    client.say(r#"{"execute":"qmp_capabilities"}{"execute":"echo","id":1}{"execute":"echo","id":2}{"execute":"stop"}{"execute":"x-last"}"#).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    for expected in [GREETING, r#"{"return": {}}"#, r#"{"return": {}, "id": 1}"#, r#"{"return": {}, "id": 2}"#] {
        client.expect(expected).await;
    }
    assert!(client.hear().await.contains("STOP"));
    client.expect(r#"{"return": {}}"#).await;
    assert!(client.hear().await.contains("x-last is refused"));
    client.expect("").await;
}

#[tokio::test(start_paused = true)]
async fn when_the_machine_leaves_every_client_gets_the_last_event_and_then_the_end() {
    let mut shared = shared().await;
    let (mut one, mut two) = (shared.enter().await, shared.enter().await);
    one.say(r#"{"execute": "quit"}{"execute": "never"}"#).await;
    shared.machine.hear().await;
    shared.machine.say("{\"return\": {}, \"id\": 2}\r\n{\"event\": \"SHUTDOWN\"}\r\n").await;
    let path = shared.share.path().get();
    drop(std::mem::replace(&mut shared.machine, Raw::new(tokio::io::duplex(1).0)));
    one.expect(r#"{"return": {}}"#).await;
    for client in [&mut one, &mut two] {
        client.expect(r#"{"event": "SHUTDOWN"}"#).await;
        client.expect("").await;
    }
    assert_eq!(shared.share.ended().await.to_string(), "the peer closed the connection");
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_shared_monitor_moves_to_a_free_path_and_its_clients_stay() {
    let shared = shared().await;
    let mut client = shared.enter().await;
    let path = shared.share.path();
    let (before, taken) = (path.get(), path.get().with_extension("taken"));
    let after = before.with_extension("moved");
    std::fs::write(&taken, "").unwrap();
    assert_eq!(path.move_to(&taken).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    path.move_to(&after).unwrap();
    assert!(!before.exists() && shared.share.path().get() == after);
    shared.enter().await;
    client.say(r#"{"execute": "x-no"}"#).await;
    assert!(client.hear().await.contains("error"));
    path.remove();
    assert!(!after.exists() && path.move_to(&before).is_err());
    drop(shared.share);
    assert!(taken.exists(), "what is another's is left alone");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_is_there_nothing_is_subscribed_and_the_first_client_wakes_it() {
    let mut shared = shared().await;
    for n in 0..3 {
        shared.machine.say("{\"event\": \"UNHEARD\"}\r\n").await;
        tokio::time::sleep(ms(10)).await;
        let mut client = shared.enter().await;
        shared.machine.say(format!("{{\"event\": \"HEARD{n}\"}}\r\n")).await;
        client.expect(&format!(r#"{{"event": "HEARD{n}"}}"#)).await;
        drop(client);
        tokio::time::sleep(ms(10)).await;
        assert_eq!(shared.budget.used(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_passed_on_is_audited_whatever_becomes_of_it() {
    let (audit, mut audited) = tokio::sync::mpsc::channel(16);
    let mut shared = shared_with(Open { audit: Some(audit), ..Open::default() }, budget()).await;
    let mut client = shared.enter_with_oob().await;
    let long = "x".repeat(5000);
    client
        .say(format!(
            r#"{{"execute":"a","arguments":{{"n":1}}}}{{"execute":"b"}}{{"execute":"x-no"}}{{"execute":"c","arguments":{{"s":"{long}"}}}}"#
        ))
        .await;
    for id in 2..5 {
        assert!(shared.machine.hear().await.contains(&format!("\"id\": {id}}}")));
    }
    // The client leaves before it is answered, and the machine before it has answered all.
    drop(client);
    shared
        .machine
        .say("{\"return\": 1, \"id\": 2}{\"error\": {\"class\": \"DeviceNotActive\", \"desc\": \"\"}, \"id\": 3}")
        .await;
    drop(std::mem::replace(&mut shared.machine, Raw::new(tokio::io::duplex(1).0)));
    let mut told = Vec::new();
    for _ in 0..3 {
        let audited = audited.recv().await.unwrap();
        let arguments = audited.arguments.map_or(String::new(), |json| json.to_string());
        assert_eq!(audited.peer.uid, rustix::process::getuid().as_raw());
        told.push((audited.command, arguments, audited.left_out, audited.outcome));
    }
    let expected = [
        ("a", r#"{"n": 1}"#, 0, Outcome::Done),
        ("b", "", 0, Outcome::Failed("DeviceNotActive".into())),
        ("c", "", 5009, Outcome::Unanswered),
    ];
    assert_eq!(
        told,
        expected.map(|(name, arguments, left, outcome)| (name.to_owned(), arguments.to_owned(), left, outcome))
    );
}
