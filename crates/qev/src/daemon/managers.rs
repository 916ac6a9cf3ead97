//! Programs that manage QEMUs, and the monitors that they own: those are theirs to connect to.

use std::path::Path;

/// Who manages a QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manager {
    Proxmox,
    Libvirt,
    Ganeti,
    Incus,
    Quickemu,
}

impl Manager {
    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Manager::Proxmox => "Proxmox VE",
            Manager::Libvirt => "libvirt",
            Manager::Ganeti => "Ganeti",
            Manager::Incus => "Incus",
            Manager::Quickemu => "quickemu",
        }
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Folders of sockets that are a manager's own; `/var/run` is `/run` nearly everywhere.
const FOLDERS: [(&str, Manager); 11] = [
    ("/run/qemu-server", Manager::Proxmox),
    ("/var/run/qemu-server", Manager::Proxmox),
    ("/var/lib/libvirt", Manager::Libvirt),
    ("/run/libvirt", Manager::Libvirt),
    ("/var/run/libvirt", Manager::Libvirt),
    ("/run/ganeti", Manager::Ganeti),
    ("/var/run/ganeti", Manager::Ganeti),
    ("/run/incus", Manager::Incus),
    ("/var/run/incus", Manager::Incus),
    ("/var/lib/incus", Manager::Incus),
    ("/var/log/incus", Manager::Incus),
];

/// Whose monitor a socket is, by its path.
pub(crate) fn owner_of(path: &Path) -> Option<Manager> {
    let real = std::fs::canonicalize(path).ok();
    [Some(path), real.as_deref()].into_iter().flatten().find_map(by_path)
}

/// The same, for a path that is no link.
pub(crate) fn by_path(path: &Path) -> Option<Manager> {
    if let Some((_, manager)) = FOLDERS.iter().find(|(folder, _)| path.starts_with(folder)) {
        return Some(*manager);
    }
    let text = path.to_str().unwrap_or_default();
    // A user's own libvirt keeps them in ~/.config/libvirt/qemu/lib and below $XDG_RUNTIME_DIR.
    if text.contains("/libvirt/qemu/") {
        return Some(Manager::Libvirt);
    }
    text.ends_with("-monitor.socket").then_some(Manager::Quickemu)
}

/// Whether a path is one of the host's manager, and not of one that a user runs.
pub(crate) fn is_of_host(path: &Path) -> bool {
    FOLDERS.iter().any(|(folder, _)| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_that_managers_own_are_known_by_their_paths() {
        for (path, expected) in [
            ("/var/run/qemu-server/100.qmp", Some(Manager::Proxmox)),
            ("/run/qemu-server/100.qmp", Some(Manager::Proxmox)),
            ("/var/lib/libvirt/qemu/domain-1-web1/monitor.sock", Some(Manager::Libvirt)),
            ("/home/a/.config/libvirt/qemu/lib/domain-1-web1/monitor.sock", Some(Manager::Libvirt)),
            ("/var/run/ganeti/kvm-hypervisor/ctrl/web1.qmp", Some(Manager::Ganeti)),
            ("/run/incus/web1/qemu.monitor", Some(Manager::Incus)),
            ("/home/a/vm/debian-monitor.socket", Some(Manager::Quickemu)),
            ("/run/vm/web1.qmp", None),
            ("/run/qemu-servers/web1.qmp", None),
        ] {
            assert_eq!(owner_of(Path::new(path)), expected, "{path}");
        }
    }
}
