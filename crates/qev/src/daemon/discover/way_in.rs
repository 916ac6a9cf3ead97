//! Why a QEMU is not attached, and the one line that would attach it.
//!
//! A monitor that is free and nobody's own is connected to as it is. libvirt tells of its machines without being touched.
//! Every other QEMU needs an argument more, which it gets from its manager, when it is next started.

use super::{Found, Hold, Ours, Report};
use crate::cli::attach_args::{self, Manager as Setting, Qemu};
use crate::config::quoted;
use crate::daemon::managers::Manager;
use qev_link::Target;
use qev_qmp::QemuVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many programs are asked for their version.
const ASKED: usize = 8;

/// What each of these programs is, as far as they may be asked. Of others the oldest way to connect again is printed.
///
/// A program is run to be asked. So it is asked only when nobody but root and ourselves could have put it there: anybody
/// can call a program of theirs `qemu-system-x86_64`.
pub(super) async fn versions(programs: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, QemuVersion> {
    let mut versions = BTreeMap::new();
    for program in programs.into_iter().filter(|program| is_trusted(program)).take(ASKED) {
        if let Ok(qemu) = Qemu::ask(&program).await {
            versions.insert(program, qemu.version);
        }
    }
    versions
}

fn is_trusted(program: &Path) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    let may_be_changed_by_others = |file: std::fs::Metadata| {
        (file.uid() != 0 && file.uid() != ours) || file.mode() & 0o022 != 0 && file.mode() & 0o1000 == 0
    };
    program.ancestors().all(|path| std::fs::metadata(path).is_ok_and(|file| !may_be_changed_by_others(file)))
}

/// How it stands with one QEMU.
pub(super) fn judge(
    qemu: Found,
    held: Vec<(Target, Hold)>,
    ours: &Ours,
    versions: &BTreeMap<PathBuf, QemuVersion>,
) -> Report {
    let dials = qemu.line.monitors.iter().filter_map(super::Monitor::dials_for_programs);
    let dials_us = dials.map(Path::to_owned).find(|path| ours.attach.contains(path));
    let free = held.iter().find(|(target, hold)| match target {
        Target::Unix(path) => *hold == Hold::Free && super::managers::owner_of(path).is_none(),
        Target::Tcp { .. } => qemu.manager.is_none(),
        _ => *hold == Hold::Free && qemu.manager.is_none(),
    });
    let (is_attached, why, attach) = if ours.attached.contains(&qemu.pid) {
        (true, "attached".to_owned(), None)
    } else if let Some(path) = dials_us {
        (true, format!("dials {} by itself", path.display()), None)
    } else if let Some((target, hold)) = free {
        let line = match target {
            Target::Unix(path) if !ours.has_daemon => {
                format!("qev serve --dial {}", attach_args::word(&path.display().to_string()))
            }
            Target::Unix(path) => {
                format!("dial = [{}] in qev's configuration", quoted(&path.to_string_lossy()))
            }
            // Only a machine with a name may be elsewhere.
            target => {
                let (name, monitor) = (quoted(&qemu.name()), quoted(&target.to_string()));
                format!("machine = [{{ name = {name}, monitor = {monitor} }}] in qev's configuration")
            }
        };
        let why = match hold {
            Hold::Free => format!("its monitor {target} is free, and not dialled"),
            _ => format!("its monitor {target} is not dialled"),
        };
        (false, why, Some(line))
    } else {
        (false, why_not(&qemu, &held), line(&qemu, ours, versions))
    };
    Report { qemu, held, is_attached, why, attach }
}

fn why_not(qemu: &Found, held: &[(Target, Hold)]) -> String {
    let by_manager = qemu.manager.map(|manager| format!("{manager} manages it"));
    let monitor = held.first().map(|(path, hold)| {
        match (hold, qemu.manager) {
            (Hold::Held(Some(holder)), _) => format!("its monitor {path} is held by {holder}"),
            (Hold::Held(None), _) => format!("its monitor {path} is held by another client"),
            (Hold::Free, Some(manager)) => format!("its monitor {path} is for {manager}"),
            (Hold::Free, None) => format!("its monitor {path} is a manager's"),
            (Hold::NobodyListens, _) => format!("nobody listens at its monitor {path}"),
            (Hold::Unknown, _) => format!("its monitor is {path}"),
            (Hold::Removed, Some(_)) => format!("nobody listens at its monitor {path}"),
            (Hold::Removed, None) => {
                format!("the socket of its monitor {path} was removed: nobody can connect to it until it is started again")
            }
            (Hold::NotAllowed(owner), _) => {
                let owner = owner.map_or_else(|| "another user".to_owned(), |uid| format!("user {uid}"));
                format!("its monitor {path} is for {owner}, and we may not connect to it: ask as that user or as root")
            }
            (Hold::Relative, _) => {
                let pid = qemu.pid;
                format!(
                    "its monitor {path} is in a folder of process {pid} that only user {} and root can see: ask as one of them",
                    qemu.uid
                )
            }
        }
    });
    let none = if qemu.line.monitors.iter().any(|monitor| monitor.is_qmp) {
        "its monitor is not at a path that qev could connect to"
    } else {
        "it has no monitor for programs (QMP)"
    };
    let why = monitor.unwrap_or_else(|| none.to_owned());
    match by_manager {
        Some(by_manager) => format!("{by_manager}, and {why}"),
        None => why,
    }
}

/// What to do to attach it, with the next start at the latest.
fn line(qemu: &Found, ours: &Ours, versions: &BTreeMap<PathBuf, QemuVersion>) -> Option<String> {
    let attach = ours.attach.first()?.to_str()?;
    let version = qemu.program.as_ref().and_then(|program| versions.get(program)).copied();
    let arguments = Qemu { version: version.unwrap_or(QemuVersion::new(0, 0, 0)) }.arguments(attach);
    let setting = match qemu.manager {
        Some(Manager::Libvirt) => {
            // A user's own domains are another libvirt's.
            let uri = if qemu.of_user { "qemu:///session" } else { "qemu:///system" };
            return Some(format!("libvirt = [\"{uri}\"] in qev's configuration"));
        }
        Some(Manager::Proxmox) => Setting::Proxmox(qemu.vmid?),
        Some(Manager::Ganeti) => Setting::Ganeti,
        Some(Manager::Incus) => Setting::Incus,
        Some(Manager::Quickemu) => {
            let words = Setting::None.setting(&arguments).ok()?;
            return Some(format!("extra_args=\"{words}\" in the machine's .conf"));
        }
        None => Setting::None,
    };
    // The name of the instance is known.
    let line = setting.setting(&arguments).ok()?;
    Some(match &qemu.line.name {
        Some(name) if setting != Setting::None => line.replace("INSTANCE", &attach_args::word(name)),
        _ => line,
    })
}
