//! `cargo xtask bench share`: what a shared monitor costs beside the monitor itself.
//!
//! * a command's round trip, one at a time, straight to the machine and through `qev share`, in turns;
//! * events: how long it takes until 1, 10 and 100 clients have read what the machine wrote as fast as it could, one write an
//!   event as QEMU does; and the CPU of `qev share` meanwhile. Every client counts: one event less is an error.
//!
//! The machine is a plain socket that answers at once, so what is measured is the way and not QEMU.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{Running, bound_to_us};
use xtask::lab::scratch::Scratch;

use crate::bench_daemon::Usage;
use crate::print;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many round trips are made each way, in turns of so many.
const ROUND_TRIPS: usize = 20_000;
const TURN: usize = 1_000;

/// How many events are read by so many clients.
const EVENTS: [(usize, usize); 3] = [(1, 200_000), (10, 100_000), (100, 20_000)];

pub(crate) fn run(qev: &Path) -> Result<(), Error> {
    let scratch = Scratch::new()?;
    let (machine, shared) = (scratch.socket("machine")?, scratch.socket("shared")?);
    let listener = UnixListener::bind(&machine).context(|| "cannot listen as a machine".to_owned())?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || play(stream));
        }
    });
    let mut command = bound_to_us(qev)?;
    command.arg("share").arg(&machine).arg("--qmp").arg(&shared).args(["--allow", "operate"]);
    let share = Running::start(command, "qev share")?;
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&shared).is_err() {
        if Instant::now() > deadline {
            return Err(Error::new("qev share does not listen"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    round_trips(&machine, &shared)?;
    print(&format!("\n{:<10}{:>18}{:>18}{:>16}", "clients", "events a second", "to all together", "CPU an event"));
    events(&machine, 1, EVENTS[0].1, None)?;
    for (clients, count) in EVENTS {
        events(&shared, clients, count, Some(&share))?;
    }
    Ok(())
}

/// A machine that answers every command with nothing, and `emit` with as many events as its argument says before.
fn play(mut stream: UnixStream) -> Option<()> {
    const GREETING: &str = concat!(
        r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "#,
        "\"capabilities\": [\"oob\"]}}\r\n"
    );
    stream.write_all(GREETING.as_bytes()).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        let after = |name: &str| Some(line.split_once(name)?.1.trim_end().trim_end_matches('}').to_owned());
        if let Some(count) = after("\"count\": ").and_then(|rest| rest.split('}').next()?.parse::<usize>().ok()) {
            for number in 0..count {
                stream.write_all(event(number).as_bytes()).ok()?;
            }
        }
        let id = after("\"id\": ").map_or(String::new(), |id| format!(", \"id\": {id}"));
        stream.write_all(format!("{{\"return\": {{}}{id}}}\r\n").as_bytes()).ok()?;
        line.clear();
    }
    Some(())
}

/// As long as the document's five are on average.
fn event(number: usize) -> String {
    format!(
        "{{\"timestamp\": {{\"seconds\": 1795347310, \"microseconds\": 942235}}, \"event\": \"BALLOON_CHANGE\", \
         \"data\": {{\"actual\": {number:0>12}}}}}\r\n"
    )
    .replace("\"actual\": 0", "\"actual\": 1")
}

/// A client that has negotiated.
struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn connect(path: &Path) -> Result<Client, Error> {
        let failed = || format!("cannot connect to {}", path.display());
        let stream = UnixStream::connect(path).context(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).context(failed)?;
        let lines = BufReader::with_capacity(64 << 10, stream.try_clone().context(failed)?);
        let mut client = Client { stream, lines };
        client.line()?;
        client.say("{\"execute\": \"qmp_capabilities\"}\r\n")?;
        client.line()?;
        Ok(client)
    }

    fn say(&mut self, text: &str) -> Result<(), Error> {
        self.stream.write_all(text.as_bytes()).context(|| "cannot ask".to_owned())
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        match self.lines.read_line(&mut line).context(|| "no answer".to_owned())? {
            0 => Err(Error::new("the connection ended")),
            _ => Ok(line),
        }
    }

    /// Reads so many lines, wherever they end.
    fn lines(&mut self, mut left: usize) -> Result<(), Error> {
        let mut bytes = vec![0; 64 << 10];
        while left > 0 {
            let count = self.lines.read(&mut bytes).context(|| format!("{left} events are missing"))?;
            if count == 0 {
                return Err(Error::new(format!("the connection ended with {left} events missing")));
            }
            let ends = bytes.iter().take(count).filter(|byte| **byte == b'\n').count();
            left = left.checked_sub(ends).ok_or_else(|| Error::new("there are more events than there were"))?;
        }
        Ok(())
    }
}

fn round_trips(machine: &Path, shared: &Path) -> Result<(), Error> {
    let (mut direct, mut through) = (Client::connect(machine)?, Client::connect(shared)?);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUND_TRIPS / TURN {
        for (client, took) in [&mut direct, &mut through].into_iter().zip(&mut took) {
            for _ in 0..TURN {
                let begin = Instant::now();
                client.say("{\"execute\": \"query-status\", \"id\": 1}\r\n")?;
                client.line()?;
                took.push(begin.elapsed());
            }
        }
    }
    for (name, mut took) in ["straight to the machine", "through qev share"].into_iter().zip(took) {
        took.sort();
        let at = |part: usize| took.get(took.len() * part / 100).map_or(0.0, |took| 1e6 * took.as_secs_f64());
        print(&format!("a command's round trip, {name}: p50 {:.0} µs, p99 {:.0} µs", at(50), at(99)));
    }
    Ok(())
}

fn events(path: &Path, clients: usize, count: usize, share: Option<&Running>) -> Result<(), Error> {
    let mut asks = Client::connect(path)?;
    let mut others = Vec::new();
    for _ in 1..clients {
        others.push(Client::connect(path)?);
    }
    let usage = || share.map(|share| Usage::of(share.id())).transpose();
    let (before, begin) = (usage()?, Instant::now());
    let readers: Vec<_> = others.into_iter().map(|mut other| thread::spawn(move || other.lines(count))).collect();
    asks.say(&format!("{{\"execute\": \"emit\", \"arguments\": {{\"count\": {count}}}}}\r\n"))?;
    // The reply is behind them.
    asks.lines(count + 1)?;
    for reader in readers {
        reader.join().map_err(|_| Error::new("a reader broke"))??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = match (before, usage()?) {
        (Some(before), Some(after)) => {
            let each = after.cpu.saturating_sub(before.cpu).as_secs_f64() / (count * clients) as f64;
            format!("{:.2} µs", 1e6 * each)
        }
        _ => "-".to_owned(),
    };
    let name = if share.is_some() { clients.to_string() } else { "straight".to_owned() };
    let rate = count as f64 / seconds;
    print(&format!("{name:<10}{rate:>18.0}{:>18.0}{cpu:>16}", rate * clients as f64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_greets_answers_and_emits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || play(theirs));
        let mut client = Client { lines: BufReader::new(ours.try_clone().unwrap()), stream: ours };
        assert!(client.line().unwrap().starts_with("{\"QMP\""));
        client.say("{\"execute\": \"emit\", \"arguments\": {\"count\": 2}, \"id\": 7}\r\n").unwrap();
        assert!(client.line().unwrap().contains("\"actual\": 100000000000}"));
        assert!(client.line().unwrap().contains("\"actual\": 100000000001}"));
        assert_eq!(client.line().unwrap(), "{\"return\": {}, \"id\": 7}\r\n");
    }
}
