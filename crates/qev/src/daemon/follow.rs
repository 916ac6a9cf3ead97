//! Readers: each is a cursor over the journal, and what it costs to be slow only it pays.
//!
//! ```text
//!   behind the tail ──► pages of the journal, on a thread that may block ──► within the tail ──► waits for news
//!         ▲                                                                       │
//!         └───────────────────────── was too slow ────────────────────────────────┘
//! ```
//!
//! Records that a reader cannot be given, because they were deleted before it came to them or cannot be read, are an item of
//! their own ([`Item::Missing`]): nothing is passed over in silence.

use super::figures::Place;
use super::outbox::Depot;
use super::recorder::in_words;
use super::tail::{Cursor, Look};
use crate::monitor::hostname;
use crate::printer::now;
use qev_journal::{Found, Missing, Query, Reader, Records, Why};
use qev_qmp::{Json, Object};
use qev_record::{Filter, Gap, Kind, Record, Severity, Where};
use std::any::Any;
use std::pin::pin;
use std::sync::Arc;

/// A page has this many records, or this many bytes, and at least one record.
const PAGE_RECORDS: usize = 512;
const PAGE_BYTES: usize = 1 << 20;

/// Which records a reader wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    /// What is no event is wanted, too, if its machine, severity and time are: that a machine is gone, that events are
    /// missing.
    pub(crate) others: bool,
    /// Only these kinds, any of them; all when there is none.
    pub(crate) kinds: Vec<Kind>,
}

impl Wanted {
    pub(crate) fn wants(&self, record: &Record) -> bool {
        if !self.kinds.is_empty() && !self.kinds.contains(&record.kind) {
            return false;
        }
        if self.others && record.event.is_none() {
            return self.of_others().matches(record);
        }
        self.filter.matches(record)
    }

    /// What may be wanted, as the journal can be asked for it.
    pub(crate) fn in_journal(&self) -> Filter {
        if self.others { self.of_others() } else { self.filter.clone() }
    }

    /// The same as filters of which each record that is wanted meets one, and only one.
    pub(crate) fn parts(&self) -> Vec<Filter> {
        const KINDS: [Kind; 5] = [Kind::Event, Kind::Attached, Kind::Detached, Kind::Gap, Kind::State];
        if self.kinds.is_empty() && !self.others {
            return vec![self.filter.clone()];
        }
        let kinds = KINDS.into_iter().filter(|kind| self.kinds.is_empty() || self.kinds.contains(kind));
        let part = |kind: Kind| {
            let is_other = self.others && kind != Kind::Event;
            let mut part = if is_other { self.of_others() } else { self.filter.clone() };
            part.wheres.extend(format!("kind={kind}").parse::<Where>());
            part
        };
        kinds.map(part).collect()
    }

    fn of_others(&self) -> Filter {
        Filter { events: Vec::new(), wheres: Vec::new(), text: None, ..self.filter.clone() }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Arc<Record>),
    /// Records that may be wanted and cannot be given: a gap that says which and why, made for this reader. It has no number of
    /// its own. `last` is the last number that is missing.
    Missing {
        gap: Arc<Record>,
        last: Option<u64>,
    },
    /// Something could not be read; what follows is behind it. What is missing for it is an item of its own.
    Problem(String),
}

impl Item {
    /// The number up to which a reader that has this item has everything that it can have.
    fn reaches(&self) -> Option<u64> {
        match self {
            Item::Record(record) => record.seq,
            Item::Missing { last, .. } => *last,
            Item::Problem(_) => None,
        }
    }

    /// What is missing, as a gap about the journal: its `data` has the `first` and, when it is known, the `last` number.
    fn missing(first: u64, last: Option<u64>, why: &str, severity: Severity) -> Item {
        let numbers = match last {
            Some(last) if last == first => format!("record {first}"),
            Some(last) => format!("records {first} to {last}"),
            None => format!("records from {first} on"),
        };
        let time = now();
        let gap = Gap { until: Some(time), ..Gap::default() };
        let mut gap = Record::gap_of_journal(hostname(), time, gap, &format!("{numbers} {why}"));
        gap.severity = severity;
        let data = last.into_iter().fold(Object::new().with("first", first), |data, last| data.with("last", last));
        gap.data = Some(Json::from(&data));
        Item::Missing { gap: Arc::new(gap), last }
    }
}

/// The last number that is missing, of a gap that was made for a reader.
pub(crate) fn last_missing(record: &Record) -> Option<u64> {
    let data = record.data.as_ref().filter(|_| record.kind == Kind::Gap && record.seq.is_none())?;
    data.get("last")?.as_text().parse().ok()
}

/// A reader that follows.
#[derive(Debug)]
pub(crate) struct Follow {
    depot: Arc<Depot>,
    reader: Reader,
    wanted: Wanted,
    cursor: Cursor,
    /// What is being read from the journal, and up to where.
    pages: Option<(Pages, u64)>,
    guard: Guard,
    place: Place,
}

/// What lives as long as a thread reads for a reader, be that there or not.
pub(crate) type Guard = Option<Arc<dyn Any + Send + Sync>>;

impl Follow {
    pub(super) fn new(depot: Arc<Depot>, reader: Reader, wanted: Wanted, cursor: Cursor) -> Follow {
        depot.tail.enter();
        let place = depot.figures.enter(cursor.seq);
        Follow { depot, reader, wanted, cursor, pages: None, guard: None, place }
    }

    /// Keeps this for as long as there is something to read for.
    pub(crate) fn guarded(mut self, guard: Guard) -> Follow {
        self.guard = guard;
        self
    }

    /// When more than so many numbers are to come first, passes over them: what lay between, from the first to the last. What
    /// is being read from the journal is read to its end.
    pub(crate) fn skip_when_behind(&mut self, most: u64) -> Option<(u64, u64)> {
        let end = self.depot.tail.end();
        if self.pages.is_some() || end.seq.saturating_sub(self.cursor.seq) <= most {
            return None;
        }
        let from = self.cursor.seq.saturating_add(1);
        self.cursor = end;
        Some((from, end.seq))
    }

    /// The next that are wanted, at least one, as soon as there are some; `None` when the daemon ends. Nothing is lost
    /// when this future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Vec<Item>> {
        loop {
            if let Some((pages, last)) = &mut self.pages {
                match pages.next().await {
                    Some(page) => {
                        if let Some(seq) = page.iter().rev().find_map(Item::reaches) {
                            self.place.has_seen(seq);
                        }
                        return Some(page);
                    }
                    None => {
                        self.cursor.seq = *last;
                        self.pages = None;
                    }
                }
            }
            self.place.has_seen(self.cursor.seq);
            let news = self.depot.tail.news();
            let mut news = pin!(news);
            news.as_mut().enable();
            match self.depot.tail.look(&mut self.cursor) {
                Look::Records(records) => {
                    let wanted = records.into_iter().filter(|record| self.wanted.wants(record));
                    let wanted: Vec<_> = wanted.map(Item::Record).collect();
                    if !wanted.is_empty() {
                        return Some(wanted);
                    }
                }
                Look::Behind(last) => {
                    let query = Query { after: Some(self.cursor.seq), ..up_to(last) };
                    self.pages =
                        Some((Pages::new(&self.reader, self.wanted.clone(), &query, self.guard.clone()), last));
                }
                Look::Nothing => news.await,
                Look::End => return None,
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.depot.tail.leave();
    }
}

/// What is committed now, and not what comes while it is read.
pub(crate) fn up_to(last: u64) -> Query {
    Query { before: Some(last.saturating_add(1)), ..Query::default() }
}

/// Records of the journal, a page at a time. No thread and no lock is held between pages.
#[derive(Debug)]
pub(crate) struct Pages {
    state: State,
    wanted: Wanted,
    left: u64,
    /// What is not read yet, when it is read in the order of the numbers: behind the first and before the second.
    rest: Option<(u64, u64)>,
    guard: Guard,
}

#[derive(Debug)]
enum State {
    /// To be begun.
    Query(Reader, Box<Query>),
    Records(Box<Records>),
    /// Under way: the future of an earlier call was dropped.
    Reading(tokio::task::JoinHandle<(Vec<Item>, Option<Box<Records>>)>),
    End,
}

impl Pages {
    /// The records that are wanted, of those that the query is about; its filter and limit are set here.
    pub(crate) fn new(reader: &Reader, wanted: Wanted, query: &Query, guard: Guard) -> Pages {
        let left = query.limit.unwrap_or(u64::MAX);
        let query = Query { filter: wanted.in_journal(), limit: None, ..query.clone() };
        let rest = query.before.filter(|_| !query.newest_first).map(|before| (query.after.unwrap_or(0), before));
        Pages { state: State::Query(reader.clone(), Box::new(query)), wanted, left, rest, guard }
    }

    /// The next page, which is not empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<Item>> {
        loop {
            let reading = match std::mem::replace(&mut self.state, State::End) {
                State::End => return None,
                State::Reading(reading) => reading,
                begun => {
                    let (wanted, left, guard) = (self.wanted.clone(), self.left, self.guard.clone());
                    tokio::task::spawn_blocking(move || {
                        let records = match begun {
                            State::Query(reader, query) => Some(Box::new(reader.records(&query))),
                            State::Records(records) => Some(records),
                            _ => None,
                        };
                        let page = records.map_or_else(|| (Vec::new(), None), |records| page(records, &wanted, left));
                        drop(guard);
                        page
                    })
                }
            };
            self.state = State::Reading(reading);
            let State::Reading(reading) = &mut self.state else { return None };
            let (page, records) = match reading.await {
                Ok(read) => read,
                Err(error) => (self.cut_off(&error), None),
            };
            if let (Some((after, _)), Some(reached)) = (&mut self.rest, page.iter().rev().find_map(Item::reaches)) {
                *after = reached;
            }
            let found = page.iter().filter(|item| matches!(item, Item::Record(_))).count();
            self.left = self.left.saturating_sub(u64::try_from(found).unwrap_or(u64::MAX));
            self.state = records.filter(|_| self.left > 0).map_or(State::End, State::Records);
            if !page.is_empty() {
                return Some(page);
            }
        }
    }
}

impl Pages {
    /// The thread that read has ended: nothing more is read.
    fn cut_off(&self, error: &tokio::task::JoinError) -> Vec<Item> {
        let why = "were not read: reading the journal was cut off";
        let mut items = vec![Item::Problem(format!("reading the journal was cut off: {error}"))];
        if let Some((after, before)) = self.rest
            && after.saturating_add(1) < before
        {
            items.push(Item::missing(after.saturating_add(1), Some(before - 1), why, Severity::Error));
        }
        items
    }
}

/// A page; and the rest, unless this was the end.
fn page(mut records: Box<Records>, wanted: &Wanted, left: u64) -> (Vec<Item>, Option<Box<Records>>) {
    let room = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE_RECORDS);
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    while page.len() < room && bytes < PAGE_BYTES {
        match records.next_found() {
            Some(Found::Record(record)) => {
                if wanted.wants(&record) {
                    bytes = bytes.saturating_add(super::outbox::weight(&record));
                    page.push(Item::Record(Arc::new(record)));
                }
            }
            Some(Found::Missing(Missing { first, last, why, .. })) => match why {
                Why::Unreadable(error) => {
                    let why = format!("cannot be read: {}", in_words(&error));
                    page.push(Item::Problem(in_words(&error)));
                    page.push(Item::missing(first, last, &why, Severity::Error));
                }
                Why::Deleted(why) => page.push(Item::missing(first, last, &why, Severity::Warning)),
                _ => page.push(Item::missing(first, last, "are missing", Severity::Error)),
            },
            None => return (page, None),
        }
    }
    (page, Some(records))
}
