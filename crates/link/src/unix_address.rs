//! Where a Unix socket is, and how it is connected to.
//!
//! The kernel takes a path of at most 107 bytes (`sun_path`). QEMU can listen at a longer one, when it was given a path
//! relative to its folder. Such a socket is opened as a file, without reading or writing (`O_PATH`), and connected to through
//! `/proc/self/fd`.

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The longest path that the kernel takes as it is, in bytes: `sun_path` without the NUL at its end.
const LONGEST_PATH: usize = 107;

/// Where a Unix socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnixAddress<'a> {
    /// At a path of the file system.
    Path(&'a Path),
    /// In the abstract name space, without the NUL or `@` before the name.
    Abstract(&'a str),
}

impl UnixAddress<'_> {
    /// Connects to it.
    pub(crate) async fn connect(self) -> io::Result<UnixStream> {
        match self {
            UnixAddress::Path(path) if path.as_os_str().len() > LONGEST_PATH => {
                // The file stays open until the connection is there.
                let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                UnixStream::connect(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))).await
            }
            UnixAddress::Path(path) => UnixStream::connect(path).await,
            UnixAddress::Abstract(name) => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                // It never waits: the connection is there, or the queue of the listener is full.
                connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
                UnixStream::from_std(StdStream::from(socket))
            }
        }
    }
}
