//! How a process ended, from a pidfd: `ioctl(PIDFD_GET_INFO)` with `PIDFD_INFO_EXIT`, since Linux 6.15.
//!
//! A process's parent takes its status away when it reaps it, and `/proc/PID` disappears in the same moment. From then on
//! the kernel gives the status through each pidfd that was opened before, to any user and without a capability.
//!
//! No safe crate offers this request. The one `unsafe` block of the workspace is here.

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `PIDFD_INFO_EXIT`: the caller asks for the exit status; in the answer, `exit_code` has it.
const INFO_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`.
const GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xFF, 11);

/// `struct pidfd_info` of `linux/pidfd.h` in its first version (`PIDFD_INFO_SIZE_VER0`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// The process's, its parent's, its users' and its groups' ids, which nobody here asks for.
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64, "as PIDFD_INFO_SIZE_VER0 says");

/// A descriptor of a process. It stays this process's when the process has ended and its id is used again.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens a descriptor of the process that has this id now.
    ///
    /// # Errors
    ///
    /// `ESRCH` when there is no such process, `ENOSYS` before Linux 5.3.
    pub fn open(pid: u32) -> io::Result<Pidfd> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
        Ok(Pidfd(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Returns how the process ended, in the form of `wait(2)`. `None` while its parent has not reaped it.
    ///
    /// # Errors
    ///
    /// `ENOTTY` or `EINVAL` before Linux 6.13, `ESRCH` for a reaped process before Linux 6.15.
    pub fn exit_status(&self) -> io::Result<Option<i32>> {
        let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the descriptor is a pidfd, since `open` is the only way to make a `Pidfd`. For a pidfd the kernel takes this
        // opcode as PIDFD_GET_INFO, or refuses it where it is older. It reads and writes as many bytes as the opcode says,
        // which are those of `PidfdInfo`. The struct has the layout of `struct pidfd_info`, integers only and no padding, so
        // whatever the kernel writes is a valid value.
        #[allow(unsafe_code, reason = "no safe crate offers PIDFD_GET_INFO")]
        unsafe {
            ioctl(&self.0, Updater::<GET_INFO, PidfdInfo>::new(&mut info))?;
        }
        Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code))
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_status_is_there_when_the_parent_has_reaped() {
        let mut child = Command::new("sh").args(["-c", "read x; exit 33"]).stdin(Stdio::piped()).spawn().unwrap();
        let pidfd = Pidfd::open(child.id()).unwrap();
        assert_eq!(Pidfd::open(0).unwrap_err().raw_os_error(), Some(3));
        let is_old = |error: &io::Error| matches!(error.raw_os_error(), Some(3 | 22 | 25));
        match pidfd.exit_status() {
            Ok(status) => assert_eq!(status, None),
            Err(error) => assert!(is_old(&error), "{error}"),
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        match pidfd.exit_status() {
            Ok(status) => assert_eq!(status, Some(33 << 8)),
            // A kernel before 6.15 does not keep it.
            Err(error) => assert!(is_old(&error), "{error}"),
        }
    }
}
