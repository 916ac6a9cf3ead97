//! The page's checks: types, style, its modules' tests, and a real browser. They run on Node.js with packages from npm.
//!
//! ```text
//!   crates/qev/page          what is in the program: plain modules, nothing to build
//!   crates/qev/page-checks   package.json, its lock, tsconfig, eslint's rules, modules/*.mjs, browser/*.mjs
//!     └── node_modules       brought by `npm ci`, exactly what the lock says; git ignores it
//! ```
//!
//! A build of qev needs none of this.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error};
use crate::fetch::patiently;
use crate::lab::Say;
use crate::programs::{NODE, NPM, output_of};
use crate::workspace;

/// What the packages were brought for: the lock as it was then.
const BROUGHT_FOR: &str = ".brought-for";

/// The folder of the checks.
pub fn checks() -> PathBuf {
    crate_folder().join("page-checks")
}

fn crate_folder() -> PathBuf {
    workspace::root().join("crates").join("qev")
}

/// Brings the packages that the lock names, unless they are there already.
pub fn prepare(say: Say<'_>) -> Result<(), Error> {
    let (folder, npm) = (checks(), NPM.path()?);
    NODE.path()?;
    let lock = fs::read_to_string(folder.join("package-lock.json")).context(|| "cannot read the page's lock".into())?;
    let packages = folder.join("node_modules");
    if fs::read_to_string(packages.join(BROUGHT_FOR)).is_ok_and(|brought| brought == lock) {
        say(&format!("the page's packages are in {} (cached)", packages.display()));
        return Ok(());
    }
    say("npm ci");
    let brought = patiently(say, "npm ci", |_| {
        // No program of theirs runs on the way in.
        let mut command = Command::new(&npm);
        output_of(command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder))
    })?;
    say(brought.trim());
    let note = packages.join(BROUGHT_FOR);
    fs::write(&note, lock).context(|| format!("cannot write {}", note.display()))
}

/// What is to be run one after the other: types of the page and of its tests, style, and the tests that need no browser.
pub fn commands() -> Result<Vec<Command>, Error> {
    let types = |project: &str| package_program("typescript", "bin/tsc", &["-p", project]);
    let rules = ["--config", "page-checks/eslint.config.js", "--max-warnings", "0", "page", "page-checks"];
    let mut tests = Command::new(NODE.path()?);
    tests.arg("--test").args(module_tests()?).current_dir(checks());
    Ok(vec![
        types("page-checks/tsconfig.json")?,
        types("page-checks/tsconfig.tests.json")?,
        package_program("eslint", "bin/eslint.js", &rules)?,
        tests,
    ])
}

/// Named one by one, as old versions of Node.js want it.
fn module_tests() -> Result<Vec<PathBuf>, Error> {
    let folder = checks().join("modules");
    let entries = fs::read_dir(&folder).context(|| format!("cannot read {}", folder.display()))?;
    let mut tests: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    tests.sort();
    Ok(tests)
}

/// A program of a package's, run where both the page and its checks are below.
fn package_program(package: &str, program: &str, arguments: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(NODE.path()?);
    command.arg(Path::new("page-checks/node_modules").join(package).join(program)).args(arguments);
    command.current_dir(crate_folder());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_names_no_place_to_fetch_from() {
        let lock = fs::read_to_string(checks().join("package-lock.json")).unwrap();
        assert!(lock.contains("\"playwright-core\"") && lock.contains("\"integrity\""), "{lock}");
        assert!(!lock.contains("\"resolved\""), "packages come from wherever npm is set up to fetch them");
    }

    #[test]
    fn every_test_of_a_module_is_named() {
        let names: Vec<_> = module_tests().unwrap().iter().map(|path| path.display().to_string()).collect();
        assert!(names.len() >= 4 && names.iter().all(|name| name.ends_with(".test.mjs")), "{names:?}");
    }
}
