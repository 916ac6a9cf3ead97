//! The processes that a program of ours has started, and those that they have: what has to end when it is to be ended on a
//! terminal. There it is in our process group, which may hold others as well, such as the shell script that we are part of;
//! so the group is no help.
//!
//! A process that began a session of its own, as a service does, is not among them.

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Keeps processes whose parent has ended among ours: the kernel gives them to us instead of to the first process.
pub(super) fn keep() -> io::Result<()> {
    // The number counts for nothing, but that it is one.
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// All of them that run. Those that have ended and were given to us are put away, but for `child`, which is waited for.
pub(super) fn all(child: Option<Pid>) -> Vec<Pid> {
    let us = getpid().as_raw_nonzero().get();
    let all = processes();
    let Some(session) = all.iter().find(|process| process.pid == us).map(|process| process.session) else {
        return Vec::new();
    };
    for process in all.iter().filter(|process| process.has_ended && process.parent == us) {
        let pid = Pid::from_raw(process.pid).filter(|pid| Some(*pid) != child);
        // It fails only when it is gone.
        let _ = pid.map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
    }
    let descendants = descendants(us, &all);
    let running = all.iter().filter(|process| !process.has_ended && process.session == session);
    running
        .filter(|process| descendants.contains(&process.pid))
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// A process, by `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    has_ended: bool,
}

fn processes() -> Vec<Process> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stat = |folder: std::fs::DirEntry| {
        folder.file_name().to_str()?.parse::<u32>().ok()?;
        parse(&std::fs::read_to_string(folder.path().join("stat")).ok()?)
    };
    folders.filter_map(stat).collect()
}

/// `4711 (sh) S 4710 4711 4711 …`, where a program's name may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { pid, parent, session, has_ended })
}

/// The children of a process, and theirs.
fn descendants(of: i32, all: &[Process]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![of]);
    while let Some(parent) = next.pop() {
        // A number that is there twice was given anew while it was looked.
        next.extend(children.get(&parent).into_iter().flatten().filter(|child| found.insert(**child)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_as_the_kernel_writes_it() {
        let process = Process { pid: 4711, parent: 4710, session: 4700, has_ended: false };
        assert_eq!(parse("4711 (sh) S 4710 4711 4700 34816 4711 4194304 1"), Some(process));
        let odd = "4711 (a) Z 1 2 3) S 4710 4711 4700 34816";
        assert_eq!(parse(odd), Some(process));
        assert_eq!(parse("4711 (sh) Z 4710 4711 4700 0"), Some(Process { has_ended: true, ..process }));
        assert_eq!(parse("4711 (sh"), None);
    }

    #[test]
    fn children_of_children_are_found_whatever_the_order() {
        let process = |pid, parent| Process { pid, parent, session: 1, has_ended: false };
        let all = [process(12, 11), process(11, 10), process(10, 1), process(20, 1), process(13, 13), process(14, 12)];
        assert_eq!(descendants(10, &all), [11, 12, 14].into_iter().collect());
        // Two that are each other's parents, as they may look when numbers are used again, end nothing.
        assert_eq!(descendants(30, &[process(31, 30), process(30, 31)]), [30, 31].into_iter().collect());
    }
}
