//! `cargo xtask bench`: the parts of which figures are kept, each beside a peer in the same run. The ratios hold, the times
//! do not.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum;
use xtask::{Error, workspace};

use crate::{bench_daemon, bench_fleet, bench_page, bench_share, run};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Reading and writing events, beside serde_json and qapi
    Codec,
    /// 8,000 simulated machines in one process, and a reader of all that checks the numbers
    Fleet,
    /// Emission to 1, 100 and 1,000 clients, beside a loop that writes the same bytes
    Emit,
    /// Appending and searching, beside a bare loop of rusqlite
    Journal,
    /// From a machine's socket to the disk and to a follower; thousands of machines
    Daemon,
    /// A shared monitor beside the monitor itself: a command's round trip, events to 1, 10 and 100 clients
    Share,
    /// The page in a browser: 2,000 machines and 1,000,000 records
    Page,
}

/// Measures one part, or all of them. The arguments are for the part's own program.
pub(crate) fn bench(part: Option<Part>, arguments: &[OsString]) -> Result<(), Error> {
    let parts = part.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]);
    for part in parts {
        match part {
            Part::Codec => program("qev-qmp", "codec", arguments)?,
            Part::Fleet => bench_fleet::run(&release()?)?,
            Part::Emit => program("qev-link", "emit", arguments)?,
            Part::Journal => program("qev-journal", "journal", arguments)?,
            Part::Daemon => bench_daemon::run(&release()?)?,
            Part::Share => bench_share::run(&release()?)?,
            Part::Page => bench_page::run(&release()?)?,
        }
    }
    Ok(())
}

/// A benchmark that is a program of a crate.
fn program(package: &str, bench: &str, arguments: &[OsString]) -> Result<(), Error> {
    run(workspace::cargo().args(["bench", "-p", package, "--bench", bench, "--"]).args(arguments))
}

/// qev as people run it, unless a variable names another.
fn release() -> Result<PathBuf, Error> {
    if let Some(program) = std::env::var_os(workspace::QEV_OVERRIDE) {
        return Ok(program.into());
    }
    let target = workspace::target_dir()?;
    run(workspace::cargo().args(["build", "--release", "-p", "qev", "--target-dir"]).arg(&target))?;
    Ok(target.join("release").join("qev"))
}
