//! A monitor from when its connection is negotiated to its end. The first monitor of a QEMU makes a session ([`session`]);
//! each further one stands by ([`spare`]), and takes over when the one before it ends.
//!
//! ```text
//!              a source has           six queries,
//!              connected              10 s at most
//!   connecting ─────────► negotiated ─────────────► asked ──┬── the first of its process ──► a session's task records what
//!        │                     │ events meanwhile wait      │                                it says
//!        ▼                     │ the peer leaves,           └── a further one ──► its items go to that task, which knows
//!   told once, dialled         │ or qev is stopped                                copies from news
//!   again                      ▼
//!                            ended
//! ```
//!
//! Nothing that is asked here can hang on storage.

pub(crate) mod block_graph;
mod copies;
mod farewell;
mod questions;
pub(crate) mod run_state;
mod session;
mod spare;
pub(crate) mod status_query;

use super::Daemon;
use super::descriptors::DescriptorUse;
use super::handover::{Held, TakenBack};
use super::identity::{Claims, Identity};
use super::process::Process;
use super::sessions::{Announced, Entered};
use crate::log_limiter::{LogKind, Origin};
use crate::printer::now;
use qev_link::{Capacity, Client, ConnectOptions, Events, InUseCheck};
use session::{Monitor, Restored, Start};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// What a machine's subscription has room for, until the connection is held back.
const ROOM: Capacity = Capacity { items: 256, bytes: 256 << 10 };

/// How a daemon connects: nothing that a monitor says is dropped on the way to its task.
pub(crate) fn options(daemon: &Daemon) -> ConnectOptions {
    // Sources look by themselves who uses a monitor, and wait for their turn.
    let options = ConnectOptions::default().in_use_check(InUseCheck::AtTimeout);
    options.events(ROOM).hold_back(true).spare(daemon.handover.is_there())
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
    /// That it was announced before it was negotiated.
    pub(crate) announced: Announced,
}

/// Goes on with a machine that the last daemon had: its monitor stayed open.
pub(crate) async fn go_on(back: TakenBack, daemon: &Daemon) {
    let TakenBack { held, kept, resumed, was_cut_off } = back;
    let Held { way, place, path, configured, session, .. } = held.clone();
    let announced = daemon.sessions.announce_session(session.as_deref());
    let _descriptors = daemon.descriptors.take_open(DescriptorUse::Machine);
    let gone_on = match was_cut_off {
        true => Client::recover(resumed, options(daemon)),
        false => Client::resume(resumed, options(daemon)),
    };
    match gone_on {
        Ok((client, events)) => {
            let monitor = Negotiated { client, events, way, place, path, configured, announced };
            attach(monitor, Some((held, Restored { kept, was_cut_off })), daemon).await;
        }
        Err(error) => daemon.log.log(
            Origin::Configured(place.as_str().into()),
            LogKind::UnusableMonitor,
            &format!("going on with {place}: {error}"),
        ),
    }
}

/// Listens to a monitor until its connection has ended or the daemon is stopped.
pub(crate) async fn hold(monitor: Negotiated, daemon: &Daemon) {
    attach(monitor, None, daemon).await;
}

async fn attach(monitor: Negotiated, restored: Option<(Held, Restored)>, daemon: &Daemon) {
    let mut since = now();
    let Negotiated { mut client, mut events, way, place, path, configured, announced } = monitor;
    let known = restored.as_ref().and_then(|(held, _)| held.session.clone());
    let process = client.peer().and_then(|peer| peer.pid).and_then(Process::of);
    // A machine that ended meanwhile has no process any more, and its id may be another's by now.
    let process = process.filter(|process| known.as_ref().is_none_or(|known| process.session() == *known));
    let session = process.as_ref().map(Process::session).or(known);
    let (answers, early) = questions::ask(&client, &mut events).await;
    if let Some(ignored) = answers.too_long() {
        let origin =
            client.peer().map_or_else(|| Origin::Configured(place.as_str().into()), |peer| Origin::User(peer.uid));
        daemon.log.log(origin, LogKind::AnswerTooLong, &format!("{place}: {ignored}"));
    }
    // Who was known is known, whether it answers now or not.
    let (uuid, name) = match &restored {
        Some((held, _)) => (held.uuid.clone(), held.name.clone()),
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
    let socket = client.take_spare();
    let mut monitor = Monitor { id: announced.id(), client, events, early, held, socket };
    let mut announced = announced;
    loop {
        match announced.enter(&identity.key()) {
            Entered::First(membership) => {
                drop(announced);
                let restored = restored.map(|(_, restored)| restored);
                let (over, is_over) = oneshot::channel();
                let start = Start { monitor, identity, session, process, answers, since, restored, membership, over };
                // The session goes on without us when this monitor ends and a spare one takes over.
                tokio::spawn(session::run(start, daemon.clone()));
                // Nothing is ever sent: that it is dropped says it.
                let _ = is_over.await;
                return;
            }
            Entered::Spare(session, permit) => match spare::stand_by(monitor, announced, &session, daemon).await {
                spare::Ended::Connection => return,
                spare::Ended::Session(back) => {
                    // The session ended at this moment: this monitor is the first of the next.
                    drop(permit);
                    since = now();
                    monitor = *back;
                    announced = daemon.sessions.announce_session(monitor.held.session.as_deref());
                    monitor.id = announced.id();
                }
            },
            Entered::Refused => {
                let process = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
                let most = "so many of its monitors are attached that further ones are closed";
                let origin = match monitor.client.peer() {
                    Some(peer) => Origin::User(peer.uid),
                    None => Origin::Configured(monitor.held.place.as_str().into()),
                };
                let line = format!("{process}: {most} ({})", monitor.held.place);
                return daemon.log.log(origin, LogKind::TooManyMonitors, &line);
            }
        }
    }
}
