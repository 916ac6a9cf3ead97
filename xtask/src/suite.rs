//! `cargo xtask test`: every test there is, part by part, with the time that each takes.
//!
//! A part that fails does not keep the others from running, so that one run shows all that is wrong. Cargo is always
//! asked for the same profile and target directory: what one part has compiled, the next finds.

use std::process::Command;
use std::time::{Duration, Instant};

use xtask::Error;
use xtask::lab::kernel::Kernel;
use xtask::{page, workspace};

use crate::{fuzz_parity, install, print, python_client, run as run_program};

/// Tells tests that they may take their time.
const LONG: (&str, &str) = ("QEV_TEST_LONG", "1");

/// How many cases a property is tried with when there is time; proptest's own default is 256.
const LONG_CASES: (&str, &str) = ("PROPTEST_CASES", "10000");

/// Which cases: the same in every run. A test tells whether something was broken, and not what nobody knew before; that
/// is found with time (`--long`), and by hand with plain `cargo test`.
const SAME_CASES: (&str, &str) = ("PROPTEST_RNG_SEED", "1");

/// For how many seconds odd requests are sent to QEMU and to qev.
const FUZZ: u64 = 60;
const LONG_FUZZ: u64 = 600;

/// Which requests: the same in every run, for the same reason; by hand, `cargo xtask fuzz-parity` tries others.
const FUZZ_SEED: u64 = 1;

/// Tells tests where a Python with the `qemu.qmp` package is.
const PYTHON: &str = "QEV_TEST_PYTHON";

/// Runs all parts; fails when one of them did, and names it.
pub(crate) fn run(long: bool) -> Result<(), Error> {
    let mut suite = Suite::default();
    let profile = workspace::same_profile()?;
    let cargo = |arguments: &[&str]| {
        let mut command = workspace::cargo();
        command.args(arguments);
        command
    };
    let compiling = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.args(&profile);
        command.envs(if long { vec![LONG, LONG_CASES] } else { vec![SAME_CASES] });
        command
    };

    suite.part("programs", install::what_is_missing);
    suite.part("format", || run_program(&mut cargo(&["fmt", "--all", "--check"])));
    suite.part("lints", || {
        let lints = ["--", "-D", "warnings"];
        run_program(compiling(&["clippy", "--workspace", "--all-targets"]).args(lints))
    });
    suite.part("build", || run_program(&mut compiling(&["build", "--workspace"])));
    suite.part("plain tests", || run_program(&mut compiling(&["test", "--workspace", "--no-fail-fast"])));
    suite.part("documentation", || {
        run_program(compiling(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    });
    suite.part("page", || {
        page::prepare(&print)?;
        page::commands()?.iter_mut().try_for_each(run_program)
    });
    let mut python = None;
    suite.part("python client", || {
        python = Some(python_client::prepare()?);
        Ok(())
    });
    suite.part("guest kernel", || Kernel::obtain(&print).map(|_| ()));
    suite.part("real tests", || {
        // Not the examples in the documentation, of which `--ignored` would run those that are not meant to be.
        let mut real: Command = compiling(&["test", "--workspace", "--tests", "--no-fail-fast"]);
        real.args(["--", "--ignored", "--test-threads=1"]);
        if let Some(python) = python {
            real.env(PYTHON, python);
        }
        run_program(&mut real)
    });
    suite.part("fuzz parity", || match long {
        true => fuzz_parity::run(LONG_FUZZ, None),
        false => fuzz_parity::run(FUZZ, Some(FUZZ_SEED)),
    });
    suite.finish()
}

#[derive(Debug, Default)]
struct Suite {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    took: Duration,
    failure: Option<Error>,
}

impl Suite {
    fn part(&mut self, name: &'static str, run: impl FnOnce() -> Result<(), Error>) {
        print(&format!("\n=== {name} ==="));
        let begin = Instant::now();
        let failure = run().err();
        let took = begin.elapsed();
        match &failure {
            None => print(&format!("--- {name}: passed in {}", time(took))),
            Some(error) => print(&format!("--- {name}: FAILED after {}: {}", time(took), error.story())),
        }
        self.parts.push(Part { name, took, failure });
    }

    fn finish(self) -> Result<(), Error> {
        print(&format!("\n{}", self.table()));
        let failed: Vec<&str> = self.parts.iter().filter(|part| part.failure.is_some()).map(|part| part.name).collect();
        if failed.is_empty() { Ok(()) } else { Err(Error::new(format!("failed: {}", failed.join(", ")))) }
    }

    fn table(&self) -> String {
        let row = |name: &str, verdict: &str, took: Duration| format!("{name:<16}{verdict:<10}{:>10}\n", time(took));
        let mut table = String::new();
        for part in &self.parts {
            let verdict = if part.failure.is_none() { "passed" } else { "FAILED" };
            table.push_str(&row(part.name, verdict, part.took));
        }
        let all = self.parts.iter().map(|part| part.took).sum();
        table.push_str(&row("all", "", all));
        table
    }
}

fn time(took: Duration) -> String {
    let tenths = took.as_millis().div_ceil(100);
    match tenths / 600 {
        0 => format!("{}.{} s", tenths / 10, tenths % 10),
        minutes => format!("{minutes} min {:02} s", tenths / 10 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well_at_any_length() {
        assert_eq!(time(Duration::from_millis(40)), "0.1 s");
        assert_eq!(time(Duration::from_millis(59_900)), "59.9 s");
        assert_eq!(time(Duration::from_secs(754)), "12 min 34 s");
    }

    #[test]
    fn a_failed_part_does_not_stop_the_next_and_is_named_at_the_end() {
        let mut suite = Suite::default();
        suite.part("a trial", || Err(Error::new("this is how a failure is told")));
        suite.part("another", || Ok(()));
        let table = suite.table();
        assert_eq!(table.lines().count(), 3);
        assert!(table.starts_with("a trial         FAILED         0.0 s\nanother         passed"), "{table}");
        assert_eq!(suite.finish().unwrap_err().to_string(), "failed: a trial");
    }
}
