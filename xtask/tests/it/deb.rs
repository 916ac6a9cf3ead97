//! The Debian package: built, looked at by Debian's own tools, installed, used and removed on this very system.
//!
//! Where a qev is installed already these tests fail rather than touch it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xtask::deb;
use xtask::lab::process::{Running, bound_to_us};
use xtask::lab::scratch::Scratch;
use xtask::programs::{self, DPKG_DEB, LINTIAN, SYSTEMD_ANALYZE, output_of};
use xtask::workspace;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the package makes, beside its files.
const FOLDERS: [&str; 3] = ["/etc/qev", "/var/lib/qev", "/run/qev"];

fn build(scratch: &Scratch, name: &str) -> PathBuf {
    deb::build(&workspace::qev_program().unwrap(), &scratch.file(name)).unwrap()
}

#[test]
#[ignore = "needs Debian's tools: run by cargo xtask test"]
fn two_packages_of_one_source_are_the_same() {
    let scratch = Scratch::new().unwrap();
    let first = build(&scratch, "first");
    let second = build(&scratch, "second");
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{} differs", first.display());
    assert_eq!(first.file_name(), second.file_name());
}

#[test]
#[ignore = "needs Debian's tools: run by cargo xtask test"]
fn everything_that_belongs_to_it_is_in_the_package_and_belongs_to_root() {
    let scratch = Scratch::new().unwrap();
    let package = build(&scratch, "out");
    let list = output_of(Command::new(DPKG_DEB.path().unwrap()).arg("--contents").arg(&package)).unwrap();
    assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
    for file in [
        "./usr/bin/qev",
        "./lib/systemd/system/qev.service",
        "./lib/systemd/system/qev-attach.socket",
        "./usr/lib/sysusers.d/qev.conf",
        "./usr/lib/tmpfiles.d/qev.conf",
        "./etc/qev/config.toml",
        "./usr/share/man/man1/qev.1.gz",
        "./usr/share/man/man1/qev-serve.1.gz",
        "./usr/share/bash-completion/completions/qev",
        "./usr/share/zsh/vendor-completions/_qev",
        "./usr/share/fish/vendor_completions.d/qev.fish",
        "./usr/share/doc/qev/copyright",
        "./usr/share/doc/qev/changelog.gz",
        "./usr/share/doc/qev/changelog.Debian.gz",
    ] {
        assert!(list.lines().any(|line| line.ends_with(&format!(" {file}"))), "{file} is not in:\n{list}");
    }
}

#[test]
#[ignore = "needs Debian's tools: run by cargo xtask test"]
fn debian_finds_no_error_in_it() {
    let scratch = Scratch::new().unwrap();
    let package = build(&scratch, "out");
    let mut lintian = Command::new(LINTIAN.path().unwrap());
    lintian.args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"]).arg(&package);
    output_of(&mut lintian).unwrap();
}

/// From a clean system and back to it.
#[test]
#[ignore = "installs a package: run by cargo xtask test"]
fn it_is_installed_serves_and_leaves_nothing_when_it_is_purged() {
    assert!(programs::is_root(), "run this test as root: it installs a package");
    Installed::left_by_a_run_that_was_killed();
    let there = Command::new("dpkg-query").args(["-W", "qev"]).stderr(Stdio::null()).output().unwrap();
    assert!(!there.status.success(), "qev is installed here: this test would remove it");
    for folder in FOLDERS {
        assert!(!Path::new(folder).exists(), "{folder} is there: this test would remove it");
    }
    let scratch = Scratch::new().unwrap();
    let package = build(&scratch, "out");

    let installed = Installed::new(&package);
    let group = output_of(Command::new("getent").args(["group", "qev"])).unwrap();
    let owner = output_of(Command::new("stat").args(["-c", "%a %U %G", "/var/lib/qev", "/run/qev"])).unwrap();
    assert_eq!(owner, "750 root qev\n755 root qev\n", "{group}");
    let config = output_of(Command::new("/usr/bin/qev").args(["check-config"])).unwrap();
    assert!(config.starts_with("# /etc/qev/config.toml\nstate-dir = \"/var/lib/qev\"\n"), "{config}");
    let units = ["qev.service", "qev-attach.socket"].map(|unit| format!("/lib/systemd/system/{unit}"));
    output_of(Command::new(SYSTEMD_ANALYZE.path().unwrap()).args(["verify", "--man=no"]).args(&units)).unwrap();
    output_of(Command::new("bash").args(["-n", "/usr/share/bash-completion/completions/qev"])).unwrap();

    // A system under systemd has started it; else it is started by hand, as its unit says.
    let mut daemon =
        if Path::new("/run/systemd/system").exists() { None } else { Some(Daemon::start(&units[0], &scratch)) };
    let guest = scratch.socket("guest").unwrap();
    let mut machine = bound_to_us(Path::new("/usr/bin/qev")).unwrap();
    machine.args(["simulate", "--name", "deb1", "--panic", "pause", "--dial", "/run/qev/attach.sock", "--guest"]);
    machine.arg(&guest).stdout(Stdio::null()).stderr(Stdio::null());
    let machine = Running::start(machine, "qev simulate").unwrap();
    let log = || {
        let log = Command::new("/usr/bin/qev").args(["log", "-o", "json", "-m", "deb1"]).output().unwrap();
        String::from_utf8(log.stdout).unwrap()
    };
    until("the machine is attached", || log().contains("\"kind\":\"attached\""));
    until("the guest can be told", || guest.exists());
    output_of(Command::new("/usr/bin/qev").arg("send").arg(&guest).arg("panic")).unwrap();
    until("the panic is in the log", || log().contains("\"event\":\"GUEST_PANICKED\""));
    if let Some(daemon) = daemon.take() {
        daemon.stop();
    }
    drop(machine);

    // Removed, what it kept is there; purged, it is not.
    dpkg(&["--remove", "qev"]);
    assert!(!Path::new("/usr/bin/qev").exists());
    assert!(Path::new("/var/lib/qev/journal").exists() && Path::new("/etc/qev/config.toml").exists());
    installed.purge();
    for folder in FOLDERS {
        assert!(!Path::new(folder).exists(), "{folder} is left behind");
    }
    assert!(output_of(Command::new("getent").args(["group", "qev"])).is_err(), "the group is left behind");
    let left = output_of(Command::new("find").args([
        "/etc/systemd",
        "/var/lib/systemd",
        "/usr/share",
        "/lib/systemd",
        "/usr/lib/sysusers.d",
        "/usr/lib/tmpfiles.d",
        "-name",
        "*qev*",
    ]));
    // What cannot be listed is not there.
    assert_eq!(left.unwrap_or_default(), "");
}

/// The package, installed; purged whatever becomes of the test.
struct Installed;

impl Installed {
    fn new(package: &Path) -> Installed {
        fs::write(Installed::mark(), "The package qev is this test's: the next one may purge it.\n").unwrap();
        let installed = Installed;
        dpkg(&["--install", package.to_str().unwrap()]);
        installed
    }

    fn purge(self) {
        dpkg(&["--purge", "qev"]);
        std::mem::forget(self);
        fs::remove_file(Installed::mark()).unwrap();
    }

    /// Is there while what is installed is ours.
    fn mark() -> PathBuf {
        workspace::target_dir().unwrap().join("qev-is-installed-by-a-test")
    }

    /// One that was killed could purge nothing.
    fn left_by_a_run_that_was_killed() {
        if Installed::mark().exists() {
            drop(Installed);
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let purged = dpkg_when_it_is_free(&["--purge", "qev"]);
        if purged.status.success() {
            let _ = fs::remove_file(Installed::mark());
        }
    }
}

fn dpkg(arguments: &[&str]) {
    let output = dpkg_when_it_is_free(arguments);
    assert!(output.status.success(), "dpkg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs dpkg, which does not wait by itself while another one is at work.
fn dpkg_when_it_is_free(arguments: &[&str]) -> Output {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = Command::new("dpkg").args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap();
        let is_taken = String::from_utf8_lossy(&output.stderr).contains("locked by another process");
        if !is_taken || Instant::now() >= deadline {
            return output;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The daemon, started as its unit says; the manager is played by the test.
struct Daemon(Running);

impl Daemon {
    fn start(unit: &str, scratch: &Scratch) -> Daemon {
        let unit = fs::read_to_string(unit).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a line ExecStart=");
        let mut words = line.split_whitespace();
        let notify = scratch.socket("notify").unwrap();
        let manager = UnixDatagram::bind(&notify).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = bound_to_us(Path::new(words.next().unwrap())).unwrap();
        command.args(words).env("NOTIFY_SOCKET", &notify).stderr(Stdio::piped());
        let mut daemon = Running::start(command, "qev serve").unwrap();
        let told = BufReader::new(daemon.child().stderr.take().unwrap());
        thread::spawn(move || told.lines().for_each(|line| eprintln!("{}", line.unwrap_or_default())));
        let mut words = [0; 4096];
        loop {
            let length = manager.recv(&mut words).expect("the daemon says that it is ready");
            if words.get(..length) == Some(b"READY=1") {
                return Daemon(daemon);
            }
        }
    }

    fn stop(mut self) {
        output_of(Command::new("kill").arg(self.0.id().to_string())).unwrap();
        assert!(self.0.wait(PATIENCE).unwrap().success());
    }
}

fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
