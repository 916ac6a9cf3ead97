//! A real QEMU and a simulated machine with the same configuration, and a client that says the same to both.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use xtask::Error;
use xtask::error::Context;
use xtask::lab::process::{Running, bound_to_us};
use xtask::lab::quorum::QuorumFiles;
use xtask::lab::scratch::Scratch;

use super::compare::{Counts, Difference, Frames, difference};
use super::round::{MachineKind, Session, Setting};

/// How long a machine may take to serve its monitor, and to answer what is sent at once.
const PATIENCE: Duration = Duration::from_secs(300);

const NAME: &str = "é \"vm\" <1>";
const UUID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// The programs that are compared.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) qemu: PathBuf,
    pub(super) qev: PathBuf,
}

/// Two machines of one setting.
#[derive(Debug)]
pub(super) struct Pair {
    real: Machine,
    simulated: Machine,
    pretty: bool,
    exchanges: u64,
    _scratch: Scratch,
}

#[derive(Debug)]
struct Machine {
    program: Running,
    monitor: PathBuf,
    /// What it says to a person.
    complaints: PathBuf,
}

/// Where in a session the two did not agree.
#[derive(Debug)]
pub(super) struct Found {
    /// Behind which piece.
    pub(super) piece: usize,
    pub(super) difference: Difference,
}

impl Pair {
    /// Starts both.
    pub(super) fn start(programs: &Programs, setting: Setting) -> Result<Pair, Error> {
        let scratch = Scratch::new()?;
        let real = Machine::start(&programs.qemu, scratch.socket("real")?, &real_arguments(setting, &scratch)?)?;
        let simulated =
            Machine::start(&programs.qev, scratch.socket("sim")?, &simulated_arguments(setting, &scratch)?)?;
        Ok(Pair { real, simulated, pretty: setting.pretty, exchanges: 0, _scratch: scratch })
    }

    /// Lets one client say all that it has to say to both; stops where they do not agree.
    pub(super) fn play(&mut self, session: &Session, counts: &mut Counts) -> Result<Option<Found>, Error> {
        let mut real = Monitor::connect(&self.real, self.pretty)?;
        let mut simulated = Monitor::connect(&self.simulated, self.pretty)?;
        let greetings = [&mut real, &mut simulated].map(|monitor| vec![monitor.frame()]);
        let [real_greeting, simulated_greeting] = &greetings;
        if let Some(difference) = difference(real_greeting, simulated_greeting, false, counts) {
            return Ok(Some(Found { piece: 0, difference }));
        }
        let at_once = if session.stepped { 1 } else { session.pieces.len().max(1) };
        for (number, pieces) in session.pieces.chunks(at_once).enumerate() {
            let said = pieces.concat();
            let has = |what: &[u8]| said.windows(what.len()).any(|window| window == what);
            let comes_later = [&b"system_"[..], b"exec-oob", b"\\u"].iter().any(|what| has(what));
            let any_order = session.stepped && comes_later;
            // An event that QEMU's main loop sends of itself has come by the second answer.
            let times = if any_order { 2 } else { 1 };
            let ends: Vec<String> = (0..times).map(|_| self.next_end()).collect();
            real.say(&said, &ends);
            simulated.say(&said, &ends);
            let (real, simulated) = (real.answers(&ends), simulated.answers(&ends));
            if let Some(difference) = difference(&real, &simulated, any_order, counts) {
                return Ok(Some(Found { piece: number * at_once, difference }));
            }
        }
        Ok(None)
    }

    /// How those of the two ended that did; that takes a moment to be seen.
    pub(super) fn ends(&mut self) -> Result<Vec<String>, Error> {
        let mut ends = Vec::new();
        for (name, machine) in [("QEMU", &mut self.real), ("qev", &mut self.simulated)] {
            std::thread::sleep(Duration::from_millis(100));
            if let Some(status) = machine.program.status()? {
                let complaints = fs::read_to_string(&machine.complaints).unwrap_or_default();
                ends.push(format!("{name} has ended ({status}) {}", complaints.trim()));
            }
        }
        Ok(ends)
    }

    /// Ends both by `quit`; they are to agree about that as well.
    pub(super) fn quit(mut self, counts: &mut Counts) -> Result<Option<Found>, Error> {
        let said = b"{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"quit\", \"id\": \"the last\"}";
        let said_by = |machine: &Machine| -> Result<Frames, Error> {
            let mut monitor = Monitor::connect(machine, self.pretty)?;
            monitor.say(said, &[]);
            Ok(monitor.answers(&["nothing is asked for behind this".to_owned()]))
        };
        let (real, simulated) = (said_by(&self.real)?, said_by(&self.simulated)?);
        let found = difference(&real, &simulated, false, counts);
        self.real.program.wait(PATIENCE)?;
        self.simulated.program.wait(PATIENCE)?;
        Ok(found.map(|difference| Found { piece: 0, difference }))
    }

    fn next_end(&mut self) -> String {
        self.exchanges += 1;
        format!("the end of exchange {}", self.exchanges)
    }
}

fn real_arguments(setting: Setting, scratch: &Scratch) -> Result<Vec<String>, Error> {
    let socket = scratch.socket("real")?;
    let pretty = if setting.pretty { "on" } else { "off" };
    let mut arguments = words("-nodefaults -display none -S");
    arguments.extend([
        "-chardev".to_owned(),
        format!("socket,id=qmp,path={},server=on,wait=off", socket.display()),
        "-mon".to_owned(),
        format!("chardev=qmp,mode=control,pretty={pretty}"),
    ]);
    match setting.machine {
        MachineKind::Bare => arguments.extend(words("-M pc -m 64")),
        MachineKind::Equipped => {
            arguments.extend(words("-M q35 -m 128M,slots=3,maxmem=1G -device virtio-balloon-pci -device pvpanic-pci"));
            arguments.extend(["-name", NAME, "-uuid", UUID].map(str::to_owned));
            for node in images(scratch, "real")?.blockdevs() {
                arguments.extend(["-blockdev".to_owned(), node]);
            }
        }
    }
    Ok(arguments)
}

fn simulated_arguments(setting: Setting, scratch: &Scratch) -> Result<Vec<String>, Error> {
    let socket = scratch.socket("sim")?;
    let mut arguments = words("simulate --paused --qmp");
    arguments.push(socket.display().to_string());
    if setting.pretty {
        arguments.push("--pretty".to_owned());
    }
    match setting.machine {
        MachineKind::Bare => arguments.extend(words("--memory 64M")),
        MachineKind::Equipped => {
            arguments.extend(words("--memory 128M,slots=3,maxmem=1G --balloon"));
            arguments.extend(["--name", NAME, "--uuid", UUID].map(str::to_owned));
            images(scratch, "simulated")?;
            let children: Vec<String> = (0..3)
                .map(|child| format!("c{child}@{}/simulated-images/c{child}.raw", scratch.path().display()))
                .collect();
            arguments.push("--quorum".to_owned());
            arguments.push(format!("q0,vote-threshold=2,children={}", children.join(":")));
        }
    }
    Ok(arguments)
}

/// The images of one of the two: what it writes, the other must not read.
fn images(scratch: &Scratch, whose: &str) -> Result<QuorumFiles, Error> {
    let folder = scratch.file(&format!("{whose}-images"));
    fs::create_dir(&folder).context(|| format!("cannot make {}", folder.display()))?;
    QuorumFiles::create(&folder)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

impl Machine {
    fn start(program: &Path, monitor: PathBuf, arguments: &[String]) -> Result<Machine, Error> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let mut command = bound_to_us(program)?;
        let complaints = monitor.with_extension("stderr");
        let file = File::create(&complaints).context(|| format!("cannot make {}", complaints.display()))?;
        command.args(arguments).stdout(Stdio::null()).stderr(file);
        Ok(Machine { program: Running::start(command, &name)?, monitor, complaints })
    }

    fn no_monitor(&self, error: std::io::Error) -> Error {
        let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
        Error::because(format!("no monitor at {}; {}", self.monitor.display(), complaints.trim()), error)
    }
}

/// One client's connection to one machine.
struct Monitor {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    pretty: bool,
}

/// Stands for a frame when none came.
const ENDED: &[u8] = b"(the connection ended)";
const SILENT: &[u8] = b"(nothing more came in time)";

impl Monitor {
    fn connect(machine: &Machine, pretty: bool) -> Result<Monitor, Error> {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&machine.monitor) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => return Err(machine.no_monitor(error)),
            }
        };
        let context = || "cannot set up a connection".to_owned();
        stream.set_read_timeout(Some(PATIENCE)).context(context)?;
        let reader = BufReader::new(stream.try_clone().context(context)?);
        Ok(Monitor { stream, reader, pretty })
    }

    /// Sends this, and behind it requests that tell where their answers end: 0xFF, so that whatever was begun is over,
    /// and a request with an id.
    fn say(&mut self, said: &[u8], ends: &[String]) {
        let mut bytes = said.to_vec();
        for end in ends {
            bytes.extend_from_slice(b"\xFF\n");
            bytes.extend_from_slice(format!("{{\"execute\": \"query-name\", \"id\": \"{end}\"}}\n").as_bytes());
            // If the machine is gone, that is seen by reading.
            let _ = self.stream.write_all(&bytes);
            bytes.clear();
        }
        let _ = self.stream.write_all(&bytes);
    }

    /// All frames up to the answer with the last of these ids, or to the end of the connection.
    fn answers(&mut self, ends: &[String]) -> Frames {
        let mut frames = Frames::new();
        let last = ends.last().map(|end| format!("\"id\": \"{end}\"")).unwrap_or_default();
        loop {
            let frame = self.frame();
            let over = frame == ENDED || frame == SILENT;
            let is_last = frame.windows(last.len()).any(|window| window == last.as_bytes());
            frames.push(frame);
            if over || is_last {
                return frames;
            }
        }
    }

    /// The next message: a line, or lines up to one that is only a bracket.
    fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        loop {
            let from = frame.len();
            match self.reader.read_until(b'\n', &mut frame) {
                Ok(0) => return [frame, ENDED.to_vec()].concat(),
                Ok(_) if self.pretty && frame.get(from..) != Some(b"}\r\n") => {}
                Ok(_) => return frame,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return [frame, SILENT.to_vec()].concat();
                }
                // QEMU resets the connection when it exits.
                Err(_) => return [frame, ENDED.to_vec()].concat(),
            }
        }
    }
}
