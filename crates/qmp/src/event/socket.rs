//! Addresses of sockets, as QEMU's `sockets` has them.

use super::EventError;
use super::fields::{Fields, put_back};
use super::schema::{Members, Wire, any_object, choice, object};
use crate::json::scan::Scanner;
use crate::json::{Json, Object, Value};

choice! {
    /// What kind of address a connection has (`NetworkAddressFamily`).
    NetworkAddressFamily {
        /// IPv4.
        Ipv4 = "ipv4",
        /// IPv6.
        Ipv6 = "ipv6",
        /// A socket in the file system.
        Unix = "unix",
        /// A socket between a guest and its host, since QEMU 2.8.
        Vsock = "vsock",
        /// Another kind.
        Unknown = "unknown",
    }
}

object! {
    /// An address on a network, as QEMU was told it.
    InetSocketAddress {
        /// A name or an IP address.
        host: Box<str>;
        /// A number or the name of a service.
        port: Box<str>;
        /// Whether host and port are numbers, which need not be looked up.
        numeric: Option<bool>;
        /// The last of the ports, from `port` on, that may be listened on.
        to: Option<u16>;
        /// Whether IPv4 may be used; both kinds when neither is given.
        ipv4: Option<bool>;
        /// Whether IPv6 may be used; both kinds when neither is given.
        ipv6: Option<bool>;
        /// Whether the connection is probed when it is idle.
        keep_alive = "keep-alive": Option<bool>;
        /// After how many probes without an answer it is given up.
        keep_alive_count = "keep-alive-count": Option<u32>, since "10.1";
        /// For how many seconds it must be idle to be probed.
        keep_alive_idle = "keep-alive-idle": Option<u32>, since "10.1";
        /// How many seconds lie between two probes.
        keep_alive_interval = "keep-alive-interval": Option<u32>, since "10.1";
        /// Whether it is multipath TCP.
        mptcp: Option<bool>;
    }
}

object! {
    /// A socket in the file system, or an abstract one of Linux.
    UnixSocketAddress {
        /// Its path, or its name.
        path: Box<str>;
        /// Whether it is abstract: not in the file system.
        r#abstract = "abstract": Option<bool>;
        /// Whether the name of an abstract one ends where it ends, and is not filled up with zeros.
        tight: Option<bool>;
    }
}

object! {
    /// A socket between a guest and its host.
    VsockSocketAddress {
        /// Who: the number of a guest, or of the host.
        cid: Box<str>;
        /// The port.
        port: Box<str>;
    }
}

object! {
    /// A socket that QEMU was given open.
    FdSocketAddress {
        /// The number of the file descriptor, or the name that `getfd` gave it.
        str: Box<str>;
    }
}

/// The address of a socket, by what its `type` says it is (`SocketAddress`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SocketAddress {
    /// `inet`: on a network.
    Inet(InetSocketAddress),
    /// `unix`: in the file system.
    Unix(UnixSocketAddress),
    /// `vsock`: between a guest and its host.
    Vsock(VsockSocketAddress),
    /// `fd`: given to QEMU open.
    Fd(FdSocketAddress),
    /// Any other kind, or one of these with other members: the whole object, `type` included.
    Other(Object),
}

impl SocketAddress {
    /// As it stands in an event.
    pub fn to_object(&self) -> Object {
        let (kind, members) = match self {
            SocketAddress::Inet(address) => ("inet", address.to_object()),
            SocketAddress::Unix(address) => ("unix", address.to_object()),
            SocketAddress::Vsock(address) => ("vsock", address.to_object()),
            SocketAddress::Fd(address) => ("fd", address.to_object()),
            SocketAddress::Other(object) => return object.clone(),
        };
        let mut object = Object::new().with("type", kind);
        put_back(&mut object, &members);
        object
    }
}

impl Wire for SocketAddress {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<SocketAddress, EventError> {
        let object = any_object(fields, scanner, member)?;
        let mut members = object.clone();
        let kind = members.remove("type");
        let members = Json::from(&members);
        let address = match kind.as_ref().and_then(Value::as_str) {
            Some("inet") => branch(fields, &members).map(SocketAddress::Inet),
            Some("unix") => branch(fields, &members).map(SocketAddress::Unix),
            Some("vsock") => branch(fields, &members).map(SocketAddress::Vsock),
            Some("fd") => branch(fields, &members).map(SocketAddress::Fd),
            _ => None,
        };
        Ok(address.unwrap_or(SocketAddress::Other(object)))
    }

    fn value(&self) -> Value {
        self.to_object().into()
    }
}

/// The members of an address beside its type; `None` if they do not fit.
fn branch<T: Members>(fields: Fields, members: &Json) -> Option<T> {
    T::read_members(fields, &mut Scanner::new(members.as_text())).ok()
}
