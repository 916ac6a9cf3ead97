//! What a shell offers at the cursor beside verbs and options: machines, events, severities, monitors.
//!
//! The shell asks qev itself, each time the key is pressed, so what is offered is what is there now: the daemon is asked,
//! or the journal is read. Nothing is said when that is not possible, and nothing is waited for long.

use super::machine_names::Known;
use crate::places::state_dir_to_read;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use qev_record::{Severity, explain};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// The variable by which a shell asks, with its own name as the value.
pub(crate) const VARIABLE: &str = "QEV_COMPLETE";

/// How long the daemon, or the journal, may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many machines are offered.
const MACHINES: usize = 500;

/// Offers the names of events.
pub(crate) fn events() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let all = explain::all().map(|known| (known.event.to_owned(), known.emitted.to_owned()));
        matching(current, all)
    })
}

/// Offers severities, the least first.
pub(crate) fn severities() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        matching(current, Severity::ALL.map(|severity| (severity.to_string(), String::new())))
    })
}

/// Offers the machines that are known.
pub(crate) fn machines() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| matching(current, machine_names()))
}

/// Offers what a TARGET may be: the machines that are known, and paths.
pub(crate) fn targets() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut offered = matching(current, machine_names());
        offered.extend(PathCompleter::any().complete(current));
        offered
    })
}

/// Those that begin with what is there, in upper or lower case.
fn matching(current: &OsStr, all: impl IntoIterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let begins = |name: &str| name.get(..current.len()).is_some_and(|start| start.eq_ignore_ascii_case(current));
    let matching = all.into_iter().filter(|(name, _)| begins(name));
    let candidate = |(name, help): (String, String)| {
        let help = (!help.is_empty()).then(|| help.into());
        CompletionCandidate::new(name).help(help)
    };
    matching.map(candidate).collect()
}

/// The names of machines that mean the same to every shell: others would have to be quoted.
fn machine_names() -> Vec<(String, String)> {
    let Some(state_dir) = named_state_dir(std::env::args_os().filter_map(|word| word.into_string().ok()))
        .or_else(|| state_dir_to_read().ok())
    else {
        return Vec::new();
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let known = runtime.block_on(async { tokio::time::timeout(PATIENCE, Known::ask(&state_dir)).await });
    // What still reads the journal is not waited for.
    runtime.shutdown_background();
    let is_plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@:".contains(c));
    let names = known.unwrap_or_default().names.into_iter().filter(is_plain).take(MACHINES);
    names.map(|name| (name, String::new())).collect()
}

/// The state directory that stands among the words on the line that is completed.
fn named_state_dir(mut words: impl Iterator<Item = String>) -> Option<PathBuf> {
    while let Some(word) = words.next() {
        match word.strip_prefix("--state-dir") {
            Some("") => return words.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('=').map(PathBuf::from),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(completer: &ArgValueCompleter, current: &str) -> Vec<String> {
        let candidates = completer.complete(OsStr::new(current));
        candidates.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_state_directory_on_the_line_is_the_one_that_is_asked() {
        let named = |line: &str| named_state_dir(line.split(' ').map(str::to_owned));
        assert_eq!(named("qev log --state-dir /s -m "), Some("/s".into()));
        assert_eq!(named("qev log --state-dir=/s -m "), Some("/s".into()));
        assert_eq!(named("qev log -m "), None);
    }

    #[test]
    fn offers_what_begins_so() {
        assert_eq!(offered(&events(), "GUEST_PAN"), ["GUEST_PANICKED"]);
        assert_eq!(offered(&events(), "quorum_"), ["QUORUM_FAILURE", "QUORUM_REPORT_BAD"]);
        assert_eq!(offered(&events(), "ü"), [""; 0]);
        assert_eq!(offered(&severities(), ""), ["debug", "info", "notice", "warning", "error", "critical"]);
        assert_eq!(offered(&severities(), "e"), ["error"]);
    }
}
