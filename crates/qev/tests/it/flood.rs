//! Local users that connect to the daemon's attach socket and mean no good.

use crate::daemon::{Daemon, History, PATIENCE};
use crate::program::Scratch;
use qev_record::Kind;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// A QEMU that exists as far as it is asked: a monitor that a test speaks for.
pub(crate) struct Speaker {
    pub(crate) stream: UnixStream,
}

impl Speaker {
    /// Dials, greets, and answers what the daemon asks on attach. `name` is what `query-name` returns.
    pub(crate) fn attach(path: &str, name: &str) -> Speaker {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let version = r#"{"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}"#;
        write!(stream, "{{\"QMP\": {{\"version\": {version}, \"capabilities\": []}}}}\r\n").unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap()).lines();
        // The negotiation and six questions.
        for _ in 0..7 {
            let request = requests.next().unwrap().unwrap();
            let id = request.rsplit("\"id\": ").next().unwrap().trim_end_matches('}').to_owned();
            let returned =
                if request.contains("query-name") { format!("{{\"name\": \"{name}\"}}") } else { "{}".into() };
            write!(stream, "{{\"return\": {returned}, \"id\": {id}}}\r\n").unwrap();
        }
        Speaker { stream }
    }

    /// Says an event of this name.
    pub(crate) fn event(&mut self, name: &str, data: &str) {
        write!(self.stream, "{{\"event\": \"{name}\", \"data\": {data}}}\r\n").unwrap();
    }
}

#[test]
fn silent_connections_leave_descriptors_to_the_journal() {
    const EVENTS: usize = 3000;
    let scratch = Scratch::new();
    let config = scratch.path("qev.toml");
    std::fs::write(&config, "[journal]\nsegment-size = \"128 KiB\"\n").unwrap();
    let daemon = Daemon::start_with_files(&scratch, 64, &["--config", &config]);
    let mut machine = Speaker::attach(&scratch.path("a.sock"), "web1");
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "web1");
    let _silent: Vec<_> = (0..200).map(|_| UnixStream::connect(scratch.path("a.sock")).unwrap()).collect();
    for number in 0..EVENTS {
        machine.event("X", &format!("{{\"number\": {number}, \"text\": \"{}\"}}", "x".repeat(200)));
    }
    let (mut events, deadline) = (0, Instant::now() + PATIENCE);
    while events < EVENTS {
        for record in history.new_records() {
            assert_ne!(record.kind, Kind::Gap, "{record:?}");
            events += usize::from(record.event.is_some());
        }
        assert!(Instant::now() < deadline, "{events} events");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let files = std::fs::read_dir(scratch.path("state/journal")).unwrap();
    let segments = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "qev")).count();
    assert!(segments > 2, "segments of 128 KiB: {segments}");
    let open = daemon.open_files();
    assert!(open <= 40, "{open} of 64 files are open");
    daemon.stop();
}

#[test]
fn a_flood_of_odd_connections_costs_few_lines_of_the_log() {
    const CONNECTIONS: usize = 200;
    let scratch = Scratch::new();
    let mut daemon = Daemon::start(&scratch, &[]);
    for number in 0..CONNECTIONS {
        let mut odd = UnixStream::connect(scratch.path("a.sock")).unwrap();
        write!(odd, "odd {number}\r\n").unwrap();
        odd.shutdown(Shutdown::Write).unwrap();
        // Until it is hung up on.
        let _ = odd.read_to_end(&mut Vec::new());
    }
    daemon.signal("TERM");
    let lines: Vec<String> = std::iter::from_fn(|| Some(daemon.line()).filter(|line| !line.is_empty())).collect();
    let single = lines.iter().filter(|line| line.contains("does not speak QMP: it says 'odd ")).count();
    assert_eq!(single, 5, "{lines:?}");
    let uid = rustix::process::getuid().as_raw();
    let words = format!("qev: user {uid}: ");
    let more: usize = lines
        .iter()
        .filter_map(|line| line.strip_prefix(&words)?.split_once(" more in the last minute"))
        .map(|(count, _)| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(single + more, CONNECTIONS, "{lines:?}");
    daemon.ended();
}
