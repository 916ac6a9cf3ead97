//! `qev send`: one QMP command, its reply on standard output.

use super::duration;
use crate::exit::{Exit, Failure};
use crate::printer::Format;
use clap::builder::TypedValueParser;
use qev_link::{Client, ConnectOptions, Target};
use qev_qmp::Json;
use qev_qmp::json::print::{Layout, Order};
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The monitor: unix:PATH, tcp:HOST:PORT or a path
    #[arg(value_parser = super::target())]
    target: Target,

    /// The command, such as query-status
    command: String,

    /// Its arguments, a JSON object such as '{"id": "d1"}'
    #[arg(value_name = "JSON", value_parser = clap::builder::StringValueParser::new().try_map(|text| arguments(&text)))]
    arguments: Option<Json>,

    /// Give up after this time, with status 124
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,

    /// What the reply looks like: laid out for people, or on one line
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
    let options = ConnectOptions::default().greeting_timeout(args.timeout.min(Duration::from_secs(5)));
    let (client, events) = Client::connect(&args.target, options).await?;
    drop(events);
    let reply = client
        .execute_with_timeout(&args.command, args.arguments, args.timeout)
        .await
        .map_err(|error| Failure::from(error).about(&args.command))?;
    let text = match args.output {
        Format::Json => reply.strict().into_owned(),
        // Printing escapes whatever could act on a terminal.
        Format::Text => reply.value().print(Order::Given, Layout::Pretty),
    };
    writeln!(anstream::stdout(), "{text}")?;
    Ok(Exit::Done)
}
