//! The program `virsh`, of the package libvirt-clients: one that prints events for as long as it is let, and one that lists
//! the domains that run. Neither outlives us ([`crate::bound`]).

use crate::bound;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;

/// The longest line that is taken, in bytes. QEMU's events are short.
const LINE: usize = 1 << 20;

/// How much is kept of what it complains.
const COMPLAINT: usize = 2048;

/// How long a list of domains may take.
const LIST: Duration = Duration::from_secs(20);

/// How long it may take to end when it has closed its output: it says why as it ends, also on a host with much to do.
const ENDING: Duration = Duration::from_secs(20);

/// Each domain that runs, its name and its UUID; or a sentence that says why nobody knows.
pub(super) type Running = Result<Vec<(String, String)>, String>;

/// How to ask one libvirt.
#[derive(Clone, Debug)]
pub(super) struct Virsh {
    program: OsString,
    uri: String,
}

impl Virsh {
    pub(super) fn new(program: impl Into<OsString>, uri: &str) -> Virsh {
        Virsh { program: program.into(), uri: uri.to_owned() }
    }

    /// Starts the one that prints events.
    pub(super) fn events(&self) -> io::Result<Events> {
        let mut child = self.command(&["qemu-monitor-event", "--loop", "--timestamp"]).spawn()?;
        let (Some(out), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("it has no output"));
        };
        let complaint = tokio::spawn(last_words(complaints));
        Ok(Events { child, complaint, out: BufReader::new(out), line: Vec::new(), too_long: false })
    }

    /// Each domain that runs: its name and its UUID.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub(super) async fn running(&self) -> Running {
        let output = self.command(&["list", "--uuid", "--name"]).output();
        let output = match tokio::time::timeout(LIST, output).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(self.cannot_run(&error)),
            Err(_) => return Err(format!("libvirt did not list its domains in {LIST:?}")),
        };
        if !output.status.success() {
            return Err(self.ended(output.status, &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(domains(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Why there is none.
    pub(super) fn cannot_run(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound => self.missing(),
            _ => format!("cannot run {}: {error}", self.program.display()),
        }
    }

    /// Why it ended: what it complained, else how.
    fn ended(&self, status: ExitStatus, complaint: &str) -> String {
        if status.code() == Some(127) {
            return self.missing();
        }
        let lines: Vec<&str> = complaint.lines().map(|line| line.trim().trim_start_matches("error: ")).collect();
        let said: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        if said.is_empty() { format!("virsh ended: {status}") } else { format!("virsh says: {}", said.join("; ")) }
    }

    fn missing(&self) -> String {
        format!("there is no program {}: install the package libvirt-clients", self.program.display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bound::command(&self.program, ["-c", &self.uri].iter().chain(arguments));
        // Its words are read by a program.
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// `3f2a9c1e-0000-4000-8000-000000000001 web1`, a domain a line.
fn domains(list: &str) -> Vec<(String, String)> {
    let pairs = list.lines().filter_map(|line| line.trim().split_once(' '));
    pairs.map(|(uuid, name)| (name.trim_start().to_owned(), uuid.to_owned())).collect()
}

/// What comes of the one that prints events.
#[derive(Debug)]
pub(super) enum Printed {
    /// A line without its end.
    Line(String),
    /// One that was too long, and is lost.
    TooLong,
    /// It has ended, and this is why.
    Ended(String),
}

/// A `virsh` that prints events. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Events {
    child: Child,
    complaint: JoinHandle<String>,
    out: BufReader<ChildStdout>,
    line: Vec<u8>,
    too_long: bool,
}

impl Events {
    /// What it prints next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, virsh: &Virsh) -> Printed {
        loop {
            let taken = match self.out.fill_buf().await {
                Ok([]) | Err(_) => return Printed::Ended(self.ended(virsh).await),
                Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(at) => {
                        self.line.extend_from_slice(bytes.get(..at).unwrap_or_default());
                        self.out.consume(at + 1);
                        true
                    }
                    None => {
                        let length = bytes.len();
                        self.line.extend_from_slice(bytes);
                        self.out.consume(length);
                        false
                    }
                },
            };
            if self.line.len() > LINE {
                self.line = Vec::new();
                self.too_long = true;
            }
            if taken {
                let line = std::mem::take(&mut self.line);
                return match std::mem::take(&mut self.too_long) {
                    true => Printed::TooLong,
                    false => Printed::Line(String::from_utf8_lossy(&line).into_owned()),
                };
            }
        }
    }

    async fn ended(&mut self, virsh: &Virsh) -> String {
        let status = match tokio::time::timeout(ENDING, self.child.wait()).await {
            Ok(Ok(status)) => status,
            _ => {
                // It fails only if it has ended just now.
                let _ = self.child.start_kill();
                return "virsh closed its output and did not end: ending it".to_owned();
            }
        };
        let complaint = tokio::time::timeout(ENDING, &mut self.complaint).await;
        virsh.ended(status, complaint.ok().and_then(Result::ok).as_deref().unwrap_or_default())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.complaint.abort();
    }
}

/// Reads all, keeps the end.
async fn last_words(mut complaints: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut space = [0; 1024];
    while let Ok(read @ 1..) = complaints.read(&mut space).await {
        kept.extend_from_slice(space.get(..read).unwrap_or_default());
        let over = kept.len().saturating_sub(COMPLAINT);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_listed_with_their_uuids() {
        let list = "f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79 lv's 1\n3f2a9c1e-0000-4000-8000-000000000001  web1\n\n";
        let expected = [
            ("lv's 1".to_owned(), "f33f7dd2-3b87-4ccf-a5db-9b4a17c8fe79".to_owned()),
            ("web1".to_owned(), "3f2a9c1e-0000-4000-8000-000000000001".to_owned()),
        ];
        assert_eq!(domains(list), expected);
    }

    #[tokio::test]
    async fn a_virsh_that_is_missing_says_which_package_has_it() {
        let virsh = Virsh::new("/nowhere/virsh", "qemu:///system");
        let expected = "there is no program /nowhere/virsh: install the package libvirt-clients";
        assert_eq!(virsh.running().await, Err(expected.to_owned()));
        assert_eq!(virsh.cannot_run(&virsh.events().unwrap_err()), expected);
    }

    #[tokio::test]
    async fn a_libvirt_that_refuses_is_quoted() {
        let virsh =
            Virsh::new("sh", "echo 'error: failed to connect to the hypervisor' >&2; echo 'error: no' >&2; exit 1");
        let expected = "virsh says: failed to connect to the hypervisor; no";
        assert_eq!(virsh.running().await, Err(expected.to_owned()));
        let mut events = virsh.events().unwrap();
        assert!(matches!(events.next(&virsh).await, Printed::Ended(why) if why == expected));
        let silent = Virsh::new("sh", "exit 3");
        assert_eq!(silent.running().await, Err("virsh ended: exit status: 3".to_owned()));
    }

    #[tokio::test]
    async fn lines_come_whole_and_one_that_is_too_long_costs_itself() {
        let script =
            format!("printf 'one\\ntwo'; sleep 0.05; echo ' halves'; head -c {} /dev/zero; echo; echo three", LINE + 1);
        let virsh = Virsh::new("sh", &script);
        let mut events = virsh.events().unwrap();
        let mut found = Vec::new();
        loop {
            match events.next(&virsh).await {
                Printed::Line(line) => found.push(line),
                Printed::TooLong => found.push("too long".to_owned()),
                Printed::Ended(_) => break,
            }
        }
        assert_eq!(found, ["one", "two halves", "too long", "three"]);
    }
}
