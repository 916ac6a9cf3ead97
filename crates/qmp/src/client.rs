//! The client's side of a session: bytes in, events and replies out, and bytes to send.
//!
//! ```text
//!                 greeting              reply to qmp_capabilities
//!   Connecting ─────────────► Negotiating ───────────────────────► Ready
//!                               ▲   │                                │
//!                      greeting │   │ error                          │ greeting: the peer takes
//!                               │   ▼                                │ the connection for a new one
//!                              Refused        Negotiating ◄──────────┘
//! ```
//!
//! [`Client::ahead`] begins in Negotiating.
//!
//! Events may come in any phase once `qmp_capabilities` is on its way, before its reply too. A reply is matched to its
//! command by `id` only; nothing but a `return` or an `error` is ever taken for one.
//!
//! A session can be taken apart, and gone on with by another process ([`session`]).

pub mod session;

use crate::error::QmpError;
use crate::event::Event;
use crate::frame::{FrameReader, Garbage, GarbageReason, MAX_FRAME, Piece, SAMPLE};
use crate::json::{Json, Object};
use crate::message::{Greeting, Message, Reply};
use std::collections::BTreeSet;
use std::fmt;

use session::FirstLine;
pub use session::Session;

/// How many commands may be under way at once.
pub const MAX_PENDING: usize = 1024;

/// How long a message may be before the greeting has come, and the greeting itself, in bytes. QEMU's has about 150.
pub const MAX_GREETING: usize = 64 << 10;

/// What the client has for its user.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The peer has greeted; the answer is on its way out. Commands that were under way will not be answered.
    Greeting(Greeting),
    /// Capabilities are negotiated: commands may be sent.
    Ready,
    /// The peer does not let us in.
    Refused(QmpError),
    /// An event.
    Event(Event),
    /// The answer to a command.
    Reply {
        /// What [`Client::execute`] gave.
        id: u64,
        /// What the command returned, or why it failed.
        result: Result<Json, QmpError>,
    },
    /// A reply to a command that is not under way.
    Stray(Reply),
    /// An object that is no message we know.
    Unknown(Json),
    /// Bytes that are no message.
    Garbage(Garbage),
}

/// Commands cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecuteError {
    /// Capabilities are not negotiated yet.
    NotReady,
    /// As many commands as may be are under way.
    TooManyPending,
    /// Out-of-band execution was not negotiated.
    NoOob,
    /// The arguments are not a JSON object as any peer takes it: they hold `inf`, or are no object.
    NotJson,
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecuteError::NotReady => f.write_str("capabilities are not negotiated yet"),
            ExecuteError::TooManyPending => write!(f, "{MAX_PENDING} commands are under way already"),
            ExecuteError::NoOob => f.write_str("out-of-band execution was not negotiated"),
            ExecuteError::NotJson => f.write_str("the arguments are not an object of plain JSON"),
        }
    }
}

impl std::error::Error for ExecuteError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Negotiating { id: u64 },
    Ready,
    Refused,
}

/// The client's side of a session.
#[derive(Debug)]
pub struct Client {
    frames: FrameReader,
    /// How many bytes a message may have once the peer has greeted.
    limit: usize,
    phase: Phase,
    want_oob: bool,
    oob: bool,
    /// The answer to the greeting that is still to come was sent already.
    ahead: bool,
    next_id: u64,
    pending: BTreeSet<u64>,
    output: Vec<u8>,
    /// Only after another process was cut off in this session. Boxed, because few clients have one.
    recovering: Option<Box<FirstLine>>,
}

impl Client {
    /// A client that waits for the greeting, and then enables out-of-band execution if it is wanted and offered.
    pub fn new(want_oob: bool) -> Client {
        Client::with_limit(want_oob, MAX_FRAME)
    }

    /// The same, for messages of up to this many bytes, once the peer has greeted; until then [`MAX_GREETING`] holds. What a message takes in memory while it is looked at may be many
    /// times its size.
    pub fn with_limit(want_oob: bool, limit: usize) -> Client {
        Client {
            frames: FrameReader::with_limit(limit.min(MAX_GREETING)),
            limit,
            phase: Phase::Connecting,
            want_oob,
            oob: false,
            ahead: false,
            next_id: 1,
            pending: BTreeSet::new(),
            output: Vec::new(),
            recovering: None,
        }
    }

    /// A client for a peer that has not started yet: it negotiates without waiting for the greeting, so that the peer is
    /// ready as soon as it reads. What the greeting will offer it cannot know: out-of-band execution is not enabled.
    pub fn ahead() -> Client {
        let mut client = Client::new(false);
        client.frames.set_limit(client.limit);
        let id = client.send("execute", "qmp_capabilities", None);
        client.phase = Phase::Negotiating { id };
        client.ahead = true;
        client
    }

    /// Takes the bytes that were read. Call [`Client::next_incoming`] until it has no more before reading again.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.recovering {
            Some(first) if !first.is_over() => first.feed(bytes, &mut self.frames),
            _ => self.frames.feed(bytes),
        }
    }

    /// What the bytes so far hold.
    pub fn next_incoming(&mut self) -> Option<Incoming> {
        let message = match self.frames.next_piece()? {
            Piece::Garbage(garbage) => return Some(Incoming::Garbage(garbage)),
            Piece::Frame(frame) => match Message::decode(frame) {
                Ok(message) => message,
                Err(error) => return Some(Incoming::Garbage(not_json(frame, error.at()))),
            },
        };
        Some(match message {
            Message::Event(event) => Incoming::Event(event),
            Message::Reply(reply) => self.take_reply(reply),
            Message::Greeting(greeting) => {
                self.negotiate(&greeting);
                Incoming::Greeting(greeting)
            }
            Message::Unknown(json) => Incoming::Unknown(json),
        })
    }

    /// The peer has ended the stream: what is left of a message, if any.
    pub fn finish(&mut self) -> Option<Garbage> {
        if let Some(first) = &mut self.recovering {
            first.end(&mut self.frames);
        }
        self.frames.finish()
    }

    /// Sends a command. Its answer will come as [`Incoming::Reply`] with the id given here.
    ///
    /// # Errors
    ///
    /// Before capabilities are negotiated, when [`MAX_PENDING`] commands are under way, and when the arguments are not a
    /// JSON object.
    pub fn execute(&mut self, command: &str, arguments: Option<&Json>) -> Result<u64, ExecuteError> {
        self.submit("execute", command, arguments)
    }

    /// Sends a command to be executed out of band, past those that are under way.
    ///
    /// # Errors
    ///
    /// As [`Client::execute`], and when out-of-band execution was not negotiated.
    pub fn execute_oob(&mut self, command: &str, arguments: Option<&Json>) -> Result<u64, ExecuteError> {
        if self.phase == Phase::Ready && !self.oob {
            return Err(ExecuteError::NoOob);
        }
        self.submit("exec-oob", command, arguments)
    }

    /// Sends a command of somebody else's: arguments that other peers may not take, `1e999` for one, are its own matter.
    ///
    /// # Errors
    ///
    /// As [`Client::execute`] and [`Client::execute_oob`], but for what is in the arguments.
    pub fn pass_on(&mut self, command: &str, arguments: Option<&Json>, oob: bool) -> Result<u64, ExecuteError> {
        if self.phase != Phase::Ready {
            return Err(ExecuteError::NotReady);
        }
        if oob && !self.oob {
            return Err(ExecuteError::NoOob);
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(ExecuteError::TooManyPending);
        }
        Ok(self.send(if oob { "exec-oob" } else { "execute" }, command, arguments))
    }

    /// Returns how many bytes of an incomplete message are kept.
    pub fn incomplete(&self) -> usize {
        self.frames.pending()
    }

    /// Whether commands may be sent.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether out-of-band execution was negotiated.
    pub fn has_oob(&self) -> bool {
        self.oob && self.phase == Phase::Ready
    }

    /// What is to be written to the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn submit(&mut self, verb: &str, command: &str, arguments: Option<&Json>) -> Result<u64, ExecuteError> {
        if self.phase != Phase::Ready {
            return Err(ExecuteError::NotReady);
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(ExecuteError::TooManyPending);
        }
        // A peer answers what it cannot read with errors that have no id: nobody could tell what they are about.
        if arguments.is_some_and(|json| !json.as_text().trim_start().starts_with('{') || json.is_beyond_json()) {
            return Err(ExecuteError::NotJson);
        }
        Ok(self.send(verb, command, arguments))
    }

    fn send(&mut self, verb: &str, command: &str, arguments: Option<&Json>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id);
        let mut line = format!("{{\"{verb}\": ");
        crate::json::print::string(&mut line, command);
        if let Some(arguments) = arguments {
            line.push_str(", \"arguments\": ");
            line.push_str(arguments.as_text());
        }
        line.push_str(&format!(", \"id\": {id}}}\r\n"));
        self.output.extend_from_slice(line.as_bytes());
        id
    }

    fn negotiate(&mut self, greeting: &Greeting) {
        if std::mem::take(&mut self.ahead) {
            return;
        }
        self.frames.set_limit(self.limit);
        // A greeting in the middle of a session starts another: what was under way will not be answered.
        self.pending.clear();
        self.oob = self.want_oob && greeting.offers_oob();
        let enable = Object::new().with("enable", vec!["oob".into()]);
        let arguments = self.oob.then(|| Json::from(&enable));
        let id = self.send("execute", "qmp_capabilities", arguments.as_ref());
        self.phase = Phase::Negotiating { id };
    }

    fn take_reply(&mut self, reply: Reply) -> Incoming {
        let id = match &reply.id {
            Some(id) => id.as_text().parse().ok().filter(|id| self.pending.contains(id)),
            // An error about what is not even JSON has no id. If one command is under way it is about that; else nobody
            // can tell, and a wrong answer would be worse than none.
            // This one is about the byte that ended what the other process left half-said.
            None if reply.result.is_err() && self.recovering.is_some() => {
                self.recovering = None;
                None
            }
            None if reply.result.is_err() && self.pending.len() == 1 => self.pending.first().copied(),
            None => None,
        };
        let Some(id) = id else {
            return Incoming::Stray(reply);
        };
        self.pending.remove(&id);
        if self.phase != (Phase::Negotiating { id }) {
            return Incoming::Reply { id, result: reply.result };
        }
        match reply.result {
            Ok(_) => {
                self.phase = Phase::Ready;
                Incoming::Ready
            }
            Err(error) => {
                self.phase = Phase::Refused;
                Incoming::Refused(error)
            }
        }
    }
}

fn not_json(frame: &[u8], at: usize) -> Garbage {
    Garbage {
        bytes: frame.len(),
        sample: frame.iter().copied().take(SAMPLE).collect(),
        reason: GarbageReason::NotJson { at },
    }
}
