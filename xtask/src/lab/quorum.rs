//! A disk in three copies, of which two must agree: what QEMU calls a quorum. Two places in it are spoilt on purpose.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Context, Error};

/// The node that votes.
pub const NODE: &str = "q0";

/// The nodes that are voted on.
pub const CHILDREN: [&str; 3] = ["c0", "c1", "c2"];

/// The child that is outvoted in [`ONE_DIFFERS`].
pub const BAD_CHILD: &str = "c1";

/// How many must agree.
const VOTE_THRESHOLD: u32 = 2;

/// The size of each copy.
const SIZE: usize = 1 << 20;

/// QEMU counts in sectors of this many bytes.
const SECTOR: usize = 512;

/// A run of bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The first byte.
    pub offset: usize,
    /// How many bytes.
    pub length: usize,
}

/// Here one child has other content than the two that agree: reading it gives `QUORUM_REPORT_BAD`.
pub const ONE_DIFFERS: Region = Region { offset: 4096, length: 4096 };

/// Here no two children have the same content: reading it gives `QUORUM_FAILURE`.
pub const ALL_DIFFER: Region = Region { offset: 65_536, length: 512 };

impl Region {
    /// The first sector, as the events name it.
    pub fn sector(&self) -> usize {
        self.offset / SECTOR
    }

    /// How many sectors.
    pub fn sectors(&self) -> usize {
        (self.offset + self.length).div_ceil(SECTOR) - self.sector()
    }
}

/// The three copies, as files.
#[derive(Debug, Clone)]
pub struct QuorumFiles {
    paths: [PathBuf; 3],
}

impl QuorumFiles {
    /// Writes the copies into `folder`.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let paths = CHILDREN.map(|child| folder.join(format!("{child}.raw")));
        for (child, path) in CHILDREN.iter().zip(&paths) {
            fs::write(path, content_of(child)).context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { paths })
    }

    /// Where the copies lie.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The values of QEMU's `-blockdev`: each copy, then the quorum over them.
    pub fn blockdevs(&self) -> Vec<String> {
        let copies = CHILDREN.iter().zip(&self.paths).map(|(child, path)| {
            let file = json!({"driver": "file", "filename": path.to_string_lossy()});
            json!({"driver": "raw", "node-name": child, "file": file})
        });
        let quorum =
            json!({"driver": "quorum", "node-name": NODE, "vote-threshold": VOTE_THRESHOLD, "children": CHILDREN});
        copies.chain([quorum]).map(|node| node.to_string()).collect()
    }
}

fn content_of(child: &str) -> Vec<u8> {
    let mut content = vec![0; SIZE];
    let mut fill = |region: Region, with: &[u8]| {
        let bytes = content.iter_mut().skip(region.offset).take(region.length);
        for (byte, new) in bytes.zip(with.iter().cycle()) {
            *byte = *new;
        }
    };
    fill(ALL_DIFFER, child.as_bytes());
    if child == BAD_CHILD {
        fill(ONE_DIFFERS, b"spoilt ");
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_named_in_sectors_rounded_outward() {
        assert_eq!((ONE_DIFFERS.sector(), ONE_DIFFERS.sectors()), (8, 8));
        assert_eq!((ALL_DIFFER.sector(), ALL_DIFFER.sectors()), (128, 1));
        let across = Region { offset: 511, length: 2 };
        assert_eq!((across.sector(), across.sectors()), (0, 2));
    }

    #[test]
    fn copies_differ_where_they_should_and_nowhere_else() {
        let [a, b, c] = CHILDREN.map(content_of);
        let within = |region: Region, at: usize| (region.offset..region.offset + region.length).contains(&at);
        for at in 0..SIZE {
            let (outvoted, all_differ) = (within(ONE_DIFFERS, at), within(ALL_DIFFER, at));
            assert_eq!(a[at] == b[at], !outvoted && (!all_differ || at % 2 == 0), "at {at}");
            assert_eq!(a[at] == c[at], !all_differ || at % 2 == 0, "at {at}");
        }
    }

    #[test]
    fn a_path_with_a_comma_stays_one_path() {
        let folder = crate::lab::scratch::Scratch::new().unwrap();
        let awkward = folder.file("a,b=c");
        fs::create_dir(&awkward).unwrap();
        let nodes = QuorumFiles::create(&awkward).unwrap().blockdevs();
        let first: serde_json::Value = serde_json::from_str(&nodes[0]).unwrap();
        assert_eq!(first["file"]["filename"], *awkward.join("c0.raw").to_str().unwrap());
        assert!(nodes[3].contains(r#""children":["c0","c1","c2"]"#), "{}", nodes[3]);
    }
}
