//! A reader that cannot be given some records is told which, and why; one that missed nothing is told nothing.

use crate::support::{AT, Scratch, some};
use qev_journal::{Found, Journal, Now, Options, Query, Records, WallClock, Why};
use qev_qmp::Timestamp;
use std::time::Duration;

/// What a reader gets, in short: `1-5` for records, `6-9!why` for what is missing.
fn told(records: &mut Records, at_most: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut run: Option<(u64, u64)> = None;
    let flush = |run: &mut Option<(u64, u64)>, told: &mut Vec<String>| {
        told.extend(run.take().map(|(first, last)| format!("{first}-{last}")));
    };
    for found in std::iter::from_fn(|| records.next_found()).take(at_most) {
        match found {
            Found::Record(record) => {
                let seq = record.seq.unwrap();
                match &mut run {
                    Some((_, last)) if *last + 1 == seq => *last = seq,
                    run_of_others => {
                        flush(run_of_others, &mut told);
                        *run_of_others = Some((seq, seq));
                    }
                }
            }
            Found::Missing(missing) => {
                flush(&mut run, &mut told);
                let why = match missing.why {
                    Why::Deleted(why) => why.to_string(),
                    Why::Unreadable(_) => "unreadable".to_owned(),
                    other => format!("{other:?}"),
                };
                told.push(format!("{}-{}!{why}", missing.first, missing.last.unwrap()));
            }
        }
    }
    flush(&mut run, &mut told);
    told
}

fn append(journal: &mut Journal, count: i64) {
    for first in (0..count).step_by(100) {
        journal.append(&mut some("web1", first..first + 100)).unwrap();
    }
}

fn retain(journal: &mut Journal) {
    while journal.retain(Timestamp::from_micros(AT)).unwrap().more {}
}

fn behind(after: u64) -> Query {
    Query { after: Some(after), ..Query::default() }
}

const BY_SIZE: &str = "were deleted by retention (keep-size)";

/// A journal of which the oldest records were deleted, and how many are there in all.
fn deleted(dir: &Scratch, options: Options) -> (Journal, u64, u64) {
    let mut journal = dir.open(options);
    for _ in 0..10 {
        append(&mut journal, 1000);
        retain(&mut journal);
    }
    let (first, last) = (journal.first_seq().unwrap(), journal.last_seq().unwrap());
    assert!(first > 1000, "{first}");
    (journal, first, last)
}

fn small() -> Options {
    Options::default().segment_bytes(50_000).keep_bytes(200_000)
}

#[test]
fn a_reader_that_goes_on_is_told_what_was_deleted() {
    let dir = Scratch::new();
    let (journal, first, last) = deleted(&dir, small());
    let check =
        |query: Query, expected: &[String]| assert_eq!(told(&mut dir.reader().records(&query), 99_999), expected);
    let kept = format!("{first}-{last}");
    for _ in 0..2 {
        // It begins with what there is.
        check(Query::default(), std::slice::from_ref(&kept));
        check(behind(0), std::slice::from_ref(&kept));
        // It has missed nothing.
        check(behind(first - 1), std::slice::from_ref(&kept));
        check(behind(last), &[]);
        // It has.
        check(behind(5), &[format!("6-{}!{BY_SIZE}", first - 1), kept.clone()]);
        let until = |before| Query { before: Some(before), ..behind(5) };
        check(until(50), &[format!("6-49!{BY_SIZE}")]);
        check(Query { newest_first: true, ..until(50) }, &[format!("6-49!{BY_SIZE}")]);
        let newest_first = Query { newest_first: true, ..until(first + 1) };
        check(newest_first, &[format!("{first}-{first}"), format!("6-{}!{BY_SIZE}", first - 1)]);
        check(Query { before: Some(first + 1), newest_first: true, ..Query::default() }, &[format!("{first}-{first}")]);
    }
    drop(journal);
    // Another writer begins another segment: it is known there too.
    let mut journal = dir.open(small());
    append(&mut journal, 1000);
    let after = told(&mut dir.reader().records(&behind(5)), 99_999);
    assert_eq!(after, [format!("6-{}!{BY_SIZE}", first - 1), format!("{first}-{}", last + 1000)]);
}

#[test]
fn a_reader_that_is_overtaken_is_told_what_it_missed() {
    let dir = Scratch::new();
    let mut journal = dir.open(small());
    append(&mut journal, 2000);
    for taken in [1, 100] {
        let begins = journal.first_seq().unwrap() - 1;
        let mut slow = dir.reader().records(&Query::default());
        assert_eq!(told(&mut slow, taken).len(), 1);
        for _ in 0..5 {
            append(&mut journal, 1000);
            retain(&mut journal);
        }
        let last = journal.last_seq().unwrap();
        let rest = told(&mut slow, 99_999);
        // It has what it had read or had open, then it is told, then come those that are there.
        let numbers = |text: &str| {
            let (from, to) = text.split('!').next().unwrap().split_once('-').unwrap();
            (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap())
        };
        let mut next = begins + 1 + u64::try_from(taken).unwrap();
        for part in &rest {
            let (from, to) = numbers(part);
            assert_eq!(from, next, "{rest:?}");
            next = to + 1;
        }
        assert!(rest.iter().any(|part| part.ends_with(BY_SIZE)), "{rest:?}");
        assert_eq!(next, last + 1, "{rest:?}");
    }
}

#[test]
fn age_is_told_as_age_and_an_empty_journal_too() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().keep_age(Duration::from_secs(5)));
    append(&mut journal, 1000);
    for seconds in [0_u32, 60] {
        let wall = Timestamp::from_micros(AT + i64::from(seconds) * 1_000_000);
        let elapsed = Duration::from_secs(seconds.into());
        journal.retain(Now { wall, wall_clock: WallClock::Settled, elapsed }).unwrap();
    }
    let query = Query { before: Some(1001), ..behind(7) };
    let found = told(&mut dir.reader().records(&query), 9);
    assert_eq!(found, ["8-1000!were deleted by retention (keep-age)"]);
    assert_eq!(told(&mut dir.reader().records(&Query::default()), 9), [""; 0]);
}

#[test]
fn files_that_somebody_removed_are_told_as_well() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default().segment_bytes(50_000));
    append(&mut journal, 2000);
    drop(journal);
    std::fs::remove_file(&dir.segments()[0]).unwrap();
    let first = dir.all()[0].seq.unwrap();
    let found = told(&mut dir.reader().records(&behind(7)), 99_999);
    assert_eq!(found, [format!("8-{}!are not in the journal any more", first - 1), format!("{first}-2000")]);
}

#[test]
fn numbers_that_were_never_used_are_no_loss() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    append(&mut journal, 100);
    drop(journal);
    // Nobody knows where it ended: numbers go on a million later, and a gap in the journal tells why.
    std::fs::write(&dir.segments()[0], "no segment").unwrap();
    let mut journal = dir.open(Options::default());
    append(&mut journal, 100);
    let found = told(&mut dir.reader().records(&behind(7)), 999);
    assert_eq!(found, ["1000001-1000100"]);
}

#[test]
fn records_that_cannot_be_read_are_named_by_their_numbers() {
    let dir = Scratch::new();
    let mut journal = dir.open(Options::default());
    append(&mut journal, 5000);
    drop(journal);
    let path = &dir.segments()[0];
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("UPDATE record SET source = 99 WHERE seq IN (1500, 4999)", []).unwrap();
    drop(db);
    let found = told(&mut dir.reader().records(&Query { before: Some(5001), ..Query::default() }), 99_999);
    assert_eq!(
        found,
        ["1-1499", "1501-2048", "1500-1500!unreadable", "2049-4998", "5000-5000", "4999-4999!unreadable",]
    );
    let newest_first = Query { newest_first: true, before: Some(5001), ..Query::default() };
    let mut records = dir.reader().records(&newest_first);
    let missing = std::iter::from_fn(|| records.next_found()).filter_map(|found| match found {
        Found::Missing(missing) => Some((missing.first, missing.last.unwrap())),
        Found::Record(_) => None,
    });
    assert_eq!(missing.collect::<Vec<_>>(), [(4999, 4999), (1500, 1500)]);
    // A whole segment.
    std::fs::write(path, "no segment").unwrap();
    assert_eq!(told(&mut dir.reader().records(&Query { before: Some(5001), ..behind(7) }), 9), ["8-5000!unreadable"]);
}
