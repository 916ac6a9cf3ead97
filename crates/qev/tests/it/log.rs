//! `qev log`: the history from the journal's files, and what comes from a daemon. Where a daemon is needed a stand-in plays
//! it, line by line.

use crate::program::{Lines, Running, Scratch, qev, run, stderr, stdout, text};
use qev_journal::{Journal, Options};
use qev_qmp::{Message, Timestamp};
use qev_record::Record;
use qev_record::record::Gap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Output;

/// 2026-11-22 11:35:10 UTC.
const START: i64 = 1_795_347_310;

/// Number `n`, `n` hours after the start.
fn event(machine: &str, name: &str, n: i64) -> Record {
    let line = format!(r#"{{"event": "{name}", "data": {{"n": {n}, "action": "pause"}}}}"#);
    let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
    Record::event("h1", machine, Timestamp::from_micros((START + n * 3600) * 1_000_000), &event)
}

/// A state directory with a journal of twenty records: web1 stops at every even number, db1 resumes at every odd one, and
/// panics at the last.
pub(crate) fn state() -> Scratch {
    let scratch = Scratch::new();
    append(&scratch, 1..=20);
    scratch
}

fn append(scratch: &Scratch, numbers: std::ops::RangeInclusive<i64>) {
    let mut journal = Journal::open(scratch.path("journal").as_ref(), Options::default()).unwrap();
    let mut records: Vec<Record> = numbers
        .map(|n| match n {
            20 => event("db1", "GUEST_PANICKED", n),
            n if n % 2 == 0 => event("web1", "STOP", n),
            n => event("db1", "RESUME", n),
        })
        .collect();
    journal.append(&mut records).unwrap();
}

pub(crate) fn log(scratch: &Scratch, arguments: &[&str]) -> Output {
    let mut command = qev(&["log", "--state-dir", &scratch.path("")]);
    command.args(arguments).env("TZ", "UTC").output().expect("qev runs")
}

fn seqs(output: &Output) -> Vec<u64> {
    stdout(output).lines().map(|line| Record::parse(line).unwrap().seq.unwrap()).collect()
}

pub(crate) fn check(scratch: &Scratch, arguments: &[&str], expected: &[u64]) {
    let output = log(scratch, &[arguments, &["-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    assert_eq!(seqs(&output), expected, "{arguments:?}");
}

#[test]
fn the_history_is_read_from_the_files_when_no_daemon_runs() {
    let state = state();
    check(&state, &[], &(1..=20).collect::<Vec<_>>());
    check(&state, &["-n", "3"], &[18, 19, 20]);
    check(&state, &["-n", "0"], &[]);
    check(&state, &["-r", "-n", "3"], &[20, 19, 18]);
    check(&state, &["--after", "17"], &[18, 19, 20]);
    check(&state, &["--after", "15", "-n", "2"], &[19, 20]);
    check(&state, &["-m", "web*", "-n", "2"], &[16, 18]);
    check(&state, &["-e", "guest_*"], &[20]);
    check(&state, &["--severity", "critical"], &[20]);
    check(&state, &["-w", "data.n=7"], &[7]);
    check(&state, &["--since", &format!("@{}", START + 18 * 3600)], &[18, 19, 20]);
    check(&state, &["--until", "2026-11-22 13:35:10"], &[1, 2]);
    check(&state, &["--since", "2026-11-22T13:00:00Z", "--until", "2026-11-22 14:00"], &[2]);
}

#[test]
fn people_see_the_date_where_it_changes() {
    let state = state();
    let output = log(&state, &["--after", "10", "-n", "4"]);
    let printed = stdout(&output);
    assert!(!printed.contains("-- Sun"), "{printed}");
    let output = log(&state, &["-e", "RESUME", "--after", "10"]);
    let lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "-- Sun 2026-11-22 --");
    assert!(lines[1].contains("22:35:10.000") && lines[1].contains("RESUME"), "{lines:?}");
    assert_eq!(lines[2], "-- Mon 2026-11-23 --");
    assert_eq!(lines.len(), 2 + 1 + 4);
}

/// A time zone as zoneinfo has it (RFC 8536, version 2): nothing but the rule at its end.
fn zone(rule: &str) -> Vec<u8> {
    let header = |types: u8, letters: u8| {
        let mut header = b"TZif2".to_vec();
        header.extend([0; 15]);
        // Counts, four bytes each: marks of UT and of standard time, leap seconds, transitions, types, letters.
        header.extend([0, 0, 0, 0, types, letters].into_iter().flat_map(|count| [0, 0, 0, count]));
        header
    };
    let one_type = [&[0; 6][..], b"UTC\0"].concat();
    [&header(1, 4)[..], &one_type, &header(1, 4), &one_type, format!("\n{rule}\n").as_bytes()].concat()
}

#[test]
fn a_time_zone_is_read_from_those_of_the_system() {
    let scratch = state();
    std::fs::create_dir_all(scratch.path("zones/Here")).unwrap();
    std::fs::write(scratch.path("zones/Here/Now"), zone("<+0530>-5:30")).unwrap();
    let shown = |zone: &str| {
        let mut command = qev(&["log", "--state-dir", &scratch.path(""), "-n", "1"]);
        command.env("TZDIR", scratch.path("zones")).env("TZ", zone).output().unwrap()
    };
    let time = |output: &Output| stdout(output).lines().last().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let in_utc = shown("UTC");
    assert_eq!(stderr(&in_utc), "");
    let here = shown("Here/Now");
    assert_eq!(stderr(&here), "");
    let minutes = |time: &str| -> u32 { time[..2].parse::<u32>().unwrap() * 60 + time[3..5].parse::<u32>().unwrap() };
    assert_eq!(minutes(&time(&here)), (minutes(&time(&in_utc)) + 330) % 1440);

    let nowhere = shown("No/Where");
    assert_eq!(time(&nowhere), time(&in_utc));
    let told = "qev: TZ=No/Where: this computer has no such time zone in /usr/share/zoneinfo (package tzdata), so times are \
                in UTC\n";
    assert_eq!(stderr(&nowhere), told);
}

#[test]
fn what_is_wrong_with_a_call_is_said() {
    let scratch = Scratch::new();
    let none = log(&scratch, &[]);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("journal"), "{}", stderr(&none));
    let soon = log(&scratch, &["--since", "soon"]);
    assert_eq!(soon.status.code(), Some(2));
    assert!(stderr(&soon).contains("'soon' is not a time: expected one such as -1h"), "{}", stderr(&soon));
    assert_eq!(log(&scratch, &["-f", "-r"]).status.code(), Some(2));
}

#[test]
fn a_journal_is_checked() {
    let state = state();
    let whole = log(&state, &["--check"]);
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    assert_eq!(stdout(&whole), "the journal is whole: 20 records in 1 segment\n");
    let segment = state.path("journal/00000000000000000001.qev");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096..].fill(0x55);
    std::fs::write(&segment, bytes).unwrap();
    let damaged = log(&state, &["--check"]);
    assert_eq!(damaged.status.code(), Some(1), "{}", stdout(&damaged));
    assert!(stdout(&damaged).starts_with("the journal is not whole: "), "{}", stdout(&damaged));
}

#[test]
fn a_journal_of_another_format_is_told_and_is_no_success() {
    for format in [0, 2] {
        let state = state();
        let segment = state.path("journal/00000000000000000001.qev");
        let mut bytes = std::fs::read(&segment).unwrap();
        // Where SQLite keeps `user_version`.
        bytes[60..64].copy_from_slice(&[0, 0, 0, format]);
        std::fs::write(&segment, bytes).unwrap();
        for arguments in [&[][..], &["-n", "3"], &["-r"], &["-m", "web1"], &["--check"]] {
            let output = log(&state, arguments);
            let said = [stdout(&output), stderr(&output)].concat();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains(&format!("has format {format}, this qev knows 1: ")), "{said}");
            assert_eq!(said.contains("use a newer qev"), format == 2, "{said}");
        }
    }
}

/// A daemon that answers one request after the other as it is told.
struct StandIn(UnixListener);

impl StandIn {
    fn start(scratch: &Scratch) -> StandIn {
        let path = scratch.path("qev.sock");
        let _ = std::fs::remove_file(&path);
        StandIn(UnixListener::bind(path).unwrap())
    }

    /// Takes a request, which must be this one, and answers; the connection stays open for as long as it is kept.
    fn answer(&self, request: &str, lines: &[String]) -> UnixStream {
        let (mut stream, _) = self.0.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(line, format!("{request}\n"));
        for line in lines {
            // Who has seen enough may be gone.
            let _ = writeln!(stream, "{line}");
        }
        stream
    }
}

/// A record's line, as a daemon that keeps a journal has it.
fn kept(record: Record, seq: u64) -> String {
    let mut record = record;
    record.seq = Some(seq);
    record.to_line()
}

fn end(last: u64) -> String {
    format!("{{\"end\":{{\"last\":{last}}}}}")
}

fn following(scratch: &Scratch, arguments: &[&str]) -> (Running, Lines) {
    let mut command = qev(&["log", "-f", "-o", "json", "--state-dir", &scratch.path("")]);
    command.args(arguments);
    Running::with_lines(command)
}

const LAST: &str = r#"{"request":"log","limit":1,"newest_first":true}"#;

fn next_seq(lines: &mut Lines) -> String {
    text(&lines.record(), "seq").expect("a sequence number")
}

#[test]
fn following_begins_with_the_files_and_goes_on_with_any_number_of_daemons() {
    let state = state();
    let (_running, mut lines) = following(&state, &["-m", "web1"]);
    for n in 1..=9 {
        assert_eq!(next_seq(&mut lines), (2 * n).to_string());
    }
    // The last of the files was 20, whosever it was.
    let daemon = StandIn::start(&state);
    let request = |after| format!(r#"{{"request":"log","machines":["web1"],"after":{after},"follow":true}}"#);
    let mut connection = daemon.answer(&request(20), &[kept(event("web1", "STOP", 21), 21)]);
    // Whether it is the same journal.
    drop(daemon.answer(LAST, &[kept(event("db1", "STOP", 21), 21), end(21)]));
    assert_eq!(next_seq(&mut lines), "21");
    // What is not kept is shown, and does not move the cursor.
    let mut marked = event("web1", "STOP", 22);
    marked.durable = Some(false);
    writeln!(connection, "{}", marked.to_line()).unwrap();
    let shown = lines.record();
    assert_eq!((text(&shown, "durable").as_deref(), text(&shown, "seq")), (Some("false"), None));
    // Half a line, and the daemon is killed: it counts as not said.
    let whole = kept(event("web1", "STOP", 22), 22);
    connection.write_all(&whole.as_bytes()[..40]).unwrap();
    drop((connection, daemon));

    // It may have kept more than it could say.
    append(&state, 21..=23);
    let daemon = StandIn::start(&state);
    let after = {
        let (stream, _) = daemon.0.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        drop(daemon.answer(LAST, &[kept(event("web1", "STOP", 24), 24), end(24)]));
        let after: u64 = line.split("\"after\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        // By the files or from here: each record comes once.
        for n in (22..=24).filter(|n| *n % 2 == 0 && *n > after) {
            writeln!(&stream, "{}", kept(event("web1", "STOP", i64::try_from(n).unwrap()), n)).unwrap();
        }
        assert_eq!(next_seq(&mut lines), "22");
        assert_eq!(next_seq(&mut lines), "24");
        after
    };
    assert!((21..=23).contains(&after), "{after}");
}

#[test]
fn a_daemon_that_runs_is_asked() {
    let state = state();
    let daemon = StandIn::start(&state);
    let asked = std::thread::spawn({
        let state_dir = state.path("");
        move || run(&["log", "-n", "2", "-e", "STOP", "-o", "json", "--state-dir", &state_dir])
    });
    let request = r#"{"request":"log","events":["STOP"],"limit":2,"gaps":true,"newest_first":true}"#;
    let lines = [kept(event("a", "STOP", 9), 9), kept(event("a", "STOP", 5), 5), end(9)];
    drop(daemon.answer(request, &lines));
    assert_eq!(seqs(&asked.join().unwrap()), [5, 9]);

    let asked = std::thread::spawn({
        let state_dir = state.path("");
        move || run(&["log", "-o", "json", "--state-dir", &state_dir])
    });
    drop(daemon.answer(r#"{"request":"log"}"#, &[r#"{"problem":"segment 7 is damaged"}"#.to_owned(), end(9)]));
    let output = asked.join().unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), "qev: segment 7 is damaged\n"));
}

const WEB1: &str = r#"{"machine":"web1","session":"7","state":"attached","events":0}"#;
const MACHINES: &str = r#"{"request":"machines"}"#;

fn of_web1(after: u64, follow: bool) -> String {
    let follow = if follow { r#","others":true,"follow":true"# } else { r#","others":true"# };
    format!(r#"{{"request":"log","machines":["web1"],"after":{after}{follow}}}"#)
}

#[test]
fn waiting_for_a_machine_by_name_looks_into_the_history_first() {
    let scratch = Scratch::new();
    let daemon = StandIn::start(&scratch);
    let start = |more: &'static [&'static str]| {
        let state_dir = scratch.path("");
        std::thread::spawn(move || {
            run(&[&["wait", "web1", "SHUTDOWN", "-o", "json", "--state-dir", &state_dir], more].concat())
        })
    };
    // It is there already.
    let waiting = start(&["--after", "3"]);
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    drop(daemon.answer(&of_web1(3, false), &[kept(event("web1", "SHUTDOWN", 5), 5), end(9)]));
    let output = waiting.join().unwrap();
    assert_eq!((output.status.code(), seqs(&output)), (Some(0), vec![5]), "{}", stderr(&output));

    // It comes later, and nothing lies between.
    let waiting = start(&["--after", "3"]);
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    drop(daemon.answer(&of_web1(3, false), &[kept(event("web1", "STOP", 11), 11), end(12)]));
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(12)]));
    let connection = daemon.answer(&of_web1(11, true), &[kept(event("web1", "SHUTDOWN", 13), 13)]);
    let output = waiting.join().unwrap();
    assert_eq!((output.status.code(), seqs(&output)), (Some(0), vec![13]), "{}", stderr(&output));
    drop(connection);

    // The daemon goes away.
    let waiting = start(&[]);
    for _ in 0..2 {
        drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    }
    drop(daemon.answer(&of_web1(9, true), &[]));
    let output = waiting.join().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("ended before SHUTDOWN came"), "{}", stderr(&output));

    // The machine does, while another process of it is still there; then that one does, too.
    let waiting = start(&[]);
    for _ in 0..2 {
        drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    }
    let detached = |session: &str, seq| {
        let mut record = Record::detached("h1", "web1", Timestamp::from_micros(0), "killed");
        record.session = Some(session.into());
        kept(record, seq)
    };
    let mut connection = daemon.answer(&of_web1(9, true), &[detached("6", 10)]);
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(10)]));
    writeln!(connection, "{}", detached("7", 11)).unwrap();
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(11)]));
    let output = waiting.join().unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(4), "qev: web1: killed before SHUTDOWN came\n"));
}

#[test]
fn a_command_is_started_when_the_daemon_is_asked_for_what_it_causes() {
    let scratch = Scratch::new();
    let daemon = StandIn::start(&scratch);
    let state_dir = scratch.path("");
    let waiting = std::thread::spawn(move || {
        run(&["wait", "web1", "STOP", "-o", "json", "--state-dir", &state_dir, "--", "sh", "-c", "exit 7"])
    });
    for _ in 0..2 {
        drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    }
    let connection = daemon.answer(&of_web1(9, true), &[kept(event("web1", "STOP", 10), 10)]);
    assert_eq!(waiting.join().unwrap().status.code(), Some(7));
    drop(connection);
}

#[test]
fn watching_a_machine_by_name_shows_what_the_daemon_records_of_it() {
    let scratch = Scratch::new();
    let daemon = StandIn::start(&scratch);
    let (mut running, mut lines) =
        Running::with_lines(qev(&["watch", "web1", "-e", "STOP", "-o", "json", "--state-dir", &scratch.path("")]));
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    let said = [kept(event("web1", "RESUME", 10), 10), kept(event("web1", "STOP", 11), 11)];
    let connection = daemon.answer(&of_web1(9, true), &said);
    assert_eq!(next_seq(&mut lines), "11");
    drop(connection);
    assert_eq!(running.status(), 4);
}

#[test]
fn a_name_that_nobody_has_is_told_with_those_that_are() {
    let scratch = Scratch::new();
    let output = run(&["watch", "web1", "--state-dir", &scratch.path("")]);
    assert_eq!(output.status.code(), Some(10));
    let expected = "start it with qev serve, or say where its state is with --state-dir";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));

    let daemon = StandIn::start(&scratch);
    let state_dir = scratch.path("");
    let watching = std::thread::spawn(move || run(&["watch", "wbe1", "--state-dir", &state_dir]));
    drop(daemon.answer(MACHINES, &[WEB1.to_owned(), end(9)]));
    let output = watching.join().unwrap();
    assert_eq!(output.status.code(), Some(10));
    let expected = "qev: the daemon knows no machine wbe1: did you mean web1?; there are: web1\n";
    assert_eq!(stderr(&output), expected);

    let output = run(&["send", "web1", "stop"]);
    assert_eq!(output.status.code(), Some(10));
    assert!(stderr(&output).starts_with("qev: there is no socket named 'web1' here; "), "{}", stderr(&output));
    let output = run(&["wait", "tcp:localhost:1", "STOP", "--after", "3"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_answer_that_is_none_ends_it() {
    let scratch = Scratch::new();
    let daemon = StandIn::start(&scratch);
    let state_dir = scratch.path("");
    let asked = std::thread::spawn(move || run(&["log", "--state-dir", &state_dir]));
    let mut connection = daemon.answer(r#"{"request":"log"}"#, &["QEMU 7.2.22 monitor - \u{1b}[2J".to_owned()]);
    let output = asked.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "qev: not an answer of a daemon of this version: QEMU 7.2.22 monitor - \\u{1b}[2J\n";
    assert_eq!(stderr(&output), expected);
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest);
}

#[test]
fn who_asks_for_certain_events_is_told_where_some_may_be_missing() {
    let state = state();
    let gap = |machine: &str, missed: &[&str]| {
        let missed = missed.iter().map(|name| ((*name).into(), 1)).collect();
        let received = Timestamp::from_micros((START + 21 * 3600) * 1_000_000);
        Record::gap("h1", machine, received, Gap { missed, ..Gap::default() }, "not attached")
    };
    let mut journal = Journal::open(state.path("journal").as_ref(), Options::default()).unwrap();
    let attached = Record::attached("h1", "web1", Timestamp::from_micros(START * 1_000_000));
    journal.append(&mut [gap("web1", &[]), gap("web1", &["STOP"]), gap("db1", &[]), attached]).unwrap();
    drop(journal);
    check(&state, &["-m", "web1", "-e", "STOP", "--after", "17"], &[18, 21, 22]);
    check(&state, &["-m", "web1", "-e", "STOP", "-n", "2"], &[21, 22]);
    check(&state, &["-m", "web1", "-e", "RESUME"], &[21]);
    check(&state, &["-w", "data.n=19"], &[19, 21, 22, 23]);
    check(&state, &["-e", "STOP", "-w", "kind=event", "--after", "17"], &[18]);
    check(&state, &["-e", "STOP", "--until", "2026-11-22T20:00:00Z"], &[2, 4, 6, 8]);
    check(&state, &["-m", "web1", "--severity", "error"], &[22]);
}
