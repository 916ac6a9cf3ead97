//! `qev completions SHELL`: the script by which a shell asks qev what could stand at the cursor ([`super::complete`]).

use super::complete::VARIABLE;
use crate::exit::{Exit, Failure};
use clap::ValueEnum;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use std::io::Write as _;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Verbs, options, events, severities, and the machines that the daemon has attached are completed. Where each shell looks for \
the script:

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

/// zsh reads the script as the body of a function when the key is pressed for the first time: then it has to complete, too.
const ZSH_FIRST: &str = "\nif [[ \"$funcstack[1]\" == _qev ]]; then\n    _clap_dynamic_completer_qev \"$@\"\nfi\n";

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let shell: &dyn EnvCompleter = match args.shell {
        Name::Bash => &Bash,
        Name::Zsh => &Zsh,
        Name::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "qev", "qev", "qev", &mut script)?;
    if matches!(args.shell, Name::Zsh) {
        script.extend_from_slice(ZSH_FIRST.as_bytes());
    }
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}
