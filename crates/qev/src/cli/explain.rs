//! `qev explain`: what an event means, since when, what it carries and what to do about it; and the same for records and
//! recordings that are piped in.

use crate::exit::{Exit, Failure, tell};
use crate::introspect;
use crate::printer::{Format, Lines, now};
use qev_link::{Client, ConnectOptions, Target};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Event, Json, Message, Object, Value};
use qev_record::explain::compare::{self, Difference};
use qev_record::explain::{self, Explanation, Member, types};
use qev_record::{Record, advice, input, plain};
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// How long a line of input may be, in bytes.
const MAX_LINE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without an EVENT it reads records, recordings or QEMU's own lines from standard input and explains each event:
    qev watch -o json vm.sock | qev explain")]
pub(crate) struct Args {
    /// The events to explain, such as GUEST_PANICKED
    #[arg(value_name = "EVENT")]
    events: Vec<String>,

    /// Explain every event that a QEMU up to 10.2 sends, or sent
    #[arg(long, conflicts_with = "events")]
    all: bool,

    /// Ask this QEMU what events it may send, and list what the catalogue lacks or has otherwise; 1 if it lacks anything
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["events", "all"], value_parser = super::target())]
    check: Option<Target>,

    /// What the explanation looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    if let Some(target) = &args.check {
        return super::block_on(check(target, args.output));
    }
    let mut out = anstream::stdout();
    let written = if args.all {
        explain::all().try_for_each(|event| print(&mut out, event, args.output))
    } else if !args.events.is_empty() {
        let found: Result<Vec<_>, _> = args.events.iter().map(|name| Explanation::find(name)).collect();
        let found = found.map_err(Failure::usage)?;
        found.into_iter().try_for_each(|event| print(&mut out, event, args.output))
    } else if io::stdin().is_terminal() {
        list(&mut out)
    } else {
        return explain_input(&mut out, args.output);
    };
    quietly(written)
}

/// The catalogue beside what a QEMU says of its own events.
async fn check(target: &Target, format: Format) -> Result<Exit, Failure> {
    if let Target::Machine(name) = target {
        return Err(super::by_name::no_socket(name));
    }
    let (client, _) = match Client::connect(target, ConnectOptions::default()).await {
        Ok(connected) => connected,
        Err(error) => return Err(super::in_use::failure(error).await),
    };
    let schema = introspect::ask(&client).await.map_err(|error| Failure::from(error).about(target))?;
    let differences = compare::differences(&schema);
    let mut out = anstream::stdout();
    let written = differences.iter().try_for_each(|difference| match format {
        Format::Text => writeln!(out, "{}", plain::phrase(&difference.to_string())),
        Format::Json => writeln!(out, "{}", difference_object(difference).print(Order::Given, Layout::Line)),
    });
    quietly(written)?;
    let lacking = differences.iter().filter(|difference| difference.what.is_lack()).count();
    let events = schema.events().count();
    let version = client.greeting().version;
    tell(&format!("QEMU {version} has {events} events; the catalogue lacks {lacking} things of theirs"));
    Ok(if lacking == 0 { Exit::Done } else { Exit::Failed })
}

fn difference_object(difference: &Difference) -> Object {
    Object::new()
        .with("event", difference.event.as_str())
        .with("at", difference.at.as_deref().map_or(Value::Null, Value::from))
        .with("lacking", difference.what.is_lack())
        .with("sentence", difference.to_string())
}

/// A closed pipe ends the program quietly: who reads has seen enough.
fn quietly(written: io::Result<()>) -> Result<Exit, Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Done),
    }
}

fn print(out: &mut impl io::Write, event: &Explanation, format: Format) -> io::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", to_object(event).print(Order::Given, Layout::Line)),
        Format::Text => writeln!(out, "{}", to_text(event)),
    }
}

/// Every event on a line of its own: what there is to ask for.
fn list(out: &mut impl io::Write) -> io::Result<()> {
    for event in explain::all() {
        writeln!(out, "{:<28} {}", event.event, event.emitted)?;
    }
    writeln!(out, "\nqev explain EVENT says more; qev explain --all says everything.")
}

fn to_text(event: &Explanation) -> String {
    let mut text = format!("{}  since QEMU {}", event.event, event.since);
    if let Some(until) = event.until {
        let _ = write!(text, ", until {until}");
    }
    text.push('\n');
    text.push_str(&indented(&format!("Emitted when {}.", event.emitted), 4));
    for detail in event.details {
        text.push_str(&indented(detail, 4));
    }
    if event.members.is_empty() {
        text.push_str("\n    No data.\n");
    } else {
        text.push_str("\n    Data:\n");
        for member in event.members {
            text.push_str(&member_text(member));
        }
    }
    if let Some(throttle) = event.throttle {
        let per = throttle.per.map_or_else(String::new, |per| format!(" for each {per}"));
        let throttled = format!(
            "At most one a second{per} since QEMU {}: the first at once, then the last of each second.",
            throttle.since
        );
        text.push('\n');
        text.push_str(&indented(&throttled, 4));
    }
    if let Some(dialects) = event.dialects {
        text.push('\n');
        text.push_str(&indented(dialects, 4));
    }
    if let Some(advice) = event.advice {
        text.push_str("\n    What to do:\n");
        text.push_str(&indented(advice, 8));
    }
    text
}

fn member_text(member: &Member) -> String {
    let mut notes = Vec::new();
    notes.extend(member.optional.then(|| "optional".to_owned()));
    notes.extend(member.since.map(|since| format!("since {since}")));
    notes.extend(member.unit.map(|unit| format!("in {unit}")));
    if let Some(types::Type::Enum(choices)) = types::find(member.kind) {
        let names = choices.iter().map(|choice| match choice.since {
            Some(since) => format!("{} (since {since})", choice.name),
            None => choice.name.to_owned(),
        });
        notes.push(names.collect::<Vec<_>>().join(", "));
    }
    let mut line = format!("        {:<16} {}", member.name, member.kind);
    if !notes.is_empty() {
        let _ = write!(line, ": {}", notes.join("; "));
    }
    line.push('\n');
    if !member.meaning.is_empty() {
        line.push_str(&indented(member.meaning, 25));
    }
    line
}

/// Words on lines of at most 100 characters.
fn indented(words: &str, indent: usize) -> String {
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    for word in words.split_whitespace() {
        if line.chars().count() + word.chars().count() >= 100 && line.len() > indent {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

pub(crate) fn to_object(event: &Explanation) -> Object {
    let optional = |text: Option<&'static str>| text.map_or(Value::Null, Value::from);
    let members: Vec<Value> = event.members.iter().map(|member| member_object(member).into()).collect();
    let details: Vec<Value> = event.details.iter().map(|detail| (*detail).into()).collect();
    let throttle = event.throttle.map_or(Value::Null, |throttle| {
        Object::new().with("since", throttle.since).with("per", optional(throttle.per)).into()
    });
    Object::new()
        .with("event", event.event)
        .with("since", event.since)
        .with("until", optional(event.until))
        .with("emitted", event.emitted)
        .with("members", members)
        .with("throttle", throttle)
        .with("details", details)
        .with("dialects", optional(event.dialects))
        .with("advice", optional(event.advice))
}

fn member_object(member: &Member) -> Object {
    let mut object =
        Object::new().with("name", member.name).with("type", member.kind).with("optional", member.optional);
    for (name, text) in [("since", member.since), ("unit", member.unit)] {
        if let Some(text) = text {
            object.insert(name, text);
        }
    }
    if !member.meaning.is_empty() {
        object.insert("meaning", member.meaning);
    }
    object
}

/// Explains each event that comes in. A line that cannot be read is told, and does not end it.
fn explain_input(out: &mut impl io::Write, format: Format) -> Result<Exit, Failure> {
    let mut lines = Lines::new(format, 8, 18);
    let mut exit = Exit::Done;
    let mut input = io::stdin().lock();
    for number in 1_u64.. {
        let mut bytes = Vec::new();
        let read = io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut bytes);
        if read.map_err(|error| Failure::new(Exit::Failed, error).about("standard input"))? == 0 {
            break;
        }
        match input::Line::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(line) => {
                if let Some(record) = record(line)
                    && let Err(error) = explain_record(out, &mut lines, &record)
                {
                    return quietly(Err(error)).map(|_| exit);
                }
            }
            Err(error) => {
                exit = Failure::new(Exit::Failed, error).about(format_args!("standard input, line {number}")).report();
            }
        }
    }
    Ok(exit)
}

/// The record that a line stands for, if it is about an event or a record of its own.
fn record(line: input::Line) -> Option<Record> {
    let event: Event = match line {
        input::Line::Record(record) => return Some(*record),
        input::Line::Event(event) => *event,
        input::Line::Recorded(recorded) => match Message::decode(recorded.message.as_text().as_bytes()) {
            Ok(Message::Event(event)) => event,
            _ => return None,
        },
        _ => return None,
    };
    Some(Record::event("", "-", event.timestamp.unwrap_or_else(now), &event))
}

fn explain_record(out: &mut impl io::Write, lines: &mut Lines, record: &Record) -> io::Result<()> {
    let event = record.to_event();
    let advice = event.as_ref().and_then(advice);
    if lines.format() == Format::Text {
        out.write_all(lines.line(record).as_bytes())?;
        if let Some(advice) = advice {
            out.write_all(indented(advice, 10).as_bytes())?;
        }
        return Ok(());
    }
    let record = Json::parse(&record.to_line()).map_or(Value::Null, |json| json.value());
    let explained = Object::new().with("record", record).with("advice", advice.map_or(Value::Null, Value::from));
    writeln!(out, "{}", explained.print(Order::Given, Layout::Line))
}
