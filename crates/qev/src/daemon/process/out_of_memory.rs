//! Whether the kernel's OOM killer ended a process. The status does not say it: SIGKILL is SIGKILL, whoever sent it.
//!
//! | evidence | who may read it | how certain |
//! |---|---|---|
//! | the counter `oom_kill` of the process's control group (cgroup v2: `memory.events`, v1: `memory.oom_control`) | everybody | it counts kills of this group, for whatever lack of memory; another process of the same group may be meant |
//! | the kernel's log, `/dev/kmsg` ([`kernel_log`]) | root, and with `CAP_SYSLOG` where `kernel.dmesg_restrict` is set | it names the process |
//!
//! Either is enough. A machine has a control group of its own wherever something manages it (libvirt, systemd, Proxmox), so the
//! counter alone is right there, and needs no privilege.

use super::kernel_log;
use std::path::{Path, PathBuf};

/// How far above the process's group the counter may be. libvirt puts threads into groups below that of the machine, which
/// have no counters.
const LEVELS: usize = 3;

/// The counter of one control group, as it was read last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OomWatch {
    group: Option<Group>,
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    file: PathBuf,
    kills: u64,
}

impl OomWatch {
    /// Reads the counter of the group that the process is in.
    pub(super) fn of(pid: u32) -> OomWatch {
        kernel_log::start();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let group =
            candidates(&groups, &mounts).into_iter().find_map(|file| kills(&file).map(|kills| Group { file, kills }));
        OomWatch { group }
    }

    /// Reads the counter again: kills up to now were of other processes.
    pub(super) fn refresh(&mut self) {
        if let Some(group) = &mut self.group {
            group.kills = kills(&group.file).unwrap_or(group.kills);
        }
    }

    /// Returns whether the OOM killer is known to have killed a process that SIGKILL ended. To be called at once: an empty
    /// control group is removed soon.
    pub(super) fn has_killed(&self, pid: u32) -> bool {
        let counted = self.group.as_ref().is_some_and(|group| kills(&group.file) > Some(group.kills));
        counted || kernel_log::has_killed(pid)
    }
}

/// The files that may have the counter, the nearest first. `groups` is `/proc/PID/cgroup`, `mounts` is `/proc/self/mounts`.
fn candidates(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let group_of = |is: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            is(number, controllers).then_some(path)
        })
    };
    let mount_of = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            let [_, folder, found, options, ..] = parts.as_slice() else { return None };
            let has_option = option.is_none_or(|option| options.split(',').any(|one| one == option));
            (*found == kind && has_option).then(|| PathBuf::from(folder))
        })
    };
    // Where both versions are in use, the controller is attached to one of them.
    let v1 = group_of(&|_, controllers| controllers.split(',').any(|one| one == "memory"));
    let (path, mount, name) = match v1 {
        Some(path) => (Some(path), mount_of("cgroup", Some("memory")), "memory.oom_control"),
        None => (group_of(&|number, _| number == "0"), mount_of("cgroup2", None), "memory.events"),
    };
    let (Some(path), Some(mount)) = (path, mount) else { return Vec::new() };
    // A group outside of our namespace begins with "..": it cannot be seen.
    if path.split('/').any(|part| part == "..") {
        return Vec::new();
    }
    let folder = mount.join(path.trim_start_matches('/'));
    let above = folder.ancestors().take_while(|above| above.starts_with(&mount)).take(LEVELS);
    above.map(|above| above.join(name)).collect()
}

/// The counter `oom_kill` in this file.
fn kills(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const V2: &str = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";

    fn check(groups: &str, mounts: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(candidates(groups, mounts), expected, "{groups}");
    }

    #[test]
    fn the_counter_is_in_the_group_of_the_process_or_a_little_above() {
        check(
            "0::/machine.slice/web1.scope/libvirt/emulator\n",
            V2,
            &[
                "/sys/fs/cgroup/machine.slice/web1.scope/libvirt/emulator/memory.events",
                "/sys/fs/cgroup/machine.slice/web1.scope/libvirt/memory.events",
                "/sys/fs/cgroup/machine.slice/web1.scope/memory.events",
            ],
        );
        check("0::/\n", V2, &["/sys/fs/cgroup/memory.events"]);
        let both = "4:cpu,memory:/vm\n1:name=systemd:/\n0::/\n";
        check(both, V1, &["/sys/fs/cgroup/memory/vm/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"]);
    }

    #[test]
    fn a_group_that_cannot_be_seen_has_no_counter() {
        check("0::/../other\n", V2, &[]);
        check("", V2, &[]);
        check("0::/vm\n", "", &[]);
        check("odd\n", V1, &[]);
    }

    #[test]
    fn counts_the_kills_of_either_version() {
        let folder = std::env::temp_dir().join(format!("qev-oom-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("counters");
        let check = |text: &str, expected: Option<u64>| {
            std::fs::write(&file, text).unwrap();
            assert_eq!(kills(&file), expected, "{text}");
        };
        check("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n", Some(3));
        check("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", Some(1));
        check("", None);
        std::fs::write(&file, "oom_kill 1\n").unwrap();
        let mut watch = OomWatch { group: Some(Group { file: file.clone(), kills: 0 }) };
        let no_process = u32::MAX;
        assert!(watch.has_killed(no_process));
        watch.refresh();
        assert!(!watch.has_killed(no_process), "that was another process");
        std::fs::remove_dir_all(&folder).unwrap();
        watch.refresh();
        assert!(!watch.has_killed(no_process), "the group is gone");
    }
}
