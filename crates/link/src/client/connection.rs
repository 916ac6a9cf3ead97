//! One connection to a QEMU, and the task that owns it.
//!
//! ```text
//!                    ┌────────────── one task ──────────────┐
//!   Client ─orders─► │ output (bounded) ──► write           │
//!   Client ◄─reply── │ waiting ◄─┐                          │
//!   Events ◄──────── │ board  ◄──┴── protocol ◄── read      │
//!                    └──────────────────────────────────────┘
//! ```
//!
//! It always reads, unless a subscription holds it back: a QEMU buffers without limit for a client that does not. It takes
//! an order only while little waits
//! to be written, so commands are not sent faster than the peer reads them; whoever sends one waits in its own timeout.
//!
//! When writing fails, reading goes on: a QEMU that exits has closed its end, and its last events are still to be read.

use super::events::{Board, EndReason, EventItem};
use super::execute::{ExecuteError, Order, ReplyTo, Submission};
use super::receive::{Excess, Incomplete};
use qev_qmp::client::{Client as Protocol, ExecuteError as Unsent, Incoming, Session};
use qev_qmp::{Greeting, QmpError};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

/// With more than this many bytes to be written, no further order is taken.
const OUTPUT_ENOUGH: usize = 64 << 10;

/// The stream, the protocol's state, and who waits for what.
#[derive(Debug)]
pub(super) struct Connection<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    protocol: Protocol,
    output: Output,
    waiting: BTreeMap<u64, ReplyTo>,
    board: Arc<Board>,
    incomplete: Incomplete,
}

/// What capabilities negotiation came to; events on the way are on the board.
#[derive(Debug)]
pub(super) enum Step {
    /// The peer has greeted.
    Greeted(Greeting),
    /// Commands may be sent.
    Ready,
    /// The peer does not let us in.
    Refused(QmpError),
    /// The peer says what is wrong, and not about what we sent.
    Complained(QmpError),
    /// Something that is no message: the peer may not speak QMP at all.
    Strange(Vec<u8>),
}

/// A subscription has no room.
struct Held;

impl<S: crate::stream::Duplex> Connection<S> {
    pub(super) fn new(stream: S, protocol: Protocol, board: Arc<Board>) -> Connection<S> {
        let (reader, writer) = tokio::io::split(stream);
        Connection {
            reader,
            writer,
            protocol,
            output: Output::default(),
            waiting: BTreeMap::new(),
            board,
            incomplete: Incomplete::new(),
        }
    }

    pub(super) fn has_oob(&self) -> bool {
        self.protocol.has_oob()
    }

    /// The next step of the negotiation. Nothing is lost when the future is dropped.
    ///
    /// Nobody takes from the first subscription yet: one that holds back and is full holds the negotiation back too, until
    /// its time is over.
    pub(super) async fn negotiate(&mut self) -> Result<Step, EndReason> {
        loop {
            while let Ok(Some(incoming)) = self.next_incoming() {
                self.incomplete.completed();
                let step = match &incoming {
                    Incoming::Greeting(greeting) => Some(Step::Greeted(greeting.clone())),
                    Incoming::Ready => Some(Step::Ready),
                    Incoming::Refused(error) => Some(Step::Refused(error.clone())),
                    Incoming::Garbage(garbage) => Some(Step::Strange(garbage.sample.clone())),
                    Incoming::Unknown(json) => Some(Step::Strange(json.as_text().as_bytes().to_owned())),
                    Incoming::Stray(reply) => reply.result.as_ref().err().cloned().map(Step::Complained),
                    Incoming::Event(_) | Incoming::Reply { .. } => None,
                };
                if !matches!(incoming, Incoming::Greeting(_) | Incoming::Refused(_)) {
                    self.dispatch(incoming)?;
                }
                if let Some(step) = step {
                    return Ok(step);
                }
            }
            self.incomplete.is_now(self.protocol.incomplete());
            self.output.add(self.protocol.take_output());
            let more = tokio::select! {
                excess = self.incomplete.exceeded() => return Err(excess.into()),
                more = crate::stream::read(&mut self.reader, |bytes| feed(&mut self.protocol, bytes)),
                    if !self.board.is_held() => more,
                () = self.board.released(), if self.board.is_held() => continue,
                () = self.output.write(&mut self.writer) => continue,
            };
            if let Err(reason) = ended(more) {
                // What is left of a message first; the end is still there afterwards.
                return self.protocol.finish().map(|garbage| Step::Strange(garbage.sample)).ok_or(reason);
            }
        }
    }

    /// Owns the connection until it ends.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let reason = match self.serve(&mut orders).await {
            Ok(()) => EndReason::ClosedHere,
            Err(reason) => reason,
        };
        // First everyone can know why, then those who wait for replies are let go.
        self.board.end(reason);
    }

    /// Until all handles are gone, or the connection is.
    async fn serve(&mut self, orders: &mut mpsc::Receiver<Order>) -> Result<(), EndReason> {
        loop {
            // Asked once a round: one that lets go meanwhile is looked at in the next, for what was read comes first.
            let held = loop {
                match self.next_incoming() {
                    Ok(Some(incoming)) => {
                        self.incomplete.completed();
                        self.dispatch(incoming)?;
                    }
                    Ok(None) => break false,
                    Err(Held) => break true,
                }
            };
            // While it is held back, what was read may be whole messages.
            self.incomplete.is_now(if held { 0 } else { self.protocol.incomplete() });
            self.output.add(self.protocol.take_output());
            tokio::select! {
                more = crate::stream::read(&mut self.reader, |bytes| feed(&mut self.protocol, bytes)), if !held => {
                    if let Err(reason) = ended(more) {
                        if let Some(garbage) = self.protocol.finish() {
                            self.board.publish(&EventItem::Garbage(Arc::new(garbage)));
                        }
                        return Err(reason);
                    }
                }
                excess = self.incomplete.exceeded() => return Err(excess.into()),
                () = self.board.released(), if held => {}
                () = self.output.write(&mut self.writer) => {}
                order = orders.recv(), if self.output.len() < OUTPUT_ENOUGH => match order {
                    Some(Order::Execute(submission)) => self.submit(*submission),
                    Some(Order::Suspend(taker)) => {
                        self.suspend(taker);
                        return Ok(());
                    }
                    Some(Order::Close) | None => return Ok(()),
                }
            }
        }
    }

    /// The next message, unless a subscription has no room for it: then what was read waits.
    fn next_incoming(&mut self) -> Result<Option<Incoming>, Held> {
        if self.board.is_held() { Err(Held) } else { Ok(self.protocol.next_incoming()) }
    }

    fn dispatch(&mut self, incoming: Incoming) -> Result<(), EndReason> {
        match incoming {
            Incoming::Event(event) => self.board.publish(&EventItem::Event(Arc::new(event))),
            Incoming::Garbage(garbage) => self.board.publish(&EventItem::Garbage(Arc::new(garbage))),
            Incoming::Unknown(json) => self.board.publish(&EventItem::Unknown(Arc::new(json))),
            Incoming::Greeting(greeting) => {
                self.board.publish(&EventItem::Restarted(Arc::new(greeting)));
                for (_, reply) in std::mem::take(&mut self.waiting) {
                    reply.send(Err(ExecuteError::Restarted));
                }
            }
            Incoming::Refused(error) => return Err(EndReason::NegotiationRefused(error)),
            Incoming::Reply { id, result } => {
                if let Some(reply) = self.waiting.remove(&id) {
                    reply.send(result.map_err(ExecuteError::Qmp));
                }
            }
            // An answer to what we did not ask: nobody can be waiting for it.
            Incoming::Ready | Incoming::Stray(_) => {}
        }
        Ok(())
    }

    /// Gives away what is needed to go on. Nothing is read or written afterwards.
    fn suspend(&mut self, taker: oneshot::Sender<Session>) {
        self.output.add(self.protocol.take_output());
        if let Some(mut session) = self.protocol.suspend() {
            session.unsent = self.output.rest();
            // Who asked may have given up: then the session is lost, as it is when a process is cut off.
            let _ = taker.send(session);
        }
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { command, arguments, oob, reply } = submission;
        if reply.is_closed() {
            // Its time ran out before it could be sent: then it had better not be executed.
            return;
        }
        let sent = match (&reply, oob) {
            (ReplyTo::Relay(..), _) => self.protocol.pass_on(&command, arguments.as_ref(), oob),
            (ReplyTo::Caller(_), true) => self.protocol.execute_oob(&command, arguments.as_ref()),
            (ReplyTo::Caller(_), false) => self.protocol.execute(&command, arguments.as_ref()),
        };
        match sent {
            Ok(id) => {
                self.waiting.insert(id, reply);
            }
            Err(unsent) => {
                reply.send(Err(match unsent {
                    Unsent::NoOob => ExecuteError::NoOob,
                    Unsent::NotReady => ExecuteError::Restarted,
                    Unsent::NotJson => ExecuteError::NotJson,
                    _ => ExecuteError::TooManyPending,
                }));
            }
        }
    }
}

/// Whether a read says that the connection has ended.
fn ended(read: io::Result<bool>) -> Result<(), EndReason> {
    match read {
        Ok(true) => Ok(()),
        Ok(false) => Err(EndReason::EndOfFile),
        Err(error) => Err(EndReason::from_error(error)),
    }
}

impl From<Excess> for EndReason {
    fn from(excess: Excess) -> EndReason {
        match excess {
            Excess::Memory => EndReason::MessageTooLarge,
            Excess::Time => EndReason::MessageTimeout,
        }
    }
}

/// `false` at the end of the stream.
fn feed(protocol: &mut Protocol, bytes: &[u8]) -> bool {
    protocol.feed(bytes);
    !bytes.is_empty()
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// The peer does not read any more.
    broken: bool,
}

impl Output {
    fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn rest(&self) -> Vec<u8> {
        self.bytes.get(self.written..).unwrap_or_default().to_vec()
    }

    fn add(&mut self, bytes: Vec<u8>) {
        if self.broken || bytes.is_empty() {
            return;
        }
        if self.len() == 0 {
            self.bytes = bytes;
            self.written = 0;
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
    }

    /// Writes something; waits for ever when there is nothing to be written. Nothing is lost, and nothing is written
    /// twice, when the future is dropped.
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) {
        if self.len() == 0 {
            std::future::pending::<()>().await;
        }
        match writer.write(self.bytes.get(self.written..).unwrap_or_default()).await {
            Ok(0) | Err(_) => {
                self.broken = true;
                self.bytes = Vec::new();
                self.written = 0;
            }
            Ok(count) => {
                self.written += count;
                if self.len() == 0 {
                    // An idle connection keeps no buffer.
                    self.bytes = Vec::new();
                    self.written = 0;
                }
            }
        }
    }
}
