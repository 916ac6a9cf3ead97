//! How many monitors a daemon lends and how many clients they have, where a process may have few open files: an eighth of
//! them each, and who comes beyond that is told.

use crate::daemon::{Daemon, History, PATIENCE, dialling, machine};
use crate::machines::{machines, text};
use crate::program::{Raw, Scratch, run, stderr};
use qev_qmp::Json;
use qev_record::Kind;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The open files of a process, and an eighth of them.
const FILES: usize = 128;
const EIGHTH: usize = FILES / 8;

/// The next line that the daemon tells which has these words.
fn told(daemon: &mut Daemon, words: &str) -> String {
    loop {
        let line = daemon.line();
        assert!(!line.is_empty(), "it ended and did not tell '{words}'");
        if line.contains(words) {
            return line;
        }
    }
}

/// Asks until so many machines are attached; those that are lent, and those that are not.
fn until_attached(scratch: &Scratch, count: usize) -> (Vec<Json>, Vec<Json>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut attached = machines(scratch, &[]);
        attached.retain(|machine| text(machine, "state") == "attached");
        // The word that one is lent, or why not, comes last.
        let (lent, others): (Vec<_>, Vec<_>) = attached.into_iter().partition(|machine| machine.get("share").is_some());
        if lent.len() + others.iter().filter(|machine| machine.get("note").is_some()).count() == count {
            return (lent, others);
        }
        assert!(Instant::now() < deadline, "{count} are not attached: {lent:?} {others:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_eighth_of_the_open_files_is_for_shared_monitors_and_further_machines_are_held_all_the_same() {
    let scratch = Scratch::new();
    let mut daemon = Daemon::start_with_files(&scratch, FILES, &[]);
    let count = (EIGHTH + 2).to_string();
    let many = machine(&["--machines", &count, "--rate", "1", "--dial", &scratch.path("a.sock")]);
    let (lent, others) = until_attached(&scratch, EIGHTH + 2);
    assert_eq!(lent.len(), EIGHTH, "{lent:?}");
    told(&mut daemon, "not every monitor is shared: this process may have too few open files (RLIMIT_NOFILE)");
    for one in &others {
        let why = "its monitor is not lent: this process may have too few open files (RLIMIT_NOFILE)";
        assert_eq!(text(one, "note"), why);
        // Its events are kept, and who looks for its monitor finds none.
        let name = text(one, "machine");
        History::of(&scratch).kind(&Kind::Event, &name);
        let output = run(&["watch", &scratch.path(&format!("state/share/{name}.qmp"))]);
        assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
        assert!(stderr(&output).contains("there is no socket at "), "{}", stderr(&output));
    }
    let one = text(&lent[0], "machine");
    let path = lent[0].get("share").and_then(|share| share.get("path")?.string()).unwrap();
    assert!(Raw::connect(&path).execute("query-name", "{}").contains(&one));
    // What leaves makes room for what comes.
    drop(many);
    until_attached(&scratch, 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let late = dialling(&scratch, "late", &[]);
        let (lent, _) = until_attached(&scratch, 1);
        drop(late);
        // A place is free a moment after its machine is gone.
        if lent.first().is_some_and(|lent| text(lent, "machine") == "late") {
            break;
        }
        assert!(Instant::now() < deadline, "what left makes no room");
        until_attached(&scratch, 0);
    }
    daemon.stop();
}

#[test]
fn an_eighth_of_the_open_files_is_for_clients_and_one_more_is_told_and_closed() {
    let scratch = Scratch::new();
    let mut daemon = Daemon::start_with_files(&scratch, FILES, &[]);
    let _machines = ["web1", "web2"].map(|name| dialling(&scratch, name, &[]));
    until_attached(&scratch, 2);
    let path = |n: usize| scratch.path(&format!("state/share/web{}.qmp", n % 2 + 1));
    // However they are spread over the monitors.
    let mut clients: Vec<_> = (0..EIGHTH).map(|n| Raw::connect(&path(n))).collect();

    let turned_away = UnixStream::connect(path(0)).unwrap();
    turned_away.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines: Vec<_> = BufReader::new(turned_away).lines().map(Result::unwrap).collect();
    let why = "there are as many clients as there may be";
    let expected = format!(r#"{{"error": {{"class": "GenericError", "desc": "qev closes this connection: {why}"}}}}"#);
    assert_eq!(lines, [expected], "it is told why, and then closed");
    let line = told(&mut daemon, why);
    let us = format!("process {}", std::process::id());
    assert!(line.starts_with("qev: web1: its shared monitor: ") && line.contains(&us), "{line}");
    let output = run(&["watch", &path(1)]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{} does not let us in: GenericError: qev closes this connection: {why}", path(1));
    assert!(stderr(&output).contains(&expected), "a person is told too: {}", stderr(&output));

    // The others notice nothing, and when one leaves there is a place.
    for (n, client) in clients.iter_mut().enumerate() {
        assert!(client.execute("query-name", "{}").contains(&format!("web{}", n % 2 + 1)));
    }
    drop(clients.pop());
    let deadline = Instant::now() + PATIENCE;
    while run(&["send", &path(0), "query-name"]).status.code() != Some(0) {
        assert!(Instant::now() < deadline, "its place is free");
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.stop();
}
