//! A pager in front of the terminal, as journalctl and git have one.
//!
//! `$PAGER` says which, else it is the first of `pager`, `less` and `more` that there is; an empty `$PAGER`, `cat` and a
//! dumb terminal mean none. Where `$LESS` is not set, less is told `FRSXMK`: leave when all fits on a screen, show colours,
//! cut long lines, leave the text on the screen, say where it is, and end with Ctrl-C.
//!
//! With another user's rights, as under sudo, `$PAGER` counts for nothing and less may start nothing (`LESSSECURE`): it
//! could start a shell.

use anstream::{AutoStream, ColorChoice};
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The pagers that are tried where none is asked for.
const PAGERS: [&str; 3] = ["pager", "less", "more"];

/// Those of them that can be kept from starting programs.
const SECURE: [&str; 1] = ["less"];

/// How less behaves unless it is told otherwise.
const LESS: &str = "FRSXMK";

/// Variables that say that another user started us.
const ELEVATED: [&str; 3] = ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"];

/// A pager that runs.
pub(crate) struct Pager {
    child: Child,
    input: BufWriter<ChildStdin>,
    /// Whether the terminal behind it shows colours.
    colours: ColorChoice,
}

/// Which pager is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    None,
    /// A command for the shell.
    Asked(String),
    /// The first that there is; with another user's rights.
    First {
        is_elevated: bool,
    },
}

impl Pager {
    /// Starts a pager for standard output; `None` when that is no terminal, when none is wanted, or when there is none.
    pub(crate) fn start() -> Option<Pager> {
        if !io::stdout().is_terminal() {
            return None;
        }
        match choice(|name| std::env::var(name).ok()) {
            Choice::None => None,
            Choice::Asked(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &command]);
                Pager::run(shell)
            }
            Choice::First { is_elevated: false } => PAGERS.iter().find_map(|program| Pager::run(Command::new(program))),
            Choice::First { is_elevated: true } => SECURE.iter().find_map(|program| {
                let mut pager = Command::new(program);
                pager.env("LESSSECURE", "1");
                Pager::run(pager)
            }),
        }
    }

    fn run(mut command: Command) -> Option<Pager> {
        for (name, value) in [("LESS", LESS), ("LESSCHARSET", "utf-8")] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
        let input = BufWriter::new(child.stdin.take()?);
        // Standard output is the terminal on which the pager shows the text.
        Some(Pager { child, input, colours: AutoStream::choice(&io::stdout()) })
    }

    /// Writes a text; fails when the pager was left.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        match self.colours {
            ColorChoice::Never => self.input.write_all(anstream::adapter::strip_str(text).to_string().as_bytes()),
            _ => self.input.write_all(text.as_bytes()),
        }
    }

    /// Shows the pager all that was written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }

    /// Waits until the pager is left.
    pub(crate) fn wait(self) {
        let Pager { mut child, input, .. } = self;
        // Dropped, it says that this was all.
        drop(input);
        // It fails only when it was waited for already.
        let _ = child.wait();
    }
}

fn choice(variable: impl Fn(&str) -> Option<String>) -> Choice {
    let is_elevated = ELEVATED.iter().any(|name| variable(name).is_some());
    let asked = variable("PAGER").map(|pager| pager.trim().to_owned());
    match asked {
        _ if variable("TERM").is_none_or(|term| term == "dumb") => Choice::None,
        Some(pager) if pager.is_empty() || pager == "cat" => Choice::None,
        Some(pager) if !is_elevated => Choice::Asked(pager),
        _ => Choice::First { is_elevated },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: &Choice) {
        let variable = |name: &str| {
            let terminal = [("TERM", "xterm")];
            let mut all = variables.iter().chain(&terminal);
            all.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(choice(variable), *expected, "{variables:?}");
    }

    #[test]
    fn the_variable_says_which_pager_and_whether_there_is_one() {
        check(&[], &Choice::First { is_elevated: false });
        check(&[("PAGER", "less -R")], &Choice::Asked("less -R".to_owned()));
        check(&[("PAGER", "")], &Choice::None);
        check(&[("PAGER", " cat ")], &Choice::None);
        check(&[("TERM", "dumb"), ("PAGER", "less")], &Choice::None);
    }

    #[test]
    fn with_another_users_rights_it_is_not_for_the_variable_to_say() {
        for name in ELEVATED {
            check(&[(name, "1000"), ("PAGER", "sh")], &Choice::First { is_elevated: true });
            check(&[(name, "1000"), ("PAGER", "cat")], &Choice::None);
        }
    }
}
