//! Monitors that we connect to, by their paths or by patterns of paths.
//!
//! ```text
//!                 ┌──────────────── one task, it owns the table ────────────────┐
//!   inotify ────► │ look which paths there are; one dump of all sockets         │
//!   every 5 s ──► │   free: connect ─────────────────────────► a machine's task │
//!   backoff ────► │   held, waited for, a manager's: left alone                 │
//!                 │   nobody listens: tried again after 0.25 s … 10 s           │ ◄── how it ended
//!                 └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! A monitor serves one client. Who connects to one that is held hears nothing, and gets it when the other leaves: so we
//! look first, and what is held or waited for is left alone. A client that has left does not count, though a QEMU that is
//! stopped has not noticed; and of several paths to one monitor one is connected to. The sockets that managers of virtual machines own are left
//! alone, free or not, unless the configuration names them in full: the manager connects to them now and then.

use super::folders::Folders;
use super::paths::Paths;
use crate::backoff::Backoff;
use crate::daemon::Daemon;
use crate::daemon::absence::silent_note;
use crate::daemon::attach::{self, Negotiated};
use crate::daemon::descriptors::{DescriptorUse, no_descriptors};
use crate::daemon::handover::TakenBack;
use crate::daemon::managers;
use crate::daemon::roster::MachineStatus;
use crate::daemon::session_id::{ProcessState, SessionId};
use crate::daemon::sessions::Announced;
use crate::log_limiter::{LogKind, Origin};
use crate::printer::now;
use qev_link::{Client, ConnectError, Sockets, Standing, Target};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often paths are looked for, whatever inotify says, and whether who holds a monitor has left.
const RESCAN: Duration = Duration::from_secs(5);

/// How long it is waited after something has appeared: who makes a socket first makes its file, then listens.
const SETTLE: Duration = Duration::from_millis(50);

/// How many machines may be connected to.
const MACHINES: usize = 16_384;

/// What is to be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// Where.
    pub(crate) paths: Paths,
    /// What a machine is called that is found there, when that is one path.
    pub(crate) name: Option<String>,
}

/// What a machine's task says when it is over.
struct Over {
    path: PathBuf,
    how: Result<Duration, ConnectError>,
    /// Which process listens there, when that could be seen.
    session: Option<Arc<str>>,
}

/// Connects to what there is, and goes on with what the last daemon had, until the daemon is stopped.
pub(crate) async fn follow(dials: Vec<Dial>, back: Vec<TakenBack>, daemon: Daemon) {
    let (over, mut ended) = mpsc::channel(64);
    let mut table = Table { dials, daemon: daemon.clone(), folders: Folders::new(), known: BTreeMap::new(), over };
    table.go_on(back);
    let mut stopping = daemon.stopping();
    loop {
        let next = table.scan().await;
        tokio::select! {
            () = stopping.wait() => return,
            () = table.folders.changed() => {
                tokio::time::sleep(SETTLE).await;
                table.something_appeared();
            }
            Some(over) = ended.recv() => {
                table.over(over);
                while let Ok(over) = ended.try_recv() {
                    table.over(over);
                }
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

struct Table {
    dials: Vec<Dial>,
    daemon: Daemon,
    folders: Folders,
    known: BTreeMap<PathBuf, Known>,
    over: mpsc::Sender<Over>,
}

/// What is known of a path.
struct Known {
    name: Option<String>,
    in_full: bool,
    phase: Phase,
    backoff: Backoff,
    /// Which process listened there when it was last connected to.
    session: Option<Arc<str>>,
    /// Nobody listened there when it was last tried.
    absent: bool,
}

enum Phase {
    /// It is to be looked at from then on.
    Waits(Instant),
    /// A task has it.
    Taken,
    /// It is no monitor for programs, and will not become one: this very file is not connected to again.
    Useless { device: u64, inode: u64 },
}

impl Table {
    /// Looks at everything that is due, and says when to look again.
    async fn scan(&mut self) -> Instant {
        self.find_paths().await;
        let now = Instant::now();
        let due: Vec<PathBuf> =
            self.known.iter().filter(|(path, known)| known.is_due(path, now)).map(|(path, _)| path.clone()).collect();
        if !due.is_empty() {
            match Sockets::look().await {
                Ok(sockets) => self.take(due, &sockets).await,
                Err(error) => {
                    let line = format!(
                        "cannot look which monitors are free (sock_diag), and connects to none that is not named in full: {error}"
                    );
                    self.daemon.log.log(Origin::Qev, LogKind::CannotLook, &line);
                    for path in due {
                        match self.known.get(&path).is_some_and(|known| known.in_full) {
                            true => self.connect(path),
                            false => self.leave(&path, "held", "it cannot be known whether it is free".to_owned()),
                        }
                    }
                }
            }
        }
        let waits = self.known.values().filter_map(|known| match known.phase {
            Phase::Waits(until) => Some(until),
            _ => None,
        });
        waits.min().map_or(now + RESCAN, |next| next.min(now + RESCAN))
    }

    /// The paths that there are now. Those that are gone and are nobody's are forgotten.
    async fn find_paths(&mut self) {
        let dials = self.dials.clone();
        let looked = tokio::task::spawn_blocking(move || {
            dials.into_iter().map(|dial| (dial.paths.look(), dial)).collect::<Vec<_>>()
        });
        let Ok(looked) = looked.await else { return };
        let now = Instant::now();
        let mut there = std::collections::BTreeSet::new();
        for (found, dial) in looked {
            self.folders.watch(&found.folders);
            for (folder, error) in &found.unreadable {
                let (pattern, folder) = (dial.paths.to_string(), folder.display());
                let line = format!(
                    "cannot look for monitors that {pattern} matches: {folder}: {error}; let the daemon's user read that folder"
                );
                self.daemon.log.log(Origin::Configured(pattern.into()), LogKind::CannotLook, &line);
            }
            let in_full = dial.paths.is_one();
            for path in found.paths {
                there.insert(path.clone());
                if !self.known.contains_key(&path) && self.known.len() >= MACHINES {
                    let pattern = dial.paths.to_string();
                    let line = format!("{pattern} matches more than {MACHINES} paths");
                    self.daemon.log.log(Origin::Configured(pattern.into()), LogKind::CannotLook, &line);
                    break;
                }
                let known = self.known.entry(path).or_insert_with(|| Known {
                    name: None,
                    in_full,
                    phase: Phase::Waits(now),
                    backoff: Backoff::default(),
                    session: None,
                    absent: true,
                });
                // Who is named in full is meant, whatever pattern matches it too.
                if in_full {
                    (known.in_full, known.name) = (true, dial.name.clone());
                }
            }
        }
        self.known.retain(|path, known| {
            let keep = there.contains(path) || matches!(known.phase, Phase::Taken);
            if !keep {
                self.daemon.roster.remove(&key(path));
                self.daemon.roster.also_at(&path.display().to_string(), None);
            }
            keep
        });
    }

    async fn take(&mut self, due: Vec<PathBuf>, sockets: &Sockets) {
        let mut held: Vec<(PathBuf, Standing)> = Vec::new();
        let taken = self.known.iter().filter(|(_, known)| matches!(known.phase, Phase::Taken));
        let mut taken: HashMap<_, _> = taken.filter_map(|(path, _)| Some((file(path)?, path.clone()))).collect();
        for path in due {
            let Some(known) = self.known.get_mut(&path) else { continue };
            let this_file = file(&path);
            let other = this_file.and_then(|file| taken.get(&file));
            self.daemon.roster.also_at(&path.display().to_string(), other.and_then(|other| other.to_str()));
            if other.is_some() {
                known.phase = Phase::Waits(Instant::now() + RESCAN);
                self.daemon.roster.remove(&key(&path));
                continue;
            }
            if let Some(manager) = managers::owner_of(&path).filter(|_| !known.in_full) {
                self.leave(
                    &path,
                    "held",
                    format!("belongs to {manager}, and is left alone: name it in full to take it"),
                );
                continue;
            }
            let standing = sockets.at(&path);
            if standing.is_listening && !standing.is_free() {
                held.push((path, standing));
            } else if standing.is_listening
                && let Some(note) = known.stopped()
            {
                // It would not be accepted, and one more would wait.
                self.leave(&path, "silent", note);
            } else {
                // Where nobody listens, connecting says so in words.
                self.connect(path.clone());
                taken.extend(this_file.map(|file| (file, path)));
            }
        }
        let clients = held.iter().flat_map(|(_, standing)| standing.clients.iter().copied()).collect();
        let holders = if held.is_empty() { BTreeMap::new() } else { Sockets::holders(clients).await };
        for (path, standing) in held {
            let holder = standing.clients.iter().find_map(|client| holders.get(client));
            let note = match (standing.clients.is_empty(), holder) {
                (true, _) => "another client waits for it".to_owned(),
                (false, Some(holder)) if holder.pid == std::process::id() => "this qev has it attached".to_owned(),
                (false, Some(holder)) => format!("held by {holder}"),
                (false, None) => "held by another client".to_owned(),
            };
            self.leave(&path, "held", note);
        }
    }

    /// It is left alone until the next rescan.
    fn leave(&mut self, path: &Path, state: &'static str, note: String) {
        if let Some(known) = self.known.get_mut(path) {
            known.phase = Phase::Waits(Instant::now() + RESCAN);
            known.absent = false;
            known.show(&self.daemon, path, state, note);
        }
    }

    /// Their monitors are connected to already.
    fn go_on(&mut self, back: Vec<TakenBack>) {
        for back in back {
            let Some(path) = back.held.path.clone() else { continue };
            let name = back.held.configured.clone();
            let known = Known {
                in_full: name.is_some(),
                name,
                phase: Phase::Taken,
                backoff: Backoff::default(),
                session: None,
                absent: false,
            };
            self.known.insert(path.clone(), known);
            let (daemon, over, since) = (self.daemon.clone(), self.over.clone(), Instant::now());
            tokio::spawn(async move {
                attach::go_on(back, &daemon).await;
                // The daemon may have been stopped.
                let _ = over.send(Over { path, how: Ok(since.elapsed()), session: None }).await;
            });
        }
    }

    fn connect(&mut self, path: PathBuf) {
        let Some(known) = self.known.get_mut(&path) else { return };
        known.phase = Phase::Taken;
        let (daemon, over, configured) = (self.daemon.clone(), self.over.clone(), known.name.clone());
        tokio::spawn(async move {
            let mut announced = daemon.sessions.announce_session(None);
            let how = connect(&path, configured, &mut announced, &daemon).await;
            let session = announced.session();
            // The daemon may have been stopped.
            let _ = over.send(Over { path, how, session }).await;
        });
    }

    /// A machine's task is over.
    fn over(&mut self, over: Over) {
        let Over { path, how, session } = over;
        let Some(known) = self.known.get_mut(&path) else { return };
        known.session = session;
        match how {
            Ok(lasted) => {
                known.absent = true;
                known.backoff.was_connected(lasted);
            }
            Err(error) => {
                let state = match &error {
                    ConnectError::Held { .. } => "held",
                    ConnectError::NoSuchSocket { .. } | ConnectError::NobodyListens { .. } => "gone",
                    _ => "silent",
                };
                known.absent = state == "gone";
                let useless = matches!(
                    error,
                    ConnectError::HumanMonitor { .. }
                        | ConnectError::NotQmp { .. }
                        | ConnectError::NotASocket { .. }
                        | ConnectError::NegotiationRefused { .. }
                );
                if useless || matches!(error, ConnectError::NotAllowed { .. }) {
                    let origin = Origin::Configured(path.display().to_string().into());
                    self.daemon.log.log(origin, LogKind::UnusableMonitor, &unusable(&error));
                }
                let why = known.stopped().filter(|_| state == "silent").unwrap_or_else(|| unusable(&error));
                known.show(&self.daemon, &path, state, why);
                if let (true, Ok(file)) = (useless, std::fs::metadata(&path)) {
                    known.phase = Phase::Useless { device: file.dev(), inode: file.ino() };
                    return;
                }
            }
        }
        known.phase = Phase::Waits(Instant::now() + known.backoff.next());
    }

    /// What nobody listened at may be listened at now.
    fn something_appeared(&mut self) {
        let now = Instant::now();
        for known in self.known.values_mut().filter(|known| known.absent) {
            if let Phase::Waits(until) = &mut known.phase {
                *until = now;
                known.backoff = Backoff::default();
            }
        }
    }
}

impl Known {
    /// What is to be said when the process that listens there is stopped.
    fn stopped(&self) -> Option<String> {
        let id: SessionId = self.session.as_deref()?.parse().ok()?;
        let state = id.state();
        (state == ProcessState::Stopped).then(|| silent_note(Some(id.pid), state))
    }

    /// Shows a path that is not attached, and why. Since when, is since it was first so. A machine that was attached before
    /// is known by its process.
    fn show(&self, daemon: &Daemon, path: &Path, state: &'static str, note: String) {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let machine = self.name.clone().unwrap_or(stem);
        let mut status = MachineStatus::not_attached(&machine, state, now(), path.display().to_string(), note);
        if let Some(session) = self.session.as_ref().filter(|_| state == "silent") {
            status.pid = session.parse().ok().map(|id: SessionId| id.pid);
            status.session = Some(Arc::clone(session));
            if let Some(identity) = daemon.absences.identity_of(session) {
                (status.machine, status.machine_id) = (identity.machine, identity.machine_id);
            }
        }
        daemon.roster.show(&key(path), status);
    }

    fn is_due(&self, path: &Path, now: Instant) -> bool {
        match self.phase {
            Phase::Waits(until) => until <= now,
            Phase::Taken => false,
            Phase::Useless { device, inode } => {
                std::fs::metadata(path).is_ok_and(|file| (file.dev(), file.ino()) != (device, inode))
            }
        }
    }
}

/// One machine, from connecting to its end: how long it lasted.
async fn connect(
    path: &Path,
    configured: Option<String>,
    announced: &mut Announced,
    daemon: &Daemon,
) -> Result<Duration, ConnectError> {
    let mut stopping = daemon.stopping();
    let target = Target::Unix(path.to_owned());
    let Some(_descriptors) = daemon.descriptors.try_take(DescriptorUse::Machine) else {
        return Err(no_descriptors(path.display().to_string()));
    };
    let announce = |peer| *announced = daemon.sessions.announce(peer);
    let (client, events) = tokio::select! {
        () = stopping.wait() => return Ok(Duration::ZERO),
        connected = Client::connect_announced(&target, attach::options(daemon), announce) => connected?,
    };
    daemon.roster.remove(&key(path));
    let since = Instant::now();
    let monitor = Negotiated {
        client,
        events,
        way: "dial-out",
        place: path.display().to_string(),
        path: Some(path.to_owned()),
        configured,
        announced: std::mem::replace(announced, daemon.sessions.announce_session(None)),
    };
    attach::hold(monitor, daemon).await;
    Ok(since.elapsed())
}

/// Why a monitor that the daemon was to connect to cannot be used. For a daemon the remedy is on the side of the socket.
fn unusable(error: &ConnectError) -> String {
    let uid = rustix::process::geteuid().as_raw();
    match error {
        ConnectError::NotAllowed { socket } => format!(
            "no permission to connect to {socket}: the daemon's user {uid} must be able to enter its folder and to write to \
             the socket; change their group and mode, or let QEMU dial in (qev attach-args)"
        ),
        error => error.to_string(),
    }
}

/// The key of a path that is no machine yet.
fn key(path: &Path) -> String {
    format!("path:{}", path.display())
}

/// Which file a path leads to: of two paths to one socket it is the same.
fn file(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_names_the_user_and_the_remedy() {
        let why = unusable(&ConnectError::NotAllowed { socket: "/run/vm/a.qmp".to_owned() });
        let uid = rustix::process::geteuid().as_raw();
        assert!(
            why.starts_with(&format!("no permission to connect to /run/vm/a.qmp: the daemon's user {uid} ")),
            "{why}"
        );
        assert!(why.ends_with("or let QEMU dial in (qev attach-args)"), "{why}");
    }
}
