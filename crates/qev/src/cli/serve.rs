//! `qev serve`: the daemon.

use crate::config::{Attach, Config};
use crate::daemon::serve::serve;
use crate::exit::{Exit, Failure};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It keeps every event of every machine that it holds in a journal, until SIGTERM or SIGINT. QEMUs connect to it by
themselves ('qev attach-args' says what to add to them); 'qev log' shows the history, 'qev machines' who is there.")]
pub(crate) struct Args {
    /// Where the journal is kept, and the daemon's own socket
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Listen here for QEMUs that connect by themselves; repeatable
    #[arg(long, value_name = "PATH")]
    attach: Vec<PathBuf>,

    /// Connect to the monitors at this path, which may have *, ? and [...]; repeatable
    #[arg(long, value_name = "PATH")]
    dial: Vec<String>,

    /// What else it is to do; by default /etc/qev/config.toml as root, else qev/config.toml in ~/.config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Do not wait for the disk: what is not written yet is lost when the power is. For tests, which show so that waiting is
    /// worth it
    #[arg(long, hide = true)]
    no_fsync: bool,

    /// Not there yet: this version serves no page
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    if let Some(address) = args.http {
        let error = "this version of qev serves no page: leave it away";
        return Err(Failure::usage(error).about(format!("--http {address}")));
    }
    let mut config = Config::load(args.config.as_deref()).map_err(|error| Failure::new(Exit::Failed, error))?;
    config.journal.fsync = !args.no_fsync;
    // What the command line says counts instead of what the file says.
    if let Some(dir) = args.state_dir {
        config.state_dir = dir;
    }
    if !args.attach.is_empty() {
        config.attach = args.attach.into_iter().map(Attach::at).collect();
    }
    if !args.dial.is_empty() {
        config.dial = args.dial.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
    }
    serve(config).await
}

/// A pattern that does not depend on the folder in which it was given.
fn absolute(pattern: &str) -> Result<String, Failure> {
    let path = std::path::absolute(pattern).map_err(|error| Failure::usage(error).about("--dial"))?;
    // What was text, joined to a folder whose name is none, is none.
    path.into_os_string().into_string().map_err(|_| Failure::usage("the path is not text").about("--dial"))
}
