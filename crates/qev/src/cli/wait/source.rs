//! Where `wait` hears from a machine: from its monitor, or from the daemon.

use crate::cli::by_name::ByName;
use crate::daemon::control::client::{Answer, Answers, AskError};
use crate::exit::tell;
use crate::monitor::Monitor;
use qev_link::Events;
use qev_record::{Kind, Record, plain};

/// Where records of one machine come from.
pub(super) enum Source<'a> {
    Monitor {
        monitor: &'a Monitor,
        events: Events,
    },
    /// In `left` is a record that may say that the machine is gone, while the daemon is asked whether it is.
    Daemon {
        machine: &'a ByName,
        answers: Answers,
        left: Option<Box<Record>>,
    },
}

/// What a machine's source says.
pub(super) enum Said {
    Record(Box<Record>),
    /// The machine is gone, or the daemon: why.
    Gone(String),
}

impl Source<'_> {
    /// The machine's name.
    pub(super) fn machine(&self) -> &str {
        match self {
            Source::Monitor { monitor, .. } => monitor.machine(),
            Source::Daemon { machine, .. } => &machine.name,
        }
    }

    /// What it says next. Nothing is lost when this future is dropped.
    pub(super) async fn next(&mut self) -> Said {
        match self {
            Source::Monitor { monitor, events } => loop {
                if let Some(record) = monitor.record(&events.next().await) {
                    return if record.kind == Kind::Detached { gone(&record) } else { Said::Record(Box::new(record)) };
                }
            },
            Source::Daemon { machine, answers, left } => loop {
                if let Some(record) = left {
                    // Of a daemon that is gone one cannot ask.
                    let is_gone = machine.is_gone(record).await.unwrap_or(true);
                    let record = left.take().filter(|_| is_gone);
                    if let Some(record) = record {
                        return gone(&record);
                    }
                }
                match next_record(answers).await {
                    Ok(Some(record)) if record.kind == Kind::Detached => *left = Some(record),
                    Ok(Some(record)) => return Said::Record(record),
                    Ok(None) => return Said::Gone("the daemon ended".to_owned()),
                    Err(error) => return Said::Gone(error.to_string()),
                }
            },
        }
    }
}

fn gone(detached: &Record) -> Said {
    Said::Gone(plain::phrase(detached.reason.as_deref().unwrap_or("it went away")).to_string())
}

/// The next record that the daemon has; `None` when it says that there are no more.
pub(super) async fn next_record(answers: &mut Answers) -> Result<Option<Box<Record>>, AskError> {
    loop {
        match answers.next().await? {
            Answer::Record(record) => return Ok(Some(record)),
            Answer::Problem(problem) => tell(&problem),
            Answer::Machine(_) | Answer::Page(_) => {}
            Answer::End(_) => return Ok(None),
        }
    }
}
