//! A monitor as the verbs see it: what its machine is called, and what it says, as records.

use crate::daemon::identity::LONGEST_NAME;
use crate::printer::now;
use qev_link::{Capacity, Client, EventItem, Peer, Target};
use qev_qmp::Json;
use qev_record::{Record, Severity, record::Gap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a monitor's subscription has room for, in items and bytes: a burst should not cost anything because a terminal is
/// slow.
pub(crate) const ROOM: Capacity = Capacity { items: 1 << 16, bytes: 16 << 20 };

/// How many characters of an object that is no event are shown.
const OBJECT_SHOWN: usize = 200;

/// How long a machine may take to say its name.
const NAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Who speaks.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    host: Arc<str>,
    machine: Arc<str>,
    session: Option<Arc<str>>,
    attached: String,
}

impl Monitor {
    /// The monitor of the machine that calls itself so, else of one called `otherwise`.
    pub(crate) async fn of(client: &Client, host: &Arc<str>, otherwise: impl FnOnce() -> String) -> Monitor {
        let answer = client.execute_with_timeout("query-name", None, NAME_TIMEOUT).await;
        let name = answer
            .ok()
            .and_then(|answer| answer.get("name")?.string())
            .filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
        let machine = name.unwrap_or_else(otherwise).into();
        Monitor { host: Arc::clone(host), machine, session: None, attached: "attached".to_owned() }
    }

    /// It was this process that connected to us: the kernel says so.
    pub(crate) fn dialled_in(self, process: &str, peer: Peer) -> Monitor {
        Monitor { session: Some(process.into()), attached: format!("attached: {peer} dialled in"), ..self }
    }

    /// The machine's name.
    pub(crate) fn machine(&self) -> &Arc<str> {
        &self.machine
    }

    /// That it is there.
    pub(crate) fn attached(&self) -> Record {
        let mut record = Record::attached(Arc::clone(&self.host), Arc::clone(&self.machine), now());
        record.summary = self.attached.as_str().into();
        self.of_session(record)
    }

    /// That events may be missing up to now.
    pub(crate) fn gap(&self, gap: Gap, reason: &str) -> Record {
        let time = now();
        let gap = Gap { until: Some(time), ..gap };
        self.of_session(Record::gap(Arc::clone(&self.host), Arc::clone(&self.machine), time, gap, reason))
    }

    /// What came, as a record. The end of the connection is a record of [`qev_record::Kind::Detached`].
    pub(crate) fn record(&self, item: &EventItem) -> Option<Record> {
        let (host, machine) = (Arc::clone(&self.host), Arc::clone(&self.machine));
        let record = match item {
            EventItem::Event(event) => Record::event(host, machine, now(), event),
            EventItem::Missed(count) => {
                let reason = format!("{count} messages came faster than they could be shown");
                let mut lost = self.gap(Gap::default(), &reason);
                lost.severity = Severity::Error;
                lost
            }
            EventItem::TooLarge { event, bytes } => {
                let name = event.as_ref().map_or("message", |event| event.as_str());
                let reason =
                    format!("a {name} of {bytes} bytes is missing: one as large was still waiting to be shown");
                let mut lost = self.gap(Gap::default(), &reason);
                lost.severity = Severity::Error;
                lost
            }
            EventItem::Garbage(garbage) => self.gap(Gap::default(), &garbage.to_string()),
            EventItem::Unknown(object) => self.gap(Gap::default(), &not_an_event(object)),
            EventItem::Restarted(_) => self.gap(Gap::default(), "the monitor began a new session"),
            EventItem::Ended(reason) => Record::detached(host, machine, now(), &reason.to_string()),
            _ => return None,
        };
        Some(self.of_session(record))
    }

    fn of_session(&self, mut record: Record) -> Record {
        record.session.clone_from(&self.session);
        record
    }
}

/// The reason of the gap where an object came that is neither an event nor a reply.
pub(crate) fn not_an_event(object: &Json) -> String {
    let text = object.as_text();
    let mut shown: String = text.chars().take(OBJECT_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("an object that is neither an event nor a reply came: {shown}")
}

/// What a machine is called that does not say: its socket's file name without the ending, its abstract name, or host and
/// port.
pub(crate) fn file_name(target: &Target) -> String {
    match target {
        Target::Unix(path) => stem(path),
        Target::Tcp { host, port } => format!("{host}:{port}"),
        Target::Abstract(name) => name.clone(),
        Target::Descriptor(_) => target.to_string(),
        Target::Machine(name) => name.clone(),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}

/// The name of this host, as the kernel knows it.
pub(crate) fn hostname() -> Arc<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}
