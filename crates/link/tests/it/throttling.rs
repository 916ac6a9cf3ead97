//! One throttle a server: whoever is there when a second ends gets what was held.

use crate::support::{Folder, Raw, commands, event, ms, raw, server};
use qev_link::MonitorOptions;
use qev_qmp::event::BalloonChange;
use qev_qmp::{Dialect, Event, Object, Timestamp};
use tokio::net::UnixStream;
use tokio::time::Instant;

fn balloon(mib: i64, second: i64) -> Event {
    let time = Timestamp { seconds: second, microseconds: 0 };
    Event::new(&BalloonChange::new(mib << 20).into(), Some(time), Dialect::Qemu)
}

#[tokio::test(start_paused = true)]
async fn the_first_goes_out_at_once_and_the_last_when_the_second_ends() {
    let server = server().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    let start = Instant::now();
    for mib in [255, 200, 128] {
        server.emit(balloon(mib, mib)).await.unwrap();
    }
    server.emit(event("STOP", None)).await.unwrap();
    client.expect(&balloon(255, 255).to_line()).await;
    client.expect(r#"{"event": "STOP"}"#).await;
    client.expect(&balloon(128, 128).to_line()).await;
    assert_eq!(start.elapsed(), ms(1000));
    assert!(client.hears_nothing_for(ms(5000)).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_goes_to_whoever_is_there_when_it_is_let_out() {
    let folder = Folder::new();
    let path = folder.file("x.sock");
    let server = commands().bind(&path, MonitorOptions::default()).start().await.unwrap();
    let mut first = Raw::new(UnixStream::connect(&path).await.unwrap());
    first.negotiate().await;
    server.emit(balloon(255, 1)).await.unwrap();
    server.emit(balloon(128, 2)).await.unwrap();
    first.expect(&balloon(255, 1).to_line()).await;
    drop(first);
    let mut second = Raw::new(UnixStream::connect(&path).await.unwrap());
    second.negotiate().await;
    second.expect(&balloon(128, 2).to_line()).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_runs_for_all_monitors_alike_whoever_came_when() {
    let server = server().await;
    server.emit(balloon(255, 1)).await.unwrap();
    // Nobody was there for the first. The second one is held all the same.
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    server.emit(balloon(128, 2)).await.unwrap();
    assert!(client.hears_nothing_for(ms(900)).await);
    client.expect(&balloon(128, 2).to_line()).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_qemu_throttles_less() {
    let greeting = qev_qmp::Greeting { version: "1.1".parse().unwrap(), ..crate::support::greeting() };
    let server = qev_link::Server::builder(greeting).start().await.unwrap();
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.hear().await;
    client.say(r#"{"execute": "qmp_capabilities"}"#).await;
    client.hear().await;
    for mib in [255, 200] {
        server.emit(balloon(mib, 1)).await.unwrap();
        client.expect(&balloon(mib, 1).to_line()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_child_of_a_quorum_is_held_by_itself() {
    let server = server().await;
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    let bad = |node: &str| event("QUORUM_REPORT_BAD", Some(Object::new().with("node-name", node)));
    for node in ["c0", "c1", "c1"] {
        server.emit(bad(node)).await.unwrap();
    }
    client.expect(&bad("c0").to_line()).await;
    client.expect(&bad("c1").to_line()).await;
    assert!(client.hears_nothing_for(ms(999)).await);
    client.expect(&bad("c1").to_line()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_throttled_before_is_not_throttled_again() {
    let server = commands().unthrottled().start().await.unwrap();
    let mut client = raw(&server, MonitorOptions::default()).await;
    client.negotiate().await;
    let start = Instant::now();
    for mib in [255, 200, 128] {
        server.emit(balloon(mib, mib)).await.unwrap();
        client.expect(&balloon(mib, mib).to_line()).await;
    }
    assert_eq!(start.elapsed(), ms(0));
}
