//! The other end of the daemon's socket: what verbs use to ask it.

use super::request::Request;
use crate::config::group;
use crate::exit::{Exit, Failure};
use qev_qmp::Json;
use qev_record::{Record, plain};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// The answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    line: Vec<u8>,
}

/// A line of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Record(Box<Record>),
    /// What is known of a machine.
    Machine(Machine),
    /// An address that lets one in to the page.
    Page(String),
    /// Something could not be read.
    Problem(String),
    /// That was all; the last number when the request came.
    End(u64),
}

/// What is known of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) state: String,
    /// All of it.
    pub(crate) status: Json,
}

/// The daemon could not be asked, or did not answer to the end.
#[derive(Debug)]
pub(crate) enum AskError {
    /// There is none.
    NotRunning { path: PathBuf, source: io::Error },
    /// It cannot be connected to.
    Unreachable { path: PathBuf, source: io::Error },
    /// It says no.
    Refused { error: String },
    /// It ended.
    Gone { path: PathBuf },
    /// It says something else.
    Strange { line: String },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NotRunning { path, .. } => {
                write!(
                    f,
                    "no daemon is behind {}: start it with qev serve, or say where its state is with --state-dir",
                    path.display()
                )
            }
            AskError::Unreachable { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "the daemon at {} answers root and its own user", path.display())?;
                // Where the socket itself cannot be seen its folder has the same group.
                let file = std::fs::metadata(path).or_else(|_| path.parent().unwrap_or(path).metadata());
                match file {
                    Ok(file) => {
                        write!(f, ", and members of the group {}: ask as one of them", group::name_of(file.gid()))?;
                    }
                    Err(_) => f.write_str(", and members of its socket's group: ask as one of them")?,
                }
                match group::how_to_join(path) {
                    Some(how) => write!(f, "; {how}"),
                    None => Ok(()),
                }
            }
            AskError::Unreachable { path, .. } => write!(f, "cannot connect to the daemon at {}", path.display()),
            AskError::Refused { error } => write!(f, "the daemon says: {}", plain::phrase(error)),
            AskError::Gone { path } => write!(f, "the daemon behind {} ended", path.display()),
            AskError::Strange { line } => {
                write!(f, "not an answer of a daemon of this version: {}", plain::phrase(line))
            }
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::NotRunning { source, .. } | AskError::Unreachable { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        let exit = match &error {
            AskError::NotRunning { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoSuchSocket,
            AskError::NotRunning { .. } => Exit::NobodyListens,
            AskError::Gone { .. } => Exit::Gone,
            _ => Exit::Failed,
        };
        Failure::new(exit, error)
    }
}

/// Asks the daemon of a state directory.
pub(crate) async fn ask(state_dir: &Path, request: &Request) -> Result<Answers, AskError> {
    let path = super::path(state_dir);
    let connected = UnixStream::connect(&path).await;
    let mut stream = connected.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning { path: path.clone(), source }
        }
        _ => AskError::Unreachable { path: path.clone(), source },
    })?;
    // When it is gone already, reading says so.
    let _ = stream.write_all(request.to_line().as_bytes()).await;
    Ok(Answers { stream: BufReader::new(stream), path, line: Vec::new() })
}

/// Who is there, and the last number.
pub(crate) async fn machines(state_dir: &Path) -> Result<(Vec<Machine>, u64), AskError> {
    let mut answers = ask(state_dir, &Request::Machines).await?;
    let mut machines = Vec::new();
    loop {
        match answers.next().await? {
            Answer::Machine(machine) => machines.push(machine),
            Answer::End(last) => return Ok((machines, last)),
            _ => {}
        }
    }
}

/// An address that lets one in to the page, once.
pub(crate) async fn page(state_dir: &Path) -> Result<String, AskError> {
    let mut answers = ask(state_dir, &Request::Page).await?;
    loop {
        match answers.next().await? {
            Answer::Page(address) => return Ok(address),
            Answer::End(_) => return Err(answers.gone()),
            _ => {}
        }
    }
}

impl Answers {
    /// That the daemon ended.
    pub(crate) fn gone(&self) -> AskError {
        AskError::Gone { path: self.path.clone() }
    }

    /// The next answer. Nothing is lost when this future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Answer, AskError> {
        let read = self.stream.read_until(b'\n', &mut self.line).await;
        if read.is_err() || self.line.last() != Some(&b'\n') {
            return Err(self.gone());
        }
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        answer(line.trim_end())
    }
}

fn answer(line: &str) -> Result<Answer, AskError> {
    let strange = || AskError::Strange { line: line.chars().take(200).collect() };
    let json = || Json::parse(line).map_err(|_| strange());
    let text = |name| json()?.get(name).and_then(|text| text.string()).ok_or_else(strange);
    if line.starts_with("{\"end\":") {
        let last = json()?.get("end").and_then(|end| end.get("last")?.as_text().parse().ok());
        return last.map(Answer::End).ok_or_else(strange);
    }
    if line.starts_with("{\"error\":") {
        return Err(AskError::Refused { error: text("error")? });
    }
    if line.starts_with("{\"problem\":") {
        return text("problem").map(Answer::Problem);
    }
    if line.starts_with("{\"address\":") {
        return text("address").map(Answer::Page);
    }
    if line.starts_with("{\"machine\":") {
        let status = json()?;
        let id = status.get("machine_id").and_then(|id| id.string());
        let machine = Machine { name: text("machine")?, id, state: text("state")?, status };
        return Ok(Answer::Machine(machine));
    }
    Record::parse(line).map(|record| Answer::Record(Box::new(record))).map_err(|_| strange())
}
