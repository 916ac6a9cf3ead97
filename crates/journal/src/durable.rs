//! Directories and files that are still there after a power cut: what is created, renamed or deleted in a directory is
//! fsynced in that directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

/// Creates a directory with this mode, and its parents where they are missing. Each new one is fsynced in its parent.
///
/// # Errors
///
/// When a directory cannot be created or fsynced, or when something else has its name.
pub fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        path.ancestors().take_while(|path| !is_empty(path) && !path.is_dir()).map(Path::to_owned).collect();
    for dir in missing.iter().rev() {
        match DirBuilder::new().mode(mode).create(dir) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            created => created?,
        }
        sync_parent(dir)?;
    }
    Ok(())
}

/// Renames a file and fsyncs the directory of its new name.
///
/// # Errors
///
/// When it cannot be renamed, or the directory cannot be fsynced.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Fsyncs the directory that a file or a directory is in.
///
/// # Errors
///
/// When it cannot be opened or fsynced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if is_empty(parent) => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes the owner of a directory the owner of a file in it: what root creates in another user's directory must be that
/// user's to open. Does nothing for a user who may not.
///
/// # Errors
///
/// When the file or its directory cannot be looked at.
pub fn give_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !is_empty(dir)).unwrap_or(Path::new("."));
    let owner = fs::metadata(dir)?.uid();
    if file.metadata()?.uid() != owner {
        let _ = fchown(file, Some(owner), None);
    }
    Ok(())
}

/// Fsyncs a directory.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn creates_each_missing_directory_with_its_mode() {
        let top = std::env::temp_dir().join(format!("qev-durable-{}", std::process::id()));
        let below = top.join("a/b");
        for _ in 0..2 {
            create_dir_all(&below, 0o750).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&top), mode(&below)], [0o750, 0o750]);
        fs::write(top.join("file"), "").unwrap();
        assert!(create_dir_all(&top.join("file"), 0o750).is_err());
        fs::remove_dir_all(&top).unwrap();
    }
}
