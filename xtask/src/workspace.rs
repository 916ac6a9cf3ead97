//! Where the workspace and what is built from it lie, and how a task runs cargo although cargo runs the task.
//!
//! The target directory is found from the running program, not from settings: whether it was moved by
//! `CARGO_TARGET_DIR`, by a `config.toml` or not at all, this program lies in it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error};

/// Names the `qev` program to use in place of the one built from this workspace.
pub const QEV_OVERRIDE: &str = "QEV_BIN";

/// The workspace's root: the folder of the top `Cargo.toml`.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where this build's programs are put: `target/debug`, or wherever the running program was built to.
pub fn profile_dir() -> Result<PathBuf, Error> {
    let program = env::current_exe().context(|| "cannot tell where this program lies".to_owned())?;
    profile_dir_of(&program)
        .map(Path::to_owned)
        .ok_or_else(|| Error::new(format!("{} lies in no folder", program.display())))
}

/// A program of cargo's lies in `PROFILE/`, a test of cargo's in `PROFILE/deps/`.
fn profile_dir_of(program: &Path) -> Option<&Path> {
    let folder = program.parent()?;
    if folder.file_name() == Some(OsStr::new("deps")) { folder.parent() } else { Some(folder) }
}

/// The target directory; cargo marks it with a `CACHEDIR.TAG`.
pub fn target_dir() -> Result<PathBuf, Error> {
    let profile = profile_dir()?;
    profile
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .or_else(|| profile.parent())
        .map(Path::to_owned)
        .ok_or_else(|| Error::new(format!("{} is in no target directory", profile.display())))
}

/// Where the lab keeps what it fetched for next time: `target/lab`.
pub fn lab_cache() -> Result<PathBuf, Error> {
    Ok(target_dir()?.join("lab"))
}

/// The `qev` program under test: what [`QEV_OVERRIDE`] names, else the one built beside this program.
pub fn qev_program() -> Result<PathBuf, Error> {
    let (program, remedy) = match env::var_os(QEV_OVERRIDE) {
        Some(named) => (PathBuf::from(named), format!("{QEV_OVERRIDE} names it: set it right or unset it")),
        None => (profile_dir()?.join("qev"), "build it: cargo build -p qev".to_owned()),
    };
    if program.is_file() { Ok(program) } else { Err(Error::new(format!("no program {}; {remedy}", program.display()))) }
}

/// Cargo in the workspace's root, with nothing on its standard input, as if a person had typed it.
///
/// `cargo run` describes to this program the package it runs (`CARGO_PKG_NAME` and so on). Handed on, that description
/// reaches build scripts and compilers that are about other packages; some take note of it, and then what `cargo xtask
/// test` built is stale for the next plain `cargo test`.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_the_running_package) {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The arguments that make cargo build into [`profile_dir`].
pub fn same_profile() -> Result<Vec<OsString>, Error> {
    let folder = profile_dir()?;
    Ok(match folder.file_name() {
        // Cargo's name for the profile that it puts in `debug`.
        None => Vec::new(),
        Some(name) if name == "debug" => Vec::new(),
        Some(name) => vec!["--profile".into(), name.to_owned()],
    })
}

fn describes_the_running_package(name: &str) -> bool {
    const ONE: [&str; 5] =
        ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    const MANY: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"];
    ONE.contains(&name) || MANY.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_lead_to_the_same_profile() {
        for program in ["/w/target/debug/xtask", "/w/target/debug/deps/it-0a1b", "/w/target/debug/xtask (deleted)"] {
            assert_eq!(profile_dir_of(Path::new(program)), Some(Path::new("/w/target/debug")), "{program}");
        }
    }

    #[test]
    fn this_test_lies_in_a_target_directory_of_this_workspace() {
        assert!(profile_dir().unwrap().join("deps").is_dir());
        assert!(profile_dir().unwrap().starts_with(target_dir().unwrap()));
        assert!(root().join("xtask").join("Cargo.toml").is_file());
    }

    #[test]
    fn settings_of_the_user_are_not_taken_for_the_running_package() {
        for setting in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_TERM_COLOR", "CARGO_NET_OFFLINE", "RUSTFLAGS"]
        {
            assert!(!describes_the_running_package(setting), "{setting}");
        }
        for description in ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "OUT_DIR"] {
            assert!(describes_the_running_package(description), "{description}");
        }
    }
}
