//! `qev check-config`: what the daemon would do with a configuration, before it is started with it.

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::places::Places;
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints every value in force as a configuration that says all of it, or everything that is wrong with the line, the \
column and the key, and ends with 1.

    qev check-config                         the one that qev serve would take
    qev check-config new.toml                another, before it is put in place")]
pub(crate) struct Args {
    /// The file; by default /etc/qev/config.toml as root, else qev/config.toml in $XDG_CONFIG_HOME or ~/.config
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print what qev serve would take with this --state-dir
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = Config::load(args.file.as_deref()).map_err(|error| Failure::new(Exit::Failed, error))?;
    let config = match args.state_dir.clone() {
        Some(dir) => config.with_state_dir(std::path::absolute(&dir).unwrap_or(dir)),
        None => config,
    };
    let origin = match &config.file {
        Some(file) => file.display().to_string(),
        None => match Places::of_user() {
            Ok(places) => format!("the defaults: there is no {}", places.config_file.display()),
            Err(error) => return Err(Failure::new(Exit::Failed, error)),
        },
    };
    let mut output = anstream::stdout().lock();
    output.write_all(format!("# {origin}\n{config}").as_bytes())?;
    output.flush()?;
    Ok(Exit::Done)
}
