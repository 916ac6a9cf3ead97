//! Every QEMU on this host: who manages it, where its monitors are and who holds them, and what would attach it.
//!
//! ```text
//!   /proc/*/{cmdline,exe,cwd} ─► QEMUs, their monitors ─┐
//!   sock_diag, one dump        ─► who holds which        ├─► attached, or why not, and the line that would attach it
//!   the roster, if there is one ─► who is attached      ─┘
//! ```

pub(crate) mod command_line;
mod json;
mod way_in;

use super::managers::{self, Manager};
use command_line::{At, CommandLine, Monitor};
use qev_link::{Holder, Sockets, Standing, Target};
use qev_record::plain;
use rustix::fs::{Access, access};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much of a command line is read, in bytes. QEMU's are long, and not that long.
const LONGEST: usize = 1 << 20;

/// A QEMU that runs on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// The program, when it can be seen and is still there.
    pub(crate) program: Option<PathBuf>,
    pub(crate) line: CommandLine,
    /// Who manages it; `None` when that is nobody who is known.
    pub(crate) manager: Option<Manager>,
    /// The manager's own number of it: Proxmox's VMID.
    pub(crate) vmid: Option<u32>,
    /// Whether its manager is a user's own, and not the host's.
    pub(crate) of_user: bool,
}

/// How it stands with a QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) qemu: Found,
    /// The monitors for programs that listen, and who uses each.
    pub(crate) held: Vec<(Target, Hold)>,
    /// Whether it is attached, or on its way.
    pub(crate) is_attached: bool,
    /// How it is attached, or why it is not.
    pub(crate) why: String,
    /// The line that would attach it: a command, a setting, or arguments.
    pub(crate) attach: Option<String>,
}

/// Who has a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody.
    Free,
    /// A client is connected; which, when that can be seen.
    Held(Option<Holder>),
    /// Nobody listens there any more.
    NobodyListens,
    /// It cannot be known: a TCP port, or the kernel does not say.
    Unknown,
    /// Its socket's file was removed, or another one is at its path.
    Removed,
    /// We may not write to the socket, or not enter its folder; whose the socket is, when that can be seen.
    NotAllowed(Option<u32>),
    /// Its path is relative to the folder in which it runs, which we may not see.
    Relative,
}

/// What there is to be attached to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours {
    /// The processes that are attached.
    pub(crate) attached: BTreeSet<u32>,
    /// The sockets that QEMUs dial; the first is the one to be named.
    pub(crate) attach: Vec<PathBuf>,
    /// Whether a daemon runs: then its configuration is what is to be changed, and no second one is to be started.
    pub(crate) has_daemon: bool,
}

/// All QEMUs that `proc` (`/proc`) shows.
pub(crate) fn all(proc: &Path) -> Vec<Found> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Found> = pids.filter_map(|pid| one(proc, pid)).collect();
    found.sort_by(|one, other| (&one.line.name, one.pid).cmp(&(&other.line.name, other.pid)));
    found
}

fn one(proc: &Path, pid: u32) -> Option<Found> {
    let folder = proc.join(pid.to_string());
    let mut bytes = std::fs::read(folder.join("cmdline")).ok()?;
    bytes.truncate(LONGEST);
    let text = String::from_utf8_lossy(&bytes);
    let arguments: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let exe = std::fs::read_link(folder.join("exe")).ok();
    // Where an interpreter or a loader runs it, or the file was replaced, the name it was called by tells.
    if !exe.as_deref().is_some_and(is_qemu) && !arguments.first().is_some_and(|name| is_qemu(Path::new(name))) {
        return None;
    }
    let mut line = CommandLine::parse(arguments.iter().copied());
    if let Ok(cwd) = std::fs::read_link(folder.join("cwd")) {
        line = line.in_folder(&cwd);
    }
    let manager = managed(&arguments);
    let id = arguments.iter().skip_while(|argument| **argument != "-id").nth(1);
    let vmid = id.filter(|_| manager == Some(Manager::Proxmox)).and_then(|id| id.parse().ok());
    let of_user = paths(&arguments).any(|path| managers::by_path(path).is_some() && !managers::is_of_host(path));
    let uid = std::fs::metadata(&folder).map(|folder| folder.uid()).unwrap_or_default();
    Some(Found { pid, uid, program: exe.filter(|exe| exe.is_file()), line, manager, vmid, of_user })
}

/// Whether a program is a QEMU that runs machines, by its name.
fn is_qemu(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(" (deleted)").trim_start_matches('.').trim_end_matches("-wrapped");
    name.starts_with("qemu-system-") || matches!(name, "qemu-kvm" | "kvm")
}

/// Who manages the QEMU with this command line.
fn managed(arguments: &[&str]) -> Option<Manager> {
    let monitor_of_libvirt = || arguments.iter().any(|argument| argument.contains("id=charmonitor,"));
    paths(arguments).find_map(managers::by_path).or_else(|| monitor_of_libvirt().then_some(Manager::Libvirt))
}

/// Every path in a command line: of sockets, of pid files, of settings.
fn paths<'a>(arguments: &'a [&str]) -> impl Iterator<Item = &'a Path> {
    let parts = arguments.iter().flat_map(|argument| argument.split([',', '=', ':', '"']));
    parts.filter(|part| part.contains('/')).map(Path::new)
}

/// What is to be said of each.
pub(crate) async fn report(found: Vec<Found>, ours: &Ours) -> Vec<Report> {
    let sockets = Sockets::look().await.ok();
    let mut clients = Vec::new();
    let standings: Vec<Vec<_>> = found
        .iter()
        .map(|qemu| {
            let listening = qemu.line.monitors.iter().filter_map(Monitor::listens_for_programs);
            listening.map(|target| (target.clone(), standing(&target, sockets.as_ref()))).collect()
        })
        .collect();
    for (_, standing) in standings.iter().flatten() {
        clients.extend(standing.iter().flat_map(|standing| standing.clients.iter().copied()));
    }
    let holders = if clients.is_empty() { BTreeMap::new() } else { Sockets::holders(clients).await };
    let programs: BTreeSet<_> = found.iter().filter_map(|qemu| qemu.program.clone()).collect();
    let versions = way_in::versions(programs).await;
    let each = found.into_iter().zip(standings);
    each.map(|(qemu, standings)| {
        let held = standings.into_iter().map(|(target, standing)| {
            let hold = hold(&target, &standing, &holders);
            (target, hold)
        });
        let held = held.collect();
        way_in::judge(qemu, held, ours, &versions)
    })
    .collect()
}

/// How it stands with a monitor, as far as the kernel shows that.
fn standing(target: &Target, sockets: Option<&Sockets>) -> Option<Standing> {
    match target {
        Target::Unix(path) => sockets.map(|sockets| sockets.at(path)),
        Target::Abstract(name) => sockets.map(|sockets| sockets.at_abstract(name)),
        _ => None,
    }
}

fn hold(target: &Target, standing: &Option<Standing>, holders: &BTreeMap<u32, Holder>) -> Hold {
    if let Target::Unix(path) = target {
        if path.is_relative() {
            return Hold::Relative;
        }
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Hold::Removed,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Hold::NotAllowed(None),
            Ok(file) if access(path.as_path(), Access::WRITE_OK).is_err() => return Hold::NotAllowed(Some(file.uid())),
            _ => {}
        }
    }
    let Some(standing) = standing else { return Hold::Unknown };
    match standing.clients.first() {
        Some(_) => Hold::Held(standing.clients.iter().find_map(|client| holders.get(client)).cloned()),
        None if standing.is_free() => Hold::Free,
        None if standing.is_listening => Hold::Held(None),
        None => Hold::NobodyListens,
    }
}

impl Monitor {
    /// Where it listens, if it is a monitor for programs.
    fn listens_for_programs(&self) -> Option<Target> {
        match &self.at {
            At::Listens(path) if self.is_qmp => Some(Target::Unix(path.clone())),
            At::Address(target) if self.is_qmp => Some(target.clone()),
            _ => None,
        }
    }

    /// The path, if it is a monitor for programs that connects to one.
    fn dials_for_programs(&self) -> Option<&Path> {
        match &self.at {
            At::Dials(path) if self.is_qmp => Some(path),
            _ => None,
        }
    }
}

impl Report {
    /// Which one it is, and how it stands with it; what the QEMU or its user wrote is made safe to read.
    pub(crate) fn sentence(&self) -> String {
        let name = self.qemu.name();
        format!("{} (process {}): {}", plain::name(&name), self.qemu.pid, plain::phrase(&self.why))
    }
}

impl Found {
    /// What it is called, as far as its command line says.
    pub(crate) fn name(&self) -> String {
        self.line.name.clone().unwrap_or_else(|| format!("pid-{}", self.pid))
    }
}

#[cfg(test)]
mod tests;
