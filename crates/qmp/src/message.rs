//! What a QEMU says: a greeting, a reply, an event. Told apart by key, never by trying one after the other.
//!
//! | the object has | it is |
//! |---|---|
//! | `QMP` | the greeting |
//! | `event` | an event |
//! | `return` | a reply: it went well |
//! | `error` | a reply: it did not |
//! | none of these | unknown, and carried whole |

use crate::error::QmpError;
use crate::event::{Event, EventName};
use crate::json::scan::{Scanner, SyntaxError};
use crate::json::{Json, Object, Value};
use crate::timestamp::Timestamp;
use std::fmt;

/// One message from a QEMU.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first message of a connection.
    Greeting(Greeting),
    /// An event.
    Event(Event),
    /// The answer to a command.
    Reply(Reply),
    /// An object that is none of these.
    Unknown(Json),
}

/// Who answers, and what it offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Greeting {
    /// The version of QEMU.
    pub version: QemuVersion,
    /// The package, as its distributor named it: `Debian 1:7.2+dfsg-7+deb12u18+b3`.
    pub package: String,
    /// What may be enabled in capabilities negotiation: `oob`, since QEMU 2.12.
    pub capabilities: Vec<String>,
}

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QemuVersion {
    /// The 7 of 7.2.22.
    pub major: i64,
    /// The 2 of 7.2.22.
    pub minor: i64,
    /// The 22 of 7.2.22.
    pub micro: i64,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The command's `id`, given back; absent if it had none, and in errors about what is not even JSON.
    pub id: Option<Json>,
    /// What the command returned, or why it failed.
    pub result: Result<Json, QmpError>,
}

/// The frame is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError(SyntaxError);

impl DecodeError {
    /// The byte of the frame at which it is not JSON.
    pub fn at(self) -> usize {
        self.0.at
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

impl Message {
    /// Reads one frame. Bytes that are not UTF-8 become U+FFFD: QEMU sends ASCII only, others may not.
    ///
    /// # Errors
    ///
    /// When the frame is not one JSON object.
    pub fn decode(frame: &[u8]) -> Result<Message, DecodeError> {
        match std::str::from_utf8(frame) {
            Ok(text) => decode(text),
            Err(_) => decode(&String::from_utf8_lossy(frame)),
        }
        .map_err(DecodeError)
    }
}

fn decode(text: &str) -> Result<Message, SyntaxError> {
    let mut scanner = Scanner::new(text);
    let mut parts = Parts::default();
    scanner.object(|scanner, name| match &*name.text() {
        "timestamp" => parts.timestamp(scanner),
        "event" if scanner.peek() == Some(b'"') => {
            let name = scanner.string()?;
            parts.event = Some(EventName::from(&*name.text()));
            Ok(())
        }
        "data" => part(&mut parts.data, scanner),
        "return" => part(&mut parts.returned, scanner),
        "error" => part(&mut parts.error, scanner),
        "id" => part(&mut parts.id, scanner),
        "QMP" if scanner.peek() == Some(b'{') => part(&mut parts.greeting, scanner),
        name => {
            let value = scanner.value()?;
            parts.keep(name, value);
            Ok(())
        }
    })?;
    scanner.end()?;
    Ok(parts.message(text))
}

fn part<'a>(place: &mut Option<&'a str>, scanner: &mut Scanner<'a>) -> Result<(), SyntaxError> {
    *place = Some(scanner.value()?);
    Ok(())
}

/// The members of a message, while it is not yet known what it is.
#[derive(Default)]
struct Parts<'a> {
    timestamp: Option<Timestamp>,
    event: Option<EventName>,
    data: Option<&'a str>,
    returned: Option<&'a str>,
    error: Option<&'a str>,
    id: Option<&'a str>,
    greeting: Option<&'a str>,
    /// The others, as the text of an object that is still open; empty if there are none. As values they would take many
    /// times the room.
    extra: String,
}

impl<'a> Parts<'a> {
    fn keep(&mut self, name: &str, value: &str) {
        self.extra.push_str(if self.extra.is_empty() { "{" } else { ", " });
        crate::json::print::string(&mut self.extra, name);
        self.extra.push_str(": ");
        self.extra.push_str(value);
    }

    fn timestamp(&mut self, scanner: &mut Scanner<'a>) -> Result<(), SyntaxError> {
        let before = scanner.clone();
        let (mut seconds, mut microseconds, mut other) = (None, None, false);
        let walked = scanner.object(|scanner, name| {
            match name.plain() {
                Some("seconds") => seconds = Some(scanner.integer()?),
                Some("microseconds") => microseconds = Some(scanner.integer()?),
                _ => {
                    scanner.value()?;
                    other = true;
                }
            }
            Ok::<_, SyntaxError>(())
        });
        if let (Ok(()), Some(seconds), Some(microseconds), false) = (walked, seconds, microseconds, other) {
            self.timestamp = Some(Timestamp { seconds, microseconds });
            return Ok(());
        }
        *scanner = before;
        self.keep("timestamp", scanner.value()?);
        Ok(())
    }

    fn message(mut self, text: &str) -> Message {
        if let (Some(greeting), None) = (self.greeting, &self.event) {
            return Message::Greeting(Greeting::read(&Json::checked(greeting)));
        }
        if let Some(name) = self.event.take() {
            // An event has none of these; if one does, it is kept like any member that nobody knows.
            let others = [("id", self.id), ("return", self.returned), ("error", self.error), ("QMP", self.greeting)];
            for (name, value) in others {
                if let Some(value) = value {
                    self.keep(name, value);
                }
            }
            return Message::Event(Event {
                timestamp: self.timestamp,
                name,
                data: self.data.map(Json::checked),
                extra: (!self.extra.is_empty()).then(|| Json::printed(self.extra + "}")),
            });
        }
        let result = match (self.returned, self.error) {
            (Some(returned), _) => Ok(Json::checked(returned)),
            (None, Some(error)) => Err(read_error(&Json::checked(error))),
            (None, None) => return Message::Unknown(Json::checked(text)),
        };
        Message::Reply(Reply { id: self.id.map(Json::checked), result })
    }
}

fn read_error(error: &Json) -> QmpError {
    let text = |name| error.get(name).and_then(|text| text.string());
    let desc = text("desc").unwrap_or_else(|| error.to_string());
    QmpError::new(text("class").as_deref().unwrap_or("GenericError").into(), desc)
}

impl Greeting {
    /// A greeting without what is missing in it: a server that is not QEMU may leave out anything.
    fn read(qmp: &Json) -> Greeting {
        let version = qmp.get("version");
        let qemu = version.as_ref().and_then(|version| version.get("qemu"));
        let number = |name| qemu.as_ref().and_then(|qemu| qemu.get(name)?.as_text().parse().ok()).unwrap_or(0);
        let package = version.as_ref().and_then(|version| version.get("package")?.string());
        let mut capabilities = Vec::new();
        if let Some(offered) = qmp.get("capabilities") {
            offered.elements(|capability| capabilities.extend(Json::checked(capability).string()));
        }
        Greeting {
            version: QemuVersion { major: number("major"), minor: number("minor"), micro: number("micro") },
            package: package.unwrap_or_default(),
            capabilities,
        }
    }

    /// Whether commands may be executed out of band.
    pub fn offers_oob(&self) -> bool {
        self.capabilities.iter().any(|capability| capability == "oob")
    }

    /// As it stands in the first message.
    pub fn to_object(&self) -> Object {
        let capabilities: Vec<Value> = self.capabilities.iter().map(|c| c.as_str().into()).collect();
        Object::new().with(
            "QMP",
            Object::new().with("version", self.version.to_object(&self.package)).with("capabilities", capabilities),
        )
    }
}

impl QemuVersion {
    /// The version from its three numbers.
    pub const fn new(major: i64, minor: i64, micro: i64) -> QemuVersion {
        QemuVersion { major, minor, micro }
    }

    /// What `query-version` returns.
    pub fn to_object(self, package: &str) -> Object {
        // In the order of QEMU's schema: two of these share a chain of its hash table, so the order shows on the wire.
        let qemu = Object::new().with("major", self.major).with("minor", self.minor).with("micro", self.micro);
        Object::new().with("qemu", qemu).with("package", package)
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// The text is not a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAVersion(Box<str>);

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a version of QEMU: expected MAJOR.MINOR or MAJOR.MINOR.MICRO, such as 7.2.22",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotAVersion {}

impl std::str::FromStr for QemuVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<QemuVersion, NotAVersion> {
        let numbers: Option<Vec<i64>> = text.split('.').map(|n| n.parse::<u16>().ok().map(i64::from)).collect();
        match numbers.as_deref() {
            Some([major, minor]) => Ok(QemuVersion::new(*major, *minor, 0)),
            Some([major, minor, micro]) => Ok(QemuVersion::new(*major, *minor, *micro)),
            _ => Err(NotAVersion(text.into())),
        }
    }
}
