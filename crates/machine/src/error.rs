//! Why a machine could not be made.

use crate::config::memory::MemoryError;
use crate::config::quorum::QuorumConfigError;
use crate::config::smp::SmpError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a machine could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum MachineError {
    /// Its memory does not go together.
    Memory(MemoryError),
    /// Its CPUs do not go together.
    Smp(SmpError),
    /// A quorum does not go together.
    Quorum(QuorumConfigError),
    /// Two block nodes have the same name.
    DuplicateNode(Box<str>),
    /// A child's file can not be opened for reading and writing.
    OpenChild {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A child's file is not a regular file.
    NotAFile(PathBuf),
    /// A child's file is of another size than that of the first child.
    ChildSize {
        /// The file.
        path: PathBuf,
        /// Its size, in sectors of 512 bytes.
        sectors: u64,
        /// The size of the first child, in sectors of 512 bytes.
        first: u64,
    },
    /// Two children are the same file.
    SameFile(PathBuf),
    /// A disk lies on a node that is no quorum of the machine's.
    NoSuchNode(Box<str>),
    /// Two disks lie on the same node.
    NodeInUse(Box<str>),
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineError::Memory(_) => write!(f, "the machine's memory can not be as given"),
            MachineError::Smp(_) => write!(f, "the machine's CPUs can not be as given"),
            MachineError::Quorum(_) => write!(f, "a quorum can not be as given"),
            MachineError::DuplicateNode(name) => {
                write!(f, "two block nodes are named '{name}': name the children apart, as in children=left@a.raw:…")
            }
            MachineError::OpenChild { path, .. } => write!(
                f,
                "quorum child '{}' can not be opened for reading and writing: expected an existing raw image, such as \
                 'truncate -s 64M FILE' makes",
                path.display()
            ),
            MachineError::NotAFile(path) => {
                write!(f, "quorum child '{}' is not a regular file: expected a raw image", path.display())
            }
            MachineError::ChildSize { path, sectors, first } => write!(
                f,
                "quorum child '{}' has {sectors} sectors of 512 bytes where the first child has {first}: \
                 make all children of a quorum the same size",
                path.display()
            ),
            MachineError::NoSuchNode(node) => {
                write!(
                    f,
                    "a disk lies on '{node}', which is no quorum of this machine: give it a --quorum of that name"
                )
            }
            MachineError::NodeInUse(node) => {
                write!(f, "two disks lie on the quorum '{node}': give each disk a quorum of its own")
            }
            MachineError::SameFile(path) => write!(
                f,
                "quorum child '{}' is the same file as another child: give each child a file of its own",
                path.display()
            ),
        }
    }
}

impl std::error::Error for MachineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MachineError::Memory(source) => Some(source),
            MachineError::Smp(source) => Some(source),
            MachineError::Quorum(source) => Some(source),
            MachineError::OpenChild { source, .. } => Some(source),
            _ => None,
        }
    }
}
