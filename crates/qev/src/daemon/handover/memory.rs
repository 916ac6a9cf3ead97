//! What one daemon leaves for the next, in memory that the manager keeps: a file without a name.
//!
//! ```text
//!   {"qev-handover":1,"generation":3,"next":8}
//!   {"keep":"m7","way":"dial-in",…}                     when a monitor is attached
//!   {"drop":"m7"}                                       when it is gone
//!   {"session":"m6","next-id":12,…,"unread":17,"unsent":0}, then those bytes      when the daemon ends in order
//!   {"end":1}                                           so many sessions, and all of them are whole
//! ```
//!
//! It only grows, so that a daemon that is killed leaves at most its last line unfinished; when most of it is about monitors
//! that are gone, it is written anew.

use super::Held;
use qev_qmp::client::Session;
use qev_qmp::{Greeting, Json, Object, QemuVersion};
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

/// The version of what is written here. Of another one nothing is taken over.
const FORMAT: u64 = 1;

/// It is written anew at this size at the earliest, in bytes.
const LARGE: u64 = 1 << 20;

/// What is read of it at most, in bytes: a message of 64 MiB may be half-read.
const MOST: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    generation: u64,
    /// How long it is, and how long it was when it was last written anew.
    length: u64,
    began_with: u64,
    next: u64,
}

/// What the last daemon left.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Remembered {
    pub(super) generation: u64,
    /// The number of the next monitor.
    pub(super) next: u64,
    pub(super) held: BTreeMap<String, Held>,
    pub(super) sessions: BTreeMap<String, Session>,
}

impl Memory {
    pub(super) fn new() -> io::Result<Memory> {
        Ok(Memory::of(File::from(memfd_create("qev-handover", MemfdFlags::CLOEXEC)?)))
    }

    /// The one that the last daemon wrote, and what it says.
    pub(super) fn read(mut file: File) -> io::Result<(Memory, Remembered)> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&mut file).take(MOST).read_to_end(&mut bytes)?;
        let remembered = remembered(&bytes);
        Ok((Memory { next: remembered.next, ..Memory::of(file) }, remembered))
    }

    fn of(file: File) -> Memory {
        Memory { file, generation: 0, length: 0, began_with: 0, next: 0 }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Writes it anew, with these monitors.
    pub(super) fn begin(&mut self, generation: u64, held: &BTreeMap<String, Held>) -> io::Result<()> {
        self.generation = generation;
        self.next = held.keys().filter_map(|name| number(name)).fold(self.next, |next, number| next.max(number + 1));
        let head = Object::new().with("qev-handover", FORMAT).with("generation", generation).with("next", self.next);
        let mut text = line(&head);
        for (name, held) in held {
            text.push_str(&line(&held_line(name, held)));
        }
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())?;
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.began_with = self.length;
        Ok(())
    }

    pub(super) fn keep(&mut self, name: &str, held: &Held) -> io::Result<()> {
        self.next = self.next.max(number(name).map_or(0, |number| number + 1));
        self.append(line(&held_line(name, held)).as_bytes())
    }

    /// Takes one out; `held` are those that stay.
    pub(super) fn drop(&mut self, name: &str, held: &BTreeMap<String, Held>) -> io::Result<()> {
        self.append(line(&Object::new().with("drop", name)).as_bytes())?;
        if self.length > LARGE && self.length / 4 > self.began_with {
            self.begin(self.generation, held)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, sessions: &BTreeMap<String, Session>) -> io::Result<()> {
        for (name, session) in sessions {
            let Session { oob, next_id, unread, given_up, unsent } = session;
            let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let head = Object::new()
                .with("session", name.as_str())
                .with("oob", *oob)
                .with("next-id", *next_id)
                .with("given-up", *given_up)
                .with("unread", length(unread))
                .with("unsent", length(unsent));
            self.append(&[line(&head).as_bytes(), unread, unsent, b"\n"].concat())?;
        }
        let count = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
        self.append(line(&Object::new().with("end", count)).as_bytes())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix('m')?.parse().ok()
}

fn line(object: &Object) -> String {
    format!("{}\n", Json::from(object).as_text())
}

fn held_line(name: &str, held: &Held) -> Object {
    let Held { way, place, path, configured, name: says, uuid, session, greeting, oob } = held;
    let QemuVersion { major, minor, micro } = greeting.version;
    let mut object = Object::new()
        .with("keep", name)
        .with("way", *way)
        .with("place", place.as_str())
        .with("oob", *oob)
        .with("package", greeting.package.as_str())
        .with("version", vec![major.into(), minor.into(), micro.into()]);
    // A path that is no text is not given on: it is only one more way to tell the machine.
    let path = path.as_deref().and_then(|path| path.to_str());
    let known = [
        ("path", path),
        ("configured", configured.as_deref()),
        ("name", says.as_deref()),
        ("uuid", uuid.as_deref()),
        ("process", session.as_deref()),
    ];
    for (key, value) in known {
        if let Some(value) = value {
            object.insert(key, value);
        }
    }
    object
}

/// What the bytes say, as far as they are whole. Sessions count only if all of them are there.
fn remembered(bytes: &[u8]) -> Remembered {
    let mut remembered = Remembered::default();
    let mut rest = bytes;
    let mut sessions = BTreeMap::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
        rest = behind;
        let Some(json) = std::str::from_utf8(line).ok().and_then(|line| Json::parse(line).ok()) else { break };
        let text = |key: &str| json.get(key).and_then(|value| value.string());
        let count = |key: &str| json.get(key).and_then(|value| value.value().as_u64());
        let is = |key: &str| json.get(key).and_then(|value| value.value().as_bool()).unwrap_or(false);
        if let Some(format) = count("qev-handover") {
            if format != FORMAT {
                return Remembered::default();
            }
            remembered.generation = count("generation").unwrap_or(0);
            remembered.next = remembered.next.max(count("next").unwrap_or(0));
        } else if let Some(name) = text("keep") {
            let Some(held) = held(&json) else { continue };
            remembered.next = remembered.next.max(number(&name).map_or(0, |number| number.saturating_add(1)));
            remembered.held.insert(name, held);
        } else if let Some(name) = text("drop") {
            remembered.held.remove(&name);
        } else if let Some(name) = text("session") {
            let mut take = |key: &str| {
                let length = usize::try_from(count(key)?).ok()?;
                let (taken, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Some(taken.to_vec())
            };
            let (Some(unread), Some(unsent)) = (take("unread"), take("unsent")) else { break };
            let Some(behind) = rest.strip_prefix(b"\n") else { break };
            rest = behind;
            let Some(next_id) = count("next-id") else { break };
            let session = Session { oob: is("oob"), next_id, unread, given_up: is("given-up"), unsent };
            sessions.insert(name, session);
        } else if count("end") == u64::try_from(sessions.len()).ok() {
            remembered.sessions = sessions;
            break;
        }
    }
    remembered
}

fn held(json: &Json) -> Option<Held> {
    let text = |key: &str| json.get(key).and_then(|value| value.string());
    let version = json.get("version")?.value();
    let part = |at: usize| version.as_array()?.get(at)?.as_i64();
    Some(Held {
        way: match text("way")?.as_str() {
            "dial-in" => "dial-in",
            "dial-out" => "dial-out",
            _ => return None,
        },
        place: text("place")?,
        path: text("path").map(Into::into),
        configured: text("configured"),
        name: text("name"),
        uuid: text("uuid"),
        session: text("process"),
        greeting: Greeting {
            version: QemuVersion::new(part(0)?, part(1)?, part(2)?),
            package: text("package").unwrap_or_default(),
            capabilities: Vec::new(),
        },
        oob: json.get("oob").and_then(|value| value.value().as_bool()).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn machine(place: &str) -> Held {
        Held {
            way: "dial-in",
            place: place.to_owned(),
            path: None,
            configured: Some("db \"1\"\n".into()),
            name: Some("web1".into()),
            uuid: None,
            session: Some("pid-7@9".into()),
            greeting: Greeting {
                version: QemuVersion::new(7, 2, 22),
                package: "Debian".into(),
                capabilities: Vec::new(),
            },
            oob: true,
        }
    }

    fn session(unread: &[u8]) -> Session {
        Session { oob: true, next_id: 12, unread: unread.to_vec(), given_up: false, unsent: b"\"\n".to_vec() }
    }

    fn again(memory: &Memory) -> Remembered {
        Memory::read(memory.file.try_clone().unwrap()).unwrap().1
    }

    #[test]
    fn what_one_daemon_wrote_the_next_one_knows() {
        let mut memory = Memory::new().unwrap();
        memory.begin(4, &BTreeMap::from([("m2".to_owned(), machine("/a"))])).unwrap();
        memory.keep("m3", &machine("/b")).unwrap();
        memory.keep("m4", &machine("/c")).unwrap();
        memory.drop("m3", &BTreeMap::new()).unwrap();
        let held = BTreeMap::from([("m2".to_owned(), machine("/a")), ("m4".to_owned(), machine("/c"))]);
        let killed = Remembered { generation: 4, next: 5, held: held.clone(), sessions: BTreeMap::new() };
        assert_eq!(again(&memory), killed);

        let mut memory = Memory::read(memory.file.try_clone().unwrap()).unwrap().0;
        memory.file.seek(SeekFrom::End(0)).unwrap();
        let sessions = BTreeMap::from([("m2".to_owned(), session(b"{\"a\":\n\xFF")), ("m4".to_owned(), session(b""))]);
        memory.finish(&sessions).unwrap();
        assert_eq!(again(&memory), Remembered { sessions, ..killed });
    }

    #[test]
    fn of_a_daemon_that_was_killed_while_it_wrote_the_whole_lines_count() {
        let mut memory = Memory::new().unwrap();
        memory.begin(1, &BTreeMap::new()).unwrap();
        memory.keep("m0", &machine("/a")).unwrap();
        let whole = memory.length;
        memory.keep("m1", &machine("/b")).unwrap();
        let both = memory.length;
        memory.finish(&BTreeMap::from([("m0".to_owned(), session(b"{\"end\":0}\n"))])).unwrap();
        let mut bytes = Vec::new();
        memory.file.seek(SeekFrom::Start(0)).unwrap();
        memory.file.read_to_end(&mut bytes).unwrap();
        for cut in 0..bytes.len() {
            let remembered = remembered(&bytes[..cut]);
            let cut = u64::try_from(cut).unwrap();
            assert_eq!(remembered.held.len(), usize::from(cut >= whole) + usize::from(cut >= both), "{cut}");
            assert!(remembered.sessions.is_empty(), "{cut}");
        }
        assert_eq!(remembered(&bytes).sessions.len(), 1);
    }

    #[test]
    fn machines_that_come_and_go_do_not_make_it_grow() {
        let mut memory = Memory::new().unwrap();
        let stays = BTreeMap::from([("m0".to_owned(), machine("/stays"))]);
        memory.begin(1, &stays).unwrap();
        for number in 1..8_000 {
            let name = format!("m{number}");
            memory.keep(&name, &machine("/a")).unwrap();
            memory.drop(&name, &stays).unwrap();
            assert!(memory.length < LARGE + 1000);
        }
        let remembered = again(&memory);
        assert_eq!((remembered.held, remembered.next), (stays, 8_000));
    }

    #[test]
    fn of_another_version_nothing_is_taken_over() {
        assert_eq!(remembered(b"{\"qev-handover\":2,\"generation\":7}\n"), Remembered::default());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), key in "(keep|session|end|drop|qev-handover)", count in any::<u64>()) {
            let _ = remembered(&bytes);
            let head = format!("{{\"{key}\":\"m1\",\"unread\":{count},\"unsent\":3,\"next-id\":1}}\n{{\"{key}\":{count}}}\n");
            let _ = remembered(&[head.as_bytes(), &bytes].concat());
        }
    }
}
