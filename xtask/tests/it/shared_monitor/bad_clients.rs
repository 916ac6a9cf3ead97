//! Clients that do not read, stop half-way, never end, leave in the middle, or are a thousand: QEMU and the others notice
//! nothing, and what all of them cost is bounded.

use std::io::Read as _;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xtask::lab::monitor::Monitor;

use super::{Client, NEGOTIATE, NEGOTIATE_OOB, Shared, until};

/// How much memory all clients may take together, in bytes.
const BUDGET: u64 = 64 << 20;

/// The memory that is a process's own, in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// QEMU does what it is told, and a client of the shared monitor hears of it and is answered.
fn all_is_well(shared: &Shared, direct: &mut Monitor, other: &mut Client, what: &str) {
    let begun = Instant::now();
    for command in ["stop", "cont"] {
        direct.execute(&format!("{{\"execute\": \"{command}\"}}")).unwrap();
    }
    while !other.line().contains("RESUME") {}
    other.say(b"{\"execute\": \"query-name\", \"id\": 7}");
    assert_eq!(other.reply(), "{\"return\": {\"name\": \"web1\"}, \"id\": 7}");
    let mib = memory(shared.share.id()) >> 20;
    eprintln!("{what}: answered and heard within {:?}, memory {mib} MiB", begun.elapsed());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn qemu_and_the_others_notice_nothing_of_bad_clients() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
    let mut shared = Shared::start(&["-M", "none"], &["--allow", "operate"]);
    let idle = memory(shared.share.id());
    let mut direct = Monitor::connect(&shared.direct).unwrap();
    let mut other = shared.client();
    all_is_well(&shared, &mut direct, &mut other, "nobody else");

    // Large replies, of which nothing is read, and events behind them.
    let mut deaf: Vec<Client> = (0..20).map(|_| Client::connect(&shared.path, NEGOTIATE_OOB)).collect();
    for client in &mut deaf {
        client.say("{\"execute\": \"query-qmp-schema\"}".repeat(8).as_bytes());
    }
    for _ in 0..2000 {
        direct.execute("{\"execute\": \"stop\"}").unwrap();
        direct.execute("{\"execute\": \"cont\"}").unwrap();
    }
    all_is_well(&shared, &mut direct, &mut other, "20 that do not read");

    let half: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = shared.client();
            client.say(b"{\"execute\": \"query-na");
            client
        })
        .collect();
    all_is_well(&shared, &mut direct, &mut other, "20 that stop half-way");

    for _ in 0..5 {
        let mut endless = shared.client();
        let begun = "{\"execute\": \"query-name\", \"arguments\": {\"x\": [";
        endless.say(begun.as_bytes());
        while std::io::Write::write_all(&mut endless.stream, "[],".repeat(10_000).as_bytes()).is_ok() {}
        let mut told = String::new();
        // The end may be a reset: it never read what we still had to say.
        let _ = endless.lines.read_to_string(&mut told);
        assert!(told.contains("qev closes this connection: a request may take 4 MiB while it is not whole"), "{told}");
    }
    all_is_well(&shared, &mut direct, &mut other, "5 that never end");

    for _ in 0..50 {
        let mut leaving = shared.client();
        leaving.say(b"{\"execute\": \"query-qmp-schema\"}{\"execute\": \"query-qmp-schema\"}");
        let mut some = [0; 1000];
        leaving.lines.read_exact(&mut some).unwrap();
    }
    all_is_well(&shared, &mut direct, &mut other, "50 that left in the middle of a reply");

    let mut many: Vec<Client> = (0..950).map(|_| Client::connect(&shared.path, NEGOTIATE)).collect();
    all_is_well(&shared, &mut direct, &mut other, "1,000 at once");
    for client in &mut many {
        assert!(client.line().contains("STOP") && client.line().contains("RESUME"));
    }
    let most = memory(shared.share.id());
    eprintln!("qev share: {} MiB without clients, {} MiB with all of them", idle >> 20, most >> 20);
    assert!(most < idle + BUDGET, "{most}");

    // The half requests were waited for, and who reads at last gets all of it.
    for mut client in half {
        client.say(b"me\"}");
        assert_eq!(client.reply(), "{\"return\": {\"name\": \"web1\"}}");
    }
    let mut client = deaf.remove(0);
    for _ in 0..8 {
        assert!(client.reply().contains("\"meta-type\""));
    }
    drop((deaf, many));
    until("QEMU runs", || shared.qemu.status().unwrap().is_none());
    assert!(shared.share.status().unwrap().is_none());
}
