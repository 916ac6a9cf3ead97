//! qev as a client of a real QEMU: dialled by it, left by it, shut out by another client, waiting for it.
//!
//! None of it needs a guest, so these machines have no CPU and are there in no time.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use xtask::lab::EVENT_PATIENCE;
use xtask::lab::port::Port;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::lab::transcript::Transcript;
use xtask::lab::watch::Watch;
use xtask::programs::{QEMU, SOCAT};
use xtask::workspace;

/// A QEMU with a name and these arguments.
fn qemu(arguments: &[&str]) -> Running {
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    command.args(["-M", "none", "-nodefaults", "-display", "none", "-name", "web1"]).args(arguments);
    Running::start(command, QEMU.name).unwrap()
}

/// A QEMU that listens at this path. It is there when this returns.
fn serving(path: &Path) -> Running {
    let qemu = qemu(&["-qmp", &format!("unix:{},server=on,wait=off", path.display())]);
    assert_eq!(status(&qev(&["wait", text(path), "*", "-n", "0", "--timeout", "3m"])), 0);
    qemu
}

fn program() -> PathBuf {
    workspace::qev_program().unwrap()
}

/// Runs qev to its end.
fn qev(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn status(output: &Output) -> i32 {
    let told = String::from_utf8_lossy(&output.stderr);
    output.status.code().unwrap_or_else(|| panic!("{}: {told}", output.status))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn wait_for(watch: &Watch, kind: &str) -> Value {
    watch.wait_for_record(kind, |record| record["kind"] == kind).unwrap()
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_qemu_with_the_arguments_that_qev_prints_dials_and_dials_again() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("attach.sock").unwrap();
    let qemu_program = QEMU.path().unwrap();
    let printed = qev(&["attach-args", text(&qemu_program), "--attach", text(&path), "-o", "json"]);
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let arguments: Vec<&str> =
        printed["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    // It starts although nobody listens yet.
    let qemu = qemu(&arguments);
    for round in ["first", "second"] {
        let watch = Watch::start_with(&program(), round, &["--attach", text(&path)], &scratch).unwrap();
        let attached = wait_for(&watch, "attached");
        assert_eq!(attached["machine"], "web1");
        assert_eq!(attached["session"], format!("pid-{}", qemu.id()));
        let summary = attached["summary"].as_str().unwrap();
        assert!(summary.starts_with(&format!("attached: process {} of user ", qemu.id())), "{summary}");
        if round == "second" {
            drop(qemu);
            wait_for(&watch, "detached");
            break;
        }
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_qemu_that_was_killed_and_started_again_is_found_again() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("qmp.sock").unwrap();
    let first = serving(&path);
    let watch = Watch::start_with(&program(), "reconnect", &["--reconnect", text(&path)], &scratch).unwrap();
    wait_for(&watch, "attached");
    // Killed: its socket stays behind.
    drop(first);
    wait_for(&watch, "detached");
    assert!(path.exists());
    let mut second = qemu(&["-qmp", &format!("unix:{},server=on,wait=off", path.display())]);
    let gap = wait_for(&watch, "gap");
    assert_eq!(gap["machine"], "web1");
    assert!(gap["from"].as_str().unwrap() < gap["until"].as_str().unwrap(), "{gap}");
    watch.wait_for_lines_with("\"kind\":\"attached\"", 2).unwrap();
    assert!(second.status().unwrap().is_none());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn waiting_ends_with_what_became_of_the_machine() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("qmp.sock").unwrap();
    let qemu = serving(&path);
    let output = qev(&["send", text(&path), "stop", "--wait", "STOP", "-o", "json"]);
    // QEMU sends it before the reply.
    assert_eq!(status(&output), 0, "{}", told(&output));
    let output = qev(&["wait", text(&path), "SHUTDOWN", "--", "kill", "-9", &qemu.id().to_string()]);
    assert_eq!(status(&output), 4, "{}", told(&output));
    drop(qemu);

    let mut qemu = serving(&path);
    let output = qev(&["send", text(&path), "quit", "--wait", "SHUTDOWN", "-o", "json"]);
    assert_eq!(status(&output), 0, "{}", told(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let record: Value = serde_json::from_str(printed.lines().nth(1).unwrap()).unwrap();
    assert_eq!(record["data"]["reason"], "host-qmp-quit");
    assert!(qemu.wait(EVENT_PATIENCE).unwrap().success());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_monitor_that_socat_holds_is_said_to_be_held_by_socat() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("qmp.sock").unwrap();
    let _qemu = serving(&path);
    let mut command = process::bound_to_us(&SOCAT.path().unwrap()).unwrap();
    command.args(["-u", &format!("UNIX-CONNECT:{}", path.display()), "STDOUT"]).stdout(Stdio::piped());
    let mut socat = Running::start(command, SOCAT.name).unwrap();
    let heard = Transcript::of(socat.child().stdout.take().unwrap());
    heard.wait_for(EVENT_PATIENCE, |heard| heard.contains("QMP").then_some(())).unwrap();
    let output = qev(&["send", text(&path), "query-status", "--timeout", "1s"]);
    assert_eq!(status(&output), 12, "{}", told(&output));
    let expected = format!("is in use by another client, process {} (", socat.id());
    assert!(told(&output).contains(&expected) && told(&output).contains("socat -u UNIX-CONNECT:"), "{}", told(&output));
    let output = qev(&["watch", text(&path), "--timeout", "2s"]);
    assert_eq!(status(&output), 12, "{}", told(&output));
    assert!(told(&output).contains(&expected), "{}", told(&output));
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_human_monitor_is_recognised_and_tcp_is_spoken() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("hmp.sock").unwrap();
    let port = Port::reserve().unwrap();
    let (human, tcp) = (format!("unix:{},server=on,wait=off", path.display()), format!("tcp:{port}"));
    let _qemu = qemu(&["-monitor", &human, "-qmp", &format!("{tcp},server=on,wait=off")]);
    let output = qev(&["wait", text(&path), "*", "--timeout", "3m"]);
    assert_eq!(status(&output), 13, "{}", told(&output));
    assert_eq!(status(&qev(&["wait", &tcp, "*", "-n", "0", "--timeout", "3m"])), 0);
    let output = qev(&["send", &tcp, "query-name", "-o", "json"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"name\": \"web1\"}\n", "{}", told(&output));
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn both_ends_of_a_socket_pair_are_handed_over() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    command.args(["-M", "none", "-nodefaults", "-display", "none", "-name", "web1"]);
    command.args(["-chardev", "socket,id=qev,fd=0", "-mon", "chardev=qev,mode=control"]);
    command.stdin(OwnedFd::from(theirs));
    let mut qemu = Running::start(command, QEMU.name).unwrap();
    // Any number may be passed on, not only that of standard input.
    let script = format!("exec 7<&0 </dev/null; exec {} send fd:7 quit --wait SHUTDOWN -o json", program().display());
    let output = Command::new("sh").args(["-c", &script]).stdin(OwnedFd::from(ours)).output().unwrap();
    assert_eq!(status(&output), 0, "{}", told(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let record: Value = serde_json::from_str(printed.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&record["machine"], &record["data"]["reason"]), (&"web1".into(), &"host-qmp-quit".into()));
    assert!(qemu.wait(EVENT_PATIENCE).unwrap().success());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn the_catalogue_lacks_nothing_that_this_qemu_may_send() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.socket("qmp.sock").unwrap();
    let _qemu = serving(&path);
    let output = qev(&["explain", "--check", text(&path)]);
    assert_eq!(status(&output), 0, "{}{}", String::from_utf8_lossy(&output.stdout), told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nor has it anything otherwise");
    let events = told(&output).split(" has ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(events.is_some_and(|events| events >= 40), "{}", told(&output));
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn what_this_qemu_sends_is_as_its_own_schema_says() {
    let scratch = Scratch::new().unwrap();
    let (path, other) = (scratch.socket("qmp.sock").unwrap(), scratch.socket("other.sock").unwrap());
    let listening = |path: &Path| format!("unix:{},server=on,wait=off", path.display());
    let _qemu = qemu(&["-qmp", &listening(&path), "-qmp", &listening(&other)]);
    assert_eq!(status(&qev(&["wait", text(&path), "*", "-n", "0", "--timeout", "3m"])), 0);
    let mut watch = Command::new(program());
    watch.args(["watch", "--validate", "-o", "json", "-n", "3", text(&path)]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("attached"));
    for command in ["stop", "cont", "quit"] {
        assert_eq!(status(&qev(&["send", text(&other), command])), 0);
    }
    let records: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(records.len(), 3, "{records:?}");
    assert!(records.iter().all(|record| !record.contains("departs")), "{records:?}");
    // Nothing was said, so the schema was there to compare with.
    let output = watch.wait_with_output().unwrap();
    assert_eq!((status(&output), &*told(&output)), (0, ""));
}
