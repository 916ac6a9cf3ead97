//! The kernel's tables of TCP connections (`/proc/net/tcp`, `/proc/net/tcp6`), asked whether a client of a monitor on this
//! host waits behind another. A monitor on another host cannot be looked at.
//!
//! Of each connection within the host there are two lines, one per end. The listener's end has no inode until the listener
//! has accepted it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where the kernel shows its TCP sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// `TCP_ESTABLISHED`: an end whose other end has not been closed.
const ESTABLISHED: u8 = 1;

/// `TCP_LISTEN`
const LISTENS: u8 = 10;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    /// 0 of a connection that was not accepted.
    inode: u32,
}

/// The ends of connections of this host, as the kernel showed them at one moment.
#[derive(Debug, Default)]
pub(super) struct TcpTable(Vec<End>);

impl TcpTable {
    /// Looks.
    pub(super) fn look() -> TcpTable {
        let tables = TABLES.iter().filter_map(|table| std::fs::read_to_string(table).ok());
        TcpTable(tables.flat_map(|table| ends(&table)).collect())
    }

    /// Whether the client at `own` was not accepted at `server`; a client that has no address yet still waits for the
    /// connection.
    pub(super) fn is_waiting(&self, server: SocketAddr, own: Option<SocketAddr>) -> bool {
        own.is_none_or(|own| self.0.iter().any(|end| (end.local, end.remote, end.inode) == (server, own, 0)))
    }

    /// The other clients whose connections were accepted at `server`: the inode of each end that is on this host too.
    ///
    /// A listener at all addresses has clients at each of them. Without an address of ours, nothing says that the server is
    /// on this host, so only its own address counts.
    pub(super) fn others(&self, server: SocketAddr, own: Option<SocketAddr>) -> Vec<Option<u32>> {
        let listens_at_all =
            |end: &End| end.state == LISTENS && end.local.port() == server.port() && end.local.ip().is_unspecified();
        let at_all = own.is_some() && self.0.iter().any(listens_at_all);
        let is_at = |local: SocketAddr| local == server || at_all && local.port() == server.port();
        let served =
            |end: &&End| is_at(end.local) && end.state == ESTABLISHED && end.inode != 0 && Some(end.remote) != own;
        let inode_of = |served: &End| {
            let mut ends = self.0.iter().filter(|end| (end.local, end.remote) == (served.remote, served.local));
            ends.find_map(|end| Some(end.inode).filter(|inode| *inode != 0))
        };
        self.0.iter().filter(served).map(inode_of).collect()
    }
}

/// The lines behind the head of a table.
fn ends(table: &str) -> Vec<End> {
    table.lines().skip(1).filter_map(end).collect()
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
fn end(line: &str) -> Option<End> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    Some(End {
        local: address(words.get(1)?)?,
        remote: address(words.get(2)?)?,
        state: u8::from_str_radix(words.get(3)?, 16).ok()?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// `0100007F:115C`: words of 32 bits in the order of the host, then the port. IPv4 within IPv6 is IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !matches!(address.len(), 8 | 32) {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(local: &str, remote: &str, state: &str, inode: u32) -> String {
        format!(
            "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  0  0 {inode} 1 0 20 4 30 10 -1\n"
        )
    }

    fn check(lines: &[String], own: Option<&str>, waits: bool, others: &[Option<u32>]) {
        let table = TcpTable(ends(&format!("{HEAD}{}", lines.concat())));
        let (server, own) = ("127.0.0.1:4444".parse().unwrap(), own.map(|own| own.parse().unwrap()));
        assert_eq!((table.is_waiting(server, own), &table.others(server, own)[..]), (waits, others), "{lines:?}");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_client_waits_until_the_listener_has_accepted_it() {
        let (server, first, second) = ("0100007F:115C", "0100007F:1001", "0100007F:1002");
        let listener = line("00000000:115C", "00000000:0000", "0A", 7);
        let (of_first, first_end) = (line(server, first, "01", 8), line(first, server, "01", 9));
        let waits = line(server, second, "01", 0);
        let own = Some("127.0.0.1:4098");
        check(&[listener.clone(), of_first.clone(), first_end.clone(), waits.clone()], own, true, &[Some(9)]);
        check(&[listener.clone(), waits.clone()], own, true, &[]);
        check(&[line(server, second, "01", 3), of_first.clone(), first_end.clone()], own, false, &[Some(9)]);
        check(&[of_first, waits.clone()], own, true, &[None]);
        let waits_too = waits.clone();
        check(&[first_end.clone(), line(server, first, "08", 8), waits], own, true, &[]);
        // At another address of the host, which the listener listens at, too.
        let elsewhere = [line("0200000A:115C", first, "01", 8), line(first, "0200000A:115C", "01", 9)];
        check(&[&[listener, waits_too.clone()], &elsewhere[..]].concat(), own, true, &[Some(9)]);
        check(&[&[waits_too], &elsewhere[..]].concat(), own, true, &[]);
        check(&["nonsense\n".to_owned()], None, true, &[]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_both_families_are_read() {
        for (text, expected) in [
            ("0100007F:115C", Some("127.0.0.1:4444")),
            ("0000000000000000FFFF00000100007F:115C", Some("127.0.0.1:4444")),
            ("00000000000000000000000001000000:0016", Some("[::1]:22")),
            ("0100007F", None),
            ("01007F:115C", None),
            ("0100007é:115C", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
