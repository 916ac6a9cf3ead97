//! A folder for one machine's sockets and disks, gone when the machine is.
//!
//! It lies in the system's folder for temporary files and has a short name, since the path of a Unix socket may have
//! no more than 107 bytes and a workspace may lie deep. A run that was killed could not remove its folder: the next
//! run does.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::Error;

const NAME: &str = "qev-lab-";

/// `sun_path` has 108 bytes, the last of which ends the string.
const LONGEST_SOCKET_PATH: usize = 107;

/// The process that a folder names may be one that we can not see, in another container with the same `/tmp`: an old
/// folder of a process that is gone, and only such, is taken for left behind.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(3600);

/// A fresh folder that only this user may enter, removed when this goes out of scope.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes the folder, and removes what killed runs left behind.
    pub fn new() -> Result<Self, Error> {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Result<Self, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_left_behind(parent);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = parent.join(format!("{NAME}{}-{count}", process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { folder }),
                // Left behind a moment ago by one that had our number, or in use in another container.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let what = format!("cannot make {}; is TMPDIR a folder that may be written to?", folder.display());
                    return Err(Error::because(what, error));
                }
            }
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// A path in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A path in the folder that a socket can have.
    pub fn socket(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        let length = path.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            return Err(Error::new(format!(
                "{} has {length} bytes, and a socket's path at most {LONGEST_SOCKET_PATH}; \
                 set TMPDIR to a shorter folder",
                path.display()
            )));
        }
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can not be removed now is removed by a later run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn remove_left_behind(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(process_that_made) else { continue };
        let old = entry
            .metadata()
            .and_then(|about| about.modified())
            .is_ok_and(|made| made.elapsed().is_ok_and(|age| age > LEFT_BEHIND_AFTER));
        if old && !Path::new("/proc").join(id.to_string()).exists() {
            // Another user's folder stays, as it should.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn process_that_made(folder: &str) -> Option<u32> {
    let (id, count) = folder.strip_prefix(NAME)?.split_once('-')?;
    count.parse::<u32>().ok()?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_folder_of_its_own_that_goes_away() {
        let (one, two) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        assert_ne!(one.path(), two.path());
        fs::write(one.file("disk"), "x").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().exists());
    }

    #[test]
    fn a_folder_that_is_there_already_is_left_alone() {
        let parent = Scratch::new().unwrap();
        let first = Scratch::within(parent.path()).unwrap();
        let count: u32 = first.path().display().to_string().rsplit('-').next().unwrap().parse().unwrap();
        // Other tests count on meanwhile: whichever number is next is taken.
        let taken = (count + 1..count + 100).map(|next| parent.file(&format!("{NAME}{}-{next}", process::id())));
        taken.for_each(|folder| fs::create_dir(folder).unwrap());
        let next = Scratch::within(parent.path()).unwrap();
        assert!(fs::read_dir(next.path()).unwrap().next().is_none());
        drop(next);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 100);
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        let scratch = Scratch::new().unwrap();
        let room = LONGEST_SOCKET_PATH - scratch.path().as_os_str().len() - 1;
        assert!(scratch.socket(&"s".repeat(room)).is_ok());
        let error = scratch.socket(&"s".repeat(room + 1)).unwrap_err();
        assert!(error.to_string().contains("has 108 bytes"), "{error}");
    }

    #[test]
    fn only_old_folders_of_processes_that_are_gone_are_left_behind() {
        let parent = Scratch::new().unwrap();
        // No process has an id above the kernel's limit of 4194304.
        let make = |name: &str, old: bool| {
            let folder = parent.file(name);
            fs::create_dir(&folder).unwrap();
            if old {
                File::open(&folder).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            }
            folder
        };
        let left = make("qev-lab-9999999-0", true);
        let young = make("qev-lab-9999998-0", false);
        let ours = make(&format!("qev-lab-{}-77", process::id()), true);
        let foreign = make("qev-laboratory", true);
        let _next = Scratch::within(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(young.exists() && ours.exists() && foreign.exists());
    }
}
