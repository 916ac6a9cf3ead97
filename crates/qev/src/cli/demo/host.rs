//! The demo's second half: a small host. A daemon of its own keeps what three simulated machines say, and a real QEMU where
//! there is one; what it keeps is shown as it comes.
//!
//! ```text
//!   qev simulate --scenario …  (three) ─┐
//!   qemu-system-x86_64, if it is here  ─┴─ dial ─► qev serve ─► journal ─► qev log -f ─► standard output
//! ```
//!
//! They are programs, as whoever runs qev would start them, and end with the demo however it ends. The state directory stays,
//! so that there is something to look at.

use super::disk::Disk;
use super::stage::bold;
use crate::bound;
use crate::cli::attach_args::qemu::Qemu;
use crate::daemon::control::client;
use crate::signals::{self, Signals};
use qev_link::{Client, ConnectError, ConnectOptions, ExecuteError, Target};
use qev_qmp::{Json, Object, Value};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// What the simulated machines are called, and what happens to them.
const MACHINES: [(&str, &str); 3] =
    [("db1", "dying-disk"), ("build7", "crashing-guest"), ("cache2", "memory-that-will-not-unplug")];

/// The real one.
const QEMU: &str = "qemu-system-x86_64";

/// How long the daemon may take to begin to listen, and a program to end that was told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a real QEMU does is shown after the others have begun.
const QEMU_AFTER: Duration = Duration::from_secs(4);

/// Why the host did not come up.
#[derive(Debug)]
pub(super) enum HostError {
    Folder { path: PathBuf, source: io::Error },
    Start { program: &'static str, source: io::Error },
    Signals(io::Error),
    Silent { log: PathBuf },
    Qemu(ConnectError),
    Read(ExecuteError),
    Print(io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::Folder { path, .. } => write!(f, "making {}", path.display()),
            HostError::Start { program, .. } => write!(f, "starting {program}"),
            HostError::Signals(_) => f.write_str("listening for signals"),
            HostError::Silent { log } => {
                write!(f, "the daemon did not listen within {PATIENCE:?}: {} says why", log.display())
            }
            HostError::Qemu(_) => f.write_str("connecting to the real QEMU"),
            HostError::Read(_) => f.write_str("reading the real QEMU's disk"),
            HostError::Print(_) => f.write_str("standard output"),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HostError::Folder { source, .. } | HostError::Start { source, .. } => Some(source),
            HostError::Signals(source) | HostError::Print(source) => Some(source),
            HostError::Qemu(source) => Some(source),
            HostError::Read(source) => Some(source),
            HostError::Silent { .. } => None,
        }
    }
}

impl HostError {
    /// Whether nobody reads standard output any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, HostError::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Plays until Ctrl-C on a terminal; elsewhere until the scenarios have ended.
pub(super) async fn play() -> Result<(), HostError> {
    let mut signals = Signals::try_catch(signals::TO_END).map_err(HostError::Signals)?;
    let stays = io::stdout().is_terminal();
    let mut host = Host::start(stays).await?;
    let played = async {
        host.act().await?;
        if stays { std::future::pending().await } else { Ok(()) }
    };
    let played = tokio::select! {
        played = played => played,
        () = signals.any() => Ok(()),
    };
    host.end().await?;
    played
}

struct Host {
    folder: PathBuf,
    daemon: Child,
    follower: Child,
    machines: Vec<Child>,
    /// The real one, its version, and what it has for a disk.
    real: Option<(Child, String, Disk)>,
}

impl Host {
    /// Starts all of it, and says what it is before the first record is shown.
    async fn start(stays: bool) -> Result<Host, HostError> {
        let folder = new_folder()?;
        let attach = folder.join("attach.sock");
        let state: [&OsStr; 2] = ["--state-dir".as_ref(), folder.as_os_str()];

        let log = folder.join("serve.log");
        // An empty configuration: what is in force on this host is not the demo's business.
        let config = folder.join("config.toml");
        let made = File::create(&config).and_then(|_| File::create(&log));
        let output = made.map_err(|source| HostError::Folder { path: folder.clone(), source })?;
        let [serve, config_is] = ["serve", "--config"].map(OsStr::new);
        let serve = [serve, config_is, config.as_os_str(), "--attach".as_ref(), attach.as_os_str()];
        let serve = serve.into_iter().chain(["--http", "127.0.0.1:0"].map(OsStr::new));
        let daemon = start("qev serve", serve.chain(state), Stdio::null(), output.into())?;
        until_there(&attach, &log).await?;

        let mut machines = Vec::new();
        for (name, scenario) in MACHINES {
            let words = ["simulate", "--name", name, "--scenario", scenario, "--dial"];
            let words = words.iter().map(|word| OsStr::new(*word)).chain([attach.as_os_str()]);
            machines.push(start("qev simulate", words, Stdio::null(), Stdio::null())?);
        }
        let real = real_qemu(&folder, &attach).await;
        introduce(real.as_ref().map(|(_, version, _)| version.as_str()), stays)?;
        if stays {
            show_page(&folder).await?;
        }
        show("")?;
        let follow: [&OsStr; 4] = ["log".as_ref(), "-f".as_ref(), "-n".as_ref(), "1000".as_ref()];
        // That the daemon ends, and it waits for another, is nothing to be shown.
        let aside = folder.join("follow.log");
        let aside = File::create(&aside).map_err(|source| HostError::Folder { path: aside, source })?;
        let follower = start("qev log", follow.into_iter().chain(state), Stdio::inherit(), aside.into())?;
        Ok(Host { folder, daemon, follower, machines, real })
    }

    /// What happens by itself, until the simulated machines have ended.
    async fn act(&mut self) -> Result<(), HostError> {
        if self.real.is_some() {
            sleep(QEMU_AFTER).await;
            read_its_disk(&self.folder.join("real.qmp")).await?;
        }
        for machine in &mut self.machines {
            // It fails only for a program that is not ours.
            let _ = machine.wait().await;
        }
        Ok(())
    }

    /// Ends all of it, the daemon last, and says what is left.
    async fn end(mut self) -> Result<(), HostError> {
        for machine in &mut self.machines {
            let _ = machine.start_kill();
        }
        if let Some((real, ..)) = &mut self.real {
            terminate(real);
            let _ = timeout(PATIENCE, real.wait()).await;
        }
        // The daemon commits what it has received, and the follower shows it.
        terminate(&self.daemon);
        let _ = timeout(PATIENCE, self.daemon.wait()).await;
        terminate(&self.follower);
        let _ = timeout(PATIENCE, self.follower.wait()).await;
        show("")?;
        show(&bold(&format!("The journal lies in {}", self.folder.display())))?;
        show(&format!("    qev log --state-dir {}", self.folder.display()))?;
        show(&format!("    qev log --state-dir {} --severity error -o json", self.folder.display()))
    }
}

/// Who there is.
fn introduce(real: Option<&str>, stays: bool) -> Result<(), HostError> {
    show("")?;
    show(&bold("A small host: qev serve keeps what its machines say"))?;
    for (name, scenario) in MACHINES {
        show(&format!("    {name:<8} simulated, {}", scenario.replace('-', " ")))?;
    }
    match real {
        Some(version) => show(&format!("    real     QEMU {version}, with a disk in three replicas"))?,
        None => show(&format!("    ({QEMU} is not here: with it, a real QEMU would be among them)"))?,
    }
    if stays {
        show("    Ctrl-C ends all of it.")?;
    }
    Ok(())
}

/// The address that opens the page. It is for who sits here: it is not in what is piped into a file.
async fn show_page(state_dir: &Path) -> Result<(), HostError> {
    // A daemon that has no page has told why in its log, and the rest of the demo goes on.
    match timeout(PATIENCE, client::page(state_dir)).await {
        Ok(Ok(address)) => {
            show("")?;
            show(&bold("Open the page (this address works once):"))?;
            show(&format!("    {address}"))
        }
        _ => show("    There is no page: serve.log says why."),
    }
}

/// A folder of our own. One of an earlier demo, whose process had our number, may be there: its journal stays.
fn new_folder() -> Result<PathBuf, HostError> {
    let mut folder = std::env::temp_dir().join(format!("qev-demo-{}", std::process::id()));
    loop {
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => folder.as_mut_os_string().push("-next"),
            Err(source) => return Err(HostError::Folder { path: folder, source }),
            Ok(()) => return Ok(folder),
        }
    }
}

/// Starts a verb of our own, which ends when we do.
fn start(
    program: &'static str,
    words: impl Iterator<Item = impl AsRef<OsStr>>,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<Child, HostError> {
    let mut command = bound::command(OsStr::new("/proc/self/exe"), words);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.spawn().map_err(|source| HostError::Start { program, source })
}

fn terminate(child: &Child) {
    bound::signal(child, rustix::process::Signal::TERM);
}

async fn until_there(attach: &Path, log: &Path) -> Result<(), HostError> {
    let deadline = Instant::now() + PATIENCE;
    while !attach.exists() {
        if Instant::now() >= deadline {
            return Err(HostError::Silent { log: log.to_owned() });
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A real QEMU that dials in, if there is one: no guest, but a disk in three replicas that vote.
async fn real_qemu(folder: &Path, attach: &Path) -> Option<(Child, String, Disk)> {
    let qemu = Qemu::ask(Path::new(QEMU)).await.ok()?;
    let disk = Disk::write("qev-demo-real").ok()?;
    let mut words: Vec<OsString> =
        ["-M", "none", "-nodefaults", "-display", "none", "-name", "real"].map(OsString::from).into();
    words.extend(qemu.arguments(attach.to_str()?).into_iter().map(OsString::from));
    let monitor = folder.join("real.qmp").to_str()?.replace(',', ",,");
    words.extend(["-qmp".into(), format!("unix:{monitor},server=on,wait=off").into()]);
    for node in blockdevs(&disk) {
        words.extend(["-blockdev".into(), node.into()]);
    }
    let mut command = bound::command(OsStr::new(QEMU), words);
    // What it says of itself, qemu-io's results above all, is not what is shown here.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some((command.spawn().ok()?, qemu.version.to_string(), disk))
}

/// The values of QEMU's `-blockdev`: each replica, then the quorum over them.
fn blockdevs(disk: &Disk) -> Vec<String> {
    let names = ["c0", "c1", "c2"];
    let replicas = names.iter().zip(disk.replicas()).map(|(name, path)| {
        let file = Object::new().with("driver", "file").with("filename", path.to_string_lossy().as_ref());
        Object::new().with("driver", "raw").with("node-name", *name).with("file", file)
    });
    let children = Value::Array(names.map(Value::from).into());
    let quorum = Object::new()
        .with("driver", "quorum")
        .with("node-name", "q0")
        .with("vote-threshold", 2)
        .with("children", children);
    replicas.chain([quorum]).map(|node| Json::from(&node).as_text().to_owned()).collect()
}

/// Reads where one replica differs, and where all do.
async fn read_its_disk(monitor: &Path) -> Result<(), HostError> {
    let target = Target::from(monitor);
    let (client, _) = Client::connect(&target, ConnectOptions::default()).await.map_err(HostError::Qemu)?;
    for read in ["read 4096 4096", "read 65536 512"] {
        let line = Object::new().with("command-line", format!("qemu-io q0 \"{read}\""));
        client.execute("human-monitor-command", Some(Json::from(&line))).await.map_err(HostError::Read)?;
    }
    Ok(())
}

fn show(line: &str) -> Result<(), HostError> {
    writeln!(anstream::stdout(), "{line}").map_err(HostError::Print)
}
