//! `qev watch`, looking at a monitor of the lab's QEMU as any user's would.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::EVENT_PATIENCE;
use super::process::{self, Running};
use super::scratch::Scratch;
use super::transcript::{Missing, Transcript};
use crate::error::{Context, Error};

/// What `qev watch` ends with when its last monitor is gone.
pub const MONITOR_GONE: i32 = 4;

/// How `qev watch` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// `-o json`: a record a line.
    Json,
    /// Text for people.
    Text,
}

/// A `qev watch` that runs.
#[derive(Debug)]
pub struct Watch {
    name: String,
    output: Output,
    qev: Running,
    printed: Transcript,
    log: PathBuf,
    shown: usize,
}

impl Watch {
    /// Starts `qev watch` on a monitor's socket. `name` tells this watcher from others in messages.
    pub fn start(qev: &Path, name: &str, output: Output, socket: &Path, scratch: &Scratch) -> Result<Self, Error> {
        let mut command = process::bound_to_us(qev)?;
        command.args(arguments(output, socket));
        Self::follow(command, name, output, scratch)
    }

    /// Starts `qev watch -o json` with these arguments.
    pub fn start_with(qev: &Path, name: &str, arguments: &[&str], scratch: &Scratch) -> Result<Self, Error> {
        let mut command = process::bound_to_us(qev)?;
        command.args(["watch", "-o", "json"]).args(arguments);
        Self::follow(command, name, Output::Json, scratch)
    }

    fn follow(mut command: Command, name: &str, output: Output, scratch: &Scratch) -> Result<Self, Error> {
        let log = scratch.file(&format!("watch-{name}.log"));
        let name = format!("qev watch ({name})");
        command.stdout(Stdio::piped());
        command.stderr(File::create(&log).context(|| format!("cannot write {}", log.display()))?);
        let mut qev = Running::start(command, &name)?;
        let pipe = qev.child().stdout.take().ok_or_else(|| Error::new(format!("{name} has no output")))?;
        Ok(Self { name, output, qev, printed: Transcript::of(pipe), log, shown: 0 })
    }

    /// Waits until it has said that it is attached, from when on it misses nothing.
    pub fn wait_until_attached(&self) -> Result<(), Error> {
        match self.output {
            Output::Json => self.wait_for_record("attached", |record| record["kind"] == "attached").map(|_| ()),
            // The first thing to say is that it is attached, in whatever words.
            Output::Text => self.wait_for_line("attached", |_| Some(())),
        }
    }

    /// Waits for a record of `-o json` that is as wanted; `what` is for the message when it does not come.
    pub fn wait_for_record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        self.wait_for_line(what, |line| serde_json::from_str(line).ok().filter(|record| wanted(record)))
    }

    /// Waits for a line in which `look` finds something.
    pub fn wait_for_line<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.wait(what, |printed| whole_lines(printed).find_map(&look))
    }

    /// Waits until as many lines contain this text.
    pub fn wait_for_lines_with(&self, text: &str, count: usize) -> Result<(), Error> {
        let enough =
            |printed: &str| (whole_lines(printed).filter(|line| line.contains(text)).count() >= count).then_some(());
        self.wait(&format!("{count} lines with {text}"), enough)
    }

    /// The lines printed since this was last asked.
    pub fn new_lines(&mut self) -> Vec<String> {
        let text = self.printed.text();
        let new: Vec<String> = whole_lines(&text).skip(self.shown).map(str::to_owned).collect();
        self.shown += new.len();
        new
    }

    /// All records printed so far; an error when a line is no JSON.
    pub fn records(&self) -> Result<Vec<Value>, Error> {
        whole_lines(&self.printed.text())
            .map(|line| serde_json::from_str(line).context(|| format!("{} printed no JSON: {line}", self.name)))
            .collect()
    }

    /// Waits for it to end by itself, after which all it printed is known.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let status = self.qev.wait(within)?;
        match self.printed.wait_for_end(within) {
            Ok(()) => Ok(status),
            Err(_) => Err(Error::new(format!("{} has ended, but not its output", self.name))),
        }
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.printed.wait_for(EVENT_PATIENCE, look).map_err(|missing| {
            let why = match missing {
                Missing::Ended => "it ended".to_owned(),
                Missing::TimedOut => format!("not within {EVENT_PATIENCE:?}"),
            };
            self.complain(&format!("did not print {what}: {why}"))
        })
    }

    /// An error about this watcher, with what it wrote to standard error.
    fn complain(&self, what: &str) -> Error {
        let message = format!("{} {what}", self.name);
        match fs::read_to_string(&self.log) {
            Ok(log) if !log.trim().is_empty() => Error::because(message, log.trim().to_owned()),
            _ => Error::new(message),
        }
    }
}

/// The command line of a user who wants to see every event of one machine.
fn arguments(output: Output, socket: &Path) -> Vec<String> {
    let target = format!("unix:{}", socket.display());
    match output {
        Output::Json => ["watch", "-o", "json"].map(str::to_owned).into_iter().chain([target]).collect(),
        Output::Text => vec!["watch".to_owned(), target],
    }
}

/// The lines that are complete.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script in place of the program.
    fn start(script: &str, output: Output, scratch: &Scratch) -> Watch {
        let mut command = process::bound_to_us(Path::new("sh")).unwrap();
        command.args(["-c", script]);
        Watch::follow(command, "test", output, scratch).unwrap()
    }

    #[test]
    fn it_is_started_as_a_user_would() {
        let socket = Path::new("/run/vm.sock");
        assert_eq!(arguments(Output::Json, socket).join(" "), "watch -o json unix:/run/vm.sock");
        assert_eq!(arguments(Output::Text, socket).join(" "), "watch unix:/run/vm.sock");
    }

    #[test]
    fn it_is_read_to_its_end() {
        let scratch = Scratch::new().unwrap();
        let script = r#"echo '{"kind":"attached"}'; echo '{"event":"A"}'; echo '{"event":"A"}'; printf half; exit 4"#;
        let mut watch = start(script, Output::Json, &scratch);
        watch.wait_until_attached().unwrap();
        watch.wait_for_lines_with("A", 2).unwrap();
        assert_eq!(watch.wait_for_end(EVENT_PATIENCE).unwrap().code(), Some(MONITOR_GONE));
        assert_eq!(watch.records().unwrap().len(), 3);
        assert_eq!((watch.new_lines().len(), watch.new_lines().len()), (3, 0));
    }

    #[test]
    fn its_complaint_is_in_the_message() {
        let scratch = Scratch::new().unwrap();
        let watch = start("echo 'no such socket' >&2; exit 10", Output::Text, &scratch);
        let error = watch.wait_until_attached().unwrap_err();
        assert_eq!(error.story(), "qev watch (test) did not print attached: it ended: no such socket");
    }

    #[test]
    fn a_line_that_is_no_json_is_an_error() {
        let scratch = Scratch::new().unwrap();
        let mut watch = start("echo hello", Output::Json, &scratch);
        watch.wait_for_end(EVENT_PATIENCE).unwrap();
        let error = watch.records().unwrap_err();
        assert!(error.to_string().ends_with("printed no JSON: hello"), "{error}");
    }
}
