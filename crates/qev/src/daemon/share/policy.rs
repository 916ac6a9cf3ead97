//! What one client of a shared monitor may do, and what is logged of what it may not.

use super::read_list::READ;
use crate::config::Allow;
use crate::daemon::descriptors::DescriptorPermit;
use crate::log_limiter::{LogKind, LogLimiter, Origin};
use qev_link::Peer;
use qev_link::share::{Policy, Verdict};
use qev_qmp::Object;
use qev_record::filter::Glob;
use qev_record::plain;
use std::sync::Arc;

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

/// The permit of one client.
#[derive(Debug)]
pub(crate) struct Ruled {
    pub(crate) machine: Arc<str>,
    pub(crate) peer: Peer,
    pub(crate) permit: Permit,
    pub(crate) log: Arc<LogLimiter>,
    /// What this client takes for as long as it is there.
    pub(crate) _descriptor: Option<DescriptorPermit>,
}

impl Policy for Ruled {
    fn judge(&self, command: &str, _arguments: &Object) -> Verdict {
        if self.permit.allows(command) {
            return Verdict::Allow { audit: !command.starts_with("query-") };
        }
        let rule = self.permit.allow.name();
        let (machine, command) = (plain::name(&self.machine), plain::name(command));
        let line = format!("{machine}: refused {command} to {} by the rule '{rule}'", self.peer);
        self.log.log(Origin::User(self.peer.uid), LogKind::RefusedCommand, &line);
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
}
