//! The kernel's socket diagnostics (`sock_diag(7)`), asked for the Unix sockets that listen or are connected: which were
//! accepted at which path, who is at the other end, and who waits to be accepted. `/proc/net/unix` does not tell who.
//!
//! ```text
//!   us ──► header, unix_diag_req: those that listen or are connected, their names, peers and pending connections
//!      ◄── header, unix_diag_msg, attributes   for each socket, many to a datagram
//!      ◄── header: done
//! ```

use rustix::fs::{major, minor};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// `SOCK_DIAG_BY_FAMILY`: the one thing that can be asked.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`: all of them.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR`
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// `AF_UNIX`
const UNIX: u8 = 1;
/// `TCP_ESTABLISHED`, as a set of states.
const CONNECTED: u32 = 1 << 1;
/// `TCP_LISTEN`, as a set of states.
const LISTENING: u32 = 1 << LISTENS;
/// `TCP_LISTEN`, as it stands in an answer.
const LISTENS: u8 = 10;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN`
const SHOWN: u32 = 1 | 2 | 4 | 8 | 16;
/// `UNIX_DIAG_NAME`: where it is bound; what was accepted has the listener's.
const NAME: u16 = 0;
/// `UNIX_DIAG_VFS`: the socket's file: the number of its inode, and of its device as the kernel has it.
const FILE: u16 = 1;
/// `UNIX_DIAG_PEER`: the inode of the other end.
const PEER: u16 = 2;
/// `UNIX_DIAG_ICONS`: of one that listens, the inodes of the clients that wait to be accepted. It is there when one does.
const PENDING: u16 = 3;
/// `UNIX_DIAG_RQLEN`: of one that listens, how many clients wait, and how many may (one less than the kernel admits).
const QUEUE: u16 = 4;

/// Of `nlmsghdr` and of `unix_diag_msg`, in bytes.
const HEADER: usize = 16;
const BODY: usize = 16;

/// How much one datagram of the kernel's may hold.
const SPACE: usize = 64 << 10;

/// A socket that has a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Where it listens, or was accepted.
    pub(super) name: Name,
    /// The file that was made for it, of which only a path is a name.
    pub(super) file: Option<SocketFile>,
    /// What it is.
    pub(super) end: End,
}

/// The name of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// A path, as the listener was given it.
    Path(PathBuf),
    /// An abstract name, without the NUL before it.
    Abstract(Vec<u8>),
}

/// The file of a socket, which tells two sockets of one path apart, and is the same by whatever path it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SocketFile {
    /// As the kernel numbers devices: the major number above 20 bits of the minor one.
    pub(super) device: u32,
    /// The lower half of its number.
    pub(super) inode: u32,
}

impl SocketFile {
    /// The same from what `stat` says.
    pub(super) fn of(file: &Metadata) -> SocketFile {
        let device = major(file.dev()) << 20 | minor(file.dev());
        SocketFile { device, inode: u32::try_from(file.ino() & u64::from(u32::MAX)).unwrap_or_default() }
    }
}

/// What a socket that has a name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It listens.
    Listens {
        /// Who waits to be accepted: the inodes of the clients' ends, 0 for a client that has closed its end.
        waiting: Vec<u32>,
        /// For how many clients that wait the listener asked.
        backlog: Option<u32>,
    },
    /// It is the listener's end of a connection; the client's end has this inode, or 0 when the client has closed it.
    Accepted { client: u32 },
}

/// Every socket of this host's (this network namespace's) that listens or was accepted at a path.
pub(super) fn bound() -> Result<Vec<Bound>> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut space = vec![0; SPACE];
    loop {
        let (length, _) = recv(&socket, &mut space[..], RecvFlags::empty())?;
        let datagram = space.get(..length).unwrap_or_default();
        if datagram.is_empty() || read(datagram, &mut found)? {
            return Ok(found);
        }
    }
}

fn request() -> Vec<u8> {
    let mut request = Vec::with_capacity(40);
    request.extend_from_slice(&40_u32.to_ne_bytes());
    request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&DUMP.to_ne_bytes());
    // Sequence number and sender: there is one question, and the kernel knows who asks.
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[UNIX, 0, 0, 0]);
    request.extend_from_slice(&(CONNECTED | LISTENING).to_ne_bytes());
    // Any inode.
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(&SHOWN.to_ne_bytes());
    // No cookie.
    request.extend_from_slice(&[0; 8]);
    request
}

/// The messages of a datagram. `true` when the last has come.
fn read(mut datagram: &[u8], found: &mut Vec<Bound>) -> Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = datagram.get(HEADER..length) else { return Err(Errno::BADMSG) };
        match kind {
            DONE => return Ok(true),
            // Such as: this kernel was built without it.
            ERROR => return Err(Errno::NOTSUP),
            BY_FAMILY => found.extend(entry(message)),
            _ => {}
        }
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn entry(message: &[u8]) -> Option<Bound> {
    let listens = *message.get(2)? == LISTENS;
    let mut attributes = message.get(BODY..)?;
    let (mut name, mut file, mut client, mut waiting, mut backlog) = (None, None, None, Vec::new(), None);
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        match kind {
            NAME => name = name_of(value),
            FILE => file = u32_at(value, 0).zip(u32_at(value, 4)),
            PEER => client = u32_at(value, 0),
            PENDING => waiting = value.chunks_exact(4).filter_map(|inode| u32_at(inode, 0)).collect(),
            QUEUE => backlog = u32_at(value, 4),
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    let end = match listens {
        true => End::Listens { waiting, backlog },
        false => End::Accepted { client: client? },
    };
    Some(Bound { name: name?, file: file.map(|(inode, device)| SocketFile { device, inode }), end })
}

/// A path ends with the first NUL, an abstract name begins with one.
fn name_of(value: &[u8]) -> Option<Name> {
    if let Some(name) = value.strip_prefix(b"\0") {
        return (!name.is_empty()).then(|| Name::Abstract(name.to_vec()));
    }
    let path = value.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
    Some(Name::Path(PathBuf::from(OsStr::from_bytes(path))))
}

/// Everything starts at a multiple of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        message_of(1, kind, attributes)
    }

    fn message_of(state: u8, kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![UNIX, 1, state, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (kind, value) in attributes {
            body.extend_from_slice(&u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(aligned(body.len()), 0);
        }
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&[0; 10]);
        message.extend_from_slice(&body);
        message
    }

    #[test]
    fn what_was_accepted_at_a_path_has_a_client_and_what_listens_those_that_wait() {
        let nine = 9_u32.to_ne_bytes();
        let pending = [7_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
        let queue = [2_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat();
        let file = [5_u32.to_ne_bytes(), 6_u32.to_ne_bytes()].concat();
        let listens = [(NAME, &b"/run/vm.sock\0"[..]), (PENDING, &pending), (QUEUE, &queue), (FILE, &file)];
        let datagram = [
            message_of(LISTENS, BY_FAMILY, &listens),
            message(BY_FAMILY, &[(NAME, b"/run/vm.sock\0"), (PEER, &nine)]),
            // A client's end has no name, one that was left no peer.
            message(BY_FAMILY, &[(PEER, &nine)]),
            message(BY_FAMILY, &[(NAME, b"\0vm\0"), (PEER, &nine)]),
            message(BY_FAMILY, &[(NAME, b"\0"), (PEER, &nine)]),
            message(BY_FAMILY, &[(NAME, b"/run/x")]),
            message(77, &[]),
        ]
        .concat();
        let mut found = Vec::new();
        assert_eq!(read(&datagram, &mut found), Ok(false));
        let path = || Name::Path("/run/vm.sock".into());
        let file = Some(SocketFile { device: 6, inode: 5 });
        let listens = Bound { name: path(), file, end: End::Listens { waiting: vec![7, 0], backlog: Some(1) } };
        let accepted = |name| Bound { name, file: None, end: End::Accepted { client: 9 } };
        assert_eq!(found, [listens, accepted(path()), accepted(Name::Abstract(b"vm\0".to_vec()))]);
        assert_eq!(read(&message(DONE, &[]), &mut found), Ok(true));
        assert_eq!(read(&message(ERROR, &[]), &mut found), Err(Errno::NOTSUP));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_an_error_or_nothing() {
        let whole = message(BY_FAMILY, &[(NAME, b"/run/vm.sock\0"), (PEER, &9_u32.to_ne_bytes())]);
        for length in 0..whole.len() {
            let mut found = Vec::new();
            let read = read(&whole[..length], &mut found);
            assert!(found.is_empty() && read != Ok(true), "cut at {length}");
        }
    }
}
