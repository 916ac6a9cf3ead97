//! The lab without qev: if these fail, it is not qev's fault.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xtask::lab::EVENT_PATIENCE;
use xtask::lab::five_events::FIVE;
use xtask::lab::guest::{Guest, Options};
use xtask::lab::kernel::Kernel;
use xtask::lab::monitor::Monitor;
use xtask::lab::scratch::Scratch;

/// Every event reaches each monitor, whether it prints plain or pretty.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_real_guest_gives_each_of_the_five_events_on_every_monitor() {
    let say = |line: &str| eprintln!("{line}");
    let kernel = Kernel::obtain(&say).unwrap();
    let mut guest = Guest::boot(&kernel, Options::for_the_five_events(), &say).unwrap();
    let mut watchers = ["plain", "pretty"].map(|name| Monitor::connect(guest.monitor_socket(name).unwrap()).unwrap());

    for provocation in FIVE {
        let sent = (provocation.provoke)(guest.hands()).unwrap();
        assert!(!sent.is_empty());
        for watcher in &mut watchers {
            for event in &sent {
                assert_eq!(watcher.wait_for_event(provocation.event, EVENT_PATIENCE).unwrap(), *event);
            }
        }
    }

    let status = guest.control().execute(r#"{"execute": "query-status"}"#).unwrap();
    assert_eq!(status["status"], "guest-panicked");
    let files = guest.scratch().path().to_owned();
    assert!(guest.quit().unwrap().success());
    assert!(!files.exists(), "{} is left behind", files.display());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn an_order_to_the_guest_is_obeyed_and_its_failure_is_told() {
    let kernel = Kernel::obtain(&|_| ()).unwrap();
    let mut guest = Guest::boot(&kernel, Options::bare(), &|_| ()).unwrap();
    let release = kernel.release();
    guest.serial().run(&format!("test \"$(uname -r)\" = {release}")).unwrap();
    let error = guest.serial().run("exit 7").unwrap_err();
    assert_eq!(error.to_string(), "in the guest, exit 7 ended with status 7");
    let error = guest.serial().run("unfinished (").unwrap_err();
    assert_eq!(error.to_string(), "in the guest, unfinished ( ended with status 2");
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_qemu_that_does_not_start_is_quoted() {
    let kernel = Kernel::obtain(&|_| ()).unwrap();
    let options = Options { arguments: vec!["-device".into(), "frobnicator".into()], ..Options::bare() };
    let error = Guest::boot(&kernel, options, &|_| ()).unwrap_err();
    assert!(error.story().contains("'frobnicator' is not a valid device model name"), "{error:?}");
}

/// Killed outright, `cargo xtask lab` can end nothing itself.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_lab_that_is_killed_leaves_no_qemu() {
    let scratch = Scratch::new().unwrap();
    let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("lab")
        // What it can not remove, we do.
        .env("TMPDIR", scratch.path())
        // Any program: it is not started before the guest is up.
        .env("QEV_BIN", "/bin/true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(lab.stdout.take().unwrap()).lines();
    let started = printed.find_map(|line| line.unwrap().split_once("started as process ").map(|(_, id)| id.to_owned()));
    let qemu = started.unwrap();
    assert!(runs(&qemu));
    lab.kill().unwrap();
    lab.wait().unwrap();
    let deadline = Instant::now() + EVENT_PATIENCE;
    while runs(&qemu) {
        assert!(Instant::now() < deadline, "QEMU, process {qemu}, still runs");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process that is not our child runs. One that has ended may stay listed as a zombie for a while, until
/// whoever inherited it takes notice.
fn runs(process: &str) -> bool {
    let Ok(about) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    // `22341 (qemu-system-x86) Z …`; the name may hold anything.
    let state = about.rsplit_once(") ").unwrap().1;
    !state.starts_with(['Z', 'X'])
}
