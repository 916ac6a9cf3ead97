//! Looking whether another client uses a monitor, instead of waiting behind it for a greeting that cannot come.
//!
//! ```text
//!   a Unix socket:  look ─ in use ─► 100 ms ─► look ─ in use ─► error: by whom
//!                     └─ else ─► connect ─► greeting, or after 250 ms: look, as below
//!   TCP, this host: connect ─► greeting, or after 250 ms: not accepted, and another one is ─► error: by whom
//! ```
//!
//! A client that has just left, or is leaving, must not count; nor must one client of a server that has many. So a monitor is
//! in use only when it listens as QEMU does, for one client, and has accepted one that is still there ([`Standing::is_in_use`]);
//! over TCP, when exactly one other client was accepted and we were not.
//!
//! [`Standing::is_in_use`]: crate::Standing::is_in_use

use crate::holder::{self, Holder, WaitsBehind};
use crate::unix_address::UnixAddress;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// How long a client that is connected may take to leave.
const LEAVING: Duration = Duration::from_millis(100);

/// How long a monitor may take to accept a connection before it is looked why.
const ACCEPTING: Duration = Duration::from_millis(250);

/// When it is looked whether another client uses a monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InUseCheck {
    /// Before and soon after connecting: [`ConnectError::Held`] comes at once.
    ///
    /// [`ConnectError::Held`]: crate::ConnectError::Held
    #[default]
    Early,
    /// When no greeting came in time, for a caller that waits for its turn.
    AtTimeout,
}

/// Returns who uses the monitor, if it is in use and stays so for [`LEAVING`].
pub(super) async fn before_connecting(address: UnixAddress<'_>) -> Option<Option<Holder>> {
    holder::clients_in_use(address).await?;
    sleep(LEAVING).await;
    let clients = holder::clients_in_use(address).await?;
    Some(holder::first_owner(clients).await)
}

/// Returns who uses the Unix socket behind whom the connection with this inode waits. Where there is nobody, it does not
/// return.
pub(super) async fn behind_unix(address: UnixAddress<'_>, own: Option<u64>) -> Option<Holder> {
    sleep(ACCEPTING).await;
    let own = own.and_then(|own| u32::try_from(own).ok());
    match holder::waits_behind_unix(address, own).await {
        WaitsBehind::Client(holder) => holder,
        WaitsBehind::Nobody => std::future::pending().await,
    }
}

/// The same over TCP. The connection may not be there yet: when as many clients wait as may, the kernel lets the next one
/// wait for a connection.
pub(super) async fn behind_tcp(server: SocketAddr, own: Option<SocketAddr>) -> Option<Holder> {
    sleep(ACCEPTING).await;
    match holder::waits_behind_tcp(server, own).await {
        WaitsBehind::Client(holder) => holder,
        WaitsBehind::Nobody => std::future::pending().await,
    }
}
