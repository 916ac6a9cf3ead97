//! A socket that QEMUs dial: each that does is a machine. It needs nobody to know where a monitor is.
//!
//! QEMU dials again a second after a connection was lost, so one that cannot be used comes again and again: what is wrong
//! with it goes through the [log limiter](crate::log_limiter).
//!
//! Where anybody may dial, one user must not keep all others out: [`PlacesPerUser`].

use crate::daemon::Daemon;
use crate::daemon::attach::{self, Negotiated};
use crate::daemon::descriptors::DescriptorUse;
use crate::daemon::places_per_user::{Place, PlacesPerUser, TrustedUsers};
use crate::log_limiter::{LogKind, Origin};
use qev_link::{Caller, DialIn};
use std::sync::Arc;
use std::time::Duration;

/// QEMUs that may be attached through one socket, unless the open files allow fewer ([`DescriptorUse::Machine`]).
const MACHINES: usize = 16_384;

/// How long accepting pauses after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Takes whoever dials, until the daemon is stopped. Then the socket is removed.
pub(crate) async fn listen(dial_in: DialIn, daemon: Daemon) {
    let room = MACHINES.min(daemon.descriptors.most(DescriptorUse::Machine));
    let places = PlacesPerUser::new(room, TrustedUsers::of_host());
    let socket: Arc<str> = dial_in.path().display().to_string().into();
    let mut stopping = daemon.stopping();
    loop {
        // Nobody is accepted while there are no descriptors for one more: callers wait in the socket's backlog.
        let accepted = async {
            let descriptors = daemon.descriptors.take(DescriptorUse::Machine).await;
            (descriptors, dial_in.accept().await)
        };
        let (descriptors, accepted) = tokio::select! {
            () = stopping.wait() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(caller) => {
                let Some(place) = place_of(&caller, &places, &socket, &daemon) else { continue };
                let (task, socket) = (daemon.clone(), Arc::clone(&socket));
                tokio::spawn(async move {
                    let _taken = (place, descriptors);
                    take(caller, &socket, &task).await;
                });
            }
            Err(error) => {
                let line = format!("accepting a QEMU at {socket}: {error}");
                daemon.log.log(Origin::Configured(Arc::clone(&socket)), LogKind::AcceptFailed, &line);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Takes a place for a caller. A caller that gets none is hung up on, and dials again.
fn place_of(caller: &Caller, places: &PlacesPerUser, socket: &str, daemon: &Daemon) -> Option<Place> {
    let uid = caller.peer().uid;
    let place = places.take(uid);
    if place.is_none() {
        let part = places.part();
        let line = format!(
            "user {uid} has {part} connections or more at {socket}, and half of all are taken: no more of it are let in"
        );
        daemon.log.log(Origin::User(uid), LogKind::TooManyDialIns, &line);
    }
    place
}

/// One QEMU, from its dialling to its end.
async fn take(caller: Caller, socket: &str, daemon: &Daemon) {
    let uid = caller.peer().uid;
    let mut stopping = daemon.stopping();
    let announced = daemon.sessions.announce(caller.peer());
    let connected = tokio::select! {
        () = stopping.wait() => return,
        connected = caller.connect(attach::options(daemon)) => connected,
    };
    match connected {
        Ok((client, events)) => {
            let monitor = Negotiated {
                client,
                events,
                way: "dial-in",
                place: socket.to_owned(),
                path: None,
                configured: None,
                announced,
            };
            attach::hold(monitor, daemon).await;
        }
        Err(error) => daemon.log.log(Origin::User(uid), LogKind::UnusableDialIn, &error.to_string()),
    }
}
