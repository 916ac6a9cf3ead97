//! One server from its start to its end: clients come to its sockets, or it dials one, as a QEMU does.
//!
//! ```text
//!              connected               client left
//!   Dialling ────────────► Serving ───────────────► Waiting ── a second ──► Dialling
//!       └── nobody listens ──► Waiting
//! ```
//!
//! That is what QEMU does with `-chardev socket,path=PATH,server=off,reconnect=1`: it starts whether somebody listens or
//! not, and never gives up.

use crate::exit::{Exit, Failure, tell};
use qev_link::server::{LeaveReason, Notice};
use qev_link::{Context, MonitorOptions, Server, Service, server};
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long after a loss, or when nobody listened, the path is dialled again: QEMU's `reconnect=1`.
const AGAIN: Duration = Duration::from_secs(1);

/// Somebody to be dialled, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    path: PathBuf,
    options: MonitorOptions,
    /// How long after the start it is dialled first.
    first_after: Duration,
    /// Whether somebody was told already that nobody listens: once is enough, for all who dial the same path.
    told: Arc<AtomicBool>,
}

impl Dial {
    /// Somebody who listens at this path, now or later.
    ///
    /// # Errors
    ///
    /// When no socket can have such a path.
    pub(crate) fn new(path: &Path, options: MonitorOptions) -> Result<Dial, Failure> {
        SocketAddr::from_pathname(path).map_err(|error| Failure::usage(error).about(path.display()))?;
        Ok(Dial { path: path.to_owned(), options, first_after: Duration::ZERO, told: Arc::default() })
    }

    /// The same, dialled first after this time.
    pub(crate) fn first_after(&self, time: Duration) -> Dial {
        Dial { first_after: time, ..self.clone() }
    }

    /// Waits, and dials until somebody answers.
    async fn connect(&self, mut wait: Duration) -> UnixStream {
        loop {
            tokio::time::sleep(wait).await;
            match UnixStream::connect(&self.path).await {
                Ok(stream) => {
                    self.told.store(false, Ordering::Relaxed);
                    return stream;
                }
                Err(error) => self.tell(&error),
            }
            wait = AGAIN;
        }
    }

    fn tell(&self, error: &io::Error) {
        // Somebody who listens and is busy, with thousands who dial at once, is worth no word.
        if error.kind() != io::ErrorKind::WouldBlock && !self.told.swap(true, Ordering::Relaxed) {
            tell(&format!("nobody answers at {} ({error}): dialling again every second", self.path.display()));
        }
    }
}

/// Serves until the server ends of itself, or is stopped because `stop` is ready: then `last` is what the service does
/// before.
pub(crate) async fn serve<S: Service>(
    server: &mut Server<S>,
    dial: Option<Dial>,
    stop: impl Future<Output = ()>,
    last: impl FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
) -> server::Ended {
    tokio::select! {
        ended = until_ended(server, dial) => ended,
        () = stop => {
            // An error means that it has ended already.
            let _ = server.call(last).await;
            server.stop().await
        }
    }
}

async fn until_ended<S: Service>(server: &mut Server<S>, dial: Option<Dial>) -> server::Ended {
    let Some(dial) = dial else { return server.ended().await };
    let mut wait = dial.first_after;
    loop {
        let stream = tokio::select! {
            ended = server.ended() => return ended,
            stream = dial.connect(wait) => stream,
        };
        let Ok(served) = server.over(stream, dial.options.clone()).await else { return server.ended().await };
        tokio::select! {
            ended = server.ended() => return ended,
            () = served.ended() => {}
        }
        wait = AGAIN;
    }
}

/// Says on standard error what is worth knowing of a server's clients.
pub(crate) fn notice(notice: &Notice) {
    if !is_usual(notice) {
        tell(&notice.to_string());
    }
}

/// That clients come and go is no news; that one was cut off, or could not be let in, is.
pub(crate) fn is_usual(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::Connected { .. } | Notice::Left { reason: LeaveReason::EndOfFile | LeaveReason::ServerEnded, .. }
    )
}

/// How the program ends when its only server ended so.
pub(crate) fn exit(ended: server::Ended) -> Exit {
    match ended {
        server::Ended::Exited(status) => Exit::Machine(u8::try_from(status).unwrap_or(1)),
        server::Ended::Broken => Exit::Failed,
        _ => Exit::Done,
    }
}
