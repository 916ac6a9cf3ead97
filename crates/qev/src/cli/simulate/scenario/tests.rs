//! Every scenario that comes with the program, played in paused time: a minute takes a millisecond, and the events are
//! those that its notes promise.

use super::{SHIPPED, Scenario};
use qev_link::server::Ended;
use qev_link::{Client, Clock, ConnectOptions, EventItem, MonitorOptions, Server};
use qev_machine::{Machine, MachineConfig};
use qev_qmp::{Dialect, Event, Json, Timestamp};
use std::path::Path;

/// What happened when: seconds since the client came, and the event with a few words of its data.
async fn played(name: &str) -> (Vec<String>, Ended) {
    let scenario = Scenario::find(Path::new(name)).unwrap();
    let mut config = MachineConfig::default();
    let images = scenario.configure(&mut config).unwrap();
    let machine = Machine::new(config).unwrap();
    let service = crate::simulated::Simulated::new(machine, Dialect::Qemu).images(images).script(scenario.script());
    let greeting = crate::cli::simulate::greeting("7.2.22".parse().unwrap());
    let clock = Clock::starting_at(Timestamp { seconds: 0, microseconds: 0 });
    let mut server = Server::with_service(greeting, service).clock(clock).start().await.unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (_client, mut events) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    let mut heard = Vec::new();
    loop {
        match events.next().await {
            EventItem::Event(event) => heard.push(told(&event)),
            EventItem::Ended(_) => return (heard, server.ended().await),
            other => panic!("{other:?}"),
        }
    }
}

fn told(event: &Event) -> String {
    let second = event.timestamp.unwrap().seconds;
    let data = event.data.as_ref();
    let members =
        ["actual", "source", "status", "action", "guest", "reason", "node-name", "type", "error", "reference"];
    let info = data.and_then(|data| data.get("info"));
    let member = |name: &&str| data?.get(name).or_else(|| info.as_ref()?.get(name));
    let words = members.iter().filter_map(member).map(|word: Json| word.as_text().replace('"', ""));
    let words: Vec<_> = [format!("{second}"), event.name.to_string()].into_iter().chain(words).collect();
    words.join(" ")
}

async fn check(name: &str, expected: &[&str]) {
    let (heard, ended) = played(name).await;
    assert_eq!(heard, expected);
    assert_eq!(ended, Ended::Exited(0));
}

#[tokio::test(start_paused = true)]
async fn calm_day() {
    let expected = [
        "1 BALLOON_CHANGE 267386880",
        "1 BALLOON_CHANGE 201326592",
        "5 BALLOON_CHANGE 202375168",
        "5 BALLOON_CHANGE 268435456",
        "9 ACPI_DEVICE_OST 1 0",
        "13 ACPI_DEVICE_OST 3 132",
        "13 DEVICE_DELETED",
        "13 ACPI_DEVICE_OST 3 0",
        "17 STOP",
        "18 RESUME",
        "20 RESET false host-qmp-system-reset",
        "20 RESET true guest-reset",
        "24 POWERDOWN",
        "25 SHUTDOWN true guest-shutdown",
    ];
    check("calm-day", &expected).await;
}

#[tokio::test(start_paused = true)]
async fn dying_disk() {
    let expected = [
        "3 QUORUM_REPORT_BAD c1 read",
        "7 QUORUM_REPORT_BAD c1 read Input/output error",
        "10 QUORUM_REPORT_BAD c1 write Input/output error",
        "14 QUORUM_REPORT_BAD c1 read Input/output error",
        "14 QUORUM_REPORT_BAD c2 read Input/output error",
        "14 QUORUM_FAILURE q0",
        "18 SHUTDOWN false host-qmp-quit",
    ];
    check("dying-disk", &expected).await;
}

#[tokio::test(start_paused = true)]
async fn crashing_guest() {
    let expected = [
        "2 GUEST_PANICKED pause",
        "2 STOP",
        "5 RESUME",
        "5 RESET true guest-reset",
        "5 RESET true guest-reset",
        "9 GUEST_PANICKED pause hyper-v",
        "9 STOP",
        "11 RESET false host-qmp-system-reset",
        "12 RESUME",
        "12 RESET true guest-reset",
        "16 GUEST_PANICKED pause",
        "16 STOP",
        "18 SHUTDOWN false host-qmp-quit",
    ];
    check("crashing-guest", &expected).await;
}

#[tokio::test(start_paused = true)]
async fn memory_that_will_not_unplug() {
    let expected = [
        "1 ACPI_DEVICE_OST 1 0",
        "4 ACPI_DEVICE_OST 3 132",
        "4 ACPI_DEVICE_OST 3 130",
        "8 ACPI_DEVICE_OST 3 132",
        "8 ACPI_DEVICE_OST 3 130",
        "12 ACPI_DEVICE_OST 3 132",
        "12 DEVICE_DELETED",
        "12 ACPI_DEVICE_OST 3 0",
        "15 SHUTDOWN false host-qmp-quit",
    ];
    check("memory-that-will-not-unplug", &expected).await;
}

#[test]
fn those_are_all_that_are_shipped() {
    let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["calm-day", "crashing-guest", "dying-disk", "memory-that-will-not-unplug"]);
}

#[test]
fn every_example_of_the_documentation_is_one() {
    let page = include_str!("../../../../../../docs/scenario.md");
    let mut examples = 0;
    for block in page.split("\n\n") {
        let lines: Vec<_> = block.lines().map(str::trim_start).filter(|line| line.starts_with('{')).collect();
        if !lines.is_empty() {
            Scenario::parse("docs/scenario.md", &lines.join("\n")).unwrap();
            examples += 1;
        }
    }
    assert!(examples > 1);
    for (name, _) in SHIPPED {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
