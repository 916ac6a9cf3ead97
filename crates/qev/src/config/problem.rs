//! What is wrong with a configuration, and where: `/etc/qev/config.toml:3:12: journal.keep-age: expected …`.

use crate::places::NoHome;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How long a configuration may be, in bytes.
const LONGEST: u64 = 1 << 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The character in it, from 1.
    pub(crate) column: usize,
    /// The key, with those of its tables: `journal.keep-age`. Empty when it is the file's own form.
    pub(crate) key: String,
    /// What was expected, and what to do.
    pub(crate) what: String,
}

impl Problem {
    /// At these bytes of the text.
    pub(super) fn at(text: &str, span: &Range<usize>, key: &str, what: impl Into<String>) -> Problem {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { line, column, key, what } = self;
        match key.is_empty() {
            true => write!(f, "{line}:{column}: {what}"),
            false => write!(f, "{line}:{column}: {key}: {what}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not say what it should.
    Wrong {
        /// Which.
        file: PathBuf,
        /// All that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
    /// There is no telling where things are.
    NoHome(NoHome),
}

impl From<NoHome> for LoadError {
    fn from(error: NoHome) -> LoadError {
        LoadError::NoHome(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read { file, .. } => write!(f, "the configuration {} cannot be read", file.display()),
            LoadError::Wrong { file, problems } => {
                for (i, problem) in problems.iter().enumerate() {
                    let newline = if i == 0 { "" } else { "\n" };
                    write!(f, "{newline}{}:{problem}", file.display())?;
                }
                Ok(())
            }
            LoadError::NoHome(_) => f.write_str("there is no place for the state"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Read { source, .. } => Some(source),
            LoadError::NoHome(error) => Some(error),
            LoadError::Wrong { .. } => None,
        }
    }
}

/// The text of a file.
pub(super) fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a = 1\nü = \"x\"\n";
        let check = |at: usize, expected: (usize, usize)| {
            let problem = Problem::at(text, &(at..at + 1), "", "");
            assert_eq!((problem.line, problem.column), expected, "{at}");
        };
        check(0, (1, 1));
        check(4, (1, 5));
        check(6, (2, 1));
        check(11, (2, 5));
        check(1000, (3, 1));
    }
}
