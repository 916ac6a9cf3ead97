//! What a quorum is made of: `q0,vote-threshold=2,children=a.raw:b.raw:c.raw[,read-pattern=fifo]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A quorum block node over files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    /// The node name of the quorum.
    pub node_name: String,
    /// How many children must agree on a read, and succeed in a write: 1 to the number of children.
    pub vote_threshold: usize,
    /// The children, in their order: it decides ties, and which is asked first.
    pub children: Vec<QuorumChildConfig>,
    /// How a read is made.
    pub read_pattern: ReadPattern,
}

/// A child of a quorum: a raw image in a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumChildConfig {
    /// Its node name. Without one it is `c0`, `c1`, `c2`, … counted over all quorums of the machine.
    pub node_name: Option<String>,
    /// Its file. All children of a quorum have the same size, counted in sectors of 512 bytes.
    pub path: PathBuf,
}

/// How a quorum reads (`QuorumReadPattern`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPattern {
    /// All children are read, and vote.
    #[default]
    Quorum,
    /// One child after the other is read until one answers.
    Fifo,
}

/// The text does not describe a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuorumConfigError {
    /// The first part must be a node name.
    NodeName(Box<str>),
    /// There is no such option.
    NoSuchOption(Box<str>),
    /// An option that must be there is not.
    Missing(&'static str),
    /// The threshold is not a number from 1 to the number of children.
    VoteThreshold {
        /// What was given.
        given: Box<str>,
        /// How many children there are.
        children: usize,
    },
    /// There is no such read pattern.
    ReadPattern(Box<str>),
    /// A child has no path.
    EmptyChild,
    /// More children than a quorum may have here.
    TooManyChildren(usize),
}

/// QEMU has no bound; here each child holds a file open.
pub(crate) const MAX_CHILDREN: usize = 256;

impl fmt::Display for QuorumConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuorumConfigError::NodeName(given) => write!(
                f,
                "quorum: '{}' is not a node name: expected a letter, then at most 30 letters, digits, '-', '.' and '_', \
                 as in q0,vote-threshold=2,children=a.raw:b.raw:c.raw",
                given.escape_debug()
            ),
            QuorumConfigError::NoSuchOption(given) => write!(
                f,
                "quorum: no option '{}': expected vote-threshold=N, children=PATH:PATH:…, read-pattern=quorum|fifo",
                given.escape_debug()
            ),
            QuorumConfigError::Missing(option) => {
                write!(f, "quorum: {option} is missing: give it as in q0,vote-threshold=2,children=a.raw:b.raw:c.raw")
            }
            QuorumConfigError::VoteThreshold { given, children } => write!(
                f,
                "quorum: vote-threshold '{}': expected a number from 1 to {children}, the number of children",
                given.escape_debug()
            ),
            QuorumConfigError::ReadPattern(given) => {
                write!(f, "quorum: no read-pattern '{}': expected quorum or fifo", given.escape_debug())
            }
            QuorumConfigError::EmptyChild => {
                write!(
                    f,
                    "quorum: a child has no path: expected children=PATH:PATH:… (a colon in a path is written ::)"
                )
            }
            QuorumConfigError::TooManyChildren(count) => {
                write!(f, "quorum: {count} children: at most {MAX_CHILDREN} are possible")
            }
        }
    }
}

impl std::error::Error for QuorumConfigError {}

impl FromStr for QuorumConfig {
    type Err = QuorumConfigError;

    /// Reads a quorum. A child is `PATH` or `NODE-NAME@PATH`; a path that begins like the latter is written `./user@host`.
    /// In a path, a comma is written `,,` (as QEMU has it) and a colon `::`.
    fn from_str(text: &str) -> Result<QuorumConfig, QuorumConfigError> {
        let mut parts = split(text, ',').into_iter();
        let node_name = parts.next().unwrap_or_default();
        if !is_node_name(&node_name) {
            return Err(QuorumConfigError::NodeName(node_name.into()));
        }
        let (mut threshold, mut children, mut read_pattern) = (None, None, ReadPattern::Quorum);
        for part in parts {
            match part.split_once('=') {
                Some(("vote-threshold", value)) => threshold = Some(value.to_owned()),
                Some(("children", value)) => children = Some(read_children(value)?),
                Some(("read-pattern", value)) => read_pattern = value.parse()?,
                _ => return Err(QuorumConfigError::NoSuchOption(part.into())),
            }
        }
        let children = children.ok_or(QuorumConfigError::Missing("children"))?;
        let given = threshold.ok_or(QuorumConfigError::Missing("vote-threshold"))?;
        let misfit = QuorumConfigError::VoteThreshold { given: given.as_str().into(), children: children.len() };
        let vote_threshold = given.parse().map_err(|_| misfit)?;
        let quorum = QuorumConfig { node_name, vote_threshold, children, read_pattern };
        quorum.check().map(|()| quorum)
    }
}

impl QuorumConfig {
    /// Whether the parts go together: they may have been put in one by one.
    pub(crate) fn check(&self) -> Result<(), QuorumConfigError> {
        let names = self.children.iter().filter_map(|child| child.node_name.as_deref());
        if let Some(bad) = names.chain([self.node_name.as_str()]).find(|name| !is_node_name(name)) {
            return Err(QuorumConfigError::NodeName(bad.into()));
        }
        let children = self.children.len();
        if children > MAX_CHILDREN {
            return Err(QuorumConfigError::TooManyChildren(children));
        }
        if !(1..=children).contains(&self.vote_threshold) {
            return Err(QuorumConfigError::VoteThreshold { given: self.vote_threshold.to_string().into(), children });
        }
        Ok(())
    }
}

impl FromStr for ReadPattern {
    type Err = QuorumConfigError;

    fn from_str(name: &str) -> Result<ReadPattern, QuorumConfigError> {
        match name {
            "quorum" => Ok(ReadPattern::Quorum),
            "fifo" => Ok(ReadPattern::Fifo),
            other => Err(QuorumConfigError::ReadPattern(other.into())),
        }
    }
}

fn read_children(text: &str) -> Result<Vec<QuorumChildConfig>, QuorumConfigError> {
    split(text, ':').into_iter().map(|child| read_child(&child)).collect()
}

fn read_child(text: &str) -> Result<QuorumChildConfig, QuorumConfigError> {
    let (node_name, path) = match text.split_once('@') {
        Some((name, path)) if is_node_name(name) => (Some(name.to_owned()), path),
        _ => (None, text),
    };
    if path.is_empty() {
        Err(QuorumConfigError::EmptyChild)
    } else {
        Ok(QuorumChildConfig { node_name, path: path.into() })
    }
}

/// Whether QEMU takes this as the id of an object or device: a letter, then letters, digits, `-`, `.` and `_`.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Whether QEMU takes this as a node name: an identifier of at most 31 characters.
pub(crate) fn is_node_name(text: &str) -> bool {
    is_identifier(text) && text.len() <= 31
}

/// Splits at a separator; two of them stand for one that does not separate.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == separator && chars.next_if_eq(&separator).is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_read_with_and_without_names_for_its_children() {
        let quorum: QuorumConfig = "q0,vote-threshold=2,children=a.raw:left@b.raw:./u@h".parse().unwrap();
        assert_eq!((quorum.node_name.as_str(), quorum.vote_threshold), ("q0", 2));
        assert_eq!(quorum.read_pattern, ReadPattern::Quorum);
        let children: Vec<_> =
            quorum.children.iter().map(|c| (c.node_name.as_deref(), c.path.to_str().unwrap())).collect();
        assert_eq!(children, [(None, "a.raw"), (Some("left"), "b.raw"), (None, "./u@h")]);
        let fifo: QuorumConfig = "q0,read-pattern=fifo,children=a,vote-threshold=1".parse().unwrap();
        assert_eq!(fifo.read_pattern, ReadPattern::Fifo);
    }

    #[test]
    fn separators_in_paths_are_doubled() {
        let quorum: QuorumConfig = "q0,vote-threshold=1,children=a,,b::c:d".parse().unwrap();
        let paths: Vec<_> = quorum.children.iter().map(|c| c.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a,b:c", "d"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        for (text, expected) in [
            ("q0", "quorum: children is missing: give it as in q0,vote-threshold=2,children=a.raw:b.raw:c.raw"),
            (
                "q0,children=a",
                "quorum: vote-threshold is missing: give it as in q0,vote-threshold=2,children=a.raw:b.raw:c.raw",
            ),
            (
                "q0,vote-threshold=0,children=a:b",
                "quorum: vote-threshold '0': expected a number from 1 to 2, the number of children",
            ),
            (
                "q0,vote-threshold=3,children=a:b",
                "quorum: vote-threshold '3': expected a number from 1 to 2, the number of children",
            ),
            (
                "q0,vote-threshold=-1,children=a:b",
                "quorum: vote-threshold '-1': expected a number from 1 to 2, the number of children",
            ),
            ("q0,read-pattern=x,children=a", "quorum: no read-pattern 'x': expected quorum or fifo"),
            (
                "q0,foo=1",
                "quorum: no option 'foo=1': expected vote-threshold=N, children=PATH:PATH:…, read-pattern=quorum|fifo",
            ),
            (
                "q0,vote-threshold=1,children=a:",
                "quorum: a child has no path: expected children=PATH:PATH:… (a colon in a path is written ::)",
            ),
        ] {
            assert_eq!(text.parse::<QuorumConfig>().unwrap_err().to_string(), expected, "{text}");
        }
        for name in ["", "0c", "a b", "a/b", ".a", "_a", "é", "#block1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let text = format!("{name},vote-threshold=1,children=a");
            assert_eq!(text.parse::<QuorumConfig>(), Err(QuorumConfigError::NodeName(name.into())), "{name}");
        }
    }
}
