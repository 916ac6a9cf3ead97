//! `qev attach-args`: what to add to a QEMU, and where, so that it connects to qev by itself.
//!
//! How QEMU is told to connect again depends on its version, and how it is given arguments on who starts it ([`manager`]).

mod manager;
pub(super) mod qemu;

use crate::exit::{Exit, Failure};
use crate::printer::Format;
pub(crate) use manager::{Manager, word};
pub(crate) use qemu::Qemu;
use qev_link::Sockets;
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Object, Value};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where qev listens unless told otherwise.
const ATTACH: &str = "/run/qev/attach.sock";

/// How long a Unix socket's path may be, in bytes: `sun_path` without its end.
const LONGEST_PATH: usize = 107;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The QEMU is asked for its version, for the arguments differ: reconnect=1 up to 9.1, reconnect-ms=1000 from 9.2.

    qev attach-args                          for a command line of your own
    qev attach-args --proxmox 100            the same as a setting of the machine 100
    qev attach-args /usr/bin/kvm -o json     for a program to read")]
pub(crate) struct Args {
    /// The QEMU that will run: a program, by default qemu-system-x86_64 (kvm for Proxmox)
    #[arg(value_name = "QEMU")]
    qemu: Option<PathBuf>,

    /// Where qev listens: its --attach
    #[arg(long, value_name = "PATH", default_value = ATTACH)]
    attach: PathBuf,

    #[command(flatten)]
    manager: Managers,

    /// Text for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Who starts the QEMU.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Managers {
    /// For a machine of Proxmox VE
    #[arg(long, value_name = "VMID")]
    proxmox: Option<u32>,

    /// For a domain of libvirt
    #[arg(long)]
    libvirt: bool,

    /// For an instance of Ganeti
    #[arg(long)]
    ganeti: bool,

    /// For an instance of Incus
    #[arg(long)]
    incus: bool,

    /// For NixOS: microvm.nix, or a test machine
    #[arg(long)]
    nixos: bool,
}

impl Managers {
    fn chosen(&self) -> Manager {
        match self {
            Managers { proxmox: Some(vmid), .. } => Manager::Proxmox(*vmid),
            Managers { libvirt: true, .. } => Manager::Libvirt,
            Managers { ganeti: true, .. } => Manager::Ganeti,
            Managers { incus: true, .. } => Manager::Incus,
            Managers { nixos: true, .. } => Manager::Nixos,
            _ => Manager::None,
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let manager = args.manager.chosen();
    let program = args.qemu.unwrap_or_else(|| manager.usual_qemu().into());
    let path = attach(&args.attach)?;
    let qemu = Qemu::ask(&program).await.map_err(|error| Failure::new(Exit::Failed, error))?;
    let arguments = qemu.arguments(&path);
    let setting = manager.setting(&arguments).map_err(Failure::usage)?;
    let is_listening = Sockets::look().await.is_ok_and(|sockets| sockets.at(Path::new(&path)).is_listening);
    let listener = if is_listening { manager::Listener::There } else { manager::Listener::Missing };
    let notes = manager.notes(&path, listener);
    let text = match args.output {
        Format::Text => {
            let mut text = format!("# {} is QEMU {}\n", program.display(), qemu.version);
            for note in &notes {
                text.push_str(&format!("# {note}\n"));
            }
            text + &setting
        }
        Format::Json => {
            let list = |items: &[String]| Value::Array(items.iter().map(|item| item.as_str().into()).collect());
            let object = Object::new()
                .with("qemu", program.display().to_string())
                .with("version", qemu.version.to_string())
                .with("attach", path.as_str())
                .with("arguments", list(&arguments))
                .with("manager", manager.name().map_or(Value::Null, Value::from))
                .with("setting", setting.trim_end())
                .with("notes", list(&notes));
            Value::from(object).print(Order::Given, Layout::Line)
        }
    };
    writeln!(anstream::stdout(), "{}", text.trim_end())?;
    Ok(Exit::Done)
}

/// The socket's path as QEMU will see it, whatever folder it starts in.
fn attach(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path).map_err(|error| Failure::usage(error).about("--attach"))?;
    let path = path.to_str().ok_or_else(|| Failure::usage("the path is not text").about("--attach"))?;
    if path.len() > LONGEST_PATH {
        let error = format!("{path} has {} bytes: expected at most {LONGEST_PATH}, for it is a socket's", path.len());
        return Err(Failure::usage(error).about("--attach"));
    }
    if path.chars().any(char::is_control) {
        return Err(Failure::usage("expected a path without control characters").about("--attach"));
    }
    Ok(path.to_owned())
}
