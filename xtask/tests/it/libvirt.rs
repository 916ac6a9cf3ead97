//! `qev serve` beside a real libvirtd: what happens to its domains is in the journal, and nothing of it was touched.

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::five_events::{DIMM, FIVE};
use xtask::lab::guest::{Hands, QUIETLY};
use xtask::lab::initramfs::Initramfs;
use xtask::lab::kernel::Kernel;
use xtask::lab::libvirt::Libvirtd;
use xtask::lab::monitor::Monitor;
use xtask::lab::quorum::QuorumFiles;
use xtask::lab::scratch::Scratch;

use crate::daemon::{Daemon, text};

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// A name that a shell, a file name and XML take apart when it is not quoted.
const NAME: &str = "lv's 1";
const UUID: &str = "f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79";

/// A domain, with these devices and arguments of QEMU's beside what every domain has.
fn domain(boot: &str, devices: &str, arguments: &[String]) -> String {
    let quoted = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let arguments: String =
        arguments.iter().map(|argument| format!("<qemu:arg value=\"{}\"/>\n", quoted(argument))).collect();
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
           <name>{NAME}</name><uuid>{UUID}</uuid>
           <memory unit='MiB'>256</memory><vcpu>1</vcpu>
           <os><type arch='x86_64' machine='q35'>hvm</type>{boot}</os>
           <features><acpi/></features>
           <on_crash>preserve</on_crash>
           <devices>
             <emulator>/usr/bin/qemu-system-x86_64</emulator>
             <panic model='isa'/><memballoon model='virtio'/>{devices}
           </devices>
           <qemu:commandline>{arguments}</qemu:commandline>
         </domain>"
    )
}

/// How long until it is looked again whether the daemon hears the domain.
const EARSHOT: Duration = Duration::from_secs(5);

/// Stops the domain and lets it go on until the daemon has heard of it; the number of what it heard.
///
/// The daemon's `virsh` begins to listen at some time and says nothing of when: what happens before is not heard.
fn heard_at_all(daemon: &Daemon, libvirtd: &Libvirtd) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for command in ["suspend", "resume"] {
            libvirtd.tell(&[command, NAME]).unwrap();
        }
        let enough = Instant::now() + EARSHOT;
        while Instant::now() < enough {
            let stopped = |record: &&Value| record["event"] == "STOP";
            if let Some(seq) = daemon.log().iter().rfind(stopped).and_then(|record| record["seq"].as_u64()) {
                return seq;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(Instant::now() < deadline, "virsh does not listen: {:#?}", daemon.log());
    }
}

/// A daemon that follows this libvirt.
fn following(scratch: &Scratch, libvirtd: &Libvirtd) -> Daemon {
    let config = scratch.file("config.toml");
    std::fs::write(&config, format!("libvirt = [\"{}\"]\n", libvirtd.uri())).unwrap();
    Daemon::start(scratch, &["--config", text(&config)])
}

/// The first record behind `seq` whose event, kind or sentence this is; and its number.
fn heard(daemon: &Daemon, seq: u64, what: &str) -> (Value, u64) {
    let is = |record: &Value| {
        let named = record["event"] == what || record["kind"] == what;
        let said = record["summary"].as_str().is_some_and(|summary| summary.starts_with(what));
        record["seq"].as_u64().is_some_and(|at| at > seq) && (named || said)
    };
    let record = daemon.until(&format!("{what} behind {seq}"), is);
    assert_eq!(record["via"], "libvirt", "{record}");
    assert_eq!(record["machine"], NAME, "{record}");
    let seq = record["seq"].as_u64().unwrap();
    (record, seq)
}

#[test]
#[ignore = "needs a real libvirt: run by cargo xtask test"]
fn what_happens_to_a_domain_is_recorded() {
    let (state, lab) = (Scratch::new().unwrap(), Scratch::new().unwrap());
    let mut libvirtd = Libvirtd::start(&lab).unwrap();
    let xml = libvirtd.file("domain.xml");
    std::fs::write(&xml, domain("", "", &[])).unwrap();
    let daemon = following(&state, &libvirtd);

    libvirtd.tell(&["create", text(&xml)]).unwrap();
    let (attached, _) = heard(&daemon, 0, "attached");
    assert_eq!(attached["machine_id"], UUID);
    let mut at = heard_at_all(&daemon, &libvirtd);
    for (command, event) in [("suspend", "STOP"), ("resume", "RESUME"), ("reset", "RESET")] {
        libvirtd.tell(&[command, NAME]).unwrap();
        (_, at) = heard(&daemon, at, event);
    }

    // What is destroyed is told to end.
    libvirtd.tell(&["destroy", NAME]).unwrap();
    (_, at) = heard(&daemon, at, "SHUTDOWN");
    (_, at) = heard(&daemon, at, "detached: the machine shut down (host-signal)");

    // What is killed is not.
    libvirtd.tell(&["create", text(&xml)]).unwrap();
    (_, at) = heard(&daemon, at, "attached");
    assert_eq!(libvirtd.kill_domains().unwrap(), 1);
    (_, at) = heard(&daemon, at, "detached: it does not run any more, without a shutdown");

    // A libvirtd that is gone is waited for.
    libvirtd.tell(&["create", text(&xml)]).unwrap();
    (_, at) = heard(&daemon, at, "attached");
    libvirtd.end().unwrap();
    heard(&daemon, at, "detached: virsh says: Disconnected from");
}

#[test]
#[ignore = "needs a real libvirt: run by cargo xtask test"]
fn all_five_events_of_a_guest_of_libvirts_are_in_the_log() {
    let say = |line: &str| eprintln!("{line}");
    let kernel = Kernel::obtain(&say).unwrap();
    let (state, lab) = (Scratch::new().unwrap(), Scratch::new().unwrap());
    let libvirtd = Libvirtd::start(&lab).unwrap();
    let (image, initramfs) = (libvirtd.file("linux"), libvirtd.file("initramfs"));
    std::fs::copy(kernel.image(), &image).unwrap();
    Initramfs::with_drivers(&kernel).unwrap().write(&initramfs).unwrap();
    for file in [&image, &initramfs] {
        libvirtd.give(file).unwrap();
    }
    let files = QuorumFiles::create(lab.path()).unwrap();
    for file in files.paths() {
        libvirtd.give(file).unwrap();
    }
    // The lab's own hands: a monitor and a console that QEMU dials.
    let sockets = ["control", "serial"].map(|name| lab.socket(name).unwrap());
    let listeners = sockets.each_ref().map(|path| UnixListener::bind(path).unwrap());
    for path in &sockets {
        libvirtd.give(path).unwrap();
    }
    let words = format!("{QUIETLY} panic=-1 memhp_default_state=online_movable");
    let boot = format!(
        "<kernel>{}</kernel><initrd>{}</initrd><cmdline>{words}</cmdline>",
        image.display(),
        initramfs.display()
    );
    let console = format!(
        "<serial type='unix'><source mode='connect' path='{}'/><target port='0'/></serial>",
        sockets[1].display()
    );
    let control = format!("socket,id=lab,path={},server=off", sockets[0].display());
    let mut arguments: Vec<String> =
        ["-m", "slots=3,maxmem=1G", "-chardev", &control, "-mon", "chardev=lab,mode=control"].map(str::to_owned).into();
    for node in files.blockdevs() {
        arguments.extend(["-blockdev".to_owned(), node]);
    }
    let xml = libvirtd.file("domain.xml");
    std::fs::write(&xml, domain(&boot, &console, &arguments)).unwrap();
    let daemon = following(&state, &libvirtd);

    // libvirt says that it is there when it has everything; its QEMU dials before.
    std::thread::scope(|scope| {
        let created = scope.spawn(|| libvirtd.tell(&["create", text(&xml)]));
        let [control, serial] = listeners.map(|listener| accept(&listener));
        created.join().unwrap().unwrap();
        let control = Monitor::negotiate(control).unwrap();
        heard_at_all(&daemon, &libvirtd);
        work(&daemon, &mut Hands::take(control, serial).unwrap());
    });
}

/// All five, each for its reason, are in the log, in this order.
fn work(daemon: &Daemon, hands: &mut Hands) {
    let (_, mut at) = heard(daemon, 0, "attached");
    for provocation in FIVE {
        (provocation.provoke)(hands).unwrap();
        let record;
        (record, at) = heard(daemon, at, provocation.event);
        assert_eq!(record["kind"], "event");
    }
    // libvirt stops it, and keeps it as it is.
    let (panicked, _) = heard(daemon, 0, "GUEST_PANICKED");
    assert_eq!((&panicked["severity"], &panicked["data"]["action"]), (&"critical".into(), &"pause".into()));
    let plugged = daemon.log().into_iter().find(|record| record["data"]["info"]["device"] == DIMM);
    assert_eq!(plugged.unwrap()["data"]["info"]["slot-type"], "DIMM");
}

fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
        assert!(Instant::now() < deadline, "libvirt's QEMU did not dial");
        std::thread::sleep(Duration::from_millis(10));
    }
}
