//! A lock on a file that only its owner may open, so that nobody else can hold it (`flock`).
//!
//! Whoever may open a file for reading can lock it, and keep it locked for as long as they like. So what is locked here
//! has mode 0600, the wait has a limit, and the error names the process that holds the lock.

use crate::contents::{self, FileId};
use crate::durable;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait between two attempts.
const INTERVAL: Duration = Duration::from_millis(5);

/// The mode of a file that is locked: nobody but its owner may open it.
const MODE: u32 = 0o600;

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

/// A lock could not be taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// The file that is locked.
        path: PathBuf,
        /// Who holds it, where the kernel tells.
        holder: Option<Holder>,
    },
    /// The file could not be opened or locked.
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name, as in `/proc/PID/comm`; `None` when it has ended or belongs to another PID namespace.
    pub name: Option<Box<str>>,
    /// The user whose process it is.
    pub uid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match (&self.name, self.uid) {
            (Some(name), Some(uid)) => write!(f, " ({}, user {uid})", name.escape_debug()),
            (Some(name), None) => write!(f, " ({})", name.escape_debug()),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, holder: Some(holder) } => {
                write!(f, "{} is locked by {holder}: end that process, or try again later", path.display())
            }
            LockError::Held { path, holder: None } => {
                write!(f, "{} is locked by another process: try again later", path.display())
            }
            LockError::Io { path, .. } => write!(f, "cannot lock {}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Held { .. } => None,
            LockError::Io { source, .. } => Some(source),
        }
    }
}

impl LockFile {
    /// Locks a file, which is created when it does not exist, for this process alone. Waits up to `patience` for another
    /// process to release it.
    ///
    /// # Errors
    ///
    /// When another process holds it all that time; when the file cannot be opened.
    pub fn acquire(path: &Path, patience: Duration) -> Result<LockFile, LockError> {
        let failed = |source| LockError::Io { path: path.into(), source };
        let attempts = patience.as_millis().checked_div(INTERVAL.as_millis()).unwrap_or_default();
        let mut attempt = 0;
        loop {
            let file = open(path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path) => return Ok(LockFile { file }),
                // Its file was replaced while it was being locked.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(failed(error.into())),
            }
            if attempt >= attempts {
                return Err(LockError::Held { path: path.into(), holder: holder(path) });
            }
            attempt += 1;
            std::thread::sleep(INTERVAL);
        }
    }

    /// The file that is locked.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Whether the file that is locked is the one that has this path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let locked = file.metadata().ok().map(|metadata| contents::id_of(&metadata));
    locked.is_some() && locked == contents::file_id(path)
}

/// Opens the file so that nobody else can, also when an older qev created it for its group.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(MODE))?);
    if file.metadata()?.mode() & 0o777 & !MODE != 0 {
        // A file of another user, which root locks: its mode is that user's to change.
        match file.set_permissions(Permissions::from_mode(MODE)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    durable::give_to_owner_of_directory(&file, path)?;
    Ok(file)
}

/// The process that holds a lock on a file (`flock`), as `/proc/locks` says; `None` when it does not.
pub(crate) fn holder(path: &Path) -> Option<Holder> {
    find_holder(path, &["FLOCK"], None)
}

/// The process other than this one that holds a lock on a range of a file (`fcntl`), as SQLite does; `None` when
/// `/proc/locks` does not say.
pub(crate) fn holder_of_range(path: &Path) -> Option<Holder> {
    find_holder(path, &["POSIX", "OFDLCK"], Some(std::process::id()))
}

fn find_holder(path: &Path, kinds: &[&str], other_than: Option<u32>) -> Option<Holder> {
    let metadata = std::fs::metadata(path).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = pid_in(&locks, contents::id_of(&metadata), kinds, other_than)?;
    let process = Path::new("/proc").join(pid.to_string());
    let name = std::fs::read(process.join("comm")).ok();
    let name = name.map(|name| String::from_utf8_lossy(&name).trim_end_matches('\n').into());
    let uid = std::fs::metadata(process).ok().map(|metadata| metadata.uid());
    Some(Holder { pid, name, uid })
}

/// The process in a line such as `1: FLOCK  ADVISORY  WRITE 1234 fe:01:393229 0 EOF`. A line with `->` is of a process
/// that waits.
///
/// Some file systems show another device there than `stat` does. So a line with the number of the inode will do where none
/// has both.
fn pid_in(locks: &str, (device, inode): FileId, kinds: &[&str], other_than: Option<u32>) -> Option<u32> {
    let of_inode = format!(":{inode}");
    let exact = format!("{:02x}:{:02x}{of_inode}", rustix::fs::major(device), rustix::fs::minor(device));
    let held = locks.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
        let pid = pid.parse().ok().filter(|pid: &u32| kinds.contains(&kind) && Some(*pid) != other_than)?;
        Some((pid, file))
    });
    let held: Vec<(u32, &str)> = held.filter(|(_, file)| file.ends_with(&of_inode)).collect();
    held.iter().find(|(_, file)| *file == exact).or(held.first()).map(|(pid, _)| *pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 77 08:01:5000 128 128
2: FLOCK  ADVISORY  WRITE 100 00:2a:5000 0 EOF
3: FLOCK  ADVISORY  WRITE 200 08:01:5000 0 EOF
3: -> FLOCK  ADVISORY  WRITE 300 08:01:5000 0 EOF
4: FLOCK  ADVISORY  READ 400 08:01:15000 0 EOF
";

    fn check(device: (u32, u32), inode: u64, expected: Option<u32>) {
        let id = (rustix::fs::makedev(device.0, device.1), inode);
        assert_eq!(pid_in(LOCKS, id, &["FLOCK"], None), expected, "{device:?} {inode}");
    }

    #[test]
    fn finds_the_process_that_holds_the_lock() {
        check((8, 1), 5000, Some(200));
        check((0, 42), 5000, Some(100));
        check((9, 9), 15000, Some(400));
        check((8, 1), 500, None);
        let of_range = |other_than| pid_in(LOCKS, (rustix::fs::makedev(8, 1), 5000), &["POSIX"], other_than);
        assert_eq!((of_range(None), of_range(Some(77))), (Some(77), None));
    }

    #[test]
    fn shows_the_name_of_a_process_as_text() {
        let holder = Holder { pid: 7, name: Some("a\u{1b}b".into()), uid: Some(1000) };
        assert_eq!(holder.to_string(), "process 7 (a\\u{1b}b, user 1000)");
    }
}
