//! `qev run` with a stand-in for QEMU: a shell script that speaks just enough QMP on the descriptor that it is given.

use crate::daemon::PATIENCE;
use crate::program::{Scratch, exists, qev, run, stderr, stdout};
use qev_qmp::Json;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Output, Stdio};

/// The words of the stand-in. `answer COMMAND` replies to what is asked, until it has replied to this one.
const STAND_IN: &str = r#"
for argument; do
    case $argument in socket,id=qev-run,fd=*) fd=${argument##*=} ;; esac
done
say() { printf '%s\r\n' "$1" >&$fd; }
event() { say "{\"timestamp\": {\"seconds\": 1795347310, \"microseconds\": 942235}, \"event\": \"$1\", \"data\": ${2:-{\}}}"; }
answer() {
    while read -r line <&$fd; do
        id=${line##*\"id\": }; id=${id%\}*}
        case $line in
            *query-name*) say "{\"return\": {\"name\": \"web1\"}, \"id\": $id}" ;;
            *query-target*) say "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"}, \"id\": $id}" ;;
            *) say "{\"return\": {}, \"id\": $id}" ;;
        esac
        case $line in *"\"$1\""*) return ;; esac
    done
    exit 99
}
greet() {
    # The negotiation is there before we are.
    read -r line <&$fd
    case $line in *qmp_capabilities*) ;; *) exit 98 ;; esac
    say '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}'
    say '{"return": {}, "id": 1}'
    answer query-target
}
"#;

/// The arguments that run a script as if it were a QEMU.
fn arguments<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run"], options, &["--", "bash", "-c", script, "stand-in"]].concat()
}

fn stand_in(script: &str) -> String {
    format!("{STAND_IN}{script}")
}

fn run_with(options: &[&str], script: &str) -> Output {
    run(&arguments(options, &stand_in(script)))
}

fn check(options: &[&str], script: &str, status: i32, last: &str) {
    let output = run_with(options, script);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{script}: {told}");
    assert_eq!(told.lines().last(), Some(last), "{script}");
}

const SHUTDOWN: &str = r#"greet; event SHUTDOWN '{"guest": true, "reason": "guest-shutdown"}'"#;
const RESET: &str = r#"greet; event SHUTDOWN '{"guest": true, "reason": "guest-reset"}'"#;
const PANIC: &str = r#"greet; event GUEST_PANICKED '{"action": "pause"}'; event STOP; answer quit; exit 0"#;
const POWEROFF: &str = r#"greet; event GUEST_PANICKED '{"action": "poweroff"}'; event SHUTDOWN '{}'; exit 1"#;
const BALLOON: &str = r#"greet; event BALLOON_CHANGE '{"actual": 1073741824}'; answer quit; exit 3"#;

#[test]
fn the_exit_code_says_what_became_of_the_guest() {
    check(&[], SHUTDOWN, 0, "qev: the guest shut down");
    check(&[], RESET, 102, "qev: the guest reset (--allow-reset takes that for a good end)");
    check(&["--allow-reset"], RESET, 0, "qev: the guest reset");
    check(&[], PANIC, 100, "qev: the guest panicked: guest kernel panicked; QEMU paused it");
    check(&[], POWEROFF, 100, "qev: the guest panicked: guest kernel panicked; QEMU powered it off");
    check(&["--stop-on", "BALLOON_*"], BALLOON, 0, "qev: --stop-on: BALLOON_CHANGE: balloon at 1 GiB");
    check(&["--fail-on", "BALLOON_*"], BALLOON, 101, "qev: --fail-on: BALLOON_CHANGE: balloon at 1 GiB");
    let told = stderr(&run_with(&["--timeout", "200ms"], "greet; answer quit"));
    assert!(told.lines().last().unwrap().starts_with("qev: timed out after 200ms"), "{told}");
    let wanted = ["--stop-on", "BALLOON_CHANGE", "-w", "data.actual=7", "--timeout", "200ms"];
    let told = stderr(&run_with(&wanted, BALLOON));
    assert!(told.lines().last().unwrap().starts_with("qev: timed out after 200ms"), "{told}");
    check(&[], "greet; exit 7", 7, "qev: QEMU ended with status 7");
    check(&[], "greet; kill -SEGV $$", 139, "qev: QEMU was killed by signal 11");
}

#[test]
fn a_qemu_that_stays_after_the_shutdown_is_told_to_quit() {
    check(&[], &format!("{SHUTDOWN}; event STOP; answer quit; exit 0"), 0, "qev: the guest shut down");
}

#[test]
fn what_does_not_start_says_so_itself() {
    let scratch = Scratch::new();
    let (missing, file) = (scratch.path("missing"), scratch.image("file", &[]));
    for (program, status) in [(&missing, 127), (&file, 126)] {
        let output = run(&["run", "--", program]);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("qev: cannot run {program}: ")), "{}", stderr(&output));
    }
    let output = run_with(&[], "echo 'no such device' >&2; exit 1");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "no such device\nqev: QEMU ended with status 1\n");
}

#[test]
fn what_never_speaks_qmp_is_no_success() {
    for script in ["exit 0", "echo hello >&$fd"] {
        let output = run_with(&[], script);
        assert_eq!(output.status.code(), Some(1), "{script}: {}", stderr(&output));
        assert!(stderr(&output).contains("never spoke QMP"), "{}", stderr(&output));
    }
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    for (arguments, said) in [
        (&["run", "--", "touch", "-daemonize"][..], "-daemonize: "),
        (&["run", "-w", "data.x=1", "--", "true"], "--where"),
        (&["run", "true"], "unexpected argument"),
        (&["run"], "required"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    let output = run(&["run", "--record", "/nowhere/record.jsonl", "--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("qev: /nowhere/record.jsonl: "), "{}", stderr(&output));
}

#[test]
fn standard_input_and_output_are_the_guests_and_the_events_are_on_standard_error() {
    let scratch = Scratch::new();
    let file = scratch.path("run.jsonl");
    let script = stand_in(&format!("read -r line; echo \"console: $line\"; {SHUTDOWN}"));
    let mut command = qev(&arguments(&["--record", &file, "-o", "json"], &script));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("qev starts");
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "console: typed\n");
    let recorded = std::fs::read_to_string(&file).unwrap();
    let shown = stderr(&output);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.last(), Some(&"qev: the guest shut down"));
    assert_eq!(recorded.lines().collect::<Vec<_>>(), lines[..lines.len() - 1]);
    let kinds: Vec<String> = recorded
        .lines()
        .map(|line| {
            let record = Json::parse(line).unwrap();
            assert_eq!(record.get("machine").unwrap().string().as_deref(), Some("web1"));
            record.get("event").or(record.get("kind")).unwrap().string().unwrap()
        })
        .collect();
    assert_eq!(kinds, ["attached", "SHUTDOWN", "detached"]);
}

/// A run that goes on until something is done to it.
struct Going {
    child: Child,
    told: BufReader<std::process::ChildStderr>,
    /// The stand-in's process.
    qemu: String,
}

impl Going {
    fn start(script: &str) -> Going {
        let script = stand_in(&format!("echo $$ >&2; {script}"));
        let mut child = qev(&arguments(&[], &script)).stderr(Stdio::piped()).spawn().expect("qev starts");
        let told = BufReader::new(child.stderr.take().unwrap());
        let mut going = Going { child, told, qemu: String::new() };
        going.qemu = going.line();
        going
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn until(&mut self, said: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended before it said {said}");
            if line.contains(said) {
                return;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until the stand-in is gone: whoever inherits it may take a moment to take notice.
    fn qemu_is_gone(&self) {
        let stat = format!("/proc/{}/stat", self.qemu);
        while exists(&stat) {
            let zombie = std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
            if zombie {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn ctrl_c_and_a_signal_end_both() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let mut going = Going::start("trap '' INT; greet; answer quit; exit 0");
        going.until("attached");
        going.signal(signal);
        assert_eq!(going.child.wait().unwrap().code(), Some(status));
        going.qemu_is_gone();
    }
}

#[test]
fn who_insists_does_not_wait_for_a_qemu_that_does_not_end() {
    let mut going = Going::start("trap '' INT TERM; greet; while :; do answer nothing; done");
    going.until("attached");
    going.signal("-TERM");
    // The first is told to QEMU by its monitor, and of that there is no sign.
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut said = String::new();
    while !said.contains("SIGTERM") && std::time::Instant::now() < deadline {
        going.signal("-TERM");
        said = going.line();
    }
    going.signal("-TERM");
    going.until("sending SIGKILL");
    assert_eq!(going.child.wait().unwrap().code(), Some(143));
    going.qemu_is_gone();
}

#[test]
fn a_qev_that_is_killed_leaves_no_qemu() {
    for script in ["greet; while :; do answer nothing; done", "trap '' INT TERM HUP; while :; do sleep 0.05; done"] {
        let mut going = Going::start(script);
        going.child.kill().unwrap();
        going.child.wait().unwrap();
        going.qemu_is_gone();
        // Nothing holds our standard error open any more.
        let mut rest = String::new();
        going.told.read_to_string(&mut rest).unwrap();
    }
}

#[test]
fn a_qemu_that_its_starter_leaves_behind_is_told_to_quit() {
    // The starter ends when the other is up.
    let output = run_with(&[], "read -r up < <(greet; echo up; answer quit; event SHUTDOWN '{}'); exit 0");
    let told = stderr(&output);
    assert!(told.contains("qev: the program has ended and its QEMU has not: telling that to quit\n"), "{told}");
    assert!(told.contains("SHUTDOWN"), "{told}");
}

#[test]
fn what_asks_for_information_passes_through_with_its_status() {
    let scratch = Scratch::new();
    let qemu = scratch.path("qemu-system-x86_64");
    let script = "#!/bin/sh\necho \"QEMU emulator: $*\"; echo odd >&2; exit $STATUS\n";
    std::fs::write(&qemu, script).unwrap();
    std::fs::set_permissions(&qemu, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (arguments, status) in [(&["--version"][..], 0), (&["-M", "q35", "-device", "help"], 0), (&["-h"], 3)] {
        let mut command = qev(&[&["run", "--", &qemu], arguments].concat());
        let output = command.env("STATUS", status.to_string()).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert_eq!(stdout(&output), format!("QEMU emulator: {}\n", arguments.join(" ")));
        assert_eq!(stderr(&output), "odd\n", "{arguments:?}");
    }
    // A script around one gets its monitor all the same: it may mean something else by the option.
    let output = run(&[&["run", "--", "bash", "-c", "echo usage", "stand-in"], &["--help"][..]].concat());
    assert_eq!((output.status.code(), &*stdout(&output), &*stderr(&output)), (Some(0), "usage\n", ""));
}

#[test]
fn a_monitor_that_nothing_answers_on_is_told_of_with_what_to_do() {
    let mut going = Going::start("while :; do sleep 0.05; done");
    going
        .until("nothing has answered on the monitor for 5s, so no events are seen: a script around QEMU must pass all");
    going.signal("-TERM");
    assert_eq!(going.child.wait().unwrap().code(), Some(143));
    let told = stderr(&run_with(&["--timeout", "200ms"], "exec sleep 1000"));
    assert!(told.contains("qev: timed out after 200ms; nothing answered on the monitor, so no events"), "{told}");
}

#[test]
fn what_qemu_waits_for_is_told() {
    let output = run(&[&arguments(&[], &stand_in(SHUTDOWN))[..], &["-S", "--preconfig"]].concat());
    let told = stderr(&output);
    assert!(told.contains("qev: the guest waits for a cont over another monitor (-S)\n"), "{told}");
    assert!(told.contains("qev: QEMU waits for an x-exit-preconfig over another monitor (-preconfig)\n"), "{told}");
}

#[test]
fn a_text_on_the_console_fails_the_run() {
    let panic = "echo 'Kernel panic - not syncing: VFS'; echo '---[ end'";
    let options = ["--fail-on-console", "Kernel panic", "--fail-on-console", "nothing"];
    let failed = "qev: --fail-on-console 'Kernel panic': Kernel panic - not syncing: VFS";
    for (script, hint) in [
        // It goes on, it is gone at once, and it has a panic device with a driver.
        (format!("greet; {panic}; answer quit; exit 0"), true),
        (format!("greet; {panic}; event SHUTDOWN '{{}}'"), true),
        (format!("greet; {panic}; event GUEST_PANICKED '{{\"action\": \"pause\"}}'; answer quit; exit 0"), false),
    ] {
        let output = run_with(&options, &script);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(101), "{script}: {told}");
        assert_eq!(stdout(&output), "Kernel panic - not syncing: VFS\n---[ end\n");
        assert_eq!(told.lines().last(), Some(failed), "{script}");
        let early = told.contains("before it has a driver for its panic device does not tell QEMU: with panic=-1");
        assert_eq!(early, hint, "{script}: {told}");
        assert!(told.contains("without -nographic or -serial stdio no console is there"), "{told}");
    }
    // What is typed reaches the guest, and what it says reaches us.
    let script = stand_in(&format!("read -r line; echo \"console: $line\"; {SHUTDOWN}"));
    let mut command = qev(&[&arguments(&["--fail-on-console", "panic"], &script)[..], &["-nographic"]].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("qev starts");
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), "console: typed\n"), "{}", stderr(&output));
}
