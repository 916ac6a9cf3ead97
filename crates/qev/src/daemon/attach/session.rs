//! One session of one machine: everything that QEMU says over its monitors becomes a record, once.
//!
//! ```text
//!              gap, attached, state
//!   entered ───────────────────────► listening ◄─┐ an event of the monitor, or one of a spare that is no copy
//!                                      │   │     │
//!                                      │   └── Outbox::put ──┘  (waits for the journal)
//!                 the monitor ended,   │
//!                 or qev is stopped    ├── a spare stands by ──► it takes over: listening
//!                                      └── none does ──► detached, with what became of the process
//! ```
//!
//! While the journal is slow this task waits for it, its subscriptions fill, and the connections are held back: QEMU keeps
//! what it has to say.

use super::copies::Copies;
use super::farewell::Farewell;
use super::questions::Answers;
use super::run_state::{RunStateTracker, may_change_run_state};
use super::status_query::{self, Status, StatusQuery};
use crate::daemon::Daemon;
use crate::daemon::absence::{Absence, Absences, Arrival};
use crate::daemon::handover::{Held, Kept};
use crate::daemon::identity::Identity;
use crate::daemon::process::{Fate, Process};
use crate::daemon::recorder::Outbox;
use crate::daemon::roster::{MachineStatus, Roster};
use crate::daemon::sessions::{FromSpare, Joining, Membership, MonitorId, Spare};
use crate::daemon::share::{Lent, Who};
use crate::monitor::not_an_event;
use crate::printer::now;
use qev_link::{Client, EndReason, EventItem, Events};
use qev_qmp::{Json, Object, Timestamp};
use qev_record::record::Gap;
use qev_record::{Record, Severity};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How many events are taken at one look. A machine that floods is let go of only between two.
const A_LOOK: usize = 64;

/// A monitor that is attached.
pub(super) struct Monitor {
    pub(super) id: MonitorId,
    pub(super) client: Client,
    pub(super) events: Events,
    /// What came before it entered, with the time at which it did.
    pub(super) early: Vec<(Timestamp, EventItem)>,
    /// What the next daemon has to know of it, and its socket once more.
    pub(super) held: Held,
    pub(super) socket: Option<Arc<OwnedFd>>,
}

/// How the service manager kept a monitor over a restart of the daemon.
pub(super) struct Restored {
    pub(super) kept: Kept,
    /// The last daemon was cut off: what it had read and not recorded is lost.
    pub(super) was_cut_off: bool,
}

/// What a session begins with.
pub(super) struct Start {
    pub(super) monitor: Monitor,
    pub(super) identity: Identity,
    pub(super) session: Option<String>,
    pub(super) process: Option<Process>,
    pub(super) answers: Answers,
    pub(super) since: Timestamp,
    pub(super) restored: Option<Restored>,
    pub(super) membership: Membership,
    /// Dropped when nothing more is to come of the first monitor.
    pub(super) over: oneshot::Sender<()>,
}

/// Records what a machine says until it is gone or the daemon is stopped.
pub(super) async fn run(start: Start, daemon: Daemon) {
    let Start { monitor, identity, session, process, answers, since, restored, membership, over } = start;
    let was_open = restored.as_ref().is_some_and(|restored| !restored.was_cut_off);
    let place = &monitor.held.place;
    let how = match (&restored, monitor.held.way, monitor.client.peer()) {
        (Some(_), ..) => "attached: stayed open while qev was restarted".to_owned(),
        (None, "dial-in", Some(peer)) => format!("attached: {peer} dialled in"),
        _ => format!("attached: {place}"),
    };
    let machine = Machine {
        host: Arc::clone(&daemon.host),
        session: session.map(Arc::from),
        uid: monitor.client.peer().map(|peer| peer.uid),
        outbox: daemon.recorder.outbox(),
        roster: daemon.roster.clone(),
        key: daemon.roster.key(),
        run_state: RunStateTracker::new(answers.run_state()),
        is_status_due: false,
        identity,
        monitor: monitor.id,
        copies: Copies::default(),
        joining: membership.joining.clone(),
        spares: VecDeque::new(),
        not_lent: None,
    };
    let kept = match restored {
        Some(restored) => Some(restored.kept),
        None => monitor.keep(&daemon),
    };
    machine.appear(&monitor, since);
    machine.begin(&daemon.absences, since, was_open, &how, &answers).await;
    machine.run(monitor, kept, process.map(Arc::new), over, membership, &daemon).await;
}

impl Monitor {
    /// Leaves it with the service manager, so that it stays open when the daemon is restarted.
    fn keep(&self, daemon: &Daemon) -> Option<Kept> {
        self.socket.as_ref().and_then(|socket| daemon.handover.keep(socket, self.held.clone(), &daemon.log))
    }
}

/// A session as its records and the roster have it.
struct Machine {
    host: Arc<str>,
    identity: Identity,
    session: Option<Arc<str>>,
    /// The user of its process, as the kernel reports it.
    uid: Option<u32>,
    outbox: Outbox,
    roster: Roster,
    key: String,
    run_state: RunStateTracker,
    /// An event came after which the run state may be another than events tell.
    is_status_due: bool,
    /// The monitor that is listened to first.
    monitor: MonitorId,
    copies: Copies,
    joining: Joining,
    /// Those that stand by, the one that takes over next first.
    spares: VecDeque<Spare>,
    /// Why its monitor is not lent, when something is in the way.
    not_lent: Option<String>,
}

/// How listening to a monitor came to its end.
enum Heard {
    /// Its connection ended; what became of the process, if that is known already.
    Ended(Arc<EndReason>, Option<Option<(u32, Fate)>>),
    /// The daemon is being stopped.
    Stopping,
}

/// What follows when a monitor has ended.
enum Attended {
    /// Nothing: the session is over. There is nothing to be said when the next daemon goes on with it.
    Over(Option<Farewell>),
    /// A spare took over.
    TakenOver(Box<Monitor>, oneshot::Sender<()>),
}

/// What came next: of the monitor or of a spare.
enum Next {
    Item(EventItem),
    Spare(FromSpare),
}

impl Machine {
    /// It stands in the roster from now on.
    fn appear(&self, monitor: &Monitor, since: Timestamp) {
        let client = &monitor.client;
        let status = MachineStatus {
            machine: Arc::clone(&self.identity.machine),
            machine_id: self.identity.machine_id.clone(),
            session: self.session.clone(),
            state: "attached",
            since,
            way: monitor.held.way,
            place: monitor.held.place.clone(),
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
        let (identity, session) = (&self.identity, self.session.as_deref());
        let arrived = absences.arrive(&Arrival { identity, session, uid: self.uid, at: since }).await;
        for record in arrived.ended.iter().flat_map(|absence| absence.records(&host, since)) {
            self.outbox.put(record).await;
        }
        if let Some(from) = arrived.gap_from.filter(|_| !was_open) {
            let gap = Gap { from: Some(from), until: Some(since), ..Gap::default() };
            self.put(Record::gap(Arc::clone(&host), Arc::clone(&machine), since, gap, "not attached")).await;
        }
        let mut attached = Record::attached(Arc::clone(&host), Arc::clone(&machine), since);
        attached.summary = how.into();
        attached.uid = self.uid;
        self.put(attached).await;
        self.put(Record::state(host, machine, now(), answers.data())).await;
    }

    /// Until the last of its monitors has ended, or the daemon is stopped.
    async fn run(
        mut self,
        mut monitor: Monitor,
        mut kept: Option<Kept>,
        mut process: Option<Arc<Process>>,
        mut over: oneshot::Sender<()>,
        mut membership: Membership,
        daemon: &Daemon,
    ) {
        let farewell = loop {
            match self.attend(&mut monitor, &kept, process.as_ref(), &mut membership.inbox, daemon).await {
                Attended::Over(farewell) => break farewell,
                Attended::TakenOver(next, its_over) => {
                    self.is_status_due = true;
                    (monitor, over) = (*next, its_over);
                    kept = monitor.keep(daemon);
                    if process.is_none() {
                        let session = self.session.as_deref();
                        let found = monitor.client.peer().and_then(|peer| peer.pid).and_then(Process::of);
                        process = found.filter(|process| session == Some(&*process.session())).map(Arc::new);
                    }
                }
            }
        };
        // The next monitor of this process is the first of a session again, and has a gap before it.
        drop(membership);
        if let Some(farewell) = farewell {
            self.end(farewell, &daemon.absences).await;
        }
        drop((kept, over));
    }

    /// Until this monitor has ended, or the daemon is stopped.
    async fn attend(
        &mut self,
        monitor: &mut Monitor,
        kept: &Option<Kept>,
        process: Option<&Arc<Process>>,
        inbox: &mut mpsc::Receiver<FromSpare>,
        daemon: &Daemon,
    ) -> Attended {
        let lent = self.lend(&monitor.client, daemon);
        // A task of its own: where the kernel does not keep the status, it is to be looked at as soon as the connection
        // ends, and not when the journal has taken what was received.
        let mut watch = JoinSet::new();
        if let Some(process) = process {
            let (client, process) = (monitor.client.clone(), Arc::clone(process));
            watch.spawn(async move {
                let fate = process.fate_after(async { drop(client.ended().await) }).await;
                (process.pid(), fate)
            });
        }
        let fate = async { watch.join_next().await.and_then(Result::ok) };
        tokio::pin!(fate);
        let heard = self.listen(monitor, fate.as_mut(), inbox, daemon).await;
        // Nothing of ours waits for its clients.
        self.roster.not_lent(&self.key);
        lent.end();
        let (ended, became) = match heard {
            Heard::Ended(ended, became) => (ended, became),
            Heard::Stopping => {
                self.spares.clear();
                inbox.close();
                let hand_over = async {
                    match kept {
                        Some(kept) => kept.hand_over(&monitor.client).await,
                        None => false,
                    }
                };
                return Attended::Over(self.leave(&mut monitor.events, hand_over).await);
            }
        };
        if let Some((next, over)) = self.take_over(inbox).await {
            return Attended::TakenOver(Box::new(next), over);
        }
        let became = match became {
            Some(became) => became,
            None => fate.await,
        };
        Attended::Over(Some(Farewell::of(&ended, became, self.run_state.shut_down())))
    }

    /// Lends its monitor, and shows where, or why not.
    fn lend(&mut self, client: &Client, daemon: &Daemon) -> Lent {
        let lent = daemon.shares.lend(client, &self.who(client), &self.key, daemon);
        self.not_lent = lent.why_not().map(|why| format!("its monitor is not lent: {why}"));
        self.show_note();
        lent
    }

    /// What is to be said of it beside its state.
    fn show_note(&self) {
        let standing_by =
            |spare: &Spare| format!("a spare monitor stands by ({}: {})", spare.held.way, spare.held.place);
        let notes: Vec<_> = self.not_lent.iter().cloned().chain(self.spares.iter().map(standing_by)).collect();
        self.roster.change(&self.key, |status| status.note = (!notes.is_empty()).then(|| notes.join("; ")));
    }

    /// Until its end, everything that a monitor says, and what spare ones say before it.
    async fn listen(
        &mut self,
        monitor: &mut Monitor,
        mut fate: impl Future<Output = Option<(u32, Fate)>> + Unpin,
        inbox: &mut mpsc::Receiver<FromSpare>,
        daemon: &Daemon,
    ) -> Heard {
        let mut stopping = daemon.stopping();
        let mut became = None;
        let mut status = StatusQuery::new(&monitor.client, self.run_state.state());
        for (received, item) in std::mem::take(&mut monitor.early) {
            if let Some(ended) = self.take(received, item, || None).await {
                return Heard::Ended(ended, None);
            }
        }
        loop {
            if std::mem::take(&mut self.is_status_due) {
                status.ask();
            }
            let next = async {
                // In turns, for each may have something to say at any time.
                tokio::select! {
                    Some(said) = inbox.recv() => Next::Spare(said),
                    item = monitor.events.next() => Next::Item(item),
                }
            };
            let next = tokio::select! {
                biased;
                fate = &mut fate, if became.is_none() => {
                    became = Some(fate);
                    continue;
                }
                // Before what is there to be heard: a machine that floods would never let us go.
                () = stopping.wait() => return Heard::Stopping,
                next = next => next,
                // Behind the events: those that QEMU sent before its answer are applied before it.
                answered = status.next() => {
                    self.answered(answered).await;
                    continue;
                }
            };
            match next {
                Next::Spare(said) => self.hear_spare(said).await,
                Next::Item(item) => {
                    if let Some(ended) = self.take(now(), item, || monitor.events.try_next()).await {
                        return Heard::Ended(ended, became);
                    }
                }
            }
        }
    }

    /// A spare monitor is there, said something or is gone.
    async fn hear_spare(&mut self, said: FromSpare) {
        match said {
            FromSpare::Joined(mut spare) => {
                self.copies.begin(self.monitor);
                self.copies.join(spare.id);
                drop(spare.announced.take());
                self.spares.push_back(*spare);
                self.show_note();
            }
            FromSpare::Item(id, received, EventItem::Event(event)) => {
                if !self.is_copy(id, &event) {
                    let record = self.record(received, EventItem::Event(event));
                    self.heard(1);
                    self.outbox.put_all(record.into_iter().collect()).await;
                }
            }
            FromSpare::Item(id, _, EventItem::Ended(_)) => {
                self.spares.retain(|spare| spare.id != id);
                self.copies.leave(id);
                self.show_note();
            }
            // What it could not say the first monitor says.
            FromSpare::Item(..) => {}
        }
    }

    /// The monitor has ended: the next that stands by, when there is one, goes on in its place.
    async fn take_over(&mut self, inbox: &mut mpsc::Receiver<FromSpare>) -> Option<(Monitor, oneshot::Sender<()>)> {
        self.copies.leave(self.monitor);
        loop {
            while let Ok(said) = inbox.try_recv() {
                self.hear_spare(said).await;
            }
            let Spare { id, client, held, socket, over, reclaim, .. } = self.spares.pop_front()?;
            let (give, mut given) = oneshot::channel();
            if reclaim.send(give).is_err() {
                continue;
            }
            // Its task may have to send what it took before, so that is taken on.
            let events = loop {
                tokio::select! {
                    biased;
                    events = &mut given => break events,
                    Some(said) = inbox.recv() => self.hear_spare(said).await,
                }
            };
            while let Ok(said) = inbox.try_recv() {
                self.hear_spare(said).await;
            }
            let Ok(events) = events else { continue };
            self.monitor = id;
            self.roster.change(&self.key, |status| (status.way, status.place) = (held.way, held.place.clone()));
            self.show_note();
            return Some((Monitor { id, client, events, early: Vec::new(), held, socket }, over));
        }
    }

    /// Whether an event that this monitor said was recorded from another one.
    fn is_copy(&mut self, monitor: MonitorId, event: &qev_qmp::Event) -> bool {
        if !self.joining.is_any() {
            self.copies.none_joins();
            if self.copies.is_idle() {
                return false;
            }
        }
        !self.copies.is_news(monitor, event)
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
            match came {
                EventItem::Ended(reason) => ended = Some(reason),
                EventItem::Event(event) if self.is_copy(self.monitor, &event) => {}
                came => {
                    heard += u64::from(matches!(came, EventItem::Event(_)));
                    records.extend(self.record(received, came));
                }
            }
            if ended.is_none() && records.len() < A_LOOK {
                item = next();
                received = now();
            }
        }
        self.heard(heard);
        self.outbox.put_all(records).await;
        ended
    }

    /// Shows that it said so many events, and its state.
    fn heard(&self, events: u64) {
        if events == 0 {
            return;
        }
        let run_state = self.run_state.name();
        self.roster.change(&self.key, |status| {
            status.events = status.events.saturating_add(events);
            if status.run_state.as_deref() != run_state {
                status.run_state = run_state.map(str::to_owned);
            }
        });
    }

    /// Takes what the machine says of its run state. It is recorded where events did not say it, but for a state that QEMU
    /// leaves in a moment.
    async fn answered(&mut self, status: Status) {
        let Status { state, answer } = status;
        self.roster.change(&self.key, |status| status.run_state = Some(state.to_string()));
        if !state.is_transient() && self.run_state.answer(&state) {
            let (host, machine) = (Arc::clone(&self.host), Arc::clone(&self.identity.machine));
            let data = Json::from(&Object::new().with(status_query::COMMAND, answer.value()));
            self.put(Record::run_state(host, machine, now(), &state, data)).await;
        }
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
                self.run_state.apply(&event);
                self.is_status_due |= may_change_run_state(&event);
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
            EventItem::Unknown(object) => gap(&not_an_event(&object)),
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
        detached.uid = self.uid;
        self.put(detached).await;
        self.roster.gone(&self.key, since, farewell.reason);
        absences.put(Absence {
            identity: self.identity,
            since,
            unsaid: false,
            session: self.session,
            uid: self.uid,
            ended: farewell.has_ended,
            reason: None,
        });
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
