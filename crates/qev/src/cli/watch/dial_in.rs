//! A socket that QEMUs dial: each that does becomes a monitor like those that were named.
//!
//! QEMU dials again a second after a connection was lost, so one that cannot be used comes again and again: what is wrong
//! with it is told once. A machine that comes back, perhaps as another process, has a gap before its `attached`.

use super::{Notes, relay, schema};
use crate::log_limiter::{self, LogKind, LogLimiter, Origin};
use crate::monitor::{Monitor, ROOM};
use crate::printer::now;
use qev_link::{Caller, ConnectOptions, DialIn};
use qev_qmp::Timestamp;
use qev_record::record::Gap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many QEMUs may be attached through one socket; more wait to be accepted.
const MACHINES: usize = 4096;

/// How many machines that were lost are remembered.
const REMEMBERED: usize = 4096;

/// How long accepting pauses after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the callers of one socket have in common.
#[derive(Default)]
struct Book {
    log: Arc<LogLimiter>,
    lost: Mutex<BTreeMap<Arc<str>, Timestamp>>,
}

/// Takes whoever dials, for as long as somebody wants to know.
pub(super) async fn listen(dial_in: DialIn, host: Arc<str>, validate: bool, notes: Notes) {
    let book = Arc::new(Book::default());
    tokio::spawn(log_limiter::report(Arc::downgrade(&book.log)));
    let seats = Arc::new(Semaphore::new(MACHINES));
    // The semaphore is never closed.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match dial_in.accept().await {
            Ok(caller) => {
                let (book, host, notes) = (Arc::clone(&book), Arc::clone(&host), notes.clone());
                tokio::spawn(async move {
                    let _seat = seat;
                    take(caller, &book, &host, validate, &notes).await;
                });
            }
            Err(error) => {
                let path = dial_in.path().display().to_string();
                let line = format!("accepting a QEMU at {path}: {error}");
                book.log.log(Origin::Configured(path.into()), LogKind::AcceptFailed, &line);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One QEMU, from its dialling to its end.
async fn take(caller: Caller, book: &Book, host: &Arc<str>, validate: bool, notes: &Notes) {
    let peer = caller.peer();
    let (client, events) = match caller.connect(ConnectOptions::default().events(ROOM)).await {
        Ok(connected) => connected,
        Err(error) => return book.log.log(Origin::User(peer.uid), LogKind::UnusableDialIn, &error.to_string()),
    };
    let process = peer.pid.map_or_else(|| "unknown".to_owned(), |pid| format!("pid-{pid}"));
    let monitor = Monitor::of(&client, host, || process.clone()).await.dialled_in(&process, peer);
    let schema = schema(&client, &monitor, validate).await;
    drop(client);
    let gap = book.take_lost(monitor.machine()).map(|from| Gap { from: Some(from), ..Gap::default() });
    let gap = gap.map(|gap| monitor.gap(gap, "not connected"));
    // Nobody may want to know any more: then it is over anyway.
    let _ = relay(&monitor, schema, gap, events, notes).await;
    book.put_lost(monitor.machine());
}

impl Book {
    fn take_lost(&self, machine: &str) -> Option<Timestamp> {
        // What is behind the lock is whole at every moment.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(machine)
    }

    fn put_lost(&self, machine: &Arc<str>) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() >= REMEMBERED {
            lost.pop_first();
        }
        lost.insert(Arc::clone(machine), now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let book = Book::default();
        for number in 0..2 * REMEMBERED {
            book.put_lost(&format!("vm{number}").into());
        }
        assert_eq!(book.lost.lock().unwrap().len(), REMEMBERED);
        book.put_lost(&"web1".into());
        assert!(book.take_lost("web1").is_some());
        assert!(book.take_lost("web1").is_none(), "one gap for one loss");
    }
}
