//! `qev log`, `watch` and `wait` by name with a daemon that runs, is killed, and runs again.

use crate::daemon::{Daemon, History};
use crate::program::{Lines, Running, Scratch, qev, run, stderr, stdout, text};
use qev_record::Record;
use std::process::Output;

fn next_seq(lines: &mut Lines) -> u64 {
    text(&lines.record(), "seq").expect("a sequence number").parse().unwrap()
}

fn simulate(scratch: &Scratch, more: &[&str]) -> Running {
    let mut command = qev(&["simulate", "--dial", &scratch.path("a.sock")]);
    Running(command.args(more).spawn().unwrap())
}

fn with_state(scratch: &Scratch, arguments: &[&str]) -> Output {
    run(&[&arguments[..1], &["--state-dir", &scratch.path("state")], &arguments[1..]].concat())
}

#[test]
fn following_misses_nothing_and_doubles_nothing_over_a_daemon_that_is_killed() {
    let scratch = Scratch::new();
    let follow = ["log", "-f", "-o", "json", "--state-dir", &scratch.path("state")];
    let (_following, mut lines) = Running::with_lines(qev(&follow));
    let daemon = Daemon::start(&scratch, &[]);
    let mut machines = simulate(&scratch, &["--machines", "3", "--rate", "100"]);
    let mut expected = 1..;
    let mut see = |count: u64| {
        for seq in expected.by_ref().take(usize::try_from(count).unwrap()) {
            assert_eq!(next_seq(&mut lines), seq);
        }
    };
    see(300);
    daemon.kill();
    let daemon = Daemon::start(&scratch, &[]);
    see(300);
    machines.0.kill().unwrap();
    machines.0.wait().unwrap();
    daemon.stop();
    let last = History::of(&scratch).new_records().last().unwrap().seq.unwrap();
    see(last - 600);
    // Through no daemon it is the same.
    let output = with_state(&scratch, &["log", "-o", "json", "-n", "2"]);
    let seqs: Vec<_> = stdout(&output).lines().map(|line| Record::parse(line).unwrap().seq.unwrap()).collect();
    assert_eq!(seqs, [last - 1, last]);
}

#[test]
fn a_machine_is_watched_and_waited_for_by_its_name() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    let guest = scratch.path("guest.sock");
    let mut machine = simulate(&scratch, &["--name", "web1", "--guest", &guest, "--panic", "pause"]);
    // It is waited for, whether the daemon has heard of it or not.
    let program = env!("CARGO_BIN_EXE_qev");
    let emit = format!(
        "until '{program}' machines --state-dir '{}' | grep -q 'web1 *attached'; do sleep 0.1; done; \
         '{program}' send '{guest}' panic",
        scratch.path("state")
    );
    let caused = ["wait", "web1", "GUEST_PANICKED", "--timeout", "2m", "-o", "json", "--", "sh", "-c", &emit];
    let output = with_state(&scratch, &caused);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let seq = {
        let printed = stdout(&output);
        let line = printed.lines().find(|line| line.contains("GUEST_PANICKED")).expect("the event");
        Record::parse(line).unwrap().seq.unwrap()
    };
    // It lies in the history now: behind 0 it is there, behind itself it is not.
    let again = with_state(&scratch, &["wait", "web1", "guest_panicked", "--after", "0", "-o", "json"]);
    assert_eq!((again.status.code(), Record::parse(stdout(&again).trim()).unwrap().seq), (Some(0), Some(seq)));
    let behind = seq.to_string();
    let none = with_state(&scratch, &["wait", "web1", "GUEST_PANICKED", "--after", &behind, "--timeout", "0.5s"]);
    assert_eq!(none.status.code(), Some(124), "{}", stderr(&none));

    let watch = ["watch", "web1", "--state-dir", &scratch.path("state"), "-o", "json"];
    let (mut watching, mut seen) = Running::with_lines(qev(&watch));
    let emit = format!("'{program}' send '{guest}' emit '{{\"event\": \"STOP\"}}' && sleep 0.2");
    // Who watches says nothing when it is ready, so it is told until it hears.
    let telling = Running(
        std::process::Command::new("sh")
            .args(["-c", &format!("while {emit}; do :; done")])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    seen.event("STOP");
    drop(telling);
    machine.0.kill().unwrap();
    machine.0.wait().unwrap();
    assert_eq!(watching.status(), 4);

    let gone = with_state(&scratch, &["wait", "web1", "NEVER", "--after", &behind]);
    assert_eq!(gone.status.code(), Some(4), "{}", stderr(&gone));
    let unknown = with_state(&scratch, &["watch", "wbe1"]);
    assert_eq!(unknown.status.code(), Some(10));
    assert!(stderr(&unknown).contains("knows no machine wbe1: did you mean web1?"), "{}", stderr(&unknown));
    daemon.stop();
}

#[test]
fn following_goes_on_when_the_daemon_begins_a_journal_anew() {
    let scratch = Scratch::new();
    let follow = ["log", "-f", "-o", "json", "--state-dir", &scratch.path("state")];
    let (_following, mut lines) = Running::with_lines(qev(&follow));
    let daemon = Daemon::start(&scratch, &[]);
    let machines = simulate(&scratch, &["--machines", "3", "--rate", "100"]);
    while next_seq(&mut lines) < 100 {}
    drop(machines);
    daemon.stop();
    std::fs::rename(scratch.path("state"), scratch.path("old")).unwrap();
    let _daemon = Daemon::start(&scratch, &[]);
    let _machine = simulate(&scratch, &["--name", "web1"]);
    // The rest of the first journal, or a gap without a number for what was moved away unread. Then the new journal.
    while text(&lines.record(), "seq").as_deref() != Some("1") {}
    assert_eq!(next_seq(&mut lines), 2);
}
