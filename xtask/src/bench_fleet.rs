//! `cargo xtask bench fleet`: thousands of simulated machines in one process, one event a second each, and a reader of
//! all their monitors that checks the numbers. One monitor has a reader that never reads, until all is over.
//!
//! The reader is on purpose no part of qev: plain sockets, one `epoll`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{Running, bound_to_us};
use xtask::lab::scratch::Scratch;

use crate::print;

/// How many machines.
const MACHINES: usize = 8_000;

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(30);

/// How long all machines may take to be there.
const STARTING: Duration = Duration::from_secs(120);

/// What a process has open besides.
const BESIDES: u64 = 64;

pub(crate) fn run(qev: &Path) -> Result<(), Error> {
    measure(qev, MACHINES, MEASURED)
}

fn measure(qev: &Path, machines: usize, time: Duration) -> Result<(), Error> {
    let machines = as_many_as_files_allow(machines)?;
    let scratch = Scratch::new()?;
    let mut command = bound_to_us(qev)?;
    command.args(["simulate", "--rate", "1", "--machines", &machines.to_string(), "--dir"]).arg(scratch.path());
    command.stderr(Stdio::piped());
    let mut simulate = Running::start(command, "qev simulate")?;
    wait_until_served(simulate.child())?;

    let mut fleet = Fleet::connect(scratch.path(), machines)?;
    // It negotiates as the others do, and is not read again.
    let mut lazy = fleet.take_last()?;
    fleet.read_for(Duration::from_secs(2))?;
    let pid = simulate.id();
    let (cpu, begun, counted) = (cpu(pid)?, Instant::now(), fleet.events);
    fleet.read_for(time)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (self::cpu(pid)? - cpu) / seconds * 100.0;
    let memory = memory(pid)?;
    let rate = (fleet.events - counted) as f64 / seconds;

    print(&format!(
        "\n{:<12}{:>16}{:>20}{:>14}{:>14}{:>10}",
        "machines", "events a second", "CPU of one core", "memory", "each", "holes"
    ));
    let each = memory as f64 / machines as f64;
    print(&format!(
        "{machines:<12}{rate:>16.0}{:>18.1} %{:>10.0} MiB{each:>10.1} KiB{:>10}",
        cpu,
        memory as f64 / 1024.0,
        fleet.holes
    ));
    let kept = lazy.read_what_was_kept()?;
    print(&format!(
        "\nOne reader did not read for {seconds:.0} s. Then it got {} events, {} missing, and is still connected: {}.",
        kept.events,
        kept.holes,
        if kept.ended { "no" } else { "yes" }
    ));
    if fleet.holes + kept.holes > 0 || fleet.ended > 0 {
        return Err(Error::new(format!("{} events are missing, {} connections ended", fleet.holes, fleet.ended)));
    }
    Ok(())
}

/// Raises the limit of open files as far as it goes; the machines inherit it.
fn as_many_as_files_allow(machines: usize) -> Result<usize, Error> {
    let wanted = u64::try_from(machines).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(BESIDES);
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if soft < wanted && soft < hard {
        let raised = Rlimit { current: Some(wanted.min(hard)), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised)
            .map_err(io::Error::from)
            .context(|| format!("cannot raise the limit of open files to {}", wanted.min(hard)))?;
    }
    let possible = usize::try_from(hard.min(wanted).saturating_sub(BESIDES) / 2).unwrap_or(machines);
    if possible < machines {
        print(&format!(
            "{possible} machines in place of {machines}: no more than {hard} files may be open (ulimit -Hn)"
        ));
    }
    Ok(possible)
}

fn wait_until_served(simulate: &mut Child) -> Result<(), Error> {
    let stderr = simulate.stderr.take().ok_or_else(|| Error::new("qev simulate has no standard error".to_owned()))?;
    let mut told = BufReader::new(stderr);
    let mut line = String::new();
    told.read_line(&mut line).context(|| "cannot read what qev simulate says".to_owned())?;
    // What it says later must go somewhere.
    std::thread::spawn(move || io::copy(&mut told, &mut io::sink()));
    match line.contains("serving") {
        true => Ok(()),
        false => Err(Error::new(format!("qev simulate does not serve: {}", line.trim()))),
    }
}

/// The readers of all monitors.
struct Fleet {
    epoll: std::os::fd::OwnedFd,
    readers: Vec<Reader>,
    space: Vec<u8>,
    events: u64,
    holes: u64,
    ended: u64,
}

impl Fleet {
    fn connect(dir: &Path, machines: usize) -> Result<Fleet, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from).context(no_epoll)?;
        let mut fleet = Fleet { epoll, readers: Vec::new(), space: vec![0; 64 << 10], events: 0, holes: 0, ended: 0 };
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .and_then(|files| files.map(|file| file.map(|file| file.path())).collect::<io::Result<_>>())
            .context(|| format!("cannot list {}", dir.display()))?;
        paths.sort();
        if paths.len() != machines {
            return Err(Error::new(format!("expected {machines} sockets in {}, found {}", dir.display(), paths.len())));
        }
        for (place, path) in paths.iter().enumerate() {
            let reader = Reader::connect(path).context(|| format!("cannot connect to {}", path.display()))?;
            let data = epoll::EventData::new_u64(u64::try_from(place).unwrap_or(u64::MAX));
            epoll::add(&fleet.epoll, &reader.stream, data, epoll::EventFlags::IN)
                .map_err(io::Error::from)
                .context(no_epoll)?;
            fleet.readers.push(reader);
        }
        // Until each has its first event, they are still being greeted.
        let deadline = Instant::now() + STARTING;
        while fleet.readers.iter().any(|reader| reader.last.is_none()) {
            if Instant::now() >= deadline {
                return Err(Error::new(format!("not every machine sent an event within {STARTING:?}")));
            }
            fleet.read_for(Duration::from_millis(200))?;
        }
        Ok(fleet)
    }

    /// Stops reading one of them.
    fn take_last(&mut self) -> Result<Reader, Error> {
        let last = self.readers.pop().ok_or_else(|| Error::new("there is no machine".to_owned()))?;
        epoll::delete(&self.epoll, &last.stream).map_err(io::Error::from).context(no_epoll)?;
        Ok(last)
    }

    fn read_for(&mut self, time: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + time;
        let mut ready = Vec::with_capacity(1024);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let timeout = Timespec::try_from(left.min(Duration::from_millis(100))).ok();
            ready.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error)).context(no_epoll),
            }
            for event in &ready {
                let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let Some(reader) = self.readers.get_mut(place) else { continue };
                match reader.read(&mut self.space) {
                    Some((events, holes)) => {
                        self.events += events;
                        self.holes += holes;
                    }
                    None => {
                        self.ended += 1;
                        // It would be told of for ever.
                        let _ = epoll::delete(&self.epoll, &reader.stream);
                    }
                }
            }
        }
    }
}

fn no_epoll() -> String {
    "cannot wait for the machines".to_owned()
}

/// One monitor's reader.
struct Reader {
    stream: UnixStream,
    /// A line that has not ended.
    begun: Vec<u8>,
    last: Option<u64>,
}

/// What a reader got that did not read.
struct Kept {
    events: u64,
    holes: u64,
    ended: bool,
}

impl Reader {
    fn connect(path: &Path) -> io::Result<Reader> {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(b"{\"execute\": \"qmp_capabilities\"}")?;
        stream.set_nonblocking(true)?;
        Ok(Reader { stream, begun: Vec::new(), last: None })
    }

    /// What is there now: how many events, how many are missing between them; `None` at the end of the stream.
    fn read(&mut self, space: &mut [u8]) -> Option<(u64, u64)> {
        let read = match self.stream.read(space) {
            Ok(0) => return None,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some((0, 0)),
            Err(_) => return None,
        };
        let (mut events, mut holes) = (0, 0);
        self.begun.extend_from_slice(space.get(..read).unwrap_or_default());
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        for number in lines.split(|byte| *byte == b'\n').filter_map(number) {
            events += 1;
            holes += self.last.map_or(0, |last| number.saturating_sub(last + 1));
            self.last = Some(number);
        }
        Some((events, holes))
    }

    fn read_what_was_kept(&mut self) -> Result<Kept, Error> {
        let mut space = vec![0; 64 << 10];
        let mut kept = Kept { events: 0, holes: 0, ended: false };
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            match self.read(&mut space) {
                Some((0, 0)) => std::thread::sleep(Duration::from_millis(20)),
                Some((events, holes)) => {
                    kept.events += events;
                    kept.holes += holes;
                }
                None => {
                    kept.ended = true;
                    break;
                }
            }
        }
        Ok(kept)
    }
}

/// The number of a line's event: its `source`.
fn number(line: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b"\"source\": ";
    let at = line.windows(MEMBER.len()).position(|window| window == MEMBER)? + MEMBER.len();
    let digits: Vec<u8> = line.get(at..)?.iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// The time that a process has run on a CPU, in seconds.
fn cpu(pid: u32) -> Result<f64, Error> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context(|| "cannot read its times".to_owned())?;
    // Behind the name, which may have anything in it.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
        return Err(Error::new(format!("cannot read the times of process {pid}")));
    };
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

/// The memory of a process, in KiB.
fn memory(pid: u32) -> Result<u64, Error> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context(|| "cannot read its memory".to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| Error::new(format!("cannot read the memory of process {pid}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_seen_across_reads() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut reader = Reader { stream: ours, begun: Vec::new(), last: None };
        let mut space = [0; 64];
        let event = |n: u64| {
            format!(
                "{{\"event\": \"ACPI_DEVICE_OST\", \"data\": {{\"info\": {{\"source\": {n}, \"status\": 0}}}}}}\r\n"
            )
        };
        let mut said = String::from("{\"return\": {}}\r\n");
        for n in [1, 2, 3, 6, 7, 9] {
            said.push_str(&event(n));
        }
        theirs.write_all(said.as_bytes()).unwrap();
        drop(theirs);
        let (mut events, mut holes) = (0, 0);
        while let Some((more, missing)) = reader.read(&mut space) {
            events += more;
            holes += missing;
        }
        assert_eq!((events, holes), (6, 3));
    }

    #[test]
    #[ignore = "needs qev to be built: run by cargo xtask test"]
    fn no_number_of_a_small_fleet_is_missing() {
        let qev = xtask::workspace::qev_program().unwrap();
        measure(&qev, 200, Duration::from_secs(3)).unwrap();
    }

    #[test]
    fn times_and_memory_of_a_process_are_read() {
        assert!(cpu(std::process::id()).unwrap() >= 0.0);
        assert!(memory(std::process::id()).unwrap() > 100);
    }
}
