//! A machine by its name: the daemon knows where it is, and what it said before.

use crate::daemon::control::client::{Answers, AskError, Machine, ask, machines};
use crate::daemon::control::request::{Log, Request};
use crate::daemon::follow::Wanted;
use crate::exit::{Exit, Failure};
use qev_record::explain::suggest::nearest_of;
use qev_record::{Filter, Glob, Record, plain};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How many machines are named to who named one that is not there.
const NAMED: usize = 10;

/// The daemon says of a machine that it is gone a moment after it has recorded that.
const A_MOMENT: Duration = Duration::from_millis(250);

/// What the name of a monitor's socket ends in.
const OF_SOCKETS: [&str; 4] = [".sock", ".socket", ".qmp", ".monitor"];

/// That a verb which takes no names of machines was given a TARGET without a '/', and no socket here is called so.
pub(crate) fn no_socket(name: &str) -> Failure {
    let lent = match OF_SOCKETS.iter().any(|ending| name.ends_with(ending)) {
        true => String::new(),
        false => {
            format!("; a machine's monitor is lent by the daemon at share/{}.qmp in its run folder", plain::name(name))
        }
    };
    Failure::new(Exit::NoSuchSocket, format!("{}{lent}", NoSocket(name)))
}

/// That no socket here has this name.
struct NoSocket<'a>(&'a str);

impl fmt::Display for NoSocket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no socket named '{}' here", plain::name(self.0))
    }
}

/// That the daemon cannot be asked about a name. Where none runs, a socket may have been meant.
pub(crate) fn not_asked(name: &str, error: AskError) -> Failure {
    let is_not_running = matches!(error, AskError::NotRunning { .. });
    let failure = Failure::from(error);
    match is_not_running {
        true => failure.about(format!("{}, and no machine of that name is known", NoSocket(name))),
        false => failure,
    }
}

/// A machine that somebody named.
#[derive(Clone, Debug)]
pub(crate) struct ByName {
    pub(crate) name: String,
    pub(crate) state_dir: PathBuf,
}

/// What the daemon knows of it.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Why it is not there, if it is not.
    pub(crate) absence: Option<Absence>,
    /// The last number in the journal.
    pub(crate) last: u64,
}

/// A machine is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It was, or its monitor is known.
    NotAttached { name: String, state: String },
    /// Nobody knows it.
    Unknown { name: String, near: Vec<String>, there: Vec<String> },
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::NotAttached { name, state } => {
                write!(f, "{} is not attached: it is {}", plain::name(name), plain::name(state))
            }
            Absence::Unknown { name, near, there } => {
                if OF_SOCKETS.iter().any(|ending| name.ends_with(ending)) {
                    write!(f, "{}, and ", NoSocket(name))?;
                }
                write!(f, "the daemon knows no machine {}", plain::name(name))?;
                if let Some(near) = near.first() {
                    write!(f, ": did you mean {}?", plain::name(near))?;
                }
                let named: Vec<_> = there.iter().take(NAMED).map(|name| plain::name(name).to_string()).collect();
                let more = there.len().saturating_sub(NAMED);
                match (named.is_empty(), more) {
                    (true, _) => f.write_str("; it knows none yet"),
                    (false, 0) => write!(f, "; there are: {}", named.join(", ")),
                    (false, more) => write!(f, "; there are: {} and {more} more", named.join(", ")),
                }
            }
        }
    }
}

impl std::error::Error for Absence {}

impl From<Absence> for Failure {
    fn from(absence: Absence) -> Failure {
        let exit = match absence {
            Absence::NotAttached { .. } => Exit::Gone,
            Absence::Unknown { .. } => Exit::NoSuchSocket,
        };
        Failure::new(exit, absence)
    }
}

impl ByName {
    /// Asks whether it is there.
    pub(crate) async fn look(&self) -> Result<Sight, AskError> {
        let (machines, last) = machines(&self.state_dir).await?;
        Ok(Sight { absence: self.absence(&machines), last })
    }

    fn absence(&self, machines: &[Machine]) -> Option<Absence> {
        let name = self.name.clone();
        let mut known = machines.iter().filter(|machine| self.is(machine)).peekable();
        if known.peek().is_none() {
            let there: BTreeSet<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
            let near = nearest_of(&name, there.iter().copied()).into_iter().map(str::to_owned).collect();
            let there = there.into_iter().map(str::to_owned).collect();
            return Some(Absence::Unknown { name, near, there });
        }
        let states: Vec<&str> = known.map(|machine| machine.state.as_str()).collect();
        match states.contains(&"attached") {
            true => None,
            false => Some(Absence::NotAttached { name, state: states.join(", ") }),
        }
    }

    fn is(&self, machine: &Machine) -> bool {
        machine.name == self.name || machine.id.as_deref() == Some(&*self.name)
    }

    /// Whether it is still there in another process, when it was told that it is gone: a machine that is being migrated
    /// is there twice.
    pub(crate) async fn is_gone(&self, detached: &Record) -> Result<bool, AskError> {
        if detached.session.is_none() {
            tokio::time::sleep(A_MOMENT).await;
        }
        let (machines, _) = machines(&self.state_dir).await?;
        let is_other = |machine: &Machine| {
            let session = machine.status.get("session").and_then(|session| session.string());
            detached.session.is_none() || session.as_deref() != detached.session.as_deref()
        };
        Ok(!machines.iter().any(|machine| self.is(machine) && machine.state == "attached" && is_other(machine)))
    }

    /// Asks for all of its records behind a number.
    pub(crate) async fn records(&self, after: u64, follow: bool) -> Result<Answers, AskError> {
        let filter = Filter { machines: Glob::exactly(&self.name).into_iter().collect(), ..Filter::default() };
        let wanted = Wanted { filter, others: true, ..Wanted::default() };
        let log = Log { wanted, after: Some(after), follow, ..Log::default() };
        ask(&self.state_dir, &Request::Log(log.into())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Json;

    fn machine(name: &str, id: Option<&str>, state: &str) -> Machine {
        let status = Json::parse("{}").unwrap();
        Machine { name: name.to_owned(), id: id.map(str::to_owned), state: state.to_owned(), status }
    }

    fn check(name: &str, machines: &[Machine], expected: Option<&str>) {
        let by_name = ByName { name: name.to_owned(), state_dir: PathBuf::new() };
        let absence = by_name.absence(machines).map(|absence| absence.to_string());
        assert_eq!(absence.as_deref(), expected);
    }

    #[test]
    fn who_names_a_machine_that_is_not_there_is_told_what_is() {
        let there = [machine("web1", Some("7f3c"), "attached"), machine("db1", None, "gone")];
        check("web1", &there, None);
        check("7f3c", &there, None);
        check("db1", &there, Some("db1 is not attached: it is gone"));
        check("wbe1", &there, Some("the daemon knows no machine wbe1: did you mean web1?; there are: db1, web1"));
        check("mail", &there, Some("the daemon knows no machine mail; there are: db1, web1"));
        check("mail", &[], Some("the daemon knows no machine mail; it knows none yet"));
        let no_socket =
            "there is no socket named 'vm.sock' here, and the daemon knows no machine vm.sock; it knows none yet";
        check("vm.sock", &[], Some(no_socket));
        let many: Vec<_> = (10..30).map(|n| machine(&format!("vm{n}"), None, "attached")).collect();
        let expected = "the daemon knows no machine mail; there are: vm10, vm11, vm12, vm13, vm14, vm15, vm16, vm17, \
                        vm18, vm19 and 10 more";
        check("mail", &many, Some(expected));
    }

    #[test]
    fn a_machine_that_is_there_twice_is_there_if_it_is_there_once() {
        check("web1", &[machine("web1", None, "gone"), machine("web1", None, "attached")], None);
    }

    #[test]
    fn a_name_is_no_pattern() {
        for name in ["web1", "a*", "[x]", "q?", r"back\slash", "ü"] {
            let glob = Glob::exactly(name).unwrap();
            assert!(glob.matches(name), "{name}");
            assert_eq!(glob.literal().as_deref(), Some(name));
        }
    }
}
