//! The same script, said live to a real QEMU and to `qev simulate`: what comes back is compared byte for byte, but for
//! times and for what is the host's.
//!
//! The scripts are the transcripts that the machine without a CPU is tested with, and the odd lines that the server is
//! tested with. Here it does not matter what was recorded: both are asked now. Nothing is said before all has come that
//! came in the recording, and never earlier than then; so throttles have the same windows. A host that stands still for a
//! second moves such a window: a difference counts when it shows three times.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xtask::lab::process::{Running, bound_to_us};
use xtask::lab::scratch::Scratch;
use xtask::programs::QEMU;
use xtask::workspace;

/// How long an answer, or an event that will come, may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a difference must show.
const TIMES: usize = 3;

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn quorums_vote_fail_flush_and_round_alike() {
    assert_eq!(compare(include_str!("../../../crates/machine/tests/transcripts/quorum.jsonl"), |_| true), 28);
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn cpu_slots_are_filled_and_refused_alike() {
    let no_guest = |config: &Value| config["boots"] == false;
    assert_eq!(compare(include_str!("../../../crates/machine/tests/transcripts/cpus.jsonl"), no_guest), 3);
}

#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn monitors_answer_alike_while_nothing_runs_and_end_alike() {
    let compared = compare(include_str!("../../../crates/machine/tests/transcripts/monitor.jsonl"), |_| true);
    assert_eq!(compared, 4);
}

/// In one session, as it was recorded.
#[test]
#[ignore = "needs a real QEMU: run by cargo xtask test"]
fn odd_and_malformed_lines_are_answered_alike() {
    let exchanges = include_str!("../../../crates/qmp/tests/data/exchanges.jsonl");
    let exchanges: Vec<Value> = exchanges.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [real, simulated] = ["qemu", "qev"].map(|program| {
        let scratch = Scratch::new().unwrap();
        let config = json!({"memory": "64M", "paused": true, "machine": "pc"});
        let mut machine = Machine::start(program, &config, &[], &scratch);
        machine.monitor.line();
        let mut heard = Vec::new();
        for exchange in &exchanges {
            let said = match exchange["send_hex"].as_str() {
                Some(hex) => {
                    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
                }
                None => exchange["send"].as_str().unwrap().as_bytes().to_vec(),
            };
            machine.monitor.say(&said);
            let answers = exchange["lines"].as_array().unwrap().iter().map(|_| machine.monitor.line());
            heard.extend(answers.map(|line| format!("{}: {line}", said.escape_ascii())));
        }
        assert!(machine.running.wait(PATIENCE).unwrap().success());
        heard
    });
    assert_eq!(exchanges.len(), 33);
    same(&real, &simulated).unwrap();
}

/// Plays those machines of a transcript whose configuration is wanted; how many there were.
fn compare(transcript: &str, wanted: impl Fn(&Value) -> bool) -> usize {
    let lines: Vec<Value> = transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let machines = lines.chunk_by(|_, next| next.get("machine").is_none());
    let wanted: Vec<_> = machines.filter(|machine| wanted(&machine[0]["config"])).collect();
    for machine in &wanted {
        let name = &machine[0]["machine"];
        let mut differences = Vec::new();
        while differences.len() < TIMES {
            let played = thread::scope(|scope| {
                ["qemu", "qev"]
                    .map(|program| scope.spawn(move || play(program, machine)))
                    .map(|side| side.join().unwrap())
            });
            match same(&played[0], &played[1]) {
                Ok(()) => break,
                Err(difference) => {
                    eprintln!("{name}: they differ, and are asked again:\n{difference}");
                    differences.push(difference);
                }
            }
        }
        assert!(differences.len() < TIMES, "{name}:\n{}", differences.join("\n"));
    }
    wanted.len()
}

/// Where two transcripts begin to differ.
fn same(real: &[String], simulated: &[String]) -> Result<(), String> {
    let alike = real.iter().zip(simulated).take_while(|(a, b)| a == b).count();
    if alike == real.len() && alike == simulated.len() {
        return Ok(());
    }
    let shown =
        |lines: &[String]| lines.iter().skip(alike.saturating_sub(2)).take(5).cloned().collect::<Vec<_>>().join("\n");
    Err(format!("QEMU:\n{}\nqev:\n{}\n", shown(real), shown(simulated)))
}

/// Plays one machine of a transcript; all that came back, and how it ended.
fn play(program: &str, script: &[Value]) -> Vec<String> {
    let scratch = Scratch::new().unwrap();
    let mut machine = Machine::start(program, &script[0]["config"], script, &scratch);
    machine.monitor.line();
    machine.monitor.say(br#"{"execute": "qmp_capabilities"}"#);
    machine.monitor.line();
    let mut heard = Vec::new();
    let mut said_at = 0.0;
    for (number, step) in script.iter().enumerate() {
        let Some(t) = step["t"].as_f64() else { continue };
        thread::sleep(Duration::from_secs_f64((t - said_at).max(0.0)));
        said_at = t;
        if let Some(by_hand) = step.get("guest") {
            machine.by_hand(by_hand);
        } else if let Some(command) = step.get("send") {
            machine.monitor.say(command.to_string().as_bytes());
        }
        let comes = script[number + 1..].iter().take_while(|line| line.get("t").is_none());
        for _ in comes.filter(|line| line.get("printed").is_none()) {
            heard.push(machine.monitor.line());
        }
    }
    if script.iter().any(|step| step["ended"].is_null() && step.get("ended").is_some()) {
        machine.monitor.say(br#"{"execute": "quit"}"#);
        // Whatever else had come would stand before this.
        heard.extend((0..2).map(|_| machine.monitor.line()));
    }
    heard.push(format!("{}", machine.running.wait(PATIENCE).unwrap()));
    // QEMU prints some complaints of its human monitor there as well; of the two, only qemu-io's output is the same.
    if script.iter().any(|step| step.get("printed").is_some()) {
        let printed = fs::read_to_string(&machine.printed).unwrap();
        heard.extend(printed.lines().map(|line| line.split_once(';').map_or(line, |(line, _)| line).to_owned()));
    }
    heard
}

/// One of the two programs, playing a machine.
struct Machine {
    running: Running,
    monitor: Monitor,
    guest: Option<Monitor>,
    images: Vec<PathBuf>,
    printed: PathBuf,
}

impl Machine {
    fn start(program: &str, config: &Value, script: &[Value], scratch: &Scratch) -> Machine {
        let images = images(config, scratch);
        let path = scratch.socket("qmp.sock").unwrap();
        let guest = scratch.socket("guest.sock").unwrap();
        let is_real = program == "qemu";
        let arguments = match is_real {
            true => real(config, &path, &images, script),
            false => simulated(config, &path, &guest, &images),
        };
        let program = if is_real { QEMU.path().unwrap() } else { workspace::qev_program().unwrap() };
        let printed = scratch.file("printed");
        let mut command = bound_to_us(&program).unwrap();
        let output = File::create(&printed).unwrap();
        // What qemu-io complains of goes to QEMU's standard error; qev says there what it serves.
        let complaints = if is_real { output.try_clone().unwrap().into() } else { Stdio::inherit() };
        command.args(arguments).stdout(output).stderr(complaints);
        let running = Running::start(command, "the machine").unwrap();
        let monitor = Monitor::connect(&path);
        let mut guest = (!is_real).then(|| Monitor::connect(&guest));
        if let Some(guest) = &mut guest {
            guest.line();
            guest.say(br#"{"execute": "qmp_capabilities"}"#);
            guest.line();
        }
        Machine { running, monitor, guest, images, printed }
    }

    /// What a hand does to the disks. Errors of the real ones were ordered when it started.
    fn by_hand(&mut self, command: &Value) {
        let arguments = &command["arguments"];
        let image = |images: &[PathBuf]| {
            let node = arguments["node"].as_str().unwrap();
            let number: usize = node.trim_start_matches('c').parse().unwrap();
            File::options().write(true).open(&images[number]).unwrap()
        };
        let number = |name: &str| arguments[name].as_u64().unwrap();
        match command["execute"].as_str().unwrap() {
            "disk-corrupt" => {
                let bytes = vec![u8::try_from(number("pattern")).unwrap(); usize::try_from(number("length")).unwrap()];
                image(&self.images).write_all_at(&bytes, number("offset")).unwrap();
            }
            "truncate" => image(&self.images).set_len(number("length")).unwrap(),
            "disk-error" => {
                if let Some(guest) = &mut self.guest {
                    guest.say(command.to_string().as_bytes());
                    assert_eq!(guest.line(), r#"{"return": {}}"#);
                }
            }
            other => panic!("nobody can do {other} to both"),
        }
    }
}

fn images(config: &Value, scratch: &Scratch) -> Vec<PathBuf> {
    let fills = config["quorum"]["fills"].as_array().cloned().unwrap_or_default();
    let image = |(number, fill): (usize, &Value)| {
        let path = scratch.file(&format!("c{number}.raw"));
        fs::write(&path, vec![u8::try_from(fill.as_u64().unwrap()).unwrap(); 1 << 20]).unwrap();
        path
    };
    fills.iter().enumerate().map(image).collect()
}

fn real(config: &Value, path: &Path, images: &[PathBuf], script: &[Value]) -> Vec<String> {
    let machine = config["machine"].as_str().unwrap_or("q35");
    let mut arguments = words(&format!("-M {machine} -nodefaults -display none"));
    arguments.extend(words(&format!("-qmp unix:{},server=on,wait=off", path.display())));
    if machine == "q35" {
        arguments.extend(words("-device pvpanic"));
    }
    for (member, option) in [("memory", "-m"), ("smp", "-smp"), ("name", "-name")] {
        arguments.extend(config[member].as_str().into_iter().flat_map(|value| [option.to_owned(), value.to_owned()]));
    }
    for (member, option) in [("paused", "-S"), ("no-reboot", "-no-reboot"), ("no-shutdown", "-no-shutdown")] {
        arguments.extend((config[member] == true).then(|| option.to_owned()));
    }
    let mut nodes = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let name = format!("c{number}");
        let file = json!({"driver": "file", "filename": image.to_str().unwrap()});
        let errors: Vec<Value> = script.iter().filter_map(|step| error_of(&step["guest"], &name)).collect();
        // The quorum's child is blkdebug itself: a node above it would not pass the errors of a flush on.
        nodes.push(match errors.is_empty() {
            true => json!({"driver": "raw", "node-name": name, "file": file}),
            false => {
                let image = json!({"driver": "raw", "file": file});
                json!({"driver": "blkdebug", "node-name": name, "image": image, "inject-error": errors})
            }
        });
    }
    if let Some(quorum) = config.get("quorum") {
        let children: Vec<String> = (0..images.len()).map(|number| format!("c{number}")).collect();
        let pattern = quorum["read-pattern"].as_str().unwrap_or("quorum");
        nodes.push(json!({
            "driver": "quorum", "node-name": "q0", "vote-threshold": quorum["vote-threshold"], "children": children,
            "read-pattern": pattern,
        }));
    }
    arguments.extend(nodes.iter().flat_map(|node| ["-blockdev".to_owned(), node.to_string()]));
    arguments
}

/// The error that a script orders for a child, as QEMU's blkdebug has it.
fn error_of(command: &Value, child: &str) -> Option<Value> {
    if command["execute"] != "disk-error" || command["arguments"]["node"] != child {
        return None;
    }
    let arguments = &command["arguments"];
    Some(json!({"event": "none", "iotype": arguments["operation"], "errno": arguments["errno"]}))
}

fn simulated(config: &Value, path: &Path, guest: &Path, images: &[PathBuf]) -> Vec<String> {
    let mut arguments = words(&format!("simulate --qmp {} --guest {}", path.display(), guest.display()));
    for (member, option) in [("memory", "--memory"), ("smp", "--smp"), ("name", "--name")] {
        arguments.extend(config[member].as_str().into_iter().flat_map(|value| [option.to_owned(), value.to_owned()]));
    }
    for (member, option) in [("paused", "--paused"), ("no-reboot", "--no-reboot"), ("no-shutdown", "--no-shutdown")] {
        arguments.extend((config[member] == true).then(|| option.to_owned()));
    }
    if let Some(quorum) = config.get("quorum") {
        let children: Vec<_> = images.iter().map(|image| image.to_str().unwrap()).collect();
        let (threshold, pattern) = (&quorum["vote-threshold"], quorum["read-pattern"].as_str().unwrap_or("quorum"));
        let children = children.join(":");
        arguments.push("--quorum".to_owned());
        arguments.push(format!("q0,vote-threshold={threshold},read-pattern={pattern},children={children}"));
    }
    arguments
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// A client of one of the two.
struct Monitor {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Monitor {
    fn connect(path: &Path) -> Monitor {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("no monitor at {}: {error}", path.display()),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Monitor { stream, reader }
    }

    fn say(&mut self, said: &[u8]) {
        // If the machine is gone, that is seen by reading.
        let _ = self.stream.write_all(said);
    }

    /// The next line, without its time and without what is the host's.
    fn line(&mut self) -> String {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => "<EOF>".to_owned(),
            Ok(_) => ours(line.trim_end()),
            // QEMU resets the connection when it exits.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "<EOF>".to_owned(),
            Err(error) => format!("<{error}>"),
        }
    }
}

/// A line without the time of an event, the numbers of the host's threads, and the program's package.
fn ours(line: &str) -> String {
    let mut line = line.to_owned();
    for (before, behind) in [("\"timestamp\": {", "}, "), ("\"thread-id\": ", ", \"props\""), ("\"package\": \"", "\"")]
    {
        let mut from = 0;
        while let Some(at) = line[from..].find(before).map(|at| from + at) {
            let begin = at + before.len();
            let Some(length) = line[begin..].find(behind) else { break };
            // A thread of a core is no thread of the host's.
            let is_hosts =
                before != "\"thread-id\": " || line[begin..begin + length].bytes().all(|b| b.is_ascii_digit());
            if is_hosts {
                line.replace_range(begin..begin + length, "");
            }
            from = begin;
        }
    }
    line
}
