//! `qev send`: one QMP command, its reply on standard output, and the event that it leads to.
//!
//! With `--wait` the subscription stands before the command is sent. So an event that comes before the reply counts, and
//! there is no moment in which it could be missed.

use super::{by_name, duration, misspelt};
use crate::exit::{Exit, Failure, tell};
use crate::monitor::{Monitor, ROOM, file_name, hostname};
use crate::printer::{Format, Lines};
use clap::builder::TypedValueParser;
use qev_link::{Client, ConnectOptions, EventItem, Events, ExecuteError, Target};
use qev_qmp::Json;
use qev_qmp::json::print::{Layout, Order};
use qev_record::filter::{Glob, Where};
use qev_record::{Filter, Kind, Record, plain};
use std::fmt;
use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --wait it listens before it sends, so the event cannot be missed; what came earlier does not count:

    qev send vm.sock device_del '{\"id\": \"d1\"}' --wait DEVICE_DELETED --where data.device=d1

The reply is printed first, then the record of the event. A command that fails ends it with 1, and nothing is waited \
for; 124 says that the time is over, 4 that the machine went away first.")]
pub(crate) struct Args {
    /// The monitor: unix:PATH, tcp:HOST:PORT, fd:N or a path
    #[arg(value_parser = super::target())]
    target: Target,

    /// The command, such as query-status
    command: String,

    /// Its arguments, a JSON object such as '{"id": "d1"}'
    #[arg(value_name = "JSON", value_parser = clap::builder::StringValueParser::new().try_map(|text| arguments(&text)))]
    arguments: Option<Json>,

    /// Then wait for this event, a name or a glob, and print it; repeatable, any of them
    #[arg(long, value_name = "EVENT")]
    wait: Vec<Glob>,

    /// Only wait for an event that has this value, such as data.device=d1; repeatable, all of them
    #[arg(short, long, value_name = "PATH=VALUE", requires = "wait")]
    r#where: Vec<Where>,

    /// Give up after this time, the wait included, with status 124
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,

    /// What is printed looks like: laid out for people, or JSON, each on one line
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The arguments are not what a command takes.
#[derive(Debug)]
enum NotArguments {
    NotJson(qev_qmp::json::NotJson),
    NotAnObject,
}

impl fmt::Display for NotArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotArguments::NotJson(error) => error.fmt(f),
            NotArguments::NotAnObject => f.write_str("expected an object: {\"name\": value, …}"),
        }
    }
}

impl std::error::Error for NotArguments {}

fn arguments(text: &str) -> Result<Json, NotArguments> {
    let json = Json::parse(text).map_err(NotArguments::NotJson)?;
    if json.value().as_object().is_none() {
        return Err(NotArguments::NotAnObject);
    }
    Ok(json)
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    if let Target::Machine(name) = &args.target {
        return Err(by_name::no_socket(name));
    }
    misspelt::tell_of(&args.wait, &args.r#where);
    let deadline = Instant::now().checked_add(args.timeout);
    let options = ConnectOptions::default().greeting_timeout(args.timeout.min(Duration::from_secs(5)));
    let (client, events) = Client::connect(&args.target, options).await?;
    drop(events);
    let filter = Filter { events: args.wait, wheres: args.r#where, ..Filter::default() };
    let mut wait = match filter.events.is_empty() {
        true => None,
        false => {
            let monitor = Monitor::of(&client, &hostname(), || file_name(&args.target)).await;
            // Subscribed last, so that nothing counts that came before the command is on its way.
            Some(Wait { monitor, events: client.subscribe(ROOM), filter })
        }
    };

    // The connection has taken its part of the time.
    let left = deadline.map_or(args.timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
    let mut reply = pin!(client.execute_with_timeout(&args.command, args.arguments, left));
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
    let reply = reply.map_err(|error| Failure::from(error).about(&args.command))?;
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
                tell(&format!("{} was answered, but no {} came in {timeout:?}", args.command, wanted(&wait)));
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
            tell(&format!("{} was answered, but no {} came: {reason}", args.command, wanted(&wait)));
            Ok(Exit::Gone)
        }
    }
}

/// The event that is waited for.
struct Wait {
    monitor: Monitor,
    events: Events,
    filter: Filter,
}

/// What came of waiting.
enum Happened {
    Event(Box<Record>),
    Gone(String),
}

/// Until the event came, or cannot come any more; for ever when none is waited for. Nothing is lost when the future is
/// dropped.
async fn until_happened(wait: &mut Option<Wait>) -> Happened {
    let Some(Wait { monitor, events, filter }) = wait else {
        return std::future::pending().await;
    };
    loop {
        let item = events.next().await;
        if let EventItem::Ended(reason) = &item {
            return Happened::Gone(reason.to_string());
        }
        match monitor.record(&item) {
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

fn wanted(wait: &Option<Wait>) -> String {
    let globs = wait.iter().flat_map(|wait| &wait.filter.events);
    let names: Vec<String> = globs.map(|glob| plain::name(&glob.to_string()).to_string()).collect();
    names.join(" or ")
}

/// A line on standard output. Who reads it may have left: then the program ends quietly.
fn print(line: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{line}")
}
