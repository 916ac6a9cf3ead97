//! What it costs to emit an event to 1, 100 and 1,000 clients, beside a loop that writes the same bytes to as many sockets.
//!
//! Run it with `cargo xtask bench emit`. The times hold for the machine that it runs on; the ratio is what counts. Readers
//! are threads of their own and are not counted: only what the emitting thread takes of a CPU.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints ratios")]

use qev_link::{MonitorOptions, Server};
use qev_qmp::event::BalloonChange;
use qev_qmp::{Dialect, Event, Greeting, QemuVersion, Timestamp};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many messages are written in one measurement, to all clients together.
const MESSAGES: usize = 200_000;

/// What one measurement came to.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

fn event(number: usize) -> Event {
    let balloon = BalloonChange::new(i64::try_from(number).unwrap() + (1 << 30)).into();
    Event::new(&balloon, Some(Timestamp { seconds: 1_795_347_328, microseconds: 964_376 }), Dialect::Qemu)
}

/// How long this thread has run on a CPU.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Reads all of these until each has had so many lines of events.
fn read_all(mut clients: Vec<UnixStream>, events: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (place, client) in clients.iter().enumerate() {
            client.set_nonblocking(true).unwrap();
            let place = epoll::EventData::new_u64(u64::try_from(place).unwrap());
            epoll::add(&epoll, client, place, epoll::EventFlags::IN).unwrap();
        }
        let mut left = vec![events; clients.len()];
        let mut open = clients.len();
        let mut space = vec![0; 64 << 10];
        let mut ready = Vec::with_capacity(256);
        while open > 0 {
            ready.clear();
            epoll::wait(&epoll, spare_capacity(&mut ready), None).unwrap();
            for event in &ready {
                let place = usize::try_from(event.data.u64()).unwrap();
                let Ok(read) = clients[place].read(&mut space) else { continue };
                assert!(read > 0, "a client was cut off");
                let lines = space[..read].iter().filter(|byte| **byte == b'\n').count();
                let before = left[place];
                left[place] = before.saturating_sub(lines);
                if before > 0 && left[place] == 0 {
                    open -= 1;
                }
            }
        }
    })
}

/// The server's task, and it alone, has the thread.
fn emit(clients: usize) -> Took {
    let events = MESSAGES / clients;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let greeting =
            Greeting { version: QemuVersion::new(7, 2, 22), package: "benchmark".to_owned(), capabilities: Vec::new() };
        let server = Server::builder(greeting).unthrottled().start().await.unwrap();
        let mut readers = Vec::new();
        let mut served = Vec::new();
        for _ in 0..clients {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = tokio::net::UnixStream::from_std(ours).unwrap();
            served.push(server.over(ours, MonitorOptions::default()).await.unwrap());
            theirs.write_all(b"{\"execute\": \"qmp_capabilities\"}").unwrap();
            readers.push(theirs);
        }
        // Greeted and negotiated: the reply is there.
        for reader in &mut readers {
            reader.set_nonblocking(true).unwrap();
            let mut said = Vec::new();
            while said.iter().filter(|byte| **byte == b'\n').count() < 2 {
                let mut space = [0; 1024];
                match reader.read(&mut space) {
                    Ok(read) => said.extend_from_slice(&space[..read]),
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
        let reading = read_all(readers, events);
        let (begun, on_cpu) = (Instant::now(), cpu());
        for number in 0..events {
            server.emit(event(number)).await.unwrap();
        }
        while !reading.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Took { wall: begun.elapsed(), cpu: cpu() - on_cpu }
    })
}

/// As little as it can be: a line is made once, and written to each.
fn raw(clients: usize) -> Took {
    let events = MESSAGES / clients;
    let (mut writers, readers): (Vec<_>, Vec<_>) = (0..clients).map(|_| UnixStream::pair().unwrap()).unzip();
    let reading = read_all(readers, events);
    let (begun, on_cpu) = (Instant::now(), cpu());
    for number in 0..events {
        let line = event(number).to_line() + "\r\n";
        for writer in &mut writers {
            writer.write_all(line.as_bytes()).unwrap();
        }
    }
    let cpu = cpu() - on_cpu;
    reading.join().unwrap();
    Took { wall: begun.elapsed(), cpu }
}

/// Pairs of sockets, and some besides.
fn raise_open_files(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |hard| hard.min(wanted)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).unwrap();
    }
}

fn median(mut tooks: Vec<Took>) -> Took {
    tooks.sort_unstable_by_key(|took| took.cpu);
    tooks[tooks.len() / 2]
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let (rounds, sizes) =
        if std::env::args().any(|arg| arg == "--bench") { (5, &[1, 100, 1000][..]) } else { (1, &[10][..]) };
    raise_open_files(4096);
    println!(
        "{:<10}{:>16}{:>18}{:>18}{:>22}{:>14}",
        "clients", "events a second", "messages a second", "ns CPU a message", "of the raw loop's CPU", "of its time"
    );
    for clients in sizes {
        // Turn by turn, so that what else the machine does falls on both.
        let (mut emitted, mut written) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            emitted.push(emit(*clients));
            written.push(raw(*clients));
        }
        let (emitted, written) = (median(emitted), median(written));
        let events = (MESSAGES / clients) as f64;
        let messages = events * *clients as f64;
        println!(
            "{clients:<10}{:>16.0}{:>18.0}{:>18.0}{:>22.2}{:>14.2}",
            events / emitted.wall.as_secs_f64(),
            messages / emitted.wall.as_secs_f64(),
            emitted.cpu.as_nanos() as f64 / messages,
            emitted.cpu.as_secs_f64() / written.cpu.as_secs_f64(),
            emitted.wall.as_secs_f64() / written.wall.as_secs_f64(),
        );
    }
}
