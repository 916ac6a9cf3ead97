//! The disks that a guest sees, and what becomes of it when a request of the guest's fails: `rerror` and `werror`.
//!
//! | policy | events, behind those of the quorum | then |
//! |---|---|---|
//! | `report`, and `enospc` for any other error | `BLOCK_IO_ERROR` with action `report` | the guest gets the error |
//! | `ignore` | `BLOCK_IO_ERROR` with action `ignore` | the guest is told that all went well |
//! | `stop`, and `enospc` when no space is left | `BLOCK_IO_ERROR` with action `stop`, `STOP` | `query-status` says `io-error`; `cont` does the request again |
//!
//! A disk lies on a quorum: errors come of the quorum's children. `nospace` is there only where one of the policies may
//! stop the machine, as in QEMU; a failed flush counts as a write.

use crate::agenda::Action;
use crate::machine::Machine;
use crate::quorum::child::{Errno, Operation};
use crate::quorum::{Done, Range};
use qev_qmp::event::block::{BlockErrorAction, BlockIoError, IoOperationType};
use qev_qmp::{Object, QmpError, Value};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// A disk of the guest's: QEMU's `-device virtio-blk-pci,drive=NODE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// The quorum that it lies on, by its node name.
    pub node: String,
    /// What to do when a read fails: `rerror=`.
    pub rerror: DiskErrorPolicy,
    /// What to do when a write or a flush fails: `werror=`.
    pub werror: DiskErrorPolicy,
}

/// What to do when a request of the guest's fails (`BlockdevOnError`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorPolicy {
    /// Tell the guest. What `rerror=auto` means.
    Report,
    /// Tell the guest that all went well.
    Ignore,
    /// Stop the machine.
    Stop,
    /// Stop it when no space is left, else tell the guest. What `werror=auto` means.
    Enospc,
}

/// The text does not describe a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskConfigError {
    /// No node was named.
    NodeMissing,
    /// There is no such option.
    NoSuchOption(Box<str>),
    /// There is no such policy.
    NoSuchPolicy {
        /// Which option: `rerror` or `werror`.
        option: &'static str,
        /// What was given.
        given: Box<str>,
    },
}

impl fmt::Display for DiskConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskConfigError::NodeMissing => {
                f.write_str("disk: no node: expected NODE[,rerror=ACTION][,werror=ACTION], such as q0,werror=stop")
            }
            DiskConfigError::NoSuchOption(name) => {
                write!(f, "disk: no '{}': expected NODE[,rerror=ACTION][,werror=ACTION]", name.escape_debug())
            }
            DiskConfigError::NoSuchPolicy { option, given } => {
                write!(f, "disk: {option} '{}': expected report, ignore, stop, enospc or auto", given.escape_debug())
            }
        }
    }
}

impl std::error::Error for DiskConfigError {}

impl FromStr for DiskConfig {
    type Err = DiskConfigError;

    fn from_str(text: &str) -> Result<DiskConfig, DiskConfigError> {
        let mut parts = text.split(',');
        let node = parts.next().filter(|node| !node.is_empty() && !node.contains('='));
        let node = node.ok_or(DiskConfigError::NodeMissing)?.to_owned();
        let mut disk = DiskConfig { node, rerror: DiskErrorPolicy::Report, werror: DiskErrorPolicy::Enospc };
        for part in parts {
            let (option, policy, auto) = match part.split_once('=') {
                Some(("rerror", policy)) => ("rerror", policy, DiskErrorPolicy::Report),
                Some(("werror", policy)) => ("werror", policy, DiskErrorPolicy::Enospc),
                Some((name, _)) => return Err(DiskConfigError::NoSuchOption(name.into())),
                None => return Err(DiskConfigError::NoSuchOption(part.into())),
            };
            let policy = match policy {
                "report" => DiskErrorPolicy::Report,
                "ignore" => DiskErrorPolicy::Ignore,
                "stop" => DiskErrorPolicy::Stop,
                "enospc" => DiskErrorPolicy::Enospc,
                "auto" => auto,
                given => return Err(DiskConfigError::NoSuchPolicy { option, given: given.into() }),
            };
            *(if option == "rerror" { &mut disk.rerror } else { &mut disk.werror }) = policy;
        }
        Ok(disk)
    }
}

/// A disk, and the requests that wait for a `cont`.
#[derive(Debug)]
pub(crate) struct Disk {
    config: DiskConfig,
    waiting: VecDeque<DiskRequest>,
}

/// What a guest asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskRequest {
    pub(crate) operation: Operation,
    /// A flush has none.
    pub(crate) range: Range,
    /// What is written everywhere.
    pub(crate) byte: u8,
}

impl Disk {
    pub(crate) fn new(config: DiskConfig) -> Disk {
        Disk { config, waiting: VecDeque::new() }
    }

    pub(crate) fn node(&self) -> &str {
        &self.config.node
    }

    fn event(&self, operation: Operation, action: BlockErrorAction, errno: Errno) -> BlockIoError {
        let DiskConfig { node, rerror, werror } = &self.config;
        // QEMU keeps an `io-status` where it may stop, and there it knows.
        let may_stop =
            *rerror == DiskErrorPolicy::Stop || matches!(werror, DiskErrorPolicy::Stop | DiskErrorPolicy::Enospc);
        BlockIoError {
            qom_path: None,
            device: "".into(),
            node_name: Some(node.as_str().into()),
            operation: match operation {
                Operation::Read => IoOperationType::Read,
                Operation::Write | Operation::Flush => IoOperationType::Write,
            },
            action,
            nospace: may_stop.then_some(errno == Errno::ENOSPC),
            reason: Some(errno.to_string().into()),
            extra: Object::new(),
        }
    }

    fn action(&self, operation: Operation, errno: Errno) -> BlockErrorAction {
        let policy = if operation == Operation::Read { self.config.rerror } else { self.config.werror };
        match policy {
            DiskErrorPolicy::Ignore => BlockErrorAction::Ignore,
            DiskErrorPolicy::Stop => BlockErrorAction::Stop,
            DiskErrorPolicy::Enospc if errno == Errno::ENOSPC => BlockErrorAction::Stop,
            DiskErrorPolicy::Report | DiskErrorPolicy::Enospc => BlockErrorAction::Report,
        }
    }
}

/// What became of a request, as the guest sees it.
enum Answer {
    Done,
    Failed(Errno),
    /// Neither: the machine stops, and the request will be done again.
    Waits,
}

impl Machine {
    /// The guest reads, writes or flushes its disk on this node.
    pub(crate) fn guest_uses_disk(&mut self, node: &str, request: DiskRequest) -> Result<Value, QmpError> {
        let number = self.disks.iter().position(|disk| disk.node() == node).ok_or_else(|| {
            let nodes: Vec<_> = self.disks.iter().map(Disk::node).collect();
            let there = match nodes.is_empty() {
                true => "this machine has none: give it one on a quorum, as in q0,werror=stop".to_owned(),
                false => format!("expected one of {}", nodes.join(", ")),
            };
            QmpError::generic(format!("no disk has the node '{node}': {there}"))
        })?;
        let Range { offset, length } = request.range;
        let size = self.nodes.quorums.iter().find(|quorum| quorum.node_name == node).map_or(0, |quorum| quorum.length);
        if !offset.is_multiple_of(512) || !length.is_multiple_of(512) {
            return Err(QmpError::generic(
                "a guest asks for whole sectors: 'offset' and 'length' are multiples of 512",
            ));
        }
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(QmpError::generic(format!("the range goes past the end of '{node}', which has {size} bytes")));
        }
        let answer = match self.disk_request(number, request) {
            Answer::Done => Object::new().with("status", "done"),
            Answer::Failed(errno) => Object::new().with("status", "failed").with("errno", errno.0),
            Answer::Waits => Object::new().with("status", "waits"),
        };
        Ok(answer.into())
    }

    fn disk_request(&mut self, number: usize, request: DiskRequest) -> Answer {
        let Some(disk) = self.disks.get(number) else { return Answer::Failed(Errno::EIO) };
        let node = disk.config.node.clone();
        let quorum = self.nodes.quorums.iter_mut().find(|quorum| quorum.node_name == node);
        let done = quorum.map(|quorum| match request.operation {
            Operation::Read => {
                let Done { events, result } = quorum.read(request.range, None);
                Done { events, result: result.map(|_| ()) }
            }
            Operation::Write => quorum.write(request.range, request.byte),
            Operation::Flush => quorum.flush(),
        });
        let Some(Done { events, result }) = done else { return Answer::Failed(Errno::EIO) };
        events.into_iter().for_each(|event| self.emit(event));
        let (Err(errno), Some(disk)) = (result, self.disks.get_mut(number)) else { return Answer::Done };
        let action = disk.action(request.operation, errno);
        let answer = match action {
            BlockErrorAction::Ignore => Answer::Done,
            BlockErrorAction::Stop => {
                disk.waiting.push_back(request);
                Answer::Waits
            }
            _ => Answer::Failed(errno),
        };
        let event = disk.event(request.operation, action, errno);
        self.emit(event.into());
        if let Answer::Waits = answer {
            // QEMU goes on until its main loop comes to it.
            self.later(std::time::Duration::ZERO, Action::IoErrorStops);
        }
        answer
    }

    /// The machine runs again: what waited for that is done again.
    pub(crate) fn disks_go_on(&mut self) {
        for number in 0..self.disks.len() {
            let waiting = self.disks.get_mut(number).map(|disk| std::mem::take(&mut disk.waiting)).unwrap_or_default();
            for request in waiting {
                self.disk_request(number, request);
            }
        }
    }

    /// The guest that asked is gone.
    pub(crate) fn disks_forget(&mut self) {
        self.disks.iter_mut().for_each(|disk| disk.waiting.clear());
    }

    /// A machine that was stopped writes everything out.
    pub(crate) fn flush_all(&mut self) {
        for child in self.nodes.quorums.iter_mut().flat_map(|quorum| &mut quorum.children) {
            // Each node by itself, of which nobody hears; then those that are left, by vote.
            let _ = child.flush();
        }
        let events: Vec<_> = self.nodes.quorums.iter_mut().flat_map(|quorum| quorum.flush().events).collect();
        events.into_iter().for_each(|event| self.emit(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_qemus_and_so_are_their_defaults() {
        let disk = "q0".parse::<DiskConfig>().unwrap();
        assert_eq!((disk.rerror, disk.werror), (DiskErrorPolicy::Report, DiskErrorPolicy::Enospc));
        assert_eq!("q0,rerror=auto,werror=auto".parse(), Ok(disk));
        let disk = "q0,rerror=stop,werror=ignore".parse::<DiskConfig>().unwrap();
        assert_eq!((disk.rerror, disk.werror), (DiskErrorPolicy::Stop, DiskErrorPolicy::Ignore));
        for (text, expected) in [
            ("", "disk: no node: expected NODE[,rerror=ACTION][,werror=ACTION], such as q0,werror=stop"),
            ("werror=stop", "disk: no node: expected NODE[,rerror=ACTION][,werror=ACTION], such as q0,werror=stop"),
            ("q0,id=x", "disk: no 'id': expected NODE[,rerror=ACTION][,werror=ACTION]"),
            ("q0,stop", "disk: no 'stop': expected NODE[,rerror=ACTION][,werror=ACTION]"),
            ("q0,rerror=x", "disk: rerror 'x': expected report, ignore, stop, enospc or auto"),
        ] {
            assert_eq!(text.parse::<DiskConfig>().unwrap_err().to_string(), expected, "{text}");
        }
    }
}
