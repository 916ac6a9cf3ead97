//! `qev machines`: who is attached, silent, held, gone; with `--discover` every QEMU on this host.
//!
//! The daemon is asked. Where none runs, the journal tells who was there when one did.

use crate::daemon::absence;
use crate::daemon::control::client::{self, AskError};
use crate::daemon::control::machine_line;
use crate::daemon::discover::{self, Ours, Report};
use crate::daemon::journal_dir;
use crate::daemon::recorder::in_words;
use crate::daemon::roster::MachineStatus;
use crate::exit::{Exit, Failure, tell};
use crate::places::{Places, state_dir_to_read};
use crate::printer::{Format, tell_of_zone};
use qev_journal::Reader;
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Timestamp, Value};
use qev_record::plain;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// How wide a column of what machines call themselves may be, and one of paths: as long as a socket's may be.
const WIDEST: usize = 24;
const PATH: usize = 107;

/// What is told of each machine, and how wide it may be.
const COLUMNS: [(&str, usize); 10] = [
    ("MACHINE", WIDEST),
    ("STATE", WIDEST),
    ("SINCE", WIDEST),
    ("RUN STATE", WIDEST),
    ("EVENTS", WIDEST),
    ("QEMU", WIDEST),
    ("SESSION", WIDEST),
    ("CLIENTS", WIDEST),
    ("SHARED AT", PATH),
    ("NOTE", 0),
];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where no daemon runs, the journal says who was there when one did.

    qev machines               who is attached to the daemon, and who was
    qev machines --discover    every QEMU on this host, and what would attach it")]
pub(crate) struct Args {
    /// Show every QEMU on this host: who manages it, who holds its monitor, and the line that would attach it
    #[arg(long)]
    discover: bool,

    /// Where the daemon keeps its state
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Text for people, or JSON Lines
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let state_dir = match &args.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => state_dir_to_read().map_err(Failure::usage),
    };
    let lines = if args.discover {
        let (machines, has_daemon) = match &state_dir {
            Ok(dir) => (machines(dir).await.unwrap_or_default(), client::machines(dir).await.is_ok()),
            Err(_) => (Vec::new(), false),
        };
        let reports = discover::report(discover::all(Path::new("/proc")), &ours(&machines, has_daemon)).await;
        reports.iter().map(|report| discovered(report, args.output)).collect()
    } else {
        if args.output == Format::Text {
            tell_of_zone();
        }
        table(&machines(&state_dir?).await?, args.output)
    };
    let mut out = anstream::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Done)
}

/// What the daemon knows, or what the journal does where none runs.
async fn machines(state_dir: &Path) -> Result<Vec<MachineStatus>, Failure> {
    match client::machines(state_dir).await {
        Ok((machines, _)) => {
            return Ok(machines.iter().filter_map(|machine| MachineStatus::parse(&machine.status)).collect());
        }
        Err(AskError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let failed = |error: Box<dyn std::error::Error>| Failure::new(Exit::Failed, error);
    let dir = journal_dir(state_dir);
    let read = tokio::task::spawn_blocking(move || absence::in_journal(&Reader::open(&dir)?));
    let known = read.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
    for problem in known.problems {
        tell(&format!("some machines may be missing: {}", in_words(&problem)));
    }
    Ok(absence::standing(&known.absences).into_iter().map(absence::Absence::into_status_without_a_daemon).collect())
}

/// What a QEMU could be attached to: the daemon's sockets that machines dialled, else where a daemon listens by default.
fn ours(machines: &[MachineStatus], has_daemon: bool) -> Ours {
    let attached = machines.iter().filter(|machine| machine.state == "attached");
    let mut attach: Vec<PathBuf> = attached
        .clone()
        .filter(|machine| machine.way == "dial-in")
        .map(|machine| machine.place.clone().into())
        .collect();
    attach.extend(Places::of_user().ok().map(|places| places.run_dir.join("attach.sock")));
    Ours { attached: attached.filter_map(|machine| machine.pid).collect(), attach, has_daemon }
}

fn table(machines: &[MachineStatus], format: Format) -> Vec<String> {
    if format == Format::Json {
        return machines.iter().map(|machine| machine_line(machine).trim_end().to_owned()).collect();
    }
    let rows = machines.iter().map(|machine| {
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| plain::name(text).to_string());
        // A path is of use only when it is whole.
        let path = |path: &str| plain::Plain::new(path, usize::MAX).to_string();
        let (clients, shared_at) = match &machine.share {
            Some(share) => (share.clients.to_string(), path(&share.path)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        [
            text(Some(&machine.machine)),
            machine.state.to_owned(),
            local(machine.since),
            text(machine.run_state.as_deref()),
            machine.events.to_string(),
            text(machine.qemu.as_deref()),
            text(machine.session.as_deref()),
            clients,
            shared_at,
            machine.note.as_deref().map_or_else(String::new, |note| plain::phrase(note).to_string()),
        ]
    });
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut widths = COLUMNS.map(|_| 0);
    for row in &rows {
        for ((width, (_, most)), cell) in widths.iter_mut().zip(COLUMNS).zip(row) {
            *width = cell.chars().count().max(*width).min(most);
        }
    }
    let line = |row: &[String; COLUMNS.len()]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Local time to the second.
fn local(time: Timestamp) -> String {
    let time = time.micros().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    match time {
        Some(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

/// One QEMU of this host.
fn discovered(report: &Report, format: Format) -> String {
    if format == Format::Text {
        let mut text = report.sentence();
        if let Some(line) = &report.attach {
            text.push_str(&format!("\n    {}", plain::Plain::new(line, usize::MAX)));
        }
        return text;
    }
    Value::from(report.to_object()).print(Order::Given, Layout::Line)
}
