//! Machines that libvirt manages, with nothing added to them: `virsh qemu-monitor-event` prints every event of every domain
//! and leaves the monitors with libvirt.
//!
//! ```text
//!               a list of what runs          a line: a record          virsh ended
//!   Starting ──────────────────────► Listening ──────────────► … ─────────────────────► Waiting, 1 s … 30 s ─┐
//!      ▲ │ refused: told                │  ▲ every 10 s, and 2 s after a SHUTDOWN:       every domain          │
//!      │ ▼                              └──┘ what runs now                              is let go              │
//!      └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Events say when something happens in a machine, not that its process is gone: the list does. What comes while nobody
//! listens is a gap, before the next `attached` of each domain. `virsh` starts to listen some time before the list is there,
//! and says nothing of when.

mod line;
#[cfg(test)]
mod tests;
mod virsh;

use crate::backoff::Backoff;
use crate::daemon::absence::{Absence, Arrival, SHUT_DOWN};
use crate::daemon::identity::{Claims, Identity};
use crate::daemon::recorder::Outbox;
use crate::daemon::roster::MachineStatus;
use crate::daemon::{Daemon, Stopping};
use crate::log_limiter::{LogKind, Origin};
use crate::printer::now;
use line::Line;
use qev_qmp::Event;
use qev_record::record::Gap;
use qev_record::{Record, Severity, plain};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use virsh::{Events, Printed, Running, Virsh};

/// By which way records came.
const VIA: &str = "libvirt";

/// How many domains of one libvirt are known at once; events of others are told to be lost.
const DOMAINS: usize = 4096;

/// How soon `virsh` is started again, at first and at last.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_LAST: Duration = Duration::from_secs(30);

/// How often it is looked what runs, and how long after a SHUTDOWN: libvirt then ends the process, or starts it anew.
const LOOK: Duration = Duration::from_secs(10);
const AFTER_SHUTDOWN: Duration = Duration::from_secs(2);

/// Follows the machines of one libvirt until the daemon is stopped.
pub(crate) async fn follow(uri: String, daemon: Daemon) {
    Source::new(Virsh::new("virsh", &uri), uri, daemon).run().await;
}

/// One libvirt.
struct Source {
    virsh: Virsh,
    uri: String,
    daemon: Daemon,
    domains: BTreeMap<String, Domain>,
    /// What the roster has of domains that nobody listens to now.
    unheard: Vec<String>,
    look_at: Instant,
}

/// One machine of it.
struct Domain {
    identity: Identity,
    outbox: Outbox,
    key: String,
    /// Why it said that it shuts down, if that was the last of its doing.
    shut_down: Option<String>,
}

/// Whether a domain that nobody listens to runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DomainState {
    Ended,
    /// It may.
    Unknown,
}

/// Why nobody listens any more.
#[derive(Debug)]
enum Ended {
    Stopped,
    /// A sentence.
    Failed(String),
}

impl Source {
    fn new(virsh: Virsh, uri: String, daemon: Daemon) -> Source {
        let look_at = Instant::now();
        Source { virsh, uri, daemon, domains: BTreeMap::new(), unheard: Vec::new(), look_at }
    }

    async fn run(mut self) {
        let mut backoff = Backoff::between(AGAIN, AGAIN_AT_LAST);
        let mut stopping = self.daemon.stopping();
        loop {
            let since = Instant::now();
            let why = match self.listen(&mut stopping).await {
                Ended::Stopped => return self.let_go("qev was stopped").await,
                Ended::Failed(why) => why,
            };
            self.log(&plain::phrase(&why).to_string());
            self.let_go(&why).await;
            backoff.was_connected(since.elapsed());
            tokio::select! {
                () = stopping.wait() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn listen(&mut self, stopping: &mut Stopping) -> Ended {
        let mut events = match self.virsh.events() {
            Ok(events) => events,
            Err(error) => return Ended::Failed(self.virsh.cannot_run(&error)),
        };
        let running = tokio::select! {
            () = stopping.wait() => return Ended::Stopped,
            running = self.virsh.running() => running,
        };
        match running {
            Ok(running) => self.reconcile(running).await,
            Err(why) => return Ended::Failed(why),
        }
        for key in self.unheard.drain(..) {
            self.daemon.roster.remove(&key);
        }
        self.hear(&mut events, stopping).await
    }

    /// Until `virsh` ends.
    async fn hear(&mut self, events: &mut Events, stopping: &mut Stopping) -> Ended {
        let mut look: Option<JoinHandle<Running>> = None;
        loop {
            tokio::select! {
                printed = events.next(&self.virsh) => match printed {
                    Printed::Line(text) => self.take(&text).await,
                    Printed::TooLong => self.gap("virsh printed a line that is too long").await,
                    Printed::Ended(why) => return Ended::Failed(why),
                },
                running = answer(&mut look) => {
                    look = None;
                    self.look_at = Instant::now() + LOOK;
                    match running {
                        Ok(running) => self.reconcile(running).await,
                        // Should libvirt be gone, the other virsh ends.
                        Err(why) => self.log(&plain::phrase(&why).to_string()),
                    }
                }
                () = tokio::time::sleep_until(self.look_at), if look.is_none() => {
                    let virsh = self.virsh.clone();
                    look = Some(tokio::spawn(async move { virsh.running().await }));
                }
                () = stopping.wait() => return Ended::Stopped,
            }
        }
    }

    async fn take(&mut self, text: &str) {
        match line::parse(text) {
            Line::Event { domain, event } => self.event(domain, &event).await,
            Line::Chatter => {}
            Line::Odd => self.gap(&format!("virsh printed what is no event: {text}")).await,
        }
    }

    async fn event(&mut self, name: String, event: &Event) {
        let received = now();
        if !self.domains.contains_key(&name) {
            // It was started just now, or it is gone already; then the list does not have it.
            let running = self.virsh.running().await.unwrap_or_default();
            let uuid = running.into_iter().find(|(known, _)| *known == name).map(|(_, uuid)| uuid);
            self.appear(name.clone(), uuid).await;
        }
        let Some(domain) = self.domains.get_mut(&name) else { return };
        match event.name.as_str() {
            "SHUTDOWN" => {
                let reason = event.data.as_ref().and_then(|data| data.get("reason")?.string());
                domain.shut_down = Some(reason.unwrap_or_default());
                self.look_at = self.look_at.min(Instant::now() + AFTER_SHUTDOWN);
            }
            "RESUME" => domain.shut_down = None,
            _ => {}
        }
        self.daemon.roster.change(&domain.key, |status| status.events += 1);
        let record =
            Record::event(Arc::clone(&self.daemon.host), Arc::clone(&domain.identity.machine), received, event);
        domain.put(record).await;
    }

    fn log(&self, problem: &str) {
        let origin = Origin::Configured(self.uri.as_str().into());
        self.daemon.log.log(origin, LogKind::Libvirt, &format!("libvirt {}: {problem}", self.uri));
    }

    /// Events of any domain may be missing.
    async fn gap(&self, reason: &str) {
        self.log(&plain::phrase(reason).to_string());
        let until = now();
        for domain in self.domains.values() {
            let gap = Gap { until: Some(until), ..Gap::default() };
            let (host, machine) = (Arc::clone(&self.daemon.host), Arc::clone(&domain.identity.machine));
            domain.put(Record::gap(host, machine, until, gap, reason)).await;
        }
    }

    /// What runs now: domains come and go.
    async fn reconcile(&mut self, running: Vec<(String, String)>) {
        let running: BTreeMap<String, String> = running.into_iter().collect();
        let is_same =
            |domain: &Domain, uuid: &String| domain.identity.machine_id.as_deref().is_none_or(|id| id == uuid);
        let gone: Vec<String> = self
            .domains
            .iter()
            .filter(|(name, domain)| !running.get(*name).is_some_and(|uuid| is_same(domain, uuid)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(domain) = self.domains.remove(&name) {
                self.disappear(domain).await;
            }
        }
        for (name, uuid) in running {
            if !self.domains.contains_key(&name) {
                self.appear(name, Some(uuid)).await;
            }
        }
    }

    async fn appear(&mut self, name: String, uuid: Option<String>) {
        if self.domains.len() >= DOMAINS {
            let name = plain::name(&name).to_string();
            return self.log(&format!("{DOMAINS} domains are known already: events of {name} are lost"));
        }
        let since = now();
        let identity = Identity::of(Claims { uuid, name: Some(name.clone()), ..Claims::default() });
        let domain =
            Domain { outbox: self.daemon.recorder.outbox(), key: self.daemon.roster.key(), shut_down: None, identity };
        self.daemon.roster.put(&domain.key, domain.status(&self.uri, since));
        let (host, machine) = (&self.daemon.host, &domain.identity.machine);
        // No process and no user is known.
        let arrival = Arrival { identity: &domain.identity, session: None, uid: None, at: since };
        let arrived = self.daemon.absences.arrive(&arrival).await;
        if let Some(from) = arrived.gap_from {
            let gap = Gap { from: Some(from), until: Some(since), ..Gap::default() };
            domain.put(Record::gap(Arc::clone(host), Arc::clone(machine), since, gap, "not attached")).await;
        }
        let mut attached = Record::attached(Arc::clone(host), Arc::clone(machine), since);
        attached.summary = format!("attached: libvirt {}", self.uri).into();
        domain.put(attached).await;
        self.domains.insert(name, domain);
    }

    /// A domain does not run any more.
    async fn disappear(&self, domain: Domain) {
        let (severity, reason) = match domain.shut_down.as_deref() {
            Some("") => (Severity::Notice, SHUT_DOWN.to_owned()),
            Some(why) => (Severity::Notice, format!("{SHUT_DOWN} ({why})")),
            None => {
                let reason = "it does not run any more, without a shutdown, and how it ended is not known".to_owned();
                (Severity::Error, reason)
            }
        };
        let since = self.detach(&domain, &reason, severity, DomainState::Ended).await;
        self.daemon.roster.gone(&domain.key, since, reason);
    }

    /// Nobody listens to any of them now.
    async fn let_go(&mut self, reason: &str) {
        for domain in std::mem::take(&mut self.domains).into_values() {
            let since = self.detach(&domain, reason, Severity::Notice, DomainState::Unknown).await;
            self.daemon.roster.change(&domain.key, |status| {
                (status.state, status.since, status.note) = ("detached", since, Some(reason.to_owned()));
            });
            self.unheard.push(domain.key);
        }
    }

    /// Nobody listens to a domain any more.
    async fn detach(
        &self,
        domain: &Domain,
        reason: &str,
        severity: Severity,
        state: DomainState,
    ) -> qev_qmp::Timestamp {
        let since = now();
        let (host, machine) = (Arc::clone(&self.daemon.host), Arc::clone(&domain.identity.machine));
        let mut detached = Record::detached(host, machine, since, reason);
        detached.severity = severity;
        domain.put(detached).await;
        self.daemon.absences.put(Absence {
            identity: domain.identity.clone(),
            since,
            unsaid: false,
            session: None,
            uid: None,
            ended: state == DomainState::Ended,
            reason: None,
        });
        since
    }
}

impl Domain {
    async fn put(&self, mut record: Record) {
        record.machine_id.clone_from(&self.identity.machine_id);
        record.via = Some(VIA.into());
        self.outbox.put(record).await;
    }

    fn status(&self, uri: &str, since: qev_qmp::Timestamp) -> MachineStatus {
        MachineStatus {
            machine: Arc::clone(&self.identity.machine),
            machine_id: self.identity.machine_id.clone(),
            session: None,
            state: "attached",
            since,
            way: "libvirt",
            place: uri.to_owned(),
            pid: None,
            run_state: None,
            qemu: None,
            events: 0,
            share: None,
            note: None,
        }
    }
}

/// The list that was asked for; for ever when none was.
async fn answer(look: &mut Option<JoinHandle<Running>>) -> Running {
    match look {
        Some(asked) => asked.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}
