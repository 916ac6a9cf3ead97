//! Waiting for a descriptor that tokio has no type for: a pidfd, inotify.

use std::io;
use std::os::fd::BorrowedFd;
use tokio::io::unix::AsyncFd;

/// The descriptor, to be waited for.
pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    #[allow(
        deprecated,
        reason = "what it warns of, a type that gives out a closed descriptor, a borrowed one cannot do"
    )]
    AsyncFd::new(fd)
}
