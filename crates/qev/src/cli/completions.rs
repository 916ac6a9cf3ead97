//! `qev completions SHELL`: what a shell needs to complete verbs and options, from the definitions that parse them.

use crate::exit::{Exit, Failure};
use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use std::io::Write as _;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where each shell looks for them:

    qev completions bash > /usr/share/bash-completion/completions/qev
    qev completions zsh > /usr/share/zsh/vendor-completions/_qev
    qev completions fish > /usr/share/fish/vendor_completions.d/qev.fish

For one user and bash: ~/.local/share/bash-completion/completions/qev")]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_enum)]
    shell: Name,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let shell = match args.shell {
        Name::Bash => Shell::Bash,
        Name::Zsh => Shell::Zsh,
        Name::Fish => Shell::Fish,
    };
    // Written as a whole afterwards: the generator ends the program when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Cli::command(), "qev", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}
