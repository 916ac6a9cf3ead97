//! What the journal costs: appending beside a bare loop of SQLite's in the same run, bytes a record, and questions that
//! people ask, over a history of so many records as its argument says, or 1 million.
//!
//! `cargo xtask bench journal 10000000` runs it. Times depend on the machine; the ratios hold. Rounds of the journal and of the
//! bare loop take turns, so that a slow moment of the machine falls on both.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use qev_journal::{Journal, Options, Query, Reader, Synchronous};
use qev_qmp::{Message, Timestamp};
use qev_record::{Filter, Record};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// 2026-11-22T11:35:10Z, where the history begins.
const BEGIN: i64 = 1_795_347_310_000_000;

/// The history is as long as this, however many records it has: two weeks.
const LENGTH: i64 = 14 * 24 * 3600 * 1_000_000;

const HOUR: i64 = 3600 * 1_000_000;

/// So many machines take part in the history, by chance: no block of records has few of them.
const MACHINES: u64 = 8_000;

/// So many machines send what is appended.
const APPENDING: u64 = 100;

/// How many records there are in a group, and how many groups in a round.
const GROUPS: [(usize, usize); 3] = [(1_000, 40), (100, 60), (1, 200)];
const ROUNDS: usize = 5;

fn main() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    appending(&dir);
    questions(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Events as machines that are well send them, and some that are not.
fn event(n: i64, dice: u64) -> String {
    let time = Timestamp::from_micros(received(n, dice) - 300 - i64::try_from(dice % 600).unwrap());
    let disk = ["drive-virtio-disk0", "drive-virtio-disk1", "root", "data"][usize::try_from(dice / 7 % 4).unwrap()];
    let body = match dice % 100 {
        0..25 => format!(
            r#""event": "BALLOON_CHANGE", "data": {{"actual": {}}}"#,
            (512 << 20) + i64::try_from(dice / 100 % 100_000).unwrap() * 4096
        ),
        25..40 => format!(
            r#""event": "RTC_CHANGE", "data": {{"offset": {}, "qom-path": "/machine/unattached/device[9]/rtc"}}"#,
            dice / 100 % 9
        ),
        40..65 => {
            let status = ["created", "running", "waiting", "pending", "concluded", "null"];
            let status = status[usize::try_from(dice / 100 % 6).unwrap()];
            format!(r#""event": "JOB_STATUS_CHANGE", "data": {{"status": "{status}", "id": "backup-{disk}"}}"#)
        }
        65..72 => format!(
            r#""event": "BLOCK_JOB_COMPLETED", "data": {{"device": "backup-{disk}", "len": 10737418240, "offset": 10737418240, "speed": 0, "type": "backup"}}"#
        ),
        72..79 => r#""event": "NIC_RX_FILTER_CHANGED", "data": {"name": "net0", "path": "/machine/peripheral/net0/virtio-backend"}"#.to_owned(),
        79..84 => r#""event": "STOP""#.to_owned(),
        84..89 => r#""event": "RESUME""#.to_owned(),
        89..93 => r#""event": "ACPI_DEVICE_OST", "data": {"info": {"device": "d1", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}}"#.to_owned(),
        93..97 => format!(
            r#""event": "QUORUM_REPORT_BAD", "data": {{"node-name": "c1", "sectors-count": 8, "sector-num": {}, "type": "read"}}"#,
            dice / 100 % 20_000_000
        ),
        97..99 => r#""event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}"#.to_owned(),
        _ => r#""event": "GUEST_PANICKED", "data": {"action": "pause"}"#.to_owned(),
    };
    format!(r#"{{"timestamp": {{"seconds": {}, "microseconds": {}}}, {body}}}"#, time.seconds, time.microseconds)
}

/// When record `n` of a million was received.
fn received(n: i64, dice: u64) -> i64 {
    BEGIN + n + i64::try_from(dice % 997).unwrap()
}

/// The same numbers in every run (splitmix64).
fn dice(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Makes records of machines whose names are kept, as the daemon keeps them.
struct Maker {
    machines: Vec<std::sync::Arc<str>>,
    ids: Vec<std::sync::Arc<str>>,
    sessions: Vec<std::sync::Arc<str>>,
    host: std::sync::Arc<str>,
}

impl Maker {
    fn new(machines: u64) -> Maker {
        let id = |n: u64| format!("{:08x}-{:04x}-4000-8000-{:012x}", n, n, dice(n) >> 16);
        Maker {
            machines: (0..machines).map(|n| format!("vm{n:04}").into()).collect(),
            ids: (0..machines).map(|n| id(n).into()).collect(),
            sessions: (0..machines).map(|n| format!("{}-{}", 2000 + n, dice(n) % 100_000_000).into()).collect(),
            host: "host1.example.org".into(),
        }
    }

    /// Record `n`, received so many microseconds after the beginning.
    fn record(&self, n: usize, at: i64) -> Record {
        let (dice, machines) = (dice(u64::try_from(n).unwrap()), u64::try_from(self.machines.len()).unwrap());
        let machine = usize::try_from(dice % machines).unwrap();
        let line = event(at, dice / machines);
        let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("not an event: {line}") };
        let received = Timestamp::from_micros(received(at, dice / machines));
        let mut record = Record::event(self.host.clone(), self.machines[machine].clone(), received, &event);
        record.machine_id = Some(self.ids[machine].clone());
        record.session = Some(self.sessions[machine].clone());
        record
    }

    fn records(&self, from: usize, count: usize, between: i64) -> Vec<Record> {
        (from..from + count).map(|n| self.record(n, i64::try_from(n).unwrap() * between)).collect()
    }
}

/// One table, no index, the record's members as columns: what one would write without a journal.
struct Bare {
    db: Connection,
    next: i64,
}

impl Bare {
    fn new(path: &Path) -> Bare {
        let db = Connection::open(path).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE record(seq INTEGER PRIMARY KEY, kind TEXT, host TEXT, machine TEXT, machine_id TEXT,
                 session TEXT, received INTEGER, severity TEXT, summary TEXT, event TEXT, timestamp INTEGER, data TEXT);",
        )
        .unwrap();
        Bare { db, next: 1 }
    }

    fn append(&mut self, records: &[Record]) {
        let transaction = self.db.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")
                .unwrap();
            for record in records {
                insert
                    .execute(params![
                        self.next,
                        record.kind.as_str(),
                        record.host,
                        record.machine,
                        record.machine_id,
                        record.session,
                        record.received.micros(),
                        record.severity.as_str(),
                        record.summary,
                        record.event.as_ref().map(qev_qmp::EventName::as_str),
                        record.timestamp.and_then(Timestamp::micros),
                        record.data.as_ref().map(qev_qmp::Json::as_text),
                    ])
                    .unwrap();
                self.next += 1;
            }
        }
        transaction.commit().unwrap();
    }
}

fn appending(dir: &Path) {
    let maker = Maker::new(APPENDING);
    println!("appending, on disk after each group; the median of {ROUNDS} rounds that take turns");
    println!("{:>10} {:>18} {:>18} {:>8}", "a group", "journal, a second", "bare, a second", "ratio");
    let mut bytes = None;
    for (group, groups) in GROUPS {
        let (kept, bare) = (dir.join(format!("journal-{group}")), dir.join(format!("bare-{group}.db")));
        let mut journal = Journal::open(&kept, Options::default()).unwrap();
        let mut loop_of_sqlite = Bare::new(&bare);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let mut records = maker.records(round * group * groups, group * groups, 1_000);
            let begin = Instant::now();
            for group in records.chunks(group) {
                loop_of_sqlite.append(group);
            }
            theirs.push(begin.elapsed());
            let begin = Instant::now();
            for group in records.chunks_mut(group) {
                journal.append(group).unwrap();
            }
            ours.push(begin.elapsed());
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let rate = |time: Duration| (group * groups) as f64 / time.as_secs_f64();
        let ratio = rate(ours) / rate(theirs);
        println!("{group:>10} {:>18.0} {:>18.0} {ratio:>8.2}", rate(ours), rate(theirs));
        if bytes.is_none() {
            let lines = maker.records(0, group * groups * ROUNDS, 1_000);
            let line: usize = lines.iter().map(|record| record.to_line().len() + 1).sum();
            drop(journal);
            loop_of_sqlite.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            let records = lines.len();
            let each = |bytes: u64| bytes as f64 / records as f64;
            bytes = Some((each(size(&kept)), each(size(&bare)), line as f64 / records as f64));
        }
    }
    if let Some((journal, bare, line)) = bytes {
        println!("\nbytes a record: journal {journal:.0}, bare table {bare:.0}, line of JSON {line:.0}\n");
    }
}

fn questions(dir: &Path) {
    // Cargo adds an argument of its own.
    let count = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let count = count.map_or(1_000_000, |count| count.parse::<usize>().unwrap());
    let dir = dir.join("history");
    let maker = Maker::new(MACHINES);
    let between = LENGTH / i64::try_from(count).unwrap();
    let mut journal = Journal::open(&dir, Options::default().synchronous(Synchronous::Off)).unwrap();
    let begin = Instant::now();
    let mut inside = Duration::ZERO;
    for from in (0..count).step_by(10_000) {
        let mut group = maker.records(from, 10_000.min(count - from), between);
        let begin = Instant::now();
        journal.append(&mut group).unwrap();
        inside += begin.elapsed();
    }
    let segments = std::fs::read_dir(&dir).unwrap().filter(|entry| is_segment(&entry.as_ref().unwrap().path())).count();
    println!(
        "{count} records of {MACHINES} machines over two weeks: {segments} segments, {} MiB, {:.0} bytes a record, \
         made in {:.0} s, of which {:.1} s in the journal",
        size(&dir) >> 20,
        size(&dir) as f64 / count as f64,
        begin.elapsed().as_secs_f64(),
        inside.as_secs_f64()
    );
    drop(journal);
    let begin = Instant::now();
    drop(Journal::open(&dir, Options::default()).unwrap());
    println!("{:<44}{:>10.1} ms", "opened", begin.elapsed().as_secs_f64() * 1e3);

    let reader = Reader::open(&dir).unwrap();
    let of_machine = |glob: &str| Filter { machines: vec![glob.parse().unwrap()], ..Filter::default() };
    let at = |micros: i64| Some(Timestamp::from_micros(BEGIN + micros));
    let hour = Filter { since: at(LENGTH / 2), until: at(LENGTH / 2 + HOUR), ..Filter::default() };
    let panics = Filter { events: vec!["GUEST_PANICKED".parse().unwrap()], ..of_machine("vm4711") };
    let newest = |filter: Filter, limit| Query { filter, newest_first: true, limit, ..Query::default() };
    let rows: [(&str, Query); 6] = [
        ("last 100", newest(Filter::default(), Some(100))),
        ("last 100 of a machine", newest(of_machine("vm4711"), Some(100))),
        ("last 100 of a machine that is not there", newest(of_machine("nobody"), Some(100))),
        ("an hour of last week", Query { filter: hour.clone(), ..Query::default() }),
        ("all panics of a machine", Query { filter: panics, ..Query::default() }),
        ("everything", Query::default()),
    ];
    for (name, query) in rows {
        let begin = Instant::now();
        let found = reader.records(&query).map(Result::unwrap).count();
        println!("{name:<44}{:>10.1} ms  {found} records", begin.elapsed().as_secs_f64() * 1e3);
    }
    let rows = [
        ("count by event", Filter::default()),
        ("count by event, an hour of last week", hour),
        ("count by event, a machine", of_machine("vm4711")),
    ];
    for (name, filter) in rows {
        let begin = Instant::now();
        let counts = reader.count(&Query { filter, ..Query::default() });
        assert!(counts.errors.is_empty());
        println!("{name:<44}{:>10.1} ms  {} records", begin.elapsed().as_secs_f64() * 1e3, counts.records());
    }
    let begin = Instant::now();
    let report = reader.check().unwrap();
    assert!(report.is_sound() && report.records() == u64::try_from(count).unwrap(), "{report}");
    println!("{:<44}{:>10.1} ms", "check", begin.elapsed().as_secs_f64() * 1e3);
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "qev")
}

/// The bytes of a file, or of all files in a directory.
fn size(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum(),
        Err(_) => path.metadata().unwrap().len(),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
