//! What the stories share: a machine that follows a script, a server of few commands, a raw client, and a place for sockets.

use qev_link::share::{Admission, Audited, Budget, Gate, Notice as ShareNotice, Policy, Verdict};
use qev_link::{Access, Peer, Share};
use qev_link::{Client, Clock, Commands, ConnectOptions, EventItem, Events, MonitorOptions, Server};
use qev_qmp::event::OtherEvent;
use qev_qmp::{Dialect, Event, Greeting, Object, QemuVersion, Timestamp, Value};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "qev"}, "capabilities": ["oob"]}}"#;

/// What a 7.2.22 says of itself.
pub(crate) fn greeting() -> Greeting {
    let version = QemuVersion::new(7, 2, 22);
    Greeting { version, package: "qev".to_owned(), capabilities: vec!["oob".to_owned()] }
}

/// An event without a timestamp.
pub(crate) fn event(name: &str, data: Option<Object>) -> Event {
    Event::new(&OtherEvent::new(name, data).into(), None, Dialect::Qemu)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn at(seconds: i64) -> Clock {
    Clock::starting_at(Timestamp { seconds, microseconds: 0 })
}

/// One end of a stream, spoken to in lines.
pub(crate) struct Raw<S = DuplexStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn new(stream: S) -> Raw<S> {
        Raw { stream, unread: Vec::new() }
    }

    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// The next line without its end; an empty one at the end of the stream.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return String::new(),
                Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            }
        }
    }

    pub(crate) async fn expect(&mut self, expected: &str) {
        assert_eq!(self.hear().await, expected);
    }

    /// Whether there is nothing to hear, and will not be for this long.
    pub(crate) async fn hears_nothing_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.hear()).await.is_err()
    }

    /// As a client of a server: the greeting, and in.
    pub(crate) async fn negotiate(&mut self) {
        self.expect(GREETING).await;
        self.say(r#"{"execute": "qmp_capabilities"}"#).await;
        self.expect(r#"{"return": {}}"#).await;
    }

    /// As a machine: greets a client and lets it in.
    pub(crate) async fn let_in(&mut self) {
        self.say(format!("{GREETING}\r\n")).await;
        self.expect(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}"#).await;
        self.say("{\"return\": {}, \"id\": 1}\r\n").await;
    }
}

/// A client of a machine that is played by the other end, which has let it in.
pub(crate) async fn client(options: ConnectOptions) -> (Client, Events, Raw) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut machine = Raw::new(theirs);
    let (connected, ()) = tokio::join!(Client::over(ours, options), machine.let_in());
    let (client, events) = connected.unwrap();
    (client, events, machine)
}

/// A raw client of a server, over a pair.
pub(crate) async fn raw<S: qev_link::Service>(server: &Server<S>, options: MonitorOptions) -> Raw {
    raw_with(server, options, 1 << 16).await
}

/// The same over a pair that holds this many bytes.
pub(crate) async fn raw_with<S: qev_link::Service>(server: &Server<S>, options: MonitorOptions, buffer: usize) -> Raw {
    let (ours, theirs) = tokio::io::duplex(buffer);
    server.over(theirs, options).await.unwrap();
    Raw::new(ours)
}

/// A server with a few commands, whose clock starts at second 100.
pub(crate) async fn server() -> Server {
    commands().start().await.unwrap()
}

pub(crate) fn commands() -> qev_link::server::ServerBuilder<Commands> {
    Server::builder(greeting())
        .clock(at(100))
        .command("echo", |_, arguments| Ok(arguments.clone().into()))
        .command("stop", |context, _| {
            let mut event = event("STOP", None);
            event.timestamp = Some(context.timestamp());
            context.emit(event);
            Ok(Object::new().into())
        })
        .oob_command("now", |context, _| Ok(Value::from(u64::try_from(context.now().as_millis()).unwrap())))
}

/// What is said to a subscriber, in a few words, up to the end or to this many.
pub(crate) async fn heard(events: &mut Events, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(match events.next().await {
            EventItem::Event(event) => event.to_line(),
            EventItem::Missed(count) => format!("missed {count}"),
            EventItem::Garbage(garbage) => format!("garbage: {}", garbage.sample.escape_ascii()),
            EventItem::Unknown(json) => format!("unknown: {json}"),
            EventItem::Ended(reason) => {
                heard.push(format!("ended: {reason}"));
                break;
            }
            other => format!("{other:?}"),
        });
    }
    heard
}

/// How many files all stories together may have open. As many as there may be are asked for: a shell's usual limit is 1024.
pub(crate) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(8192);
    let current = limit.current.unwrap_or(u64::MAX).max(most);
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    current.try_into().unwrap()
}

/// A folder that is gone when the story is over.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qev-link-{}-{number}", std::process::id()));
        // A process of the same number may have been killed before it could remove its own.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// Lets everyone in, and refuses what begins with `x-`. What it notices is kept.
#[derive(Default)]
pub(crate) struct Open {
    pub(crate) audit: Option<tokio::sync::mpsc::Sender<Audited>>,
    pub(crate) noticed: std::sync::Mutex<Vec<String>>,
}

impl Gate for Open {
    fn admit(&self, _peer: Peer) -> Result<Admission, String> {
        Ok(Admission { policy: std::sync::Arc::new(NothingExperimental), audit: self.audit.clone() })
    }

    fn notice(&self, notice: ShareNotice) {
        self.noticed.lock().unwrap().push(notice.to_string());
    }
}

struct NothingExperimental;

impl Policy for NothingExperimental {
    fn judge(&self, command: &str, _arguments: &Object) -> Verdict {
        match command.starts_with("x-") {
            true => Verdict::Refuse { rule: "nothing experimental".to_owned() },
            false => Verdict::Allow { audit: true },
        }
    }
}

/// A machine that is played by hand, and its monitor shared.
pub(crate) struct Shared<M> {
    pub(crate) machine: M,
    pub(crate) share: Share,
    pub(crate) gate: std::sync::Arc<Open>,
    pub(crate) budget: std::sync::Arc<Budget>,
    _folder: Folder,
}

impl<M> Shared<M> {
    fn start(client: &Client, machine: M, gate: Open, budget: std::sync::Arc<Budget>) -> Shared<M> {
        let (folder, gate) = (Folder::new(), std::sync::Arc::new(gate));
        let path = folder.file("shared.qmp");
        let share = Share::start(client, &path, Access::default(), gate.clone(), budget.clone()).unwrap();
        Shared { machine, share, gate, budget, _folder: folder }
    }

    /// One more client, which has not said anything.
    pub(crate) async fn connect(&self) -> Raw<tokio::net::UnixStream> {
        Raw::new(tokio::net::UnixStream::connect(self.share.path().get()).await.unwrap())
    }

    /// One more client that has negotiated.
    pub(crate) async fn enter(&self) -> Raw<tokio::net::UnixStream> {
        let mut raw = self.connect().await;
        raw.negotiate().await;
        raw
    }

    /// The same with execution out of band.
    pub(crate) async fn enter_with_oob(&self) -> Raw<tokio::net::UnixStream> {
        let mut raw = self.connect().await;
        raw.expect(GREETING).await;
        raw.say(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#).await;
        raw.expect(r#"{"return": {}}"#).await;
        raw
    }
}

/// A machine that is played by hand.
pub(crate) async fn shared() -> Shared<Raw> {
    shared_with(Open::default(), Budget::new(64 << 20, 4096)).await
}

pub(crate) async fn shared_with(gate: Open, budget: std::sync::Arc<Budget>) -> Shared<Raw> {
    let (client, _, machine) = client(ConnectOptions::default()).await;
    Shared::start(&client, machine, gate, budget)
}

/// A machine that is a server of ours.
pub(crate) async fn shared_server(server: Server, budget: std::sync::Arc<Budget>) -> Shared<Server> {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    server.over(theirs, MonitorOptions::default()).await.unwrap();
    let (client, _) = Client::over(ours, ConnectOptions::default()).await.unwrap();
    Shared::start(&client, server, Open::default(), budget)
}
