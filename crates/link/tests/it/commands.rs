//! Commands and their answers, in order and out of it, and those that never come.

use crate::support::{Raw, client, heard, ms, raw, server};
use qev_link::{Client, ConnectOptions, ExecuteError, MonitorOptions};
use qev_qmp::Json;

#[tokio::test(start_paused = true)]
async fn answers_come_to_who_asked() {
    let server = server().await;
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (client, mut events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    let argument = |n: u32| Some(Json::parse(&format!("{{\"n\": {n}}}")).unwrap());
    let (one, two, stop, what) = tokio::join!(
        client.execute("echo", argument(1)),
        client.execute("echo", argument(2)),
        client.execute("stop", None),
        client.execute("what", None),
    );
    assert_eq!(one.unwrap().as_text(), r#"{"n": 1}"#);
    assert_eq!(two.unwrap().as_text(), r#"{"n": 2}"#);
    assert_eq!(stop.unwrap().as_text(), "{}");
    let Err(ExecuteError::Qmp(error)) = what else { panic!("{what:?}") };
    assert_eq!(error.to_string(), "CommandNotFound: The command what has not been found");
    let stop = r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#;
    assert_eq!(heard(&mut events, 1).await, [stop]);
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_the_session_goes_on_and_the_late_answer_is_nobodys() {
    let (client, mut events, mut machine) = client(ConnectOptions::default()).await;
    let slow = client.execute_with_timeout("query-block", None, ms(100)).await;
    assert!(matches!(slow, Err(ExecuteError::Timeout(after)) if after == ms(100)), "{slow:?}");
    machine.expect(r#"{"execute": "query-block", "id": 2}"#).await;
    let (answer, ()) = tokio::join!(client.execute("query-status", None), async {
        machine.expect(r#"{"execute": "query-status", "id": 3}"#).await;
        machine.say("{\"return\": [1], \"id\": 2}\r\n{\"return\": [2], \"id\": 3}\r\n").await;
    });
    assert_eq!(answer.unwrap().as_text(), "[2]");
    drop(machine);
    assert_eq!(heard(&mut events, 9).await, ["ended: the peer closed the connection"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_time_ran_out_before_it_could_be_sent_is_never_sent() {
    let (ours, theirs) = tokio::io::duplex(256);
    let mut machine = Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, ConnectOptions::default()), machine.let_in());
    let (client, _events) = connected.unwrap();
    // The machine does not read. One large command fills the way; those behind it wait, and their callers give up.
    let large = Some(Json::parse(&format!("{{\"x\": \"{}\"}}", "x".repeat(100_000))).unwrap());
    let (first, second) = tokio::join!(
        client.execute_with_timeout("first", large, ms(200)),
        client.execute_with_timeout("second", None, ms(100)),
    );
    assert!(matches!(first, Err(ExecuteError::Timeout(_))) && matches!(second, Err(ExecuteError::Timeout(_))));
    let (third, ()) = tokio::join!(client.execute("third", None), async {
        assert!(machine.hear().await.starts_with(r#"{"execute": "first""#));
        machine.expect(r#"{"execute": "third", "id": 3}"#).await;
        machine.say("{\"return\": 3, \"id\": 3}\r\n").await;
    });
    assert_eq!(third.unwrap().as_text(), "3");
}

#[tokio::test(start_paused = true)]
async fn many_commands_wait_for_their_turn_and_all_are_answered() {
    let server = server().await;
    let (ours, theirs) = tokio::io::duplex(64);
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (client, _events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let client = client.clone();
            let argument = Json::parse(&format!("{{\"n\": {n}, \"x\": \"{}\"}}", "x".repeat(500))).unwrap();
            tokio::spawn(async move {
                let answer = client.execute("echo", Some(argument)).await.unwrap();
                assert_eq!(answer.get("n").unwrap().as_text(), n.to_string());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn commands_under_way_fail_when_the_connection_ends() {
    let (client, _events, mut machine) = client(ConnectOptions::default()).await;
    let (answer, ()) = tokio::join!(client.execute("quit", None), async {
        machine.hear().await;
        drop(machine);
    });
    let Err(ExecuteError::Closed(reason)) = answer else { panic!("{answer:?}") };
    assert_eq!(reason.to_string(), "the peer closed the connection");
    let Err(ExecuteError::Closed(reason)) = client.execute("quit", None).await else { panic!("it was answered") };
    assert!(reason.is_by_peer());
}

#[tokio::test(start_paused = true)]
async fn out_of_band_overtakes_what_waits_but_replies_in_band_keep_their_order() {
    let server = server().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.hear().await;
    client.say(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#).await;
    client.expect(r#"{"return": {}}"#).await;
    client
        .say(concat!(
            r#"{"execute": "echo", "id": 1}{"execute": }{"execute": "echo", "id": 2}"#,
            r#"{"exec-oob": "now", "id": "oob"}{"exec-oob": "echo", "id": 3}{"execute": "echo", "id": 4}"#
        ))
        .await;
    client.expect(r#"{"return": 0, "id": "oob"}"#).await;
    let no_oob = r#"{"id": 3, "error": {"class": "GenericError", "desc": "The command echo does not support OOB"}}"#;
    client.expect(no_oob).await;
    client.expect(r#"{"return": {}, "id": 1}"#).await;
    client.expect(r#"{"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}}"#).await;
    client.expect(r#"{"return": {}, "id": 2}"#).await;
    client.expect(r#"{"return": {}, "id": 4}"#).await;
}

#[tokio::test(start_paused = true)]
async fn out_of_band_is_asked_for_by_the_client_only_when_it_was_negotiated() {
    let server = server().await;
    for oob in [true, false] {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        server.over(theirs, MonitorOptions::default()).await.unwrap();
        let (client, _) = Client::over(ours, ConnectOptions::default().oob(oob)).await.unwrap();
        let answer = client.execute_oob("now", None).await;
        assert!(if oob { answer.is_ok() } else { matches!(answer, Err(ExecuteError::NoOob)) });
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_command_goes_out_before_its_reply() {
    let server = server().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    client.say(r#"{"execute": "stop", "id": 1}"#).await;
    client.expect(r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#).await;
    client.expect(r#"{"return": {}, "id": 1}"#).await;
}

#[tokio::test(start_paused = true)]
async fn query_commands_tells_what_is_there() {
    let server = server().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    client.say(r#"{"execute": "query-commands"}"#).await;
    let names = ["echo", "now", "qmp_capabilities", "query-commands", "stop"].map(|n| format!("{{\"name\": \"{n}\"}}"));
    client.expect(&format!(r#"{{"return": [{}]}}"#, names.join(", "))).await;
}
