//! The one task between a QEMU and all clients of its shared monitor: commands one way, events and answers the other.
//!
//! ```text
//!   clients' tasks ─ Ask::Execute ─► a queue a client, in turn ─► at most UNDER_WAY ─► Relay ─► QEMU
//!                                    out of band: at once ──────────────────────────►
//!   clients' mailboxes ◄─ events to all, answers to whom they belong, in the order of the wire ◄─ Relay
//!
//!   Asleep (nobody there: no subscription) ◄── first client, last client ──► Awake ── the machine left ──► Ended
//! ```
//!
//! It waits for nobody but QEMU. Of what a client asked for and QEMU has not got yet nothing is left when the client leaves;
//! what QEMU has got it executes, and the audit is told.

use super::mailbox::{End, Letter, Mailbox};
use super::policy::{Audited, Outcome};
use crate::client::relay::{NotTaken, Passed, Relay};
use crate::client::{Answer, Capacity, Client, EndReason, Entry, EventItem, ExecuteError};
use qev_qmp::json::print::Layout;
use qev_qmp::server::encode_event;
use qev_qmp::{Json, QmpError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc::OwnedPermit;

/// How many commands in band QEMU is given at once. Its queue has room for 8 and with one less it stops to read, so that
/// one out of band could not overtake them; the embedder may have some under way too.
const UNDER_WAY: usize = 5;

/// How much may wait to be taken from the connection. The task never waits for a client, so this is little more than what
/// one read holds.
const ROOM: Capacity = Capacity { items: 1 << 16, bytes: 32 << 20 };

/// A command that a client wants passed on.
pub(super) struct Command {
    pub(super) visitor: u64,
    /// What the client's task knows it by.
    pub(super) ticket: u64,
    pub(super) command: String,
    pub(super) arguments: Option<Json>,
    pub(super) oob: bool,
    pub(super) audit: Option<Audit>,
}

/// The room to tell of a command. Dropped without an answer it tells that too.
pub(super) struct Audit(Option<(OwnedPermit<Audited>, Audited)>);

impl Audit {
    /// Told when it is known what came of it.
    pub(super) fn new(room: OwnedPermit<Audited>, audited: Audited) -> Audit {
        Audit(Some((room, audited)))
    }

    /// It was never passed on: there is nothing to tell.
    fn forget(mut self) {
        self.0 = None;
    }

    fn tell(mut self, outcome: Outcome) {
        if let Some((_, audited)) = &mut self.0 {
            audited.outcome = outcome;
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some((room, audited)) = self.0.take() {
            room.send(audited);
        }
    }
}

/// A command that QEMU has.
struct UnderWay {
    visitor: u64,
    ticket: u64,
    oob: bool,
    audit: Option<Audit>,
}

/// The state of the task.
pub(super) struct Upstream {
    client: Client,
    relay: Option<Relay>,
    visitors: BTreeMap<u64, Arc<Mailbox>>,
    /// What QEMU has not got yet, by client.
    queues: BTreeMap<u64, VecDeque<Command>>,
    /// Whose turn it is.
    turns: VecDeque<u64>,
    /// What goes past all of that.
    overtaking: VecDeque<Command>,
    under_way: BTreeMap<u64, UnderWay>,
    in_band: usize,
    next_ticket: u64,
    /// The connection's task has enough to do.
    is_full: bool,
}

impl Upstream {
    pub(super) fn new(client: Client) -> Upstream {
        Upstream {
            client,
            relay: None,
            visitors: BTreeMap::new(),
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            overtaking: VecDeque::new(),
            under_way: BTreeMap::new(),
            in_band: 0,
            next_ticket: 0,
            is_full: false,
        }
    }

    /// A client has come.
    pub(super) fn enter(&mut self, mailbox: Arc<Mailbox>) {
        if self.relay.is_none() {
            self.relay = Some(Relay::new(&self.client, ROOM));
        }
        self.visitors.insert(mailbox.id(), mailbox);
    }

    /// A client has left, and takes what it waited for with it.
    pub(super) fn leave(&mut self, visitor: u64) {
        self.visitors.remove(&visitor);
        let (overtaking, others): (VecDeque<_>, VecDeque<_>) =
            self.overtaking.drain(..).partition(|command| command.visitor == visitor);
        self.overtaking = others;
        let never = self.queues.remove(&visitor).unwrap_or_default().into_iter().chain(overtaking);
        never.filter_map(|command| command.audit).for_each(Audit::forget);
        self.turns.retain(|turn| *turn != visitor);
        self.sleep_if_nobody_is_there();
    }

    fn sleep_if_nobody_is_there(&mut self) {
        if self.visitors.is_empty() && self.under_way.is_empty() {
            self.relay = None;
            self.is_full = false;
        }
    }

    /// A client wants a command executed.
    pub(super) fn execute(&mut self, command: Command) {
        match (command.oob, self.visitors.contains_key(&command.visitor)) {
            (_, false) => drop(command.audit.map(Audit::forget)),
            (true, true) => self.overtaking.push_back(command),
            (false, true) => {
                let queue = self.queues.entry(command.visitor).or_default();
                if queue.is_empty() {
                    self.turns.push_back(command.visitor);
                }
                queue.push_back(command);
            }
        }
        self.send();
    }

    /// Gives QEMU what it may get now.
    fn send(&mut self) {
        while !self.is_full {
            let Some(command) = self.next_command() else { return };
            let Some(relay) = &self.relay else { return };
            let Command { visitor, ticket: theirs, command, arguments, oob, audit } = command;
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            match relay.submit(Passed { ticket, command, arguments, oob }) {
                Ok(()) => {
                    self.in_band += usize::from(!oob);
                    self.under_way.insert(ticket, UnderWay { visitor, ticket: theirs, oob, audit });
                }
                Err(NotTaken::Full(back)) => {
                    let Passed { command, arguments, .. } = *back;
                    self.put_back(Command { visitor, ticket: theirs, command, arguments, oob, audit });
                    self.is_full = true;
                }
                // The relay has the end already.
                Err(NotTaken::Ended) => audit.into_iter().for_each(Audit::forget),
            }
        }
    }

    /// One of each client in turn; one out of band before all of them.
    fn next_command(&mut self) -> Option<Command> {
        if let Some(command) = self.overtaking.pop_front() {
            return Some(command);
        }
        if self.in_band >= UNDER_WAY {
            return None;
        }
        let visitor = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&visitor)?;
        let command = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&visitor);
        } else {
            self.turns.push_back(visitor);
        }
        command
    }

    fn put_back(&mut self, command: Command) {
        if command.oob {
            return self.overtaking.push_front(command);
        }
        let visitor = command.visitor;
        self.turns.retain(|turn| *turn != visitor);
        self.turns.push_front(visitor);
        self.queues.entry(visitor).or_default().push_front(command);
    }

    /// Waits for what QEMU says, or until it can be given more. Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) -> Heard {
        let Some(relay) = &self.relay else {
            return Heard::Entry(Entry::Item(EventItem::Ended(self.client.ended().await)));
        };
        tokio::select! {
            entry = relay.next() => Heard::Entry(entry),
            () = relay.has_room(), if self.is_full => Heard::Room,
        }
    }

    /// Passes on what was heard. When it is the end, why; when something was lost, how.
    pub(super) fn hear(&mut self, heard: Heard) -> Result<(), Lost> {
        match heard {
            Heard::Room => self.is_full = false,
            Heard::Entry(Entry::Answer(answer)) => self.answer(*answer),
            Heard::Entry(Entry::Item(item)) => match item {
                EventItem::Event(event) => self.broadcast(&encode_event(&event, Layout::Line).into()),
                EventItem::Unknown(json) => {
                    let line = format!("{}\r\n", json.as_text().replace(['\r', '\n'], " "));
                    self.broadcast(&line.into_bytes().into());
                }
                EventItem::Missed(count) => {
                    return Err(Lost::Messages(format!("{count} messages of the machine were lost on the way")));
                }
                EventItem::TooLarge { bytes, .. } => {
                    return Err(Lost::Messages(format!("a message of {bytes} bytes was lost on the way")));
                }
                EventItem::Garbage(garbage) => {
                    return Err(Lost::Messages(format!(
                        "something that the machine said could not be read: {garbage}"
                    )));
                }
                EventItem::Restarted(_) => return Err(Lost::Messages("the monitor began a new session".to_owned())),
                EventItem::Ended(reason) => return Err(Lost::Machine(reason)),
            },
        }
        self.send();
        Ok(())
    }

    fn broadcast(&self, line: &Arc<[u8]>) {
        for mailbox in self.visitors.values().filter(|mailbox| mailbox.is_open()) {
            mailbox.put(Letter::Event(Arc::clone(line)));
        }
    }

    fn answer(&mut self, answer: Answer) {
        let Some(UnderWay { visitor, ticket, oob, audit }) = self.under_way.remove(&answer.ticket) else { return };
        self.in_band -= usize::from(!oob);
        let result = match answer.result {
            Ok(returned) => Ok(returned),
            Err(ExecuteError::Qmp(error)) => Err(error),
            Err(error) => Err(QmpError::generic(format!("qev: {error}"))),
        };
        if let Some(audit) = audit {
            audit.tell(match &result {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(error.class.clone()),
            });
        }
        match self.visitors.get(&visitor) {
            Some(mailbox) => mailbox.put(Letter::Answer { ticket, result }),
            None => self.sleep_if_nobody_is_there(),
        }
    }

    /// Everyone is told why nobody is served any longer.
    pub(super) fn end_all(&mut self, why: &str) {
        self.visitors.values().for_each(|mailbox| mailbox.end(End::Lost(why.to_owned())));
    }

    /// The machine has left: everyone gets what it still has to get.
    pub(super) fn end(&mut self) {
        self.visitors.values().for_each(|mailbox| mailbox.end(End::Gone));
        let queued = self.queues.split_off(&0).into_values().flatten().chain(self.overtaking.drain(..));
        queued.filter_map(|command| command.audit).for_each(Audit::forget);
        self.under_way.clear();
    }
}

/// What came from QEMU, or a chance to give it more.
pub(super) enum Heard {
    Entry(Entry),
    Room,
}

/// What is lost.
pub(super) enum Lost {
    /// Some messages: a client that goes on would not know.
    Messages(String),
    /// The machine.
    Machine(Arc<EndReason>),
}
