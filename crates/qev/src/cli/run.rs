//! `qev run`: starts a QEMU, shows its events, and ends with what became of the guest.
//!
//! ```text
//!                    greeting                 a verdict that ends it: --stop-on, --fail-on, a panic that paused it,
//!                                             the time is over, Ctrl-C
//!   Starting ──────────────────► Running ────────────────────────────────────────► Ending: quit, SIGTERM, SIGKILL
//!      │ it ends                    │ it ends by itself                                 │ it ends
//!      └────────────────────────────┴──────────────► the rest of its events ◄───────────┘
//!                                                        │
//!                                                        ▼
//!                                                     the verdict
//! ```
//!
//! The monitor is one end of a pair of sockets, and what QEMU needs to send events waits in it before QEMU starts. So no
//! path is needed, nobody else can take it, and nothing that a guest does is missed.
//!
//! Standard input, standard output and the terminal stay QEMU's own: the guest's console may be on them. QEMU stays in
//! our process group for that; so Ctrl-C reaches both of us. That it does not outlive us is for [`crate::bound`]. With
//! `--fail-on-console` standard output passes through us ([`console`]).

mod arguments;
mod console;
mod outlet;
mod panic_device;
mod qemu;
mod verdict;

use super::{complete, duration, typo_hints};
use crate::exit::{Exit, Failure};
use crate::monitor::{Monitor, ROOM, hostname};
use crate::printer::Format;
use crate::signals::{self, Signals};
use console::{Console, Found};
use outlet::Outlet;
use qemu::{Ended, Qemu};
use qev_link::{Client, ConnectError, ConnectOptions, EventItem, Events};
use qev_record::filter::{Glob, TextSearch, Where};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use verdict::Judge;

/// How long QEMU may take to greet: as long as it likes, for it may have to touch a terabyte of memory first.
const GREETING: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the rest of its events, and of its console, may take when QEMU has ended.
const REST: Duration = Duration::from_secs(2);

/// When it is said that nothing answers on the monitor.
const SILENT: Duration = Duration::from_secs(5);

/// After a text of `--fail-on-console` the console is shown until nothing came for so long: a panic's call trace comes
/// behind its message.
const QUIET_AFTER_TEXT: Duration = Duration::from_secs(1);

/// How long the console is shown after a text of `--fail-on-console` when it does not become quiet.
const LONGEST_AFTER_TEXT: Duration = Duration::from_secs(10);

/// Why nothing answers on the monitor.
const NO_ANSWER: &str = "no events are seen: a script around QEMU must pass all of its arguments on (\"$@\"), for the \
                         monitor is among them";

/// How a panic is noticed that no event tells of.
const EARLY_PANIC: &str = "a guest that panics before it has a driver for its panic device does not tell QEMU: with \
                           panic=-1 for its kernel and -no-reboot for QEMU such a panic ends the run, and --fail-on-console \
                           'Kernel panic' sees it on the console";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events are shown on standard error; standard input and output are QEMU's. qev adds a monitor of its own to the arguments.

    qev run --timeout 5m -- qemu-system-x86_64 -M q35 -device pvpanic -no-reboot -nographic -kernel bzImage …

--fail-on-console looks for a text in what QEMU writes to standard output, which is the guest's console with -nographic or \
-serial stdio; a text without capital letters is found in upper and lower case. It sees a panic that comes before the guest \
has a driver for its panic device; so does -no-reboot with panic=-1 on the kernel's command line.

    qev run --fail-on-console 'Kernel panic' -- qemu-system-x86_64 -nographic -kernel bzImage -append console=ttyS0

What only asks for information, such as --version or -device help, is QEMU's own affair: its output, and its status.

Exit codes, the first that applies:
  124  the time is over
  101  an event of --fail-on came, or a text of --fail-on-console
  100  the guest panicked; QEMU needs a panic device to know, such as -device pvpanic
    0  an event of --stop-on came
    N  QEMU's own status when that is not 0; 128+N when signal N ended it, 126 when it cannot be
       run, 127 when there is no such program
  102  the guest reset under -no-reboot, unless --allow-reset
    0  it shut down
130 and 143 say that qev was ended by Ctrl-C or SIGTERM. In each case QEMU has ended as well.")]
pub(crate) struct Args {
    /// End QEMU with 0 when this event comes, a name or a glob; repeatable, any of them
    #[arg(long, value_name = "EVENT", add = complete::events())]
    stop_on: Vec<Glob>,

    /// End QEMU with 101 when this event comes, a name or a glob; repeatable, any of them
    #[arg(long, value_name = "EVENT", add = complete::events())]
    fail_on: Vec<Glob>,

    /// End QEMU with 101 when this text is on its standard output, where the guest's console may be; repeatable, any of them
    #[arg(long, value_name = "TEXT")]
    fail_on_console: Vec<TextSearch>,

    /// Only events of --stop-on and --fail-on that have this value, such as data.device=d1, or another one, data.device!=d1;
    /// repeatable, all of them
    #[arg(short, long, value_name = "PATH=VALUE")]
    r#where: Vec<Where>,

    /// End QEMU with 124 after this time
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// A guest that resets under -no-reboot is as good as one that shuts down
    #[arg(long)]
    allow_reset: bool,

    /// Write the records of all events to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// What the events on standard error look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// QEMU and its arguments
    #[arg(required = true, last = true, value_name = "QEMU")]
    command: Vec<OsString>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    refuse(&args)?;
    typo_hints::check(args.stop_on.iter().chain(&args.fail_on), &args.r#where)?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // The handlers stand before QEMU does: it must not be left behind.
    let signals = Signals::catch(signals::TO_END)?;
    let outlet = Outlet::start(args.output, args.record.as_deref())?;
    let asks = arguments::ask_for_information(&args.command);
    // QEMU prints the same with a monitor and without one, and may warn of the monitor.
    let (line, monitor) = match asks && arguments::is_qemu(&args.command) {
        true => (Line::Failed, None),
        false => {
            let (ours, theirs) = qemu::monitor()?;
            (Line::Connecting(tokio::spawn(connect(ours, arguments::name(&args.command)))), Some(theirs))
        }
    };
    // The negotiation is written now.
    tokio::task::yield_now().await;
    let (console, stdout) = match args.fail_on_console.is_empty() {
        true => (None, None),
        false => {
            let made = Console::start(args.fail_on_console.clone());
            let (console, stdout) =
                made.map_err(|error| Failure::new(Exit::Failed, error).about("making a pipe for the console"))?;
            (Some(console), Some(stdout))
        }
    };
    let qemu = Qemu::start(&args.command, monitor, stdout)?;
    let judge = Judge::new(args.stop_on, args.fail_on, args.r#where, args.allow_reset);
    let mut run = Run { qemu, line, console, check: None, judge, outlet, signals, has_kernel_panic: false };
    for hint in hints(&args.command, run.console.is_some()) {
        run.outlet.say(hint);
    }
    let ended = run.until_ended(deadline).await;
    run.rest().await;
    let is_silent = matches!(&run.line, Line::Connecting(_) | Line::Failed);
    if let (Ended::Status(status), true, true, false) = (&ended, is_silent, asks, run.judge.is_done()) {
        run.outlet.finish().await;
        return Ok(Exit::of_command(*status));
    }
    if let (Ended::Status(_), true) = (&ended, is_silent) {
        run.judge.never_spoke();
    }
    let (exit, mut sentence) = run.judge.verdict(&ended, args.timeout);
    if exit == Exit::TimedOut && is_silent {
        sentence.push_str(&format!("; nothing answered on the monitor, so {NO_ANSWER}"));
    }
    let is_told = arguments::has(&args.command, "no-reboot") && arguments::mention(&args.command, "panic=");
    let waits = ["S", "preconfig"].iter().any(|option| arguments::has(&args.command, option));
    let may_have_panicked = run.has_kernel_panic || (exit == Exit::TimedOut && !is_silent && !is_told && !waits);
    if may_have_panicked && !run.judge.has_panic() {
        run.outlet.say(EARLY_PANIC);
    }
    run.outlet.say(&sentence);
    run.outlet.finish().await;
    Ok(exit)
}

/// What is to be said as soon as QEMU runs.
fn hints(command: &[OsString], has_console: bool) -> Vec<&'static str> {
    let mut hints = Vec::new();
    if arguments::has(command, "S") {
        hints.push("the guest waits for a cont over another monitor (-S)");
    }
    if arguments::has(command, "preconfig") {
        hints.push("QEMU waits for an x-exit-preconfig over another monitor (-preconfig)");
    }
    if has_console && !["nographic", "stdio"].iter().any(|text| arguments::mention(command, text)) {
        hints.push("--fail-on-console looks at QEMU's standard output: without -nographic or -serial stdio no console is there");
    }
    hints
}

/// What cannot work.
fn refuse(args: &Args) -> Result<(), Failure> {
    if arguments::has(&args.command, "daemonize") {
        return Err(Failure::usage(
            "-daemonize: qev run waits for QEMU to end, so QEMU cannot go into the background; leave it out, and put qev \
             run there instead",
        ));
    }
    if args.stop_on.is_empty() && args.fail_on.is_empty() && !args.r#where.is_empty() {
        return Err(Failure::usage("--where says which events of --stop-on and --fail-on count: give one of them too"));
    }
    Ok(())
}

/// A monitor that answered.
struct Monitored {
    client: Client,
    events: Events,
    monitor: Monitor,
}

async fn connect(stream: UnixStream, name: String) -> Result<Monitored, ConnectError> {
    let options = ConnectOptions::default().ahead(true).greeting_timeout(GREETING).events(ROOM);
    let (client, events) = Client::over(stream, options).await?;
    let monitor = Monitor::of(&client, &hostname(), || name).await;
    Ok(Monitored { client, events, monitor })
}

/// The way to QEMU's monitor.
enum Line {
    Connecting(JoinHandle<Result<Monitored, ConnectError>>),
    Connected(Box<Monitored>),
    /// It never answered.
    Failed,
    Over,
}

/// What came over it.
enum Came {
    Connected(Box<Monitored>),
    Item(EventItem),
    /// Nothing that is of use; with a sentence, unless QEMU has just ended.
    Failed(Option<String>),
}

impl Line {
    /// The next that comes; for ever when nothing more will. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Came {
        match self {
            Line::Connecting(connecting) => match connecting.await {
                Ok(Ok(monitored)) => Came::Connected(monitored.into()),
                Ok(Err(ConnectError::Ended { .. })) => Came::Failed(None),
                Ok(Err(error)) => Came::Failed(Some(error.to_string())),
                Err(error) => Came::Failed(Some(error.to_string())),
            },
            Line::Connected(monitored) => Came::Item(monitored.events.next().await),
            Line::Failed | Line::Over => std::future::pending().await,
        }
    }

    fn client(&self) -> Option<&Client> {
        match self {
            Line::Connected(monitored) => Some(&monitored.client),
            _ => None,
        }
    }
}

struct Run {
    qemu: Qemu,
    line: Line,
    /// The console, when a text is looked for on it.
    console: Option<Console>,
    /// The guest's kernel said on its console that it panicked.
    has_kernel_panic: bool,
    /// Whether the guest can tell of a panic, while that is being asked.
    check: Option<JoinHandle<Option<String>>>,
    judge: Judge,
    outlet: Outlet,
    signals: Signals,
}

/// A text of `--fail-on-console` was found: how much longer the console is shown.
struct AfterText {
    /// When to look whether the console is quiet.
    look_at: Instant,
    /// When its time is over, quiet or not.
    end: Instant,
}

impl Run {
    async fn until_ended(&mut self, deadline: Option<Instant>) -> Ended {
        let mut silent = Some(Instant::now() + SILENT);
        let mut text: Option<AfterText> = None;
        loop {
            let is_silent = matches!(self.line, Line::Connecting(_));
            let judged = self.judge.is_done();
            let client = self.line.client().cloned();
            tokio::select! {
                step = self.qemu.next(client.as_ref()) => match step {
                    qemu::Step::Ended(ended) => return ended,
                    qemu::Step::Insists(how) => self.outlet.say(&how),
                },
                came = self.line.next() => self.take(came),
                found = next(&mut self.console) => {
                    if self.found(found) && text.is_none() {
                        let now = Instant::now();
                        text = Some(AfterText { look_at: now + QUIET_AFTER_TEXT, end: now + LONGEST_AFTER_TEXT });
                    }
                }
                () = at(text.as_ref().map(|text| text.look_at)), if !judged => {
                    let quiet_at = self.console.as_ref().and_then(Console::last_output).map(|last| last + QUIET_AFTER_TEXT);
                    match (quiet_at, &mut text) {
                        (Some(quiet_at), Some(text)) if quiet_at > Instant::now() && text.look_at < text.end => {
                            text.look_at = quiet_at.min(text.end);
                        }
                        _ => self.judge.console_shown(),
                    }
                }
                () = at(silent), if is_silent && !judged => {
                    silent = None;
                    self.outlet.say(&format!("nothing has answered on the monitor for {SILENT:?}, so {NO_ANSWER}"));
                }
                () = at(deadline), if !judged => self.judge.timed_out(),
                number = self.signals.next() => {
                    if self.judge.is_done() {
                        self.qemu.hurry();
                    }
                    self.judge.interrupted(number);
                }
                warning = warning(&mut self.check) => if let Some(warning) = warning {
                    self.outlet.say(&warning);
                },
            }
            if self.judge.is_done() {
                self.qemu.end();
            }
        }
    }

    /// Whether what was found on the console ends the run.
    fn found(&mut self, found: Found) -> bool {
        match found {
            Found::Text { text, line } => {
                self.judge.console_has(&text, &line);
                true
            }
            Found::Panic => {
                self.has_kernel_panic = true;
                false
            }
        }
    }

    fn take(&mut self, came: Came) {
        match came {
            Came::Connected(monitored) => {
                self.check = Some(tokio::spawn(panic_device::missing(monitored.client.clone())));
                self.outlet.put(monitored.monitor.attached());
                self.line = Line::Connected(monitored);
            }
            Came::Failed(why) => {
                if let Some(why) = why {
                    self.outlet.say(&format!("no events are seen: {why}"));
                }
                self.line = Line::Failed;
            }
            Came::Item(item) => {
                let Line::Connected(monitored) = &self.line else { return };
                if let Some(record) = monitored.monitor.record(&item) {
                    self.judge.take(&record);
                    self.outlet.put(record);
                }
                if let EventItem::Ended(_) = item {
                    self.line = Line::Over;
                }
            }
        }
    }

    /// What QEMU said before it ended and is still to be read. Should the monitor live on, so does a QEMU: what was
    /// started had only started it.
    async fn rest(&mut self) {
        if let Some(console) = &mut self.console {
            // What QEMU left running may keep it open.
            let _ = tokio::time::timeout(REST, console.ended()).await;
            for found in console.rest() {
                self.found(found);
            }
        }
        if self.take_until(REST).await {
            return;
        }
        if let Some(client) = self.line.client().cloned() {
            self.outlet.say("the program has ended and its QEMU has not: telling that to quit");
            tokio::spawn(async move { client.execute_with_timeout("quit", None, qemu::QUIT).await });
            if !self.take_until(qemu::QUIT).await {
                self.outlet.say("it still runs; start QEMU by exec, so that it can be ended by signals too");
            }
        }
    }

    /// Whether the monitor ended within this time.
    async fn take_until(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !matches!(self.line, Line::Over | Line::Failed) {
            match tokio::time::timeout_at(until, self.line.next()).await {
                Ok(came) => self.take(came),
                Err(_) => return false,
            }
        }
        true
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What is found next on the console; for ever when none is looked at.
async fn next(console: &mut Option<Console>) -> Found {
    match console {
        Some(console) => console.next().await,
        None => std::future::pending().await,
    }
}

/// What is wrong, once; for ever when nothing is being asked.
async fn warning(check: &mut Option<JoinHandle<Option<String>>>) -> Option<String> {
    match check {
        Some(asked) => {
            let warning = asked.await;
            *check = None;
            warning.ok().flatten()
        }
        None => std::future::pending().await,
    }
}
