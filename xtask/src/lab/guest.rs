//! A machine of the lab: QEMU under TCG, its guest, and the sockets that lead to both.
//!
//! The lab's own connections (control monitor, console) are dialled by QEMU: we listen before it starts, so there is
//! no socket file to wait for and nothing of the start is missed. The monitors for others are sockets that QEMU
//! listens on, as managers of QEMU have them; they exist once the control monitor has greeted.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::monitor::{self, Monitor};
use super::process::{self, Running};
use super::quorum::QuorumFiles;
use super::scratch::Scratch;
use super::serial::Serial;
use super::{BOOT_PATIENCE, Say};
use crate::error::{Context, Error};
use crate::programs::QEMU;

/// How long QEMU may take to leave after `quit`.
const QUIT_PATIENCE: Duration = Duration::from_secs(120);

/// What QEMU does when the guest says that it panicked: its `-action panic=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanicAction {
    /// The machine stands still.
    Pause,
    /// QEMU ends.
    Shutdown,
    /// QEMU ends with status 1.
    ExitFailure,
    /// The guest runs on.
    None,
}

impl PanicAction {
    fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Shutdown => "shutdown",
            Self::ExitFailure => "exit-failure",
            Self::None => "none",
        }
    }
}

/// How a monitor prints JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// A message a line.
    Plain,
    /// A message over many lines: `pretty=on`.
    Pretty,
}

/// What the machine has. Start from [`Options::bare`] or [`Options::for_the_five_events`] and change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// QEMU's `-m`.
    pub memory: String,
    /// Whether there is a balloon.
    pub balloon: bool,
    /// Whether the guest can tell QEMU of a panic (`-device pvpanic`), and what comes of it.
    pub panic: Option<PanicAction>,
    /// Whether there is the [quorum](super::quorum), read by nothing but `qemu-io`.
    pub quorum: bool,
    /// Sockets that QEMU listens on, by the name that [`Guest::monitor_socket`] takes.
    pub monitors: Vec<(&'static str, Print)>,
    /// Programs of this machine's that the guest can run by their names.
    pub programs: Vec<PathBuf>,
    /// A disk: a raw image that outlives the machine. It is the guest's `/dev/vda`.
    pub disk: Option<PathBuf>,
    /// Further words of the kernel's command line.
    pub kernel_words: Vec<String>,
    /// Further arguments of QEMU.
    pub arguments: Vec<OsString>,
}

impl Options {
    /// A guest with nothing but a console and the lab's own monitor.
    pub fn bare() -> Self {
        Self {
            memory: "256M".to_owned(),
            balloon: false,
            panic: None,
            quorum: false,
            monitors: Vec::new(),
            programs: Vec::new(),
            disk: None,
            kernel_words: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// A guest in which each of the five events can happen, with a plain and a pretty-printing monitor to watch them
    /// on.
    pub fn for_the_five_events() -> Self {
        Self {
            memory: "256M,slots=3,maxmem=1G".to_owned(),
            balloon: true,
            panic: Some(PanicAction::Pause),
            quorum: true,
            monitors: vec![("plain", Print::Plain), ("pretty", Print::Pretty)],
            // Memory that was plugged is used at once, but not for what can not be moved away when it is unplugged.
            kernel_words: vec!["memhp_default_state=online_movable".to_owned()],
            ..Self::bare()
        }
    }
}

/// What a machine is worked with from outside and from inside.
#[derive(Debug)]
pub struct Hands {
    /// The lab's own monitor.
    pub control: Monitor,
    /// The guest's console.
    pub serial: Serial,
}

impl Hands {
    /// Takes hold of a machine by the connections of its monitor and its serial port, and waits until its guest is up.
    pub fn take(control: Monitor, serial: UnixStream) -> Result<Self, Error> {
        let mut serial = Serial::new(serial)?;
        serial.wait_until_ready(BOOT_PATIENCE)?;
        Ok(Self { control, serial })
    }
}

/// A running machine. Its QEMU ends, and its files go, when this goes out of scope.
#[derive(Debug)]
pub struct Guest {
    // Fields are dropped in this order: first the program, last the folder that it uses.
    qemu: Running,
    hands: Hands,
    monitors: Vec<(&'static str, PathBuf)>,
    booted_in: Duration,
    scratch: Scratch,
}

impl Guest {
    /// Starts the machine and waits until the guest is up.
    pub fn boot(kernel: &Kernel, options: Options, say: Say<'_>) -> Result<Self, Error> {
        let scratch = Scratch::new()?;
        let mut machine = CommandLine::new(&scratch);
        let (control, console) = (machine.dialled_by_qemu("control")?, machine.dialled_by_qemu("serial")?);
        machine.add(["-mon", "chardev=control,mode=control", "-serial", "chardev:serial"]);
        machine.add(["-M", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", &options.memory]);
        machine.linux(kernel, &options)?;
        let monitors = machine.devices(&options)?;
        machine.add(options.arguments);

        let begin = Instant::now();
        let mut qemu = machine.start()?;
        let mut come_up = || -> Result<Hands, Error> {
            let control = Monitor::negotiate(accept(&control, &mut qemu, "its control monitor")?)?;
            let serial = accept(&console, &mut qemu, "its serial port")?;
            say(&format!("QEMU {} started as process {}", control.version(), qemu.id()));
            Hands::take(control, serial)
        };
        let hands = come_up().map_err(|error| with_log_of_qemu(error, &scratch))?;
        let booted_in = begin.elapsed();
        say(&format!("guest is up after {:.1} s", booted_in.as_secs_f64()));
        Ok(Self { qemu, hands, monitors, booted_in, scratch })
    }

    /// What it is worked with.
    pub fn hands(&mut self) -> &mut Hands {
        &mut self.hands
    }

    /// The lab's own monitor.
    pub fn control(&mut self) -> &mut Monitor {
        &mut self.hands.control
    }

    /// The guest's console.
    pub fn serial(&mut self) -> &mut Serial {
        &mut self.hands.serial
    }

    /// The QEMU process.
    pub fn qemu(&mut self) -> &mut Running {
        &mut self.qemu
    }

    /// How long it took from starting QEMU until the guest took orders.
    pub fn booted_in(&self) -> Duration {
        self.booted_in
    }

    /// A folder that goes away with the machine.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The socket of one of the monitors that the options asked for.
    pub fn monitor_socket(&self, name: &str) -> Result<&Path, Error> {
        let found = self.monitors.iter().find(|(known, _)| *known == name);
        found.map(|(_, path)| path.as_path()).ok_or_else(|| Error::new(format!("the machine has no monitor {name}")))
    }

    /// Cuts the power: QEMU is killed, and whatever the guest had not written to its disk is lost.
    pub fn cut_power(self) {
        drop(self);
    }

    /// Ends QEMU by command, and says how it ended.
    pub fn quit(mut self) -> Result<ExitStatus, Error> {
        match self.hands.control.execute(r#"{"execute": "quit"}"#) {
            // It may be gone before its reply has left.
            Ok(_) | Err(monitor::Error::Gone { .. }) => self.qemu.wait(QUIT_PATIENCE),
            Err(error) => Err(Error::because("QEMU does not quit", error)),
        }
    }
}

/// QEMU's arguments, as they come together.
struct CommandLine<'a> {
    scratch: &'a Scratch,
    arguments: Vec<OsString>,
}

impl<'a> CommandLine<'a> {
    fn new(scratch: &'a Scratch) -> Self {
        Self { scratch, arguments: Vec::new() }
    }

    fn add(&mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) {
        self.arguments.extend(arguments.into_iter().map(Into::into));
    }

    /// A chardev that QEMU connects to us when it starts.
    fn dialled_by_qemu(&mut self, name: &str) -> Result<UnixListener, Error> {
        let path = self.scratch.socket(&format!("{name}.sock"))?;
        let listener = UnixListener::bind(&path).context(|| format!("cannot listen on {}", path.display()))?;
        let chardev = format!("socket,id={name},path={},server=off", doubling_commas(&path));
        self.add(["-chardev", &chardev]);
        Ok(listener)
    }

    /// A monitor that QEMU listens for.
    fn served_by_qemu(&mut self, name: &str, print: Print) -> Result<PathBuf, Error> {
        let path = self.scratch.socket(&format!("{name}.sock"))?;
        let pretty = match print {
            Print::Plain => "",
            Print::Pretty => ",pretty=on",
        };
        let chardev = format!("socket,id={name},path={},server=on,wait=off", doubling_commas(&path));
        self.add(["-chardev", &chardev, "-mon", &format!("chardev={name},mode=control{pretty}")]);
        Ok(path)
    }

    fn linux(&mut self, kernel: &Kernel, options: &Options) -> Result<(), Error> {
        let initramfs = self.scratch.file("initramfs");
        let mut archive = Initramfs::with_drivers(kernel)?;
        for program in &options.programs {
            archive.add_program(program)?;
        }
        archive.write(&initramfs)?;
        let mut command_line = format!("{QUIETLY} panic=-1");
        for word in &options.kernel_words {
            command_line.push(' ');
            command_line.push_str(word);
        }
        self.add(["-kernel".into(), kernel.image().into_os_string(), "-initrd".into(), initramfs.into_os_string()]);
        self.add(["-append", &command_line]);
        Ok(())
    }

    fn devices(&mut self, options: &Options) -> Result<Vec<(&'static str, PathBuf)>, Error> {
        if options.balloon {
            self.add(["-device", "virtio-balloon-pci"]);
        }
        if let Some(action) = options.panic {
            self.add(["-device", "pvpanic", "-action", &format!("panic={}", action.word())]);
        }
        if let Some(disk) = &options.disk {
            let file = doubling_commas(disk);
            self.add(["-blockdev", &format!("driver=raw,node-name=disk,file.driver=file,file.filename={file}")]);
            self.add(["-device", "virtio-blk-pci,drive=disk"]);
        }
        if options.quorum {
            for node in QuorumFiles::create(self.scratch.path())?.blockdevs() {
                self.add(["-blockdev", &node]);
            }
        }
        let monitors = options.monitors.iter();
        monitors.map(|(name, print)| Ok((*name, self.served_by_qemu(name, *print)?))).collect()
    }

    fn start(self) -> Result<Running, Error> {
        let log = self.scratch.file(LOG);
        let to_log = || File::options().create(true).append(true).open(&log);
        let mut command = process::bound_to_us(&QEMU.path()?)?;
        command.args(self.arguments);
        command.stdout(to_log().context(|| format!("cannot write {}", log.display()))?);
        command.stderr(to_log().context(|| format!("cannot write {}", log.display()))?);
        Running::start(command, QEMU.name)
    }
}

/// The console is ours: on a host that stands still for a while the kernel has complaints, which would get in between what
/// the guest is asked to say. A panic is told all the same.
pub const QUIETLY: &str = "console=ttyS0 quiet loglevel=1 nowatchdog";

/// What QEMU itself prints: complaints, and the output of `qemu-io`.
const LOG: &str = "qemu.log";

/// QEMU takes a comma in a value when it is doubled.
fn doubling_commas(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Waits for QEMU to dial, and notices when it ends instead.
fn accept(listener: &UnixListener, qemu: &mut Running, what: &str) -> Result<UnixStream, Error> {
    let failed = || format!("cannot take QEMU's connection for {what}");
    listener.set_nonblocking(true).context(failed)?;
    let deadline = Instant::now() + BOOT_PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context(failed)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::because(failed(), error)),
        }
        if let Some(status) = qemu.status()? {
            return Err(Error::new(format!("QEMU ended at its start ({status}), before it connected {what}")));
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format!("QEMU did not connect {what} within {BOOT_PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// An error of a machine that did not come up, with what QEMU itself has to say.
fn with_log_of_qemu(error: Error, scratch: &Scratch) -> Error {
    match fs::read_to_string(scratch.file(LOG)) {
        Ok(log) if !log.trim().is_empty() => Error::because(error.story(), format!("QEMU says: {}", log.trim())),
        _ => error,
    }
}
