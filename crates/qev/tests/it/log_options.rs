//! What `qev log` is asked for, and how it shows it: conditions, texts, machines that are not there, sequence numbers, a pager.

use crate::log::{check, log, state};
use crate::program::{Scratch, qev, stderr, stdout};
use std::process::{Command, Output, Stdio};

#[test]
fn conditions_differ_texts_are_searched_for_and_a_span_is_one_that_is_over() {
    let state = state();
    check(&state, &["-w", "data.n!=7", "-n", "2", "-m", "db1"], &[19, 20]);
    check(&state, &["-w", "kind!=event"], &[]);
    check(&state, &["-g", "panicked"], &[20]);
    check(&state, &["-g", "GUEST_PANICKED"], &[20]);
    check(&state, &["-g", "Panicked"], &[]);
    check(&state, &["-g", "\"n\": 18"], &[18]);
    check(&state, &["-g", "web1", "-n", "1"], &[18]);
    // The records are older than any span but one of years.
    check(&state, &["--since", "1000w"], &(1..=20).collect::<Vec<_>>());
}

fn check_wrong(scratch: &Scratch, arguments: &[&str], expected: &str) {
    let output = log(scratch, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
}

#[test]
fn what_can_match_nothing_is_refused_with_what_was_meant() {
    let state = state();
    let no_operator = "there is no operator ==; write 'data.n=5' or 'data.n!=5'";
    check_wrong(&state, &["-w", "data.n==5"], no_operator);
    check_wrong(&state, &["-w", "data.action=~pa.*"], "there is no operator =~; write 'data.action=pa.*'");
    check_wrong(&state, &["-w", "data.n>5"], "there is no operator >");
    check_wrong(&state, &["-w", "data.n != 5"], "no space may stand around the operator: write 'data.n!=5'");
    let member = "GUEST_PANICKED has no member data.acton: did you mean data.action?";
    check_wrong(&state, &["-e", "GUEST_PANICKED", "-w", "data.acton=pause"], member);
    let number = "expected the sequence number of a record, such as 17: qev log --seq shows them";
    check_wrong(&state, &["--after", "abc"], number);
    check_wrong(&state, &["-n", "abc"], "expected a whole number, such as 20");
    check_wrong(&state, &["-g", ""], "the text to search for is empty");
    // A newer QEMU may have it.
    let output = log(&state, &["-w", "data.acton=pause"]);
    assert_eq!(output.status.code(), Some(0));
    let told = "qev: no event that qev knows has a member data.acton: did you mean data.action?\n\
                qev: no record matches -w data.acton=pause\n";
    assert_eq!(stderr(&output), told);
}

fn check_nothing(scratch: &Scratch, arguments: &[&str], expected: &str) {
    let output = log(scratch, arguments);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), ""), "{arguments:?}");
    assert_eq!(stderr(&output), format!("qev: {expected}\n"), "{arguments:?}");
}

#[test]
fn where_nothing_is_found_it_is_told_what_was_looked_for_and_what_there_is() {
    let state = state();
    let machine = "no record matches -m nosuch: no machine is called nosuch; there are: db1, web1";
    check_nothing(&state, &["-m", "nosuch"], machine);
    let near = "no record matches -m wbe1: no machine is called wbe1: did you mean web1?; there are: db1, web1";
    check_nothing(&state, &["-m", "wbe1"], near);
    check_nothing(&state, &["-m", "web1", "-e", "RESET"], "no record matches -m web1 -e RESET");
    let text =
        "no record matches -g 'guest.*reset'; 'guest.*reset' is searched for as it stands: it is no regular expression";
    check_nothing(&state, &["-g", "guest.*reset"], text);
    assert_eq!(stderr(&log(&state, &["-n", "0", "-m", "web1"])), "");
}

#[test]
fn sequence_numbers_and_utc_are_shown_on_request() {
    let state = state();
    let shown = |arguments: &[&str]| {
        let mut command = qev(&["log", "--state-dir", &state.path(""), "-n", "1"]);
        stdout(&command.args(arguments).env("TZ", "<+0530>-5:30").output().unwrap())
    };
    assert!(shown(&[]).contains("\ndb1       13:05:10.000  critical  GUEST_PANICKED"), "{}", shown(&[]));
    assert!(shown(&["--seq"]).contains("\n    20  db1       13:05:10.000"), "{}", shown(&["--seq"]));
    let utc = "-- Mon 2026-11-23 UTC --\ndb1       07:35:10.000  critical";
    assert!(shown(&["--utc"]).starts_with(utc), "{}", shown(&["--utc"]));
}

/// What `qev log` shows on a terminal, with this in the environment.
fn on_a_terminal(state: &Scratch, environment: &[(&str, &str)], arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_qev");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("'{program}' log --state-dir '{}' {arguments}", state.path("")), "/dev/null"]);
    for name in ["PAGER", "LESS", "SUDO_UID", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").env("TZ", "UTC").envs(environment.iter().copied()).stdin(Stdio::null());
    command.output().expect("script is there (util-linux)")
}

#[test]
fn on_a_terminal_a_pager_shows_the_history_and_nothing_else() {
    let state = state();
    // A pager that says what it is told, and shows what it reads.
    let pager = ("PAGER", "echo \"PAGED $LESS\"; cat");
    let shown = |arguments: &str| stdout(&on_a_terminal(&state, &[pager], arguments));
    let paged = shown("-n 2");
    assert!(paged.starts_with("PAGED FRSXMK\r\n") && paged.contains("GUEST_PANICKED"), "{paged}");
    assert!(paged.contains("\u{1b}["), "in colours: {paged}");
    assert!(shown("-n 2 -o json").starts_with("PAGED"));
    for arguments in ["-n 2 --no-pager", "-m nosuch", "-n 2 | cat"] {
        assert!(!shown(arguments).contains("PAGED"), "{arguments}");
    }
    for environment in [("PAGER", ""), ("PAGER", "cat"), ("TERM", "dumb")] {
        let output = stdout(&on_a_terminal(&state, &[pager, environment], "-n 2"));
        assert!(!output.contains("PAGED") && output.contains("GUEST_PANICKED"), "{environment:?}: {output}");
    }
    // One that is left at once ends it quietly.
    let left = on_a_terminal(&state, &[("PAGER", "true")], "");
    assert_eq!((left.status.code(), &*stdout(&left)), (Some(0), ""));
}
