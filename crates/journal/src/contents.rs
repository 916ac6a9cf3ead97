//! The directory is the table of contents: a segment's file is named after its first sequence number.
//!
//! ```text
//! 00000000000000000001.qev           sealed: one file, read-only, never written again
//! 00000000000000497113.qev.damaged   set aside: nothing reads it, for people to look at
//! 00000000000001000001.qev           the newest: records are appended to it
//! 00000000000001000001.qev-wal       … and SQLite's files beside it while it is open
//! lock                               held by the writer, its process id inside
//! numbers                            up to which number records were committed
//! ```

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How many digits a name has: as many as the largest number.
const DIGITS: usize = 20;

/// What a segment's name ends with.
const ENDING: &str = ".qev";

/// What the name of a segment ends with that was set aside.
pub(crate) const DAMAGED: &str = "damaged";

/// A segment that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its first sequence number, as its name says.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// The file of the segment that begins with this number.
pub(crate) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:0DIGITS$}{ENDING}"))
}

/// The number in a segment's name; `None`, if this is not the name of one.
fn first_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(ENDING)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The number in the name of a segment that was set aside.
fn first_in_damaged(name: &str) -> Option<u64> {
    let (segment, copy) = name.split_once(".damaged")?;
    let is_copy = copy.is_empty() || copy.strip_prefix('-').is_some_and(|n| n.parse::<u32>().is_ok());
    first_in(segment).filter(|_| is_copy)
}

/// The segments in a directory, the oldest first. Files with other names are somebody else's.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<Entry>> {
    entries(dir, first_in)
}

/// The segments in a directory that were set aside, the oldest first.
pub(crate) fn damaged(dir: &Path) -> io::Result<Vec<Entry>> {
    entries(dir, first_in_damaged)
}

/// Logs of SQLite's beside segments that are not there, with the first number of the segment.
pub(crate) fn orphaned_logs(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut logs = entries(dir, |name| first_in(name.strip_suffix("-wal")?))?;
    logs.retain(|log| !path_of(dir, log.first).exists());
    Ok(logs)
}

fn entries(dir: &Path, first_in: impl Fn(&str) -> Option<u64>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(&first_in) {
            entries.push(Entry { first, path: entry.path() });
        }
    }
    entries.sort_by_key(|entry| entry.first);
    Ok(entries)
}

/// A file that SQLite keeps beside a segment: `-wal` or `-shm`.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// How large a segment is, with what SQLite keeps beside it, in bytes.
pub(crate) fn bytes_of(path: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(path).saturating_add(size(&beside(path, "-wal")))
}

/// What tells a file from another one of the same name.
pub(crate) type FileId = (u64, u64);

/// Which file a path leads to; `None`, when to none.
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|metadata| id_of(&metadata))
}

pub(crate) fn id_of(metadata: &std::fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Makes what was created, renamed or deleted in a directory survive a power cut.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    crate::durable::sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do() {
        let names: Vec<_> = [1, 9, 10, 1_000_001, u64::MAX].map(|first| path_of(Path::new(""), first)).into();
        assert!(names.is_sorted());
        for path in &names {
            let name = path.to_str().unwrap();
            assert_eq!(path_of(Path::new(""), first_in(name).unwrap()), *path);
        }
    }

    #[test]
    fn other_names_are_not_segments() {
        for name in [
            "1.qev",
            "0000000000000000001x.qev",
            "+0000000000000000001.qev",
            "00000000000000000001.qev-wal",
            "00000000000000000001.qev.damaged",
            "99999999999999999999.qev",
            "lock",
        ] {
            assert_eq!(first_in(name), None, "{name}");
        }
        assert_eq!(first_in_damaged("00000000000000000007.qev.damaged"), Some(7));
        assert_eq!(first_in_damaged("00000000000000000007.qev.damaged-2"), Some(7));
        assert_eq!(first_in_damaged("00000000000000000007.qev.damaged-wal"), None);
    }
}
