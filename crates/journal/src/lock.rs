//! One writer: a lock on a file of the directory, with the writer's process id in it.
//!
//! The kernel lets go of it when the process ends, however it ends; what stands in the file then is only an old number.

use crate::contents;
use crate::error::OpenError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

const NAME: &str = "lock";

/// Who asks whether a journal is in use holds the lock for a moment: so often it is tried again, and so long between.
const ATTEMPTS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(5);

/// The right to write to a journal, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Lock, OpenError> {
        let path = dir.join(NAME);
        let failed = |source| OpenError::File { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed)?;
        for attempt in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempt < ATTEMPTS => std::thread::sleep(BETWEEN),
                Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { dir: dir.into(), pid: pid_in(&mut file) }),
                Err(error) => return Err(failed(error.into())),
            }
        }
        // On a full disk the number cannot be written: only a message lacks it then.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Lock { file })
    }
}

impl Lock {
    /// Whether the file that is locked is still the one that others find.
    pub(crate) fn is_in_place(&self, dir: &Path) -> bool {
        let ours = self.file.metadata().ok().map(|metadata| contents::id_of(&metadata));
        ours.is_some() && ours == contents::file_id(&dir.join(NAME))
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
pub(crate) fn writer(dir: &Path) -> Writer {
    let Ok(mut file) = File::open(dir.join(NAME)) else { return Writer::None };
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
