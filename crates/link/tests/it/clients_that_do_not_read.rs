//! A client that does not read is kept for as QEMU keeps for it, up to a limit, and costs nobody else anything.

use crate::support::{commands, event, raw, raw_with};
use qev_link::server::LeaveReason;
use qev_link::{MonitorOptions, Notice};
use qev_qmp::Object;
use std::sync::{Arc, Mutex};

#[tokio::test(start_paused = true)]
async fn it_is_cut_off_at_the_limit_while_another_gets_everything() {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notices);
    let server = commands()
        .max_buffer(100_000)
        .on_notice(move |notice| kept.lock().unwrap().push(notice))
        .start()
        .await
        .unwrap();
    let mut deaf = raw_with(&server, MonitorOptions::default().name("deaf"), 4096).await;
    let mut reader = raw(&server, MonitorOptions::default().name("reader")).await;
    deaf.negotiate().await;
    reader.negotiate().await;
    let data = Object::new().with("x", "x".repeat(1000));
    for n in 0..500 {
        server.emit(event(&format!("A{n}"), Some(data.clone()))).await.unwrap();
        assert!(reader.hear().await.starts_with(&format!("{{\"event\": \"A{n}\"")));
    }
    let notices = std::mem::take(&mut *notices.lock().unwrap());
    let [Notice::Connected { .. }, Notice::Connected { .. }, Notice::Left { monitor, reason }] = notices.as_slice()
    else {
        panic!("{notices:?}")
    };
    assert_eq!(&**monitor, "deaf");
    let LeaveReason::CutOff { buffered } = reason else { panic!("{reason:?}") };
    assert!((98_000..=100_000).contains(buffered), "{buffered}");
    // What had gone out before is there, and then nothing more.
    let mut got = 0;
    while !deaf.hear().await.is_empty() {
        got += 1;
    }
    assert!(got < 10, "{got}");
}

#[tokio::test(start_paused = true)]
async fn below_the_limit_everything_is_kept_for_it() {
    let server = commands().start().await.unwrap();
    let mut late = raw_with(&server, MonitorOptions::default(), 100).await;
    late.negotiate().await;
    for n in 0..1000 {
        server.emit(event(&format!("A{n}"), None)).await.unwrap();
    }
    server.call(|_, _| ()).await.unwrap();
    for n in 0..1000 {
        late.expect(&format!("{{\"event\": \"A{n}\"}}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_without_reading_the_answers_is_cut_off_too() {
    let server = commands().max_buffer(10_000).start().await.unwrap();
    let mut client = raw_with(&server, MonitorOptions::default(), 1000).await;
    client.negotiate().await;
    let request = format!(r#"{{"execute": "echo", "arguments": {{"x": "{}"}}}}"#, "x".repeat(500));
    let all_said = async {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), all_said).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_sends_commands_and_leaves_has_them_executed() {
    let server = commands().start().await.unwrap();
    let mut watcher = raw(&server, MonitorOptions::default()).await;
    watcher.negotiate().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.say(r#"{"execute": "qmp_capabilities"}{"execute": "stop"}"#).await;
    drop(client);
    watcher.expect(r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#).await;
}
