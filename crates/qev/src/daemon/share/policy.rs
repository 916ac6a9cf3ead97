//! What one client of a shared monitor may do, and what is told of what it may not.

use super::read_list::READ;
use crate::config::Allow;
use crate::exit::tell;
use qev_link::Peer;
use qev_link::share::{Policy, Verdict};
use qev_qmp::Object;
use qev_record::filter::Glob;
use qev_record::plain;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many kinds of refusals are counted; then all are forgotten, and told again.
const COUNTED: usize = 4096;

/// What a client may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit {
    pub(crate) allow: Allow,
    /// Which commands beside queries, of [`Allow::Operate`]; none is all.
    pub(crate) commands: Vec<Glob>,
}

impl Permit {
    fn allows(&self, command: &str) -> bool {
        let reads = || READ.binary_search(&command).is_ok();
        match self.allow {
            Allow::Events => false,
            Allow::Read => reads(),
            Allow::Operate => {
                self.commands.is_empty() || reads() || self.commands.iter().any(|glob| glob.matches(command))
            }
        }
    }
}

/// The refusals of all clients: each kind is told once, and again when it is ten times as many.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<(String, u32, &'static str), u64>>);

impl Refusals {
    /// How many there are now of this user at this machine by this rule, when that is worth telling.
    fn count(&self, machine: &str, user: u32, rule: &'static str) -> Option<u64> {
        // What is behind the lock is whole at every moment.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED {
            counts.clear();
        }
        let count = counts.entry((machine.to_owned(), user, rule)).or_default();
        *count += 1;
        let power = 10_u64.pow(count.ilog10());
        (*count == power).then_some(*count)
    }
}

/// The permit of one client.
#[derive(Debug)]
pub(crate) struct Ruled {
    pub(crate) machine: Arc<str>,
    pub(crate) peer: Peer,
    pub(crate) permit: Permit,
    pub(crate) refusals: Arc<Refusals>,
}

impl Policy for Ruled {
    fn judge(&self, command: &str, _arguments: &Object) -> Verdict {
        if self.permit.allows(command) {
            return Verdict::Allow { audit: !command.starts_with("query-") };
        }
        let rule = self.permit.allow.name();
        if let Some(count) = self.refusals.count(&self.machine, self.peer.uid, rule) {
            let (machine, command) = (plain::name(&self.machine), plain::name(command));
            let times = if count == 1 { String::new() } else { format!(", {count} refusals of this user by now") };
            tell(&format!("{machine}: refused {command} to {} by the rule '{rule}'{times}", self.peer));
        }
        Verdict::Refuse { rule: rule.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: Allow, commands: &[&str], allowed: &[&str], refused: &[&str]) {
        let commands = commands.iter().map(|glob| glob.parse().unwrap()).collect();
        let permit = Permit { allow, commands };
        for command in allowed {
            assert!(permit.allows(command), "{allow:?} {command}");
        }
        for command in refused {
            assert!(!permit.allows(command), "{allow:?} {command}");
        }
    }

    #[test]
    fn each_may_do_what_its_policy_says_and_no_more() {
        check(Allow::Events, &[], &[], &["query-status", "query-commands", "quit"]);
        check(
            Allow::Read,
            &[],
            &["query-status", "query-block"],
            &["quit", "human-monitor-command", "query-x", "qom-set"],
        );
        check(Allow::Operate, &[], &["query-status", "quit", "human-monitor-command", "query-x"], &[]);
        check(Allow::Operate, &["device_*", "cont"], &["query-status", "device_del", "cont"], &["quit", "device-add"]);
    }

    #[test]
    fn a_refusal_is_told_once_and_then_when_there_are_ten_times_as_many() {
        let refusals = Refusals::default();
        let told: Vec<u64> = (0..1000).filter_map(|_| refusals.count("web1", 1000, "read")).collect();
        assert_eq!(told, [1, 10, 100, 1000]);
        assert_eq!(refusals.count("web1", 1001, "read"), Some(1));
        for n in 0..2 * COUNTED {
            refusals.count(&n.to_string(), 0, "read");
        }
        assert!(refusals.0.lock().unwrap().len() <= COUNTED);
    }
}
