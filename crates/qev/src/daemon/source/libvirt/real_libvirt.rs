//! libvirt's source with a real libvirtd, of a user who is nobody, with everything of it in a folder of the test's.
//!
//! Its domain has no guest: what happens to it, virsh does.

use super::tests::Lab;
use super::*;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const NOBODY: u32 = 65534;
const NAME: &str = "lv's 1";
const UUID: &str = "f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79";

const DOMAIN: &str = r#"
<domain type='qemu'>
  <name>lv's 1</name>
  <uuid>f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <panic model='isa'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"#;

/// What the tests need of the system.
fn is_here(path: &str, package: &str) {
    assert!(Path::new(path).is_file(), "{path} is not here; install it: apt-get install {package}");
}

/// A libvirtd that was started, and is ended when this goes.
struct Libvirtd {
    child: Child,
    folder: PathBuf,
}

impl Libvirtd {
    fn start() -> Libvirtd {
        is_here("/usr/sbin/libvirtd", "libvirt-daemon");
        is_here("/usr/bin/virsh", "libvirt-clients");
        is_here("/usr/bin/qemu-system-x86_64", "qemu-system-x86 libvirt-daemon-driver-qemu");
        let folder = std::env::temp_dir().join(format!("qev-lv-{}", std::process::id()));
        for below in ["run", "config/libvirt", "cache", "data"] {
            fs::create_dir_all(folder.join(below)).unwrap();
        }
        fs::write(folder.join("config/libvirt/qemu.conf"), "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n")
            .unwrap();
        fs::write(folder.join("domain.xml"), DOMAIN).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let mut command = match is_root {
            // As root it would use the host's own folders.
            true => {
                for below in ["", "run", "config", "config/libvirt", "cache", "data"] {
                    chown(folder.join(below), Some(NOBODY), Some(NOBODY)).unwrap();
                }
                let mut command = Command::new("setpriv");
                command.args([
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                    "--pdeathsig=TERM",
                    "--",
                    "libvirtd",
                ]);
                command
            }
            false => Command::new("/usr/sbin/libvirtd"),
        };
        command.env("HOME", &folder).env("XDG_RUNTIME_DIR", folder.join("run"));
        for (name, below) in [("CONFIG", "config"), ("CACHE", "cache"), ("DATA", "data")] {
            command.env(format!("XDG_{name}_HOME"), folder.join(below));
        }
        let log = fs::File::create(folder.join("libvirtd.log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let libvirtd = Libvirtd { child, folder };
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !libvirtd.virsh(&["list"]).status.success() {
            let log = fs::read_to_string(libvirtd.folder.join("libvirtd.log")).unwrap();
            assert!(std::time::Instant::now() < deadline, "libvirtd is not up: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        libvirtd
    }

    fn uri(&self) -> String {
        format!("qemu:///session?socket={}", self.folder.join("run/libvirt/libvirt-sock").display())
    }

    fn virsh(&self, arguments: &[&str]) -> Output {
        Command::new("virsh").args(["-c", &self.uri()]).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn tell(&self, arguments: &[&str]) {
        let output = self.virsh(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Kills the domain's process, if it has one.
    fn kill_domain(&self) {
        let Ok(files) = fs::read_dir(self.folder.join("run/libvirt/qemu/run")) else { return };
        for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("lv")) {
            if file.path().extension().is_some_and(|ending| ending == "pid") {
                let process = fs::read_to_string(file.path()).unwrap();
                let _ = Command::new("kill").args(["-KILL", process.trim()]).status();
            }
        }
    }

    fn end(&mut self) {
        // Not twice: its id may be another's by then.
        if self.child.try_wait().unwrap().is_none() {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        self.kill_domain();
        self.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
#[ignore = "needs a real libvirt: run by cargo xtask test"]
async fn what_happens_to_a_domain_of_a_real_libvirt_is_recorded() {
    let mut libvirtd = Libvirtd::start();
    let domain = libvirtd.folder.join("domain.xml").display().to_string();
    let lab = Lab::follow(
        std::env::temp_dir().join(format!("qev-lv-state-{}", std::process::id())),
        "virsh",
        &libvirtd.uri(),
    );
    libvirtd.tell(&["create", &domain]);
    let mut at = lab.heard(0, "attached attached: libvirt qemu:///session").await;
    for (command, event) in [("suspend", "STOP"), ("resume", "RESUME"), ("reset", "RESET")] {
        libvirtd.tell(&[command, NAME]);
        at = lab.heard(at, event).await;
    }
    let status = &lab.daemon.roster.snapshot()[0];
    assert_eq!((&*status.machine, status.machine_id.as_deref()), (NAME, Some(UUID)));

    // What is destroyed is told to end.
    libvirtd.tell(&["destroy", NAME]);
    at = lab.heard(at, "SHUTDOWN").await;
    at = lab.heard(at, "detached: the machine shut down (host-signal)").await;

    // What is killed is not.
    libvirtd.tell(&["create", &domain]);
    at = lab.heard(at, "attached").await;
    libvirtd.kill_domain();
    at = lab.heard(at, "detached: it does not run any more, without a shutdown").await;

    // A libvirtd that is gone is waited for.
    libvirtd.tell(&["create", &domain]);
    at = lab.heard(at, "attached").await;
    libvirtd.end();
    lab.heard(at, "detached: virsh says: Disconnected from").await;
    lab.stop().await;
}
