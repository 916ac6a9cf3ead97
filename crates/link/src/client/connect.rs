//! Getting in: from a target to a negotiated connection, or to a sentence that says why not and what to do.
//!
//! ```text
//!               open                greeting               reply to qmp_capabilities
//!   (target) ─────────► Connected ────────────► Greeted ─────────────────────────────► Ready
//!      │                    │ nothing in time:      │ error: NegotiationRefused
//!      │                    │   Silent or Held      │ nothing in time: NegotiationTimeout
//!      │ NoSuchSocket,      │ "QEMU … monitor":     │
//!      │ NobodyListens, …   │   HumanMonitor        │
//!                           │ anything else: NotQmp
//! ```
//!
//! A monitor that another client uses is Held at once, where that can be seen ([`in_use`]).

use super::Client;
use super::connection::{Connection, Step};
use super::events::{Capacity, EndReason, Events};
use super::in_use::{self, InUseCheck};
use crate::dial_in::Peer;
use crate::holder::{self, Count, Holder, WaitsBehind};
use crate::inherited::{self, NotInherited};
use crate::stream::Duplex;
use crate::target::Target;
use crate::unix_address::UnixAddress;
use qev_qmp::{Greeting, QmpError};
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt as _};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// How long a greeting may still come after something that is none.
const GRACE: Duration = Duration::from_secs(1);

/// How to connect.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// How long connecting, greeting and negotiation may take together. Default: 5 s.
    pub greeting_timeout: Duration,
    /// How long [`Client::execute`] waits for an answer. Default: 30 s.
    pub execute_timeout: Duration,
    /// Whether to enable out-of-band execution where it is offered. Default: yes.
    pub oob: bool,
    /// Whether to negotiate before the greeting has come: for a peer that is about to be started. Out-of-band execution
    /// is not enabled then. Default: no.
    pub ahead: bool,
    /// How much is kept for the first subscription. Default: 1024 items, 1 MiB.
    pub events: Capacity,
    /// Whether the first subscription, when it is full, holds the connection back instead of losing its oldest items.
    /// Default: no.
    ///
    /// Then nothing is lost, but the connection is not read until its reader has taken half of it: QEMU buffers what it
    /// says, without limit; replies to commands and the end of the connection are not seen meanwhile, so whoever takes
    /// from the subscription must not wait for a reply without taking on.
    pub hold_back: bool,
    /// Whether the socket, where it is a Unix one, is kept a second time, for [`Client::take_spare`]. Default: no.
    pub spare: bool,
    /// When it is looked whether another client uses the monitor. Default: early.
    pub in_use_check: InUseCheck,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            greeting_timeout: Duration::from_secs(5),
            execute_timeout: Duration::from_secs(30),
            oob: true,
            ahead: false,
            events: Capacity::default(),
            hold_back: false,
            spare: false,
            in_use_check: InUseCheck::Early,
        }
    }
}

impl ConnectOptions {
    /// Changes how long connecting, greeting and negotiation may take together.
    #[must_use]
    pub const fn greeting_timeout(mut self, timeout: Duration) -> ConnectOptions {
        self.greeting_timeout = timeout;
        self
    }

    /// Changes how long commands wait for an answer.
    #[must_use]
    pub const fn execute_timeout(mut self, timeout: Duration) -> ConnectOptions {
        self.execute_timeout = timeout;
        self
    }

    /// Changes whether out-of-band execution is enabled where it is offered.
    #[must_use]
    pub const fn oob(mut self, oob: bool) -> ConnectOptions {
        self.oob = oob;
        self
    }

    /// Changes whether the socket is kept a second time, for [`Client::take_spare`].
    #[must_use]
    pub const fn spare(mut self, spare: bool) -> ConnectOptions {
        self.spare = spare;
        self
    }

    /// Changes when it is looked whether another client uses the monitor.
    #[must_use]
    pub const fn in_use_check(mut self, check: InUseCheck) -> ConnectOptions {
        self.in_use_check = check;
        self
    }

    /// Changes whether to negotiate before the greeting has come.
    #[must_use]
    pub const fn ahead(mut self, ahead: bool) -> ConnectOptions {
        self.ahead = ahead;
        self
    }

    /// Changes how much is kept for the first subscription.
    #[must_use]
    pub fn events(mut self, capacity: impl Into<Capacity>) -> ConnectOptions {
        self.events = capacity.into();
        self
    }

    /// Changes whether the first subscription holds the connection back when it is full.
    #[must_use]
    pub const fn hold_back(mut self, hold_back: bool) -> ConnectOptions {
        self.hold_back = hold_back;
        self
    }
}

/// Why there is no connection. Each says what to do, and names the socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nothing at this path.
    NoSuchSocket {
        /// Where.
        socket: String,
    },
    /// There is something at this path, but no socket.
    NotASocket {
        /// Where.
        socket: String,
    },
    /// The socket is there, and nobody behind it.
    NobodyListens {
        /// Where.
        socket: String,
    },
    /// Another client is connected, and QEMU serves one a monitor; or so many wait that one more may not.
    Held {
        /// Where.
        socket: String,
        /// By whom, when that can be known: the process may be another user's.
        holder: Option<Holder>,
    },
    /// We may not connect to the socket.
    NotAllowed {
        /// Where.
        socket: String,
    },
    /// It is a human monitor (HMP), not one for programs.
    HumanMonitor {
        /// Where.
        socket: String,
    },
    /// Connected, but nothing came in time.
    Silent {
        /// Where.
        socket: String,
        /// How long it was waited.
        after: Duration,
    },
    /// Nobody accepts connections, and as many wait as may: all of clients that have left.
    NotAccepting {
        /// Where.
        socket: String,
    },
    /// What answered does not speak QMP.
    NotQmp {
        /// Where.
        socket: String,
        /// What it said: its first 120 bytes at most.
        said: Vec<u8>,
    },
    /// It greeted, and did not answer the negotiation in time.
    NegotiationTimeout {
        /// Where.
        socket: String,
        /// How long it was waited.
        after: Duration,
    },
    /// It greeted, and refused the negotiation.
    NegotiationRefused {
        /// Where.
        socket: String,
        /// What it said.
        source: QmpError,
    },
    /// It did not let us in, said why, and closed the connection: as a shared monitor does that has all the clients it
    /// may have.
    TurnedAway {
        /// Where.
        socket: String,
        /// What it said.
        source: QmpError,
    },
    /// It closed the connection before it was ready.
    Ended {
        /// Where.
        socket: String,
        /// How it ended.
        source: EndReason,
    },
    /// The descriptor that was to be inherited is none that a monitor can be spoken over.
    NotInherited {
        /// Which.
        socket: String,
        /// What is wrong with it.
        source: NotInherited,
    },
    /// It is the name of a machine: who knows where its monitor is must be asked.
    MachineName {
        /// The name.
        name: String,
    },
    /// Connecting failed in some other way.
    Io {
        /// Where.
        socket: String,
        /// How.
        source: io::Error,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::NoSuchSocket { socket } => write!(
                f,
                "there is no socket at {socket}: check the path, and that QEMU runs with -qmp unix:{socket},server=on,wait=off"
            ),
            ConnectError::NotASocket { socket } => {
                write!(f, "{socket} is not a socket: name the path that QEMU was given with -qmp")
            }
            ConnectError::NobodyListens { socket } => {
                write!(f, "nobody listens at {socket}: the QEMU that made it has ended, or was killed; start it again")
            }
            ConnectError::Held { socket, holder } => {
                write!(f, "{socket} is in use by another client")?;
                if let Some(holder) = holder {
                    write!(f, ", {holder}")?;
                }
                f.write_str(
                    ", and QEMU serves one at a time: end that client, or give QEMU another monitor with a second -qmp",
                )
            }
            ConnectError::NotAllowed { socket } => {
                write!(f, "no permission to connect to {socket}: run as the user who runs QEMU, or as root")
            }
            ConnectError::HumanMonitor { socket } => write!(
                f,
                "{socket} is a human monitor (HMP): give QEMU one for programs with -qmp unix:PATH,server=on,wait=off"
            ),
            ConnectError::Silent { socket, after } => write!(
                f,
                "no greeting from {socket} in {after:?}: QEMU may be stopped or hang, or it is not a monitor (a serial \
                 line and a guest agent do not greet)"
            ),
            ConnectError::NotAccepting { socket } => {
                write!(f, "{socket} accepts no connection, and nobody else uses it: QEMU may be stopped or hang")
            }
            ConnectError::NotQmp { socket, said } => {
                write!(
                    f,
                    "{socket} does not speak QMP: it says '{}'; name a monitor made with -qmp",
                    said.escape_ascii()
                )
            }
            ConnectError::NegotiationTimeout { socket, after } => {
                write!(f, "{socket} greeted but did not answer qmp_capabilities in {after:?}: QEMU may hang")
            }
            ConnectError::NegotiationRefused { socket, .. } => {
                write!(f, "{socket} refused the capabilities negotiation")
            }
            ConnectError::TurnedAway { socket, .. } => write!(f, "{socket} does not let us in"),
            ConnectError::Ended { socket, .. } => {
                write!(f, "{socket} ended the connection before it was ready: QEMU may be on its way out; try again")
            }
            ConnectError::NotInherited { socket, .. } => write!(f, "{socket} is no connection to a monitor"),
            ConnectError::MachineName { name } => {
                write!(
                    f,
                    "there is no socket named '{name}' here: name one as unix:PATH, tcp:HOST:PORT, fd:N or a path"
                )
            }
            ConnectError::Io { socket, .. } => write!(f, "connecting to {socket} failed"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::NegotiationRefused { source, .. } | ConnectError::TurnedAway { source, .. } => Some(source),
            ConnectError::Ended { source, .. } => Some(source),
            ConnectError::Io { source, .. } => Some(source),
            ConnectError::NotInherited { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What is connected to: for the sentences, and to find out who holds it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    name: String,
    address: Option<UnixAddress<'a>>,
    timeout: Option<Duration>,
    /// Who is at the other end, where the kernel says so.
    pub(super) peer: Option<Peer>,
    /// The inode of our end, by which it is told from other clients'.
    inode: Option<u64>,
}

impl Place<'_> {
    pub(super) fn given() -> Place<'static> {
        Place::called("the given stream".to_owned())
    }

    /// A stream that is there already.
    pub(crate) fn called(name: String) -> Place<'static> {
        Place { name, address: None, timeout: None, peer: None, inode: None }
    }

    /// Whose other end is known.
    pub(crate) fn with_peer(self, peer: Peer) -> Self {
        Place { peer: Some(peer), ..self }
    }
}

pub(super) async fn connect(
    target: &Target,
    options: ConnectOptions,
    connected: impl FnOnce(Peer),
) -> Result<(Client, Events), ConnectError> {
    let deadline = Instant::now() + options.greeting_timeout;
    let mut place = Place { timeout: Some(options.greeting_timeout), ..Place::called(target.to_string()) };
    let look = options.in_use_check == InUseCheck::Early;
    match target {
        Target::Unix(path) => {
            place.address = Some(UnixAddress::Path(path));
            connect_unix(UnixAddress::Path(path), place, options, deadline, connected).await
        }
        Target::Abstract(name) => {
            place.address = Some(UnixAddress::Abstract(name));
            connect_unix(UnixAddress::Abstract(name), place, options, deadline, connected).await
        }
        Target::Tcp { host, port } => {
            let stream = connect_tcp(host, *port, &place.name, deadline, look).await?;
            crate::tcp::set_up(&stream);
            let ends = stream.peer_addr().ok().zip(stream.local_addr().ok());
            let behind = async {
                match ends {
                    Some((server, own)) => in_use::behind_tcp(server, Some(own)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                connected = Client::negotiate(stream, &place, options, deadline) => connected,
                holder = behind, if look => Err(ConnectError::Held { socket: place.name.clone(), holder }),
            }
        }
        Target::Descriptor(number) => {
            let socket = || place.name.clone();
            let stream =
                inherited::stream(*number).map_err(|source| ConnectError::NotInherited { socket: socket(), source })?;
            let stream =
                UnixStream::from_std(stream).map_err(|source| ConnectError::Io { socket: socket(), source })?;
            Client::negotiate(stream, &place, options, deadline).await
        }
        Target::Machine(name) => Err(ConnectError::MachineName { name: name.clone() }),
    }
}

async fn in_time<T>(deadline: Instant, connected: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, connected).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect_unix(
    address: UnixAddress<'_>,
    mut place: Place<'_>,
    options: ConnectOptions,
    deadline: Instant,
    connected: impl FnOnce(Peer),
) -> Result<(Client, Events), ConnectError> {
    let look = options.in_use_check == InUseCheck::Early;
    if look && let Some(holder) = in_use::before_connecting(address).await {
        return Err(ConnectError::Held { socket: place.name, holder });
    }
    let stream = match in_time(deadline, address.connect()).await {
        Ok(stream) => stream,
        Err(error) => return Err(unix_error(error, address, place.name).await),
    };
    place.peer = Peer::of(&stream).ok();
    place.inode = inode(&stream);
    place.peer.map(connected);
    let spare = super::handover::spare(&stream, &options);
    let holder = tokio::select! {
        biased;
        connected = Client::negotiate(stream, &place, options, deadline) => {
            return connected.map(|connected| spare.put(connected));
        }
        holder = in_use::behind_unix(address, place.inode), if look => holder,
    };
    Err(ConnectError::Held { socket: place.name, holder })
}

/// A connection to the first address of the host that takes one.
async fn connect_tcp(
    host: &str,
    port: u16,
    name: &str,
    deadline: Instant,
    look: bool,
) -> Result<TcpStream, ConnectError> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::NobodyListens { socket: name.to_owned() },
        _ => ConnectError::Io { socket: name.to_owned(), source },
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for server in in_time(deadline, tokio::net::lookup_host((host, port))).await.map_err(error)? {
        let connected = tokio::select! {
            biased;
            connected = in_time(deadline, TcpStream::connect(server)) => connected,
            holder = in_use::behind_tcp(server, None), if look => {
                return Err(ConnectError::Held { socket: name.to_owned(), holder });
            }
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(error(failed))
}

async fn unix_error(source: io::Error, address: UnixAddress<'_>, socket: String) -> ConnectError {
    match (source.kind(), address) {
        (io::ErrorKind::NotFound, _) => ConnectError::NoSuchSocket { socket },
        (io::ErrorKind::PermissionDenied, _) => ConnectError::NotAllowed { socket },
        // What is no socket refuses as well. Of an abstract name nothing is left when its listener has ended.
        (io::ErrorKind::ConnectionRefused, UnixAddress::Path(path)) => match std::fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => ConnectError::NotASocket { socket },
            _ => ConnectError::NobodyListens { socket },
        },
        (io::ErrorKind::ConnectionRefused, UnixAddress::Abstract(_)) => ConnectError::NobodyListens { socket },
        // The queue of those who wait is full.
        (io::ErrorKind::WouldBlock, _) => match holder::other_user(address, None, Count::WaitingToo).await {
            WaitsBehind::Client(holder) => ConnectError::Held { socket, holder },
            WaitsBehind::Nobody => ConnectError::NotAccepting { socket },
        },
        _ => ConnectError::Io { socket, source },
    }
}

/// Until commands can be sent.
pub(super) async fn negotiate<S: Duplex>(
    connection: &mut Connection<S>,
    place: &Place<'_>,
    deadline: Instant,
) -> Result<Greeting, ConnectError> {
    let started = Instant::now();
    let mut until = deadline;
    let mut greeted = None;
    let mut strange: Option<Vec<u8>> = None;
    let mut complaint = None;
    let socket = || place.name.clone();
    loop {
        match timeout_at(until, connection.negotiate()).await {
            Ok(Ok(Step::Greeted(greeting))) => {
                greeted = Some(greeting);
                until = deadline;
            }
            Ok(Ok(Step::Ready)) => {
                if let Some(greeting) = greeted {
                    return Ok(greeting);
                }
            }
            Ok(Ok(Step::Refused(source))) => {
                return Err(ConnectError::NegotiationRefused { socket: socket(), source });
            }
            Ok(Ok(Step::Complained(error))) => complaint = Some(error),
            Ok(Ok(Step::Strange(said))) => {
                if greeted.is_none() {
                    if is_human_monitor(&said) {
                        return Err(ConnectError::HumanMonitor { socket: socket() });
                    }
                    let said = strange.get_or_insert(said);
                    until = until.min(Instant::now() + GRACE);
                    if Instant::now() >= until {
                        return Err(ConnectError::NotQmp { socket: socket(), said: std::mem::take(said) });
                    }
                }
            }
            Ok(Err(source)) => {
                return Err(match (strange, complaint) {
                    (Some(said), _) if greeted.is_none() => ConnectError::NotQmp { socket: socket(), said },
                    (_, Some(source)) if greeted.is_none() => ConnectError::TurnedAway { socket: socket(), source },
                    _ => ConnectError::Ended { socket: socket(), source },
                });
            }
            Err(_) => {
                let after = place.timeout.unwrap_or_else(|| started.elapsed());
                return Err(match strange {
                    _ if greeted.is_some() => ConnectError::NegotiationTimeout { socket: socket(), after },
                    Some(said) => ConnectError::NotQmp { socket: socket(), said },
                    None => nothing_came(place, after).await,
                });
            }
        }
    }
}

/// The connection is still there: whoever is served meanwhile is why it waits.
async fn nothing_came(place: &Place<'_>, after: Duration) -> ConnectError {
    let socket = place.name.clone();
    let Some(address) = place.address else { return ConnectError::Silent { socket, after } };
    match holder::other_user(address, place.inode, Count::Served).await {
        WaitsBehind::Client(holder) => ConnectError::Held { socket, holder },
        WaitsBehind::Nobody => ConnectError::Silent { socket, after },
    }
}

/// The inode of a socket, by which the kernel's socket diagnostics know it.
fn inode(stream: &UnixStream) -> Option<u64> {
    let file = std::fs::File::from(stream.as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().map(|file| file.ino())
}

/// `QEMU 7.2.22 monitor - type 'help' for more information`
fn is_human_monitor(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    said.trim_start().starts_with("QEMU ") && said.contains(" monitor - type 'help'")
}
