//! Both ends get to know each other: with out-of-band execution and without, and with events in between.

use crate::support::{GREETING, Raw, client, commands, event, heard, raw, server};
use qev_link::{Client, ConnectError, ConnectOptions, MonitorOptions, Server};
use qev_qmp::Greeting;

#[tokio::test(start_paused = true)]
async fn out_of_band_execution_is_enabled_when_it_is_wanted_and_offered() {
    for (offered, wanted) in [(true, true), (true, false), (false, true)] {
        let capabilities = if offered { vec!["oob".to_owned()] } else { Vec::new() };
        let greeting = Greeting { capabilities, ..crate::support::greeting() };
        let server = Server::builder(greeting.clone()).start().await.unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        server.over(theirs, MonitorOptions::default()).await.unwrap();
        let (client, _) = Client::over(ours, ConnectOptions::default().oob(wanted)).await.unwrap();
        assert_eq!(client.greeting(), &greeting);
        assert_eq!(client.has_oob(), offered && wanted, "offered {offered}, wanted {wanted}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_before_the_reply_to_qmp_capabilities_are_in_the_first_subscription() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut machine = Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, ConnectOptions::default()), async {
        machine.say(format!("{GREETING}\r\n")).await;
        machine.hear().await;
        machine.say("{\"event\": \"RESUME\"}\r\n{\"return\": {}, \"id\": 1}\r\n{\"event\": \"STOP\"}\r\n").await;
    });
    let (_client, mut events) = connected.unwrap();
    assert_eq!(heard(&mut events, 2).await, [r#"{"event": "RESUME"}"#, r#"{"event": "STOP"}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_only_started_later_finds_the_negotiation_waiting() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let connecting = tokio::spawn(Client::over(ours, ConnectOptions::default().ahead(true)));
    let mut machine = Raw::new(theirs);
    machine.expect(r#"{"execute": "qmp_capabilities", "id": 1}"#).await;
    machine.say(format!("{GREETING}\r\n")).await;
    machine.say("{\"event\": \"RESUME\"}\r\n{\"return\": {}, \"id\": 1}\r\n").await;
    let (client, mut events) = connecting.await.unwrap().unwrap();
    assert_eq!(heard(&mut events, 1).await, [r#"{"event": "RESUME"}"#]);
    assert!(!client.has_oob());
    // The negotiation is not repeated: what comes next is a command.
    let (answer, ()) = tokio::join!(client.execute("query-status", None), async {
        machine.expect(r#"{"execute": "query-status", "id": 2}"#).await;
        machine.say("{\"return\": {}, \"id\": 2}\r\n").await;
    });
    assert!(answer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_has_not_negotiated_gets_no_events_and_no_commands() {
    let server = server().await;
    let mut outside = raw(&server, MonitorOptions::default()).await;
    let mut inside = raw(&server, MonitorOptions::default()).await;
    inside.negotiate().await;
    server.emit(event("RESUME", None)).await.unwrap();
    inside.expect(r#"{"event": "RESUME"}"#).await;
    outside.expect(GREETING).await;
    outside.say(r#"{"execute": "stop"}"#).await;
    outside
        .expect(
            r#"{"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}}"#,
        )
        .await;
    outside.say(r#"{"execute": "qmp_capabilities"}"#).await;
    outside.expect(r#"{"return": {}}"#).await;
    server.emit(event("STOP", None)).await.unwrap();
    outside.expect(r#"{"event": "STOP"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_negotiation_is_said_with_its_reason() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut machine = Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, ConnectOptions::default()), async {
        machine.say(format!("{GREETING}\r\n")).await;
        machine.hear().await;
        machine.say("{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n").await;
    });
    let Err(ConnectError::NegotiationRefused { source, .. }) = connected else { panic!("{connected:?}") };
    assert_eq!(source.to_string(), "GenericError: no");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_greets_again_starts_anew_and_nobody_waits_for_what_it_forgot() {
    let (client, mut events, mut machine) = client(ConnectOptions::default()).await;
    let (answer, ()) = tokio::join!(client.execute("query-status", None), async {
        machine.hear().await;
        machine.say(format!("{GREETING}\r\n")).await;
        machine.expect(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 3}"#).await;
        machine.say("{\"return\": {}, \"id\": 3}\r\n{\"event\": \"STOP\"}\r\n").await;
    });
    assert_eq!(answer.unwrap_err().to_string(), "the peer started its session anew before it answered");
    let heard = heard(&mut events, 2).await;
    assert!(heard[0].starts_with("Restarted"), "{heard:?}");
    assert_eq!(heard[1], r#"{"event": "STOP"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_pretty_monitor_speaks_over_many_lines_to_its_clients_only() {
    let server = commands().start().await.unwrap();
    let options = MonitorOptions::default().layout(qev_qmp::json::print::Layout::Pretty);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    server.over(theirs, options).await.unwrap();
    let (client, mut events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    let mut plain = raw(&server, MonitorOptions::default()).await;
    plain.negotiate().await;
    assert_eq!(client.execute("stop", None).await.unwrap().as_text(), "{\r\n    }");
    let stop = r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#;
    assert_eq!(heard(&mut events, 1).await, [stop]);
    plain.expect(stop).await;
}
