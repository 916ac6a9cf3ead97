//! The server's task: it owns the service and the hub, and everything reaches them through its queues.
//!
//! ```text
//!   listeners ──clients──►┐
//!   clients' tasks ─inputs►├─► select ─► Serving ──► service ended, or stopped ──► Ending ──► all written, or LINGER over
//!   Emitter ───events────►│      ▲          │
//!   Server ────asks──────►┘      └──────────┘ timers: throttle and service, whichever is due first
//! ```

use super::connection::{FromClient, carry};
use super::hub::{Hub, Next};
use super::monitor::{FromListener, Listener, Monitor, MonitorOptions};
use super::service::{Context, Service};
use super::{Ended, LeaveReason, Notice};
use crate::stream::Duplex;
use qev_qmp::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many reads of clients may wait for the server's task. At most 64 KiB each; more wait in their tasks.
const INPUTS: usize = 16;

/// How long clients may take, at the server's end, to read what they have still to get.
const ENDING: Duration = Duration::from_secs(5);

/// So many timers are handled before the queues are looked at again, should they be due again and again.
const TIMERS_AT_ONCE: usize = 64;

/// What is called with the service.
pub(super) type Call<S> = Box<dyn FnOnce(&mut S, &mut Context<'_>) + Send>;

/// What a handle asks of the server's task.
pub(super) enum Ask<S> {
    /// To serve a client over this. Boxed, because the queue of every idle server has room for a few.
    Over(Box<Over>),
    /// To call this with the service.
    Call(Call<S>),
    /// To end.
    Stop,
}

/// One client that the embedder brings.
pub(super) struct Over {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) options: MonitorOptions,
    pub(super) ended: oneshot::Sender<()>,
}

/// The other ends of the queues that reach it from outside.
pub(super) struct Queues<S> {
    pub(super) events: mpsc::Receiver<Box<Event>>,
    pub(super) asks: mpsc::Receiver<Ask<S>>,
}

/// The state of the server's task.
pub(super) struct Owner<S> {
    start: Instant,
    service: S,
    hub: Hub,
    inputs: mpsc::Sender<(u64, FromClient)>,
    tasks: JoinSet<()>,
}

impl<S: Service> Owner<S> {
    /// The server's task.
    pub(super) async fn run(service: S, hub: Hub, listeners: Vec<Listener>, mut queues: Queues<S>) -> Ended {
        let (inputs, mut from_clients) = mpsc::channel(INPUTS);
        let (clients, mut from_listeners) = mpsc::channel(INPUTS);
        let mut listening = JoinSet::new();
        for listener in listeners {
            listening.spawn(listener.run(clients.clone()));
        }
        let mut owner = Owner { start: Instant::now(), service, hub, inputs, tasks: JoinSet::new() };
        let ended = loop {
            owner.handle_timers();
            if let Some(status) = owner.service.exit_status() {
                break Ended::Exited(status);
            }
            let deadline = owner.deadline();
            tokio::select! {
                Some((id, input)) = from_clients.recv() => owner.handle_input(id, input),
                Some(from) = from_listeners.recv() => owner.handle_listener(from),
                Some(event) = queues.events.recv() => owner.emit(*event),
                ask = queues.asks.recv() => {
                    // What was emitted before this was asked happens before it.
                    for _ in 0..queues.events.len() {
                        queues.events.try_recv().into_iter().for_each(|event| owner.emit(*event));
                    }
                    match ask {
                        Some(Ask::Call(call)) => owner.call(call),
                        Some(Ask::Over(over)) => {
                            let monitor = Monitor::new(&over.options, "stream");
                            owner.connect(over.stream, monitor, over.ended);
                        }
                        Some(Ask::Stop) | None => break Ended::Stopped,
                    }
                }
                () = until(deadline) => {}
                Some(_) = owner.tasks.join_next() => {}
            }
        };
        // First nobody can come any more, and the sockets' files are gone; then everyone gets what is still to be written.
        listening.shutdown().await;
        owner.hub.disconnect_all();
        let all_written = async { while owner.tasks.join_next().await.is_some() {} };
        // Who has not read by then is cut off with the set of tasks.
        let _ = tokio::time::timeout(ENDING, all_written).await;
        ended
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn deadline(&self) -> Option<Instant> {
        let first = [self.hub.deadline(), self.service.deadline()].into_iter().flatten().min()?;
        self.start.checked_add(first)
    }

    /// In the order in which they are due, the throttle first: it lets out what happened before.
    fn handle_timers(&mut self) {
        for _ in 0..TIMERS_AT_ONCE {
            let now = self.now();
            let held = self.hub.deadline().filter(|at| *at <= now);
            let service = self.service.deadline().filter(|at| *at <= now);
            match (held, service) {
                (None, None) => return,
                (Some(held), service) if service.is_none_or(|service| held <= service) => self.hub.expire(now),
                _ => self.service.wake(&mut Context { hub: &mut self.hub, now, monitor: None }),
            }
            if self.service.exit_status().is_some() {
                return;
            }
        }
    }

    fn handle_listener(&mut self, from: FromListener) {
        match from {
            FromListener::Client { stream, monitor, seat } => self.connect(stream, monitor, seat),
            FromListener::Failed { monitor, error } => {
                self.hub.notice(Notice::AcceptFailed { monitor: Arc::clone(&monitor.name), error });
            }
        }
    }

    /// `keep` is dropped when the client's task ends: a seat at the monitor, or the word to whoever waits for that.
    fn connect(&mut self, stream: Box<dyn Duplex>, monitor: Arc<Monitor>, keep: impl Send + 'static) {
        let (tasks, inputs) = (&mut self.tasks, self.inputs.clone());
        self.hub.connect(monitor, |id, outbox| {
            tasks.spawn(async move {
                let _keep = keep;
                carry(stream, inputs, id, outbox).await;
            })
        });
    }

    fn handle_input(&mut self, id: u64, input: FromClient) {
        match input {
            FromClient::Bytes(bytes) => {
                self.hub.feed(id, &bytes);
                self.execute_all(id);
            }
            FromClient::Ended(Ok(())) => self.hub.disconnect(id, LeaveReason::EndOfFile),
            FromClient::Ended(Err(error)) => self.hub.disconnect(id, LeaveReason::Io(error)),
        }
    }

    /// Executes what a client has asked for so far, one command after the other.
    fn execute_all(&mut self, id: u64) {
        while self.service.exit_status().is_none() {
            let next = self.hub.next(id);
            if let Some(monitor) = self.hub.newly_negotiated(id) {
                let now = self.now();
                self.service.negotiated(&mut Context { hub: &mut self.hub, now, monitor: Some(&monitor.name) });
            }
            let Some(Next { mut request, monitor }) = next else {
                return;
            };
            let request_id = request.id.take();
            let now = self.now();
            let mut context = Context { hub: &mut self.hub, now, monitor: Some(&monitor.name) };
            let result = self.service.execute(&mut context, request);
            self.hub.respond(id, request_id, result);
        }
    }

    fn emit(&mut self, event: Event) {
        let now = self.now();
        self.hub.emit(event, now);
    }

    fn call(&mut self, call: Call<S>) {
        let now = self.now();
        call(&mut self.service, &mut Context { hub: &mut self.hub, now, monitor: None });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
