//! `cargo xtask bench page`: what the page costs in a real browser, with 2,000 machines and a history of 1,000,000 records.
//!
//! ```text
//!   qev simulate --machines 2000 --rate 10 ──► qev serve ──► Chromium: first paint, frames while it scrolls,
//!   until the history is long, then --rate 1                           memory at the beginning and after a while
//! ```
//!
//! What is measured stands in `crates/qev/page-checks/browser/bench.mjs`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use xtask::error::Context;
use xtask::lab::process::{self, Running};
use xtask::programs::{CHROMIUM, NODE, output_of};
use xtask::{Error, page, workspace};

use crate::bench_daemon::Daemon;
use crate::{print, run as run_program};

const MACHINES: u64 = 2_000;
const RECORDS: u64 = 1_000_000;

/// Events a second of each machine: while the history grows, and while it is looked at.
const FAST: &str = "10";
const SLOW: &str = "1";

pub(crate) fn run(qev: &Path) -> Result<(), Error> {
    page::prepare(&print)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "no port is free".to_owned())?;
    let http = listener.local_addr().context(|| "no port is free".to_owned())?.to_string();
    drop(listener);
    let daemon = Daemon::start_with(qev, &http)?;
    let fast = fleet(qev, &daemon, FAST)?;
    daemon.wait_until(&format!("{RECORDS} records are on disk"), |daemon| Ok(daemon.last_seq()? >= RECORDS))?;
    drop(fast);
    let _slow = fleet(qev, &daemon, SLOW)?;
    daemon.wait_for_machines(usize::try_from(2 * MACHINES).unwrap_or(usize::MAX))?;

    let address = output_of(&mut daemon.ask(&["page"]))?;
    let host = json!({
        "address": address.trim(),
        "origin": format!("http://{http}"),
        "machines": MACHINES,
        "chromium": CHROMIUM.path()?,
        "profile": daemon.scratch().join("profile"),
        "pictures": workspace::target_dir()?.join("page"),
    });
    print(&format!("\nthe page in Chromium: {MACHINES} machines, {} records\n", daemon.last_seq()?));
    let bench = page::checks().join("browser").join("bench.mjs");
    run_program(Command::new(NODE.path()?).arg(bench).env("QEV_PAGE", host.to_string()))
}

fn fleet(qev: &Path, daemon: &Daemon, rate: &str) -> Result<Running, Error> {
    let mut command = process::bound_to_us(qev)?;
    command.args(["simulate", "--machines", &MACHINES.to_string(), "--rate", rate, "--dial"]).arg(daemon.attach());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running::start(command, "qev simulate")
}
