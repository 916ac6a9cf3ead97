//! A real libvirtd, of a user who is nobody, with everything of it in a folder of the lab's.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{self, Running};
use super::scratch::Scratch;
use crate::error::{Context, Error};
use crate::programs::{self, LIBVIRT_QEMU, LIBVIRTD, SETPRIV, VIRSH};

/// The user, and the group, that Debian calls `nobody`: a libvirtd of root's would use the host's own folders.
const NOBODY: u32 = 65534;

/// How long it may take to come up, and to leave.
const PATIENCE: Duration = Duration::from_secs(300);

/// A libvirtd, ended with its domains when this goes out of scope.
#[derive(Debug)]
pub struct Libvirtd {
    // Dropped in this order.
    running: Option<Running>,
    virsh: PathBuf,
    folder: PathBuf,
}

impl Libvirtd {
    /// Starts it in this folder, which then is its own, and waits until it answers.
    pub fn start(scratch: &Scratch) -> Result<Self, Error> {
        let (program, virsh) = (LIBVIRTD.path()?, VIRSH.path()?);
        LIBVIRT_QEMU.path()?;
        let folder = scratch.path().to_owned();
        let failed = || format!("cannot make libvirtd's folders in {}", folder.display());
        for below in ["run", "config/libvirt", "cache", "data"] {
            fs::create_dir_all(folder.join(below)).context(failed)?;
        }
        let settings = "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n";
        fs::write(folder.join("config/libvirt/qemu.conf"), settings).context(failed)?;
        let mut command = process::bound_to_us(&SETPRIV.path()?)?;
        if programs::is_root() {
            for below in ["", "run", "config", "config/libvirt", "cache", "data"] {
                chown(folder.join(below), Some(NOBODY), Some(NOBODY)).context(failed)?;
            }
            // Who changes to another user loses the signal that binds it to us: it is asked for again.
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"]);
        }
        command.arg("--").arg(program);
        command.env("HOME", &folder).env("XDG_RUNTIME_DIR", folder.join("run"));
        for (name, below) in [("CONFIG", "config"), ("CACHE", "cache"), ("DATA", "data")] {
            command.env(format!("XDG_{name}_HOME"), folder.join(below));
        }
        let log = folder.join("libvirtd.log");
        command.stdout(Stdio::null()).stderr(File::create(&log).context(failed)?);
        let running = Some(Running::start(command, LIBVIRTD.name)?);
        let libvirtd = Self { running, virsh, folder };
        let deadline = Instant::now() + PATIENCE;
        while !libvirtd.virsh(&["list"])?.status.success() {
            if Instant::now() >= deadline {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::new(format!("libvirtd is not up: {}", log.trim())));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(libvirtd)
    }

    /// Its URI.
    pub fn uri(&self) -> String {
        format!("qemu:///session?socket={}", self.folder.join("run/libvirt/libvirt-sock").display())
    }

    /// A path in its folder, where its QEMUs may read and write.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives it what lies at this path: its QEMUs are to use it.
    pub fn give(&self, path: &Path) -> Result<(), Error> {
        if programs::is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).context(|| format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }

    /// Asks it something that must work.
    pub fn tell(&self, arguments: &[&str]) -> Result<(), Error> {
        let output = self.virsh(arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("virsh {}: {}", arguments.join(" "), complaint.trim())))
    }

    /// Kills the processes of its domains, behind libvirt's back. How many there were.
    pub fn kill_domains(&self) -> Result<usize, Error> {
        let folder = self.folder.join("run/libvirt/qemu/run");
        let files = fs::read_dir(&folder).context(|| format!("cannot read {}", folder.display()))?;
        let mut killed = 0;
        for file in files.flatten().map(|file| file.path()) {
            // It calls them after the domains, with other characters where it likes.
            // The driver's own is libvirtd.
            let is_domain = !file.ends_with("driver.pid");
            if is_domain && file.extension().is_some_and(|ending| ending == "pid") {
                let process = fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?;
                programs::output_of(Command::new("kill").args(["-KILL", process.trim()]))?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Ends it; its domains go on.
    pub fn end(&mut self) -> Result<(), Error> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        programs::output_of(Command::new("kill").arg(running.id().to_string()))?;
        running.wait(PATIENCE).map(|_| ())
    }

    fn virsh(&self, arguments: &[&str]) -> Result<Output, Error> {
        let mut command = Command::new(&self.virsh);
        command.args(["-c", &self.uri()]).args(arguments).stdin(Stdio::null());
        command.output().context(|| "cannot run virsh".to_owned())
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        // One that has ended needs no end, and without a folder there are none.
        let _ = self.kill_domains();
        let _ = self.end();
    }
}
