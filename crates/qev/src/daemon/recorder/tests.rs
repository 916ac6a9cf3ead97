//! The recorder with a journal of files, which fails when it is told to.

use super::*;
use crate::daemon::follow::{Item, last_missing};
use proptest::prelude::*;
use qev_journal::{Options, Query, Synchronous};
use qev_qmp::Message;
use qev_record::{Kind, NO_MACHINE, Severity};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A folder that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qev-recorder-{}-{count}", std::process::id()));
        // A process of the same number may have been killed before it could remove its own.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn event(machine: &str, name: &str, n: u64) -> Record {
    let line = format!(r#"{{"event": "{name}", "data": {{"n": {n}, "action": "pause"}}}}"#);
    let Ok(Message::Event(event)) = Message::decode(line.as_bytes()) else { panic!("{line}") };
    Record::event("h1", machine, now(), &event)
}

fn number(record: &Record) -> u64 {
    record.data.as_ref().and_then(|data| data.get("n")).and_then(|n| n.as_text().parse().ok()).expect("a number")
}

/// A journal on which commits fail for as long as it is said.
struct Failing {
    kept: Kept,
    fails: Arc<AtomicBool>,
}

impl Store for Failing {
    fn append(&mut self, records: &mut [Arc<Record>]) -> Result<u64, Box<dyn Error>> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("there is no room on the disk".into());
        }
        self.kept.append(records)
    }

    fn retain(&mut self, now: Timestamp) -> Result<Retained, Box<dyn Error>> {
        self.kept.retain(now)
    }

    fn is_retention_due(&self) -> bool {
        self.kept.is_retention_due()
    }

    fn losses(&mut self) -> Vec<Box<str>> {
        self.kept.losses()
    }

    fn heard(&mut self, now: Timestamp) {
        self.kept.heard(now);
    }
}

/// A recorder whose tail holds so many records, and the switch that makes its commits fail.
fn start(dir: &Path, room: usize) -> (Recorder, Running, Arc<AtomicBool>) {
    start_as(dir, room, Options::default())
}

fn start_as(dir: &Path, room: usize, options: Options) -> (Recorder, Running, Arc<AtomicBool>) {
    let journal = Journal::open(dir, options.synchronous(Synchronous::Off)).unwrap();
    let tail = Tail::with_room(journal.last_seq().unwrap_or(0), room);
    let reader = Reader::open(dir).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let store = Failing { kept: Kept::new(journal), fails: Arc::clone(&fails) };
    let limits = Limits { last_tries: Duration::from_millis(300), ..Limits::default() };
    let (recorder, running) = Recorder::start_with(store, tail, reader, limits).unwrap();
    (recorder, running, fails)
}

/// What a follower sees next: number, sequence number, whether it is kept.
async fn see(follow: &mut Follow) -> Vec<(u64, Option<u64>, Option<bool>)> {
    let items = follow.next().await.expect("the recorder runs");
    let record = |item| match item {
        Item::Record(record) => (number(&record), record.seq, record.durable),
        other => panic!("{other:?}"),
    };
    items.into_iter().map(record).collect()
}

fn kept(dir: &Path) -> Vec<u64> {
    let reader = Reader::open(dir).unwrap();
    reader.records(&Query::default()).map(|record| number(&record.unwrap())).collect()
}

#[tokio::test]
async fn what_is_put_in_is_kept_and_followers_see_it_with_its_number() {
    let scratch = Scratch::new();
    let (recorder, running, _) = start(&scratch.0, 100);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let outbox = recorder.outbox();
    for n in 1..=3 {
        outbox.put(event("a", "STOP", n)).await;
        assert_eq!(see(&mut follow).await, [(n, Some(n), None)]);
    }
    assert_eq!(recorder.last(), 3);
    running.stop().await;
    assert!(follow.next().await.is_none());
    assert_eq!(kept(&scratch.0), [1, 2, 3]);
}

#[tokio::test]
async fn a_follower_that_is_overtaken_by_retention_is_told_what_it_missed() {
    let scratch = Scratch::new();
    let options = Options::default().segment_bytes(64 << 10).keep_bytes(128 << 10);
    let (recorder, running, _) = start_as(&scratch.0, 100, options);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let outbox = recorder.outbox();
    let mut next = 1;
    let mut put = async |count| {
        for n in (next..).take(count) {
            outbox.put(event("a", "STOP", n)).await;
            next = n + 1;
        }
    };
    put(1000).await;
    let first = see(&mut follow).await;
    let reader = Reader::open(&scratch.0).unwrap();
    let oldest = || reader.records(&Query::default()).find_map(Result::ok).and_then(|record| record.seq).unwrap_or(0);
    while oldest() <= 5000 {
        put(1000).await;
    }
    let (mut after, mut missed) = (first.last().unwrap().1.unwrap(), 0);
    while after < 5000 {
        for item in follow.next().await.expect("the recorder runs") {
            match item {
                // A segment that was rewritten has a gap of its own in place of what went.
                Item::Record(record) if record.seq == Some(after + 1) || record.kind == Kind::Gap => {
                    after = record.seq.unwrap();
                }
                Item::Missing { gap, last } => {
                    let from = gap.data.as_ref().unwrap().get("first").unwrap().as_text().parse::<u64>().unwrap();
                    assert_eq!((from, gap.seq, last_missing(&gap)), (after + 1, None, last));
                    // A reader may come before the writer has noted why.
                    let reasons = ["were deleted by retention (keep-size)", "are not in the journal any more"];
                    assert!(reasons.iter().any(|reason| gap.summary.ends_with(reason)), "{}", gap.summary);
                    (after, missed) = (last.unwrap(), missed + 1);
                }
                other => panic!("behind {after}: {other:?}"),
            }
        }
    }
    assert!(missed > 0);
    running.stop().await;
}

#[tokio::test]
async fn stopping_commits_what_was_put_in() {
    let scratch = Scratch::new();
    let (recorder, running, _) = start(&scratch.0, 100);
    let outboxes = [recorder.outbox(), recorder.outbox()];
    for n in 0..1000 {
        outboxes[0].put(event("a", "STOP", n)).await;
        outboxes[1].put(event("b", "STOP", n)).await;
    }
    drop(outboxes);
    assert!(running.stop().await);
    let mut kept = kept(&scratch.0);
    kept.sort_unstable();
    assert_eq!(kept, (0..1000).flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[tokio::test]
async fn stopping_says_whether_all_could_be_kept_and_does_not_try_for_ever() {
    let scratch = Scratch::new();
    let (recorder, running, fails) = start(&scratch.0, 100);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let outbox = recorder.outbox();
    outbox.put(event("a", "STOP", 1)).await;
    assert_eq!(see(&mut follow).await, [(1, Some(1), None)]);
    fails.store(true, Ordering::SeqCst);
    for n in 2..=4 {
        outbox.put(event("a", "STOP", n)).await;
    }
    assert!(!running.stop().await);
    assert!(follow.next().await.is_none());
    assert_eq!(kept(&scratch.0), [1]);
}

#[tokio::test]
async fn a_panic_is_not_hidden_by_a_disk_that_is_full_and_is_kept_when_there_is_room() {
    let scratch = Scratch::new();
    let (recorder, running, fails) = start(&scratch.0, 100);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let outbox = recorder.outbox();
    outbox.put(event("a", "STOP", 1)).await;
    assert_eq!(see(&mut follow).await, [(1, Some(1), None)]);
    fails.store(true, Ordering::SeqCst);
    outbox.put(event("a", "GUEST_PANICKED", 2)).await;
    // Nothing but the clock goes on: seconds pass at once.
    tokio::time::pause();
    assert_eq!(see(&mut follow).await, [(2, None, Some(false))]);
    tokio::time::resume();
    fails.store(false, Ordering::SeqCst);
    assert_eq!(see(&mut follow).await, [(2, Some(2), None)]);
    running.stop().await;
    assert_eq!(kept(&scratch.0), [1, 2]);
}

#[tokio::test]
async fn who_follows_from_an_old_number_reads_the_journal_first() {
    let scratch = Scratch::new();
    {
        let (recorder, running, _) = start(&scratch.0, 100);
        let outbox = recorder.outbox();
        for n in 1..=50 {
            outbox.put(event("a", "STOP", n)).await;
        }
        running.stop().await;
    }
    let (recorder, running, _) = start(&scratch.0, 4);
    let mut follow = recorder.follow(Wanted::default(), 47);
    assert_eq!(see(&mut follow).await, [(48, Some(48), None), (49, Some(49), None), (50, Some(50), None)]);
    recorder.outbox().put(event("a", "STOP", 51)).await;
    assert_eq!(see(&mut follow).await, [(51, Some(51), None)]);
    running.stop().await;
}

/// Follows until the gap about the journal was there and so many numbers: the gap, and what else was seen.
async fn see_gap(follow: &mut Follow, numbers: usize) -> (Record, Vec<(u64, u64)>) {
    let (mut gap, mut seen) = (None, Vec::new());
    while gap.is_none() || seen.len() < numbers {
        for item in follow.next().await.expect("the recorder runs") {
            match item {
                Item::Record(record) if record.kind == Kind::Gap => gap = Some(Record::clone(&record)),
                Item::Record(record) => seen.push((number(&record), record.seq.expect("a number"))),
                other => panic!("{other:?}"),
            }
        }
    }
    (gap.unwrap(), seen)
}

#[tokio::test]
async fn what_a_damaged_segment_lost_is_a_gap_of_the_journal() {
    let scratch = Scratch::new();
    {
        let (recorder, running, _) = start(&scratch.0, 100);
        recorder.outbox().put(event("a", "STOP", 1)).await;
        running.stop().await;
    }
    let segment = scratch.0.join("00000000000000000001.qev");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[..4096].fill(0xA5);
    std::fs::write(&segment, bytes).unwrap();
    let (recorder, running, _) = start(&scratch.0, 100);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let (gap, _) = see_gap(&mut follow, 0).await;
    assert_eq!((&*gap.machine, gap.severity, gap.seq), (NO_MACHINE, Severity::Error, Some(1_000_001)));
    let said = "events may be missing: a segment of the journal was damaged: what was in it from 1 on is lost (set aside as \
                00000000000000000001.qev.damaged)";
    assert_eq!(&*gap.summary, said);
    running.stop().await;
}

#[tokio::test]
async fn a_journal_whose_folder_vanishes_is_begun_anew_and_followers_live_on() {
    let scratch = Scratch::new();
    let (recorder, running, _) = start(&scratch.0, 100);
    let mut follow = recorder.follow(Wanted::default(), 0);
    let outbox = recorder.outbox();
    outbox.put(event("a", "STOP", 1)).await;
    assert_eq!(see(&mut follow).await, [(1, Some(1), None)]);
    std::fs::remove_dir_all(&scratch.0).unwrap();
    outbox.put(event("a", "STOP", 2)).await;
    let (gap, seen) = see_gap(&mut follow, 1).await;
    let reason = "the journal's files were removed or replaced while qev wrote to it: all records up to 1 are lost";
    assert_eq!((gap.reason.as_deref(), gap.severity), (Some(reason), Severity::Error));
    let mut numbers = vec![seen[0].1, gap.seq.unwrap()];
    numbers.sort_unstable();
    assert_eq!((seen[0].0, numbers), (2, vec![2, 3]), "each number once, none again");
    assert_eq!(recorder.figures().commit_failures.get(), 1);
    running.stop().await;
    let reader = Reader::open(&scratch.0).unwrap();
    let on_disk: Vec<_> = reader.records(&Query::default()).map(|record| record.unwrap().seq.unwrap()).collect();
    assert_eq!(on_disk, [2, 3]);
}

/// All that is in a folder, in bytes.
fn bytes_in(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

async fn put_many(recorder: &Recorder, machines: usize, each: u64) {
    let outboxes: Vec<Outbox> = (0..machines).map(|_| recorder.outbox()).collect();
    for n in 0..each {
        for (machine, outbox) in outboxes.iter().enumerate() {
            outbox.put(event(&format!("m{machine}"), "RTC_CHANGE", n)).await;
        }
    }
}

#[tokio::test]
async fn what_is_too_much_goes_as_segments_are_sealed_and_not_a_minute_later() {
    let scratch = Scratch::new();
    let options = Options::default().segment_bytes(128 << 10).keep_bytes(1 << 20);
    let (recorder, running, _) = start_as(&scratch.0, 100, options);
    put_many(&recorder, 4, 10_000).await;
    running.stop().await;
    let bytes = bytes_in(&scratch.0);
    assert!(bytes < 2 << 20, "{bytes}");
}

/// A file system of its own, gone in the end.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

impl Mount<'_> {
    fn of_megabytes(megabytes: u32, dir: &Path) -> Mount<'_> {
        let size = format!("size={megabytes}m");
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "qev-test"]).arg(dir).status();
        assert!(mounted.is_ok_and(|status| status.success()), "cannot mount a tmpfs: run this as root");
        Mount(dir)
    }
}

#[test]
#[ignore = "mounts a small tmpfs, which only root may: cargo xtask test"]
fn on_a_full_disk_what_is_too_much_goes_at_once_and_the_group_is_kept() {
    let scratch = Scratch::new();
    let _mount = Mount::of_megabytes(3, &scratch.0);
    let options = Options::default().segment_bytes(128 << 10);
    let group = |n| (0..100).map(|_| Arc::new(event("a", "STOP", n))).collect::<Vec<_>>();
    // Nothing was bounded when it was filled.
    let mut journal = Journal::open(&scratch.0, options.clone()).unwrap();
    let full = (0..10_000).find(|n| journal.append_shared(&mut group(*n)).is_err());
    assert!(full.is_some());
    drop(journal);
    let mut kept = Kept::new(Journal::open(&scratch.0, options.keep_bytes(1 << 20)).unwrap());
    let ballast = std::fs::OpenOptions::new().create(true).append(true).open(scratch.0.join("ballast")).unwrap();
    while std::io::Write::write(&mut &ballast, &[0; 4096]).is_ok_and(|written| written > 0) {}
    for n in 0..50 {
        kept.append(&mut group(n)).unwrap();
    }
    assert!(Reader::open(&scratch.0).unwrap().check().unwrap().is_sound());
}

#[tokio::test]
#[ignore = "mounts a small tmpfs, which only root may: cargo xtask test"]
async fn a_small_disk_on_which_the_bound_leaves_room_is_never_full() {
    let scratch = Scratch::new();
    let _mount = Mount::of_megabytes(3, &scratch.0);
    let options = Options::default().segment_bytes(128 << 10).keep_bytes(1 << 20);
    let (recorder, running, _) = start_as(&scratch.0, 100, options);
    put_many(&recorder, 6, 10_000).await;
    assert_eq!((recorder.figures().commit_failures.get(), recorder.waiting_and_dropped().1), (0, 0));
    assert!(running.stop().await);
    let report = Reader::open(&scratch.0).unwrap().check().unwrap();
    assert!(report.is_sound(), "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Followers that start anywhere and are as slow as they like see every record once, in its order, from the tail
    /// and from the journal.
    #[test]
    fn nothing_is_missed_or_seen_twice_across_the_border_of_the_tail(
        room in 1..40_usize,
        puts in prop::collection::vec((1..30_usize, 0..20_usize), 1..12),
        followers in prop::collection::vec((0..5_usize, prop::collection::vec(0..60_usize, 1..10)), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scratch = Scratch::new();
            let (recorder, running, _) = start(&scratch.0, room);
            let total: u64 = puts.iter().map(|(burst, _)| *burst as u64).sum();
            let mut tasks = Vec::new();
            for (start, pauses) in followers {
                let start = (start as u64).min(total);
                let mut follow = recorder.follow(Wanted::default(), start);
                tasks.push(tokio::spawn(async move {
                    let mut seen = Vec::new();
                    let mut pauses = pauses.into_iter().cycle();
                    while seen.last().copied().unwrap_or(start) < total {
                        for _ in 0..pauses.next().unwrap() {
                            tokio::task::yield_now().await;
                        }
                        seen.extend(see(&mut follow).await.into_iter().map(|(_, seq, _)| seq.unwrap()));
                    }
                    assert_eq!(seen, (start + 1..=total).collect::<Vec<_>>());
                }));
            }
            let outbox = recorder.outbox();
            let mut n = 0;
            for (burst, pause) in puts {
                for _ in 0..burst {
                    n += 1;
                    outbox.put(event("a", "STOP", n)).await;
                }
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
            }
            for task in tasks {
                task.await.unwrap();
            }
            running.stop().await;
        });
    }
}
