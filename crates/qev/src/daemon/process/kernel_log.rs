//! Which processes the OOM killer ended, from the kernel's log, where it may be read: `/dev/kmsg`.
//!
//! The unit that comes with qev does not allow it (`ProtectKernelLogs=yes`): the log has addresses of the kernel and what any
//! driver prints, and the control group's counter says the same wherever a machine has a group of its own. A drop-in with
//! `ProtectKernelLogs=no` and `CapabilityBoundingSet=CAP_SYSLOG` allows it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{LazyLock, Mutex, PoisonError};

/// How many killed processes are remembered: the OOM killer ends one at a time.
const REMEMBERED: usize = 256;

/// How many records are read at one time: more than the log's buffer has by default.
const RECORDS: usize = 1 << 15;

/// The longest record that the kernel gives out, in bytes.
const LONGEST: usize = 8 << 10;

/// There is one log, and one reader of it: it stands behind what was logged before the first machine was attached.
static LOG: LazyLock<Mutex<KernelLog>> = LazyLock::new(|| Mutex::new(KernelLog::open()));

#[derive(Debug)]
struct KernelLog {
    /// `None` where it may not be read.
    file: Option<File>,
    killed: VecDeque<u32>,
}

/// Begins to follow the log, if that was not done before.
pub(super) fn start() {
    LazyLock::force(&LOG);
}

/// Returns whether the log says that the OOM killer ended the process, since [`start`].
pub(super) fn has_killed(pid: u32) -> bool {
    // What is behind the lock is whole at every moment.
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    log.read();
    log.killed.contains(&pid)
}

impl KernelLog {
    fn open() -> KernelLog {
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let file = i32::try_from(flags)
            .ok()
            .and_then(|flags| File::options().read(true).custom_flags(flags).open("/dev/kmsg").ok())
            .filter(|file| rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).is_ok());
        KernelLog { file, killed: VecDeque::new() }
    }

    /// Reads what is new. One read gives one record.
    fn read(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut record = vec![0; LONGEST];
        for _ in 0..RECORDS {
            match file.read(&mut record) {
                Ok(0) => return,
                Ok(length) => {
                    if let Some(pid) = record.get(..length).and_then(killed) {
                        self.killed.push_back(pid);
                        let over = self.killed.len().saturating_sub(REMEMBERED);
                        self.killed.drain(..over);
                    }
                }
                // Records were overwritten before they were read: the next read goes on behind them.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(_) => return,
            }
        }
    }
}

/// The process that a record says was killed for lack of memory: `6,812,93742,-;Memory cgroup out of memory: Killed process
/// 4242 (qemu-system-x86) total-vm:…`.
fn killed(record: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(record.split(|byte| *byte == b'\n').next()?).ok()?;
    let (head, message) = text.split_once(';')?;
    // The number is the facility times eight, and the level. The kernel's own is 0; a program that writes to the log has
    // another.
    let _: u8 = head.split(',').next()?.parse().ok().filter(|number| *number < 8)?;
    let message = message.strip_prefix("Memory cgroup out of memory: ").or(message.strip_prefix("Out of memory: "))?;
    message.strip_prefix("Killed process ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_says_who_was_killed() {
        let check = |record: &str, expected: Option<u32>| assert_eq!(killed(record.as_bytes()), expected, "{record}");
        check(
            "3,812,93742,-;Memory cgroup out of memory: Killed process 42 (qemu-system-x86) total-vm:9kB\n",
            Some(42),
        );
        check("3,812,93742,-;Out of memory: Killed process 7 (a b) total-vm:9kB, UID:0\n SUBSYSTEM=x\n", Some(7));
        check("12,812,93742,-;Out of memory: Killed process 7 (written by a program)\n", None);
        check("6,812,93742,-;other: Out of memory: Killed process 7 (x)\n", None);
        check("6,812,93742,-;Out of memory: Killed process x\n", None);
        check("", None);
    }
}
