//! What is said of the newest records in the stream, made once for all who follow.

use qev_record::Record;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many are kept, and how long one may be to be kept.
const KEPT: usize = 512;
const LONGEST: usize = 16 << 10;

/// The newest that were said, each in the place of its number.
#[derive(Debug)]
pub(crate) struct Said(Mutex<Vec<Place>>);

/// A number, and what was said of its record.
type Place = Option<(u64, Arc<str>)>;

impl Default for Said {
    fn default() -> Said {
        Said(Mutex::new(vec![None; KEPT]))
    }
}

impl Said {
    /// The record as an event of the stream. A number stands for the same record as long as the daemon runs.
    pub(crate) fn of(&self, record: &Record) -> Arc<str> {
        let Some(seq) = record.seq else { return text(record) };
        let place = usize::try_from(seq).unwrap_or_default() % KEPT;
        if let Some(Some((number, text))) = self.lock().get(place)
            && *number == seq
        {
            return Arc::clone(text);
        }
        let text = text(record);
        if text.len() <= LONGEST
            && let Some(kept) = self.lock().get_mut(place)
        {
            *kept = Some((seq, Arc::clone(&text)));
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        // What is behind the lock is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record's line has no line end in it. One that is not on disk has no number to come back to.
fn text(record: &Record) -> Arc<str> {
    let mut text = String::new();
    if let Some(seq) = record.seq {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "id: {seq}");
    }
    let _ = write!(text, "event: record\ndata: {}\n\n", record.to_line());
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::event;

    fn record(seq: Option<u64>, machine: &str) -> Record {
        let mut record = event(machine, "STOP", 7);
        record.seq = seq;
        record
    }

    #[test]
    fn each_number_has_its_own_text_whatever_was_said_between() {
        let said = Said::default();
        let kept = u64::try_from(KEPT).unwrap();
        let five = record(Some(5), "a");
        let first = said.of(&five);
        assert!(first.starts_with("id: 5\nevent: record\ndata: {\"seq\":5,") && first.ends_with("}\n\n"), "{first}");
        assert!(Arc::ptr_eq(&first, &said.of(&five)));
        // The same place, another number.
        let other = said.of(&record(Some(5 + kept), "b"));
        assert!(other.starts_with(&format!("id: {}\n", 5 + kept)), "{other}");
        assert_eq!(said.of(&five), first);
    }

    #[test]
    fn what_is_not_kept_has_no_id_and_is_not_mixed_up() {
        let said = Said::default();
        for machine in ["a", "b"] {
            let text = said.of(&record(None, machine));
            assert!(
                text.starts_with("event: record\n") && text.contains(&format!("\"machine\":\"{machine}\"")),
                "{text}"
            );
        }
    }
}
