//! The programs of the system that the lab and the tests need, and the line that installs a missing one.
//!
//! A test that lacks a program fails and says how to get it; it is never skipped. The names of packages are Debian's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error};

/// A program that somebody has to install, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What it is called in messages.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
    find: fn() -> Option<PathBuf>,
}

/// The machine emulator itself.
pub const QEMU: Program =
    Program { name: "qemu-system-x86_64", package: "qemu-system-x86", find: || in_path("qemu-system-x86_64") };

/// The whole user space of the guest: the guest has no shared libraries, so this must need none.
pub const BUSYBOX: Program =
    Program { name: "busybox (statically linked)", package: "busybox-static", find: static_busybox };

/// Starts a program that the kernel ends together with the one that started it.
pub const SETPRIV: Program = Program { name: "setpriv", package: "util-linux", find: || in_path("setpriv") };

/// Gives a program a network of its own.
pub const UNSHARE: Program = Program { name: "unshare", package: "util-linux", find: || in_path("unshare") };

/// Runs a program in the network of another.
pub const NSENTER: Program = Program { name: "nsenter", package: "util-linux", find: || in_path("nsenter") };

/// Makes networks, and takes them down.
pub const IP: Program = Program { name: "ip", package: "iproute2", find: || in_sbin("ip") };

/// What the Python client, a peer in the tests, runs on.
pub const PYTHON: Program = Program { name: "python3", package: "python3", find: || in_path("python3") };

/// Debian splits this off Python; without it `python3 -m venv` fails half-way.
pub const PYTHON_VENV: Program = Program { name: "python3 with venv", package: "python3-venv", find: python_with_venv };

/// Another client of a monitor, by which people hold one without knowing.
pub const SOCAT: Program = Program { name: "socat", package: "socat", find: || in_path("socat") };

/// Makes the file system of a guest's disk.
pub const MKFS: Program = Program { name: "mkfs.ext4", package: "e2fsprogs", find: mkfs };

/// Packs and unpacks packages.
pub const DPKG_DEB: Program = Program { name: "dpkg-deb", package: "dpkg", find: || in_path("dpkg-deb") };

/// Says which packages hold the libraries that a program needs.
pub const DPKG_SHLIBDEPS: Program =
    Program { name: "dpkg-shlibdeps", package: "dpkg-dev", find: || in_path("dpkg-shlibdeps") };

/// Takes out of a program what only a debugger reads.
pub const STRIP: Program = Program { name: "strip", package: "binutils", find: || in_path("strip") };

/// Says what is wrong with a package.
pub const LINTIAN: Program = Program { name: "lintian", package: "lintian", find: || in_path("lintian") };

/// Says what is wrong with a unit of systemd's.
pub const SYSTEMD_ANALYZE: Program =
    Program { name: "systemd-analyze", package: "systemd", find: || in_path("systemd-analyze") };

/// Sets the manual, and complains of what it does not understand.
pub const GROFF: Program = Program { name: "groff", package: "groff-base", find: || in_path("groff") };

/// Gives a program a terminal, as a person has one.
pub const SCRIPT: Program = Program { name: "script", package: "bsdutils", find: || in_path("script") };

/// Asks libvirt, for us and for tests.
pub const VIRSH: Program = Program { name: "virsh", package: "libvirt-clients", find: || in_path("virsh") };

/// Manages machines.
pub const LIBVIRTD: Program = Program { name: "libvirtd", package: "libvirt-daemon", find: || in_sbin("libvirtd") };

/// The part of libvirt that starts QEMUs.
pub const LIBVIRT_QEMU: Program =
    Program { name: "libvirt's driver for QEMU", package: "libvirt-daemon-driver-qemu", find: libvirt_driver };

/// Reads metrics, and tells whom it concerns.
pub const PROMETHEUS: Program = Program { name: "prometheus", package: "prometheus", find: || in_path("prometheus") };

/// Says what is wrong with metrics and rules.
pub const PROMTOOL: Program = Program { name: "promtool", package: "prometheus", find: || in_path("promtool") };

/// Stands in front of the daemon, with TLS.
pub const NGINX: Program = Program { name: "nginx", package: "nginx-light", find: || in_sbin("nginx") };

/// Makes a certificate for a test.
pub const OPENSSL: Program = Program { name: "openssl", package: "openssl", find: || in_path("openssl") };

/// Another client of the HTTP API.
pub const CURL: Program = Program { name: "curl", package: "curl", find: || in_path("curl") };

/// Runs the page's checks.
pub const NODE: Program =
    Program { name: "node", package: "nodejs", find: || in_path("node").or_else(|| in_path("nodejs")) };

/// Brings the packages that the page is checked with.
pub const NPM: Program = Program { name: "npm", package: "npm", find: || in_path("npm") };

/// The browser in which the page is looked at.
pub const CHROMIUM: Program = Program { name: "chromium", package: "chromium", find: || in_path("chromium") };

/// Everything that `cargo xtask test` needs beside Rust.
pub const FOR_ALL_TESTS: &[Program] = &[
    QEMU,
    BUSYBOX,
    SETPRIV,
    UNSHARE,
    NSENTER,
    IP,
    SOCAT,
    MKFS,
    PYTHON,
    PYTHON_VENV,
    DPKG_DEB,
    DPKG_SHLIBDEPS,
    STRIP,
    LINTIAN,
    SYSTEMD_ANALYZE,
    GROFF,
    SCRIPT,
    VIRSH,
    LIBVIRTD,
    LIBVIRT_QEMU,
    PROMETHEUS,
    PROMTOOL,
    NGINX,
    OPENSSL,
    CURL,
    NODE,
    NPM,
    CHROMIUM,
];

impl Program {
    /// Where it is, or an error with the line that installs it.
    pub fn path(&self) -> Result<PathBuf, Error> {
        (self.find)().ok_or_else(|| {
            Error::new(format!("{} is not here; install it: {}", self.name, install_line(&[self.package])))
        })
    }

    /// Whether it is there.
    pub fn is_here(&self) -> bool {
        (self.find)().is_some()
    }
}

/// What a person types to install these packages.
pub fn install_line(packages: &[&str]) -> String {
    let become_root = if is_root() { "" } else { "sudo " };
    format!(
        "{become_root}apt-get update && {become_root}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Whether this process may install packages: the owner of its own `/proc` entry is its effective user.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// The first program of this name in `PATH`.
pub fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Runs a program to its end and gives what it wrote to standard output; what it wrote to standard error is for the
/// message when it fails.
pub fn output_of(command: &mut Command) -> Result<String, Error> {
    let name = Path::new(command.get_program()).display().to_string();
    let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let line = format!("{name} {}", arguments.join(" "));
    let output = command.stdin(Stdio::null()).output().context(|| format!("cannot run {line}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{line} failed ({}): {}", output.status, complaint.trim())))
}

fn static_busybox() -> Option<PathBuf> {
    let usual = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    in_path("busybox")
        .into_iter()
        .chain(usual)
        .find(|path| fs::read(path).is_ok_and(|program| runs_without_libraries(&program)))
}

/// It lies where only root's `PATH` leads.
fn mkfs() -> Option<PathBuf> {
    in_path("mkfs.ext4").or_else(|| Some(PathBuf::from("/usr/sbin/mkfs.ext4")).filter(|path| path.is_file()))
}

/// One that stands where only root looks for programs.
fn in_sbin(name: &str) -> Option<PathBuf> {
    in_path(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|path| path.is_file()))
}

fn libvirt_driver() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("libvirt/connection-driver/libvirt_driver_qemu.so")).find(|path| path.is_file())
}

fn python_with_venv() -> Option<PathBuf> {
    let python = in_path("python3")?;
    output_of(Command::new(&python).args(["-c", "import venv, ensurepip"])).ok()?;
    Some(python)
}

/// Whether this is a 64-bit little-endian ELF program that names no dynamic loader (a `PT_INTERP` header).
fn runs_without_libraries(program: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let loader = || -> Option<bool> {
        let table = usize::try_from(number(32, 8)?).ok()?;
        let size = usize::try_from(number(54, 2)?).ok()?;
        let count = usize::try_from(number(56, 2)?).ok()?;
        let mut found = false;
        for entry in 0..count {
            found |= number(table.checked_add(entry.checked_mul(size)?)?, 4)? == PT_INTERP;
        }
        Some(found)
    };
    program.starts_with(b"\x7fELF\x02\x01") && loader() == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least ELF file: a header, then program headers of these types.
    fn elf(types: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56 * types.len()];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(types.len()).unwrap();
        for (entry, kind) in types.iter().enumerate() {
            file[64 + 56 * entry] = *kind;
        }
        file
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert!(runs_without_libraries(&elf(&[6, 1, 1])));
        assert!(!runs_without_libraries(&elf(&[6, 3, 1])));
    }

    #[test]
    fn what_is_no_whole_program_is_not_taken_for_one() {
        let whole = elf(&[1, 1]);
        for length in 0..whole.len() - 52 {
            assert!(!runs_without_libraries(&whole[..length]), "cut at {length}");
        }
        assert!(!runs_without_libraries(b"#!/bin/sh\n"));
    }

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let nowhere = Program { name: "frobnicator", package: "frob-tools", find: || None };
        let message = nowhere.path().unwrap_err().to_string();
        assert!(message.starts_with("frobnicator is not here; install it: "), "{message}");
        assert!(message.ends_with("apt-get install -y --no-install-recommends frob-tools"), "{message}");
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = output_of(Command::new("sh").args(["-c", "echo oh no >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("exit status: 3): oh no"), "{error}");
    }
}
