//! qev: every QEMU event, caught, kept and delivered.
//!
//! The verbs are in [`cli`], a file each; `qev demo` ([`cli::demo`]) shows the document's five events for their reasons.

mod backoff;
mod bound;
mod cli;
mod config;
mod daemon;
mod exit;
mod http;
mod introspect;
mod live_sessions;
mod log_limiter;
mod monitor;
mod pager;
mod places;
mod printer;
mod signals;
mod simulated;

use clap::{CommandFactory as _, Parser};
use clap_complete::CompleteEnv;
use std::process::ExitCode;

/// A record is made by one thread and freed by another, hundreds of thousands a second: that is what the system's own is slow
/// at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A shell asks what could stand at the cursor: that is answered here, and the program ends.
    CompleteEnv::with_factory(cli::Cli::command).var(cli::complete::VARIABLE).complete();
    let status = match cli::Cli::parse().run() {
        Ok(status) => status,
        Err(error) => error.report(),
    };
    status.into()
}
