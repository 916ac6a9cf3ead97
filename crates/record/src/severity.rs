//! How much an event matters: six levels, from `debug` to `critical`.
//!
//! Which event has which level, and how that depends on what it carries, is in [`crate::meaning`].

use crate::plain;
use std::fmt;
use std::str::FromStr;

/// How much a record matters to the person who runs the host. Ordered: `Critical` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Of use when looking for something: a job's every step.
    Debug,
    /// As it should be: a device came, a balloon moved.
    Info,
    /// Somebody did something to the machine: stopped it, shut it down.
    Notice,
    /// Something that was asked for did not happen, or soon will not: look at it in time.
    Warning,
    /// Something broke, and the guest can still live with it.
    Error,
    /// The guest or its data is lost or stands still: look at it now.
    Critical,
}

impl Severity {
    /// Every level, the least first.
    pub const ALL: [Severity; 6] =
        [Severity::Debug, Severity::Info, Severity::Notice, Severity::Warning, Severity::Error, Severity::Critical];

    /// The name on the command line and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a column of them can be aligned.
        f.pad(self.as_str())
    }
}

/// There is no such severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchSeverity(Box<str>);

impl fmt::Display for NoSuchSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no severity '{}': expected one of debug, info, notice, warning, error, critical",
            plain::name(&self.0)
        )
    }
}

impl std::error::Error for NoSuchSeverity {}

impl FromStr for Severity {
    type Err = NoSuchSeverity;

    fn from_str(name: &str) -> Result<Severity, NoSuchSeverity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == name).ok_or_else(|| NoSuchSeverity(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_read_back_from_its_name() {
        for severity in Severity::ALL {
            assert_eq!(severity.to_string().parse(), Ok(severity));
        }
    }

    #[test]
    fn levels_are_ordered_by_how_much_they_matter() {
        assert!(Severity::ALL.is_sorted());
        assert!(Severity::Critical > Severity::Error);
    }

    #[test]
    fn a_level_that_is_none_is_told_which_there_are() {
        let error = "fatal".parse::<Severity>().unwrap_err().to_string();
        assert_eq!(error, "no severity 'fatal': expected one of debug, info, notice, warning, error, critical");
        let error = "\u{1b}[2J".parse::<Severity>().unwrap_err().to_string();
        assert!(error.contains(r"no severity '\u{1b}[2J'"), "{error}");
    }
}
