//! One command: how it gets to the connection's task, and what may become of it.

use super::events::{Answer, EndReason, Queue};
use qev_qmp::client::Session;
use qev_qmp::{Json, QmpError};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a handle asks of the connection's task.
#[derive(Debug)]
pub(super) enum Order {
    /// A command. Boxed, because the queue of every idle connection has room for a few.
    Execute(Box<Submission>),
    /// The end.
    Close,
    /// The end here, and what another process needs to go on.
    Suspend(oneshot::Sender<Session>),
}

/// A command on its way.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) command: String,
    pub(super) arguments: Option<Json>,
    pub(super) oob: bool,
    pub(super) reply: ReplyTo,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum ReplyTo {
    /// To one that waits for it.
    Caller(oneshot::Sender<Result<Json, ExecuteError>>),
    /// Among the events of a relay, in the place that it has on the wire. The number is the relay's own.
    Relay(Weak<Queue>, u64),
}

impl ReplyTo {
    /// Whether nobody is there any more to whom an answer could go.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            ReplyTo::Caller(caller) => caller.is_closed(),
            ReplyTo::Relay(queue, _) => queue.strong_count() == 0,
        }
    }

    /// Who gave up waiting is not there any more: a late answer is nobody's.
    pub(super) fn send(self, result: Result<Json, ExecuteError>) {
        match self {
            ReplyTo::Caller(caller) => {
                let _ = caller.send(result);
            }
            ReplyTo::Relay(queue, ticket) => {
                if let Some(queue) = queue.upgrade() {
                    queue.put_answer(Answer { ticket, result });
                }
            }
        }
    }
}

/// Why a command gave no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The peer executed it, and it failed; or the peer does not know it.
    Qmp(QmpError),
    /// No answer in this time. The command may have been executed, or may still be; the connection goes on, and an
    /// answer that comes late is dropped.
    Timeout(Duration),
    /// The connection has ended. Whether the command was executed is not known.
    Closed(Arc<EndReason>),
    /// The peer started its session anew before it answered, or is only just doing so.
    Restarted,
    /// 1024 commands are under way already, perhaps because the peer left many without an answer.
    TooManyPending,
    /// Out-of-band execution was not negotiated.
    NoOob,
    /// The arguments are not an object of plain JSON; nothing was sent.
    NotJson,
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecuteError::Qmp(error) => error.fmt(f),
            ExecuteError::Timeout(after) => write!(f, "no answer in {after:?}"),
            ExecuteError::Closed(_) => f.write_str("the connection ended before the command was answered"),
            ExecuteError::Restarted => f.write_str("the peer started its session anew before it answered"),
            ExecuteError::TooManyPending => f.write_str("too many commands are without an answer"),
            ExecuteError::NoOob => f.write_str("out-of-band execution was not negotiated"),
            ExecuteError::NotJson => f.write_str("the arguments are not an object of plain JSON"),
        }
    }
}

impl std::error::Error for ExecuteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExecuteError::Closed(reason) => Some(&**reason),
            _ => None,
        }
    }
}
