//! A named machine whose monitor is not a socket of this host: connected to, and again when it is gone.
//!
//! Nobody can look beforehand whether such a monitor is held by another client: where no greeting comes, it is tried again
//! after 10 s at last.

use crate::backoff::Backoff;
use crate::config::Machine;
use crate::daemon::Daemon;
use crate::daemon::attach::{self, Negotiated};
use crate::daemon::descriptors::{DescriptorUse, no_descriptors};
use crate::daemon::roster::MachineStatus;
use crate::log_limiter::{LogKind, Origin};
use crate::printer::now;
use qev_link::{Client, ConnectError};
use tokio::time::Instant;

/// Follows one machine until the daemon is stopped.
pub(crate) async fn follow(machine: Machine, daemon: Daemon) {
    let mut backoff = Backoff::default();
    let mut stopping = daemon.stopping();
    let place = machine.monitor.to_string();
    let key = format!("remote:{}", machine.name);
    loop {
        let descriptors = daemon.descriptors.try_take(DescriptorUse::Machine);
        let connect = async {
            match &descriptors {
                Some(_) => Client::connect(&machine.monitor, attach::options(&daemon)).await,
                None => Err(no_descriptors(place.clone())),
            }
        };
        let connected = tokio::select! {
            () = stopping.wait() => return,
            connected = connect => connected,
        };
        match connected {
            Ok((client, events)) => {
                let since = Instant::now();
                daemon.roster.remove(&key);
                let (place, configured) = (place.clone(), Some(machine.name.clone()));
                let announced = daemon.sessions.announce_session(None);
                let monitor = Negotiated { client, events, way: "dial-out", place, path: None, configured, announced };
                attach::hold(monitor, &daemon).await;
                backoff.was_connected(since.elapsed());
            }
            Err(error) => {
                let origin = Origin::Configured(machine.name.as_str().into());
                daemon.log.log(origin, LogKind::UnusableMonitor, &format!("{}: {error}", machine.name));
                daemon.roster.show(&key, status(&machine, &place, &error));
            }
        }
        drop(descriptors);
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

fn status(machine: &Machine, place: &str, error: &ConnectError) -> MachineStatus {
    let state = match error {
        ConnectError::NobodyListens { .. } | ConnectError::Io { .. } => "gone",
        _ => "silent",
    };
    MachineStatus::not_attached(machine.name.as_str(), state, now(), place.to_owned(), error.to_string())
}
