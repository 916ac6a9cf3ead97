//! What the guest is going to do, and when.

use std::time::Duration;

/// Something the guest, or its firmware, is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The balloon's driver moves one step towards its target.
    BalloonStep,
    /// The guest goes on with the memory hotplug notification that it is dealing with.
    Hotplug,
    /// The firmware resets the machine once more.
    FirmwareReset,
    /// The guest's drivers are there.
    Booted,
    /// The guest reboots of itself.
    Reboot,
    /// The guest has shut down.
    PowerOff,
    /// Nothing fed the watchdog in time.
    WatchdogExpires,
    /// A disk's error stops the machine.
    IoErrorStops,
}

/// Actions by the guest time at which they are due.
///
/// There is at most one entry for each kind of action, so it can not grow: whoever has more to do keeps a queue of its own.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: Vec<(Duration, Action)>,
}

impl Agenda {
    /// Puts an action in for a guest time, in the place of the one of its kind.
    pub(crate) fn put(&mut self, due: Duration, action: Action) {
        self.remove(action);
        self.entries.push((due, action));
    }

    /// Takes the action of this kind out.
    pub(crate) fn remove(&mut self, action: Action) {
        self.entries.retain(|(_, entry)| *entry != action);
    }

    /// Whether there is an action of this kind.
    pub(crate) fn has(&self, action: Action) -> bool {
        self.entries.iter().any(|(_, entry)| *entry == action)
    }

    /// Takes everything out: the guest that was going to do it is gone.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// When the next action is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.iter().map(|(due, _)| *due).min()
    }

    /// Takes out the next action that is due by `guest` time; of two due at once, the one that was put in first.
    pub(crate) fn pop(&mut self, guest: Duration) -> Option<(Duration, Action)> {
        let next = self.next().filter(|due| *due <= guest)?;
        let at = self.entries.iter().position(|(due, _)| *due == next)?;
        Some(self.entries.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn actions_come_out_when_they_are_due_and_in_their_order() {
        let mut agenda = Agenda::default();
        agenda.put(ms(20), Action::Reboot);
        agenda.put(ms(10), Action::Hotplug);
        agenda.put(ms(10), Action::BalloonStep);
        assert_eq!(agenda.next(), Some(ms(10)));
        assert_eq!(agenda.pop(ms(9)), None);
        assert_eq!(agenda.pop(ms(15)), Some((ms(10), Action::Hotplug)));
        assert_eq!(agenda.pop(ms(15)), Some((ms(10), Action::BalloonStep)));
        assert_eq!(agenda.pop(ms(15)), None);
        assert_eq!(agenda.pop(ms(20)), Some((ms(20), Action::Reboot)));
    }

    #[test]
    fn the_same_action_is_there_once() {
        let mut agenda = Agenda::default();
        for i in 0..1000 {
            agenda.put(ms(i), Action::BalloonStep);
        }
        assert_eq!(agenda.pop(ms(2000)), Some((ms(999), Action::BalloonStep)));
        assert_eq!(agenda.next(), None);
        agenda.put(ms(1), Action::Reboot);
        agenda.clear();
        assert!(!agenda.has(Action::Reboot));
    }
}
