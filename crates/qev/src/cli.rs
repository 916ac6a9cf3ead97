//! The command line: verbs, a file each, and the options that are the same everywhere.

pub(crate) mod attach_args;
mod by_name;
mod check_config;
pub(crate) mod complete;
mod completions;
pub(crate) mod demo;
pub(crate) mod duration;
pub(crate) mod explain;
mod in_use;
mod log;
mod machine_names;
mod machines;
mod man;
mod near_misses;
mod page;
mod replay;
mod run;
mod select;
mod send;
mod serve;
mod share;
pub(crate) mod simulate;
pub(crate) mod typo_hints;
mod wait;
mod watch;
pub(crate) mod when;

use crate::exit::{self, Exit, Failure};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use qev_link::{NotATarget, Target};
use std::os::unix::fs::FileTypeExt as _;

/// What a TARGET is, for the help and the manual.
const TARGETS: &str = "\
A TARGET is unix:PATH, tcp:HOST:PORT or fd:N as QEMU writes them, a path, or the name of a machine that the daemon holds; send, \
share and explain --check take no name. fd:N is a descriptor that qev was started with: a socket whose other end a QEMU \
has (-chardev socket,fd=N).";

/// Every QEMU event, caught, kept and delivered.
#[derive(Debug, Parser)]
#[command(name = "qev", version, about, long_about = None, max_term_width = 100)]
#[command(after_help = format!("{TARGETS}\n\n{}", exit::help()))]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the five events for their reasons: offline, without a QEMU, in 40 seconds
    Demo(demo::Args),
    /// Show events as they happen, straight from the monitors
    Watch(watch::Args),
    /// Wait until an event happens; with a command, listen first, then run it, then wait
    Wait(wait::Args),
    /// Show the history: what happened to all machines, and what happens
    Log(log::Args),
    /// Execute one QMP command and print its reply, and the event that it leads to
    Send(send::Args),
    /// Start a QEMU, show its events, and end with what became of the guest
    Run(run::Args),
    /// Show who is attached, silent or gone; or every QEMU on this host, and what would attach it
    Machines(machines::Args),
    /// Print what to add to a QEMU, and where, so that it connects to qev by itself
    AttachArgs(attach_args::Args),
    /// Print the configuration in force, or everything that is wrong with it
    CheckConfig(check_config::Args),
    /// Say what an event means, what it carries, and what to do about it
    Explain(explain::Args),
    /// Print an address that opens the page, once; or make, list and revoke tokens for programs
    Page(page::Args),
    /// Keep every event of every machine in a journal: the daemon
    Serve(serve::Args),
    /// Lend a monitor: one QEMU, many clients
    Share(share::Args),
    /// Run a machine without QEMU, that emits the same events for the same reasons
    Simulate(simulate::Args),
    /// Play recordings as if they were a QEMU
    Replay(replay::Args),
    /// Become a program that ends when its parent does
    #[command(hide = true)]
    Bound(crate::bound::Args),
    /// Print what a shell needs to complete verbs and options
    Completions(completions::Args),
    /// Print the manual, or write its pages into a folder
    #[command(hide = true)]
    Man(man::Args),
}

impl Cli {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.verb {
            Verb::Demo(args) => block_on(demo::run(args)),
            Verb::Watch(args) => block_on(watch::run(args)),
            Verb::Wait(args) => block_on(wait::run(args)),
            Verb::Log(args) => block_on(log::run(args)),
            Verb::Send(args) => block_on(send::run(args)),
            Verb::Run(args) => block_on(run::run(args)),
            Verb::Machines(args) => block_on(machines::run(args)),
            Verb::AttachArgs(args) => block_on(attach_args::run(args)),
            Verb::CheckConfig(args) => check_config::run(&args),
            Verb::Explain(args) => explain::run(&args),
            Verb::Page(args) => block_on(page::run(args)),
            Verb::Serve(args) => block_on(serve::run(args)),
            Verb::Share(args) => block_on(share::run(args)),
            Verb::Simulate(args) => block_on(simulate::run(args)),
            Verb::Replay(args) => block_on(replay::run(args)),
            Verb::Bound(args) => crate::bound::run(&args),
            Verb::Completions(args) => completions::run(&args),
            Verb::Man(args) => man::run(&args),
        }
    }
}

/// Reads a TARGET. A path may be any bytes, so it need not be text; and one without a '/' is a path too when there is a
/// socket of that name here.
fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| -> Result<Target, NotATarget> {
        let Some(name) = text.to_str() else { return Ok(Target::from(&*text)) };
        let target = name.parse()?;
        let is_socket = || std::fs::metadata(name).is_ok_and(|file| file.file_type().is_socket());
        match target {
            Target::Machine(_) if is_socket() => Ok(Target::Unix(name.into())),
            target => Ok(target),
        }
    })
}

/// One thread is enough for thousands of monitors; what may block has a thread of its own.
fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error).about("starting the runtime"))?;
    runtime.block_on(verb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn a_paragraph_of_the_help_is_one_line_that_is_wrapped_where_it_is_shown() {
        let qev = Cli::command();
        for command in std::iter::once(&qev).chain(qev.get_subcommands()) {
            let Some(help) = command.get_after_help().map(ToString::to_string) else { continue };
            assert!(!help.starts_with(' '), "{}: what stands first loses its indentation", command.get_name());
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            for (line, next) in help.lines().zip(help.lines().skip(1)) {
                assert!(!is_prose(line) || !is_prose(next), "{}: broken by hand: {line}", command.get_name());
            }
        }
    }
}
