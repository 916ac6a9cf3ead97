//! `qev run` on a real QEMU with a real Linux guest, its console on standard input and output: how it ends says what
//! became of the guest, and no QEMU is left.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::guest::QUIETLY;
use xtask::lab::initramfs::{Initramfs, READY};
use xtask::lab::kernel::Kernel;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::lab::transcript::Transcript;
use xtask::lab::{BOOT_PATIENCE, EVENT_PATIENCE};
use xtask::programs::{QEMU, SCRIPT};
use xtask::workspace;

/// How long it may take from the guest's last deed to the end.
const END: Duration = Duration::from_secs(180);

const PANIC: &str = "echo c > /proc/sysrq-trigger";

/// What a guest is booted from.
struct Lab {
    kernel: Kernel,
    initramfs: PathBuf,
    scratch: Scratch,
}

impl Lab {
    fn new() -> Lab {
        let kernel = Kernel::obtain(&|line| eprintln!("{line}")).unwrap();
        let scratch = Scratch::new().unwrap();
        let initramfs = scratch.file("initramfs");
        Initramfs::with_drivers(&kernel).unwrap().write(&initramfs).unwrap();
        Lab { kernel, initramfs, scratch }
    }

    /// The words that start a guest under qev.
    fn words(&self, options: &[&str], more: &[&str]) -> Vec<String> {
        let (image, initramfs) = (self.kernel.image(), self.initramfs.clone());
        let mut words = vec!["run"];
        words.extend(options);
        let qemu = QEMU.path().unwrap();
        words.extend([
            "--",
            text(&qemu),
            "-M",
            "q35",
            "-accel",
            "tcg",
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "256M",
        ]);
        words.extend(["-kernel", text(&image), "-initrd", text(&initramfs), "-serial", "stdio"]);
        let append = format!("{QUIETLY} panic=-1");
        words.extend(["-append", &append]);
        words.extend(more);
        words.into_iter().map(str::to_owned).collect()
    }

    fn start(&self, options: &[&str], more: &[&str]) -> Run {
        let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
        command.args(self.words(options, more));
        Run::start(command)
    }

    /// Runs a guest, has it do this, and looks how qev ends.
    fn check(&self, options: &[&str], more: &[&str], order: &str, status: i32, last: &str) -> Run {
        let mut run = self.start(options, more);
        run.boot();
        run.tell(order);
        assert_eq!(run.end(), status, "{order}, {more:?}: {}", run.told.text());
        assert_eq!(run.told.text().lines().last(), Some(last), "{order}, {more:?}");
        self.nothing_is_left();
        run
    }

    /// The QEMUs that run this lab's guest.
    fn qemus(&self) -> Vec<u32> {
        let initramfs = text(&self.initramfs).as_bytes();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ours = processes.filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = words.split(|byte| *byte == 0);
            (words.next()?.ends_with(b"qemu-system-x86_64") && words.any(|word| word == initramfs)).then_some(id)
        });
        ours.collect()
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.qemus(), [0_u32; 0]);
    }

    /// The same, when nobody could wait for it.
    fn nothing_is_left_soon(&self) {
        let deadline = Instant::now() + END;
        while !self.qemus().is_empty() {
            assert!(Instant::now() < deadline, "QEMU is left: {:?}", self.qemus());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A guest under qev.
struct Run {
    qev: Running,
    console: Transcript,
    told: Transcript,
    keyboard: ChildStdin,
}

impl Run {
    fn start(mut command: std::process::Command) -> Run {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut qev = Running::start(command, "qev run").unwrap();
        let child = qev.child();
        let console = Transcript::of(child.stdout.take().unwrap());
        let told = Transcript::of(child.stderr.take().unwrap());
        let keyboard = child.stdin.take().unwrap();
        Run { qev, console, told, keyboard }
    }

    fn boot(&self) {
        let up = self.console.wait_for(BOOT_PATIENCE, |console| console.contains(READY).then_some(()));
        assert!(up.is_ok(), "the guest is not up:\n{}\n{}", self.console.text(), self.told.text());
    }

    fn tell(&mut self, order: &str) {
        self.keyboard.write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    fn end(&mut self) -> i32 {
        let status = self.qev.wait(END).unwrap_or_else(|error| panic!("{error}: {}", self.told.text()));
        self.told.wait_for_end(EVENT_PATIENCE).unwrap_or_else(|_| panic!("standard error is still open"));
        status.code().unwrap_or_else(|| panic!("{status}"))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn the_exit_code_says_what_became_of_a_real_guest() {
    let lab = Lab::new();
    let pvpanic = ["-device", "pvpanic"];
    let paused = ["-device", "pvpanic-pci", "-action", "panic=pause"];
    lab.check(&[], &pvpanic, PANIC, 100, "qev: the guest panicked: guest kernel panicked; QEMU powered it off");
    lab.check(&[], &paused, PANIC, 100, "qev: the guest panicked: guest kernel panicked; QEMU paused it");
    lab.check(&[], &pvpanic, "poweroff -f", 0, "qev: the guest shut down");
    lab.check(&[], &["-no-shutdown"], "poweroff -f", 0, "qev: the guest shut down");
    let reset = "qev: the guest reset (--allow-reset takes that for a good end)";
    lab.check(&[], &["-no-reboot"], "reboot -f", 102, reset);
    lab.check(&["--allow-reset"], &["-no-reboot"], "reboot -f", 0, "qev: the guest reset");
    // Without a panic device a panic is a reset, and that was said.
    let run = lab.check(&[], &["-no-reboot"], PANIC, 102, reset);
    let warning = "qev: no panic device: a guest that panics cannot tell QEMU; add -device pvpanic\n";
    assert!(run.told.text().contains(warning), "{}", run.told.text());
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn an_event_that_was_asked_for_ends_a_real_qemu() {
    let lab = Lab::new();
    let file = lab.scratch.file("run.jsonl");
    let options = ["--stop-on", "RESET", "-w", "data.reason=guest-reset", "--record", text(&file)];
    let run = lab.check(&options, &[], "reboot -f", 0, "qev: --stop-on: RESET: guest rebooted");
    assert!(run.console.text().contains(READY) && !run.console.text().contains("qev:"), "{}", run.console.text());
    let records = fs::read_to_string(&file).unwrap();
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&Value> = records.iter().map(|record| record.get("event").unwrap_or(&record["kind"])).collect();
    assert_eq!(told.first().unwrap().as_str(), Some("attached"));
    assert!(told.iter().any(|what| *what == "RESET"), "{told:?}");
    assert_eq!(told.last().unwrap().as_str(), Some("detached"));
    lab.check(&["--fail-on", "RESET"], &[], "reboot -f", 101, "qev: --fail-on: RESET: guest rebooted");
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_time_that_is_over_and_a_qemu_that_is_killed_are_told_apart() {
    let lab = Lab::new();
    let mut run = lab.start(&["--timeout", "2s"], &["-device", "pvpanic"]);
    assert_eq!(run.end(), 124, "{}", run.told.text());
    lab.nothing_is_left();
    let mut run = lab.start(&[], &["-device", "pvpanic"]);
    run.boot();
    let qemus = lab.qemus();
    assert_eq!(qemus.len(), 1, "{qemus:?}");
    signal("-KILL", qemus[0]);
    assert_eq!(run.end(), 137, "{}", run.told.text());
    assert_eq!(run.told.text().lines().last(), Some("qev: QEMU was killed by signal 9"));
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_real_qemu_that_does_not_start_says_why_itself() {
    let lab = Lab::new();
    let mut run = lab.start(&[], &["-device", "frobnicator"]);
    assert_eq!(run.end(), 1);
    let told = run.told.text();
    assert!(told.contains("'frobnicator' is not a valid device model name"), "{told}");
    assert_eq!(told.lines().last(), Some("qev: QEMU ended with status 1"));
    lab.nothing_is_left();
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn what_asks_a_real_qemu_for_information_is_its_own_affair() {
    let (qev, qemu) = (workspace::qev_program().unwrap(), QEMU.path().unwrap());
    for arguments in
        ["--version", "-machine help", "-device help", "-device virtio-net-pci,help", "-cpu help", "-accel help"]
    {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let alone = std::process::Command::new(&qemu).args(&arguments).output().unwrap();
        let under =
            std::process::Command::new(&qev).args(["run", "--", text(&qemu)]).args(&arguments).output().unwrap();
        assert_eq!(under, alone, "{arguments:?}");
        assert!(alone.status.success() && !alone.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_panic_that_no_event_tells_of_is_seen_on_the_console() {
    let lab = Lab::new();
    let mut run = lab.start(&["--fail-on-console", "Kernel panic"], &[]);
    run.boot();
    run.tell(PANIC);
    assert_eq!(run.end(), 101, "{}", run.told.text());
    let told = run.told.text();
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("qev: --fail-on-console 'Kernel panic': ") && last.contains("sysrq"), "{told}");
    assert!(told.contains("before it has a driver for its panic device does not tell QEMU"), "{told}");
    // The call trace behind the message is shown, too.
    assert!(run.console.text().contains("</TASK>"), "{}", run.console.text());
    lab.nothing_is_left();
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn a_qev_that_is_killed_leaves_no_real_qemu() {
    let lab = Lab::new();
    let run = lab.start(&[], &["-device", "pvpanic"]);
    run.boot();
    assert_eq!(lab.qemus().len(), 1);
    signal("-KILL", run.qev.id());
    lab.nothing_is_left_soon();
}

/// On a terminal, which QEMU shares: it passes the signal to both of us, and to the shell.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn ctrl_c_on_the_guests_console_ends_both_and_the_terminal_is_as_before() {
    let lab = Lab::new();
    for end in ["ctrl-c", "kill"] {
        let words: Vec<String> =
            lab.words(&[], &["-device", "pvpanic"]).iter().map(|word| format!("'{word}'")).collect();
        let qev = workspace::qev_program().unwrap();
        // Which ends too, unless it catches the signal: not every shell waits for what it started first.
        let script = format!("trap : INT; stty -a; '{}' {}; echo status $?; stty -a", qev.display(), words.join(" "));
        let mut command = process::bound_to_us(&SCRIPT.path().unwrap()).unwrap();
        command.env("SHELL", "/bin/sh").args(["-qec", &script, "/dev/null"]);
        let mut run = Run::start(command);
        run.boot();
        let status = match end {
            "ctrl-c" => {
                run.keyboard.write_all(b"\x03").unwrap();
                "status 130"
            }
            _ => {
                signal("-KILL", lab.qemus()[0]);
                "status 137"
            }
        };
        assert_eq!(run.end(), 0, "{end}");
        let shown = run.console.text();
        assert!(shown.contains(status), "{end}: {shown}");
        let modes: Vec<&str> = shown.lines().filter(|line| line.contains("icanon")).collect();
        assert_eq!(modes.len(), 2, "{end}: {shown}");
        assert_eq!(modes[0], modes[1], "{end}");
        lab.nothing_is_left();
    }
}

fn signal(signal: &str, process: u32) {
    let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
