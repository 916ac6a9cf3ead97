//! A monitor that stands by: what it says goes to the task of its session, until that task takes it over or one of them ends.

use super::session::Monitor;
use crate::daemon::Daemon;
use crate::daemon::sessions::{Announced, FromSpare, Spare};
use crate::printer::now;
use qev_link::EventItem;
use tokio::sync::{mpsc, oneshot};

/// Why a monitor stands by no longer.
pub(super) enum Ended {
    /// Its connection is over, or qev is being stopped.
    Connection,
    /// Its session ended without it. The monitor is as it was.
    Session(Box<Monitor>),
}

/// Stands by for a session. Returns when the connection is over, as a spare or after it took over.
pub(super) async fn stand_by(
    monitor: Monitor,
    announced: Announced,
    session: &mpsc::Sender<FromSpare>,
    daemon: &Daemon,
) -> Ended {
    let Monitor { id, client, mut events, early, held, socket } = monitor;
    let (over, is_over) = oneshot::channel();
    let (reclaim, mut reclaimed) = oneshot::channel::<oneshot::Sender<_>>();
    let spare = Spare {
        id,
        client: client.clone(),
        held: held.clone(),
        socket: socket.clone(),
        announced: Some(announced),
        over,
        reclaim,
    };
    let mut early = early.into_iter();
    let mut unsent = Vec::new();
    // When the session has ended, so has the other end of `reclaimed`.
    let _ = session.send(FromSpare::Joined(Box::new(spare))).await;
    loop {
        let item = match early.next() {
            Some(item) => item,
            None => tokio::select! {
                biased;
                asked = &mut reclaimed => {
                    let Ok(give) = asked else {
                        let monitor = Monitor { id, client, events, early: unsent, held, socket };
                        return match daemon.is_stopping() {
                            true => Ended::Connection,
                            false => Ended::Session(Box::new(monitor)),
                        };
                    };
                    drop((client, socket));
                    // Who asked may have been stopped meanwhile. Nothing is ever sent when it is over.
                    let _ = give.send(events);
                    let _ = is_over.await;
                    return Ended::Connection;
                }
                item = events.next() => (now(), item),
            },
        };
        let (received, item) = item;
        let is_end = matches!(item, EventItem::Ended(_));
        // Where it cannot be sent the session has ended, which is seen above.
        if let Err(mpsc::error::SendError(FromSpare::Item(_, received, item))) =
            session.send(FromSpare::Item(id, received, item)).await
        {
            unsent.push((received, item));
        }
        if is_end {
            return Ended::Connection;
        }
    }
}
