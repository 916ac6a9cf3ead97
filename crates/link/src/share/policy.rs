//! Who may do what at a shared monitor: decided by whom the embedder asks, once for each client and once for each command.
//!
//! ```text
//!   a client connects ──► Gate::admit (whose process, whose user) ──► Admission { policy, audit }, or told and closed
//!   a command         ──► Policy::judge (name, arguments) ──► passed on, or refused in QMP's error form
//! ```

use crate::dial_in::Peer;
use qev_qmp::{ErrorClass, Json, Object};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Who decides about clients. Nothing here may block.
pub trait Gate: Send + Sync + 'static {
    /// A client has connected.
    ///
    /// # Errors
    ///
    /// Why it may not be here, in a sentence: it is told, and the connection is closed.
    fn admit(&self, peer: Peer) -> Result<Admission, String>;

    /// Something happened that is worth a line in a log.
    fn notice(&self, _notice: Notice) {}
}

/// What a client may do.
#[derive(Clone)]
pub struct Admission {
    /// Who decides about its commands.
    pub policy: Arc<dyn Policy>,
    /// Where its commands are told of that are to be audited. A command is passed on only when there is room for this.
    pub audit: Option<mpsc::Sender<Audited>>,
}

/// Who decides about the commands of a client. Nothing here may block.
pub trait Policy: Send + Sync + 'static {
    /// Whether this command may be passed on.
    fn judge(&self, command: &str, arguments: &Object) -> Verdict;
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Allow {
        /// Whether it is to be told of, with what came of it.
        audit: bool,
    },
    /// It is not.
    Refuse {
        /// The name of the rule that says so: the client is told.
        rule: String,
    },
}

/// How long arguments may be that are told of, in bytes.
pub const AUDITED_ARGUMENTS: usize = 4 << 10;

/// A command that was passed on, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// Who wanted it.
    pub peer: Peer,
    /// Its name.
    pub command: String,
    /// Its arguments, if it had any and they are not too long to be told.
    pub arguments: Option<Json>,
    /// How many bytes of arguments are left out, for they are longer than [`AUDITED_ARGUMENTS`].
    pub left_out: usize,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// QEMU executed it.
    Done,
    /// QEMU did not, or it failed.
    Failed(ErrorClass),
    /// The connection ended before there was an answer: it may have been executed.
    Unanswered,
}

/// What is worth a line in a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A client was not admitted, or there was no place for it.
    TurnedAway {
        /// Who.
        peer: Peer,
        /// Why, as it was told.
        why: String,
    },
    /// A client was cut off.
    CutOff {
        /// Who.
        peer: Peer,
        /// Why, as it was told if it could be.
        why: String,
    },
    /// A client could not be accepted. It will be tried again.
    AcceptFailed(io::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::TurnedAway { peer, why } => write!(f, "turned away {peer}: {why}"),
            Notice::CutOff { peer, why } => write!(f, "cut off {peer}: {why}"),
            Notice::AcceptFailed(error) => write!(f, "accepting a client failed: {error}"),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("is_audited", &self.audit.is_some()).finish_non_exhaustive()
    }
}

/// Why this command can be executed by nobody through a shared monitor, if that is so.
pub(super) fn cannot_be_shared(command: &str) -> Option<&'static str> {
    match command {
        "add-fd" | "getfd" => Some("it takes a descriptor from the client's socket, which cannot be passed on"),
        "get-win32-socket" => Some("it takes a socket from the client's process, which cannot be passed on"),
        _ => None,
    }
}
