//! Where the events of a run go: standard error, and a file of records.
//!
//! Each has a thread behind a queue with a bound, so that a pipe which nobody reads keeps neither QEMU nor the verdict
//! from their end. At the bound what comes is dropped and counted, and a gap says so as soon as there is room.
//!
//! Standard error may be the terminal that QEMU has made non-blocking for its guest's console, which is the same for all
//! who write to it: so writing waits for room by itself.

use crate::exit::{Exit, Failure, tell};
use crate::printer::{Format, Lines, now};
use anstream::ColorChoice;
use qev_qmp::EventName;
use qev_record::record::Gap;
use qev_record::{Record, plain};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// How many records may wait to be written, in each queue.
const QUEUE: usize = 1 << 14;

/// How long what is left may take in the end.
const FINISH: Duration = Duration::from_secs(2);

/// Both places.
pub(super) struct Outlet {
    shown: Queue,
    recorded: Option<(Queue, PathBuf)>,
}

impl Outlet {
    /// Begins the file, if there is to be one, and starts the threads.
    pub(super) fn start(format: Format, file: Option<&Path>) -> Result<Outlet, Failure> {
        let recorded = match file {
            Some(path) => {
                let file =
                    File::create(path).map_err(|error| Failure::new(Exit::Failed, error).about(path.display()))?;
                Some((Queue::start(move |queue| record(&queue, file)), path.to_owned()))
            }
            None => None,
        };
        Ok(Outlet { shown: Queue::start(move |queue| show(&queue, format)), recorded })
    }

    /// Shows a record, and keeps it.
    pub(super) fn put(&mut self, record: Record) {
        if let Some((recorded, _)) = &mut self.recorded {
            recorded.put(record.clone());
        }
        self.shown.put(record);
    }

    /// Says something to the person who looks on.
    pub(super) fn say(&mut self, sentence: &str) {
        // When there is no room, nobody looks on.
        let _ = self.shown.lines.try_send(Line::Said(sentence.to_owned()));
    }

    /// Waits until all is written, a while at most.
    pub(super) async fn finish(self) {
        if let Some((recorded, path)) = self.recorded
            && let Err(error) = recorded.finish().await
        {
            tell(&format!("{}: what was recorded is not whole: {error}", path.display()));
        }
        // Who could be told is who does not read.
        let _ = self.shown.finish().await;
    }
}

/// How soon it is looked again whether there is room for the last gap.
const AGAIN: Duration = Duration::from_millis(10);

enum Line {
    Record(Box<Record>),
    Said(String),
}

/// The way to one thread.
struct Queue {
    lines: SyncSender<Line>,
    /// What was dropped: how many events of which name, how many other records, and whose they were.
    missed: BTreeMap<EventName, u64>,
    others: u64,
    like: Option<Box<Record>>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Queue {
    fn start(write: impl FnOnce(Receiver<Line>) -> io::Result<()> + Send + 'static) -> Queue {
        let (lines, queue) = sync_channel(QUEUE);
        let (ended, done) = oneshot::channel();
        std::thread::spawn(move || {
            // Nobody waits for it any more only when its time was over.
            let _ = ended.send(write(queue));
        });
        Queue { lines, missed: BTreeMap::new(), others: 0, like: None, done }
    }

    fn put(&mut self, record: Record) {
        self.tell_of_missed();
        // Nothing overtakes the gap.
        let sent = if self.like.is_some() { Err(record.into()) } else { self.send(record) };
        let Err(record) = sent else { return };
        match &record.event {
            Some(event) => *self.missed.entry(event.clone()).or_default() += 1,
            None => self.others += 1,
        }
        // What a gap tells is still missing.
        for (event, n) in &record.missed {
            *self.missed.entry(event.clone()).or_default() += n;
        }
        self.like = Some(record);
    }

    /// Writes the gap, when there is one and room for it.
    fn tell_of_missed(&mut self) {
        let Some(like) = &self.like else { return };
        let gap = Gap { missed: self.missed.clone(), ..Gap::default() };
        let reason = match self.others {
            0 => "they came faster than they could be written".to_owned(),
            others => format!("they came faster than they could be written (other records that are missing: {others})"),
        };
        let mut gap = Record::gap(like.host.clone(), like.machine.clone(), now(), gap, &reason);
        (gap.machine_id, gap.session) = (like.machine_id.clone(), like.session.clone());
        if self.send(gap).is_ok() {
            (self.missed, self.others, self.like) = (BTreeMap::new(), 0, None);
        }
    }

    fn send(&self, record: Record) -> Result<(), Box<Record>> {
        match self.lines.try_send(Line::Record(record.into())) {
            Err(TrySendError::Full(Line::Record(record))) => Err(record),
            // The thread has ended, which `finish` tells.
            _ => Ok(()),
        }
    }

    async fn finish(mut self) -> io::Result<()> {
        let until = tokio::time::Instant::now() + FINISH;
        self.tell_of_missed();
        while self.like.is_some() && tokio::time::Instant::now() < until {
            tokio::time::sleep(AGAIN).await;
            self.tell_of_missed();
        }
        drop(self.lines);
        let missed = self.missed.values().fold(self.others, |sum, n| sum.saturating_add(*n));
        let written = tokio::time::timeout(FINISH, self.done).await;
        match written {
            Ok(Ok(Ok(()))) if missed > 0 => Err(io::Error::other(format!("the last {missed} records are missing"))),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::Error::other("the thread that writes has ended")),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn record(queue: &Receiver<Line>, mut file: File) -> io::Result<()> {
    for line in queue {
        if let Line::Record(record) = line {
            // A line at once, so that whoever reads along sees it, and a kill costs nothing.
            file.write_all(format!("{}\n", record.to_line()).as_bytes())?;
        }
    }
    Ok(())
}

fn show(queue: &Receiver<Line>, format: Format) -> io::Result<()> {
    let coloured = anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let mut lines = Lines::new(format, 0, 18);
    for line in queue {
        let line = match line {
            Line::Record(record) => lines.line(&record),
            Line::Said(sentence) => format!("qev: {}\n", plain::Plain::new(&sentence, 1000)),
        };
        let line = if coloured { line } else { anstream::adapter::strip_str(&line).to_string() };
        write_patiently(&mut io::stderr(), line.as_bytes())?;
    }
    Ok(())
}

/// Writes all of it, also to what does not block.
fn write_patiently(out: &mut (impl Write + std::os::fd::AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Interrupted, it is as if there were room.
                let _ = poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::{Message, Timestamp};
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    fn stop() -> Record {
        let Ok(Message::Event(event)) = Message::decode(br#"{"event": "STOP"}"#) else { panic!("an event") };
        Record::event("h1", "vm1", Timestamp::from_micros(0), &event)
    }

    #[tokio::test]
    async fn what_has_no_room_is_counted_and_told_as_soon_as_there_is_some() {
        let (go, wait) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let mut queue = Queue::start(move |queue| {
            wait.recv().unwrap();
            for line in queue {
                if let Line::Record(record) = line {
                    tell.send(record).unwrap();
                }
            }
            Ok(())
        });
        for _ in 0..QUEUE + 3 {
            queue.put(stop());
        }
        go.send(()).unwrap();
        for _ in 0..QUEUE {
            told.recv().unwrap();
        }
        queue.put(stop());
        queue.finish().await.unwrap();
        let (gap, last) = (told.recv().unwrap(), told.recv().unwrap());
        assert_eq!(&*gap.summary, "3 events are missing (3 STOP): they came faster than they could be written");
        assert_eq!(last.event, stop().event);
        assert!(told.recv().is_err());
    }

    #[tokio::test]
    async fn what_is_dropped_at_the_end_is_told_too_whatever_it_is() {
        let (go, wait) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let mut queue = Queue::start(move |queue| {
            wait.recv().unwrap();
            for line in queue {
                if let Line::Record(record) = line {
                    tell.send(record).unwrap();
                }
            }
            Ok(())
        });
        for _ in 0..=QUEUE {
            queue.put(stop());
        }
        queue.put(Record::detached("h1", "vm1", Timestamp::from_micros(0), "killed"));
        let gap = Gap { missed: [("STOP".into(), 4)].into(), ..Gap::default() };
        queue.put(Record::gap("h1", "vm1", Timestamp::from_micros(0), gap, "missed before"));
        go.send(()).unwrap();
        queue.finish().await.unwrap();
        let last = told.iter().last().unwrap();
        assert_eq!(
            &*last.summary,
            "5 events are missing (5 STOP): they came faster than they could be written (other records that are \
             missing: 2)"
        );
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut queue = Queue::start(move |queue| record(&queue, full));
        queue.put(stop());
        let error = queue.finish().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    #[test]
    fn a_terminal_that_does_not_block_gets_every_byte() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            read
        });
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        write_patiently(&mut ours, &sent).unwrap();
        drop(ours);
        assert!(reader.join().unwrap() == sent);
    }
}
