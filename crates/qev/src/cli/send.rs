//! `qev send`: one QMP command, its reply on standard output, and the event that it leads to.
//!
//! With `--wait` the subscription stands before the command is sent. So an event that comes before the reply counts, and
//! there is no moment in which it could be missed.

mod command;

use super::near_misses::{NearMisses, wanted};
use super::{by_name, complete, duration, in_use, typo_hints};
use crate::exit::{Exit, Failure, tell};
use crate::monitor::{Monitor, ROOM, file_name, hostname};
use crate::printer::{Format, Lines};
use clap::builder::{StringValueParser, TypedValueParser};
use command::{Band, Command};
use qev_link::{Client, ConnectOptions, EventItem, Events, ExecuteError, Target};
use qev_qmp::Json;
use qev_qmp::json::print::{Layout, Order};
use qev_record::filter::{Glob, Where};
use qev_record::{Filter, Kind, Record, plain};
use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --wait it listens before it sends, so the event cannot be missed; what came earlier does not count:

    qev send vm.sock device_del '{\"id\": \"d1\"}' --wait DEVICE_DELETED --where data.device=d1

A whole request may stand for COMMAND and JSON; its id has no effect, since there is one reply:

    qev send vm.sock '{\"execute\": \"device_del\", \"arguments\": {\"id\": \"d1\"}}'

The reply is printed first, then the record of the event. A command that fails ends it with 1, and nothing is waited \
for; 124 says that the time is over, 4 that the machine went away first.")]
pub(crate) struct Args {
    /// The monitor: unix:PATH, tcp:HOST:PORT, fd:N or a path
    #[arg(value_parser = super::target(), add = complete::targets())]
    target: Target,

    /// The command, such as query-status; or a whole request, such as '{"execute": "query-status"}'
    #[arg(value_parser = StringValueParser::new().try_map(|text| command::parse(&text)))]
    command: Command,

    /// Its arguments, a JSON object such as '{"id": "d1"}'
    #[arg(value_name = "JSON", value_parser = StringValueParser::new().try_map(|text| command::arguments(&text)))]
    arguments: Option<Json>,

    /// Then wait for this event, a name or a glob, and print it; repeatable, any of them
    #[arg(long, value_name = "EVENT", add = complete::events())]
    wait: Vec<Glob>,

    /// Only wait for an event that has this value, such as data.device=d1, or another one, data.device!=d1; repeatable, all
    /// of them
    #[arg(short, long, value_name = "PATH=VALUE", requires = "wait")]
    r#where: Vec<Where>,

    /// Give up after this time, the wait included, with status 124
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,

    /// What is printed looks like: laid out for people, or JSON, each on one line
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    if let Target::Machine(name) = &args.target {
        return Err(by_name::no_socket(name));
    }
    typo_hints::check(&args.wait, &args.r#where)?;
    let Command { name: command, arguments, band } = args.command;
    if arguments.is_some() && args.arguments.is_some() {
        return Err(Failure::usage("the arguments are in COMMAND already: give them there, or as JSON behind it"));
    }
    let arguments = arguments.or(args.arguments);
    let deadline = Instant::now().checked_add(args.timeout);
    let options = ConnectOptions::default().greeting_timeout(args.timeout.min(Duration::from_secs(5)));
    let (client, events) = match Client::connect(&args.target, options).await {
        Ok(connected) => connected,
        Err(error) => return Err(in_use::failure(error).await),
    };
    drop(events);
    let filter = Filter { events: args.wait, wheres: args.r#where, ..Filter::default() };
    let mut wait = match filter.events.is_empty() {
        true => None,
        false => {
            let monitor = Monitor::of(&client, &hostname(), || file_name(&args.target)).await;
            // Subscribed last, so that nothing counts that came before the command is on its way.
            Some(Wait { monitor, events: client.subscribe(ROOM), filter, near: NearMisses::default() })
        }
    };

    // The connection has taken its part of the time.
    let left = deadline.map_or(args.timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
    let mut reply = pin!(async {
        match band {
            Band::In => client.execute_with_timeout(&command, arguments, left).await,
            Band::Out => {
                let answered = tokio::time::timeout(left, client.execute_oob(&command, arguments)).await;
                answered.unwrap_or(Err(ExecuteError::Timeout(left)))
            }
        }
    });
    let mut happened = None;
    let reply = loop {
        tokio::select! {
            reply = &mut reply => break reply,
            came = until_happened(&mut wait), if happened.is_none() => happened = Some(came),
        }
    };
    let reply = reply.map_err(|error| match error {
        // What is left of the time is nobody's number.
        ExecuteError::Timeout(_) => ExecuteError::Timeout(args.timeout),
        error => error,
    });
    let reply = reply.map_err(|error| Failure::from(error).about(plain::name(&command)))?;
    print(&match args.output {
        Format::Json => reply.strict().into_owned(),
        // Printing escapes whatever could act on a terminal.
        Format::Text => reply.value().print(Order::Given, Layout::Pretty),
    })?;
    if wait.is_none() {
        return Ok(Exit::Done);
    }

    let left = deadline.map_or(args.timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
    let happened = match happened {
        Some(happened) => happened,
        None => match tokio::time::timeout(left, until_happened(&mut wait)).await {
            Ok(happened) => happened,
            Err(_) => {
                let timeout = args.timeout;
                tell(&format!("{}{}", unanswered(&command, &wait, &format!(" in {timeout:?}")), nearly(&wait)));
                return Ok(Exit::TimedOut);
            }
        },
    };
    match happened {
        Happened::Event(record) => {
            print(Lines::new(args.output, 0, 0).line(&record).trim_end())?;
            Ok(Exit::Done)
        }
        Happened::Gone(reason) => {
            tell(&format!("{}{}", unanswered(&command, &wait, &format!(": {reason}")), nearly(&wait)));
            Ok(Exit::Gone)
        }
    }
}

/// The event that is waited for.
struct Wait {
    monitor: Monitor,
    events: Events,
    filter: Filter,
    near: NearMisses,
}

/// What came of waiting.
enum Happened {
    Event(Box<Record>),
    Gone(String),
}

/// Until the event came, or cannot come any more; for ever when none is waited for. Nothing is lost when the future is
/// dropped.
async fn until_happened(wait: &mut Option<Wait>) -> Happened {
    let Some(Wait { monitor, events, filter, near }) = wait else {
        return std::future::pending().await;
    };
    loop {
        let item = events.next().await;
        if let EventItem::Ended(reason) = &item {
            return Happened::Gone(reason.to_string());
        }
        let record = monitor.record(&item);
        if let Some(record) = &record {
            near.look_at(filter, record);
        }
        match record {
            Some(record) if record.kind == Kind::Event && filter.matches(&record) => {
                return Happened::Event(Box::new(record));
            }
            Some(record) if filter.may_miss(&record) => {
                tell(&format!("{}: {}", plain::name(&record.machine), plain::phrase(&record.summary)));
            }
            _ => {}
        }
    }
}

/// That the event did not come; `why` says until when.
fn unanswered(command: &str, wait: &Option<Wait>, why: &str) -> String {
    let wanted = wait.as_ref().map(|wait| wanted(&wait.filter)).unwrap_or_default();
    format!("{} was answered, but no {wanted} came{why}", plain::name(command))
}

/// What came in its place.
fn nearly(wait: &Option<Wait>) -> String {
    wait.as_ref().map(|wait| wait.near.sentence()).unwrap_or_default()
}

/// A line on standard output. Who reads it may have left: then the program ends quietly.
fn print(line: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{line}")
}
