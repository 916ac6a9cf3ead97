//! A reader that never reads, among others that do: what it leaves unread is kept for it up to `--max-buffer`, as QEMU keeps
//! it; then it is cut off, and the others have missed nothing.

use crate::program::{Raw, Running, Scratch, qev};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

/// Larger than what a socket's own buffers take, so that it is the server's buffer that counts.
const EVENTS: usize = 200;
const SIZE: usize = 10_000;

#[test]
fn one_that_never_reads_is_cut_off_and_the_others_get_everything() {
    let scratch = Scratch::new();
    let paths = ["deaf.sock", "a.sock", "b.sock", "guest.sock"].map(|name| scratch.path(name));
    let [deaf, a, b, guest] = &paths;
    let mut command =
        qev(&["simulate", "--qmp", deaf, "--qmp", a, "--qmp", b, "--guest", guest, "--max-buffer", "256k"]);
    let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut told = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.by_ref().take(paths.len()).all(|line| line.contains("serving")));
    let mut deaf = Raw::connect(deaf);
    let mut readers = [Raw::connect(a), Raw::connect(b)];

    // The guest's side is a monitor too, and hears its own events.
    let mut guest = Raw::connect(guest);
    for number in 0..EVENTS {
        let filler = "x".repeat(SIZE);
        let arguments =
            format!(r#"{{"event": "FLOOD", "data": {{"number": {number}, "filler": "{filler}"}}, "unchecked": true}}"#);
        assert_eq!(guest.execute("emit", &arguments), r#"{"return": {}}"#);
        for reader in &mut readers {
            let event = reader.line();
            assert!(event.contains(&format!(r#""number": {number},"#)), "{number}: {event:.200}");
        }
    }
    let left = told.next().unwrap();
    assert!(left.starts_with("qev: qmp0: a client left: cut off, because it does not read: "), "{left}");
    for mut reader in readers {
        // It is served on.
        assert!(reader.execute("query-status", "{}").contains("running"));
    }

    // What the kernel had taken for it is all that it gets; then it may come again.
    let mut rest = String::new();
    deaf.0.read_to_string(&mut rest).unwrap();
    let got = rest.matches("FLOOD").count();
    assert!((1..EVENTS).contains(&got), "{got}");
    Raw::connect(&paths[0]).execute("quit", "{}");
    assert_eq!(running.status(), 0);
}
