//! The shared monitor: one QEMU, many clients. A server on one side, a client on the other.
//!
//! ```text
//!                  ┌──────────────────────────── Share ────────────────────────────┐
//!   client ◄─────► │ its task ◄─ mailbox ◄─┐                                        │
//!   client ◄─────► │ its task ◄─ mailbox ◄─┤ upstream's task ◄─► Client's connection │ ◄─────► QEMU
//!   client ◄─────► │ its task ◄─ mailbox ◄─┘  (one)                                  │
//!                  └─────────────────────────────────────────────────────────────────┘
//!
//!   Listening ── first client ──► Sharing ── last client left ──► Listening
//!       └─────────────── the machine left ──► Ending: every client gets the last event ──► Ended
//! ```
//!
//! Each client sees a QEMU: its greeting, a negotiation of its own, events only after it, its own replies with its own ids as
//! QEMU prints them. What is wrong with a request is answered here, in QEMU's words; what reaches QEMU is a request printed
//! anew with an id of ours, and what it returns is passed on as text. Events and replies keep the order of the wire.
//!
//! | what | bound | at the bound |
//! |---|---|---|
//! | memory of all clients of a [`Budget`] | as it says | the client that holds the most is told why, and cut off |
//! | what waits for one client | 16 MiB | it is told why, and cut off |
//! | a request that is not whole | 4 MiB of memory | told, cut off |
//! | commands under way of one client | 8 with oob, else 1 | the rest waits in its socket |
//! | commands in band that QEMU has | 5 | one of each client in turn |
//! | clients of one share; of a budget | 1024; as it says | told, closed |

mod arguments;
mod mailbox;
mod output;
mod policy;
mod upstream;
mod visitor;

pub use mailbox::Budget;
pub use policy::{AUDITED_ARGUMENTS, Admission, Audited, Gate, Notice, Outcome, Policy, Verdict};

use crate::client::{Client, EndReason};
use crate::dial_in::{Access, Peer};
use crate::listen::{ACCEPT_AGAIN, SocketFile, StartError, listen};
use qev_qmp::Greeting;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use upstream::{Command, Lost, Upstream};
use visitor::{ENDING, Left, Visitor, farewell};

/// How many clients one shared monitor has.
pub const CLIENTS: usize = 1024;

/// How much may wait for one client, in bytes.
const MAILBOX: usize = 16 << 20;

/// How many may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How many commands of clients wait for upstream's task to look at them; more wait in the clients'.
const ASKS: usize = 64;

/// A monitor that is shared at a socket. Dropped, it ends at once, and its socket is removed.
#[derive(Debug)]
pub struct Share {
    task: Task,
    path: SharePath,
    clients: ClientCount,
    ended: Option<Arc<EndReason>>,
}

/// Where a shared monitor is. Clones are for the same one, and may outlive it.
#[derive(Clone, Debug)]
pub struct SharePath(Arc<SocketFile>);

impl SharePath {
    /// The path at which it is now, or was last.
    pub fn get(&self) -> PathBuf {
        self.0.path()
    }

    /// Moves it to another path of the same file system. Whoever is connected notices nothing.
    ///
    /// # Errors
    ///
    /// When something is there already, or the socket's file is not there any more.
    pub fn move_to(&self, path: &Path) -> io::Result<()> {
        self.0.move_to(path)
    }

    /// Removes it: nobody can connect any more. Whoever is connected stays so.
    pub fn remove(&self) {
        self.0.remove();
    }
}

/// How many clients a shared monitor has. Clones are for the same one, and may outlive it: then there are none.
#[derive(Clone, Debug, Default)]
pub struct ClientCount(Arc<AtomicUsize>);

impl ClientCount {
    /// How many there are now, those included that have not negotiated yet.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, clients: usize) {
        self.0.store(clients, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Task(JoinHandle<Arc<EndReason>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.path.remove();
    }
}

impl Share {
    /// Shares the monitor of a client at this path. The client may be used besides; the share keeps its connection alive.
    /// Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub fn start(
        client: &Client,
        path: &Path,
        access: Access,
        gate: Arc<dyn Gate>,
        budget: Arc<Budget>,
    ) -> Result<Share, StartError> {
        let (socket, file) = listen(path, BACKLOG, access)?;
        let mut greeting = client.greeting().clone();
        if !client.has_oob() {
            // What was not negotiated cannot be passed on.
            greeting.capabilities.retain(|capability| capability != "oob");
        }
        let file = Arc::new(file);
        let path = SharePath(Arc::clone(&file));
        let (asks, queue) = mpsc::channel(ASKS);
        let upstream = Upstream::new(client.clone());
        let tasks = Tasks { set: JoinSet::new(), count: ClientCount::default() };
        let clients = tasks.count.clone();
        let sharing = Sharing { socket, file, greeting, gate, budget, upstream, asks, tasks };
        Ok(Share { task: Task(tokio::spawn(sharing.run(queue))), path, clients, ended: None })
    }

    /// Where it is.
    pub fn path(&self) -> SharePath {
        self.path.clone()
    }

    /// How many clients there are, to be looked at at any time.
    pub fn clients(&self) -> ClientCount {
        self.clients.clone()
    }

    /// Waits until the machine has left and every client has what it still had to get, and says why. May be dropped, and
    /// called again.
    pub async fn ended(&mut self) -> Arc<EndReason> {
        match &self.ended {
            Some(reason) => Arc::clone(reason),
            None => {
                // Cut off with its runtime it leaves no reason.
                let reason = (&mut self.task.0).await.unwrap_or_else(|_| Arc::new(EndReason::ClosedHere));
                Arc::clone(self.ended.insert(reason))
            }
        }
    }
}

/// The state of upstream's task.
struct Sharing {
    socket: UnixListener,
    file: Arc<SocketFile>,
    greeting: Greeting,
    gate: Arc<dyn Gate>,
    budget: Arc<Budget>,
    upstream: Upstream,
    asks: mpsc::Sender<Box<Command>>,
    tasks: Tasks,
}

/// The clients' tasks, and their number for others to see.
struct Tasks {
    set: JoinSet<(u64, Peer, Left)>,
    count: ClientCount,
}

impl Tasks {
    fn spawn(&mut self, visit: impl Future<Output = (u64, Peer, Left)> + Send + 'static) {
        self.set.spawn(visit);
        self.count.set(self.set.len());
    }

    /// The next that ended; nothing when there are none.
    async fn next(&mut self) -> Option<Option<(u64, Peer, Left)>> {
        let left = self.set.join_next().await?;
        self.count.set(self.set.len());
        Some(left.ok())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.count.set(0);
    }
}

impl Sharing {
    async fn run(mut self, mut asks: mpsc::Receiver<Box<Command>>) -> Arc<EndReason> {
        let mut again = None;
        let reason = loop {
            tokio::select! {
                heard = self.upstream.next() => match self.upstream.hear(heard) {
                    Ok(()) => {}
                    Err(Lost::Messages(why)) => self.upstream.end_all(&why),
                    Err(Lost::Machine(reason)) => break reason,
                },
                Some(command) = asks.recv() => self.upstream.execute(*command),
                Some(left) = self.tasks.next() => self.left(left),
                accepted = accept(&self.socket, again) => {
                    again = None;
                    if let Err(error) = accepted.and_then(|stream| self.enter(stream)) {
                        self.gate.notice(Notice::AcceptFailed(error));
                        again = Some(Instant::now() + ACCEPT_AGAIN);
                    }
                }
            }
        };
        // First nobody can come any more, then everyone gets the rest.
        let Sharing { socket, file, mut upstream, mut tasks, asks: _asks, .. } = self;
        file.remove();
        drop((socket, asks));
        upstream.end();
        let all = async { while tasks.next().await.is_some() {} };
        // They have the same time each; who is not done then is cut off with the set.
        let _ = tokio::time::timeout(ENDING + ENDING, all).await;
        reason
    }

    /// Lets a client in, or tells it why not. A client is never the reason for an error.
    fn enter(&mut self, stream: UnixStream) -> io::Result<()> {
        let Ok(peer) = Peer::of(&stream) else { return Ok(()) };
        let turn_away = |why: String| {
            // There is room in the socket: it is new.
            let _ = stream.try_write(&farewell(&why));
            self.gate.notice(Notice::TurnedAway { peer, why });
        };
        let admission = match self.gate.admit(peer) {
            Ok(admission) => admission,
            Err(why) => {
                turn_away(why);
                return Ok(());
            }
        };
        let account = if self.tasks.set.len() < CLIENTS { self.budget.enter(MAILBOX) } else { None };
        let Some(account) = account else {
            turn_away("there are as many clients as there may be".to_owned());
            return Ok(());
        };
        self.upstream.enter(Arc::clone(account.mailbox()));
        let asks = self.asks.clone();
        self.tasks.spawn(Visitor::new(stream, peer, account, admission, asks, &self.greeting).run());
        Ok(())
    }

    fn left(&mut self, left: Option<(u64, Peer, Left)>) {
        let Some((id, peer, left)) = left else { return };
        self.upstream.leave(id);
        if let Left::CutOff(why) = left {
            self.gate.notice(Notice::CutOff { peer, why });
        }
    }
}

/// Waits for a client, but not before this moment.
async fn accept(socket: &UnixListener, not_before: Option<Instant>) -> io::Result<UnixStream> {
    if let Some(moment) = not_before {
        tokio::time::sleep_until(moment).await;
    }
    socket.accept().await.map(|(stream, _)| stream)
}
