//! `cargo xtask`: what a person or CI runs on qev.

mod bench;
mod bench_daemon;
mod bench_fleet;
mod bench_page;
mod bench_share;
mod fuzz_parity;
mod install;
mod python_client;
mod show_lab;
mod suite;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use xtask::Error;
use xtask::deb;
use xtask::error::Context;
use xtask::workspace;

/// What a person or CI runs on qev.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version, about, disable_help_subcommand = true)]
enum Task {
    /// Every test there is: format, lints, plain tests, documentation, and the tests against a real QEMU
    ///
    /// Installs the programs that these need when run as root on Debian, else prints the line that does. A part that
    /// fails does not keep the others from running; the command fails at the end and names it.
    Test {
        /// Also what takes long: ten boots in place of one, and many more cases for each property
        #[arg(long)]
        long: bool,
    },
    /// Boot a real QEMU with a real Linux guest and watch it send the five events
    ///
    /// Builds qev first, unless the variable QEV_BIN names a program to use in its place. Fetches Debian's kernel the
    /// first time. Ends with 0 only if qev printed all five.
    Lab,
    /// Send the same odd requests to a real QEMU and to qev simulate, and compare every byte of the answers
    ///
    /// Builds qev first, unless the variable QEV_BIN names a program to use in its place. A difference is made as small as
    /// it gets and printed with the seed that shows it again; then the command fails.
    FuzzParity {
        /// For how long; a round of some 1000 lines is always finished
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
        /// Which lines; another each time, if not given
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
    /// Build the Debian package, into target/debian
    Deb {
        /// Pack this program in place of one that is built for it in release
        #[arg(long, value_name = "PROGRAM")]
        program: Option<PathBuf>,
        /// Where to put the package
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
    },
    /// Measure, beside peers in the same run
    Bench {
        /// Only this part
        part: Option<bench::Part>,
        /// What to hand on to the part's program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test { long } => suite::run(long),
        Task::Lab => show_lab::run(),
        Task::FuzzParity { seconds, seed } => fuzz_parity::run(seconds, seed),
        Task::Deb { program, into } => make_deb(program, into),
        Task::Bench { part, arguments } => bench::bench(part, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told when this fails.
            let _ = writeln!(io::stderr(), "error: {}", error.story());
            ExitCode::FAILURE
        }
    }
}

fn make_deb(program: Option<PathBuf>, into: Option<PathBuf>) -> Result<(), Error> {
    let program = program.map_or_else(deb::program, Ok)?;
    let into = into.map_or_else(|| workspace::target_dir().map(|target| target.join("debian")), Ok)?;
    print(&deb::build(&program, &into)?.display().to_string());
    Ok(())
}

/// Prints a line. When nobody reads any more, the work goes on: what it leads to is told by the exit status.
fn print(line: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Runs a program that prints to our own output, and makes an error of its failure.
fn run(command: &mut Command) -> Result<(), Error> {
    let program = Path::new(command.get_program());
    // As a person would type it: cargo is given to us with its whole path.
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> = [name].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    let line = words.join(" ");
    print(&format!("$ {line}"));
    let status = command.status().context(|| format!("cannot run {line}"))?;
    if status.success() { Ok(()) } else { Err(Error::new(format!("{line} ended with {status}"))) }
}
