//! The configuration of the daemon: where it keeps what, whom it listens for, whom it dials.
//!
//! ```text
//!   config.toml ──► document ──► reading: values, or problems ──► Config ──► serve
//!     (or none)     (toml)       (all of them, with their place)     └─────► check-config prints it
//! ```
//!
//! Every key is known here. One that is not is an error that says which was meant: a mistyped `keep-age` must not keep
//! everything for ever.

mod document;
pub(crate) mod group;
mod problem;
mod share;
mod show;
mod values;

pub(crate) use problem::{LoadError, Problem};
pub(crate) use share::{Allow, Share, SharePolicy, User};
pub(crate) use show::quoted;
pub(crate) use values::{LONGEST_SOCKET_PATH, mode};

use crate::places::Places;
use qev_journal::{Options, Synchronous};
use qev_link::Target;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who may dial the host's socket: any QEMU, whoever runs it. A QEMU that dials in only tells; nothing can be read there.
const MODE_OF_HOST: u32 = 0o666;

/// Who may dial a user's socket: the user.
const MODE_OF_USER: u32 = 0o600;

/// The name of the socket in the run folder that QEMUs dial.
const ATTACH_SOCKET: &str = "attach.sock";

/// Where the page is when nobody says otherwise.
const PORT: u16 = 7780;

/// What the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The file it was read from, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The folder of the journal and of the daemon's own socket.
    pub(crate) state_dir: PathBuf,
    /// The folder of the sockets.
    pub(crate) run_dir: PathBuf,
    /// Sockets that QEMUs dial; none when the configuration says so.
    pub(crate) attach: Vec<Attach>,
    /// Machines that are named, and where their monitors are.
    pub(crate) machines: Vec<Machine>,
    /// Paths of monitors, with `*`, `?` and `[…]` for many.
    pub(crate) dial: Vec<String>,
    /// libvirt's URIs, such as `qemu:///system`.
    pub(crate) libvirt: Vec<String>,
    /// How the journal is kept.
    pub(crate) journal: Journal,
    /// Where the page and the API are.
    pub(crate) http: Http,
    /// How monitors are shared.
    pub(crate) share: Share,
}

/// Where the page and the API are, and by which names they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    /// The addresses to listen at; none when the configuration says so.
    pub(crate) listen: Vec<SocketAddr>,
    /// Names by which a proxy or a browser may ask for us, beside localhost and our addresses.
    pub(crate) hosts: Vec<String>,
    /// Whether there is a Unix socket, too, in the state directory.
    pub(crate) socket: bool,
    /// Nobody asked for these addresses: one that is taken is done without.
    pub(crate) is_default: bool,
}

/// A socket that QEMUs dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attach {
    /// Where.
    pub(crate) path: PathBuf,
    /// The mode of the socket's file: who may write to it may dial.
    pub(crate) mode: u32,
    /// The group of the socket's file, when it is not that of the process.
    pub(crate) group: Option<Group>,
}

/// A group of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// As it was written: a name or a number.
    pub(crate) name: String,
    /// Its number.
    pub(crate) gid: u32,
}

/// A machine that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// What it is called, whatever it says itself.
    pub(crate) name: String,
    /// Its monitor.
    pub(crate) monitor: Target,
}

/// How the journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// A new segment begins when the newest is this large, in bytes.
    pub(crate) segment_size: u64,
    /// A new segment begins when the newest is this old.
    pub(crate) segment_age: Duration,
    /// The oldest segments are deleted while all together are larger, in bytes.
    pub(crate) keep_size: Option<u64>,
    /// Segments are deleted when all that is in them is older.
    pub(crate) keep_age: Option<Duration>,
    /// Whether a record counts as kept only when it is on disk. No file says otherwise: it is for tests.
    pub(crate) fsync: bool,
}

impl Config {
    /// Reads the file that was named. When none was, the one at its default place, which need not be there.
    pub(crate) fn load(named: Option<&Path>) -> Result<Config, LoadError> {
        let places = Places::of_user()?;
        let file = named.unwrap_or(&places.config_file);
        match problem::read(file) {
            Ok(text) => Config::parse(&text, file, &places),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Config::defaults(&places))
            }
            Err(source) => Err(LoadError::Read { file: file.to_owned(), source }),
        }
    }

    /// What holds where no configuration is.
    pub(crate) fn defaults(places: &Places) -> Config {
        Config {
            file: None,
            state_dir: places.state_dir.clone(),
            run_dir: places.run_dir.clone(),
            attach: vec![Attach::at(places.run_dir.join(ATTACH_SOCKET))],
            machines: Vec::new(),
            dial: Vec::new(),
            libvirt: Vec::new(),
            journal: Journal::default(),
            http: Http::default(),
            share: Share::under(&places.run_dir),
        }
    }

    /// The same with its state, and every socket that has no place of its own, in this folder: a daemon with a state of its
    /// own has sockets of its own.
    pub(crate) fn with_state_dir(mut self, dir: PathBuf) -> Config {
        let default = [Attach::at(self.run_dir.join(ATTACH_SOCKET))];
        if self.attach == default {
            self.attach = vec![Attach::at(dir.join(ATTACH_SOCKET))];
        }
        self.share.dir = Share::under(&dir).dir;
        Config { state_dir: dir.clone(), run_dir: dir, ..self }
    }

    /// What a file says, and the defaults where it says nothing.
    fn parse(text: &str, file: &Path, places: &Places) -> Result<Config, LoadError> {
        document::config(text, places)
            .map(|config| Config { file: Some(file.to_owned()), ..config })
            .map_err(|problems| LoadError::Wrong { file: file.to_owned(), problems })
    }
}

impl Attach {
    /// A socket for whom the defaults let in: every QEMU of the host when root listens, else the user's own.
    pub(crate) fn at(path: PathBuf) -> Attach {
        let mode = if rustix::process::geteuid().is_root() { MODE_OF_HOST } else { MODE_OF_USER };
        Attach { path, mode, group: None }
    }
}

impl Http {
    /// Listens at these addresses, which somebody asked for.
    pub(crate) fn at(self, listen: Vec<SocketAddr>) -> Http {
        Http { listen, is_default: false, ..self }
    }

    /// There is nothing over HTTP.
    pub(crate) fn none(self) -> Http {
        Http { socket: false, ..self.at(Vec::new()) }
    }
}

/// An address to listen at: `IP:PORT`, or `localhost:PORT`.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let of_localhost = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.strip_prefix("localhost:")?.parse().ok()?)));
    text.parse().ok().or_else(of_localhost).ok_or_else(|| {
        format!("expected an address and a port such as 127.0.0.1:7780 or [::1]:7780, not '{}'", text.escape_debug())
    })
}

impl Default for Http {
    fn default() -> Http {
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))];
        Http { listen, hosts: Vec::new(), socket: true, is_default: true }
    }
}

impl Default for Journal {
    /// What the journal's own defaults are.
    fn default() -> Journal {
        let Options { segment_bytes, segment_age, keep_bytes, keep_age, .. } = Options::default();
        Journal { segment_size: segment_bytes, segment_age, keep_size: keep_bytes, keep_age, fsync: true }
    }
}

impl From<&Journal> for Options {
    fn from(journal: &Journal) -> Options {
        Options::default()
            .segment_bytes(journal.segment_size)
            .segment_age(journal.segment_age)
            .keep_bytes(journal.keep_size)
            .keep_age(journal.keep_age)
            .synchronous(if journal.fsync { Synchronous::Full } else { Synchronous::Off })
    }
}

#[cfg(test)]
mod tests;
