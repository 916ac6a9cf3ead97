//! Folders in which something may appear, watched by inotify, so that a monitor is found as soon as it is made.
//!
//! It is a help and no more: where inotify fails, or a folder cannot be watched, what appears is found by the next rescan.

use crate::daemon::readiness;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// How many folders are watched.
const MOST: usize = 1024;

/// How much of what the kernel tells is taken at once; it only matters that there is something.
const SPACE: usize = 16 << 10;

/// The folders that are watched.
#[derive(Debug)]
pub(super) struct Folders {
    /// `None` where there is no inotify.
    inotify: Option<OwnedFd>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    pub(super) fn new() -> Folders {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        Folders { inotify, watched: BTreeSet::new() }
    }

    /// Watches these too.
    pub(super) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(inotify) = &self.inotify else { return };
        // One that was removed, or made anew, is another folder than the one that is watched.
        self.watched.retain(|folder| folder.is_dir());
        let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::ONLYDIR;
        for folder in folders {
            if self.watched.len() < MOST && add_watch(inotify, folder.as_path(), events).is_ok() {
                self.watched.insert(folder.clone());
            }
        }
    }

    /// Waits until something has appeared in one of them.
    pub(super) async fn changed(&self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        let Ok(ready) = readiness::of(inotify.as_fd()) else { return std::future::pending().await };
        if ready.readable().await.is_err() {
            return std::future::pending().await;
        }
        let mut space = vec![0; SPACE];
        while rustix::io::read(inotify, &mut space[..]).is_ok_and(|read| read > 0) {}
    }
}
