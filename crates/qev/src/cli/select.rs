//! Which records are wanted: the same options for every verb that shows some.

use super::{complete, typo_hints};
use crate::exit::Failure;
use clap::Args;
use qev_record::filter::{Glob, TextSearch, Where};
use qev_record::{Filter, Record, Severity, plain};

/// Reads how many events somebody waits for.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

/// Reads how many records somebody wants to see, which may be none.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number, such as 20".to_owned())
}

/// Reads a sequence number.
pub(crate) fn sequence_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        "expected the sequence number of a record, such as 17: qev log --seq shows them; a time is given with --since"
            .to_owned()
    })
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Select {
    /// Only events whose name matches; repeatable, any of them
    #[arg(short, long, value_name = "GLOB", add = complete::events())]
    event: Vec<Glob>,

    /// Only records that have this value, such as data.action=pause, or another one, data.action!=pause; repeatable, all
    /// of them
    #[arg(short, long, value_name = "PATH=VALUE")]
    r#where: Vec<Where>,

    /// Only machines whose name matches
    #[arg(short, long, value_name = "GLOB", add = complete::machines())]
    machine: Vec<Glob>,

    /// Only this severity and above: debug, info, notice, warning, error, critical
    #[arg(long, value_name = "LEVEL", add = complete::severities())]
    severity: Option<Severity>,

    /// Only records with this text in summary, event, machine or data; without capital letters, in either case
    #[arg(short, long, value_name = "TEXT")]
    grep: Option<TextSearch>,
}

impl Select {
    /// The filter that the options describe. Names in it that nobody knows are told.
    ///
    /// # Errors
    ///
    /// When no record can be wanted.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        typo_hints::check(&self.event, &self.r#where)?;
        Ok(Filter {
            events: self.event.clone(),
            wheres: self.r#where.clone(),
            machines: self.machine.clone(),
            severity: self.severity,
            text: self.grep.clone(),
            ..Filter::default()
        })
    }

    /// Whether the filter lets a record through. What is not an event is asked for its machine and severity only: that a
    /// monitor is gone, or that events are missing, is worth knowing to who waits for a certain one.
    pub(crate) fn wants(filter: &Filter, record: &Record) -> bool {
        if record.event.is_some() {
            return filter.matches(record);
        }
        let of_the_machine =
            Filter { machines: filter.machines.clone(), severity: filter.severity, ..Filter::default() };
        of_the_machine.matches(record)
    }
}

/// The options that a filter comes from, as they are typed; empty when it lets everything through.
pub(crate) fn as_options(filter: &Filter) -> String {
    let Filter { events, wheres, machines, severity, since, until, text, gaps: _ } = filter;
    let quoted = |value: &dyn std::fmt::Display| {
        let value = plain::name(&value.to_string()).to_string();
        let is_word = value.chars().all(|c| c.is_alphanumeric() || "_-.=/:@+,%".contains(c));
        if is_word { value } else { format!("'{value}'") }
    };
    let mut options = Vec::new();
    options.extend(machines.iter().map(|glob| format!("-m {}", quoted(glob))));
    options.extend(events.iter().map(|glob| format!("-e {}", quoted(glob))));
    options.extend(wheres.iter().map(|condition| format!("-w {}", quoted(condition))));
    options.extend(severity.iter().map(|severity| format!("--severity {severity}")));
    options.extend(text.iter().map(|text| format!("-g {}", quoted(text))));
    options.extend(since.iter().map(|time| format!("--since {}", qev_record::time::to_rfc3339(*time))));
    options.extend(until.iter().map(|time| format!("--until {}", qev_record::time::to_rfc3339(*time))));
    options.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_as_it_is_typed() {
        let filter = Filter {
            machines: vec!["web*".parse().unwrap()],
            events: vec!["STOP".parse().unwrap()],
            wheres: vec!["data.action!=pause".parse().unwrap()],
            severity: Some(Severity::Error),
            text: Some("kernel panic".parse().unwrap()),
            since: Some(qev_qmp::Timestamp::from_micros(0)),
            ..Filter::default()
        };
        let expected = "-m 'web*' -e STOP -w 'data.action!=pause' --severity error -g 'kernel panic' --since \
                        1970-01-01T00:00:00.000000Z";
        assert_eq!(as_options(&filter), expected);
        assert_eq!(as_options(&Filter::default()), "");
    }

    #[test]
    fn a_number_that_is_none_is_told_what_is_meant() {
        assert_eq!(sequence_number("17"), Ok(17));
        assert!(
            sequence_number("abc").unwrap_err().starts_with("expected the sequence number of a record, such as 17")
        );
        assert!(number("-1").is_err() && number("0") == Ok(0) && count("0").is_err());
    }
}
