//! `qev log`: the history, and what is added to it.
//!
//! ```text
//!   a daemon runs ──► asked over its socket ─────────────────────────────┐
//!   none does ──────► the journal's files are read                       ├──► records, in their order
//!         ▲     -f        └──► waits for a daemon, asks behind the last ─┘
//!         └────────────────────── the daemon went away ◄─────────────────┘
//! ```
//!
//! The cursor is a sequence number, so nothing is missed or shown twice over any number of daemons. What was shown while the
//! journal could not be written (`"durable":false`) has none; it is shown again, with its number, once it is kept.

use super::machine_names::Known;
use super::select::{Select, as_options, number, sequence_number};
use super::when;
use crate::daemon::control::client::{Answer, AskError, ask};
use crate::daemon::control::request::{Log, Request};
use crate::daemon::follow::{Item, Pages, Wanted, last_missing, up_to};
use crate::daemon::{journal_dir, recorder::in_words};
use crate::exit::{Exit, Failure, tell};
use crate::places;
use crate::printer::{Clock, Closed, Format, Layout, Printer};
use crate::signals::Signals;
use qev_journal::{Query, ReadError, Reader};
use qev_qmp::Timestamp;
use qev_record::filter::TextSearch;
use qev_record::{Filter, Record};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::SignalKind;

/// How soon it is looked again for a daemon.
const AGAIN: Duration = Duration::from_millis(250);

/// How many records a person sees before what follows, as in journalctl.
const BEFORE_FOLLOWING: u64 = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks the daemon, or reads the journal's files when none runs. With -f it waits for a daemon then. With -e or -w it shows \
the gaps, too, that may hide what was asked for.

    qev log -n 20                              the last 20
    qev log -f                                 the last 10, and what comes
    qev log -f -o json                         everything, and what comes
    qev log --since yesterday --severity error
    qev log -m 'web*' -e 'GUEST_*' -w data.action=pause
    qev log --since 10m -g 'kernel panic'

A line shows when QEMU says that its event happened, in local time; what is no event, when qev recorded it. --since and \
--until go by when qev received something: 10m (ago), -1h30min, '2 days ago', now, today, 'yesterday 11:35', 11:35, \
2026-11-22, '2026-11-22 11:35 UTC', @1795347310, 2026-11-22T11:35:10Z; local time unless they say otherwise.

On a terminal the output is shown in a pager: $PAGER, else less. With -f it is not.")]
pub(crate) struct Args {
    /// Go on with what comes, until it is ended; with text and without -n or a beginning, behind the last 10
    #[arg(short, long, conflicts_with_all = ["reverse", "until"])]
    follow: bool,

    /// Only the last N
    #[arg(short = 'n', long, value_name = "N", value_parser = number)]
    lines: Option<u64>,

    /// The newest first
    #[arg(short, long)]
    reverse: bool,

    #[command(flatten)]
    select: Select,

    /// Only what was received from this time on, such as -1h or yesterday
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = when::parse)]
    since: Option<Timestamp>,

    /// Only what was received up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = when::parse)]
    until: Option<Timestamp>,

    /// Only behind the record with this sequence number
    #[arg(long, value_name = "SEQ", value_parser = sequence_number)]
    after: Option<u64>,

    /// Begin each line with the record's sequence number
    #[arg(long)]
    seq: bool,

    #[command(flatten)]
    clock: Clock,

    /// Do not show the output in a pager
    #[arg(long)]
    no_pager: bool,

    /// Check that the journal is whole, instead of showing it: ends with 1 when it is not
    #[arg(long, conflicts_with_all = ["follow", "lines", "reverse", "since", "until", "after", "event", "where", "machine", "severity", "grep"])]
    check: bool,

    /// What records look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Where the daemon keeps its state
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let state_dir = state_dir(args.state_dir.clone())?;
    if args.check {
        return check(&state_dir);
    }
    let mut filter = Filter { since: args.since, until: args.until, ..args.select.filter()? };
    // Who asks for certain events is told where some of them may be missing.
    filter.gaps = !filter.events.is_empty() || !filter.wheres.is_empty();
    let layout = Layout {
        format: args.output,
        clock: args.clock,
        machine_width: 8,
        dates: true,
        seq: args.seq,
        pager: !args.follow && !args.no_pager,
    };
    let mut show = Show {
        printer: Printer::start(layout),
        state_dir,
        wanted: Wanted { filter, ..Wanted::default() },
        found: Found::Nothing,
        has_problems: false,
    };
    let closed = show.printer.closed();
    let interrupted = interrupted(&args, &show.printer)?;
    let shown = tokio::select! {
        biased;
        shown = show.run(&args) => shown,
        () = closed => Err(Ended::Closed),
        number = interrupted => Err(Ended::Interrupted(number)),
    };
    show.printer.finish()?;
    match shown {
        Err(Ended::Closed) => Ok(Exit::Done),
        Err(Ended::Interrupted(number)) => Ok(Exit::Command(128 + number)),
        Err(Ended::Failure(failure)) => Err(failure),
        Ok(()) => {
            if let (Found::Nothing, Some(sentence)) = (show.found, nothing(&show.state_dir, &show.wanted.filter).await)
            {
                tell(&sentence);
            }
            Ok(if show.has_problems { Exit::Failed } else { Exit::Done })
        }
    }
}

/// Until Ctrl-C is for us. Where a pager shows the output it is for the pager, which may stay.
fn interrupted(args: &Args, printer: &Printer) -> Result<impl Future<Output = u8> + use<>, Failure> {
    let has_pager = printer.pager_state();
    let to_catch = if args.follow || args.no_pager { &[][..] } else { &[SignalKind::interrupt()][..] };
    let mut signals = Signals::catch(to_catch)?;
    Ok(async move {
        loop {
            let number = signals.next().await;
            if !has_pager.load(Ordering::Relaxed) {
                return number;
            }
        }
    })
}

/// What is to be said where nothing was found: what was looked for, and what there is.
async fn nothing(state_dir: &Path, filter: &Filter) -> Option<String> {
    let options = as_options(filter);
    if options.is_empty() {
        return None;
    }
    let mut sentence = format!("no record matches {options}");
    if let Some(unmatched) = unmatched(state_dir, filter).await {
        sentence.push_str(&format!(": {unmatched}"));
    }
    if let Some(hint) = filter.text.as_ref().and_then(TextSearch::hint) {
        sentence.push_str(&format!("; {hint}"));
    }
    Some(sentence)
}

/// That no machine is known of those that are asked for.
async fn unmatched(state_dir: &Path, filter: &Filter) -> Option<String> {
    if filter.machines.is_empty() {
        return None;
    }
    Known::ask(state_dir).await.unmatched(&filter.machines)
}

/// The folder of the daemon's state, as said, else where it is by default.
pub(crate) fn state_dir(said: Option<PathBuf>) -> Result<PathBuf, Failure> {
    said.map_or_else(places::state_dir_to_read, Ok).map_err(Failure::usage)
}

fn check(state_dir: &Path) -> Result<Exit, Failure> {
    let failed = |error: ReadError| Failure::new(Exit::Failed, error);
    let report = Reader::open(&journal_dir(state_dir)).map_err(failed)?.check().map_err(failed)?;
    let verdict = if report.is_sound() { "the journal is whole" } else { "the journal is not whole" };
    writeln!(anstream::stdout(), "{verdict}: {report}")?;
    Ok(if report.is_sound() { Exit::Done } else { Exit::Failed })
}

/// Why no more is shown.
enum Ended {
    /// Nobody reads it.
    Closed,
    /// By this signal.
    Interrupted(u8),
    Failure(Failure),
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Ended {
        Ended::Closed
    }
}

impl From<AskError> for Ended {
    fn from(error: AskError) -> Ended {
        Ended::Failure(error.into())
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Ended {
        Ended::Failure(Failure::new(Exit::Failed, error))
    }
}

/// Whether there is something to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Something,
}

struct Show {
    printer: Printer,
    state_dir: PathBuf,
    wanted: Wanted,
    found: Found,
    /// Something could not be read.
    has_problems: bool,
}

impl Show {
    async fn run(&mut self, args: &Args) -> Result<(), Ended> {
        let has_beginning = args.after.is_some() || args.since.is_some();
        let last_of_person = (args.follow && args.output == Format::Text && !has_beginning).then_some(BEFORE_FOLLOWING);
        let mut log = Log { wanted: self.wanted.clone(), after: args.after, ..Log::default() };
        log.limit = args.lines.or(last_of_person);
        // Who asks for none is not told that there are none.
        if args.lines == Some(0) {
            self.found = Found::Something;
        }
        if args.follow
            && let Some(unmatched) = unmatched(&self.state_dir, &self.wanted.filter).await
        {
            tell(&format!("waiting: {unmatched}"));
        }
        if log.limit.is_none() && args.follow {
            return self.follow(args.after.unwrap_or(0), 0).await;
        }
        log.newest_first = args.reverse || log.limit.is_some();
        let last = match self.history(&log, args.reverse).await {
            Ok(last) => last,
            // It is waited for, like the daemon that will make it.
            Err(Ended::Failure(_)) if args.follow && !journal_dir(&self.state_dir).exists() => 0,
            Err(ended) => return Err(ended),
        };
        if args.follow { self.follow(last.max(args.after.unwrap_or(0)), last).await } else { Ok(()) }
    }

    /// Shows what is there. The last number that was there when it was looked.
    async fn history(&mut self, log: &Log, as_it_comes: bool) -> Result<u64, Ended> {
        let as_it_comes = as_it_comes || !log.newest_first;
        let mut found = Vec::new();
        let last = match ask(&self.state_dir, &Request::Log(log.clone().into())).await {
            Ok(mut answers) => loop {
                match answers.next().await? {
                    Answer::Record(record) if as_it_comes => self.print(*record).await?,
                    Answer::Record(record) => found.push(*record),
                    Answer::Problem(problem) => self.problem(&problem),
                    Answer::Machine(_) | Answer::Page(_) => {}
                    Answer::End(last) => break last,
                }
            },
            Err(AskError::NotRunning { .. }) => {
                let reader = Reader::open(&journal_dir(&self.state_dir))?;
                let last = self.last_in(&reader)?;
                let query = Query { after: log.after, newest_first: log.newest_first, limit: log.limit, ..up_to(last) };
                let mut pages = Pages::new(&reader, log.wanted.clone(), &query, None);
                while let Some(page) = pages.next().await {
                    for item in page {
                        match item {
                            Item::Record(record) | Item::Missing { gap: record, .. } if as_it_comes => {
                                self.print(Record::clone(&record)).await?;
                            }
                            Item::Record(record) | Item::Missing { gap: record, .. } => {
                                found.push(Record::clone(&record));
                            }
                            Item::Problem(problem) => self.problem(&problem),
                        }
                    }
                }
                last
            }
            Err(error) => return Err(error.into()),
        };
        for record in found.into_iter().rev() {
            self.print(record).await?;
        }
        Ok(last)
    }

    /// Shows what is behind a number, and what comes, for ever. Numbers up to `seen` have been there.
    async fn follow(&mut self, mut after: u64, mut seen: u64) -> Result<(), Ended> {
        let mut files_are_read = false;
        loop {
            let log = Log { wanted: self.wanted.clone(), after: Some(after), follow: true, ..Log::default() };
            match ask(&self.state_dir, &Request::Log(log.into())).await {
                Ok(mut answers) => {
                    files_are_read = false;
                    // What was seen is not there any more: this is another journal, whose numbers begin anew.
                    if seen > 0 && self.last().await.is_some_and(|last| last < seen) {
                        let place = self.state_dir.display();
                        tell(&format!("the journal in {place} is another one now: from its beginning"));
                        (seen, after) = (0, 0);
                        continue;
                    }
                    self.relay(&mut answers, &mut after).await?;
                    seen = seen.max(after);
                }
                Err(AskError::NotRunning { .. }) => {
                    if !files_are_read {
                        files_are_read = true;
                        self.files(&mut after).await?;
                        seen = seen.max(after);
                        tell(&format!("no daemon is running for {}: waiting for one", self.state_dir.display()));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last number that a daemon has; `None` when none can be asked.
    async fn last(&self) -> Option<u64> {
        let newest = Log { limit: Some(1), newest_first: true, ..Log::default() };
        let mut answers = ask(&self.state_dir, &Request::Log(newest.into())).await.ok()?;
        loop {
            match answers.next().await.ok()? {
                Answer::Record(record) => return record.seq,
                Answer::End(_) => return Some(0),
                _ => {}
            }
        }
    }

    /// What the daemon says, until it ends.
    async fn relay(
        &mut self,
        answers: &mut crate::daemon::control::client::Answers,
        after: &mut u64,
    ) -> Result<(), Ended> {
        loop {
            match answers.next().await {
                Ok(Answer::Record(record)) => {
                    *after = record.seq.or_else(|| last_missing(&record)).unwrap_or(*after).max(*after);
                    self.print(*record).await?;
                }
                Ok(Answer::Problem(problem)) => self.problem(&problem),
                Ok(Answer::Machine(_) | Answer::Page(_)) => {}
                Ok(Answer::End(_)) | Err(AskError::Gone { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the files have.
    async fn files(&mut self, after: &mut u64) -> Result<(), Ended> {
        let reader = match Reader::open(&journal_dir(&self.state_dir)) {
            Err(ReadError::NoJournal { .. }) => return Ok(()),
            reader => reader?,
        };
        let last = match self.last_in(&reader) {
            // Taken away meanwhile, it is as one that is not there yet.
            Err(ReadError::Directory { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            last => last?,
        };
        let query = Query { after: Some(*after), ..up_to(last) };
        let mut pages = Pages::new(&reader, self.wanted.clone(), &query, None);
        while let Some(page) = pages.next().await {
            for item in page {
                match item {
                    Item::Record(record) | Item::Missing { gap: record, .. } => {
                        self.print(Record::clone(&record)).await?;
                    }
                    Item::Problem(problem) => self.problem(&problem),
                }
            }
        }
        *after = last.max(*after);
        Ok(())
    }

    /// The last number that the files have, 0 when they have none.
    fn last_in(&mut self, reader: &Reader) -> Result<u64, ReadError> {
        let newest = Query { newest_first: true, limit: Some(1), ..Query::default() };
        for record in reader.records(&newest) {
            match record {
                Ok(record) => return Ok(record.seq.unwrap_or(0)),
                Err(error @ ReadError::Directory { .. }) => return Err(error),
                // What is before it counts. A segment behind the last number is not read again: it is told here.
                Err(error) => self.problem(&in_words(&error)),
            }
        }
        Ok(0)
    }

    async fn print(&mut self, record: Record) -> Result<(), Closed> {
        self.found = Found::Something;
        self.printer.print(record).await
    }

    fn problem(&mut self, problem: &str) {
        self.has_problems = true;
        tell(problem);
    }
}
