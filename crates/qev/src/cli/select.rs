//! Which records are wanted: the same options for every verb that shows some.

use clap::Args;
use qev_record::filter::{Glob, Where};
use qev_record::{Filter, Record, Severity};

/// How many events somebody waits for.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Select {
    /// Only events whose name matches; repeatable, any of them
    #[arg(short, long, value_name = "GLOB")]
    event: Vec<Glob>,

    /// Only records that have this value, such as data.action=pause; repeatable, all of them
    #[arg(short, long, value_name = "PATH=VALUE")]
    r#where: Vec<Where>,

    /// Only machines whose name matches
    #[arg(short, long, value_name = "GLOB")]
    machine: Vec<Glob>,

    /// Only this severity and above: debug, info, notice, warning, error, critical
    #[arg(long, value_name = "LEVEL")]
    severity: Option<Severity>,
}

impl Select {
    /// The filter that the options describe. Names in it that nobody knows are told.
    pub(crate) fn filter(&self) -> Filter {
        super::misspelt::tell_of(&self.event, &self.r#where);
        Filter {
            events: self.event.clone(),
            wheres: self.r#where.clone(),
            machines: self.machine.clone(),
            severity: self.severity,
            ..Filter::default()
        }
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
