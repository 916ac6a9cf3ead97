//! QEMUs of a /proc that was made up, as each manager starts them.

use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that looks like `/proc`.
struct Proc(PathBuf);

impl Proc {
    fn new(test: &str) -> Proc {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qev-proc-{test}-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Proc(path)
    }

    fn add(&self, pid: u32, exe: &str, line: &str) {
        let folder = self.0.join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cmdline"), line.replace(' ', "\0") + "\0").unwrap();
        symlink(exe, folder.join("exe")).unwrap();
        symlink("/srv/vm", folder.join("cwd")).unwrap();
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Name, manager, why and line of the one QEMU that has this command line.
async fn check(line: &str, ours: &Ours, manager: Option<Manager>, why: &str, attach: Option<&str>) {
    let proc = Proc::new("one");
    proc.add(7, "/nowhere/qemu-system-x86_64", line);
    let reports = report(all(&proc.0), ours).await;
    assert_eq!(reports.len(), 1, "{line}");
    let report = &reports[0];
    assert_eq!((report.qemu.name().as_str(), report.qemu.manager), ("web1", manager), "{line}");
    assert_eq!((report.why.as_str(), report.attach.as_deref()), (why, attach), "{line}");
}

#[tokio::test]
async fn each_manager_has_a_line_of_its_own() {
    let ours = Ours { attach: vec!["/run/qev/attach.sock".into()], ..Ours::default() };
    let arguments = "-chardev socket,id=qev,path=/run/qev/attach.sock,reconnect=1 -mon chardev=qev,mode=control";
    check(&format!("{QEMU} -name web1"), &ours, None, "it has no monitor for programs (QMP)", Some(arguments)).await;
    check(
        "/usr/bin/kvm -id 100 -name web1,debug-threads=on -chardev socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off -mon chardev=qmp,mode=control",
        &ours,
        Some(Manager::Proxmox),
        "Proxmox VE manages it, and nobody listens at its monitor /var/run/qemu-server/100.qmp",
        Some(&format!("qm set 100 --args '{arguments}'")),
    )
    .await;
    let libvirt = "-name guest=web1,debug-threads=on -chardev socket,id=charmonitor,fd=22,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control";
    let why = "libvirt manages it, and its monitor is not at a path that qev could connect to";
    let of_host = "libvirt = [\"qemu:///system\"] in qev's configuration";
    check(&format!("{QEMU} {libvirt}"), &ours, Some(Manager::Libvirt), why, Some(of_host)).await;
    let of_user = "libvirt = [\"qemu:///session\"] in qev's configuration";
    let line = format!("{QEMU} {libvirt} -pidfile /home/a/.config/libvirt/qemu/lib/x.pid");
    check(&line, &ours, Some(Manager::Libvirt), why, Some(of_user)).await;
    check(
        &format!("{QEMU} -name web1 -qmp unix:/var/run/ganeti/kvm-hypervisor/ctrl/web1.qmp,server,nowait"),
        &ours,
        Some(Manager::Ganeti),
        "Ganeti manages it, and nobody listens at its monitor /var/run/ganeti/kvm-hypervisor/ctrl/web1.qmp",
        Some(&format!("gnt-instance modify -H 'kvm_extra={}' web1", arguments.replace(',', "\\,"))),
    )
    .await;
    check(
        &format!("{QEMU} -name web1 -readconfig /run/incus/web1/qemu.conf"),
        &ours,
        Some(Manager::Incus),
        "Incus manages it, and it has no monitor for programs (QMP)",
        Some(&format!("incus config set web1 raw.qemu='{arguments}'")),
    )
    .await;
    check(
        &format!("{QEMU} -name web1,process=web1 -monitor unix:web1/web1-monitor.socket,server,nowait"),
        &ours,
        Some(Manager::Quickemu),
        "quickemu manages it, and it has no monitor for programs (QMP)",
        Some(&format!("extra_args=\"{arguments}\" in the machine's .conf")),
    )
    .await;
}

#[tokio::test]
async fn one_that_dials_us_or_is_attached_needs_nothing() {
    let ours = Ours { attached: [8].into(), attach: vec!["/run/qev/attach.sock".into()], has_daemon: false };
    let dials = "-chardev socket,id=qev,path=/run/qev/attach.sock,reconnect=1 -mon chardev=qev,mode=control";
    let line = format!("{QEMU} -name web1 {dials}");
    check(&line, &ours, None, "dials /run/qev/attach.sock by itself", None).await;
    let ours = Ours { attached: [7].into(), ..ours };
    check(&line, &ours, None, "attached", None).await;
}

#[tokio::test]
async fn a_monitor_that_is_free_is_dialled_and_one_that_is_held_is_not() {
    let folder = Proc::new("held");
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("web1.qmp");
    let ours = Ours { attach: vec!["/run/qev/attach.sock".into()], ..Ours::default() };
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let line = format!("{QEMU} -name web1 -qmp unix:{},server=on,wait=off", path.display());
    let free = format!("its monitor {} is free, and not dialled", path.display());
    check(&line, &ours, None, &free, Some(&format!("qev serve --dial {}", path.display()))).await;
    let setting = format!("dial = [\"{}\"] in qev's configuration", path.display());
    check(&line, &Ours { has_daemon: true, ..ours.clone() }, None, &free, Some(&setting)).await;

    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let _accepted = listener.accept().unwrap();
    let proc = Proc::new("holder");
    proc.add(7, QEMU, &line);
    let reports = report(all(&proc.0), &ours).await;
    let held = format!("its monitor {} is held by process {}", path.display(), std::process::id());
    assert!(reports[0].why.starts_with(&held), "{}", reports[0].why);
    assert!(matches!(&reports[0].held[..], [(_, Hold::Held(Some(holder)))] if holder.pid == std::process::id()));
    assert!(reports[0].attach.as_deref().unwrap().starts_with("-chardev socket,id=qev,path="));
}

#[test]
fn what_is_no_qemu_is_passed_over_and_a_wrapped_one_is_not() {
    let proc = Proc::new("others");
    proc.add(1, "/usr/lib/systemd/systemd", "/sbin/init");
    proc.add(2, "/usr/bin/qemu-img", "qemu-img convert a b");
    proc.add(3, "/nix/store/x/bin/.qemu-system-x86_64-wrapped", "qemu -name a");
    proc.add(4, "/usr/bin/qemu-system-x86_64 (deleted)", "qemu-system-x86_64 -qmp unix:vm.sock,server=on");
    proc.add(5, "/usr/libexec/qemu-kvm", "qemu-kvm -name guest=c");
    proc.add(6, "/usr/bin/bash", "bash -c qemu-system-x86_64");
    std::fs::create_dir(proc.0.join("7")).unwrap();
    let found = all(&proc.0);
    let pids: Vec<u32> = found.iter().map(|qemu| qemu.pid).collect();
    assert_eq!(pids, [4, 3, 5]);
    assert_eq!(found[0].line.monitors[0].at, At::Listens("/srv/vm/vm.sock".into()));
    assert_eq!(found[0].name(), "pid-4");
    assert!(all(Path::new("/nonexistent")).is_empty());
}
