//! A damaged segment is set aside: nothing reads it any more, a sound one with what can be read of it takes its place,
//! and what that is, and is not, is told.

use crate::contents::{self, beside};
use crate::error::OpenError;
use crate::salvage;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many runs of lost records a sentence has.
const LISTED: usize = 5;

/// A damaged segment that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Box<str>,
    /// The numbers of the records that could be read and are kept, as first and last of each run of them.
    pub saved: Vec<(u64, u64)>,
    /// The numbers of the records that are lost, in the same way.
    pub lost: Vec<(u64, u64)>,
    /// When nobody knows where the segment ended: records with this number and larger ones may be lost, too.
    pub lost_from: Option<u64>,
    /// With which number the journal goes on behind it.
    pub next: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a segment is damaged and was set aside as {}: {}; ", self.path.display(), self.problem)?;
        let saved = self.saved.iter().fold(0_u64, |sum, (first, last)| sum.saturating_add(last - first + 1));
        match saved {
            0 => f.write_str("none of its records could be saved")?,
            1 => f.write_str("1 record was saved")?,
            _ => write!(f, "{saved} records were saved")?,
        }
        if !self.lost.is_empty() {
            write!(f, "; lost are {}", self.runs())?;
        }
        if let Some(from) = self.lost_from {
            write!(f, "; what was in it from {from} on is lost")?;
        }
        write!(f, "; the journal goes on with {}", self.next)
    }
}

impl Finding {
    /// Which records are lost.
    fn runs(&self) -> String {
        let run = |(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first} to {last}"),
        };
        let mut runs = self.lost.iter().take(LISTED).map(run).collect::<Vec<_>>().join(", ");
        if self.lost.len() > LISTED {
            runs.push_str(&format!(" and {} more runs", self.lost.len() - LISTED));
        }
        runs
    }

    /// Which records are lost and why, for a gap; `None` when none is.
    pub(crate) fn loss(&self) -> Option<String> {
        let known = (!self.lost.is_empty()).then(|| format!("its records {} are lost", self.runs()));
        let unknown = self.lost_from.map(|from| format!("what was in it from {from} on is lost"));
        let lost = known.into_iter().chain(unknown).collect::<Vec<_>>().join(", ");
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        (!lost.is_empty()).then(|| format!("a segment of the journal was damaged: {lost} (set aside as {name})"))
    }
}

/// Where a damaged segment ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Before this number: the next segment begins with it, or it was the next to be given out.
    Before(u64),
    /// Nobody knows, but before this number.
    Unknown(u64),
}

/// Sets a damaged segment aside and saves what can be read of it.
pub(crate) fn set_aside(path: &Path, first: u64, end: End, problem: &str) -> Result<Finding, OpenError> {
    let aside = rename(path).map_err(|source| OpenError::File { path: path.into(), source })?;
    let number = i64::try_from(first).unwrap_or(i64::MAX);
    let dir = path.parent().unwrap_or(path);
    let mut problem = problem.to_owned();
    let saved = salvage::salvage(&aside, dir, number).unwrap_or_else(|error| {
        problem.push_str(&format!("; its records could not be copied: {}", error.in_words()));
        discard(path);
        Vec::new()
    });
    let unsigned = |n: i64| u64::try_from(n).unwrap_or_default();
    let saved: Vec<_> = saved.into_iter().map(|(first, last)| (unsigned(first), unsigned(last))).collect();
    let mut lost = Vec::new();
    let mut from = first;
    for (first, last) in &saved {
        if from < *first {
            lost.push((from, first - 1));
        }
        from = last.saturating_add(1);
    }
    let (next, lost_from) = match end {
        End::Before(next) => {
            if from < next {
                lost.push((from, next - 1));
            }
            (next, None)
        }
        End::Unknown(next) => (next, Some(from)),
    };
    Ok(Finding { path: aside, problem: problem.into(), saved, lost, lost_from, next })
}

/// Renames a segment, with what SQLite has beside it, so that nothing reads it any more.
pub(crate) fn rename(path: &Path) -> io::Result<PathBuf> {
    let mut to = beside(path, &format!(".{}", contents::DAMAGED));
    for copy in 2_u32.. {
        if !to.exists() && !beside(&to, "-wal").exists() {
            break;
        }
        to = beside(path, &format!(".{}-{copy}", contents::DAMAGED));
    }
    for ending in ["-wal", "-shm", ""] {
        match fs::rename(beside(path, ending), beside(&to, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if let Some(dir) = path.parent() {
        contents::sync(dir)?;
    }
    Ok(to)
}

/// Deletes a copy that was not finished. When that fails it stays, and is as good as it is.
fn discard(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(path, ending));
    }
}
