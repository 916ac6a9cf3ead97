//! A socket that QEMUs dial: each that does is a machine. It needs nobody to know where a monitor is.
//!
//! QEMU dials again a second after a connection was lost, so one that cannot be used comes again and again: what is wrong
//! with it is told once.
//!
//! Where anybody may dial, one user must not keep all others out: [`super::seats`].

use super::seats::{Seat, Seats};
use crate::daemon::Daemon;
use crate::daemon::attach::{self, Negotiated};
use qev_link::{Caller, DialIn};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many QEMUs may be attached through one socket; more wait to be accepted.
const MACHINES: usize = 16_384;

/// How long accepting pauses after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Takes whoever dials, until the daemon is stopped. Then the socket is removed.
pub(crate) async fn listen(dial_in: DialIn, daemon: Daemon) {
    let room = Arc::new(Semaphore::new(MACHINES));
    let seats = Seats::new(MACHINES, rustix::process::getuid().as_raw());
    let place: Arc<str> = dial_in.path().display().to_string().into();
    let mut stopping = daemon.stopping();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, dial_in.accept().await)
        };
        let (room, accepted) = tokio::select! {
            () = stopping.wait() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(caller) => {
                let Some(seat) = seat_of(&caller, &seats, &place, &daemon) else { continue };
                let (task, place) = (daemon.clone(), Arc::clone(&place));
                tokio::spawn(async move {
                    let _places = (seat, room);
                    take(caller, &place, &task).await;
                });
            }
            Err(error) => {
                daemon.told.once(&format!("accepting a QEMU at {place}: {error}"));
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// A place for who has dialled. Who has none left is let go, and dials again.
fn seat_of(caller: &Caller, seats: &Seats, place: &str, daemon: &Daemon) -> Option<Seat> {
    let uid = caller.peer().uid;
    let seat = seats.take(uid);
    if seat.is_none() {
        let share = seats.share();
        daemon.told.once(&format!(
            "user {uid} has {share} connections or more at {place}, and half of all are taken: no more of it are let in"
        ));
    }
    seat
}

/// One QEMU, from its dialling to its end.
async fn take(caller: Caller, place: &str, daemon: &Daemon) {
    let mut stopping = daemon.stopping();
    let connected = tokio::select! {
        () = stopping.wait() => return,
        connected = caller.connect(attach::options(daemon)) => connected,
    };
    match connected {
        Ok((client, events)) => {
            let monitor =
                Negotiated { client, events, way: "dial-in", place: place.to_owned(), path: None, configured: None };
            attach::hold(monitor, daemon).await;
        }
        Err(error) => daemon.told.once(&error.to_string()),
    }
}
