//! The Rust crate `qapi` takes the simulated machine for a QEMU: it negotiates, executes, and receives the events.

use crate::daemon::PATIENCE;
use crate::program::Machine;
use qapi::{Qmp, Stream, qmp};
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::time::Instant;

type Client = Qmp<Stream<BufReader<UnixStream>, UnixStream>>;

fn connect(path: &str) -> Client {
    let stream = UnixStream::connect(path).expect("a monitor");
    let reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut client = Qmp::new(Stream::new(reader, stream));
    let greeting = client.handshake().expect("negotiation");
    assert_eq!(greeting.version.qemu.major, 7);
    client
}

fn read(client: &mut Client, what: &str) {
    let command_line = format!("qemu-io q0 \"{what}\"");
    client.execute(&qmp::human_monitor_command { command_line, cpu_index: None }).expect("a read of the quorum");
}

#[test]
fn qapi_negotiates_executes_and_hears_what_it_knows_of_the_five() {
    let machine = Machine::with_quorum(&["--name", "web1"]);
    let mut client = connect(&machine.monitor);
    let status = client.execute(&qmp::query_status {}).expect("query-status");
    assert!(status.running);
    assert_eq!(client.execute(&qmp::query_name {}).expect("query-name").name.as_deref(), Some("web1"));
    assert!(client.execute(&qmp::device_del { id: "nope".to_owned() }).is_err());

    client.execute(&qmp::balloon { value: 128 << 20 }).expect("balloon");
    read(&mut client, "read 4096 4096");
    read(&mut client, "read 65536 512");
    machine.guest("ost", r#"{"slot": "0", "slot-type": "DIMM", "source": 3, "status": 130}"#);

    let (mut ost, mut balloon, mut panicked, mut failure, mut bad) = (None, None, None, None, None);
    let mut told_to_panic = false;
    let deadline = Instant::now() + PATIENCE;
    while panicked.is_none() {
        assert!(Instant::now() < deadline, "events are missing");
        // It hears events only while it waits for a reply.
        client.nop().expect("query-version");
        for event in client.events() {
            match event {
                qmp::Event::ACPI_DEVICE_OST { data, .. } => ost = Some(data.info.status),
                qmp::Event::BALLOON_CHANGE { data, .. } => balloon = Some(data.actual),
                qmp::Event::GUEST_PANICKED { data, .. } => panicked = Some(data.action),
                qmp::Event::QUORUM_FAILURE { data, .. } => failure = Some(data.reference),
                qmp::Event::QUORUM_REPORT_BAD { data, .. } => bad = Some(data.node_name),
                _ => {}
            }
        }
        // A guest that panicked does not move its balloon any more.
        if balloon == Some(128 << 20) && !told_to_panic {
            machine.guest("panic", "{}");
            told_to_panic = true;
        }
    }
    assert_eq!(ost, Some(130));
    assert_eq!(panicked, Some(qmp::GuestPanicAction::pause));
    assert_eq!(failure.as_deref(), Some("q0"));
    assert_eq!(bad.as_deref(), Some("c1"));
}
