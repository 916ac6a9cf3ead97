//! A socket that QEMUs dial: each that does is a machine. It needs nobody to know where a monitor is.
//!
//! QEMU dials again a second after a connection was lost, so one that cannot be used comes again and again: what is wrong
//! with it is told once.

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
    let seats = Arc::new(Semaphore::new(MACHINES));
    let place: Arc<str> = dial_in.path().display().to_string().into();
    let mut stopping = daemon.stopping();
    loop {
        let accepted = async {
            let seat = Arc::clone(&seats).acquire_owned().await;
            (seat, dial_in.accept().await)
        };
        let (seat, accepted) = tokio::select! {
            () = stopping.wait() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(caller) => {
                let (task, place) = (daemon.clone(), Arc::clone(&place));
                tokio::spawn(async move {
                    let _seat = seat;
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
