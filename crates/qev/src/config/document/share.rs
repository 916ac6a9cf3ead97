//! The table `[share]` and its policies.

use super::{Reader, values};
use crate::config::{Allow, Share, SharePolicy};
use std::ops::Range;
use toml::de::DeTable;

impl Reader<'_> {
    pub(super) fn share(&mut self, table: &DeTable<'_>, default: Share) -> Share {
        self.only(table, "share.", &["enabled", "mode", "group", "audit", "policy"]);
        let enabled = self.truth(table, "share.", "enabled").unwrap_or(default.enabled);
        let mode = self.value(table, "share.", "mode", values::mode).unwrap_or(default.mode);
        let group = self.value(table, "share.", "group", values::existing_group);
        let audit = self.truth(table, "share.", "audit").unwrap_or(default.audit);
        let policies = self.tables(table, "policy", Reader::share_policy).unwrap_or_default();
        Share { enabled, mode, group, audit, policies, ..default }
    }

    fn share_policy(
        &mut self,
        table: &DeTable<'_>,
        place: &Range<usize>,
        _before: &[SharePolicy],
    ) -> Option<SharePolicy> {
        let prefix = "share.policy.";
        self.only(table, prefix, &["machine", "user", "group", "allow", "commands"]);
        let machine = self.value(table, prefix, "machine", values::glob);
        let user = self.value(table, prefix, "user", values::existing_user);
        let group = self.value(table, prefix, "group", values::existing_group);
        let allow = self.needed(table, place, prefix, "allow", values::allow);
        let commands = self.list(table, prefix, "commands", values::glob);
        if let Some((key, _)) = table.get_key_value("commands")
            && allow.is_some_and(|allow| allow != Allow::Operate)
        {
            self.wrong(&key.span(), "share.policy.commands", "only \"operate\" has a list of commands");
        }
        Some(SharePolicy { machine, user, group, allow: allow?, commands })
    }
}
