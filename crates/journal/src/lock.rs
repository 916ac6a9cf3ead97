//! One writer: a lock on a file of the directory, with the writer's process id in it.
//!
//! The kernel releases it when the process ends, however it ends; what the file says then is only an old number.

use crate::error::OpenError;
use crate::lock_file::{self, LockError, LockFile};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

const NAME: &str = "lock";

/// How long to wait for the lock: whoever asks whether a journal is in use holds it for a moment.
const PATIENCE: Duration = Duration::from_millis(100);

/// The right to write to a journal, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    lock: LockFile,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Lock, OpenError> {
        let path = dir.join(NAME);
        let mut lock = LockFile::acquire(&path, PATIENCE).map_err(|error| match error {
            LockError::Io { path, source } => OpenError::File { path, source },
            LockError::Held { holder, .. } => {
                let pid = holder.as_ref().map(|holder| holder.pid).or_else(|| pid_in(&mut File::open(&path).ok()?));
                OpenError::InUse { dir: dir.into(), pid, holder }
            }
        })?;
        let file = lock.file();
        // On a full disk the number cannot be written: only a message lacks it then.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Lock { lock })
    }

    /// Whether the file that is locked is still the one that others find.
    pub(crate) fn is_in_place(&self, dir: &Path) -> bool {
        self.lock.is_at(&dir.join(NAME))
    }
}

/// Whether somebody writes to the journal in this directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Nobody does.
    None,
    /// The process with this id does; `None` when it could not write its id down.
    Process(Option<u32>),
}

/// Whether somebody writes to the journal in this directory. Nobody, when that cannot be known.
///
/// Whoever may not open the lock's file is told by the kernel's list of locks.
pub(crate) fn writer(dir: &Path) -> Writer {
    let path = dir.join(NAME);
    let Ok(mut file) = File::open(&path) else {
        return lock_file::holder(&path).map_or(Writer::None, |holder| Writer::Process(Some(holder.pid)));
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Writer::Process(pid_in(&mut file)),
        _ => Writer::None,
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
