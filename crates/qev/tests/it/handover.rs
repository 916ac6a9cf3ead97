//! A daemon that is restarted by a service manager which keeps its descriptors; the manager is played by the test.
//!
//! ```text
//!   test: manager ◄── FDSTORE ─── qev serve ◄──┐
//!            │                                  │ a machine: its connection never closes
//!            └── LISTEN_FDS ───► qev serve ◄────┘
//! ```

use crate::daemon::{History, NO_FSYNC, PATIENCE, machine, signal};
use crate::program::{Raw, Running, Scratch};
use qev_record::{Kind, Record};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Plays systemd: hears what a daemon says, keeps what it stores, and starts it with that.
struct Manager<'a> {
    scratch: &'a Scratch,
    socket: UnixDatagram,
    stored: Vec<(String, OwnedFd)>,
    daemon: Option<Running>,
    /// What else the daemon is to do.
    more: Vec<String>,
}

impl Manager<'_> {
    fn new(scratch: &Scratch) -> Manager<'_> {
        let socket = UnixDatagram::bind(scratch.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        Manager { scratch, socket, stored: Vec::new(), daemon: None, more: Vec::new() }
    }

    /// Starts the daemon and waits until it is ready.
    fn start(&mut self) {
        let attach = self.scratch.path("a.sock");
        // A child gets a descriptor by its number as standard input and output; the shell moves them to where the
        // manager puts them, and its process is the one that is meant.
        let script = match self.stored.len() {
            0 => "exec \"$@\"",
            1 => "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"",
            2 => "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$@\"",
            more => panic!("{more} descriptors"),
        };
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_qev"), "serve", "--http", "none", "--attach", &attach]);
        command
            .args(["--state-dir", &self.scratch.path("state"), NO_FSYNC])
            .args(&self.more)
            .env("XDG_CONFIG_HOME", self.scratch.path("none"));
        command.env("NOTIFY_SOCKET", self.scratch.path("notify")).stdin(Stdio::null()).stdout(Stdio::null());
        let names: Vec<&str> = self.stored.iter().map(|(name, _)| name.as_str()).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let copy = |at: usize| self.stored.get(at).map(|(_, stored)| Stdio::from(stored.try_clone().unwrap()));
        if let Some(first) = copy(0) {
            command.stdin(first);
        }
        if let Some(second) = copy(1) {
            command.stdout(second);
        }
        self.daemon = Some(Running(command.spawn().unwrap()));
        // The command holds copies.
        drop(command);
        self.until("READY", |words, _| words == "READY=1");
    }

    /// Hears what the daemon says until something is so.
    fn until(&mut self, what: &str, is: impl Fn(&str, &[(String, OwnedFd)]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let words = self.hear().unwrap_or_default();
            if is(&words, &self.stored) {
                return;
            }
            assert!(Instant::now() < deadline, "no {what}");
        }
    }

    fn until_stored(&mut self, count: usize) {
        self.until(&format!("{count} descriptors"), |_, stored| stored.len() == count);
    }

    /// One message of the daemon's, if there is one, and what it means for what is stored.
    fn hear(&mut self) -> Option<String> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let length = recvmsg(&self.socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            })
            .collect();
        let words = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let name = words.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
        if words.starts_with("FDSTOREREMOVE=1") {
            self.stored.retain(|(stored, _)| *stored != name);
        } else if words.starts_with("FDSTORE=1") {
            self.stored.extend(descriptors.into_iter().map(|descriptor| (name.clone(), descriptor)));
        }
        Some(words)
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        signal(&daemon, "TERM");
        assert_eq!(daemon.status(), 0);
        while self.hear().is_some() {}
    }

    fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        while self.hear().is_some() {}
    }
}

/// A machine that says what the test wants, byte by byte.
pub(crate) struct Scripted(Raw);

impl Scripted {
    pub(crate) fn dial(scratch: &Scratch) -> Scripted {
        let mut raw = Raw::new(UnixStream::connect(scratch.path("a.sock")).unwrap());
        raw.send(GREETING);
        Scripted(raw)
    }

    pub(crate) fn say(&mut self, bytes: &str) {
        self.0.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    fn answer(&mut self, line: &str) {
        let (_, id) = line.trim_end_matches('}').rsplit_once("\"id\": ").unwrap();
        match line.contains("query-name") {
            true => self.say(&format!("{{\"return\": {{\"name\": \"raw1\"}}, \"id\": {id}}}\r\n")),
            false => self.say(&format!("{{\"return\": {{}}, \"id\": {id}}}\r\n")),
        }
    }

    /// The negotiation and what is asked on attach.
    pub(crate) fn answer_everything(&mut self, questions: usize) {
        for _ in 0..questions {
            let line = self.0.line();
            self.answer(&line);
        }
    }
}

const GREETING: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#,
    "\r\n"
);
pub(crate) const NEGOTIATION: usize = 1;
pub(crate) const QUESTIONS: usize = 6;

pub(crate) fn names(records: &[Record]) -> Vec<String> {
    let name = |record: &Record| match &record.event {
        Some(event) => event.to_string(),
        None => record.kind.to_string(),
    };
    records.iter().map(name).collect()
}

/// A daemon under a manager, which keeps what it holds, and a machine that it has attached.
fn attached(scratch: &Scratch) -> (Manager<'_>, Scripted, History) {
    let mut manager = Manager::new(scratch);
    manager.start();
    let mut machine = Scripted::dial(scratch);
    machine.answer_everything(NEGOTIATION + QUESTIONS);
    manager.until_stored(2);
    let mut history = History::of(scratch);
    history.kind(&Kind::State, "raw1");
    (manager, machine, history)
}

#[test]
fn a_daemon_that_is_restarted_in_the_middle_of_a_message_loses_nothing_and_nobody_notices() {
    let scratch = Scratch::new();
    let (mut manager, mut machine, mut history) = attached(&scratch);
    machine.say("{\"event\": \"STOP\"}\r\n{\"event\": \"RES");
    history.event("STOP", "raw1");

    manager.stop();
    machine.say("UME\"}\r\n{\"event\": \"SHUT");
    manager.start();
    machine.say("DOWN\"}\r\n");
    // It is asked how it is, so that what is shown is right; it is not negotiated with.
    machine.answer_everything(QUESTIONS);
    history.event("SHUTDOWN", "raw1");
    // Once more: a session is gone on with any number of times.
    manager.stop();
    manager.start();
    machine.answer_everything(QUESTIONS);
    machine.say("{\"event\": \"WAKEUP\"}\r\n");
    history.event("WAKEUP", "raw1");

    let all = History::of(&scratch).new_records();
    let first = ["attached", "state", "STOP"];
    let others = ["attached", "state", "RESUME", "SHUTDOWN", "attached", "state", "WAKEUP"];
    assert_eq!(names(&all), [&first[..], &others].concat());
    // When it leaves, the manager is told to close its socket too.
    drop(machine);
    history.kind(&Kind::Detached, "raw1");
    manager.until_stored(1);
    manager.stop();
}

#[test]
fn what_a_machine_said_last_while_no_daemon_ran_is_heard() {
    let scratch = Scratch::new();
    let (mut manager, mut machine, mut history) = attached(&scratch);
    manager.stop();
    machine.say("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\r\n");
    drop(machine);
    manager.start();
    let detached = history.kind(&Kind::Detached, "raw1");
    const EXPECTED: [&str; 6] = ["attached", "state", "attached", "state", "SHUTDOWN", "detached"];
    assert_eq!(names(&History::of(&scratch).new_records()), EXPECTED);
    assert!(detached.summary.contains("guest-shutdown"), "{detached:?}");
    manager.until_stored(1);
    manager.stop();
}

#[test]
fn when_the_manager_kept_nothing_the_next_daemon_says_that_it_let_go() {
    let scratch = Scratch::new();
    let (mut manager, machine, mut history) = attached(&scratch);
    manager.stop();
    // When a daemon ends it cannot know whether another one follows: nothing is said.
    assert_eq!(names(&History::of(&scratch).new_records()), ["attached", "state"]);
    manager.stored.clear();
    drop(machine);
    manager.start();
    let gap = history.kind(&Kind::Gap, "raw1");
    let detached = history.kind(&Kind::Detached, "raw1");
    assert!(gap.from < gap.until && gap.session == detached.session, "{gap:?}");
    let reason = "detached: it did not come back after qev was started again; its process still runs";
    assert_eq!(&*detached.summary, reason);
    manager.stop();
    assert_eq!(names(&History::of(&scratch).new_records()), ["attached", "state", "gap", "detached"]);
}

#[test]
fn when_the_manager_kept_nothing_a_machine_that_dials_again_has_a_gap() {
    let scratch = Scratch::new();
    let (mut manager, machine, _) = attached(&scratch);
    manager.stop();
    manager.stored.clear();
    drop(machine);
    manager.start();
    let mut machine = Scripted::dial(&scratch);
    machine.answer_everything(NEGOTIATION + QUESTIONS);
    manager.until_stored(2);
    manager.stop();
    let names = names(&History::of(&scratch).new_records());
    assert_eq!(names, ["attached", "state", "gap", "attached", "state"]);
}

#[test]
fn after_a_daemon_was_killed_the_session_goes_on_with_a_gap() {
    let scratch = Scratch::new();
    let (mut manager, mut machine, mut history) = attached(&scratch);
    machine.say("{\"event\": \"STOP\"}\r\n{\"event\": \"LOST");
    history.event("STOP", "raw1");

    manager.kill();
    machine.say("\", \"data\": {\"is\": {\"event\": \"FORGED\"}}}\r\n{\"event\": \"RESUME\"}\r\n");
    manager.start();
    // What was half-said is ended, and answered with an error that is nobody's.
    // Before it stands a question about the run state, if the killed daemon had time to ask it.
    let mut byte = [0];
    while byte != [0xFF] {
        std::io::Read::read_exact(&mut machine.0.0, &mut byte).unwrap();
    }
    machine.say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray\"}}\r\n");
    machine.answer_everything(QUESTIONS);
    history.event("RESUME", "raw1");
    machine.say("{\"event\": \"WAKEUP\"}\r\n");
    history.event("WAKEUP", "raw1");

    let all = History::of(&scratch).new_records();
    let names = names(&all);
    assert_eq!(names[..3], ["attached", "state", "STOP"]);
    assert_eq!(names[3..6], ["gap", "attached", "state"], "{names:?}");
    assert!(names.contains(&"RESUME".to_owned()) && !names.contains(&"FORGED".to_owned()), "{names:?}");
    assert!(all[3].from.is_some() && all[3].until.is_some(), "{:?}", all[3]);
    manager.stop();
}

/// The simulated machine numbers its events: none may be missing, none come twice.
#[test]
fn a_flood_goes_on_over_restarts_without_a_hole() {
    let scratch = Scratch::new();
    let mut manager = Manager::new(&scratch);
    manager.start();
    let _machine = machine(&["--name", "web1", "--dial", &scratch.path("a.sock"), "--rate", "2000"]);
    manager.until_stored(2);
    let mut history = History::of(&scratch);
    for _ in 0..5 {
        let seen = history.event("ACPI_DEVICE_OST", "web1").seq.unwrap();
        history.until("more events", |record| record.seq > Some(seen + 300));
        manager.stop();
        manager.start();
    }
    history.skip_to(&History::of(&scratch).new_records());
    history.event("ACPI_DEVICE_OST", "web1");
    manager.stop();
    let all = History::of(&scratch).new_records();
    assert_eq!((count(&all, &Kind::Attached), count(&all, &Kind::Gap), count(&all, &Kind::Detached)), (6, 0, 0));
    let numbers = all.iter().filter_map(|record| record.data.as_ref()?.get("info")?.get("source")?.value().as_u64());
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.len() > 1500, "{}", numbers.len());
    let broken = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(broken, None, "of {} events", numbers.len());
}

#[test]
fn a_monitor_that_was_dialled_is_gone_on_with_and_not_dialled_again() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path("vm")).unwrap();
    let listener = UnixListener::bind(scratch.path("vm/raw1.qmp")).unwrap();
    let mut manager = Manager::new(&scratch);
    manager.more = vec!["--dial".to_owned(), scratch.path("vm/*.qmp")];
    manager.start();
    let mut machine = Scripted(Raw::new(listener.accept().unwrap().0));
    machine.0.send(GREETING);
    machine.answer_everything(NEGOTIATION + QUESTIONS);
    manager.until_stored(2);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "raw1");
    manager.stop();
    manager.start();
    machine.answer_everything(QUESTIONS);
    machine.say("{\"event\": \"WAKEUP\"}\r\n");
    history.event("WAKEUP", "raw1");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    manager.stop();
}

/// How many records of this kind there are.
fn count(records: &[Record], kind: &Kind) -> usize {
    records.iter().filter(|record| record.kind == *kind).count()
}

#[test]
fn a_machine_that_never_is_silent_goes_on_over_kills_with_a_gap_for_each() {
    const KILLS: usize = 3;
    let scratch = Scratch::new();
    let mut manager = Manager::new(&scratch);
    manager.start();
    // Not so much that, while no daemon runs, more comes together than a daemon hears before it gives up on answers.
    let _machine = machine(&["--name", "web1", "--dial", &scratch.path("a.sock"), "--rate", "200"]);
    manager.until_stored(2);
    let mut history = History::of(&scratch);
    history.event("ACPI_DEVICE_OST", "web1");
    for _ in 0..KILLS {
        manager.kill();
        manager.start();
        history.kind(&Kind::Gap, "web1");
        history.kind(&Kind::State, "web1");
        history.event("ACPI_DEVICE_OST", "web1");
    }
    manager.stop();
    let all = History::of(&scratch).new_records();
    assert_eq!(count(&all, &Kind::Attached), KILLS + 1);
    assert_eq!(count(&all, &Kind::Detached), 0);
    // It was asked and answered each time, and its numbers, which would begin anew with a new connection, go on.
    let others: Vec<_> = all.iter().filter(|record| record.kind != Kind::Event).collect();
    for state in others.iter().filter(|record| record.kind == Kind::State) {
        assert!(state.data.as_ref().unwrap().get("query-status").is_some(), "{others:#?}");
    }
    let numbers = all.iter().filter_map(|record| record.data.as_ref()?.get("info")?.get("source")?.value().as_u64());
    let numbers: Vec<u64> = numbers.collect();
    let broken = numbers.windows(2).find(|pair| pair[1] <= pair[0]);
    assert_eq!(broken, None, "of {} events", numbers.len());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_real_qemu_is_held_over_a_restart_and_a_crash() {
    let scratch = Scratch::new();
    let mut manager = Manager::new(&scratch);
    manager.start();
    let control = scratch.path("ctl.qmp");
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "pc", "-nodefaults", "-display", "none", "-S", "-m", "64", "-name", "real1"]);
    qemu.arg("-chardev").arg(format!("socket,id=qev,path={},reconnect=1", scratch.path("a.sock")));
    qemu.args(["-mon", "chardev=qev,mode=control", "-qmp"]).arg(format!("unix:{control},server=on,wait=off"));
    let qemu = qemu.stdin(Stdio::null()).spawn();
    let _qemu = Running(qemu.expect("qemu-system-x86_64; install it: apt-get install qemu-system-x86"));
    manager.until_stored(2);
    let mut history = History::of(&scratch);
    history.kind(&Kind::State, "real1");
    let mut control = Raw::connect(&control);
    let mut run = |command: &str| assert_eq!(control.execute(command, "{}"), r#"{"return": {}}"#);

    run("cont");
    history.event("RESUME", "real1");
    manager.stop();
    run("stop");
    manager.start();
    run("cont");
    history.event("STOP", "real1");
    history.event("RESUME", "real1");
    let before = History::of(&scratch).new_records();
    assert_eq!(names(&before), ["attached", "state", "RESUME", "attached", "state", "STOP", "RESUME"]);

    manager.kill();
    run("stop");
    manager.start();
    history.kind(&Kind::Gap, "real1");
    let state = history.kind(&Kind::State, "real1");
    assert!(state.data.unwrap().get("query-status").is_some());
    // The monitor was not connected anew: what it said meanwhile is there.
    history.event("STOP", "real1");
    run("cont");
    history.event("RESUME", "real1");
    manager.stop();
}
