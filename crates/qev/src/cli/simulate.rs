//! `qev simulate`: a machine without a CPU on real sockets, for software that manages QEMU.

mod fleet;
mod open_files;
pub(crate) mod scenario;
pub(super) mod serve;

use crate::exit::{Exit, Failure, tell};
use crate::signals::{self, Signals};
use crate::simulated::traffic::{Rate, Traffic};
use crate::simulated::{GUEST, Simulated};
use qev_link::server::ServerBuilder;
use qev_link::{MonitorOptions, Server};
use qev_machine::{
    DiskConfig, Machine, MachineConfig, Memory, PanicPolicy, QuorumConfig, Smp, Uuid, WatchdogModel, WatchdogPolicy,
    parse_size,
};
use qev_qmp::json::print::Layout;
use qev_qmp::{Dialect, Greeting, QemuVersion};
use scenario::Scenario;
use serve::Dial;
use std::path::PathBuf;

/// The greeting names qev as the package, so that nobody takes this for a QEMU by mistake.
pub(crate) const PACKAGE: &str = concat!("qev ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve a monitor at this path, as QEMU's -qmp unix:PATH,server=on,wait=off; repeatable
    #[arg(long, required_unless_present_any = ["dial", "machines"], value_name = "PATH")]
    qmp: Vec<PathBuf>,

    /// Connect a monitor to whoever listens at this path, and again a second after a loss, as QEMU's -chardev
    /// socket,path=PATH,server=off,reconnect=1
    #[arg(long, value_name = "PATH")]
    dial: Option<PathBuf>,

    /// Serve what only a guest or an operator's hand can do at this path: panic, ost, balloon-driver, …; of many
    /// machines in this folder, as NAME.guest.sock
    #[arg(long, value_name = "PATH")]
    guest: Option<PathBuf>,

    /// Be this many machines, vm0001, vm0002, …, in one process
    #[arg(long, value_name = "N", conflicts_with_all = ["qmp", "uuid", "quorum"],
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    machines: Option<u32>,

    /// Serve the monitors of many machines in this folder, as NAME.sock
    #[arg(long, value_name = "DIR", requires = "machines")]
    dir: Option<PathBuf>,

    /// Have each guest emit this many events a second: ACPI_DEVICE_OST, which QEMU does not throttle, numbered in
    /// 'source' from 1 on
    #[arg(long, value_name = "R")]
    rate: Option<Rate>,

    /// Play a scenario: calm-day, crashing-guest, dying-disk, memory-that-will-not-unplug, or a file (docs/scenario.md)
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<PathBuf>,

    /// Memory, as QEMU's -m [default: the scenario's, or 128M]
    #[arg(long, value_name = "SIZE[,slots=N,maxmem=SIZE]")]
    memory: Option<Memory>,

    /// CPUs, and slots for more, as QEMU's -smp [default: the scenario's, or 1]
    #[arg(long, value_name = "CPUS[,maxcpus=N]")]
    smp: Option<Smp>,

    /// Have a balloon, as QEMU's -device virtio-balloon-pci
    #[arg(long)]
    balloon: bool,

    /// What to do when the guest panics, as QEMU's -action panic=: pause, shutdown, none or exit-failure
    /// [default: the scenario's, or shutdown]
    #[arg(long, value_name = "ACTION")]
    panic: Option<PanicPolicy>,

    /// Have a watchdog, as QEMU's -device: i6300esb or ib700
    #[arg(long, value_name = "MODEL")]
    watchdog: Option<WatchdogModel>,

    /// What to do when the watchdog expires, as QEMU's -action watchdog=: reset, shutdown, poweroff, pause, debug, none or
    /// inject-nmi [default: the scenario's, or reset]
    #[arg(long, value_name = "ACTION")]
    watchdog_action: Option<WatchdogPolicy>,

    /// Have a disk that the guest uses, on a quorum, as QEMU's -device virtio-blk-pci,drive=NODE; repeatable
    #[arg(long, value_name = "NODE[,rerror=ACTION][,werror=ACTION]")]
    disk: Vec<DiskConfig>,

    /// End where the guest would reboot, as QEMU's -no-reboot
    #[arg(long)]
    no_reboot: bool,

    /// Stay, stopped, when the guest has shut down, as QEMU's -no-shutdown
    #[arg(long)]
    no_shutdown: bool,

    /// Have a quorum over raw files; repeatable
    #[arg(long, value_name = "NODE,vote-threshold=N,children=A:B:C[,read-pattern=fifo]")]
    quorum: Vec<QuorumConfig>,

    /// What query-name says; of many machines, what stands before their numbers
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

    /// Wait for a cont before the guest boots, as QEMU's -S
    #[arg(short = 'S', long)]
    paused: bool,

    /// Spread messages over lines, as QEMU's -mon …,pretty=on
    #[arg(long)]
    pretty: bool,

    /// Cut a client off that leaves this much unread
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = |text: &str| parse_size(text, 1))]
    max_buffer: u64,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let scenario = args.scenario.as_deref().map(Scenario::find).transpose()?;
    match args.machines {
        Some(count) => fleet::run(&args, scenario.as_ref(), count).await,
        None => run_one(&args, scenario.as_ref()).await,
    }
}

async fn run_one(args: &Args, scenario: Option<&Scenario>) -> Result<Exit, Failure> {
    let dial = args.dial.as_deref().map(|path| Dial::new(path, options(args).name("dial")));
    let dial = dial.transpose()?;
    let mut builder = builder(args, scenario, args.name.as_deref(), 0.0)?.on_notice(|notice| serve::notice(&notice));
    for (i, path) in args.qmp.iter().enumerate() {
        builder = builder.bind(path, options(args).name(format!("qmp{i}")));
    }
    if let Some(path) = &args.guest {
        builder = builder.bind(path, MonitorOptions::default().name(GUEST));
    }
    let mut signals = Signals::catch(signals::TO_END)?;
    let mut server = builder.start().await.map_err(|error| Failure::new(Exit::Failed, error))?;
    for path in args.qmp.iter().chain(&args.guest) {
        tell(&format!("serving {}", path.display()));
    }
    if let Some(path) = &args.dial {
        tell(&format!("serving whoever listens at {}", path.display()));
    }
    Ok(serve::exit(serve::serve(&mut server, dial, signals.any(), Simulated::host_signal).await))
}

/// How the machine's monitors serve their clients.
fn options(args: &Args) -> MonitorOptions {
    MonitorOptions::default().layout(if args.pretty { Layout::Pretty } else { Layout::Line })
}

/// A machine of this name as a server to be. Its traffic begins after this share of the time between two events.
fn builder(
    args: &Args,
    scenario: Option<&Scenario>,
    name: Option<&str>,
    share: f64,
) -> Result<ServerBuilder<Simulated>, Failure> {
    let mut config = MachineConfig {
        name: name.map(str::to_owned),
        uuid: args.uuid.unwrap_or_default(),
        version: args.qemu_version,
        package: PACKAGE.to_owned(),
        paused: args.paused,
        no_reboot: args.no_reboot,
        no_shutdown: args.no_shutdown,
        ..MachineConfig::default()
    };
    let images = match scenario {
        Some(scenario) => scenario.configure(&mut config)?,
        None => None,
    };
    // What the command line says counts; what it does not say, the scenario does.
    config.memory = args.memory.unwrap_or(config.memory);
    config.smp = args.smp.unwrap_or(config.smp);
    config.balloon |= args.balloon;
    config.panic = args.panic.unwrap_or(config.panic);
    config.watchdog = args.watchdog.or(config.watchdog);
    config.watchdog_action = args.watchdog_action.unwrap_or(config.watchdog_action);
    config.quorums.extend(args.quorum.iter().cloned());
    config.disks.extend(args.disk.iter().cloned());
    let machine = Machine::new(config).map_err(Failure::usage)?;
    let mut service = Simulated::new(machine, args.dialect).printing().images(images);
    if let Some(rate) = args.rate {
        service = service.traffic(Traffic::new(rate, rate.period().mul_f64(share)));
    }
    if let Some(scenario) = scenario {
        service = service.script(scenario.script());
    }
    let max_buffer = usize::try_from(args.max_buffer).unwrap_or(usize::MAX);
    Ok(Server::with_service(greeting(args.qemu_version), service).max_buffer(max_buffer))
}

/// What the machine's monitors say first. Out-of-band execution came with QEMU 2.12.
pub(crate) fn greeting(version: QemuVersion) -> Greeting {
    let oob = version >= QemuVersion::new(2, 12, 0);
    let capabilities = oob.then(|| "oob".to_owned()).into_iter().collect();
    Greeting { version, package: PACKAGE.to_owned(), capabilities }
}
