//! `qev page`: how a person comes to the page, and who else may ask over HTTP.

use crate::daemon::control::client;
use crate::exit::{Exit, Failure, tell};
use crate::http::access::file::{Entry, FileError, Role, Secret, Tokens, is_name};
use crate::printer::now;
use qev_record::time::to_rfc3339;
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The address lets one browser in, once, within 10 minutes; the browser stays in for 7 days.

    qev page                                 for you
    qev page --token grafana                 for a program: 'Authorization: Bearer TOKEN'
    qev page --list
    qev page --revoke grafana                from now on
    qev page --log-out                       every browser, from now on")]
pub(crate) struct Args {
    /// Make a token of this name, that lasts until it is revoked, and print it: it is shown this once
    #[arg(long, value_name = "NAME", value_parser = name)]
    token: Option<String>,

    /// What the token is for: read sees everything, operate may command machines, too
    #[arg(long, value_name = "ROLE", default_value = "read", value_parser = role, requires = "token")]
    role: Role,

    /// Show the tokens that there are
    #[arg(long, conflicts_with = "token")]
    list: bool,

    /// Revoke the token of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["token", "list"])]
    revoke: Option<String>,

    /// End the sessions of all browsers
    #[arg(long, conflicts_with_all = ["token", "list", "revoke"])]
    log_out: bool,

    /// Where the daemon keeps its state
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let wrong = "expected letters, digits, '.', '_' and '-', at most 64";
    if is_name(text) { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| "expected read or operate".to_owned())
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let state_dir = super::log::state_dir(args.state_dir)?;
    let tokens = Tokens::of(&state_dir);
    let mut out = anstream::stdout();
    if let Some(name) = args.token {
        let secret = make(&tokens, name, args.role)?;
        writeln!(out, "{}", secret.reveal())?;
        tell("this is shown once: it is not kept");
    } else if args.list {
        for entry in tokens.read().map_err(failed)? {
            let name = entry.name.as_deref().unwrap_or("(a browser)");
            writeln!(out, "{name:<24}  {:<7}  {}", entry.role.as_str(), to_rfc3339(entry.created))?;
        }
    } else if let Some(name) = args.revoke {
        if !remove(&tokens, |entry| entry.name.as_deref() == Some(&name))? {
            let error =
                format!("there is no token '{}': qev page --list shows those that there are", name.escape_debug());
            return Err(Failure::new(Exit::Failed, error));
        }
    } else if args.log_out {
        remove(&tokens, |entry| entry.name.is_none())?;
    } else {
        writeln!(out, "{}", client::page(&state_dir).await?)?;
    }
    Ok(Exit::Done)
}

fn failed(error: FileError) -> Failure {
    Failure::new(Exit::Failed, error)
}

fn make(tokens: &Tokens, name: String, role: Role) -> Result<Secret, Failure> {
    let secret = Secret::new().map_err(|error| Failure::new(Exit::Failed, error).about("random bytes"))?;
    let entry = Entry { name: Some(name.clone()), role, hash: secret.hash(), created: now() };
    let is_new = tokens.change(now(), |entries| {
        let is_new = !entries.iter().any(|other| other.name.as_deref() == Some(&name));
        if is_new {
            entries.push(entry);
        }
        is_new
    });
    if is_new.map_err(failed)? {
        return Ok(secret);
    }
    let error = format!("there is a token of this name already: qev page --revoke {name} removes it");
    Err(Failure::new(Exit::Failed, error).about(name))
}

/// Whether there was one to remove.
fn remove(tokens: &Tokens, is: impl Fn(&Entry) -> bool) -> Result<bool, Failure> {
    tokens
        .change(now(), |entries| {
            let before = entries.len();
            entries.retain(|entry| !is(entry));
            entries.len() < before
        })
        .map_err(failed)
}
