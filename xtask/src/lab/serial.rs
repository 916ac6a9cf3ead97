//! The guest's console: always read, and the way to tell the guest's `init` what to do.
//!
//! `init` (see [`initramfs`](super::initramfs)) runs each line it is sent as a shell command and then says how it
//! ended.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::initramfs::{READY, STATUS};
use super::transcript::{Missing, Transcript};
use crate::error::{Context, Error};

/// How much of the console a message quotes.
const QUOTED_LINES: usize = 12;

/// How long a command in the guest may take, under emulation on a busy machine.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);

/// Both directions of the guest's first serial port.
#[derive(Debug)]
pub struct Serial {
    to_guest: UnixStream,
    console: Transcript,
    /// What lies before this place has been dealt with.
    read_up_to: usize,
}

impl Serial {
    /// Starts reading the console.
    pub fn new(stream: UnixStream) -> Result<Self, Error> {
        let reader = stream.try_clone().context(|| "cannot read the guest's console".to_owned())?;
        Ok(Self { to_guest: stream, console: Transcript::of(reader), read_up_to: 0 })
    }

    /// Waits until the guest is up: its drivers are loaded and its `init` takes orders.
    pub fn wait_until_ready(&mut self, within: Duration) -> Result<(), Error> {
        self.wait_for_line_after(READY, within).map(|_| ())
    }

    /// Has the guest run a shell command; an error unless the guest says that it succeeded.
    pub fn run(&mut self, command: &str) -> Result<(), Error> {
        self.tell(command)?;
        match self.wait_for_line_after(STATUS, COMMAND_PATIENCE)?.trim() {
            "0" => Ok(()),
            status => Err(Error::new(format!("in the guest, {command} ended with status {status}"))),
        }
    }

    /// Has the guest run a shell command that it will not come back from, such as a panic.
    pub fn tell(&mut self, command: &str) -> Result<(), Error> {
        let line = format!("{command}\n");
        self.to_guest.write_all(line.as_bytes()).context(|| format!("cannot tell the guest to run {command}"))
    }

    /// All that the guest's console showed.
    pub fn console(&self) -> String {
        self.console.text()
    }

    /// Waits for a whole line that starts with `start` and gives the rest of it.
    fn wait_for_line_after(&mut self, start: &str, within: Duration) -> Result<String, Error> {
        let from = self.read_up_to;
        let found = self.console.wait_for(within, |console| line_after(console.get(from..)?, start));
        match found {
            Ok((rest, length)) => {
                self.read_up_to = from + length;
                Ok(rest)
            }
            Err(missing) => {
                let why = match missing {
                    Missing::Ended => "its console is gone".to_owned(),
                    Missing::TimedOut => format!("not within {within:?}"),
                };
                let last = last_lines(&self.console.text());
                Err(Error::new(format!("the guest did not say {start:?}: {why}; the last it said:\n{last}")))
            }
        }
    }
}

/// The rest of the first whole line that starts with `start`, and where the next line begins.
fn line_after(text: &str, start: &str) -> Option<(String, usize)> {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        if let Some(rest) = line.strip_suffix('\n').and_then(|line| line.trim_start().strip_prefix(start)) {
            return Some((rest.trim_end().to_owned(), end));
        }
    }
    None
}

/// The end of a console, fit for a terminal: firmware writes escape sequences to it.
fn last_lines(console: &str) -> String {
    let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(QUOTED_LINES);
    let quoted: Vec<String> = lines
        .into_iter()
        .skip(skipped)
        .map(|line| format!("  | {}", line.chars().filter(|c| !c.is_control()).collect::<String>()))
        .collect();
    quoted.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_counts() {
        assert_eq!(line_after("[ 1.0] boot\r\nlab: status 1", "lab: status"), None);
        let text = "[ 1.0] boot\r\nlab: status 1\r\nmore";
        assert_eq!(line_after(text, "lab: status"), Some((" 1".to_owned(), text.len() - 4)));
    }

    #[test]
    fn a_command_is_answered_by_its_own_status() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let mut serial = Serial::new(ours).unwrap();
        guest.write_all(format!("boot\r\n{READY}\r\n{STATUS} 0\r\n{STATUS} 2\r\n").as_bytes()).unwrap();
        serial.wait_until_ready(COMMAND_PATIENCE).unwrap();
        serial.run("true").unwrap();
        let error = serial.run("false").unwrap_err();
        assert_eq!(error.to_string(), "in the guest, false ended with status 2");
    }

    #[test]
    fn a_guest_that_dies_is_quoted_without_its_escape_sequences() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let mut serial = Serial::new(ours).unwrap();
        guest.write_all(b"\x1b[2JKernel panic\r\n").unwrap();
        drop(guest);
        let error = serial.wait_until_ready(COMMAND_PATIENCE).unwrap_err().to_string();
        assert!(error.contains("its console is gone"), "{error}");
        assert!(error.ends_with("  | [2JKernel panic"), "{error}");
    }
}
