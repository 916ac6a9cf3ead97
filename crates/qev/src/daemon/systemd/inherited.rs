//! Descriptors that the manager gives us at the start: sockets that listen already, and what was stored with it.

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{AddressFamily, SocketType};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

/// What systemd calls what has no name.
const UNKNOWN: &str = "unknown";

/// What was given, each with the name that the manager has for it. What is not taken out is closed at the end.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// Sockets that listen: `attach`, or the name of a socket unit.
    pub(crate) listeners: Vec<(String, UnixListener)>,
    /// Connections.
    pub(crate) streams: Vec<(String, UnixStream)>,
    /// Files: memory, for us.
    pub(crate) files: Vec<(String, File)>,
    /// What is none of these, and why.
    pub(crate) strange: Vec<(String, io::Error)>,
}

impl Inherited {
    /// Takes what the environment says is ours, once: to be called before there are other threads, for the variables are
    /// removed.
    pub(crate) fn take() -> Inherited {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut inherited = Inherited::default();
        let named = names.split(':').map(|name| if name.is_empty() { UNKNOWN } else { name });
        let names = named.chain(std::iter::repeat(UNKNOWN));
        for (at, name) in (0..given.len()).zip(names) {
            inherited.sort(&mut given, at, name.to_owned());
        }
        inherited
    }

    fn sort(&mut self, given: &mut ListenFd, at: usize, name: String) {
        match socket(given, at) {
            Ok(socket) if socket_acceptconn(&socket).unwrap_or(false) => self.listeners.push((name, socket.into())),
            Ok(socket) => self.streams.push((name, socket.into())),
            Err(not_a_stream) => match file(given, at) {
                Ok(Some(file)) => self.files.push((name, file)),
                Ok(None) => self.strange.push((name, not_a_stream)),
                Err(error) => self.strange.push((name, error)),
            },
        }
    }
}

fn socket(given: &mut ListenFd, at: usize) -> io::Result<OwnedFd> {
    let stream = i32::try_from(SocketType::STREAM.as_raw()).unwrap_or_default();
    let unix = i32::from(AddressFamily::UNIX.as_raw());
    given.take_custom(at, unix, stream, "unix stream socket")?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Opened once more, by its number: only sockets can be taken over as they are. The first one stays open and unused.
fn file(given: &mut ListenFd, at: usize) -> io::Result<Option<File>> {
    let Some(number) = given.take_raw_fd(at)? else { return Ok(None) };
    let path = format!("/proc/self/fd/{number}");
    if std::fs::metadata(&path)?.is_file() {
        return File::options().read(true).write(true).open(path).map(Some);
    }
    Ok(None)
}
