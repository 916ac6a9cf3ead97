//! Whether a monitor is in use by another client, and by whom: as far as the kernel's socket diagnostics ([`diag`]), its
//! tables of TCP sockets ([`tcp_table`]) and `/proc` tell.
//!
//! QEMU serves one client per monitor: a second one connects, is not accepted, and hears nothing until the first leaves. Who
//! is connected or waits is looked up before connecting and soon after it, or when the time for a greeting is over
//! ([`InUseCheck`]). A client that has closed its end does not count, though a QEMU that is stopped has not noticed that; nor
//! does our own connection.
//!
//! [`InUseCheck`]: crate::client::InUseCheck
//!
//! Where the kernel has no socket diagnostics, its table of Unix sockets shows the accepted end of the first (state 03) and
//! ours, which waits (state 02), under the same path. The table shows paths as the listener was given them, costs 25 ms and
//! more to read on a busy host, and does not say who is at the other end.

mod diag;
mod sockets;
mod tcp_table;

use crate::unix_address::UnixAddress;
pub use sockets::{Sockets, Standing};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use tcp_table::TcpTable;

/// Where the kernel shows its Unix sockets.
const TABLE: &str = "/proc/net/unix";

/// How much of a command line is kept, in characters.
const COMMAND: usize = 120;

/// The process that is connected to a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command line, as far as it fits; what would act on a terminal is escaped.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if !self.command.is_empty() {
            write!(f, " ({})", self.command)?;
        }
        Ok(())
    }
}

/// Whom a client waits behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitsBehind {
    /// Nobody: it was accepted, or the listener accepts nobody.
    Nobody,
    /// Another client; whose, where that can be seen.
    Client(Option<Holder>),
}

/// Which clients are in the way of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// The one that is served.
    Served,
    /// Those that wait behind it, too.
    WaitingToo,
}

/// Whom the client with this inode waits behind at a socket that has said nothing; a client without one was not let in.
pub(crate) async fn other_user(address: UnixAddress<'_>, own: Option<u64>, count: Count) -> WaitsBehind {
    let own = own.and_then(|own| u32::try_from(own).ok());
    let Some(standing) = standing(address).await else { return in_table(address).await };
    // A listener that has accepted us has nobody before us.
    if own.is_some_and(|own| standing.clients.contains(&own)) {
        return WaitsBehind::Nobody;
    }
    let waiting = standing.waiting.into_iter().filter(|_| count == Count::WaitingToo);
    behind(standing.clients.into_iter().chain(waiting).filter(|inode| own != Some(*inode)).collect()).await
}

/// The clients of a socket that is in use; `None` when it is not, or that cannot be seen.
pub(crate) async fn clients_in_use(address: UnixAddress<'_>) -> Option<Vec<u32>> {
    standing(address).await.filter(Standing::is_in_use).map(|standing| standing.clients)
}

/// Whom the client with this inode waits behind, at a socket that serves one client.
pub(crate) async fn waits_behind_unix(address: UnixAddress<'_>, own: Option<u32>) -> WaitsBehind {
    let waits = |standing: &Standing| own.is_some_and(|own| standing.waiting.contains(&own));
    match standing(address).await {
        Some(standing) if standing.is_in_use() && waits(&standing) => behind(standing.clients).await,
        _ => WaitsBehind::Nobody,
    }
}

/// Whom the client at this address waits behind, at a port of this host. Where two clients are served, many are.
pub(crate) async fn waits_behind_tcp(server: SocketAddr, own: Option<SocketAddr>) -> WaitsBehind {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (server, own) = (canonical(server), own.map(canonical));
    let look = move || {
        let table = TcpTable::look();
        if table.is_waiting(server, own) { table.others(server, own) } else { Vec::new() }
    };
    match tokio::task::spawn_blocking(look).await.unwrap_or_default()[..] {
        [Some(inode)] => behind(vec![inode]).await,
        [None] => WaitsBehind::Client(None),
        _ => WaitsBehind::Nobody,
    }
}

/// The process that one of these clients' ends belongs to, as far as that can be seen.
pub(crate) async fn first_owner(clients: Vec<u32>) -> Option<Holder> {
    Sockets::holders(clients).await.into_values().next()
}

async fn behind(others: Vec<u32>) -> WaitsBehind {
    match others.is_empty() {
        true => WaitsBehind::Nobody,
        false => WaitsBehind::Client(first_owner(others).await),
    }
}

/// `None` where the kernel has no socket diagnostics.
async fn standing(address: UnixAddress<'_>) -> Option<Standing> {
    let sockets = Sockets::look().await.ok()?;
    Some(sockets.at_address(address))
}

async fn in_table(address: UnixAddress<'_>) -> WaitsBehind {
    let UnixAddress::Path(path) = address else { return WaitsBehind::Nobody };
    let path = path.to_owned();
    let look = move || shows_held(&String::from_utf8_lossy(&std::fs::read(TABLE).unwrap_or_default()), &path);
    match tokio::task::spawn_blocking(look).await {
        Ok(true) => WaitsBehind::Client(None),
        _ => WaitsBehind::Nobody,
    }
}

/// The processes that have these sockets open, by the sockets' inodes. Those of other users only root sees.
fn owners(inodes: &[u32]) -> BTreeMap<u32, Holder> {
    let mut left: BTreeMap<OsString, u32> =
        inodes.iter().map(|inode| (format!("socket:[{inode}]").into(), *inode)).collect();
    let mut found = BTreeMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if left.is_empty() {
            break;
        }
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for target in files.filter_map(|file| std::fs::read_link(file.path()).ok()) {
            if let Some(inode) = left.remove(target.as_os_str()) {
                found.insert(inode, Holder { pid, command: command(pid) });
            }
        }
    }
    found
}

fn command(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    let mut command: String = line.chars().take(COMMAND).flat_map(char::escape_debug).collect();
    if line.chars().nth(COMMAND).is_some() {
        command.push('…');
    }
    command
}

/// Whether another client is connected to the socket at this path while ours waits.
fn shows_held(table: &str, path: &Path) -> bool {
    let (mut connected, mut waiting) = (false, false);
    for line in table.lines().skip(1) {
        match entry(line) {
            Some(("03", shown)) if is_path(shown, path) => connected = true,
            Some(("02", shown)) if is_path(shown, path) => waiting = true,
            _ => {}
        }
    }
    connected && waiting
}

/// State and path: the sixth column, and what is left behind the seventh.
fn entry(line: &str) -> Option<(&str, &Path)> {
    let mut rest = line.trim_start();
    let mut state = "";
    for column in 1..=7 {
        let (value, behind) = rest.split_once(' ')?;
        if column == 6 {
            state = value;
        }
        rest = behind.trim_start();
    }
    (!rest.is_empty()).then_some((state, Path::new(rest)))
}

/// A relative path was relative to the listener's folder, which may not be ours: then what both have must be equal.
fn is_path(shown: &Path, path: &Path) -> bool {
    shown == path
        || (shown.is_absolute() && std::fs::canonicalize(path).is_ok_and(|path| path == shown))
        || (shown.is_relative() && path.ends_with(shown.strip_prefix(".").unwrap_or(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";
    const LISTENER: &str = "0000000036eab803: 00000002 00000000 00010000 0001 01 34995 /tmp/x y.sock\n";
    const WAITING: &str = "00000000df8c8055: 00000003 00000000 00000000 0001 02     0 /tmp/x y.sock\n";
    const CONNECTED: &str = "000000002da5c2f6: 00000003 00000000 00000000 0001 03 35237 /tmp/x y.sock\n";
    const NAMELESS: &str = "000000002da5c2f7: 00000003 00000000 00000000 0001 03 35238\n";

    fn held(lines: &[&str], path: &str) -> bool {
        shows_held(&format!("{HEADER}{}", lines.concat()), Path::new(path))
    }

    #[test]
    fn one_that_waits_behind_one_that_is_connected_finds_it_held() {
        let path = "/tmp/x y.sock";
        assert!(held(&[LISTENER, WAITING, CONNECTED, NAMELESS], path));
        assert!(!held(&[LISTENER, WAITING], path), "nobody was accepted: it is silent for another reason");
        assert!(!held(&[LISTENER, CONNECTED], path), "the one that is connected is us");
        assert!(!held(&[LISTENER, WAITING, CONNECTED], "/tmp/x"));
        assert!(!held(&["nonsense\n"], path));
    }

    #[test]
    fn a_relative_path_is_known_by_its_end() {
        let relative: Vec<String> =
            [WAITING, CONNECTED].iter().map(|line| line.replace("/tmp/x y.sock", "./vm/x.sock")).collect();
        let relative: Vec<&str> = relative.iter().map(String::as_str).collect();
        assert!(held(&relative, "/srv/vm/x.sock"));
        assert!(!held(&relative, "/srv/other/x.sock"));
    }
}
