//! `qev man`: manual pages from the definitions that parse the command line, one for qev and one a verb.
//!
//! ```text
//!   clap's definitions ─► NAME, SYNOPSIS, DESCRIPTION, OPTIONS
//!   what stands behind the help ─► NOTES, its lines as they are
//!   exit codes, places ─► EXIT STATUS, FILES
//! ```

use super::Cli;
use crate::exit::{self, Exit, Failure};
use crate::places;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use std::io::{self, Write as _};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The verb whose page to print; without it that of qev itself
    verb: Option<String>,

    /// Write all pages into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut qev = Cli::command().disable_help_subcommand(true);
    qev.build();
    if let Some(dir) = &args.dir {
        for command in std::iter::once(&qev).chain(shown(&qev)) {
            let file = dir.join(format!("{}.1", name(command)));
            let written = page(&qev, command).and_then(|page| std::fs::write(&file, page));
            written.map_err(|error| Failure::new(Exit::Failed, error).about(file.display()))?;
        }
        return Ok(Exit::Done);
    }
    let command = match &args.verb {
        None => &qev,
        Some(verb) => shown(&qev)
            .find(|command| command.get_name() == verb)
            .ok_or_else(|| Failure::usage(format!("no verb '{}': qev --help lists them", verb.escape_debug())))?,
    };
    io::stdout().write_all(&page(&qev, command)?)?;
    Ok(Exit::Done)
}

fn shown(qev: &Command) -> impl Iterator<Item = &Command> {
    qev.get_subcommands().filter(|command| !command.is_hide_set())
}

/// `qev`, `qev-watch`
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(qev: &Command, command: &Command) -> io::Result<Vec<u8>> {
    let is_qev = command.get_name() == qev.get_name();
    let mut page = Vec::new();
    let version = qev.get_version().unwrap_or_default();
    let man = Man::new(command.clone()).source(format!("qev {version}")).manual("qev");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = String::new();
    if is_qev {
        man.render_subcommands_section(&mut page)?;
        section(&mut rest, "TARGETS", super::TARGETS);
    } else if let Some(notes) = command.get_after_help() {
        section(&mut rest, "NOTES", &notes.to_string());
    }
    rest.push_str(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in exit::codes() {
        rest.push_str(&format!(".TP\n{code}\n{}\n", text(meaning)));
    }
    rest.push_str(".SH FILES\n");
    for (place, meaning) in [
        (places::CONFIG_OF_HOST, "the daemon's configuration"),
        (places::STATE_OF_HOST, "what the daemon has recorded"),
        (places::SOCKETS_OF_HOST, "the sockets that QEMUs and clients connect to"),
    ] {
        rest.push_str(&format!(".TP\n{}\n{}\n", text(place), text(meaning)));
    }
    rest.push_str(".PP\nOf a user other than root they are where XDG's base directories are.\n");
    let others: Vec<&str> = std::iter::once(qev).chain(shown(qev)).map(name).filter(|n| *n != name(command)).collect();
    let others: Vec<String> = others.iter().map(|name| format!("{}(1)", text(name))).collect();
    rest.push_str(&format!(".SH \"SEE ALSO\"\n{}\n", others.join(", ")));
    page.extend(rest.into_bytes());
    Ok(ascii(&String::from_utf8_lossy(&page)).into_bytes())
}

/// Groff takes its input for Latin-1 unless it is told otherwise; by number it takes every letter.
fn ascii(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for letter in page.chars() {
        match letter.is_ascii() {
            true => out.push(letter),
            false => out.push_str(&format!("\\[u{:04X}]", u32::from(letter))),
        }
    }
    out
}

/// A section: lines that are indented stay as they are, others are paragraphs.
fn section(page: &mut String, title: &str, lines: &str) {
    page.push_str(&format!(".SH {title}\n"));
    let mut stays = false;
    for line in lines.lines() {
        if !line.is_empty() && stays != line.starts_with(' ') {
            stays = !stays;
            page.push_str(if stays { ".nf\n" } else { ".fi\n" });
        }
        page.push_str(if line.is_empty() { ".PP" } else { "" });
        page.push_str(&text(line));
        page.push('\n');
    }
    page.push_str(if stays { ".fi\n" } else { "" });
}

/// A line as roff takes it: nothing in it is a request, and a hyphen is one that can be copied.
fn text(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_is_taken_for_a_request() {
        assert_eq!(text(".SH x"), "\\&.SH x");
        assert_eq!(ascii("0.25 s … 10 s"), "0.25 s \\[u2026] 10 s");
        assert_eq!(text("'{\"a\": -1}' \\n"), "\\(aq{\"a\": \\-1}\\(aq \\en");
    }
}
