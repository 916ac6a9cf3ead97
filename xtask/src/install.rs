//! Installs the programs that the tests need, where that is ours to do: as root, on Debian.

use std::process::{Command, Stdio};

use xtask::Error;
use xtask::fetch::{Try, patiently};
use xtask::programs::{self, FOR_ALL_TESTS, Program, output_of};

use crate::{print, run};

/// The part of QEMU that can stand in the way: see [`install`].
const TOOLS: &str = "qemu-utils";
const EMULATOR_BASE: &str = "qemu-system-common";

/// Checks every program, and installs those that are missing or says how to.
pub(crate) fn what_is_missing() -> Result<(), Error> {
    let missing: Vec<Program> = FOR_ALL_TESTS.iter().copied().filter(|program| !program.is_here()).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
        let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
        if !programs::is_root() || programs::in_path("apt-get").is_none() {
            let line = programs::install_line(&packages);
            return Err(Error::new(format!("missing: {}; on Debian 12: {line}", names.join(", "))));
        }
        print(&format!("missing: {}", names.join(", ")));
        install(&packages)?;
    }
    for program in FOR_ALL_TESTS {
        print(&format!("{}: {}", program.name, program.path()?.display()));
    }
    Ok(())
}

/// Installs packages and removes none.
///
/// Where Debian's backports brought a `qemu-utils` of version 10, apt refuses: that one breaks the emulator's base
/// package of version 7.2, the only one on offer. Then the tools are taken back to the emulator's version, rather
/// than removed.
fn install(packages: &[&str]) -> Result<(), Error> {
    patiently(&print, "apt-get update", |which| run(&mut update_command(which)))?;
    // Whether it can be done at all is asked without a network, so that only the network's failures are tried again.
    let go_back_to = match output_of(install_command(packages, None).arg("--simulate")) {
        Ok(_) => None,
        Err(error) => Some(version_to_go_back_to().ok_or(error)?),
    };
    if let Some(version) = &go_back_to {
        print(&format!(
            "the installed {TOOLS} keeps QEMU out: it goes back to {version}, the version of QEMU on offer"
        ));
    }
    patiently(&print, "apt-get install", |_| run(&mut install_command(packages, go_back_to.as_deref())))
}

/// A list that could not be fetched counts as a failure, but for the last time: then what is here has to be enough.
fn update_command(which: Try) -> Command {
    let mut command = apt_get();
    command.arg("update");
    if which == Try::Early {
        command.args(["-o", "APT::Update::Error-Mode=any"]);
    }
    command
}

fn install_command(packages: &[&str], tools_go_back_to: Option<&str>) -> Command {
    let mut command = apt_get();
    command.args(["install", "-y", "--no-install-recommends", "--no-remove"]);
    if let Some(version) = tools_go_back_to {
        command.arg("--allow-downgrades").arg(format!("{TOOLS}={version}"));
    }
    command.args(packages);
    command
}

/// apt-get that asks nothing and starts nothing: in runlevel 1 packages do not start the services that they bring.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt or dpkg that is at work is waited for, in seconds.
    command.args(["-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(Stdio::null());
    command
}

/// The version of the emulator on offer, if the tools are installed in another.
fn version_to_go_back_to() -> Option<String> {
    let installed =
        output_of(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev} ${Version}", TOOLS])).ok()?;
    let on_offer = output_of(Command::new("apt-cache").args(["policy", EMULATOR_BASE])).ok()?;
    let on_offer = candidate(&on_offer)?;
    (version_if_installed(&installed)? != on_offer).then(|| on_offer.to_owned())
}

/// What `dpkg-query` says, a state of three characters and the version: `ii  1:10.0.2+ds-1~bpo12+1`.
fn version_if_installed(said: &str) -> Option<&str> {
    said.strip_prefix("ii").map(str::trim).filter(|version| !version.is_empty())
}

fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_on_offer_is_read_from_the_policy() {
        let policy =
            "qemu-system-common:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7+deb12u18+b3\n  Version table:\n";
        assert_eq!(candidate(policy), Some("1:7.2+dfsg-7+deb12u18+b3"));
        assert_eq!(candidate("qemu-utils:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn only_what_is_installed_has_a_version() {
        assert_eq!(version_if_installed("ii  1:10.0.2+ds-1~bpo12+1"), Some("1:10.0.2+ds-1~bpo12+1"));
        assert_eq!(version_if_installed("rc  1:10.0.2+ds-1~bpo12+1"), None);
        assert_eq!(version_if_installed("un  "), None);
    }

    #[test]
    fn nothing_is_ever_removed() {
        for version in [None, Some("1:7.2")] {
            let command = install_command(&["qemu-system-x86"], version);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            assert!(words.contains(&"--no-remove".to_owned()));
            assert_eq!(words.contains(&"qemu-utils=1:7.2".to_owned()), version.is_some());
            assert_eq!(words.last().map(String::as_str), Some("qemu-system-x86"));
        }
    }
}
