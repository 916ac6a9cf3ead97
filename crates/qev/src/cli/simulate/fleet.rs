//! Many machines in one process: what a daemon that watches thousands is tried with.
//!
//! Machine 7 of a fleet is `vm0007`. Its monitor is `DIR/vm0007.sock`, or it dials; its guest's socket, where there are
//! any, is `DIR/vm0007.guest.sock`. Each is a server and a task of its own on one thread, so that one which has ended
//! does not disturb the others.

use super::open_files;
use super::scenario::Scenario;
use super::serve::{Dial, is_usual, serve};
use super::{Args, builder, options};
use crate::exit::{Exit, Failure, tell};
use crate::signals::{self, Signals};
use crate::simulated::{GUEST, Simulated};
use qev_link::server::Ended;
use qev_link::{MonitorOptions, Server};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// So many machines are started before those that are there get their turn.
const AT_ONCE: u32 = 64;

/// Why a fleet could not be started.
#[derive(Debug)]
enum FleetError {
    NoMonitors,
    NotAFolder,
    SharedFiles,
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FleetError::NoMonitors => {
                "--machines needs to know where the monitors are: give --dir DIR for a socket each, or --dial PATH"
            }
            FleetError::SharedFiles => {
                "the scenario's machines would all write to the same files: name the files in 'images' too, then each \
                 machine gets its own"
            }
            FleetError::NotAFolder => "not a folder: make it first, the machines' sockets go there",
        })
    }
}

impl std::error::Error for FleetError {}

/// Runs `count` machines until all have ended, or a signal comes.
pub(super) async fn run(args: &Args, scenario: Option<&Scenario>, count: u32) -> Result<Exit, Failure> {
    if args.dir.is_none() && args.dial.is_none() {
        return Err(Failure::usage(FleetError::NoMonitors));
    }
    for folder in args.dir.iter().chain(&args.guest) {
        if !folder.is_dir() {
            return Err(Failure::usage(FleetError::NotAFolder).about(folder.display()));
        }
    }
    if scenario.is_some_and(Scenario::shares_files) {
        return Err(Failure::usage(FleetError::SharedFiles).about("--machines"));
    }
    open_files::check(u64::from(count), files(args, scenario))?;
    let dial = args.dial.as_deref().map(|path| Dial::new(path, options(args).name("dial"))).transpose()?;
    let names = Names::new(args.name.as_deref().unwrap_or("vm"), count);
    let mut signals = Signals::catch(signals::TO_END)?;
    let (stop, stopped) = watch::channel(false);
    let mut machines = JoinSet::new();
    for number in 0..count {
        // All that happens regularly is spread over the time from one to the next.
        let share = f64::from(number) / f64::from(count);
        let mut server = start(args, scenario, names.name(number), share).await?;
        let dial = dial.as_ref().map(|dial| dial.first_after(Duration::from_secs_f64(share)));
        let mut stopped = stopped.clone();
        machines.spawn(async move {
            let stop = async move {
                // The sender outlives the machines.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            serve(&mut server, dial, stop, Simulated::host_signal).await
        });
        if number % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    tell(&format!("serving {count} machines, {} to {}", names.name(0), names.name(count.saturating_sub(1))));
    tokio::select! {
        exit = all(&mut machines) => return Ok(exit),
        () = signals.any() => {}
    }
    stop.send_replace(true);
    Ok(all(&mut machines).await)
}

/// Waits until all have ended.
async fn all(machines: &mut JoinSet<Ended>) -> Exit {
    let mut exit = Exit::Done;
    while let Some(ended) = machines.join_next().await {
        if matches!(ended, Ok(Ended::Broken) | Err(_)) {
            exit = Exit::Failed;
        }
    }
    exit
}

async fn start(
    args: &Args,
    scenario: Option<&Scenario>,
    name: String,
    share: f64,
) -> Result<Server<Simulated>, Failure> {
    let mut builder = builder(args, scenario, Some(&name), share)?;
    if let Some(folder) = &args.dir {
        builder = builder.bind(folder.join(format!("{name}.sock")), options(args).name("qmp"));
    }
    if let Some(folder) = &args.guest {
        builder = builder.bind(folder.join(format!("{name}.guest.sock")), MonitorOptions::default().name(GUEST));
    }
    let builder = builder.on_notice(move |notice| {
        if !is_usual(&notice) {
            tell(&format!("{name}: {notice}"));
        }
    });
    builder.start().await.map_err(|error| Failure::new(Exit::Failed, error))
}

/// How many files a machine has open when each of its monitors has a client.
fn files(args: &Args, scenario: Option<&Scenario>) -> u64 {
    let listening = |folder: Option<&Path>| if folder.is_some() { 2 } else { 0 };
    let images = scenario.map_or(0, Scenario::files);
    let sockets = listening(args.dir.as_deref()) + listening(args.guest.as_deref()) + u64::from(args.dial.is_some());
    sockets.saturating_add(u64::try_from(images).unwrap_or(u64::MAX))
}

/// The machines' names: `vm0001`, with as many digits as the last needs.
struct Names<'a> {
    prefix: &'a str,
    digits: usize,
}

impl Names<'_> {
    fn new(prefix: &str, count: u32) -> Names<'_> {
        Names { prefix, digits: count.to_string().len().max(4) }
    }

    /// The name of the machine of this number, counted from 0.
    fn name(&self, number: u32) -> String {
        format!("{}{:0digits$}", self.prefix, u64::from(number) + 1, digits = self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers() {
        let check = |count, number, expected: &str| assert_eq!(Names::new("vm", count).name(number), expected);
        check(3, 0, "vm0001");
        check(8000, 7999, "vm8000");
        check(10_000, 41, "vm00042");
        assert_eq!(Names::new("web-", 1).name(0), "web-0001");
    }
}
