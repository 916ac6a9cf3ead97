//! A thousand clients of `/api/v1/stream`: what they cost the daemon, and that each gets every record once, beside one that
//! reads nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{self, Running};

use super::{Daemon, Usage, percent};
use crate::print;

/// How many follow, how many events a second there are, and for how long.
const FOLLOWERS: [usize; 2] = [1, 1_000];
const RATE: u32 = 10;
const FILLING: u32 = 1_000;
const MEASURED: Duration = Duration::from_secs(20);

/// How many records there are, of 300 bytes each, for the one that reads nothing.
const MORE_THAN_A_SOCKET_HOLDS: u64 = 3_000;

/// How much memory a thread that only reads lines has for its stack.
const STACK: usize = 128 << 10;

pub(super) fn run(qev: &Path) -> Result<(), Error> {
    print(&format!("\nclients of the stream, {RATE} events a second, beside one that reads nothing\n"));
    print("followers   sent/s   CPU of a core   memory   missing or double");
    for followers in FOLLOWERS {
        let (sent, cpu, memory, wrong) = one(qev, followers)?;
        print(&format!("{followers:>9}   {sent:>6.0}   {cpu:>11.0} %   {:>3} MiB   {wrong:>17}", memory >> 20));
    }
    Ok(())
}

fn one(qev: &Path, followers: usize) -> Result<(f64, f64, u64, u64), Error> {
    let daemon = Daemon::start_with(qev, "127.0.0.1:0")?;
    let filler = machine(qev, &daemon, FILLING)?;
    daemon.wait_until("a socket is full", |daemon| Ok(daemon.last_seq()? >= MORE_THAN_A_SOCKET_HOLDS))?;
    drop(filler);
    let socket = daemon.state_dir().join("http.sock");
    let _stuck = follow(&socket, "?after=0")?;
    let _machine = machine(qev, &daemon, RATE)?;
    daemon.wait_for_machines(2)?;

    let counts = Arc::new(Counts::default());
    let mut readers = Vec::new();
    for _ in 0..followers {
        readers.push(reader(follow(&socket, "")?, Arc::clone(&counts))?);
    }
    // All of them have begun to hear.
    thread::sleep(Duration::from_secs(2));
    let (sent, used, begin) = (counts.sent(), Usage::of(daemon.id())?, Instant::now());
    thread::sleep(MEASURED);
    let (took, usage) = (begin.elapsed(), Usage::of(daemon.id())?);
    let sent = counts.sent().saturating_sub(sent);
    counts.is_over.store(true, Ordering::Relaxed);
    let mut wrong = 0;
    for reader in readers {
        wrong += reader.join().map_err(|_| Error::new("a reader panicked"))?;
    }
    Ok((sent as f64 / took.as_secs_f64(), percent(usage.cpu.saturating_sub(used.cpu), took), usage.memory, wrong))
}

/// A machine that dials the daemon, with so many events a second.
fn machine(qev: &Path, daemon: &Daemon, rate: u32) -> Result<Running, Error> {
    let mut command = process::bound_to_us(qev)?;
    command.args(["simulate", "--name", "vm", "--rate", &rate.to_string(), "--dial"]).arg(daemon.attach());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running::start(command, "qev simulate")
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    is_over: AtomicBool,
}

impl Counts {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A connection on which the stream comes.
fn follow(socket: &Path, query: &str) -> Result<UnixStream, Error> {
    let failed = || format!("cannot follow at {}", socket.display());
    let mut stream = UnixStream::connect(socket).context(failed)?;
    let head = format!("GET /api/v1/stream{query} HTTP/1.1\r\nHost: qev\r\n\r\n");
    stream.write_all(head.as_bytes()).context(failed)?;
    // The answer has begun: from here on records count.
    stream.read_exact(&mut [0; 12]).context(failed)?;
    Ok(stream)
}

/// Reads until all is over; how many numbers were not the one behind the last.
fn reader(stream: UnixStream, counts: Arc<Counts>) -> Result<JoinHandle<u64>, Error> {
    let begun = thread::Builder::new().stack_size(STACK).spawn(move || {
        let (mut last, mut wrong) = (None, 0);
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return wrong + 1 };
            if let Some(id) = line.strip_prefix("id: ").and_then(|id| id.parse::<u64>().ok()) {
                wrong += u64::from(last.replace(id).is_some_and(|last| id != last + 1));
                counts.sent.fetch_add(1, Ordering::Relaxed);
            }
            if counts.is_over.load(Ordering::Relaxed) {
                return wrong;
            }
        }
        wrong + 1
    });
    begun.context(|| "cannot start a thread".to_owned())
}
