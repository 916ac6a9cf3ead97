//! The daemon's life: what is opened in which order, and closed in which.
//!
//! ```text
//!   signals ─► journal ─► recorder ─► control socket ─► sources ─► (runs) ─► SIGTERM, SIGINT, SIGHUP, the recorder failed
//!                                                                                │
//!   end 0 ◄─ recorder stopped: all is committed ◄─ machines: detached ◄─ sources stopped
//! ```

use super::absence::{self, Absence, Absences, Known};
use super::attach;
use super::control::{self, Control};
use super::descriptors::Descriptors;
use super::discover::{self, Ours};
use super::handover::Handover;
use super::recorder::{Recorder, in_words};
use super::roster::Roster;
use super::session_id::ProcessState;
use super::sessions::Sessions;
use super::share::Shares;
use super::source::dial_out::{self, Dial};
use super::source::paths::{NotPaths, Paths};
use super::source::{dial_in, libvirt, remote};
use super::systemd::Manager;
use super::systemd::inherited::Inherited;
use super::{Daemon, journal_dir};
use crate::config::{Attach, Config, LONGEST_SOCKET_PATH};
use crate::exit::{Exit, Failure, tell};
use crate::http::{Http, SOCKET};
use crate::log_limiter::{self, LogLimiter};
use crate::monitor::hostname;
use crate::printer::now;
use crate::signals::{self, Signals};
use qev_journal::{Journal, Options, Reader};
use qev_link::{Access, DialIn, Target};
use qev_record::plain::Plain;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long machines that were attached when the last daemon died may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// How long machines' tasks may take to say the last when the daemon is stopped.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// How often it is looked whether the number of attached machines has changed.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is told to stop.
pub(crate) async fn serve(config: Config) -> Result<Exit, Failure> {
    // The handlers stand before anything is made: whatever ends us, sockets of ours are removed.
    let mut signals = Signals::catch(signals::TO_END)?;
    let failed = |error: Box<dyn std::error::Error>| Failure::new(Exit::Failed, error);
    let manager = Manager::from_env().map_err(|error| failed(error.into()))?;
    let mut inherited = Inherited::take();
    for (name, error) in std::mem::take(&mut inherited.strange) {
        tell(&format!("the descriptor '{name}' that systemd gave us is of no use: {error}"));
    }
    let (handover, back) = Handover::start(&manager, &mut inherited);
    let is_bare = config.file.is_none() && config.dial.is_empty();
    let dials = dials(&config)?;
    raise_open_files();
    let descriptors = Descriptors::of_process();
    let log = Arc::<LogLimiter>::default();
    tokio::spawn(log_limiter::report(Arc::downgrade(&log)));
    make_state_dir(&config.state_dir)?;
    let dir = journal_dir(&config.state_dir);
    let mut journal = Journal::open(&dir, Options::from(&config.journal)).map_err(|error| failed(error.into()))?;
    let warnings = journal.take_warnings().into_iter().map(String::from);
    for finding in journal.findings().iter().map(ToString::to_string).chain(warnings) {
        tell(&finding);
    }
    let reader = Reader::open(&dir).map_err(|error| failed(error.into()))?;
    let started = Recorder::start(journal).map_err(|error| failed(error.into()).about("starting the recorder"))?;
    let (recorder, running) = started;
    let roster = Roster::default();
    let host = hostname();
    let http = Http::start(&config, Arc::clone(&host), recorder.clone(), roster.clone(), &descriptors)?;
    let control = Control::bind(&config.state_dir)
        .map_err(|error| failed(error.into()).about(control::path(&config.state_dir).display()))?;
    let control = tokio::spawn(control.serve(recorder.clone(), roster.clone(), http.door(), Arc::clone(&descriptors)));

    let (stop, stopping) = watch::channel(false);
    let shares = Shares::new(config.share.clone(), Arc::clone(&descriptors), Arc::clone(&log));
    shares.sweep();
    let daemon = Daemon {
        host,
        recorder,
        roster,
        absences: Absences::default(),
        sessions: Sessions::default(),
        log: Arc::clone(&log),
        descriptors,
        handover: handover.clone(),
        shares: Arc::new(shares),
        stop: stopping,
    };
    let mut sockets = Vec::new();
    for (name, listener) in inherited.listeners {
        let failed = |error| failed(error).about(format!("the socket '{name}' that systemd gave us"));
        sockets.push(DialIn::inherit(listener).map_err(|error| failed(error.into()))?);
    }
    for given in &sockets {
        if let Some(words) = unlike_configured(given.path(), &config.attach) {
            tell(&words);
        }
    }
    for attach in &config.attach {
        if !sockets.iter().any(|given| given.path() == attach.path) {
            sockets.push(bind(attach)?);
        }
    }
    for dial_in in sockets {
        tell(&format!("listening at {}", dial_in.path().display()));
        tokio::spawn(dial_in::listen(dial_in, daemon.clone()));
    }
    let (dialled_out, others): (Vec<_>, Vec<_>) = back.into_iter().partition(|back| back.held.path.is_some());
    for back in others {
        let daemon = daemon.clone();
        tokio::spawn(async move { attach::go_on(back, &daemon).await });
    }
    if !dials.is_empty() || !dialled_out.is_empty() {
        tokio::spawn(dial_out::follow(dials, dialled_out, daemon.clone()));
    }
    for machine in config.machines {
        if !matches!(machine.monitor, Target::Unix(_)) {
            tokio::spawn(remote::follow(machine, daemon.clone()));
        }
    }
    for uri in config.libvirt {
        tokio::spawn(libvirt::follow(uri, daemon.clone()));
    }
    tokio::spawn(remember(reader, daemon.clone()));
    if is_bare {
        tokio::spawn(tell_what_is_there(config.attach.into_iter().map(|attach| attach.path).collect()));
    }
    manager.ready().map_err(|error| failed(error.into()))?;
    if manager.is_there() {
        tokio::spawn(tell_status(manager.clone(), daemon.roster.clone()));
    }
    let watchdog = {
        let (manager, recorder) = (manager.clone(), daemon.recorder.clone());
        tokio::spawn(async move { manager.watch(|| recorder.is_alive()).await })
    };

    signals.any().await;
    // Whoever does not hear it hears that we have ended.
    let _ = manager.stopping();
    watchdog.abort();
    stop.send_replace(true);
    drop(daemon);
    // A second signal does not wait for the last words.
    tokio::select! {
        () = stop.closed() => {}
        () = tokio::time::sleep(LAST_WORDS) => tell("some machines did not end in time: their last words are missing"),
        () = signals.any() => {}
    }
    let is_whole = running.stop().await;
    if is_whole {
        // What was received is in the journal: the next one goes on behind it. Otherwise it finds a gap.
        handover.finish();
    }
    log.finish();
    // Who followed has seen the last.
    http.end().await;
    // It answers to the end, and its file goes with it.
    control.abort();
    let _ = control.await;
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

/// Says how many machines are attached, whenever that has changed, for `systemctl status`.
async fn tell_status(manager: Manager, roster: Roster) {
    let mut told = None;
    loop {
        let attached = roster.snapshot().iter().filter(|machine| machine.state == "attached").count();
        if told.replace(attached) != Some(attached) {
            manager.status(&format!("{attached} machines attached"));
        }
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

/// Each machine takes three files, its connection, its process and the socket at which it is lent: as many as we may have.
pub(crate) fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    // Where it may not be raised, accepting says what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

/// The state is for the daemon and its group.
fn make_state_dir(path: &Path) -> Result<(), Failure> {
    let failed = |error: String| Err(Failure::new(Exit::Failed, error).about(path.display()));
    let longest = [control::path(path), path.join(SOCKET)].iter().map(|path| path.as_os_str().len()).max();
    if let Some(length) = longest.filter(|length| *length > LONGEST_SOCKET_PATH) {
        return failed(format!(
            "the sockets in it would have paths of {length} bytes, and none can have more than {LONGEST_SOCKET_PATH}: keep the \
             state in a folder with a shorter path (--state-dir)"
        ));
    }
    if path.exists() && !path.is_dir() {
        return failed("it is no folder, and the state is kept in one (--state-dir)".to_owned());
    }
    qev_journal::durable::create_dir_all(path, 0o750)
        .map_err(|error| Failure::new(Exit::Failed, error).about(format!("making {}", path.display())))
}

/// The monitors on this host that are connected to: those of named machines, and those that patterns find.
fn dials(config: &Config) -> Result<Vec<Dial>, Failure> {
    let mut dials = Vec::new();
    for machine in &config.machines {
        if let Target::Unix(path) = &machine.monitor {
            dials.push(Dial { paths: Paths::one(path.clone()), name: Some(machine.name.clone()) });
        }
    }
    for pattern in &config.dial {
        let paths = pattern.parse().map_err(|error: NotPaths| Failure::usage(error).about("dial"))?;
        dials.push(Dial { paths, name: None });
    }
    Ok(dials)
}

/// A socket that QEMUs dial. Its folder is made so that another user's QEMU finds the way.
fn bind(attach: &Attach) -> Result<DialIn, Failure> {
    let folder = attach.path.parent().unwrap_or(&attach.path);
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        let failed = |error| Failure::new(Exit::Failed, error).about(format!("making {}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let access = Access { mode: Some(attach.mode), group: attach.group.as_ref().map(|group| group.gid) };
    DialIn::bind_for(&attach.path, access).map_err(|error| Failure::new(Exit::Failed, error))
}

/// A socket that systemd made is as its unit says. Where the configuration would let fewer dial, that is told.
fn unlike_configured(given: &Path, configured: &[Attach]) -> Option<String> {
    let place = given.display();
    let as_unit = "as its systemd unit has it";
    let Some(attach) = configured.iter().find(|attach| attach.path == given) else {
        return Some(format!("{place} is listened at {as_unit}, though attach does not name it: disable that unit"));
    };
    let file = std::fs::metadata(given).ok()?;
    let mode = file.mode() & 0o777;
    let more = mode & !attach.mode;
    if more != 0 {
        let wanted = attach.mode;
        let remedy = format!("set SocketMode={wanted:04o} there");
        return Some(format!("{place} has mode {mode:04o} {as_unit}, and not {wanted:04o} as attach says: {remedy}"));
    }
    let group = attach.group.as_ref().filter(|group| group.gid != file.gid())?;
    let (is, name) = (file.gid(), Plain::new(&group.name, usize::MAX));
    Some(format!("{place} has group {is} {as_unit}, and not {name} as attach says: set SocketGroup={name} there"))
}

/// How many QEMUs that are not attached are named at the start.
const NAMED: usize = 16;

/// Every QEMU on this host that is not attached: why, and what would attach it. For who has just started qev, with nothing
/// configured, and wonders what to do next.
async fn tell_what_is_there(attach: Vec<PathBuf>) {
    let found = tokio::task::spawn_blocking(|| discover::all(Path::new("/proc"))).await.unwrap_or_default();
    let reports = discover::report(found, &Ours { attach, has_daemon: true, ..Ours::default() }).await;
    let left: Vec<_> = reports.iter().filter(|report| !report.is_attached).collect();
    for report in left.iter().take(NAMED) {
        let mut sentence = format!("not attached: {}", report.sentence());
        if let Some(line) = &report.attach {
            sentence.push_str(&format!("; to attach it: {}", Plain::new(line, usize::MAX)));
        }
        tell(&sentence);
    }
    if left.len() > NAMED {
        tell(&format!("and {} more: qev machines --discover", left.len() - NAMED));
    }
}

/// Learns from the journal who was there when the last daemon was, and lets those go that do not come back.
async fn remember(reader: Reader, daemon: Daemon) {
    let known = tokio::task::spawn_blocking(move || absence::in_journal(&reader)).await;
    match known {
        Ok(Ok(Known { absences: known, problems })) => {
            for problem in problems {
                tell(&format!("some machines that were attached before may be unknown: {}", in_words(&problem)));
            }
            let gone = absence::standing(&known).into_iter().filter(|absence| !absence.unsaid);
            daemon.roster.were_gone(gone.map(Absence::into_not_back));
            daemon.absences.learn(known);
        }
        Ok(Err(error)) => {
            tell(&format!("cannot tell which machines were attached before: {error}"));
            daemon.absences.learn([]);
        }
        // The reading was cut off: the daemon is ending.
        Err(_) => daemon.absences.learn([]),
    }
    let mut stopping = daemon.stopping();
    tokio::select! {
        () = stopping.wait() => return,
        () = tokio::time::sleep(BACK_WITHIN) => {}
    }
    let time = now();
    let not_back = daemon.absences.not_back(time);
    for absence in &not_back {
        let outbox = daemon.recorder.outbox();
        for record in absence.records(&daemon.host, time) {
            outbox.put(record).await;
        }
        daemon.roster.were_gone([Absence { since: time, ..absence.clone() }.into_not_back()]);
    }
    // Those whose processes are there are not gone yet.
    let has_ended = |absence: &Absence| absence.process_state().is_none_or(|state| state == ProcessState::Ended);
    let mut silent: Vec<_> = not_back.into_iter().filter(|absence| !has_ended(absence)).collect();
    while !silent.is_empty() {
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(STATUS_EVERY) => {}
        }
        silent.retain(|absence| !daemon.absences.is_over(absence));
        for ended in silent.extract_if(.., |absence| has_ended(absence)) {
            daemon.roster.were_gone([Absence { since: now(), ..ended }.into_not_back()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Group;
    use crate::daemon::recorder::tests::Scratch;

    #[test]
    fn a_socket_of_systemd_that_lets_more_dial_than_the_configuration_is_told() {
        let scratch = Scratch::new();
        std::fs::create_dir_all(&scratch.0).unwrap();
        let path = scratch.0.join("attach.sock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
        let gid = std::fs::metadata(&path).unwrap().gid();
        let check = |configured: &[(u32, Option<u32>)], expected: Option<&str>| {
            let configured: Vec<_> = configured
                .iter()
                .map(|(mode, gid)| {
                    let group = gid.map(|gid| Group { name: "kvm".to_owned(), gid });
                    Attach { path: path.clone(), mode: *mode, group }
                })
                .collect();
            let told = unlike_configured(&path, &configured);
            match expected {
                Some(expected) => assert!(told.as_ref().is_some_and(|told| told.contains(expected)), "{told:?}"),
                None => assert_eq!(told, None),
            }
        };
        check(&[(0o666, None)], None);
        check(&[(0o660, Some(gid))], None);
        check(&[(0o600, None)], Some("has mode 0660 as its systemd unit has it, and not 0600 as attach says"));
        check(&[(0o660, Some(gid + 1))], Some("set SocketGroup=kvm there"));
        check(&[], Some("attach does not name it"));
    }
}
