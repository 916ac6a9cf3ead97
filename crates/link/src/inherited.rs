//! A descriptor that whoever started us left open for us: a socket that is connected to a monitor already.
//!
//! ```text
//!   parent:  socketpair ─┬─► QEMU -chardev socket,id=m,fd=N -mon chardev=m,mode=control
//!                        └─► this program, as fd:N
//! ```
//!
//! Its number is all there is to go by, so what is behind it is looked at before anything is written to it. A number that
//! was typed wrong may be that of a descriptor of our own: those close when a program is started, inherited ones did not.
//! What is read and written is a copy, which the kernel makes without us having to trust a number (`pidfd_getfd`).

use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

/// What keeps a descriptor from being a monitor's.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotInherited {
    /// Nobody left a descriptor of this number open for us.
    NotOpen,
    /// It is a file, a pipe or a terminal.
    NotASocket,
    /// It is a socket that others connect to.
    Listener,
    /// It is a socket of packets.
    NotAStream,
    /// It is a socket that is connected to nobody.
    NotConnected,
    /// It cannot be copied, or looked at.
    Io(io::Error),
}

impl fmt::Display for NotInherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotInherited::NotOpen => {
                "it was not left open for this program: pass it on, not to be closed on exec, and name its number here"
            }
            NotInherited::NotASocket => "it is not a socket: pass on one end of a socket pair, QEMU has the other",
            NotInherited::Listener => "it is a listening socket: pass on a connection, such as accept() gives",
            NotInherited::NotAStream => "it is not a stream socket: make the pair with SOCK_STREAM",
            NotInherited::NotConnected => "it is a socket that is not connected: connect it before it is passed on",
            NotInherited::Io(_) => "it cannot be used",
        })
    }
}

impl std::error::Error for NotInherited {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NotInherited::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A copy of the stream behind this descriptor, in whatever family of sockets it is, ready for tokio.
pub(crate) fn stream(number: u32) -> Result<UnixStream, NotInherited> {
    if !was_inherited(number) {
        return Err(NotInherited::NotOpen);
    }
    let socket = copy(number)?;
    match sockopt::socket_type(&socket) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(NotInherited::NotAStream),
        Err(Errno::NOTSOCK) => return Err(NotInherited::NotASocket),
        Err(error) => return Err(NotInherited::Io(error.into())),
    }
    if sockopt::socket_acceptconn(&socket).unwrap_or(false) {
        return Err(NotInherited::Listener);
    }
    // A connection whose other end is gone already says so when it is read.
    if let Err(Errno::NOTCONN) = rustix::net::getpeername(&socket) {
        return Err(NotInherited::NotConnected);
    }
    crate::tcp::set_up(&socket);
    // Reading and writing is the same in all families of streams.
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(true).map_err(NotInherited::Io)?;
    Ok(stream)
}

/// Whether it is open, and stays so when a program is started: as what this program opens itself does not.
fn was_inherited(number: u32) -> bool {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

fn copy(number: u32) -> Result<OwnedFd, NotInherited> {
    let copied = match i32::try_from(number) {
        // Where a container forbids the other way, this one is left.
        Ok(0) => io::stdin().as_fd().try_clone_to_owned(),
        Ok(number) => pidfd_open(getpid(), PidfdFlags::empty())
            .and_then(|ourselves| pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty()))
            .map_err(io::Error::from),
        Err(_) => return Err(NotInherited::NotOpen),
    };
    copied.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::BADF.raw_os_error() => NotInherited::NotOpen,
        _ => NotInherited::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_setfd};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, AsRawFd, RawFd};
    use std::os::unix::net::UnixListener;

    /// As if whoever started us had left it open.
    fn left_open(fd: &(impl AsFd + AsRawFd)) -> u32 {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
        number(fd.as_raw_fd())
    }

    fn number(fd: RawFd) -> u32 {
        u32::try_from(fd).unwrap()
    }

    #[test]
    fn a_stream_of_any_family_is_read_and_written() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        check(&ours, theirs);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        check(&ours, listener.accept().unwrap().0);

        fn check(ours: &(impl AsFd + AsRawFd), mut theirs: impl std::io::Read + std::io::Write) {
            let mut copy = stream(left_open(ours)).unwrap();
            copy.set_nonblocking(false).unwrap();
            theirs.write_all(b"there").unwrap();
            let mut came = [0; 5];
            copy.read_exact(&mut came).unwrap();
            assert_eq!(&came, b"there");
            copy.write_all(b"here").unwrap();
            theirs.read_exact(&mut came[..4]).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_a_monitor_is_told_from_the_others() {
        let ours = UnixStream::pair().unwrap();
        assert!(matches!(stream(number(ours.0.as_raw_fd())), Err(NotInherited::NotOpen)), "one of our own");
        assert!(matches!(stream(987_654), Err(NotInherited::NotOpen)));
        assert!(matches!(stream(u32::MAX), Err(NotInherited::NotOpen)));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(stream(left_open(&file)), Err(NotInherited::NotASocket)));
        let path = std::env::temp_dir().join(format!("qev-inherited-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(stream(left_open(&listener)), Err(NotInherited::Listener)));
        let packets = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(stream(left_open(&packets)), Err(NotInherited::NotAStream)));
        let alone = rustix::net::socket(rustix::net::AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        assert!(matches!(stream(left_open(&alone)), Err(NotInherited::NotConnected)));
    }
}
