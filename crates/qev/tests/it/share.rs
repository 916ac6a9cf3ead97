//! `qev share`, and the monitors that `qev serve` lends.

use crate::daemon::{Daemon, History, dialling, emit};
use crate::http::Site;
use crate::machines::{machines, text};
use crate::program::{Machine, Raw, Running, Scratch, exists, qev, run, stderr, stdout};
use qev_qmp::Json;
use qev_record::{Kind, Severity};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

/// Shares a machine's monitor; what it says is behind the first line.
fn sharing(machine: &Machine, path: &str, more: &[&str]) -> (Running, BufReader<std::process::ChildStderr>) {
    let mut command = qev(&["share", &machine.monitor, "--qmp", path]);
    let mut child = command.args(more).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.starts_with("qev: sharing "), "{line}");
    (running, told)
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_monitor_is_shared_read_only_until_its_machine_goes_away() {
    let scratch = Scratch::new();
    let path = scratch.path("s.qmp");
    let mut machine = Machine::start(&["--name", "web1"]);
    let (mut share, mut told) = sharing(&machine, &path, &[]);
    assert_eq!(mode(&path), 0o600);
    let (mut one, mut two) = (Raw::connect(&path), Raw::connect(&path));
    assert_eq!(one.execute("query-name", "{}"), r#"{"return": {"name": "web1"}}"#);
    let refused = r#"{"error": {"class": "GenericError", "desc": "stop is refused by qev's rule 'read'"}}"#;
    assert_eq!(two.execute("stop", "{}"), refused);
    assert_eq!(two.execute("stop", "{}"), refused);
    machine.guest("emit", r#"{"event": "RESUME"}"#);
    for client in [&mut one, &mut two] {
        assert!(client.line().contains(r#""event": "RESUME""#));
    }
    machine.running.0.kill().unwrap();
    for client in [&mut one, &mut two] {
        assert_eq!(client.line(), "");
    }
    assert_eq!(share.status(), 4);
    assert!(!exists(&path));
    let mut lines = Vec::new();
    while let Some(Ok(line)) = told.by_ref().lines().next() {
        lines.push(line);
    }
    assert!(lines[0].contains("refused stop to process ") && lines[0].ends_with("by the rule 'read'"), "{lines:?}");
    assert_eq!(lines.len(), 2, "a refusal is told once: {lines:?}");
}

#[test]
fn who_may_operate_may_execute_what_is_named() {
    let scratch = Scratch::new();
    let path = scratch.path("s.qmp");
    let machine = Machine::start(&[]);
    let (_share, _told) = sharing(&machine, &path, &["--allow", "operate", "--command", "c*", "--mode", "0666"]);
    assert_eq!(mode(&path), 0o666);
    let mut client = Raw::connect(&path);
    assert_eq!(client.execute("cont", "{}"), r#"{"return": {}}"#);
    assert!(client.execute("stop", "{}").contains("by qev's rule 'operate'"));
    assert!(client.execute("query-status", "{}").contains("running"));
    let output = run(&["share", &machine.monitor, "--qmp", &path, "--command", "c*"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = run(&["share", &scratch.path("none"), "--qmp", &path]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let output = run(&["share", "web1", "--qmp", &path]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
}

#[test]
fn the_daemon_lends_what_it_holds_and_keeps_what_was_done() {
    let scratch = Scratch::new();
    let config = scratch.path("config.toml");
    std::fs::write(&config, "[share]\naudit = true\nmode = \"0640\"\n[[share.policy]]\nmachine = \"db*\"\nallow = \"events\"\n[[share.policy]]\nmachine = \"web*\"\nuser = \"0\"\nallow = \"operate\"\n[[share.policy]]\nmachine = \"web*\"\nallow = \"operate\"\ncommands = [\"*\"]\n").unwrap();
    let daemon = Daemon::start(&scratch, &["--config", &config]);
    let mut history = History::of(&scratch);
    let _web1 = dialling(&scratch, "web1", &["--balloon"]);
    history.kind(&Kind::State, "web1");
    let db1 = dialling(&scratch, "db1", &[]);
    history.kind(&Kind::State, "db1");
    let (web, db) = (scratch.path("state/share/web1.qmp"), scratch.path("state/share/db1.qmp"));
    let deadline = std::time::Instant::now() + crate::daemon::PATIENCE;
    while !(exists(&web) && exists(&db)) {
        assert!(std::time::Instant::now() < deadline, "the sockets are there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!((mode(&web), mode(&scratch.path("state/share"))), (0o640, 0o750));
    let (mut web_client, mut db_client) = (Raw::connect(&web), Raw::connect(&db));
    assert!(web_client.execute("query-status", "{}").contains("running"));
    assert!(web_client.execute("balloon", r#"{"value": "x"}"#).contains("GenericError"));
    assert!(web_client.execute("stop", "{}").contains("return"));
    let failed = history.kind(&Kind::Audit, "web1");
    assert_eq!(failed.severity, Severity::Notice);
    let me = std::process::id();
    let uid = std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).unwrap();
    assert_eq!(&*failed.summary, format!("process {me} of user {uid} sent balloon, which failed: GenericError"));
    assert_eq!(failed.data.unwrap().get("arguments").unwrap().as_text(), r#"{"value": "(not kept)"}"#);
    let done = history.kind(&Kind::Audit, "web1");
    assert_eq!(&*done.summary, format!("process {me} of user {uid} executed stop"));
    assert!(done.session.is_some());
    let refused = db_client.execute("query-status", "{}");
    assert!(refused.contains("query-status is refused by qev's rule 'events'"), "{refused}");
    emit(&scratch, "db1", "RESUME");
    assert!(db_client.line().contains("RESUME"));
    // The daemon has it too, and a machine that leaves takes its socket away.
    history.event("RESUME", "db1");
    drop(db1);
    assert_eq!(db_client.line(), "");
    history.kind(&Kind::Detached, "db1");
    assert!(!exists(&db));
    daemon.stop();
    assert_eq!(web_client.line(), r#""#);
    assert!(!exists(&web));
}

/// What `qev machines` and the HTTP API say of where the only machine is lent, when both say the same.
fn lent(scratch: &Scratch, site: &Site) -> Option<String> {
    let told = machines(scratch, &[]).first().and_then(|machine| machine.get("share"));
    let of_site = Json::parse(site.get("/api/v1/machines/web1").body.trim()).ok()?.get("share");
    let share = of_site.map(|share| share.as_text().to_owned());
    (told.map(|share| share.as_text().to_owned()) == share).then_some(share).flatten()
}

#[test]
fn who_looks_at_the_machines_sees_where_each_is_lent_and_to_how_many() {
    let scratch = Scratch::new();
    let site = Site::start(&scratch);
    let web1 = dialling(&scratch, "web1", &[]);
    History::of(&scratch).kind(&Kind::State, "web1");
    let path = scratch.path("state/share/web1.qmp");
    let until = |clients: usize| {
        let expected = format!(r#"{{"path":"{path}","clients":{clients}}}"#);
        let deadline = std::time::Instant::now() + crate::daemon::PATIENCE;
        while lent(&scratch, &site).as_ref() != Some(&expected) {
            assert!(std::time::Instant::now() < deadline, "it is not {expected}: {:?}", machines(&scratch, &[]));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    until(0);
    let one = Raw::connect(&path);
    // One that says nothing is one, too.
    let _silent = std::os::unix::net::UnixStream::connect(&path).unwrap();
    until(2);
    drop(one);
    until(1);
    drop(web1);
    History::of(&scratch).kind(&Kind::Detached, "web1");
    let gone = machines(&scratch, &[]).remove(0);
    assert!(gone.get("share").is_none(), "{gone:?}");
    site.daemon.stop();
}

#[test]
fn a_machine_that_is_not_lent_is_said_to_be_lent_nowhere() {
    let scratch = Scratch::new();
    let config = scratch.path("config.toml");
    std::fs::write(&config, "[share]\nenabled = false\n").unwrap();
    let daemon = Daemon::start(&scratch, &["--config", &config]);
    let _web1 = dialling(&scratch, "web1", &[]);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "web1");
    emit(&scratch, "web1", "RESUME");
    history.event("RESUME", "web1");
    let known = machines(&scratch, &[]).remove(0);
    assert_eq!(text(&known, "state"), "attached");
    assert!(known.get("share").is_none(), "{known:?}");
    daemon.stop();
}

#[test]
fn the_configuration_says_who_may_do_what() {
    let scratch = Scratch::new();
    let config = scratch.path("config.toml");
    let text = "[share]\nmode = \"0666\"\n[[share.policy]]\nuser = \"root\"\ngroup = \"0\"\nallow = \"operate\"\ncommands = [\"device_*\"]\n";
    std::fs::write(&config, text).unwrap();
    let output = run(&["check-config", &config]);
    let printed = stdout(&output);
    let expected = "[[share.policy]]\nuser = \"root\"\ngroup = \"0\"\nallow = \"operate\"\ncommands = [\"device_*\"]\n";
    assert!(output.status.success() && printed.contains(expected), "{printed}{}", stderr(&output));
    std::fs::write(&config, "[[share.policy]]\nallow = \"all\"\nuser = \"no such user\"\n[[share.policy]]\nallow = \"read\"\ncommands = [\"x\"]\n").unwrap();
    let told = stderr(&run(&["check-config", &config]));
    for expected in [
        "2:9: share.policy.allow: expected \"events\", \"read\" or \"operate\", not 'all'",
        "3:8: share.policy.user: expected a user of this system, by name or number; there is no 'no such user'",
        "6:1: share.policy.commands: only \"operate\" has a list of commands",
    ] {
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn what_a_daemon_that_was_killed_left_behind_is_removed() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let web1 = dialling(&scratch, "web1", &[]);
    let path = scratch.path("state/share/web1.qmp");
    let deadline = std::time::Instant::now() + crate::daemon::PATIENCE;
    while !exists(&path) {
        assert!(std::time::Instant::now() < deadline, "it is shared");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(mode(&path), 0o660);
    daemon.kill();
    drop(web1);
    assert!(exists(&path));
    let daemon = Daemon::start(&scratch, &[]);
    assert!(!exists(&path));
    daemon.stop();
}
