//! `qev check-config`: what is in force, or everything that is wrong.

use crate::daemon::PATIENCE;
use crate::program::{Running, Scratch, qev, run, stderr, stdout};
use std::time::{Duration, Instant};

#[test]
fn what_it_prints_is_a_configuration_that_says_the_same() {
    let scratch = Scratch::new();
    let (first, second) = (scratch.path("first.toml"), scratch.path("second.toml"));
    std::fs::write(&first, "dial = [\"/run/vm/*.qmp\"]\n[journal]\nkeep-age = \"30d\"\n").unwrap();
    let output = run(&["check-config", &first]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let printed = stdout(&output);
    let (origin, all) = printed.split_once('\n').unwrap();
    assert_eq!(origin, format!("# {first}"));
    assert!(all.contains("keep-age = \"30d\"") && all.contains("segment-size = \"64 MiB\""), "{all}");
    std::fs::write(&second, &printed).unwrap();
    assert_eq!(stdout(&run(&["check-config", &second])).split_once('\n').unwrap().1, all);
}

/// What is printed is what a daemon with this option listens at.
#[test]
fn a_state_directory_moves_the_sockets() {
    let scratch = Scratch::new();
    let (file, state) = (scratch.path("config.toml"), scratch.path("state"));
    std::fs::write(&file, "").unwrap();
    let output = run(&["check-config", &file, "--state-dir", &state]);
    let printed = stdout(&output);
    for line in [
        format!("state-dir = \"{state}\""),
        format!("run-dir = \"{state}\""),
        format!("path = \"{state}/attach.sock\""),
        format!("# folder: \"{state}/share\""),
    ] {
        assert!(printed.contains(&line), "{line}: {printed}{}", stderr(&output));
    }
    let mut serve = qev(&["serve", "--config", &file, "--state-dir", &state, "--http", "none"]);
    let _daemon = Running(serve.stderr(std::process::Stdio::null()).spawn().unwrap());
    let (socket, deadline) = (format!("{state}/attach.sock"), Instant::now() + PATIENCE);
    while !std::path::Path::new(&socket).exists() {
        assert!(Instant::now() < deadline, "{socket} is not there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn everything_that_is_wrong_is_told_and_nothing_printed() {
    let scratch = Scratch::new();
    let file = scratch.path("config.toml");
    std::fs::write(&file, "state-dri = \"/a\"\nrun-dir = 1\n").unwrap();
    let output = run(&["check-config", &file]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert_eq!(
        stderr(&output),
        format!(
            "qev: {file}:1:1: state-dri: there is no such key: did you mean state-dir?\n\
             {file}:2:11: run-dir: expected a string in quotes, not the number 1\n"
        )
    );
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let output = run(&["check-config", "/nowhere/config.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "qev: the configuration /nowhere/config.toml cannot be read: No such file or directory (os error 2)\n";
    assert_eq!(stderr(&output), expected);
    assert_eq!(run(&["check-config", "one.toml", "two.toml"]).status.code(), Some(2));
}

#[test]
fn without_a_file_the_defaults_are_in_force() {
    let scratch = Scratch::new();
    // Root's place is fixed, and may have a file.
    let output = qev(&["check-config"])
        .env("HOME", scratch.path("home"))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("[[attach]]\npath = "), "{}", stdout(&output));
}
