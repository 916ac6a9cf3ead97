//! Which records of a segment a filter can want, told by the numbers of their dictionary entries alone.
//!
//! The filter is asked once an entry. Of the sources, of which there may be many thousands, nothing is kept but a yes or
//! no each, and those that records which are read need.

use crate::block::Block;
use crate::dictionary::{Entries, Entry as _, Source, What, index};
use crate::error::SegmentError;
use crate::row::Row;
use crate::store;
use qev_qmp::Timestamp;
use qev_record::{Filter, Kind, NO_MACHINE, Record};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Statement};
use std::collections::{HashMap, hash_map};

/// Members of a record that the dictionaries decide: a condition on one of them is asked once an entry.
const OF_SOURCE: [&str; 5] = ["host", "machine", "machine_id", "session", "via"];
const OF_WHAT: [&str; 3] = ["kind", "event", "severity"];

/// So many entries are still a short list.
const SHORT: usize = 32;

/// What a filter wants of one segment.
#[derive(Debug)]
pub(crate) struct Wanted {
    filter: Filter,
    pub(crate) whats: Entries<What>,
    wants_what: Vec<bool>,
    /// `None` when the filter does not ask for the source.
    wants_source: Option<Vec<bool>>,
    /// Sources of records that were read.
    sources: HashMap<i64, Source>,
}

impl Wanted {
    pub(crate) fn new(filter: &Filter) -> Wanted {
        let asks = !filter.machines.is_empty() || has_condition(filter, &OF_SOURCE);
        Wanted {
            filter: filter.clone(),
            whats: Entries::new(),
            wants_what: Vec::new(),
            wants_source: asks.then(Vec::new),
            sources: HashMap::new(),
        }
    }

    /// Whether it depends on the source at all.
    pub(crate) fn asks_for_source(&self) -> bool {
        self.wants_source.is_some()
    }

    /// Reads what came to the dictionaries since they were last read.
    pub(crate) fn read(&mut self, db: &Connection) -> Result<(), SegmentError> {
        self.whats.read(db)?;
        for what in self.whats.entries.iter().skip(self.wants_what.len()) {
            // Records of an entry that is not what was written are looked at, and found to be damaged.
            self.wants_what.push(what.as_ref().is_none_or(|what| may_want_what(&self.filter, what)));
        }
        let Some(wants_source) = &mut self.wants_source else { return Ok(()) };
        let mut statement = store::prepare(db, Source::SELECT)?;
        let mut rows = statement.query([i64::try_from(wants_source.len()).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            if index(row.get(0)?) != Some(wants_source.len()) {
                return Err(SegmentError::damaged("entries of the dictionary of sources are missing"));
            }
            wants_source.push(!Source::is_whole(row) || may_want_source(&self.filter, row)?);
        }
        Ok(())
    }

    /// Whether a block can have a record that is wanted.
    pub(crate) fn may_want_of(&self, block: &Block) -> bool {
        let Filter { since, until, .. } = &self.filter;
        let in_time = block.received.is_none_or(|(min, max)| {
            since.is_none_or(|since| Timestamp::from_micros(max) >= since)
                && until.is_none_or(|until| Timestamp::from_micros(min) <= until)
        });
        in_time
            && block.whats.iter().any(|(what, _)| self.wants_what(*what))
            && self.wants_source.as_ref().is_none_or(|wanted| block.has_source(|id| is_wanted(wanted, id)))
    }

    /// Whether no record of a block is left out but by what it is.
    pub(crate) fn wants_all_of(&self, block: &Block) -> bool {
        let Filter { since, until, wheres, .. } = &self.filter;
        let in_time = (since.is_none() && until.is_none())
            || block.received.is_some_and(|(min, max)| {
                since.is_none_or(|since| Timestamp::from_micros(min) >= since)
                    && until.is_none_or(|until| Timestamp::from_micros(max) <= until)
            });
        let wants_sources =
            self.wants_source.as_ref().is_none_or(|wanted| !block.has_source(|id| !is_wanted(wanted, id)));
        let by_what = |member: &str| OF_WHAT.contains(&member) || OF_SOURCE.contains(&member);
        // Of gaps that may hide something some are wanted, and some are not.
        !self.filter.gaps
            && self.filter.text.is_none()
            && in_time
            && wants_sources
            && wheres.iter().all(|condition| by_what(condition.member()))
    }

    /// Whether records of this entry can be wanted. An entry that is not there is damage, which reading the row finds.
    pub(crate) fn wants_what(&self, id: i64) -> bool {
        is_wanted(&self.wants_what, id)
    }

    /// The same as a condition for SQLite, which leaves rows out faster than they can be looked at here; empty where it
    /// would not be short.
    pub(crate) fn condition(&self) -> String {
        let one_of = |column: &str, wanted: &[bool]| {
            let ids = wanted.iter().zip(1_i64..).filter(|(is_wanted, _)| **is_wanted).map(|(_, id)| id.to_string());
            let ids: Vec<_> = ids.take(SHORT + 1).collect();
            let leaves_out = ids.len() < wanted.len() && ids.len() <= SHORT;
            if leaves_out { format!(" AND {column} IN ({})", ids.join(",")) } else { String::new() }
        };
        let sources = self.wants_source.as_ref().map(|wanted| one_of("source", wanted));
        one_of("what", &self.wants_what) + &sources.unwrap_or_default()
    }

    /// Whether a row may be wanted, by what can be told without reading its record.
    pub(crate) fn may_want(&self, row: &Row<'_>) -> bool {
        let Filter { since, until, .. } = &self.filter;
        let in_time = row.received.is_none_or(|received| {
            let received = Timestamp::from_micros(received);
            since.is_none_or(|since| received >= since) && until.is_none_or(|until| received <= until)
        });
        let wants_source = self.wants_source.as_ref().is_none_or(|wanted| is_wanted(wanted, row.source));
        in_time && wants_source && self.wants_what(row.what)
    }

    /// Whether a row that may be wanted is.
    pub(crate) fn is_certain(&self, row: &Row<'_>) -> bool {
        row.received.is_some() && self.filter.wheres.is_empty() && self.filter.text.is_none() && !self.filter.gaps
    }

    /// The row's record, if it is wanted. The filter has the last word; the rest only spares the reading.
    pub(crate) fn record(&mut self, row: &Row<'_>, select: &mut Statement<'_>) -> Result<Option<Record>, SegmentError> {
        if !self.may_want(row) {
            return Ok(None);
        }
        let source = match self.sources.entry(row.source) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                let source = select.query_row([row.source], Source::read).optional().ok().flatten().flatten();
                let damaged = || SegmentError::damaged(format!("record {}: its source is none", row.seq));
                entry.insert(source.ok_or_else(damaged)?)
            }
        };
        let record = row.record(source, self.whats.get(row.what)?)?;
        Ok(self.filter.matches(&record).then_some(record))
    }
}

fn is_wanted(wanted: &[bool], id: i64) -> bool {
    index(id).and_then(|at| wanted.get(at)).copied().unwrap_or(true)
}

fn has_condition(filter: &Filter, members: &[&str]) -> bool {
    filter.wheres.iter().any(|condition| members.contains(&condition.member()))
}

/// Whether a record meets the conditions on these members.
fn meets_conditions(filter: &Filter, members: &[&str], record: &Record) -> bool {
    let mut conditions = filter.wheres.iter().filter(|condition| members.contains(&condition.member()));
    conditions.all(|condition| condition.matches(record))
}

/// Whether a source may be wanted, by its row of [`Source::SELECT`].
fn may_want_source(filter: &Filter, row: &rusqlite::Row<'_>) -> Result<bool, SegmentError> {
    // Names are matched where they stand: with thousands of machines, making texts of them would take most of the time.
    let is_one = |column: usize| -> Result<bool, SegmentError> {
        let ValueRef::Text(name) = row.get_ref(column)? else { return Ok(false) };
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(SegmentError::damaged("an entry of the dictionary of sources is no text"));
        };
        // A gap of the journal may hide records of any machine: whether it is wanted is for the whole record to tell.
        let may_be_such_a_gap = filter.gaps && column == Source::MACHINE && name == NO_MACHINE;
        Ok(may_be_such_a_gap || filter.machines.iter().any(|glob| glob.matches(name)))
    };
    if !filter.machines.is_empty() && !is_one(Source::MACHINE)? && !is_one(Source::MACHINE_ID)? {
        return Ok(false);
    }
    if !has_condition(filter, &OF_SOURCE) {
        return Ok(true);
    }
    let Some(source) = Source::read(row)? else { return Ok(true) };
    Ok(meets_conditions(filter, &OF_SOURCE, &source.record(Timestamp::UNKNOWN)))
}

fn may_want_what(filter: &Filter, what: &What) -> bool {
    let part = Filter { events: filter.events.clone(), severity: filter.severity, ..Filter::default() };
    let mut record = Record::attached("", "", Timestamp::UNKNOWN);
    what.put_into(&mut record);
    // Whether it is wanted is for the whole gap to tell.
    (filter.gaps && what.kind == Kind::Gap) || part.matches(&record) && meets_conditions(filter, &OF_WHAT, &record)
}
