//! Where the demo plays: a machine, a client on its monitor, another at its guest's side, and a way to show things.

use super::disk::Disk;
use crate::cli::simulate::greeting;
use crate::printer::style;
use crate::simulated::{GUEST, Simulated};
use anstyle::Style;
use qev_link::{Client, ConnectError, ConnectOptions, EventItem, Events, ExecuteError, MonitorOptions, Server};
use qev_machine::{
    Machine, MachineConfig, MachineError, Memory, PanicPolicy, QuorumChildConfig, QuorumConfig, ReadPattern,
};
use qev_qmp::json::print::Layout;
use qev_qmp::{Dialect, Event, Json, Typed};
use qev_record::Record;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// How long an event may take. Longer than a throttled one: those wait a second.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Stage {
    monitor: Client,
    guest: Client,
    events: Events,
    pause: Duration,
    // What plays behind the scene, for as long as the stage stands.
    _server: Server<Simulated>,
    _disk: Disk,
}

/// Why the demo did not go as it should.
#[derive(Debug)]
pub(super) enum DemoError {
    Disk(io::Error),
    Machine(MachineError),
    Socket(io::Error),
    Connect(ConnectError),
    Execute { command: String, source: ExecuteError },
    Arguments { command: String, source: qev_qmp::json::NotJson },
    NoEvent { expected: &'static str },
    NotEqual { actual: String, expected: String },
    Print(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Disk(_) => f.write_str("writing the demo's disk in the folder for temporary files"),
            DemoError::Machine(_) => f.write_str("making the machine"),
            DemoError::Socket(_) => f.write_str("making a pair of sockets"),
            DemoError::Connect(_) => f.write_str("connecting to the machine's monitor"),
            DemoError::Execute { command, .. } => write!(f, "executing {command}"),
            DemoError::Arguments { command, .. } => write!(f, "the arguments of {command}"),
            DemoError::NoEvent { expected } => write!(f, "{expected} did not come within {PATIENCE:?}"),
            DemoError::NotEqual { actual, expected } => {
                write!(f, "query-balloon says {actual}, the last BALLOON_CHANGE said {expected}")
            }
            DemoError::Print(_) => f.write_str("standard output"),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DemoError::Disk(source) | DemoError::Socket(source) | DemoError::Print(source) => Some(source),
            DemoError::Machine(source) => Some(source),
            DemoError::Connect(source) => Some(source),
            DemoError::Execute { source, .. } => Some(source),
            DemoError::Arguments { source, .. } => Some(source),
            DemoError::NoEvent { .. } | DemoError::NotEqual { .. } => None,
        }
    }
}

impl DemoError {
    /// Whether nobody reads standard output any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, DemoError::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Stage {
    /// Builds the machine and connects to it, as one connects to a QEMU.
    pub(super) async fn set(pause: Duration) -> Result<Stage, DemoError> {
        let disk = Disk::write("qev-demo-disk").map_err(DemoError::Disk)?;
        let config = config(&disk);
        let greeting = greeting(config.version);
        let machine = Machine::new(config).map_err(DemoError::Machine)?;
        let service = Simulated::new(machine, Dialect::Qemu);
        // A server without a path makes no socket in the file system, so there is nothing that could fail.
        let server = Server::with_service(greeting, service)
            .start()
            .await
            .map_err(|error| DemoError::Socket(io::Error::other(error)))?;
        let (monitor, events) = connect(&server, MonitorOptions::default()).await?;
        let (guest, _) = connect(&server, MonitorOptions::default().events(false).name(GUEST)).await?;
        Ok(Stage { monitor, guest, events, pause, _server: server, _disk: disk })
    }

    /// The host does something: a command on the monitor.
    pub(super) async fn host(&mut self, command: &str, arguments: &str) -> Result<Json, DemoError> {
        self.show(&format!("    {}", dim(&format!("host   {command} {arguments}"))))?;
        execute(&self.monitor, command, arguments).await
    }

    /// The guest does something of its own accord.
    pub(super) async fn guest(&mut self, command: &str, arguments: &str) -> Result<Json, DemoError> {
        self.show(&format!("    {}", dim(&format!("guest  {command} {arguments}"))))?;
        execute(&self.guest, command, arguments).await
    }

    /// Waits for an event of this name that is as wanted, and shows it and those of its name before it. Others pass.
    pub(super) async fn await_event(
        &mut self,
        expected: &'static str,
        wanted: impl Fn(&Typed) -> bool,
    ) -> Result<Typed, DemoError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let item = tokio::time::timeout_at(deadline, self.events.next()).await;
            let event = match item {
                Ok(EventItem::Event(event)) => event,
                Ok(EventItem::Ended(_)) | Err(_) => return Err(DemoError::NoEvent { expected }),
                Ok(_) => continue,
            };
            let typed = match event.typed() {
                Ok(typed) if event.name == expected => typed,
                _ => continue,
            };
            self.show_event(&event, &typed)?;
            if wanted(&typed) {
                return Ok(typed);
            }
        }
    }

    /// Sentence, then the bytes in both dialects.
    fn show_event(&mut self, event: &Arc<Event>, typed: &Typed) -> Result<(), DemoError> {
        let record = Record::event("", "web1", event.timestamp.unwrap_or(qev_qmp::Timestamp::UNKNOWN), event);
        let severity = style(record.severity);
        self.show(&format!("    {severity}{:<8} {}: {}{severity:#}", record.severity, event.name, record.summary))?;
        self.show(&format!("             QEMU      {}", event.to_line()))?;
        let encoded = typed.encode(Dialect::Document);
        let document = Event { data: encoded.data, ..Event::clone(event) };
        self.show(&format!("             document  {}", document.print(Dialect::Document, Layout::Line)))?;
        for member in encoded.dropped {
            self.show(&dim(&format!("                       (the document has no member '{member}')")))?;
        }
        Ok(())
    }

    /// A line for the audience.
    pub(super) fn show(&mut self, line: &str) -> Result<(), DemoError> {
        writeln!(anstream::stdout(), "{line}").map_err(DemoError::Print)
    }

    /// A moment to read.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(self.pause).await;
    }
}

pub(super) fn bold(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

fn dim(text: &str) -> String {
    let dim = Style::new().dimmed();
    format!("{dim}{text}{dim:#}")
}

fn config(disk: &Disk) -> MachineConfig {
    let children = disk.replicas().map(|path| QuorumChildConfig { node_name: None, path });
    let quorum = QuorumConfig {
        node_name: "q0".to_owned(),
        vote_threshold: 2,
        children: children.into(),
        read_pattern: ReadPattern::Quorum,
    };
    MachineConfig {
        name: Some("web1".to_owned()),
        package: crate::cli::simulate::PACKAGE.to_owned(),
        memory: Memory { size: 256 << 20, slots: 2, maxmem: 1 << 30 },
        balloon: true,
        panic: PanicPolicy::Pause,
        quorums: vec![quorum],
        ..MachineConfig::default()
    }
}

async fn connect(server: &Server<Simulated>, options: MonitorOptions) -> Result<(Client, Events), DemoError> {
    let (ours, theirs) = UnixStream::pair().map_err(DemoError::Socket)?;
    server.over(theirs, options).await.map_err(|error| DemoError::Socket(io::Error::other(error)))?;
    Client::over(ours, ConnectOptions::default()).await.map_err(DemoError::Connect)
}

async fn execute(client: &Client, command: &str, arguments: &str) -> Result<Json, DemoError> {
    let parsed = match arguments {
        "" => None,
        text => Some(Json::parse(text).map_err(|source| DemoError::Arguments { command: command.to_owned(), source })?),
    };
    let executed = client.execute(command, parsed).await;
    executed.map_err(|source| DemoError::Execute { command: command.to_owned(), source })
}
