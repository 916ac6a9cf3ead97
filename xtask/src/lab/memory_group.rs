//! A control group with a limit of memory, for one machine.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Error};

/// How long the group may keep a process that was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A group of its own, removed when this goes out of scope.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    limit: &'static str,
}

impl MemoryGroup {
    /// Makes a group of this name: of version 1 under the usual mount, else of version 2.
    pub fn new(name: &str) -> Result<Self, Error> {
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (above, limit) = match v1.join("memory.limit_in_bytes").exists() {
            true => (v1, "memory.limit_in_bytes"),
            false => {
                let v2 = PathBuf::from("/sys/fs/cgroup");
                // Where it is on already, that is as well.
                let _ = fs::write(v2.join("cgroup.subtree_control"), "+memory");
                (v2, "memory.max")
            }
        };
        let folder = above.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).context(|| format!("cannot make {} (root can)", folder.display()))?;
        Ok(Self { folder, limit })
    }

    /// The file that a process writes its id to.
    pub fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How much memory its processes may have.
    pub fn limit(&self, bytes: u64) -> Result<(), Error> {
        let file = self.folder.join(self.limit);
        fs::write(&file, bytes.to_string()).context(|| format!("cannot write {}", file.display()))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
