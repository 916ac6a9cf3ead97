//! `qev serve`: the daemon.

use crate::config::{Attach, Config, Http, LONGEST_SOCKET_PATH, listen_address};
use crate::daemon::serve::serve;
use crate::exit::{Exit, Failure};
use qev_link::Target;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It keeps every event of every machine that it holds in a journal, until SIGTERM, SIGINT or SIGHUP. QEMUs connect \
to it by themselves ('qev attach-args' says what to add to them); 'qev log' shows the history, 'qev machines' \
who is there.")]
pub(crate) struct Args {
    /// Where the journal is kept, and every socket that the configuration gives no other place
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

    /// Serve the page and the API here, by default at 127.0.0.1:7780; repeatable, port 0 is one that is free, none turns it off
    #[arg(long, value_name = "ADDR", value_parser = Listen::parse)]
    http: Vec<Listen>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let mut config = Config::load(args.config.as_deref()).map_err(|error| Failure::new(Exit::Failed, error))?;
    config.journal.fsync = !args.no_fsync;
    // What the command line says counts instead of what the file says.
    if let Some(dir) = args.state_dir {
        config = config.with_state_dir(std::path::absolute(&dir).unwrap_or(dir));
    }
    if !args.attach.is_empty() {
        config.attach = args.attach.into_iter().map(|path| Attach::at(from_the_root(path))).collect();
    }
    if !args.dial.is_empty() {
        config.dial = args.dial.iter().map(|path| dial(path)).collect::<Result<_, _>>()?;
    }
    if !args.http.is_empty() {
        config.http = http(config.http, &args.http)?;
    }
    serve(config).await
}

/// Where to listen, or that it is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listen {
    At(SocketAddr),
    None,
}

impl Listen {
    fn parse(text: &str) -> Result<Listen, String> {
        if text == "none" { Ok(Listen::None) } else { listen_address(text).map(Listen::At) }
    }
}

fn http(configured: Http, said: &[Listen]) -> Result<Http, Failure> {
    if said == [Listen::None] {
        return Ok(configured.none());
    }
    let at = said.iter().map(|listen| match listen {
        Listen::At(address) => Ok(*address),
        Listen::None => Err(Failure::usage("none turns it off: no address can stand beside it").about("--http")),
    });
    Ok(configured.at(at.collect::<Result<_, _>>()?))
}

/// A socket's path as who is in another folder must write it, unless none can be so long.
fn from_the_root(path: PathBuf) -> PathBuf {
    match std::path::absolute(&path) {
        Ok(absolute) if absolute.as_os_str().len() <= LONGEST_SOCKET_PATH => absolute,
        _ => path,
    }
}

/// A pattern that does not depend on the folder in which it was given; `unix:` before it says no more.
fn dial(pattern: &str) -> Result<String, Failure> {
    let usage = |error: String| Failure::usage(error).about("--dial");
    let pattern = match pattern.split_once(':') {
        Some(("unix", _)) => {
            let target = pattern.parse::<Target>().map_err(|error| usage(error.to_string()))?;
            target.to_string()
        }
        Some(("tcp", _)) => {
            return Err(usage(format!(
                "'{}' is no path, and a machine over TCP needs a name. Put it into the configuration: a line [[machine]], then \
                 name = \"…\" and monitor = \"{}\"",
                pattern.escape_debug(),
                pattern.escape_debug()
            )));
        }
        Some(("fd", _)) => {
            return Err(usage(format!(
                "'{}' is no path: a daemon connects to its monitors itself",
                pattern.escape_debug()
            )));
        }
        _ => pattern.to_owned(),
    };
    let path = std::path::absolute(&pattern).map_err(|error| Failure::usage(error).about("--dial"))?;
    // What was text, joined to a folder whose name is none, is none.
    path.into_os_string().into_string().map_err(|_| Failure::usage("the path is not text").about("--dial"))
}
