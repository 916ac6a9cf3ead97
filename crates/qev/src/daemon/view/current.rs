//! Whose state a machine's state is: that of the process which was attached last, while another one of its name is there too.

use qev_record::{Kind, Record};
use std::sync::Arc;

/// The session that a machine's state is of.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) session: Option<Arc<str>>,
    is_gone: bool,
    /// What the machine says of itself on attach is still to come.
    awaits_state: bool,
    /// The last record of kind `state` says how the machine was found on attach; a later one says what has just changed.
    pub(crate) was_found: bool,
}

impl Default for Current {
    fn default() -> Current {
        Current { session: None, is_gone: false, awaits_state: true, was_found: false }
    }
}

/// What a record has to do with the state of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// It is of the process whose state is shown, or of the machine as a whole.
    Current,
    /// It is of another process, whose state is shown from now on.
    Next,
    /// It is of another process, which says nothing of the state that is shown.
    Other,
}

impl Current {
    /// Takes note of a record of the machine, and tells what it has to do with the state that is shown.
    pub(crate) fn apply(&mut self, record: &Record) -> Concern {
        let is_same = match (&record.session, &self.session) {
            (Some(one), Some(other)) => one == other,
            // What libvirt says of a machine whose monitor is attached is said by the monitor, too.
            (None, Some(_)) => record.via.is_none(),
            (_, None) => true,
        };
        let is_taken = !self.is_gone && !is_same;
        if record.kind == Kind::State && !is_taken {
            self.was_found = std::mem::replace(&mut self.awaits_state, false);
        }
        match record.kind {
            Kind::Attached => self.awaits_state = true,
            Kind::Detached if is_same => {
                self.is_gone = true;
                return Concern::Current;
            }
            Kind::Detached => return Concern::Other,
            Kind::Event | Kind::State if is_taken => return Concern::Other,
            Kind::Event | Kind::State => {}
            _ => return Concern::Current,
        }
        self.is_gone = false;
        if record.session.is_some() {
            self.session.clone_from(&record.session);
        }
        if is_same { Concern::Current } else { Concern::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Timestamp;

    const AT: Timestamp = Timestamp { seconds: 1, microseconds: 0 };

    #[test]
    fn the_first_state_behind_attached_says_how_a_machine_was_found() {
        let state = || Record::state("h1", "web1", AT, qev_qmp::Json::parse("{}").unwrap());
        let mut current = Current::default();
        let mut was_found = |record: Record| {
            current.apply(&record);
            current.was_found
        };
        assert!(was_found(state()) && !was_found(state()));
        was_found(Record::attached("h1", "web1", AT));
        assert!(was_found(state()) && !was_found(state()));
    }

    #[test]
    fn the_state_is_of_the_process_that_was_attached_last_while_it_is_there() {
        let of = |mut record: Record, session: &str| {
            record.session = Some(session.into());
            record
        };
        let attached = |session| of(Record::attached("h1", "web1", AT), session);
        let detached = |session| of(Record::detached("h1", "web1", AT, "it ended"), session);
        let event = |session| of(crate::daemon::recorder::tests::event("web1", "STOP", 1), session);
        let gap = |session| of(Record::gap("h1", "web1", AT, qev_record::Gap::default(), "not attached"), session);
        let mut of_libvirt = crate::daemon::recorder::tests::event("web1", "STOP", 1);
        of_libvirt.via = Some("libvirt".into());
        let mut current = Current::default();
        for (record, expected) in [
            (attached("source"), Concern::Current),
            (event("source"), Concern::Current),
            (of_libvirt, Concern::Other),
            (attached("target"), Concern::Next),
            (event("source"), Concern::Other),
            (gap("source"), Concern::Current),
            (detached("source"), Concern::Other),
            (event("target"), Concern::Current),
            // The migration failed, and the source goes on.
            (detached("target"), Concern::Current),
            (gap("source"), Concern::Current),
            (event("source"), Concern::Next),
            (event("source"), Concern::Current),
        ] {
            assert_eq!(current.apply(&record), expected, "{record:?}");
        }
    }
}
