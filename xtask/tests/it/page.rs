//! The page in a real browser: a daemon, simulated machines and a real QEMU with a guest, looked at through Chromium.
//!
//! What is asserted stands in `crates/qev/page-checks/browser/page.test.mjs`. Here is the host that it looks at.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use xtask::lab::five_events::FIVE;
use xtask::lab::guest::{Guest, Options};
use xtask::lab::kernel::Kernel;
use xtask::lab::port::Port;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::page;
use xtask::programs::{CHROMIUM, NODE, QEMU};
use xtask::workspace;

const PATIENCE: Duration = Duration::from_secs(300);

/// What a guest may call itself to do harm: markup, a mark that turns what follows, an escape sequence.
const HOSTILE: &str = "<img src=x onerror=document.title=1>\u{202E}txt\u{1b}[31m";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn qev(scratch: &Scratch, arguments: &[&str]) -> Running {
    let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
    // Where a machine that is killed leaves its disks.
    command.env("TMPDIR", scratch.path());
    Running::start(
        {
            command.args(arguments);
            command
        },
        "qev",
    )
    .unwrap()
}

/// What it prints, as soon as it succeeds.
fn printed(arguments: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut command = Command::new(workspace::qev_program().unwrap());
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap().trim().to_owned();
        }
        assert!(Instant::now() < deadline, "qev {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a command that must succeed. What it says is shown at once, and once more where failures are told, at the end.
fn shown_as_it_comes(command: &mut Command) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        // Not by a macro, whose output the test's frame holds back.
        let _ = writeln!(std::io::stderr(), "{line}");
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "the page's test in the browser: {status}\n{said}");
}

#[test]
#[ignore = "needs a browser and a real QEMU: run by cargo xtask test"]
fn the_page_shows_in_a_browser_what_the_journal_has() {
    let say = |line: &str| eprintln!("{line}");
    page::prepare(&say).unwrap();
    let (node, chromium) = (NODE.path().unwrap(), CHROMIUM.path().unwrap());
    let kernel = Kernel::obtain(&say).unwrap();
    let scratch = Scratch::new().unwrap();
    let (state, attach) = (scratch.path().join("state"), scratch.socket("attach.sock").unwrap());

    // The browser's test kills it and starts it again, at the same port.
    let port = Port::reserve().unwrap();
    let http = port.to_string();
    let serve = ["serve", "--state-dir", text(&state), "--attach", text(&attach), "--http", &http];
    let home = [("XDG_CONFIG_HOME", scratch.path()), ("HOME", scratch.path())];
    let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
    command.args(serve).envs(home);
    let daemon = Running::start(command, "qev").unwrap();
    let address = printed(&["page", "--state-dir", text(&state)]);

    let simulate = ["simulate", "--dial", text(&attach)];
    let plays = |name: &str| qev(&scratch, &[&simulate[..], &["--name", name, "--scenario", name]].concat());
    let _playing = ["dying-disk", "calm-day", "crashing-guest", "memory-that-will-not-unplug"].map(plays);
    let hands = |name: &str| scratch.socket(name).unwrap();
    let (steady, hostile) = (hands("steady.sock"), hands("hostile.sock"));
    let _steady =
        qev(&scratch, &[&simulate[..], &["--name", "steady", "--balloon", "--guest", text(&steady)]].concat());
    let long = "<b>".repeat(85);
    let _long = qev(&scratch, &[&simulate[..], &["--name", &long]].concat());
    let _hostile = qev(&scratch, &[&simulate[..], &["--name", HOSTILE, "--guest", text(&hostile)]].concat());

    // A QEMU that nobody has attached.
    let mut command = process::bound_to_us(&QEMU.path().unwrap()).unwrap();
    command.args(["-S", "-display", "none", "-name", "left-alone"]);
    let _left_alone = Running::start(command, "QEMU").unwrap();

    let mut options = Options::for_the_five_events();
    let chardev = format!("socket,id=qev,path={},reconnect=1", text(&attach));
    let dial = ["-name", "real", "-chardev", &chardev, "-mon", "chardev=qev,mode=control"];
    options.arguments.extend(dial.map(Into::into));
    let mut guest = Guest::boot(&kernel, options, &say).unwrap();
    for provocation in FIVE {
        (provocation.provoke)(guest.hands()).unwrap();
    }

    let pictures = workspace::target_dir().unwrap().join("page");
    std::fs::create_dir_all(&pictures).unwrap();
    let host = json!({
        "address": address,
        "origin": format!("http://{http}"),
        "program": workspace::qev_program().unwrap(),
        "serve": serve,
        "daemon": daemon.id(),
        "state": state,
        "home": scratch.path(),
        "steady": steady,
        "hostile": hostile,
        "hostile_name": HOSTILE,
        "chromium": chromium,
        "profile": scratch.path().join("profile"),
        "pictures": pictures,
    });
    let test = page::checks().join("browser").join("page.test.mjs");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(node).arg("--test-reporter=spec").arg(test);
    shown_as_it_comes(command.env("QEV_PAGE", host.to_string()));
}
