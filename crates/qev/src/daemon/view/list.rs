//! The machines as JSON: who is there, from the roster, with what was heard of each.

use super::View;
use super::devices::{At, Child, Devices, Quorum, Slot};
use super::hour::{Hour, MINUTES};
use super::json::{self, Members};
use super::machine::{Happened, Machine};
use super::machines::key;
use crate::daemon::control::machine_line;
use crate::daemon::identity::Identity;
use crate::daemon::roster::MachineStatus;
use qev_qmp::Timestamp;
use qev_record::{Glob, Severity};
use std::cmp::Reverse;
use std::sync::Arc;

/// How many machines that the roster does not know any more are shown: those that were gone before the daemon started.
const BEFORE: usize = 4096;

/// One machine that is shown.
struct Shown {
    status: MachineStatus,
    heard: Option<Arc<Machine>>,
    /// The worst of the last hour.
    severity: Option<Severity>,
}

/// Which machine is asked for, where more than one has a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Which {
    pub(crate) machine_id: Option<String>,
    pub(crate) session: Option<String>,
}

impl View {
    /// `{"machines":[…],"last":N}`: the machines that one of the patterns names, or all, the worst first.
    pub(crate) fn machines_json(&self, patterns: &[Glob], now: Timestamp) -> String {
        let last = self.recorder.last();
        let mut shown = self.shown(now);
        let is_named = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        shown.retain(|one| {
            let id = one.status.machine_id.as_deref();
            patterns.is_empty() || is_named(&one.status.machine) || id.is_some_and(is_named)
        });
        shown.sort_by_key(|one| Reverse(one.severity));
        let machines = shown.iter().map(|one| one.json(now));
        Members::new().list("machines", machines).number("last", last).close()
    }

    /// One machine, by its name or identity; `None` when there is none.
    pub(crate) fn machine_json(&self, name: &str, which: &Which, now: Timestamp) -> Option<String> {
        self.find(name, which, now).map(|one| one.json(now))
    }

    /// Name and identity of one machine.
    pub(crate) fn identity(&self, name: &str, which: &Which, now: Timestamp) -> Option<Identity> {
        let Shown { status, .. } = self.find(name, which, now)?;
        Some(Identity { machine: status.machine, machine_id: status.machine_id })
    }

    fn find(&self, name: &str, which: &Which, now: Timestamp) -> Option<Shown> {
        let mut found: Vec<_> = self.shown(now);
        // A name may be longer than an address can be: the identity or the session alone is enough then.
        let any = name == "*" && (which.machine_id.is_some() || which.session.is_some());
        found.retain(|Shown { status, .. }| {
            (any || *status.machine == *name || status.machine_id.as_deref() == Some(name))
                && which.machine_id.as_ref().is_none_or(|id| status.machine_id.as_deref() == Some(id))
                && which.session.as_ref().is_none_or(|session| status.session.as_deref() == Some(session))
        });
        // Of several the one that is there.
        found.into_iter().max_by_key(|one| (one.status.state == "attached", one.status.since))
    }

    /// The roster's machines by name, and those that only the journal knows.
    fn shown(&self, now: Timestamp) -> Vec<Shown> {
        let mut heard = self.heard();
        let roster = self.roster.snapshot();
        let mut shown = Vec::with_capacity(roster.len());
        let mut taken = Vec::new();
        for status in roster {
            let key = key(status.machine_id.as_ref().unwrap_or(&status.machine)).into_owned();
            let machine = heard.get(&key).cloned();
            taken.push(key);
            shown.push(Shown::new(status, machine, now));
        }
        for key in taken {
            heard.remove(&key);
        }
        let mut before: Vec<_> = heard.into_values().collect();
        before.sort_unstable_by_key(|machine| Reverse(machine.heard()));
        before.truncate(BEFORE);
        shown.extend(before.into_iter().map(|machine| Shown::new(gone(&machine), Some(machine), now)));
        shown
    }
}

/// The status of a machine that the roster does not have.
fn gone(machine: &Machine) -> MachineStatus {
    let (state, since, note) = match &machine.gone {
        Some(Happened { word, at }) => ("gone", at.received, word.as_deref().unwrap_or("it was let go")),
        None => ("unknown", machine.heard(), "attached when qev was last running"),
    };
    MachineStatus {
        machine_id: machine.identity.machine_id.clone(),
        session: machine.current.session.clone(),
        way: "unknown",
        ..MachineStatus::not_attached(&machine.identity.machine, state, since, String::new(), note.to_owned())
    }
}

impl Shown {
    fn new(status: MachineStatus, heard: Option<Arc<Machine>>, now: Timestamp) -> Shown {
        let severity = heard.as_ref().and_then(|machine| machine.hour.worst(now)).map(|told| told.severity);
        Shown { status, heard, severity }
    }

    fn json(&self, now: Timestamp) -> String {
        let members =
            Members::go_on(machine_line(&self.status)).some_text("severity", self.severity.map(Severity::as_str));
        let Some(heard) = &self.heard else { return members.close() };
        members
            .some_json("worst", heard.hour.worst(now).map(json::told))
            .json("last", &json::told(&heard.last))
            .json("histogram", &histogram(&heard.hour, now))
            .json("latest", &latest(heard, self.status.run_state.as_deref()))
            .close()
    }
}

/// A bar a minute and severity: `[minute, records, severity]`, minutes counted from the beginning.
fn histogram(hour: &Hour, now: Timestamp) -> String {
    let bars = hour.bars(now).into_iter();
    let counts = bars.map(|bar| format!("[{},{},\"{}\"]", bar.minute, bar.records, bar.severity));
    Members::new()
        .time("from", Hour::begin(now))
        .number("step_seconds", 60)
        .number("buckets", MINUTES)
        .list("counts", counts)
        .close()
}

/// How the machine is. Of its run state the roster knows more while it is attached.
fn latest(machine: &Machine, run_state: Option<&str>) -> String {
    let balloon = machine.balloon.map(|balloon| Members::new().number("actual", balloon.actual).at(balloon.at).close());
    let Devices { slots, children, quorums, forgotten } = &machine.devices;
    let since = machine
        .run_state_since
        .as_ref()
        .filter(|_| run_state.is_none_or(|state| machine.run_state.name() == Some(state)));
    Members::new()
        .some_text("run_state", run_state.or(machine.run_state.name()))
        .some_json("run_state_since", since.map(|since| Members::new().at(since.at).close()))
        .some_json("balloon", balloon)
        .some_json("panic", machine.panic.as_ref().map(|panic| happened("action", panic)))
        .some_json("reset", machine.reset.as_ref().map(|reset| happened("reason", reset)))
        .list("slots", slots.iter().map(slot))
        .list("quorum", quorum(children, quorums))
        .number("forgotten", forgotten)
        .close()
}

fn happened(word: &str, happened: &Happened) -> String {
    Members::new().some_text(word, happened.word.as_deref()).at(happened.at).close()
}

fn slot(slot: &Slot) -> String {
    Members::new()
        .text("slot", &slot.slot)
        .text("slot_type", &slot.slot_type)
        .some_text("device", slot.device.as_deref())
        .number("source", slot.source)
        .number("status", slot.status)
        .text("words", &slot.words())
        .at(slot.at)
        .close()
}

/// Events do not say to which quorum a replica belongs: where there is one, or none is known, all are its; else they
/// stand by themselves.
fn quorum(children: &[Child], quorums: &[Quorum]) -> Vec<String> {
    let children = || children.iter().map(child);
    match quorums {
        [] if children().len() == 0 => Vec::new(),
        [] => vec![Members::new().list("children", children()).number("failures", 0).close()],
        [one] => vec![of_quorum(one, children())],
        several => {
            let alone = (children().len() > 0)
                .then(|| Members::new().list("children", children()).number("failures", 0).close());
            several.iter().map(|one| of_quorum(one, std::iter::empty())).chain(alone).collect()
        }
    }
}

fn of_quorum(quorum: &Quorum, children: impl IntoIterator<Item = String>) -> String {
    Members::new()
        .text("reference", &quorum.reference)
        .list("children", children)
        .number("failures", quorum.failures)
        .json("last", &place(quorum.sector, quorum.count, quorum.at).close())
        .close()
}

fn child(child: &Child) -> String {
    let last = child.last.as_ref().map(|last| {
        let last_place = place(last.sector, last.count, last.at);
        last_place.some_text("type", last.op.as_deref()).some_text("error", last.error.as_deref()).close()
    });
    Members::new().text("node_name", &child.node_name).number("bad", child.bad).some_json("last", last).close()
}

fn place(sector: i64, count: i64, at: At) -> Members {
    Members::new().number("sector", sector).number("count", count).at(at)
}
