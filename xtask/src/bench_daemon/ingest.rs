//! A hundred machines write as fast as they can, until all is on disk; beside it a bare loop of `rusqlite`'s: one table, no
//! index, the same rows in groups of the same size, `synchronous=FULL`, on the same file system.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use xtask::Error;
use xtask::error::Context;
use xtask::programs::output_of;

use super::machine::{Machine, event};
use super::{Daemon, Usage, percent};
use crate::print;

const MACHINES: usize = 100;

/// Events of each machine.
const EVENTS: u64 = 5_000;

/// How many rows the bare loop commits at a time: as many as the daemon does at most.
const GROUP: usize = 1_000;

pub(super) fn run(qev: &Path) -> Result<(), Error> {
    let daemon = Daemon::start(qev)?;
    let machines: Vec<Machine> = (0..MACHINES)
        .map(|number| Machine::dial(&daemon.attach(), &format!("vm{number}")))
        .collect::<Result<_, _>>()?;
    daemon.wait_for_machines(MACHINES)?;
    let before = daemon.last_seq()?;
    let bytes_before = size_of(&daemon.state_dir())?;
    let total = EVENTS * u64::try_from(MACHINES).unwrap_or(u64::MAX);
    let used = Usage::of(daemon.id())?;

    let flood: String = (0..EVENTS).map(event).collect();
    let start = Barrier::new(MACHINES + 1);
    let (took, cpu) = thread::scope(|scope| -> Result<(Duration, Duration), Error> {
        let writers: Vec<_> = machines
            .iter()
            .map(|machine| {
                scope.spawn(|| {
                    start.wait();
                    machine.write(flood.as_bytes())
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        daemon.wait_until("everything is on disk", |daemon| Ok(daemon.last_seq()? >= before + total))?;
        let took = begin.elapsed();
        for writer in writers {
            writer.join().unwrap_or_else(|_| Err(Error::new("a writer panicked")))?;
        }
        Ok((took, Usage::of(daemon.id())?.cpu.saturating_sub(used.cpu)))
    })?;
    let bytes = size_of(&daemon.state_dir())?.saturating_sub(bytes_before);

    let after = before.to_string();
    let rows = output_of(&mut daemon.ask(&["log", "-o", "json", "--after", &after]))?;
    let rows: Vec<&str> = rows.lines().collect();
    let recorded = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if recorded != total {
        return Err(Error::new(format!("{total} events were sent, and {recorded} are recorded")));
    }
    let bare = bare_loop(&daemon.scratch.file("bare"), &rows)?;

    let rate = |took: Duration| total as f64 / took.as_secs_f64();
    print(&format!(
        "\n{MACHINES} machines, {EVENTS} events each, as fast as they can; {total} recorded, none missing\n"
    ));
    print("                                   records/s   of the bare loop");
    print(&format!("bare loop of rusqlite            {:>11.0}   1", rate(bare)));
    print(&format!(
        "qev serve, socket to committed   {:>11.0}   {:.2}     {:.0} % of a core",
        rate(took),
        bare.as_secs_f64() / took.as_secs_f64(),
        percent(cpu, took)
    ));
    print(&format!("on disk: {} bytes a record", bytes / total.max(1)));
    Ok(())
}

/// Inserts the rows as anybody would.
fn bare_loop(folder: &Path, rows: &[&str]) -> Result<Duration, Error> {
    let failed = || "the bare loop".to_owned();
    fs::create_dir_all(folder).context(failed)?;
    let mut connection = Connection::open(folder.join("bare.db")).context(failed)?;
    connection.pragma_update(None, "journal_mode", "wal").context(failed)?;
    connection.pragma_update(None, "synchronous", "full").context(failed)?;
    connection.execute("CREATE TABLE record (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)", ()).context(failed)?;
    let begin = Instant::now();
    for group in rows.chunks(GROUP) {
        let transaction = connection.transaction().context(failed)?;
        {
            let mut insert = transaction.prepare("INSERT INTO record (line) VALUES (?)").context(failed)?;
            for row in group {
                insert.execute([row]).context(failed)?;
            }
        }
        transaction.commit().context(failed)?;
    }
    Ok(begin.elapsed())
}

/// All files below a folder, in bytes.
fn size_of(folder: &Path) -> Result<u64, Error> {
    let entries = fs::read_dir(folder).context(|| format!("cannot read {}", folder.display()))?;
    let mut size = 0;
    for entry in entries.flatten() {
        // A file of SQLite's may go away meanwhile.
        let Ok(about) = entry.metadata() else { continue };
        size += if about.is_dir() { size_of(&entry.path())? } else { about.len() };
    }
    Ok(size)
}
