//! One client of a shared monitor: the task that owns its connection, and speaks to it as a QEMU does.
//!
//! ```text
//!                     ┌───────────────────────── one task ─────────────────────────┐
//!   client ── bytes ─►│ Session (QEMU's parser) ─► policy ─► slots, in their order ─│── commands ───► upstream's task
//!   client ◄─ bytes ──│ output ◄────────────────────── answers, in the slots' order ◄│── letters ◄──── upstream's task
//!                     └──────────────────────────────── events, as they come ───────┘
//!
//!   Serving ── client closed its end ──► Draining: what it asked for is answered, for LINGER at most ──► left
//!      │ the machine left ────────────► Ending: what waits is written, for ENDING at most ────────────► left
//!      └─ cut off ────────────────────► Telling: the message that was begun, then why, for ENDING ────► left
//! ```
//!
//! It reads on only while it has room for what that may lead to; who sends more waits in its own socket.

use super::arguments;
use super::mailbox::{Account, End, Letter};
use super::output::Output;
use super::policy::{AUDITED_ARGUMENTS, Admission, Audited, Outcome, Verdict, cannot_be_shared};
use super::upstream::{Audit, Command};
use crate::dial_in::Peer;
use crate::stream;
use qev_qmp::json::print::Layout;
use qev_qmp::server::{Request, Session};
use qev_qmp::{Greeting, Json, QmpError, Value};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// How many commands of a client are under way with out-of-band execution, as many as QEMU queues; without it one is.
const UNDER_WAY_WITH_OOB: usize = 8;

/// With more than this many bytes to be written, nothing more is taken to be answered.
const OUTPUT_ENOUGH: usize = 64 << 10;

/// So many bytes are looked at before it is asked again whether there is room: each may lead to an error of 80.
const BITE: usize = 512;

/// How much memory a request may take that is not whole yet.
pub(super) const REQUEST: usize = 4 << 20;

/// How long a client that has closed its end may take to read its last replies.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take to read its last messages when the machine has left, or why it is cut off.
pub(super) const ENDING: Duration = Duration::from_secs(5);

/// What a client's task has.
pub(super) struct Visitor {
    stream: UnixStream,
    peer: Peer,
    account: Account,
    admission: Admission,
    asks: mpsc::Sender<Box<Command>>,
    session: Session,
    /// What was read, and how much of it was looked at.
    input: Vec<u8>,
    looked_at: usize,
    slots: VecDeque<Slot>,
    /// Commands out of band that are under way: they are answered at once.
    overtaking: Vec<Waiting>,
    next_ticket: u64,
    output: Output,
    /// Since when it writes no more.
    closed_its_end: Option<Instant>,
}

/// A command that is under way.
struct Waiting {
    ticket: u64,
    id: Option<Value>,
    /// How much memory it takes here and on its way, about.
    bytes: usize,
}

/// What is to be said to the client, in the order of its requests.
enum Slot {
    /// A command that is under way.
    Waiting(Waiting),
    /// What is known already.
    Answered(Vec<u8>),
}

/// How a client left.
pub(super) enum Left {
    /// It went, or the machine did.
    Itself,
    /// It was cut off.
    CutOff(String),
}

impl Visitor {
    /// It is greeted.
    pub(super) fn new(
        stream: UnixStream,
        peer: Peer,
        account: Account,
        admission: Admission,
        asks: mpsc::Sender<Box<Command>>,
        greeting: &Greeting,
    ) -> Visitor {
        let mut session = Session::new(greeting, Layout::Line);
        let mut output = Output::default();
        output.push(session.take_output().into());
        Visitor {
            stream,
            peer,
            account,
            admission,
            asks,
            session,
            input: Vec::new(),
            looked_at: 0,
            slots: VecDeque::new(),
            overtaking: Vec::new(),
            next_ticket: 0,
            output,
            closed_its_end: None,
        }
    }

    /// Until it has left.
    pub(super) async fn run(mut self) -> (u64, Peer, Left) {
        let id = self.account.mailbox().id();
        let left = loop {
            match self.account.end() {
                Some(End::CutOff(why)) => {
                    let Visitor { stream, account, mut output, input, slots, session, .. } = self;
                    // What it holds itself is let go too.
                    drop((input, slots, session));
                    output.keep_begun();
                    output.push(farewell(&why).into());
                    write_out(stream, output, account).await;
                    break Left::CutOff(why);
                }
                Some(End::Gone) if !self.has_letters() => {
                    write_out(self.stream, self.output, self.account).await;
                    break Left::Itself;
                }
                Some(End::Lost(why)) if !self.has_letters() => {
                    self.output.push(farewell(&why).into());
                    write_out(self.stream, self.output, self.account).await;
                    break Left::CutOff(why);
                }
                _ => {}
            }
            if let Err(why) = self.take_requests().await {
                self.account.mailbox().cut_off_here(&why);
                continue;
            }
            // What it asked for is looked at, as far as there was room, and answered.
            let is_answered = self.slots.is_empty() && self.overtaking.is_empty() && self.input.is_empty();
            if self.closed_its_end.is_some() && is_answered && self.output.is_empty() {
                break Left::Itself;
            }
            self.take_letters();
            self.account.hold(self.held());
            if !self.step().await {
                break Left::Itself;
            }
        };
        (id, self.peer, left)
    }

    /// Waits for something to do, and does it. `false` when the client has gone.
    async fn step(&mut self) -> bool {
        let may_read = self.closed_its_end.is_none() && self.input.is_empty() && self.has_room();
        let lingered = self.closed_its_end.map(|since| since + LINGER);
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            read = stream::read(&mut reader, <[u8]>::to_vec), if may_read => match read {
                Ok(bytes) if bytes.is_empty() => self.closed_its_end = Some(Instant::now()),
                Ok(bytes) => (self.input, self.looked_at) = (bytes, 0),
                Err(_) => return false,
            },
            written = self.output.write(&mut writer) => return written.is_ok(),
            () = self.account.filled(), if self.output.len() < OUTPUT_ENOUGH => {}
            () = self.account.fate() => {}
            () = until(lingered) => return false,
        }
        true
    }

    /// Whether one more request may be looked at.
    fn has_room(&self) -> bool {
        let under_way = if self.session.has_oob() { UNDER_WAY_WITH_OOB } else { 1 };
        self.slots.len() + self.overtaking.len() < under_way && self.output.len() < OUTPUT_ENOUGH
    }

    /// Looks at what was read, as far as there is room. An error is why the client is to be cut off.
    async fn take_requests(&mut self) -> Result<(), String> {
        while self.has_room() {
            let request = self.session.next_request();
            if self.session.is_negotiated() {
                // Before it can know: from then on it gets every event.
                self.account.mailbox().open();
            }
            let answered = self.session.take_output();
            self.answer_in_turn(answered);
            match request {
                Some(request) => self.admit(request).await?,
                None if self.input.is_empty() => break,
                None => {
                    let rest = self.input.get(self.looked_at..).unwrap_or_default();
                    let bite = rest.get(..BITE).unwrap_or(rest);
                    self.session.feed(bite);
                    self.looked_at += bite.len();
                    if self.looked_at >= self.input.len() {
                        self.input = Vec::new();
                    }
                }
            }
            if self.session.held() > REQUEST {
                return Err(format!("a request may take {} MiB while it is not whole, not more", REQUEST >> 20));
            }
        }
        Ok(())
    }

    /// One command: passed on, or refused.
    async fn admit(&mut self, request: Request) -> Result<(), String> {
        let Request { command, arguments, id, oob } = request;
        let verdict = match cannot_be_shared(&command) {
            Some(why) => Err(format!("{command} cannot be shared: {why} (rule 'descriptors')")),
            None => match self.admission.policy.judge(&command, &arguments) {
                Verdict::Allow { audit } => Ok(audit),
                Verdict::Refuse { rule } => Err(format!("{command} is refused by qev's rule '{rule}'")),
            },
        };
        let audit = match verdict {
            Ok(audit) => audit,
            Err(desc) => {
                self.session.respond(id, Err(QmpError::generic(desc)));
                let answered = self.session.take_output();
                match oob {
                    true => self.output.push(answered.into()),
                    false => self.answer_in_turn(answered),
                }
                return Ok(());
            }
        };
        let arguments = arguments::text(&arguments);
        let audit = match self.admission.audit.clone().filter(|_| audit) {
            Some(audit) => Some(self.reserve(audit, &command, arguments.clone()).await?),
            None => None,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let bytes = arguments.as_ref().map_or(0, |json| json.as_text().len()) + id.as_ref().map_or(0, size);
        let waiting = Waiting { ticket, id, bytes };
        match oob {
            true => self.overtaking.push(waiting),
            false => self.slots.push_back(Slot::Waiting(waiting)),
        }
        let visitor = self.account.mailbox().id();
        let command = Box::new(Command { visitor, ticket, command, arguments, oob, audit });
        // Where nobody takes it any more the machine has left, and the mailbox says so.
        let _ = self.asks.send(command).await;
        Ok(())
    }

    /// Waits until there is room to tell of a command; what comes of it can then be told whatever happens.
    async fn reserve(
        &self,
        audit: mpsc::Sender<Audited>,
        command: &str,
        arguments: Option<Json>,
    ) -> Result<Audit, String> {
        let killed = async {
            while self.account.end().is_none() {
                self.account.fate().await;
            }
        };
        let room = tokio::select! {
            room = audit.reserve_owned() => room.map_err(|_| "commands cannot be audited any more".to_owned())?,
            () = killed => return Err("it was cut off before its command could be audited".to_owned()),
        };
        let length = arguments.as_ref().map_or(0, |json| json.as_text().len());
        let left_out = if length > AUDITED_ARGUMENTS { length } else { 0 };
        let arguments = arguments.filter(|_| left_out == 0);
        let (peer, command, outcome) = (self.peer, command.to_owned(), Outcome::Unanswered);
        let audited = Audited { peer, command, arguments, left_out, outcome };
        Ok(Audit::new(room, audited))
    }

    /// An answer that is known, behind those that are not.
    fn answer_in_turn(&mut self, bytes: Vec<u8>) {
        match self.slots.back_mut() {
            _ if bytes.is_empty() => {}
            None => self.output.push(bytes.into()),
            Some(Slot::Answered(before)) => before.extend_from_slice(&bytes),
            Some(Slot::Waiting(_)) => self.slots.push_back(Slot::Answered(bytes)),
        }
    }

    /// How much memory is held here, about.
    fn held(&self) -> usize {
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Waiting(waiting) => waiting.bytes,
            Slot::Answered(bytes) => bytes.len(),
        });
        let overtaking = self.overtaking.iter().map(|waiting| waiting.bytes);
        let under_way: usize = slots.chain(overtaking).sum();
        under_way + self.session.held() + self.input.len() + self.output.len()
    }

    fn has_letters(&mut self) -> bool {
        self.take_letters();
        self.output.len() >= OUTPUT_ENOUGH
    }

    fn take_letters(&mut self) {
        while self.output.len() < OUTPUT_ENOUGH {
            match self.account.take() {
                Some(Letter::Event(line)) => self.output.push(line),
                Some(Letter::Answer { ticket, result }) => self.answer(ticket, result.as_ref()),
                None => return,
            }
        }
    }

    /// A command is answered.
    fn answer(&mut self, ticket: u64, result: Result<&Json, &QmpError>) {
        if let Some(at) = self.overtaking.iter().position(|waiting| waiting.ticket == ticket) {
            let waiting = self.overtaking.swap_remove(at);
            self.session.pass_on(waiting.id, result);
            self.output.push(self.session.take_output().into());
            return;
        }
        let waiting = self.slots.iter_mut().find_map(|slot| match slot {
            Slot::Waiting(waiting) if waiting.ticket == ticket => Some((waiting.id.take(), slot)),
            _ => None,
        });
        if let Some((id, slot)) = waiting {
            self.session.pass_on(id, result);
            *slot = Slot::Answered(self.session.take_output());
        }
        while let Some(Slot::Answered(bytes)) = self.slots.front_mut() {
            self.output.push(std::mem::take(bytes).into());
            self.slots.pop_front();
        }
    }
}

/// Writes what there is to be written, for as long as the last words may take, and closes the connection.
async fn write_out(mut stream: UnixStream, mut output: Output, mut account: Account) {
    account.hold(output.len());
    let (_, mut writer) = stream.split();
    let all = async { while !output.is_empty() && output.write(&mut writer).await.is_ok() {} };
    let killed = async {
        while !account.is_killed() {
            account.fate().await;
        }
    };
    let within = async {
        tokio::select! {
            () = all => {}
            () = killed => {}
        }
    };
    // Who does not read its last words does without.
    let _ = timeout(ENDING, within).await;
    let _ = writer.shutdown().await;
}

/// How much memory a value takes, about.
fn size(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, member)| name.len() + size(member)).sum(),
        _ => 0,
    };
    size_of::<Value>() + inner
}

/// What a client is told that is not served any longer, in QMP's error form.
pub(super) fn farewell(why: &str) -> Vec<u8> {
    let error = QmpError::generic(format!("qev closes this connection: {why}"));
    let reply = qev_qmp::Object::new().with("error", error.to_value());
    let mut line = reply.print(qev_qmp::json::print::Order::Qemu, Layout::Line).into_bytes();
    line.extend_from_slice(b"\r\n");
    line
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
