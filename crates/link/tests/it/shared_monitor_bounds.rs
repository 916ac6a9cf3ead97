//! Bad clients of a shared monitor: the machine and the others notice nothing, memory is bounded, and who is cut off is told.

use crate::support::{
    GREETING, Open, Raw, Shared, commands, event, ms, open_files, shared, shared_server, shared_with,
};
use qev_link::share::Budget;
use qev_qmp::Object;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

fn told(why: &str) -> String {
    format!(r#"{{"error": {{"class": "GenericError", "desc": "qev closes this connection: {why}"}}}}"#)
}

/// The last line that a client hears.
async fn last<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(client: &mut Raw<S>) -> String {
    let mut last = String::new();
    loop {
        match client.hear().await {
            line if line.is_empty() => return last,
            line => last = line,
        }
    }
}

/// It still answers, and this client gets events.
async fn all_is_well(shared: &Shared<qev_link::Server>, other: &mut Raw<UnixStream>) {
    other.say(r#"{"execute": "echo", "arguments": {"well": true}}"#).await;
    while other.hear().await != r#"{"return": {"well": true}}"# {}
    shared.machine.emit(event("WELL", None)).await.unwrap();
    other.expect(r#"{"event": "WELL"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_read_is_cut_off_and_told_why_behind_the_message_it_was_in() {
    let server = commands().unthrottled().start().await.unwrap();
    let shared = shared_server(server, Budget::new(64 << 20, 100)).await;
    let (mut deaf, mut other) = (shared.enter().await, shared.enter().await);
    let data = Object::new().with("x", "x".repeat(100_000));
    for n in 0..200 {
        shared.machine.emit(event("BIG", Some(data.clone()))).await.unwrap();
        assert!(other.hear().await.contains("BIG"), "{n}");
    }
    let why = "it does not read: more than 16 MiB would wait for it";
    assert_eq!(last(&mut deaf).await, told(why));
    tokio::time::sleep(ms(10)).await;
    let noticed = shared.gate.noticed.lock().unwrap().clone();
    assert!(
        noticed.len() == 1 && noticed[0].starts_with("cut off process ") && noticed[0].ends_with(why),
        "{noticed:?}"
    );
    all_is_well(&shared, &mut other).await;
    assert!(shared.budget.most() < 20 << 20, "{}", shared.budget.most());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_do_not_read_take_no_more_than_all_may_together() {
    let server = commands().unthrottled().start().await.unwrap();
    let shared = shared_server(server, Budget::new(8 << 20, 1000)).await;
    let mut deaf = Vec::new();
    for _ in 0..100 {
        deaf.push(shared.enter().await);
    }
    let mut other = shared.enter().await;
    let data = Object::new().with("x", "x".repeat(30_000));
    for _ in 0..100 {
        shared.machine.emit(event("BIG", Some(data.clone()))).await.unwrap();
        assert!(other.hear().await.contains("BIG"));
    }
    assert!(shared.budget.most() <= (8 << 20) + (100 << 10), "{}", shared.budget.most());
    let why = told("all clients together may hold 8 MiB, and this one held the most");
    let mut told_why = 0;
    for mut client in deaf {
        let last = last_within(&mut client).await;
        told_why += usize::from(last == why);
    }
    assert!(told_why > 50, "{told_why}");
    all_is_well(&shared, &mut other).await;
}

/// The last line that can be heard, of one that may still be served.
async fn last_within(client: &mut Raw<UnixStream>) -> String {
    let mut last = String::new();
    while let Ok(line) = tokio::time::timeout(ms(200), client.hear()).await
        && !line.is_empty()
    {
        last = line;
    }
    last
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_waited_for_and_one_without_end_is_not() {
    let shared = shared_server(commands().start().await.unwrap(), Budget::new(64 << 20, 100)).await;
    let (mut half, mut other) = (shared.enter().await, shared.enter().await);
    half.say(r#"{"execute": "echo", "argum"#).await;
    for kind in [r#"{"execute": "ec"#, r#"{"a":[[],"#] {
        let mut endless = shared.enter().await;
        endless.say(kind).await;
        let piece = if kind.ends_with(',') { "[],".repeat(1 << 14) } else { "x".repeat(1 << 16) };
        // It writes until nobody reads any more.
        while endless.stream.write_all(piece.as_bytes()).await.is_ok() {}
        let why = "a request may take 4 MiB while it is not whole, not more";
        assert_eq!(last(&mut endless).await, told(why));
        all_is_well(&shared, &mut other).await;
    }
    assert!(shared.budget.most() < 12 << 20, "{}", shared.budget.most());
    half.expect(r#"{"event": "WELL"}"#).await;
    half.expect(r#"{"event": "WELL"}"#).await;
    half.say(r#"ents": {"n": 1}}"#).await;
    half.expect(r#"{"return": {"n": 1}}"#).await;
}

#[tokio::test(start_paused = true)]
async fn errors_that_nobody_reads_do_not_pile_up() {
    let shared = shared_server(commands().start().await.unwrap(), Budget::new(64 << 20, 100)).await;
    let (mut noise, mut other) = (shared.enter().await, shared.enter().await);
    let written = async {
        for _ in 0..100 {
            noise.stream.write_all(&[0xFF; 1 << 16]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(ms(100), written).await.is_err(), "it waits in its own socket");
    all_is_well(&shared, &mut other).await;
    assert!(shared.budget.most() < 1 << 20, "{}", shared.budget.most());
}

#[tokio::test(start_paused = true)]
async fn one_that_closes_in_the_middle_of_a_reply_is_missed_by_nobody() {
    let shared = shared_server(commands().start().await.unwrap(), Budget::new(64 << 20, 100)).await;
    let mut other = shared.enter().await;
    for _ in 0..20 {
        let mut closing = shared.enter().await;
        let text = "x".repeat(1_000_000);
        closing.say(format!(r#"{{"execute": "echo", "arguments": {{"x": "{text}"}}}}"#)).await;
        let mut bytes = [0; 1000];
        tokio::io::AsyncReadExt::read_exact(&mut closing.stream, &mut bytes).await.unwrap();
    }
    all_is_well(&shared, &mut other).await;
    tokio::time::sleep(ms(10)).await;
    assert!(shared.budget.used() < 100 << 10, "{}", shared.budget.used());
}

#[tokio::test(start_paused = true)]
async fn as_many_clients_as_there_may_be_are_served_and_one_more_than_there_may_be_is_told() {
    let count = open_files().div_euclid(8).min(400);
    let shared = shared_server(commands().start().await.unwrap(), Budget::new(64 << 20, count)).await;
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(shared.enter().await);
    }
    let mut late = shared.connect().await;
    late.expect(&told("there are as many clients as there may be")).await;
    late.expect("").await;
    shared.machine.emit(event("A", None)).await.unwrap();
    for client in &mut clients {
        client.expect(r#"{"event": "A"}"#).await;
    }
    clients.pop();
    tokio::time::sleep(ms(10)).await;
    shared.connect().await.expect(GREETING).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_on_the_way_is_not_kept_from_anyone() {
    let mut shared = shared().await;
    let mut client = shared.enter().await;
    shared.machine.say("{\"event\": \"A\"}\r\n{\"event\" \"B\"}\r\n").await;
    client.expect(r#"{"event": "A"}"#).await;
    let last = last(&mut client).await;
    assert!(last.contains("something that the machine said could not be read"), "{last}");
    // Who comes again is served.
    let mut again = shared.enter().await;
    shared.machine.say("{\"event\": \"C\"}\r\n").await;
    again.expect(r#"{"event": "C"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn large_arguments_that_wait_for_the_machine_are_counted() {
    let shared = shared_with(Open::default(), Budget::new(4 << 20, 100)).await;
    let text = "x".repeat(700_000);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = shared.enter().await;
        // The machine does not answer: five are with it or on the way, the others wait here.
        client.say(format!(r#"{{"execute": "x", "arguments": {{"x": "{text}"}}}}"#)).await;
        clients.push(client);
    }
    tokio::time::sleep(ms(10)).await;
    assert!(shared.budget.most() <= 5 << 20, "{}", shared.budget.most());
    let noticed = shared.gate.noticed.lock().unwrap().clone();
    assert!(noticed.len() >= 14 && noticed.iter().all(|notice| notice.contains("held the most")), "{noticed:?}");
}
