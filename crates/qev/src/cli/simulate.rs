//! `qev simulate`: a machine without a CPU on real sockets, for software that manages QEMU.

use crate::exit::{Exit, Failure, tell};
use crate::simulated::{GUEST, Simulated};
use qev_link::{MonitorOptions, Server, server};
use qev_machine::{Machine, MachineConfig, Memory, PanicPolicy, QuorumConfig, Uuid, parse_size};
use qev_qmp::json::print::Layout;
use qev_qmp::{Dialect, Greeting, QemuVersion};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// The greeting names qev as the package, so that nobody takes this for a QEMU by mistake.
pub(crate) const PACKAGE: &str = concat!("qev ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve a monitor at this path, as QEMU's -qmp unix:PATH,server=on,wait=off; repeatable
    #[arg(long, required = true, value_name = "PATH")]
    qmp: Vec<PathBuf>,

    /// Serve what only a guest or an operator's hand can do at this path: panic, ost, balloon-driver, …
    #[arg(long, value_name = "PATH")]
    guest: Option<PathBuf>,

    /// Memory, as QEMU's -m
    #[arg(long, value_name = "SIZE[,slots=N,maxmem=SIZE]", default_value = "128M")]
    memory: Memory,

    /// Have a balloon, as QEMU's -device virtio-balloon-pci
    #[arg(long)]
    balloon: bool,

    /// What to do when the guest panics, as QEMU's -action panic=: pause, shutdown, none or exit-failure
    #[arg(long, value_name = "ACTION", default_value = "shutdown")]
    panic: PanicPolicy,

    /// Have a quorum over raw files; repeatable
    #[arg(long, value_name = "NODE,vote-threshold=N,children=A:B:C[,read-pattern=fifo]")]
    quorum: Vec<QuorumConfig>,

    /// What query-name says
    #[arg(long)]
    name: Option<String>,

    /// What query-uuid says
    #[arg(long)]
    uuid: Option<Uuid>,

    /// The QEMU to be: 7.2.22
    #[arg(long, value_name = "VERSION", default_value = "7.2.22")]
    qemu_version: QemuVersion,

    /// How the five events are written: as QEMU does, or as the document does
    #[arg(long, default_value_t)]
    dialect: Dialect,

    /// Spread messages over lines, as QEMU's -mon …,pretty=on
    #[arg(long)]
    pretty: bool,

    /// Cut a client off that leaves this much unread
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = |text: &str| parse_size(text, 1))]
    max_buffer: u64,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let (service, greeting) = machine(&args)?;
    let layout = if args.pretty { Layout::Pretty } else { Layout::Line };
    let max_buffer = usize::try_from(args.max_buffer).unwrap_or(usize::MAX);
    let mut builder = Server::with_service(greeting, service).max_buffer(max_buffer).on_notice(|notice| {
        if !matches!(notice, server::Notice::Connected { .. }) {
            tell(&notice.to_string());
        }
    });
    for (i, path) in args.qmp.iter().enumerate() {
        builder = builder.bind(path, MonitorOptions::default().layout(layout).name(format!("qmp{i}")));
    }
    if let Some(path) = &args.guest {
        builder = builder.bind(path, MonitorOptions::default().name(GUEST));
    }
    // The handlers stand before the sockets do: who sees a socket may end us, and it is removed.
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut server = builder.start().await.map_err(|error| Failure::new(Exit::Failed, error))?;
    for path in args.qmp.iter().chain(&args.guest) {
        tell(&format!("serving {}", path.display()));
    }
    let ended = tokio::select! {
        ended = server.ended() => ended,
        _ = terminate.recv() => server.stop().await,
        _ = interrupt.recv() => server.stop().await,
    };
    Ok(match ended {
        server::Ended::Exited(status) => Exit::Machine(u8::try_from(status).unwrap_or(1)),
        server::Ended::Broken => Exit::Failed,
        _ => Exit::Done,
    })
}

fn machine(args: &Args) -> Result<(Simulated, Greeting), Failure> {
    let config = MachineConfig {
        name: args.name.clone(),
        uuid: args.uuid.unwrap_or_default(),
        version: args.qemu_version,
        package: PACKAGE.to_owned(),
        memory: args.memory,
        balloon: args.balloon,
        panic: args.panic,
        quorums: args.quorum.clone(),
        ..MachineConfig::default()
    };
    let machine = Machine::new(config).map_err(Failure::usage)?;
    Ok((Simulated::new(machine, args.dialect), greeting(args.qemu_version)))
}

/// What the machine's monitors say first. Out-of-band execution came with QEMU 2.12.
pub(crate) fn greeting(version: QemuVersion) -> Greeting {
    let oob = version >= QemuVersion::new(2, 12, 0);
    let capabilities = oob.then(|| "oob".to_owned()).into_iter().collect();
    Greeting { version, package: PACKAGE.to_owned(), capabilities }
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Exit::Failed, error).about("listening for signals"))
}
