//! Who is connected, and what goes to whom: the part of the server's state that a service may act on.
//!
//! ```text
//!   emit ──► throttle ──► now ────────────────┐
//!               └──► held ──► its second ends ┴─► encoded once a layout ─► outbox of each client that has negotiated
//! ```
//!
//! The throttle's state belongs to the server, not to a client: an event that is held goes to whoever is there when it is
//! let out, as with QEMU.

use super::connection::{Full, Outbox};
use super::monitor::Monitor;
use super::{LeaveReason, Notice};
use crate::clock::Clock;
use qev_qmp::json::print::Layout;
use qev_qmp::server::{Request, Session, encode_event};
use qev_qmp::throttle::Throttle;
use qev_qmp::{Event, Greeting, QmpError, Timestamp, Value};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// How many requests of a client are looked at before they are executed, so that one out of band can overtake the others:
/// as many as QEMU queues.
const AHEAD_WITH_OOB: usize = 8;

/// What is done with notices.
pub(super) type OnNotice = Box<dyn FnMut(Notice) + Send>;

/// The clients, the throttle and the clock.
pub(super) struct Hub {
    greeting: Greeting,
    clock: Clock,
    /// Nothing, when what is emitted was throttled before.
    throttle: Option<Throttle>,
    clients: BTreeMap<u64, Connected>,
    next_id: u64,
    max_buffer: usize,
    on_notice: OnNotice,
}

/// One client.
#[derive(Debug)]
struct Connected {
    session: Session,
    /// Whether the service knows already that it has negotiated.
    announced: bool,
    monitor: Arc<Monitor>,
    waiting: VecDeque<Waiting>,
    outbox: Outbox,
    task: Option<AbortHandle>,
}

/// What a client wrote, in its order.
#[derive(Debug)]
enum Waiting {
    Request(Request),
    /// What the session answered itself, behind the requests before it.
    Answered(Vec<u8>),
}

/// What is to be executed.
pub(super) struct Next {
    pub(super) request: Request,
    pub(super) monitor: Arc<Monitor>,
}

impl Hub {
    pub(super) fn new(greeting: Greeting, clock: Clock, max_buffer: usize, on_notice: OnNotice) -> Hub {
        let throttle = Some(Throttle::new(greeting.version));
        Hub { greeting, clock, throttle, clients: BTreeMap::new(), next_id: 1, max_buffer, on_notice }
    }

    /// Lets every event out at once.
    pub(super) fn unthrottled(mut self) -> Hub {
        self.throttle = None;
        self
    }

    pub(super) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    pub(super) fn timestamp(&self, now: Duration) -> Timestamp {
        self.clock.read(now)
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        (self.on_notice)(notice);
    }

    /// A client has come: it is greeted. `spawn` starts its task.
    pub(super) fn connect(
        &mut self,
        monitor: Arc<Monitor>,
        spawn: impl FnOnce(u64, super::connection::OutboxEnd) -> AbortHandle,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let (outbox, end) = super::connection::outbox(self.max_buffer);
        let session = Session::new(&self.greeting, monitor.layout);
        let name = Arc::clone(&monitor.name);
        let task = Some(spawn(id, end));
        self.clients
            .insert(id, Connected { session, announced: false, monitor, waiting: VecDeque::new(), outbox, task });
        self.notice(Notice::Connected { monitor: name });
        self.flush(id);
    }

    /// A client has left. What still waits to be written to it is its task's matter.
    pub(super) fn disconnect(&mut self, id: u64, reason: LeaveReason) {
        if let Some(client) = self.clients.remove(&id) {
            self.notice(Notice::Left { monitor: Arc::clone(&client.monitor.name), reason });
        }
    }

    /// The server ends: nobody is served any more, and everyone's outbox is complete.
    pub(super) fn disconnect_all(&mut self) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            self.disconnect(id, LeaveReason::ServerEnded);
        }
    }

    /// Takes what a client wrote. Ask [`Hub::next`] until it has no more.
    pub(super) fn feed(&mut self, id: u64, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.session.feed(bytes);
        }
    }

    /// The next command of a client to be executed; what the session answers itself goes out in its place.
    pub(super) fn next(&mut self, id: u64) -> Option<Next> {
        loop {
            let client = self.clients.get_mut(&id)?;
            let ahead = if client.session.has_oob() { AHEAD_WITH_OOB } else { 1 };
            let mut overtakes = None;
            while client.waiting.len() < ahead && overtakes.is_none() {
                let request = client.session.next_request();
                let answered = client.session.take_output();
                if !answered.is_empty() {
                    client.waiting.push_back(Waiting::Answered(answered));
                }
                match request {
                    Some(request) if request.oob => overtakes = Some(request),
                    Some(request) => client.waiting.push_back(Waiting::Request(request)),
                    None => break,
                }
            }
            let monitor = Arc::clone(&client.monitor);
            if let Some(request) = overtakes {
                return Some(Next { request, monitor });
            }
            match client.waiting.pop_front()? {
                Waiting::Request(request) => return Some(Next { request, monitor }),
                Waiting::Answered(output) => self.put(id, output.into()),
            }
        }
    }

    /// The monitor of a client that has negotiated, the first time that this is asked since it has.
    pub(super) fn newly_negotiated(&mut self, id: u64) -> Option<Arc<Monitor>> {
        let client = self.clients.get_mut(&id)?;
        if client.announced || !client.session.is_negotiated() {
            return None;
        }
        client.announced = true;
        Some(Arc::clone(&client.monitor))
    }

    /// Answers a command of a client, if it is still there.
    pub(super) fn respond(&mut self, id: u64, request_id: Option<Value>, result: Result<Value, QmpError>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.session.respond(request_id, result);
            self.flush(id);
        }
    }

    /// An event happens.
    pub(super) fn emit(&mut self, event: Event, now: Duration) {
        let event = match &mut self.throttle {
            Some(throttle) => throttle.push(event, now),
            None => Some(event),
        };
        if let Some(event) = event {
            self.broadcast(&event);
        }
    }

    /// When [`Hub::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.throttle.as_ref()?.deadline()
    }

    /// Sends the events that were held for long enough.
    pub(super) fn expire(&mut self, now: Duration) {
        for event in self.throttle.as_mut().map(|throttle| throttle.expire(now)).unwrap_or_default() {
            self.broadcast(&event);
        }
    }

    fn broadcast(&mut self, event: &Event) {
        let mut encoded = Encoded::new(event);
        let mut full = Vec::new();
        for (id, client) in &self.clients {
            if client.monitor.events
                && client.session.is_negotiated()
                && let Err(Full { buffered }) = client.outbox.put(encoded.get(client.session.layout()))
            {
                full.push((*id, buffered));
            }
        }
        for (id, buffered) in full {
            self.cut_off(id, buffered);
        }
    }

    fn flush(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            let output = client.session.take_output();
            self.put(id, output.into());
        }
    }

    fn put(&mut self, id: u64, bytes: Arc<[u8]>) {
        if let Some(Err(Full { buffered })) = self.clients.get(&id).map(|client| client.outbox.put(bytes)) {
            self.cut_off(id, buffered);
        }
    }

    fn cut_off(&mut self, id: u64, buffered: usize) {
        if let Some(task) = self.clients.get_mut(&id).and_then(|client| client.task.take()) {
            task.abort();
        }
        self.disconnect(id, LeaveReason::CutOff { buffered });
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("clients", &self.clients).field("throttle", &self.throttle).finish_non_exhaustive()
    }
}

/// An event as the clients get it, encoded when the first of each layout does.
struct Encoded<'a> {
    event: &'a Event,
    line: Option<Arc<[u8]>>,
    pretty: Option<Arc<[u8]>>,
}

impl<'a> Encoded<'a> {
    fn new(event: &'a Event) -> Encoded<'a> {
        Encoded { event, line: None, pretty: None }
    }

    fn get(&mut self, layout: Layout) -> Arc<[u8]> {
        let place = match layout {
            Layout::Line => &mut self.line,
            Layout::Pretty => &mut self.pretty,
        };
        Arc::clone(place.get_or_insert_with(|| encode_event(self.event, layout).into()))
    }
}
