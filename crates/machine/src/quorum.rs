//! Quorum block nodes: reads, writes and flushes on files, and what becomes of them by vote.
//!
//! | request | each child that fails | then |
//! |---|---|---|
//! | read, pattern `quorum` | `QUORUM_REPORT_BAD` with `error` | fewer successes than the threshold: `QUORUM_FAILURE`. Otherwise, if they differ, they vote |
//! | the vote | | the winner is below the threshold: `QUORUM_FAILURE` only. Else `QUORUM_REPORT_BAD` without `error` for each loser |
//! | read, pattern `fifo` | `QUORUM_REPORT_BAD` with `error` | the next child is asked; never `QUORUM_FAILURE` |
//! | write | `QUORUM_REPORT_BAD` with `error` | fewer successes than the threshold: `QUORUM_FAILURE` |
//! | flush | `QUORUM_REPORT_BAD` with `error`, sectors 0 and 0 | never `QUORUM_FAILURE` |
//!
//! Bytes are counted in sectors of 512, rounded outward. A request that fails gives the error that most of the failed
//! children gave; a vote without a winner gives EIO.

pub(crate) mod child;
pub(crate) mod vote;

use crate::config::quorum::{QuorumChildConfig, QuorumConfig, ReadPattern};
use crate::error::MachineError;
use child::{Answer, Child, Errno};
use qev_qmp::event::{QuorumFailure, QuorumOpType, QuorumReportBad};
use qev_qmp::{Object, Typed};
use std::collections::HashSet;
use vote::{Outcome, most_common, vote};

/// All block nodes of a machine.
#[derive(Debug, Default)]
pub(crate) struct BlockNodes {
    pub(crate) quorums: Vec<Quorum>,
}

/// One quorum over its children.
#[derive(Debug)]
pub(crate) struct Quorum {
    pub(crate) node_name: String,
    threshold: usize,
    pattern: ReadPattern,
    pub(crate) children: Vec<Child>,
    /// Its length in bytes, a multiple of 512. It does not follow its files: QEMU asks for their length once.
    pub(crate) length: u64,
}

/// What became of a request: the events that it caused, and the answer or the error.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) events: Vec<Typed>,
    pub(crate) result: Result<T, Errno>,
}

/// Where a request is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Range {
    /// The first sector of 512 bytes, and how many there are.
    pub(crate) fn sectors(self) -> (i64, i64) {
        let first = self.offset / 512;
        let behind = self.offset.saturating_add(self.length).div_ceil(512);
        let count = behind.saturating_sub(first);
        (i64::try_from(first).unwrap_or(i64::MAX), i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl BlockNodes {
    /// Opens the children of all quorums.
    pub(crate) fn open(configs: &[QuorumConfig]) -> Result<BlockNodes, MachineError> {
        let mut names = HashSet::new();
        let mut files = HashSet::new();
        let mut counted = 0..;
        let mut quorums = Vec::new();
        for config in configs {
            config.check().map_err(MachineError::Quorum)?;
            let mut children = Vec::new();
            for QuorumChildConfig { node_name, path } in &config.children {
                let number: usize = counted.next().unwrap_or_default();
                let name = node_name.clone().unwrap_or_else(|| format!("c{number}"));
                let (child, file) = Child::open(name, path)?;
                if !files.insert(file) {
                    return Err(MachineError::SameFile(path.clone()));
                }
                children.push(child);
            }
            let length = common_length(&children)?;
            for name in children.iter().map(|child| &child.node_name).chain([&config.node_name]) {
                if !names.insert(name.clone()) {
                    return Err(MachineError::DuplicateNode(name.as_str().into()));
                }
            }
            let (node_name, threshold, pattern) =
                (config.node_name.clone(), config.vote_threshold, config.read_pattern);
            quorums.push(Quorum { node_name, threshold, pattern, children, length });
        }
        Ok(BlockNodes { quorums })
    }

    /// Whether there is a node of this name, a quorum or a child of one.
    pub(crate) fn has(&self, node: &str) -> bool {
        let mut names = self.quorums.iter().flat_map(Quorum::names);
        names.any(|name| name == node)
    }

    /// The child of this name.
    pub(crate) fn child(&mut self, node: &str) -> Option<&mut Child> {
        self.quorums.iter_mut().flat_map(|quorum| &mut quorum.children).find(|child| child.node_name == node)
    }

    /// All children.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Child> {
        self.quorums.iter().flat_map(|quorum| &quorum.children)
    }
}

fn common_length(children: &[Child]) -> Result<u64, MachineError> {
    let first = children.first().map_or(0, |child| child.length);
    match children.iter().find(|child| child.length != first) {
        Some(child) => {
            Err(MachineError::ChildSize { path: child.path.clone(), sectors: child.length / 512, first: first / 512 })
        }
        None => Ok(first),
    }
}

impl Quorum {
    fn names(&self) -> impl Iterator<Item = &str> {
        [self.node_name.as_str()].into_iter().chain(self.children.iter().map(|child| child.node_name.as_str()))
    }

    /// Reads, by vote or one child after the other. The answer tells whether all bytes are `pattern`'s, if one is given.
    pub(crate) fn read(&mut self, range: Range, pattern: Option<Pattern>) -> Done<Answer> {
        match self.pattern {
            ReadPattern::Quorum => self.read_all(range, pattern),
            ReadPattern::Fifo => self.read_one_by_one(range, pattern),
        }
    }

    fn read_all(&mut self, range: Range, pattern: Option<Pattern>) -> Done<Answer> {
        let results: Vec<_> = self.children.iter_mut().map(|child| child.read(range, pattern)).collect();
        let mut events = self.failed(&QuorumOpType::Read, range.sectors(), &results);
        if let Some(failed) = self.too_few(&results) {
            events.push(self.failure(range));
            return Done { events, result: Err(failed) };
        }
        let answers: Vec<_> = results.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref().ok()?))).collect();
        match vote(&answers, self.threshold) {
            Outcome::NoQuorum => {
                events.push(self.failure(range));
                Done { events, result: Err(Errno::EIO) }
            }
            Outcome::Winner { answer, losers } => {
                let bad = losers.into_iter().filter_map(|loser| self.children.get(loser));
                events.extend(bad.map(|child| report_bad(QuorumOpType::Read, child, range.sectors(), None)));
                Done { events, result: Ok(answer.clone()) }
            }
        }
    }

    fn read_one_by_one(&mut self, range: Range, pattern: Option<Pattern>) -> Done<Answer> {
        let (mut events, mut last) = (Vec::new(), Errno::EIO);
        for child in &mut self.children {
            match child.read(range, pattern) {
                Ok(answer) => return Done { events, result: Ok(answer) },
                Err(error) => {
                    events.push(report_bad(QuorumOpType::Read, child, range.sectors(), Some(error)));
                    last = error;
                }
            }
        }
        Done { events, result: Err(last) }
    }

    /// Writes one byte all over a range of all children.
    pub(crate) fn write(&mut self, range: Range, byte: u8) -> Done<()> {
        let results: Vec<_> = self.children.iter_mut().map(|child| child.write(range, byte)).collect();
        let mut events = self.failed(&QuorumOpType::Write, range.sectors(), &results);
        let too_few = self.too_few(&results);
        if too_few.is_some() {
            events.push(self.failure(range));
        }
        Done { events, result: too_few.map_or(Ok(()), Err) }
    }

    /// Flushes all children.
    pub(crate) fn flush(&mut self) -> Done<()> {
        let results: Vec<_> = self.children.iter_mut().map(Child::flush).collect();
        let events = self.failed(&QuorumOpType::Flush, (0, 0), &results);
        Done { events, result: self.too_few(&results).map_or(Ok(()), Err) }
    }

    /// Events for the children that failed.
    fn failed<T>(&self, op: &QuorumOpType, sectors: (i64, i64), results: &[Result<T, Errno>]) -> Vec<Typed> {
        let with_children = self.children.iter().zip(results);
        let failed = with_children.filter_map(|(child, result)| Some((child, *result.as_ref().err()?)));
        failed.map(|(child, error)| report_bad(op.clone(), child, sectors, Some(error))).collect()
    }

    /// The error of a request of which too few children succeeded.
    fn too_few<T>(&self, results: &[Result<T, Errno>]) -> Option<Errno> {
        let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err().copied()).collect();
        let enough = results.len().saturating_sub(errors.len()) >= self.threshold;
        if enough { None } else { Some(most_common(&errors).unwrap_or(Errno::EIO)) }
    }

    fn failure(&self, range: Range) -> Typed {
        let (sector_num, sector_count) = range.sectors();
        let reference = self.node_name.as_str().into();
        QuorumFailure { reference, sector_num, sector_count, extra: Object::new() }.into()
    }
}

fn report_bad(op: QuorumOpType, child: &Child, sectors: (i64, i64), error: Option<Errno>) -> Typed {
    QuorumReportBad {
        op: Some(op),
        error: error.map(|error| error.to_string().into()),
        node_name: child.node_name.as_str().into(),
        sector_num: sectors.0,
        sector_count: sectors.1,
        extra: Object::new(),
    }
    .into()
}

/// Which byte a part of what is read should be everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) byte: u8,
    /// The part, counted from the start of what is read.
    pub(crate) part: Range,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_outward_to_sectors() {
        for (offset, length, sectors) in [
            (0, 512, (0, 1)),
            (511, 2, (0, 2)),
            (513, 512, (1, 2)),
            (4096, 4096, (8, 8)),
            (65_536, 512, (128, 1)),
            (0, 0, (0, 0)),
        ] {
            assert_eq!(Range { offset, length }.sectors(), sectors, "{offset} {length}");
        }
        assert_eq!(Range { offset: u64::MAX, length: u64::MAX }.sectors().1, 1);
    }
}
