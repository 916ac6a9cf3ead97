//! A directory of its own for each test, and records to put into it.

use qev_journal::{Journal, Options, Query, Reader};
use qev_qmp::{Message, Timestamp};
use qev_record::Record;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// 2026-11-22T11:35:10Z.
pub(crate) const AT: i64 = 1_795_347_310_000_000;

/// A directory that is deleted in the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Scratch(path),
                // Left behind by a run that was killed and had our number: a journal is in it.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn open(&self, options: Options) -> Journal {
        Journal::open(&self.0, options).unwrap()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.0).unwrap()
    }

    /// What a query finds; an error fails the test.
    pub(crate) fn find(&self, query: &Query) -> Vec<Record> {
        self.reader().records(query).collect::<Result<_, _>>().unwrap()
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.find(&Query::default())
    }

    /// The segments' files, the oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|ending| ending == "qev")).collect();
        segments.sort();
        segments
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A record of an event of a machine, numbered, received that many microseconds after [`AT`].
pub(crate) fn numbered(machine: &str, n: i64) -> Record {
    let received = Timestamp::from_micros(AT + n);
    let line = format!(
        r#"{{"timestamp": {{"seconds": 1795347310, "microseconds": 942235}}, "event": "BALLOON_CHANGE", "data": {{"actual": {n}}}}}"#
    );
    let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("not an event: {line}") };
    Record::event("h1", machine, received, &event)
}

/// Records of a machine with these numbers.
pub(crate) fn some(machine: &str, numbers: impl IntoIterator<Item = i64>) -> Vec<Record> {
    numbers.into_iter().map(|n| numbered(machine, n)).collect()
}

/// The numbers in records.
pub(crate) fn numbers(records: &[Record]) -> Vec<i64> {
    let number = |record: &Record| record.data.as_ref().and_then(|data| data.get("actual")?.value().as_i64());
    records.iter().filter_map(number).collect()
}

/// How often something is tried: with `QEV_TEST_LONG`, more often.
pub(crate) fn rounds(short: u32, long: u32) -> u32 {
    if std::env::var_os("QEV_TEST_LONG").is_some() { long } else { short }
}
