//! The monitors that the daemon lends: one socket a machine, `share/<name>.qmp` in the run folder, while it is attached.
//!
//! ```text
//!   machine's task ── attached ──► Shares::lend ──► Share (qev-link) ◄── clients
//!                                     │                 │ Gate: the first policy that fits the peer, else `read`
//!                                     │                 └ audit ──► records, through an outbox of its own
//!   machine's task ── detached ──► Lent dropped: every client gets the last event, then the socket is gone
//! ```
//!
//! The subscription is there only while a client is; the machine's own records never wait for one.

mod audit;
mod names;
pub(crate) mod policy;
mod read_list;
mod safe_arguments;

use super::Daemon;
use super::descriptors::{DescriptorPermit, DescriptorUse, Descriptors};
use super::places_per_user::{Place, PlacesPerUser, TrustedUsers};
use crate::config::{Share as Config, group};
use crate::log_limiter::{LogKind, LogLimiter, Origin};
use names::{Name, Named, Names};
use policy::{Permit, Ruled};
use qev_link::share::{Admission, Audited, Budget, Gate, Notice};
use qev_link::{Access, Client, Peer, Share, StartError};
use qev_record::filter::Glob;
use qev_record::plain;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How much memory the clients of all machines may take together, and how many there may be.
pub(crate) const MEMORY: usize = 64 << 20;
pub(crate) const CLIENTS: usize = 4096;

/// How long a name may be in a file's name; what is behind it is left out.
const LONGEST_NAME: usize = 64;

/// What all machines' shared monitors have in common.
#[derive(Debug)]
pub(crate) struct Shares {
    config: Config,
    names: Arc<Names>,
    rules: Vec<Rule>,
    budget: Arc<Budget>,
    log: Arc<LogLimiter>,
    descriptors: Arc<Descriptors>,
    /// Whose machines are shared: the machines of one user must not keep those of others from it.
    places: PlacesPerUser,
}

/// A policy of the configuration, ready to be asked.
#[derive(Clone, Debug)]
struct Rule {
    machine: Option<Glob>,
    user: Option<u32>,
    /// The group's number, and its members beside those whose first group it is.
    group: Option<(u32, Vec<u32>)>,
    permit: Permit,
}

/// Whose monitor it is, as its records say it.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) host: Arc<str>,
    pub(crate) machine: Arc<str>,
    pub(crate) machine_id: Option<Arc<str>>,
    pub(crate) session: Option<Arc<str>>,
    pub(crate) pid: Option<u32>,
}

/// A monitor that is lent, and its place; or why it is not. When this is dropped the socket is gone, at once.
#[derive(Debug)]
pub(crate) struct Lent(Result<(Share, Name, Taken), NotLent>);

/// What a shared monitor takes: a place among those of its machine's user, and the descriptor of its socket.
#[derive(Debug)]
struct Taken {
    _place: Place,
    _descriptor: DescriptorPermit,
}

#[derive(Debug)]
enum NotLent {
    /// None is.
    Off,
    /// Something is in the way.
    Because(String),
}

impl Shares {
    /// As configured. The members of groups are looked up now.
    pub(crate) fn new(config: Config, descriptors: Arc<Descriptors>, log: Arc<LogLimiter>) -> Shares {
        let rules = config.policies.iter().map(|policy| Rule {
            machine: policy.machine.as_ref().and_then(|glob| glob.parse().ok()),
            user: policy.user.as_ref().map(|user| user.uid),
            group: policy.group.as_ref().map(|group| (group.gid, group::members(group))),
            permit: Permit {
                allow: policy.allow,
                commands: policy.commands.iter().filter_map(|glob| glob.parse().ok()).collect(),
            },
        });
        let clients = CLIENTS.min(descriptors.most(DescriptorUse::SharedMonitorClient));
        let monitors = descriptors.most(DescriptorUse::SharedMonitor);
        Shares {
            rules: rules.collect(),
            names: Names::new(config.dir.clone()),
            config,
            budget: Budget::new(MEMORY, clients),
            log,
            descriptors,
            places: PlacesPerUser::new(monitors, TrustedUsers::of_host()),
        }
    }

    /// Removes the sockets that a daemon left behind which was killed.
    pub(crate) fn sweep(&self) {
        for entry in std::fs::read_dir(&self.config.dir).into_iter().flatten().flatten() {
            let is_ours = entry.path().extension().is_some_and(|ending| ending == "qmp");
            let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
            let is_dead = || {
                let asked = UnixStream::connect(entry.path());
                asked.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
            };
            if is_ours && is_socket && is_dead() {
                // What cannot be removed is replaced when its machine comes.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Shares a machine's monitor, if monitors are. The row of the roster with this key says where. What is in the way is
    /// told; the machine is held all the same.
    pub(crate) fn lend(&self, client: &Client, who: &Who, key: &str, daemon: &Daemon) -> Lent {
        if !self.config.enabled {
            return Lent(Err(NotLent::Off));
        }
        let uid = client.peer().map(|peer| peer.uid);
        let origin = || uid.map_or(Origin::Qev, Origin::User);
        let taken = match self.take(uid.unwrap_or_default()) {
            Ok(taken) => taken,
            Err(why) => {
                self.log.log(origin(), LogKind::NotShared, &format!("not every monitor is shared: {why}"));
                return Lent(Err(NotLent::Because(why)));
            }
        };
        let audit = self.config.audit.then(|| {
            let (audit, audited) = mpsc::channel(audit::ROOM);
            let (outbox, who, daemon) = (daemon.recorder.outbox(), who.clone(), daemon.clone());
            tokio::spawn(async move {
                // The daemon does not end before all is kept.
                let _daemon = daemon;
                audit::keep(audited, who, outbox).await;
            });
            audit
        });
        match self.start(client, who, audit) {
            Ok(share) => {
                let (path, clients, roster) = (share.path(), share.clients(), daemon.roster.clone());
                roster.lent(key, path.get().to_string_lossy().into(), clients.clone());
                let named = Named { path, clients, roster, key: key.to_owned() };
                let name = self.names.take(&format!("{}.qmp", file_name(&who.machine)), named);
                Lent(Ok((share, name, taken)))
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map_or(String::new(), |why| format!(": {why}"));
                let why = format!("{error}{why}");
                let line = format!("{} is not shared: {why}", plain::name(&who.machine));
                self.log.log(origin(), LogKind::NotShared, &line);
                Lent(Err(NotLent::Because(why)))
            }
        }
    }

    /// Takes what the shared monitor of a machine of this user needs; a monitor over TCP is no user's, and named by the
    /// configuration, so it counts as root's. An error is a sentence.
    fn take(&self, uid: u32) -> Result<Taken, String> {
        let few = "this process may have too few open files (RLIMIT_NOFILE)";
        let descriptor = self.descriptors.try_take(DescriptorUse::SharedMonitor).ok_or(few)?;
        let place = self
            .places
            .take(uid)
            .ok_or_else(|| format!("as many monitors of user {uid} are shared as there may be: {few}"))?;
        Ok(Taken { _place: place, _descriptor: descriptor })
    }

    fn start(&self, client: &Client, who: &Who, audit: Option<mpsc::Sender<Audited>>) -> Result<Share, StartError> {
        self.make_folder()?;
        let access = Access { mode: Some(self.config.mode), group: self.config.group.as_ref().map(|group| group.gid) };
        let gate = Arc::new(AtTheDoor {
            machine: Arc::clone(&who.machine),
            rules: self.rules.iter().filter(|rule| rule.is_for(&who.machine)).cloned().collect(),
            log: Arc::clone(&self.log),
            descriptors: Arc::clone(&self.descriptors),
            audit,
        });
        let name = file_name(&who.machine);
        let start = |name: String| {
            let path = self.config.dir.join(name);
            Share::start(client, &path, access, gate.clone(), Arc::clone(&self.budget))
        };
        match (start(format!("{name}.qmp")), who.pid) {
            // Two of one name are two.
            (Err(StartError::InUse { .. }), Some(pid)) => start(format!("{name}-{pid}.qmp")),
            (started, _) => started,
        }
    }

    /// Who may come to a socket must be let through its folder.
    fn make_folder(&self) -> Result<(), StartError> {
        let path = &self.config.dir;
        let failed = |source| StartError::Io { path: path.clone(), source };
        let is_there = path.is_dir();
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
        if !is_there {
            let mode = if self.config.mode & 0o007 == 0 { 0o750 } else { 0o755 };
            std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
            if let Some(group) = &self.config.group {
                chown(path, None, Some(group.gid)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Lent {
    /// What is in the way of lending it, when something is.
    pub(crate) fn why_not(&self) -> Option<&str> {
        match &self.0 {
            Err(NotLent::Because(why)) => Some(why),
            _ => None,
        }
    }

    /// The machine has left: its clients get what they still have to get, and nobody waits for them.
    pub(crate) fn end(self) {
        if let Ok((mut share, name, taken)) = self.0 {
            drop(name);
            tokio::spawn(async move {
                share.ended().await;
                drop(taken);
            });
        }
    }
}

impl Rule {
    fn is_for(&self, machine: &str) -> bool {
        self.machine.as_ref().is_none_or(|glob| glob.matches(machine))
    }

    fn fits(&self, peer: Peer) -> bool {
        let user = self.user.is_none_or(|uid| uid == peer.uid);
        let group = self.group.as_ref();
        user && group.is_none_or(|(gid, members)| *gid == peer.gid || members.contains(&peer.uid))
    }
}

/// Who looks at the clients of one machine's monitor.
struct AtTheDoor {
    machine: Arc<str>,
    rules: Vec<Rule>,
    log: Arc<LogLimiter>,
    descriptors: Arc<Descriptors>,
    audit: Option<mpsc::Sender<Audited>>,
}

impl Gate for AtTheDoor {
    fn admit(&self, peer: Peer) -> Result<Admission, String> {
        let rule = self.rules.iter().find(|rule| rule.fits(peer));
        let permit = rule.map(|rule| rule.permit.clone()).unwrap_or_default();
        let descriptor = self.descriptors.try_take(DescriptorUse::SharedMonitorClient);
        let descriptor = descriptor.ok_or("there are as many clients as there may be")?;
        let (machine, log) = (Arc::clone(&self.machine), Arc::clone(&self.log));
        let policy = Arc::new(Ruled { machine, peer, permit, log, _descriptor: Some(descriptor) });
        Ok(Admission { policy, audit: self.audit.clone() })
    }

    fn notice(&self, notice: Notice) {
        log_notice(&self.log, &notice, &format!("{}: its shared monitor: {notice}", plain::name(&self.machine)));
    }
}

/// Logs what happened to a client of a shared monitor.
pub(crate) fn log_notice(log: &LogLimiter, notice: &Notice, line: &str) {
    let (origin, kind) = match notice {
        Notice::TurnedAway { peer, .. } | Notice::CutOff { peer, .. } => {
            (Origin::User(peer.uid), LogKind::SharedMonitorClient)
        }
        _ => (Origin::Qev, LogKind::AcceptFailed),
    };
    log.log(origin, kind, line);
}

/// A name as the name of a file: what is no letter, digit, `.`, `_` or `-`, and a `.` at the beginning, is `%XX`.
fn file_name(machine: &str) -> String {
    let mut name = String::new();
    for (i, byte) in machine.bytes().enumerate() {
        if name.len() >= LONGEST_NAME {
            break;
        }
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && i > 0);
        match is_plain {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_of_one_user_leave_shared_monitors_to_others() {
        let config = Config::under(std::path::Path::new("/nowhere"));
        let shares = Shares::new(config, Descriptors::new(128), Arc::default());
        let strangers: Vec<_> = std::iter::from_fn(|| shares.take(4_000_000_001).ok()).collect();
        assert_eq!(strangers.len(), 8, "half of an eighth of 128");
        let why = shares.take(4_000_000_001).unwrap_err();
        assert!(why.starts_with("as many monitors of user 4000000001 are shared as there may be: "), "{why}");
        let of_root: Vec<_> = std::iter::from_fn(|| shares.take(0).ok()).collect();
        assert_eq!(of_root.len(), 8);
    }

    #[test]
    fn any_name_is_a_file_in_its_folder() {
        for (machine, expected) in
            [("web1", "web1"), ("../x", "%2E.%2Fx"), ("a b\u{e9}", "a%20b%C3%A9"), ("", ""), ("-", "-")]
        {
            assert_eq!(file_name(machine), expected);
        }
        assert!(file_name(&"/".repeat(500)).len() <= LONGEST_NAME + 3);
    }
}
