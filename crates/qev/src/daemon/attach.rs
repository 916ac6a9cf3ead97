//! One machine's task: from a connection that is negotiated to its end, everything that its monitor says becomes a record.
//!
//! ```text
//!              a source has           six queries,            gap, attached,
//!              connected              10 s at most            state
//!   connecting ─────────► negotiated ─────────────► asked ───────────────► listening ◄─┐
//!        │                     │ events meanwhile wait        │      │ an event         │
//!        ▼                     │                              │      └── Outbox::put ──►┘  (waits for the journal)
//!   told once, dialled         │ the peer leaves,             │ the peer leaves, or qev is stopped
//!   again                      │ or qev is stopped            ▼
//!                              └──────────────────────────► ended: detached, with what became of the process
//! ```
//!
//! While the journal is slow this task waits for it, its subscription fills, and the connection is held back: QEMU keeps
//! what it has to say. Nothing that is asked here can hang on storage.

pub(crate) mod block_graph;
mod farewell;
mod questions;
pub(crate) mod run_state;

use super::Daemon;
use super::absence::{Absence, Absences};
use super::descriptors::DescriptorUse;
use super::handover::{Held, Kept, TakenBack};
use super::identity::{Claims, Identity};
use super::process::{Fate, PATIENCE, Process};
use super::recorder::Outbox;
use super::roster::{MachineStatus, Roster};
use super::share::Who;
use crate::log_limiter::{LogKind, Origin};
use crate::printer::now;
use farewell::Farewell;
use qev_link::{Capacity, Client, ConnectOptions, EndReason, EventItem, Events};
use qev_qmp::Timestamp;
use qev_record::record::Gap;
use qev_record::{Record, Severity};
use questions::Answers;
use run_state::RunState;
use std::path::PathBuf;
use std::sync::Arc;

/// What a machine's subscription has room for, until the connection is held back.
const ROOM: Capacity = Capacity { items: 256, bytes: 256 << 10 };

/// How many events are taken at one look. A machine that floods is let go of only between two.
const A_LOOK: usize = 64;

/// How a daemon connects: nothing that a monitor says is dropped on the way to its task.
pub(crate) fn options(daemon: &Daemon) -> ConnectOptions {
    ConnectOptions::default().events(ROOM).hold_back(true).spare(daemon.handover.is_there())
}

/// A monitor that was connected to and has negotiated.
pub(crate) struct Negotiated {
    pub(crate) client: Client,
    pub(crate) events: Events,
    /// How it is reached: `dial-in`, `dial-out`.
    pub(crate) way: &'static str,
    /// Where: the path of its monitor, or of our socket that it dialled.
    pub(crate) place: String,
    /// The path of its monitor, when it is its alone.
    pub(crate) path: Option<PathBuf>,
    /// What the configuration calls it.
    pub(crate) configured: Option<String>,
}

/// Goes on with a machine that the last daemon had: its monitor stayed open.
pub(crate) async fn go_on(back: TakenBack, daemon: &Daemon) {
    let TakenBack { held, kept, resumed, was_cut_off } = back;
    let Held { way, place, path, configured, .. } = held.clone();
    let _descriptors = daemon.descriptors.take_open(DescriptorUse::Machine);
    let gone_on = match was_cut_off {
        true => Client::recover(resumed, options(daemon)),
        false => Client::resume(resumed, options(daemon)),
    };
    match gone_on {
        Ok((client, events)) => {
            let monitor = Negotiated { client, events, way, place, path, configured };
            hold_on(monitor, Some((held, kept, was_cut_off)), daemon).await;
        }
        Err(error) => daemon.log.log(
            Origin::Configured(place.as_str().into()),
            LogKind::UnusableMonitor,
            &format!("going on with {place}: {error}"),
        ),
    }
}

/// Listens to a machine until it is gone or the daemon is stopped.
pub(crate) async fn hold(monitor: Negotiated, daemon: &Daemon) {
    hold_on(monitor, None, daemon).await;
}

async fn hold_on(monitor: Negotiated, back: Option<(Held, Kept, bool)>, daemon: &Daemon) {
    let since = now();
    let Negotiated { mut client, mut events, way, place, path, configured } = monitor;
    let process = client.peer().and_then(|peer| peer.pid).and_then(Process::of);
    // A machine that ended meanwhile has no process any more.
    let known = back.as_ref().and_then(|(held, ..)| held.session.clone());
    let session = process.as_ref().map(Process::session).or(known);
    let (answers, early) = questions::ask(&client, &mut events).await;
    // Who was known is known, whether it answers now or not.
    let (uuid, name) = match &back {
        Some((held, ..)) => (held.uuid.clone(), held.name.clone()),
        None => (answers.uuid(), answers.name()),
    };
    let held = Held {
        way,
        place: place.clone(),
        path: path.clone(),
        configured: configured.clone(),
        name: name.clone(),
        uuid: uuid.clone(),
        session: session.clone(),
        greeting: client.greeting().clone(),
        oob: client.has_oob(),
    };
    let pid = client.peer().and_then(|peer| peer.pid);
    let identity = Identity::of(Claims { configured, uuid, name, path, session: session.clone(), pid });
    let mut machine = Machine {
        host: Arc::clone(&daemon.host),
        session: session.map(Arc::from),
        uid: client.peer().map(|peer| peer.uid),
        outbox: daemon.recorder.outbox(),
        roster: daemon.roster.clone(),
        key: daemon.roster.key(),
        run_state: RunState::found(answers.status()),
        identity,
    };
    let (how, was_open) = match (&back, way, client.peer()) {
        (Some((_, _, was_cut_off)), ..) => ("attached: stayed open while qev was restarted".to_owned(), !was_cut_off),
        (None, "dial-in", Some(peer)) => (format!("attached: {peer} dialled in"), false),
        _ => (format!("attached: {place}"), false),
    };
    let kept = match back {
        Some((_, kept, _)) => Some(kept),
        None => client.take_spare().and_then(|socket| daemon.handover.keep(&socket, held, &daemon.log)),
    };
    machine.appear(&client, way, place, since);
    machine.begin(&daemon.absences, since, was_open, &how, &answers).await;
    let lent = daemon.shares.lend(&client, &machine.who(&client), daemon);
    if let Some((path, clients)) = lent.at() {
        machine.roster.lent(&machine.key, path, clients);
    }
    if let Some(why) = lent.why_not() {
        machine.roster.change(&machine.key, |status| status.note = Some(format!("its monitor is not lent: {why}")));
    }
    let fate = async {
        client.ended().await;
        // At once: its parent may take its status away any moment.
        match &process {
            Some(process) => Some((process.pid(), process.fate(PATIENCE).await)),
            None => None,
        }
    };
    let hand_over = async {
        match &kept {
            Some(kept) => kept.hand_over(&client).await,
            None => false,
        }
    };
    let farewell = machine.listen(early, &mut events, fate, hand_over, daemon).await;
    // Nothing of ours waits for its clients.
    machine.roster.not_lent(&machine.key);
    lent.end();
    if let Some(farewell) = farewell {
        machine.end(farewell, &daemon.absences).await;
    }
}

/// One session of one machine, as its records and the roster have it.
struct Machine {
    host: Arc<str>,
    identity: Identity,
    session: Option<Arc<str>>,
    /// The user of its process, as the kernel reports it.
    uid: Option<u32>,
    outbox: Outbox,
    roster: Roster,
    key: String,
    run_state: RunState,
}

impl Machine {
    /// It stands in the roster from now on.
    fn appear(&self, client: &Client, way: &'static str, place: String, since: Timestamp) {
        let status = MachineStatus {
            machine: Arc::clone(&self.identity.machine),
            machine_id: self.identity.machine_id.clone(),
            session: self.session.clone(),
            state: "attached",
            since,
            way,
            place,
            pid: client.peer().and_then(|peer| peer.pid),
            run_state: self.run_state.name().map(str::to_owned),
            qemu: Some(client.greeting().version.to_string()),
            events: 0,
            share: None,
            note: None,
        };
        self.roster.put(&self.key, status);
    }

    /// Whose monitor it is, for those to whom it is lent.
    fn who(&self, client: &Client) -> Who {
        Who {
            host: Arc::clone(&self.host),
            machine: Arc::clone(&self.identity.machine),
            machine_id: self.identity.machine_id.clone(),
            session: self.session.clone(),
            pid: client.peer().and_then(|peer| peer.pid),
        }
    }

    /// The first records: since when it was away, that it is there, and how it is.
    async fn begin(&self, absences: &Absences, since: Timestamp, was_open: bool, how: &str, answers: &Answers) {
        let (host, machine) = (Arc::clone(&self.host), Arc::clone(&self.identity.machine));
        if let Some(absence) = absences.take(&self.identity).await.filter(|_| !was_open) {
            let gap = Gap { from: Some(absence.since), until: Some(since), ..Gap::default() };
            self.put(Record::gap(Arc::clone(&host), Arc::clone(&machine), since, gap, "not attached")).await;
        }
        let mut attached = Record::attached(Arc::clone(&host), Arc::clone(&machine), since);
        attached.summary = how.into();
        attached.uid = self.uid;
        self.put(attached).await;
        self.put(Record::state(host, machine, now(), answers.data())).await;
    }

    /// Until its end, everything that it says. Nothing is to be said at its end when the next daemon goes on with it.
    async fn listen(
        &mut self,
        early: Vec<(Timestamp, EventItem)>,
        events: &mut Events,
        fate: impl Future<Output = Option<(u32, Fate)>>,
        hand_over: impl Future<Output = bool>,
        daemon: &Daemon,
    ) -> Option<Farewell> {
        tokio::pin!(fate);
        let mut stopping = daemon.stopping();
        let mut early = early.into_iter();
        let mut became = None;
        let ended = loop {
            if let Some((received, item)) = early.next() {
                match self.take(received, item, || None).await {
                    Some(ended) => break ended,
                    None => continue,
                }
            }
            tokio::select! {
                biased;
                fate = &mut fate, if became.is_none() => became = Some(fate),
                // Before what is there to be heard: a machine that floods would never let us go.
                () = stopping.wait() => {
                    return self.leave(events, hand_over).await;
                }
                item = events.next() => {
                    if let Some(ended) = self.take(now(), item, || events.try_next()).await {
                        break ended;
                    }
                }
            }
        };
        let fate = match became {
            Some(fate) => fate,
            None => fate.await,
        };
        Some(Farewell::of(&ended, fate, self.run_state.shut_down()))
    }

    /// The daemon is being stopped. What was received is kept; what QEMU still has to say the next daemon hears, to whom
    /// the connection is handed over, or a gap will tell.
    async fn leave(&mut self, events: &mut Events, hand_over: impl Future<Output = bool>) -> Option<Farewell> {
        tokio::pin!(hand_over);
        let handed_over = loop {
            tokio::select! {
                biased;
                handed_over = &mut hand_over => break handed_over,
                // The connection's task may have to wait until there is room.
                item = events.next() => {
                    if self.take(now(), item, || events.try_next()).await.is_some() {
                        break hand_over.await;
                    }
                }
            }
        };
        while let Some(item) = events.try_next() {
            if self.take(now(), item, || events.try_next()).await.is_some() {
                break;
            }
        }
        (!handed_over).then(Farewell::stopped)
    }

    /// Makes records of what came, and of what else is there already; gives back why the connection ended, when that is
    /// what came.
    async fn take(
        &mut self,
        mut received: Timestamp,
        item: EventItem,
        mut next: impl FnMut() -> Option<EventItem>,
    ) -> Option<Arc<EndReason>> {
        let (mut records, mut heard, mut ended) = (Vec::new(), 0, None);
        let mut item = Some(item);
        while let Some(came) = item.take() {
            heard += u64::from(matches!(came, EventItem::Event(_)));
            match came {
                EventItem::Ended(reason) => ended = Some(reason),
                came => records.extend(self.record(received, came)),
            }
            if ended.is_none() && records.len() < A_LOOK {
                item = next();
                received = now();
            }
        }
        if heard > 0 {
            let run_state = self.run_state.name();
            self.roster.change(&self.key, |status| {
                status.events = status.events.saturating_add(heard);
                if status.run_state.as_deref() != run_state {
                    status.run_state = run_state.map(str::to_owned);
                }
            });
        }
        self.outbox.put_all(records).await;
        ended
    }

    /// The record of what came, if it is worth one.
    fn record(&mut self, received: Timestamp, item: EventItem) -> Option<Record> {
        let (host, machine) = (Arc::clone(&self.host), Arc::clone(&self.identity.machine));
        let gap = |reason: &str| {
            let gap = Gap { until: Some(received), ..Gap::default() };
            Record::gap(Arc::clone(&host), Arc::clone(&machine), received, gap, reason)
        };
        let mut record = match item {
            EventItem::Event(event) => {
                self.run_state.hear(&event);
                // Nobody else has it, unless somebody else listens to the same connection.
                Record::of_event(host, machine, received, Arc::unwrap_or_clone(event))
            }
            EventItem::Missed(count) => {
                self.outbox.missed(count);
                let mut lost = gap(&format!("{count} messages came faster than they could be kept"));
                lost.severity = Severity::Error;
                lost
            }
            EventItem::Garbage(garbage) => gap(&garbage.to_string()),
            EventItem::Restarted(_) => gap("the monitor began a new session"),
            _ => return None,
        };
        self.mark(&mut record);
        Some(record)
    }

    /// The last record: why it ended, and what became of the process.
    async fn end(self, farewell: Farewell, absences: &Absences) {
        let since = now();
        let (host, machine) = (Arc::clone(&self.host), Arc::clone(&self.identity.machine));
        let mut detached = Record::detached(host, machine, since, &farewell.reason);
        detached.severity = farewell.severity;
        self.put(detached).await;
        self.roster.gone(&self.key, since, farewell.reason);
        absences.put(Absence { identity: self.identity, since, unsaid: false, session: self.session, reason: None });
    }

    async fn put(&self, mut record: Record) {
        self.mark(&mut record);
        self.outbox.put(record).await;
    }

    /// Says whose record it is.
    fn mark(&self, record: &mut Record) {
        record.session.clone_from(&self.session);
        record.machine_id.clone_from(&self.identity.machine_id);
    }
}
