//! A TCP port of this machine's that stays ours, for a program that has to be told which one to take.
//!
//! A port that was bound, let go of and then named to a program can be anybody's in between, and again each time that the
//! program is started anew. So it stays bound here, by a socket that never listens: the kernel gives it to nobody who
//! asks for any port, and to no connection that goes out, while a server that names it, with `SO_REUSEADDR` as servers
//! do, may listen on it, as often as it likes.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

use crate::error::{Context, Error};

/// A port of 127.0.0.1, ours until this goes out of scope.
#[derive(Debug)]
pub struct Port {
    address: SocketAddrV4,
    _socket: OwnedFd,
}

impl Port {
    /// One that is free.
    pub fn reserve() -> Result<Self, Error> {
        let failed = || "cannot reserve a port of 127.0.0.1".to_owned();
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).context(failed)?;
        sockopt::set_socket_reuseaddr(&socket, true).context(failed)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).context(failed)?;
        let address = SocketAddrV4::try_from(getsockname(&socket).context(failed)?).context(failed)?;
        Ok(Self { address, _socket: socket })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

/// As programs are told: `127.0.0.1:40123`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_server_may_listen_on_it_again_and_again_and_nobody_else_is_given_it() {
        let port = Port::reserve().unwrap();
        // A program that another test starts has a copy of the listening socket for a moment, between fork and exec.
        let until_refused = || {
            let deadline = Instant::now() + Duration::from_secs(60);
            let error = loop {
                match TcpStream::connect(port.to_string()) {
                    Ok(_) => assert!(Instant::now() < deadline, "somebody listens at {port}"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        };
        until_refused();
        for _ in 0..3 {
            let server = TcpListener::bind(port.to_string()).unwrap();
            let client = TcpStream::connect(port.to_string()).unwrap();
            let (accepted, _) = server.accept().unwrap();
            // The server ends first, so that the kernel remembers the connection.
            drop((accepted, server, client));
            until_refused();
        }
        assert_ne!(Port::reserve().unwrap().number(), port.number());
    }
}
