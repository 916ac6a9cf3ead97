//! `qev attach-args`: the arguments fit the QEMU's version, and stand where its manager looks for them.

use crate::program::{Scratch, run, stderr, stdout, text};
use qev_qmp::Json;
use std::process::Command;

/// A program that says it is this version of QEMU.
fn fake(scratch: &Scratch, said: &str) -> String {
    let path = scratch.path("qemu");
    // Written by a program of its own: a file that is open for writing cannot be run, and what this process has open lives on
    // for a moment in every program that another test starts.
    let text = format!("#!/bin/sh\ncat <<'END'\n{said}\nEND\n");
    let write = r#"printf %s "$1" >"$0" && chmod 755 "$0""#;
    assert!(Command::new("sh").args(["-c", write, &path, &text]).status().unwrap().success());
    path
}

fn check(version: &str, again: &str) {
    let scratch = Scratch::new();
    let qemu = fake(&scratch, &format!("QEMU emulator version {version} (Distribution)\nCopyright (c) somebody"));
    let output = run(&["attach-args", &qemu, "--attach", "/run/q.sock"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    let expected = format!("-chardev socket,id=qev,path=/run/q.sock,{again} -mon chardev=qev,mode=control");
    assert_eq!(printed.lines().last(), Some(expected.as_str()), "{printed}");
    assert!(printed.starts_with(&format!("# {qemu} is QEMU {version}\n")), "{printed}");

    let output = run(&["attach-args", &qemu, "--attach", "/run/q.sock", "-o", "json", "--proxmox", "100"]);
    let json = Json::parse(stdout(&output).trim_end()).unwrap();
    assert_eq!(text(&json, "version").as_deref(), Some(version));
    assert_eq!(text(&json, "attach").as_deref(), Some("/run/q.sock"));
    assert_eq!(text(&json, "manager").as_deref(), Some("proxmox"));
    assert_eq!(text(&json, "setting"), Some(format!("qm set 100 --args '{expected}'")));
    let arguments =
        format!(r#"["-chardev", "socket,id=qev,path=/run/q.sock,{again}", "-mon", "chardev=qev,mode=control"]"#);
    assert_eq!(text(&json, "arguments"), Some(arguments));
}

#[test]
fn the_option_to_connect_again_is_the_versions() {
    for (version, again) in [
        ("7.2.22", "reconnect=1"),
        ("9.1.0", "reconnect=1"),
        ("9.2.0", "reconnect-ms=1000"),
        ("10.2.0", "reconnect-ms=1000"),
    ] {
        check(version, again);
    }
}

#[test]
fn each_manager_has_its_setting_and_what_to_know_about_it() {
    let scratch = Scratch::new();
    let qemu = fake(&scratch, "QEMU emulator version 9.2.0");
    for (manager, setting, note) in [
        (&["--libvirt"][..], "<qemu:arg value='-chardev'/>", "virsh edit"),
        (
            &["--ganeti"],
            r"'kvm_extra=-chardev socket\,id=qev\,path=/run/qev/attach.sock\,reconnect-ms=1000 ",
            "next started",
        ),
        (&["--incus"], "raw.qemu='-chardev socket,", "raw.apparmor='/run/qev/attach.sock rw,'"),
        (&["--nixos"], "microvm.qemu.extraArgs = [ \"-chardev\" ", "configuration"),
        (&["--proxmox", "7"], "qm set 7 --args '-chardev ", "qm config 7"),
    ] {
        let output = run(&[&["attach-args", &qemu], manager].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let printed = stdout(&output);
        assert!(printed.contains(setting) && printed.contains(note), "{manager:?}: {printed}");
        assert!(printed.contains("# and the daemon: qev serve --attach /run/qev/attach.sock\n"), "{printed}");
    }
}

#[test]
fn a_daemon_that_listens_already_is_not_started_a_second_time() {
    let scratch = Scratch::new();
    let qemu = fake(&scratch, "QEMU emulator version 7.2.22");
    let path = scratch.path("attach.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let output = run(&["attach-args", &qemu, "--attach", &path]);
    let printed = stdout(&output);
    assert!(printed.contains(&format!("# qev listens at {path} already\n")), "{printed}{}", stderr(&output));
    assert!(!printed.contains("qev serve"), "{printed}");
}

#[test]
fn what_is_no_qemu_and_what_is_no_path_is_said() {
    let scratch = Scratch::new();
    let other = fake(&scratch, "GNU bash, version 5.2");
    let missing = scratch.path("missing");
    let long = format!("/{}", "x".repeat(107));
    for (arguments, code, told) in [
        (&["attach-args", &other][..], 1, "says 'GNU bash, version 5.2': expected 'QEMU emulator version …'"),
        (&["attach-args", &missing], 1, "cannot run"),
        (&["attach-args", &other, "--attach", &long], 2, "has 108 bytes: expected at most 107"),
        (&["attach-args", "--libvirt", "--incus"], 2, "cannot be used with"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_real_qemu_is_asked() {
    let output = run(&["attach-args"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("-mon chardev=qev,mode=control"));
}
