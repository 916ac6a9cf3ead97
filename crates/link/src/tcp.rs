//! A monitor over TCP, whose host may vanish without a word: by a power cut, a cable, a route. An idle connection would never
//! learn of it, and one that has something unanswered in a quarter of an hour.
//!
//! ```text
//!   quiet for 15 s ──► a probe every 15 s ──► nothing came back for 60 s ──► the connection ends
//!   sent, and nothing acknowledged for 60 s ───────────────────────────────┘
//! ```
//!
//! It is the kernel of the other host that answers: a QEMU that is stopped or hangs is not cut off by it, unless so much was
//! sent to it that its socket is full for 60 s.

use rustix::net::sockopt;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long it takes until a connection over TCP ends whose other host has vanished, about.
pub const VANISHED_AFTER: Duration = Duration::from_secs(60);

const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

/// Sets up a connection: nothing waits to be sent, and a host that vanished is noticed. It means nothing to sockets other
/// than TCP's, and where it fails the connection works all the same.
pub(crate) fn set_up(socket: impl AsFd) {
    let socket = socket.as_fd();
    // Commands are small and wait for their answers.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepintvl(socket, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(socket, PROBES);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let after = u32::try_from(VANISHED_AFTER.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(socket, after);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_has_taken_all_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_up(&socket);
        assert!(sockopt::tcp_nodelay(&socket).unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        let (idle, every) = (sockopt::tcp_keepidle(&socket).unwrap(), sockopt::tcp_keepintvl(&socket).unwrap());
        assert_eq!(idle + every * sockopt::tcp_keepcnt(&socket).unwrap(), VANISHED_AFTER);
        assert_eq!(u128::from(sockopt::tcp_user_timeout(&socket).unwrap()), VANISHED_AFTER.as_millis());
    }
}
