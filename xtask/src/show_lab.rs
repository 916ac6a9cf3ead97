//! `cargo xtask lab`: a real machine sends the five events, and a person sees what `qev watch` makes of them.

use std::env;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::Error;
use xtask::lab::five_events::{FIVE, Provocation};
use xtask::lab::guest::{Guest, Options};
use xtask::lab::kernel::Kernel;
use xtask::lab::watch::{MONITOR_GONE, Output, Watch};
use xtask::workspace;

use crate::{print, run as run_program};

/// How long `qev watch` may take to end after its monitor is gone.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// The two watchers of the lab: each on a monitor of its own, each with its own way to print.
struct Watchers {
    json: Watch,
    text: Watch,
}

/// Boots, provokes, shows; fails unless all five events were printed.
pub(crate) fn run() -> Result<(), Error> {
    if env::var_os(workspace::QEV_OVERRIDE).is_none() {
        say("building qev");
        run_program(workspace::cargo().args(["build", "--workspace"]).args(workspace::same_profile()?))?;
    }
    let qev = workspace::qev_program()?;
    let kernel = Kernel::obtain(&say)?;
    let mut guest = Guest::boot(&kernel, Options::for_the_five_events(), &say)?;
    let mut watchers = Watchers::start(&qev, &guest)?;
    say("both watchers are attached");
    watchers.show_new_lines();

    let begin = Instant::now();
    for provocation in FIVE {
        print("");
        say(&format!("{}: {}", provocation.event, provocation.words));
        let sent = (provocation.provoke)(guest.hands())?;
        watchers.wait_for(&provocation, &sent)?;
        watchers.show_new_lines();
    }
    let took = begin.elapsed();

    print("");
    let status = guest.quit()?;
    say(&format!("QEMU has ended ({status})"));
    watchers.end()?;
    say(&format!("all five events came, in {:.1} s", took.as_secs_f64()));
    Ok(())
}

fn say(line: &str) {
    print(&format!("lab: {line}"));
}

impl Watchers {
    fn start(qev: &std::path::Path, guest: &Guest) -> Result<Self, Error> {
        let start = |monitor: &str, output: Output| -> Result<Watch, Error> {
            let socket = guest.monitor_socket(monitor)?;
            let option = if output == Output::Json { " -o json" } else { "" };
            say(&format!("qev watch{option} unix:{}", socket.display()));
            Watch::start(qev, monitor, output, socket, guest.scratch())
        };
        let watchers = Self { json: start("plain", Output::Json)?, text: start("pretty", Output::Text)? };
        watchers.json.wait_until_attached()?;
        watchers.text.wait_until_attached()?;
        Ok(watchers)
    }

    /// Waits until both have printed what the lab's own monitor saw QEMU send.
    fn wait_for(&self, provocation: &Provocation, sent: &[Value]) -> Result<(), Error> {
        for event in sent {
            let same = |record: &Value| {
                ["event", "data", "timestamp"].iter().all(|member| record.get(member) == event.get(member))
            };
            self.json.wait_for_record(&format!("{event}"), same)?;
        }
        self.text.wait_for_lines_with(provocation.event, sent.len())
    }

    fn show_new_lines(&mut self) {
        for line in self.json.new_lines() {
            print(&format!("    json | {line}"));
        }
        for line in self.text.new_lines() {
            print(&format!("    text | {line}"));
        }
    }

    /// With QEMU gone, both end by themselves.
    fn end(&mut self) -> Result<(), Error> {
        for (name, watch) in [("json", &mut self.json), ("text", &mut self.text)] {
            let status = watch.wait_for_end(END_PATIENCE)?;
            if status.code() != Some(MONITOR_GONE) {
                let expected = format!("expected exit status {MONITOR_GONE}, since its monitor is gone");
                return Err(Error::new(format!("qev watch ({name}) ended with {status}; {expected}")));
            }
        }
        self.show_new_lines();
        say(&format!("both watchers have ended with status {MONITOR_GONE}, since their monitor is gone"));
        Ok(())
    }
}
