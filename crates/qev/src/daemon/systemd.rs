//! What the manager that started us is told, and what it gives us: systemd's side of the daemon.
//!
//! ```text
//!   NOTIFY_SOCKET ◄── READY=1, STATUS=…, WATCHDOG=1, STOPPING=1      (Type=notify)
//!                 ◄── FDSTORE=1, FDNAME=… with descriptors           (they outlive us)
//!   LISTEN_FDS    ──► sockets that listen already, descriptors that were stored
//! ```
//!
//! Without a manager everything here does nothing. The words are those of sd_notify(3) and sd_listen_fds(3).

pub(crate) mod inherited;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long the manager may take to read what it must not miss. It reads all the time, so this is a manager that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many descriptors one message may carry: the kernel's `SCM_MAX_FD` is far above.
const MOST_AT_ONCE: usize = 8;

/// The manager that started us, if one did that wants to be told. Clones are for the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

/// The manager cannot be told.
#[derive(Debug)]
pub(crate) enum ManagerError {
    /// What `NOTIFY_SOCKET` says is no socket's name.
    NoAddress {
        /// What it says.
        address: String,
    },
    /// There is no getting through to it.
    Unreachable {
        /// What `NOTIFY_SOCKET` says.
        address: String,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManagerError::NoAddress { address } => write!(
                f,
                "NOTIFY_SOCKET says '{}': expected an absolute path, or '@' and the name of an abstract socket",
                address.escape_debug()
            ),
            ManagerError::Unreachable { address, .. } => {
                write!(f, "the manager's socket {} cannot be reached", address.escape_debug())
            }
        }
    }
}

impl std::error::Error for ManagerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ManagerError::NoAddress { .. } => None,
            ManagerError::Unreachable { source, .. } => Some(source),
        }
    }
}

impl Manager {
    /// The one that the environment names; one that does nothing when it names none.
    pub(crate) fn from_env() -> Result<Manager, ManagerError> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Ok(Manager::default());
        };
        let text = |name| env::var(name).ok();
        let interval = watchdog(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref(), std::process::id());
        Ok(Manager { watchdog: interval, ..Manager::at(&address)? })
    }

    /// The one behind a socket, as `NOTIFY_SOCKET` names it.
    fn at(address: &OsStr) -> Result<Manager, ManagerError> {
        let name = || address.to_string_lossy().into_owned();
        let to = match address.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
            [b'/', ..] => SocketAddr::from_pathname(Path::new(address)),
            _ => return Err(ManagerError::NoAddress { address: name() }),
        };
        let connected = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&to?)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        match connected() {
            Ok(socket) => Ok(Manager { socket: Some(Arc::new(socket)), watchdog: None }),
            Err(source) => Err(ManagerError::Unreachable { address: name(), source }),
        }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Everything is up: who waited for us may go on.
    pub(crate) fn ready(&self) -> io::Result<()> {
        self.tell("READY=1", &[], SendFlags::empty())
    }

    /// What we are doing, for `systemctl status`. It may be missed.
    pub(crate) fn status(&self, what: &str) {
        let line: String = what.chars().filter(|c| !c.is_control()).collect();
        let _ = self.tell(&format!("STATUS={line}"), &[], SendFlags::DONTWAIT);
    }

    /// We are on our way out.
    pub(crate) fn stopping(&self) -> io::Result<()> {
        self.tell("STOPPING=1", &[], SendFlags::empty())
    }

    /// Says that we live, twice as often as is asked for, as long as we are healthy. Without a watchdog it waits for ever.
    pub(crate) async fn watch(&self, healthy: impl Fn() -> bool) {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(interval / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if healthy() {
                let _ = self.tell("WATCHDOG=1", &[], SendFlags::DONTWAIT);
            }
        }
    }

    /// Leaves descriptors with the manager under a name: they stay open when we end, and come back as `LISTEN_FDS`.
    ///
    /// They are kept when their peer leaves as well: what it said last is still to be read.
    pub(crate) fn store(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.tell(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), descriptors, SendFlags::empty())
    }

    /// The manager closes what it has under this name.
    pub(crate) fn forget(&self, name: &str) -> io::Result<()> {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[], SendFlags::empty())
    }

    fn tell(&self, what: &str, descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            match sendmsg(socket, &[IoSlice::new(what.as_bytes())], &mut control, flags | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                sent => return sent.map(drop).map_err(io::Error::from),
            }
        }
    }
}

/// How often the manager wants to hear of us, if it is us whom it means.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let interval = Duration::from_micros(microseconds?.parse().ok()?);
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    (meant && !interval.is_zero()).then_some(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::cell::Cell;
    use std::io::{IoSliceMut, Read as _, Write as _};
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// A stand-in for the manager, at an abstract address of its own.
    fn manager(test: &str) -> (UnixDatagram, Manager) {
        let name = format!("qev-test-{test}-{}", std::process::id());
        let theirs = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (theirs, Manager::at(OsStr::new(&format!("@{name}"))).unwrap())
    }

    fn heard(socket: &UnixDatagram) -> (String, Vec<OwnedFd>) {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message =
            recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty()).expect("a message");
        let descriptors = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            })
            .collect();
        (String::from_utf8(bytes[..message.bytes].to_vec()).unwrap(), descriptors)
    }

    #[test]
    fn the_manager_hears_each_in_its_own_words() {
        let (theirs, manager) = manager("words");
        manager.ready().unwrap();
        manager.status("3 machines\nREADY=0");
        manager.stopping().unwrap();
        manager.forget("m1").unwrap();
        for expected in ["READY=1", "STATUS=3 machinesREADY=0", "STOPPING=1", "FDSTOREREMOVE=1\nFDNAME=m1"] {
            assert_eq!(heard(&theirs).0, expected);
        }
    }

    #[test]
    fn a_path_is_an_address_too() {
        let path = std::env::temp_dir().join(format!("qev-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let theirs = UnixDatagram::bind(&path).unwrap();
        Manager::at(path.as_os_str()).unwrap().ready().unwrap();
        assert_eq!(heard(&theirs).0, "READY=1");
        std::fs::remove_file(&path).unwrap();
        let error = Manager::at(path.as_os_str()).unwrap_err();
        assert!(matches!(error, ManagerError::Unreachable { .. }), "{error}");
        assert!(matches!(Manager::at(OsStr::new("vsock:1:2")), Err(ManagerError::NoAddress { .. })));
    }

    #[test]
    fn a_stored_descriptor_stays_open_when_ours_is_closed() {
        let (theirs, manager) = manager("store");
        let (ours, mut peer) = UnixStream::pair().unwrap();
        manager.store("m1", &[ours.as_fd()]).unwrap();
        drop(ours);
        peer.write_all(b"still here").unwrap();
        let (words, mut descriptors) = heard(&theirs);
        assert_eq!(words, "FDSTORE=1\nFDNAME=m1\nFDPOLL=0");
        let mut text = [0; 10];
        UnixStream::from(descriptors.remove(0)).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"still here");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_of_us_while_we_are_healthy() {
        let (theirs, manager) = manager("watchdog");
        let manager = Manager { watchdog: Some(Duration::from_secs(10)), ..manager };
        let asked = Cell::new(0);
        let healthy = || {
            asked.set(asked.get() + 1);
            asked.get() <= 3
        };
        // Asked at 0, 5, 10, 15 and 20 s; healthy three times.
        let _ = tokio::time::timeout(Duration::from_secs(22), manager.watch(healthy)).await;
        assert_eq!(asked.get(), 5);
        for _ in 0..3 {
            assert_eq!(heard(&theirs).0, "WATCHDOG=1");
        }
        assert_eq!(theirs.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_watchdog_is_for_whom_it_means() {
        let check = |microseconds, pid, expected: Option<u64>| {
            assert_eq!(watchdog(microseconds, pid, 7), expected.map(Duration::from_secs), "{microseconds:?} {pid:?}");
        };
        check(Some("30000000"), None, Some(30));
        check(Some("30000000"), Some("7"), Some(30));
        check(Some("30000000"), Some("8"), None);
        check(Some("0"), None, None);
        check(Some("soon"), None, None);
        check(None, None, None);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let nobody = Manager::default();
        assert!(!nobody.is_there());
        nobody.ready().unwrap();
        nobody.forget("m1").unwrap();
    }
}
