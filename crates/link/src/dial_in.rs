//! Monitors that come to us: we listen at a path, and QEMUs connect to it.
//!
//! ```text
//!   QEMU -chardev socket,id=qev,path=PATH,reconnect=1 -mon chardev=qev,mode=control
//!              │ connects, and again a second after a loss
//!              ▼
//!   DialIn ─ accept ─► Caller (whose process, whose user) ─ connect ─► Client, Events
//! ```
//!
//! It is the best way in: nobody has to know where a machine's monitor is, and no monitor is taken from anybody.
//!
//! Who may connect is for the file's mode to say, which comes from the umask unless it is given. What a caller says of itself may be a lie;
//! its process and user the kernel vouches for.

use crate::client::{Client, ConnectError, ConnectOptions, Events, Place};
use crate::listen::{SocketFile, StartError, listen};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

/// How many callers may wait to be accepted. One that finds no room is refused, and dials again a second later.
const BACKLOG: u32 = 1024;

/// A socket that QEMUs dial. Its file is removed when this is dropped, if it was made here.
#[derive(Debug)]
pub struct DialIn {
    socket: UnixListener,
    path: PathBuf,
    _file: Option<SocketFile>,
}

/// Who may connect to a socket: what its file is to have before anybody can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The file's mode, such as `0o660`; who may write to it may connect. By default what the umask leaves.
    pub mode: Option<u32>,
    /// The file's group, by number. By default the process's, or the folder's.
    pub group: Option<u32>,
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process; unknown when it lives in another container, out of our sight.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group, the first of those that it is in.
    pub gid: u32,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        Ok(Peer { pid, uid: credentials.uid(), gid: credentials.gid() })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} of user {}", self.uid),
            None => write!(f, "a process of user {}", self.uid),
        }
    }
}

/// One that has dialled, and has not been spoken to.
#[derive(Debug)]
pub struct Caller {
    stream: UnixStream,
    peer: Peer,
    name: String,
}

impl DialIn {
    /// Makes the socket; one that nobody listens at any more is replaced. Must be called within a tokio runtime with I/O
    /// enabled.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub fn bind(path: &Path) -> Result<DialIn, StartError> {
        DialIn::bind_for(path, Access::default())
    }

    /// The same, for those to whom access is given.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made, or not be given this mode or group.
    pub fn bind_for(path: &Path, access: Access) -> Result<DialIn, StartError> {
        let (socket, file) = listen(path, BACKLOG, access)?;
        Ok(DialIn { socket, path: file.path(), _file: Some(file) })
    }

    /// A socket that listens already, because another program made it for us. Its file stays. Must be called within a tokio
    /// runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn inherit(socket: std::os::unix::net::UnixListener) -> io::Result<DialIn> {
        socket.set_nonblocking(true)?;
        let path = socket.local_addr()?.as_pathname().map_or_else(PathBuf::new, Path::to_owned);
        Ok(DialIn { socket: UnixListener::from_std(socket)?, path, _file: None })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next caller. Nobody is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left, above all: then it is worth trying again a little later.
    pub async fn accept(&self) -> io::Result<Caller> {
        let (stream, _) = self.socket.accept().await?;
        let peer = Peer::of(&stream)?;
        let name = format!("{peer}, which dialled {},", self.path().display());
        Ok(Caller { stream, peer, name })
    }
}

impl Caller {
    /// Who it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Negotiates, as [`Client::connect`] does.
    ///
    /// # Errors
    ///
    /// When it is no QEMU, or its monitor none for programs.
    pub async fn connect(self, options: ConnectOptions) -> Result<(Client, Events), ConnectError> {
        let deadline = Instant::now() + options.greeting_timeout;
        let place = Place::called(self.name).with_peer(self.peer);
        let spare = crate::client::handover::spare(&self.stream, &options);
        Client::negotiate(self.stream, &place, options, deadline).await.map(|connected| spare.put(connected))
    }
}
