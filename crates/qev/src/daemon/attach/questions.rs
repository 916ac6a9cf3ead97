//! What a machine is asked when it is attached: who it is and how it is, which no event would tell now.
//!
//! All questions are sent at once and have the same few seconds: none of them can hang on storage. What an old QEMU does
//! not know, or has no device for, it leaves without an answer, and is left out. Events that come meanwhile are taken and
//! kept in their order, for a subscription that is full would hold back the answers.

use super::{block_graph, status_query};
use crate::daemon::identity::LONGEST_NAME;
use crate::printer::now;
use qev_link::{Client, EventItem, Events};
use qev_qmp::{Json, Object, RunState, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The questions.
const STATUS: &str = status_query::COMMAND;
const NAME: &str = "query-name";
const UUID: &str = "query-uuid";
const BALLOON: &str = "query-balloon";
const OSPM: &str = "query-acpi-ospm-status";

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many events may come meanwhile. At this bound it is not waited for answers any more.
const EARLY: usize = 8192;

/// How long an answer may be, in bytes. A longer one is ignored.
const LONGEST_ANSWER: usize = 64 << 10;

/// How long the answer with the machine's name may be, in bytes. It is in every `attached` record.
const LONGEST_NAME_ANSWER: usize = 1 << 10;

/// What a machine said about itself.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answers: Vec<(&'static str, Json)>,
    /// The commands whose answers were too long, with their lengths in bytes.
    too_long: Vec<(&'static str, usize)>,
}

impl Answers {
    /// The name, unless it is longer than a machine's name may be.
    pub(super) fn name(&self) -> Option<String> {
        self.member(NAME, "name").filter(|name| name.len() <= LONGEST_NAME)
    }

    /// What was ignored because it is too long, as a sentence.
    pub(super) fn too_long(&self) -> Option<String> {
        let name = self.member(NAME, "name").map(|name| name.len()).filter(|bytes| *bytes > LONGEST_NAME);
        let name = name.map(|bytes| format!("its name has {bytes} bytes, and {LONGEST_NAME} are allowed"));
        let answers = self.too_long.iter().map(|(command, bytes)| format!("its answer to {command} has {bytes} bytes"));
        let all: Vec<String> = name.into_iter().chain(answers).collect();
        (!all.is_empty()).then(|| format!("too long, so it is ignored: {}", all.join("; ")))
    }

    pub(super) fn uuid(&self) -> Option<String> {
        self.member(UUID, "UUID")
    }

    pub(super) fn run_state(&self) -> Option<RunState> {
        self.member(STATUS, "status").map(|status| RunState::from(&*status))
    }

    /// All of them by command, for a record.
    pub(super) fn data(&self) -> Json {
        let object =
            self.answers.iter().fold(Object::new(), |object, (command, answer)| object.with(*command, answer.value()));
        Json::from(&object)
    }

    fn member(&self, command: &str, member: &str) -> Option<String> {
        self.answers.iter().find(|(asked, _)| *asked == command)?.1.get(member)?.string()
    }
}

/// Whether the record is to have the answer. A graph of block devices is of use only where there is a quorum.
fn is_worth_keeping(command: &str, answer: &Json) -> bool {
    command != block_graph::COMMAND || !block_graph::quorum_children(answer).is_empty()
}

fn longest(command: &str) -> usize {
    if command == NAME { LONGEST_NAME_ANSWER } else { LONGEST_ANSWER }
}

/// Asks, and keeps what is heard meanwhile, with the time at which it was.
pub(super) async fn ask(client: &Client, events: &mut Events) -> (Answers, Vec<(Timestamp, EventItem)>) {
    let answers = Mutex::new(Answers::default());
    let mut early = Vec::new();
    {
        let (client, answers) = (client, &answers);
        let one = |command| async move {
            if let Ok(answer) = client.execute_with_timeout(command, None, PATIENCE).await
                && is_worth_keeping(command, &answer)
            {
                let bytes = answer.as_text().len();
                // What is behind the lock is whole at every moment.
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                match bytes > longest(command) {
                    true => answers.too_long.push((command, bytes)),
                    false => answers.answers.push((command, answer)),
                }
            }
        };
        let all = async {
            tokio::join!(one(STATUS), one(NAME), one(UUID), one(BALLOON), one(OSPM), one(block_graph::COMMAND))
        };
        tokio::pin!(all);
        loop {
            tokio::select! {
                _ = &mut all => break,
                item = events.next() => {
                    let ended = matches!(item, EventItem::Ended(_));
                    early.push((now(), item));
                    if ended || early.len() >= EARLY {
                        break;
                    }
                }
            }
        }
    }
    (answers.into_inner().unwrap_or_else(PoisonError::into_inner), early)
}
