//! The daemon's own socket, `qev.sock` in its state directory: what `qev log`, `machines`, `page`, and `watch` and `wait` by
//! name ask. JSON Lines, one request a connection.
//!
//! ```text
//!   ► {"request":"log","machines":["web1"],"after":17,"follow":true}
//!   ◄ {"seq":18,"kind":"event",…}          a record a line, or
//!   ◄ {"kind":"gap",…,"data":{"first":19,"last":40}}   records that cannot be given, or
//!   ◄ {"problem":"…"}                      something could not be read, what follows is behind it
//!   ◄ {"end":{"last":18}}                  the end: 18 was the last number when the request came, or
//!   ◄ {"error":"…"}                        the end: it was no request, or cannot be answered
//! ```
//!
//! | queue | bound | at the bound |
//! |---|---|---|
//! | a request | 64 KiB, 10 s to send it | an error |
//! | clients | 256, or what the open files allow ([`Descriptors`]) | an error |
//! | what a client has not read | a page of records | its cursor stands still; nobody else notices |
//!
//! Who may connect may read everything that every machine said: the socket's mode is 0660.

pub(crate) mod client;
pub(crate) mod request;
#[cfg(test)]
mod tests;

use super::descriptors::{DescriptorPermit, DescriptorUse, Descriptors};
use super::follow::{Item, Pages, up_to};
use super::recorder::Recorder;
use super::roster::{MachineStatus, Roster};
use crate::http::Door;
use crate::http::access::Role;
use qev_journal::Query;
use qev_qmp::json::print::string;
use qev_record::time::to_rfc3339;
use request::{Log, MAX_REQUEST, Request};
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How many clients there may be, and how long one may take to send its request.
const CLIENTS: usize = 256;
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// How long it is waited when there are no descriptors left for a client.
const AGAIN: Duration = Duration::from_millis(100);

/// Where the daemon of a state directory is asked.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("qev.sock")
}

/// A socket with a name in the state directory, for who is let in there. The name goes when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl SocketFile {
    /// Listens. Whoever holds the journal's lock may take the place of an old socket.
    ///
    /// # Errors
    ///
    /// When there can be no socket of that name.
    pub(crate) fn bind(path: &Path) -> io::Result<SocketFile> {
        // It has its mode before it has its name.
        let new = path.with_extension("new");
        for old in [&new, path] {
            match std::fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&new, path)?;
        Ok(SocketFile { listener, path: path.to_owned() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is not there any more, so much the better.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Control {
    file: SocketFile,
}

impl Control {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When there can be no socket of that name.
    pub(crate) fn bind(state_dir: &Path) -> io::Result<Control> {
        Ok(Control { file: SocketFile::bind(&path(state_dir))? })
    }

    /// Answers, until this future is dropped.
    pub(crate) async fn serve(
        self,
        recorder: Recorder,
        roster: Roster,
        door: Option<Door>,
        descriptors: Arc<Descriptors>,
    ) {
        let places = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok((stream, _)) = self.file.listener.accept().await else {
                // The client waits; nothing but time helps.
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let descriptors = descriptors.try_take(DescriptorUse::ControlClient);
            match Arc::clone(&places).try_acquire_owned().ok().zip(descriptors) {
                Some(place) => {
                    let client =
                        Client { stream, recorder: recorder.clone(), roster: roster.clone(), door: door.clone() };
                    // A client that is gone is no error.
                    tokio::spawn(async move { drop(client.answer(Arc::new(place)).await) });
                }
                None => {
                    let clients = CLIENTS - places.available_permits();
                    let error = error_line(&format!("{clients} clients are connected already: end one of them"));
                    let _ = stream.try_write(error.as_bytes());
                }
            }
        }
    }
}

struct Client {
    stream: UnixStream,
    recorder: Recorder,
    roster: Roster,
    door: Option<Door>,
}

/// What keeps a client's place, also for a thread that still reads for it.
type Place = Arc<(tokio::sync::OwnedSemaphorePermit, DescriptorPermit)>;

impl Client {
    async fn answer(mut self, place: Place) -> io::Result<()> {
        let line = match tokio::time::timeout(REQUEST_WITHIN, self.read_line()).await {
            Ok(line) => line?,
            Err(_) => Err(format!("no request came within {} s", REQUEST_WITHIN.as_secs())),
        };
        let request = match line {
            Ok(line) => Request::parse(&line).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        let answered = match request {
            Err(error) => Err(error),
            Ok(Request::Ping) => self.end(self.recorder.last()).await.map(Ok)?,
            Ok(Request::Machines) => {
                let last = self.recorder.last();
                let lines: String = self.roster.snapshot().iter().map(machine_line).collect();
                self.stream.write_all(lines.as_bytes()).await?;
                self.end(last).await.map(Ok)?
            }
            Ok(Request::Page) => match self.page() {
                Ok(address) => {
                    self.stream.write_all(text_line("address", &address).as_bytes()).await?;
                    self.end(self.recorder.last()).await.map(Ok)?
                }
                Err(error) => Err(error),
            },
            Ok(Request::Log(log)) => self.log(*log, place).await?,
        };
        if let Err(error) = answered {
            self.stream.write_all(error_line(&error).as_bytes()).await?;
        }
        self.stream.shutdown().await
    }

    /// An address that lets whoever asks come to the page, as what they are.
    fn page(&self) -> Result<String, String> {
        let Some(door) = &self.door else {
            return Err("it serves no page: start it without --http none, or give http.listen an address".to_owned());
        };
        let asks = self.stream.peer_cred().map_err(|error| error.to_string())?;
        door.address(Role::of_user(asks.uid())).map_err(|error| error.to_string())
    }

    /// The request, without its line end. At the end of the stream a last line may do without one.
    async fn read_line(&mut self) -> io::Result<Result<Vec<u8>, String>> {
        let mut line = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.stream.read(&mut piece).await?;
            let piece = piece.get(..read).unwrap_or_default();
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(piece.get(..end.unwrap_or(read)).unwrap_or_default());
            if line.len() > MAX_REQUEST {
                return Ok(Err(format!("the request is longer than {MAX_REQUEST} bytes")));
            }
            if end.is_some() || read == 0 {
                return Ok(Ok(line));
            }
        }
    }

    async fn log(&mut self, log: Log, place: Place) -> io::Result<Result<(), String>> {
        let last = self.recorder.last();
        if let Some(after) = log.after.filter(|after| *after > last) {
            return Ok(Err(format!("there is no record {after}: the last one is {last}; is this another journal?")));
        }
        let mut left = log.limit.unwrap_or(u64::MAX);
        if log.follow {
            let follow = self.recorder.follow(log.wanted, log.after.unwrap_or(0));
            let mut follow = follow.guarded(Some(place));
            let mut ignored = [0; 64];
            while left > 0 {
                tokio::select! {
                    items = follow.next() => {
                        let Some(items) = items else { break };
                        self.write(items, &mut left).await?;
                    }
                    read = self.stream.read(&mut ignored) => match read? {
                        // Gone: nobody is left to write to.
                        0 => return Ok(Ok(())),
                        _ => return Ok(Err("one request a connection".to_owned())),
                    },
                }
            }
        } else {
            let query = Query { after: log.after, newest_first: log.newest_first, limit: log.limit, ..up_to(last) };
            let mut pages = Pages::new(self.recorder.reader(), log.wanted, &query, Some(place));
            while let Some(page) = pages.next().await {
                self.write(page, &mut left).await?;
            }
        }
        self.end(last).await.map(Ok)
    }

    async fn write(&mut self, items: Vec<Item>, left: &mut u64) -> io::Result<()> {
        let mut lines = String::new();
        for item in items {
            match item {
                Item::Record(_) if *left == 0 => break,
                Item::Record(record) => {
                    *left -= 1;
                    lines.push_str(&record.to_line());
                    lines.push('\n');
                }
                Item::Missing { gap, .. } => {
                    lines.push_str(&gap.to_line());
                    lines.push('\n');
                }
                Item::Problem(problem) => lines.push_str(&text_line("problem", &problem)),
            }
        }
        self.stream.write_all(lines.as_bytes()).await
    }

    async fn end(&mut self, last: u64) -> io::Result<()> {
        self.stream.write_all(format!("{{\"end\":{{\"last\":{last}}}}}\n").as_bytes()).await
    }
}

fn error_line(error: &str) -> String {
    text_line("error", error)
}

fn text_line(name: &str, text: &str) -> String {
    let mut line = format!("{{\"{name}\":");
    string(&mut line, text);
    line.push_str("}\n");
    line
}

/// What is known of a machine, as a line of JSON. What is not known is left out.
pub(crate) fn machine_line(status: &MachineStatus) -> String {
    let mut line = String::from("{\"machine\":");
    string(&mut line, &status.machine);
    let since = to_rfc3339(status.since);
    let texts = [
        ("machine_id", status.machine_id.as_deref()),
        ("session", status.session.as_deref()),
        ("state", Some(status.state)),
        ("since", Some(since.as_str())),
        ("way", Some(status.way)),
        ("place", Some(status.place.as_str())),
        ("run_state", status.run_state.as_deref()),
        ("qemu", status.qemu.as_deref()),
        ("note", status.note.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            // Writing to a String cannot fail.
            let _ = write!(line, ",\"{name}\":");
            string(&mut line, text);
        }
    }
    if let Some(pid) = status.pid {
        let _ = write!(line, ",\"pid\":{pid}");
    }
    if let Some(share) = &status.share {
        line.push_str(",\"share\":{\"path\":");
        string(&mut line, &share.path);
        let _ = write!(line, ",\"clients\":{}}}", share.clients);
    }
    let _ = writeln!(line, ",\"events\":{}}}", status.events);
    line
}
