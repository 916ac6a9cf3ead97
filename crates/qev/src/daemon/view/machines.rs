//! All machines that were heard, each by its identity, up to a bound.

use super::hour::cut;
use super::machine::Machine;
use qev_record::Record;
use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// How many machines are known. As many QEMUs as come through one socket, and as many that are gone as are shown.
pub(crate) const MACHINES: usize = 16_384 + 4096;

/// At the bound so many of those that were heard longest ago are forgotten at once, so that not each new one costs a look
/// at all.
const AT_ONCE: usize = 1024;

/// A name or identity that is longer than this, in bytes, is known by its beginning and a hash.
const LONG: usize = 512;

/// By what a machine of this identity is known.
pub(crate) fn key(identity: &Arc<str>) -> Cow<'_, Arc<str>> {
    if identity.len() <= LONG {
        return Cow::Borrowed(identity);
    }
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    Cow::Owned(format!("{}{:016x}", cut(identity), hasher.finish()).into())
}

/// The machines. A snapshot shares them; one that is held while a machine is heard costs a copy of that machine.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    known: BTreeMap<Arc<str>, Arc<Machine>>,
}

impl Machines {
    /// Follows records.
    pub(crate) fn hear_all<R: Borrow<Record>>(&mut self, records: impl IntoIterator<Item = R>) {
        records.into_iter().for_each(|record| self.hear(record.borrow()));
    }

    /// Follows a record.
    pub(crate) fn hear(&mut self, record: &Record) {
        if !record.is_of_machine() {
            return;
        }
        let key = key(record.machine_id.as_ref().unwrap_or(&record.machine));
        if let Some(machine) = self.known.get_mut(&*key) {
            Arc::make_mut(machine).hear(record);
            return;
        }
        if self.known.len() >= MACHINES {
            self.forget();
        }
        self.known.insert(key.into_owned(), Arc::new(Machine::new(record)));
    }

    fn forget(&mut self) {
        let mut heard: Vec<_> = self.known.iter().map(|(key, machine)| (machine.heard(), Arc::clone(key))).collect();
        heard.sort_unstable();
        for (_, key) in heard.into_iter().take(AT_ONCE) {
            self.known.remove(&key);
        }
    }

    #[cfg(test)]
    pub(crate) fn get(&self, identity: &str) -> Option<Arc<Machine>> {
        self.known.get(&*key(&identity.into())).cloned()
    }

    pub(crate) fn all(&self) -> BTreeMap<Arc<str>, Arc<Machine>> {
        self.known.clone()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Timestamp;

    fn attached(machine: &str, seconds: i64) -> Record {
        Record::attached("h1", machine, Timestamp { seconds, microseconds: 0 })
    }

    #[test]
    fn two_machines_of_one_name_are_two_and_one_that_is_renamed_is_one() {
        let mut machines = Machines::default();
        for id in ["u1", "u2"] {
            let mut record = attached("web1", 1);
            record.machine_id = Some(id.into());
            machines.hear(&record);
            record.machine = "web2".into();
            machines.hear(&record);
        }
        assert_eq!(machines.all().into_keys().map(|key| key.to_string()).collect::<Vec<_>>(), ["u1", "u2"]);
    }

    #[test]
    fn a_gap_of_the_journal_is_no_machines() {
        let mut machines = Machines::default();
        let at = Timestamp { seconds: 1, microseconds: 0 };
        machines.hear(&Record::gap_of_journal("h1", at, qev_record::Gap::default(), "a segment was damaged"));
        assert_eq!(machines.len(), 0);
        machines.hear(&attached("qev", 2));
        assert_eq!(machines.all().into_keys().map(|key| key.to_string()).collect::<Vec<_>>(), ["qev"]);
    }

    #[test]
    fn at_the_bound_those_that_were_heard_longest_ago_are_forgotten() {
        let mut machines = Machines::default();
        for n in 0..=i64::try_from(MACHINES).unwrap() {
            machines.hear(&attached(&format!("vm{n}"), n));
        }
        assert_eq!(machines.len(), MACHINES + 1 - AT_ONCE);
        assert!(machines.get("vm0").is_none() && machines.get(&format!("vm{MACHINES}")).is_some());
    }

    #[test]
    fn what_a_reader_holds_does_not_change_under_it() {
        let mut machines = Machines::default();
        machines.hear(&attached("web1", 1));
        let held = machines.get("web1").unwrap();
        machines.hear(&attached("web1", 2));
        assert_eq!((held.heard().seconds, machines.get("web1").unwrap().heard().seconds), (1, 2));
    }
}
