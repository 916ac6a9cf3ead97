//! Which machines are known by name: to the daemon, or to the journal where none runs. Whoever asks for one that is not
//! among them is told so, and what there is.

use crate::daemon::control::client;
use crate::daemon::{absence, journal_dir};
use qev_journal::{Query, Reader};
use qev_record::explain::suggest::nearest_of;
use qev_record::filter::Glob;
use qev_record::{Record, plain};
use std::collections::BTreeSet;
use std::path::Path;

/// How many machines are named to someone who named one that is not there.
const LISTED: usize = 10;

/// How many records of the journal are looked at for names, beside what it says of who was attached.
const READ_BACK: u64 = 1000;

/// What machines are called: names, and identities beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) names: BTreeSet<String>,
    pub(crate) ids: BTreeSet<String>,
}

impl Known {
    /// Asks the daemon of a state directory, or reads its journal. What cannot be asked or read is not known.
    pub(crate) async fn ask(state_dir: &Path) -> Known {
        if let Ok((machines, _)) = client::machines(state_dir).await {
            let ids = machines.iter().filter_map(|machine| machine.id.clone()).collect();
            return Known { names: machines.into_iter().map(|machine| machine.name).collect(), ids };
        }
        let dir = journal_dir(state_dir);
        let read = tokio::task::spawn_blocking(move || Reader::open(&dir).map(|reader| Known::in_journal(&reader)));
        read.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn in_journal(reader: &Reader) -> Known {
        let mut known = Known::default();
        let absences = absence::in_journal(reader).map(|known| known.absences).unwrap_or_default();
        for machine in absences {
            known.names.insert(machine.identity.machine.to_string());
            known.ids.extend(machine.identity.machine_id.map(|id| id.to_string()));
        }
        let newest = Query { newest_first: true, limit: Some(READ_BACK), ..Query::default() };
        for record in reader.records(&newest).filter_map(Result::ok).filter(Record::is_of_machine) {
            known.names.insert(record.machine.to_string());
            known.ids.extend(record.machine_id.map(|id| id.to_string()));
        }
        known
    }

    /// Says that no known machine matches one of these patterns; `None` when one does, or when there are no patterns.
    pub(crate) fn unmatched(&self, globs: &[Glob]) -> Option<String> {
        let mut all = self.names.iter().chain(&self.ids);
        if globs.is_empty() || all.any(|name| globs.iter().any(|glob| glob.matches(name))) {
            return None;
        }
        let patterns: Vec<String> = globs.iter().map(|glob| plain::name(&glob.to_string()).to_string()).collect();
        let mut sentence = match globs.iter().all(|glob| glob.literal().is_some()) {
            true => format!("no machine is called {}", patterns.join(" or ")),
            false => format!("no machine matches {}", patterns.join(" or ")),
        };
        let names = || self.names.iter().map(String::as_str);
        let literals = globs.iter().filter_map(Glob::literal);
        if let Some(near) = literals.filter_map(|name| nearest_of(&name, names()).into_iter().next()).next() {
            sentence.push_str(&format!(": did you mean {}?", plain::name(near)));
        }
        sentence.push_str("; ");
        sentence.push_str(&self.listed());
        Some(sentence)
    }

    /// `there are: db1, web1`
    pub(crate) fn listed(&self) -> String {
        let listed: Vec<String> = self.names.iter().take(LISTED).map(|name| plain::name(name).to_string()).collect();
        match (listed.is_empty(), self.names.len().saturating_sub(LISTED)) {
            (true, _) => "none is known yet".to_owned(),
            (false, 0) => format!("there are: {}", listed.join(", ")),
            (false, more) => format!("there are: {} and {more} more", listed.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], globs: &[&str], expected: Option<&str>) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let known = Known { names, ids: ["7f3c".to_owned()].into_iter().collect() };
        let globs: Vec<Glob> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
        assert_eq!(known.unmatched(&globs).as_deref(), expected, "{globs:?}");
    }

    #[test]
    fn who_asks_for_a_machine_that_is_not_there_is_told_what_is() {
        let there = &["db1", "web1"];
        for globs in [&[][..], &["web1"], &["w*"], &["nosuch", "db?"], &["7f3c"]] {
            check(there, globs, None);
        }
        check(there, &["wbe1"], Some("no machine is called wbe1: did you mean web1?; there are: db1, web1"));
        check(there, &["mail"], Some("no machine is called mail; there are: db1, web1"));
        check(there, &["m*", "x"], Some("no machine matches m* or x; there are: db1, web1"));
        check(&[], &["mail"], Some("no machine is called mail; none is known yet"));
        let many: Vec<String> = (10..30).map(|n| format!("vm{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let expected = "no machine is called mail; there are: vm10, vm11, vm12, vm13, vm14, vm15, vm16, vm17, vm18, vm19 \
                        and 10 more";
        check(&many, &["mail"], Some(expected));
    }
}
