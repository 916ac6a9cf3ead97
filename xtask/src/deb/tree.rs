//! The files of a package, as they will lie on the system that it is installed on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error};
use crate::programs::output_of;

/// A folder that stands for `/`.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Tree {
        Tree { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of the system lies here.
    pub(super) fn path(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// Copies a file to its place.
    pub(super) fn copy(&mut self, from: &Path, place: &str, mode: u32) -> Result<(), Error> {
        let to = self.make_room(place)?;
        fs::copy(from, &to).context(|| format!("cannot copy {}", from.display()))?;
        set_mode(&to, mode)
    }

    /// Makes a file.
    pub(super) fn write(&mut self, place: &str, text: &str, mode: u32) -> Result<(), Error> {
        let to = self.make_room(place)?;
        write(&to, text)?;
        set_mode(&to, mode)
    }

    /// Copies a file, compressed, to its place with `.gz` behind it. No name or time is in it.
    pub(super) fn compress(&mut self, from: &Path, place: &str) -> Result<(), Error> {
        self.copy(from, place, 0o644)?;
        output_of(Command::new("gzip").args(["-9", "-n"]).arg(self.path(place))).map(drop)
    }

    /// All files, as paths from the root, in order.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder)? {
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(relative) = path.strip_prefix(&self.root) {
                    found.push(relative.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// How many KiB the files take, each rounded up, as `Installed-Size` counts.
    pub(super) fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        for file in self.files()? {
            let path = self.root.join(&file);
            let file = fs::metadata(&path).context(|| format!("cannot look at {}", path.display()))?;
            size += file.len().div_ceil(1024);
        }
        Ok(size)
    }

    fn make_room(&self, place: &str) -> Result<PathBuf, Error> {
        let path = self.path(place);
        // Not what the umask of who builds makes of it.
        let mut folder = self.root.clone();
        for part in Path::new(place).parent().into_iter().flat_map(Path::iter) {
            folder.push(part);
            fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
            set_mode(&folder, 0o755)?;
        }
        set_mode(&self.root, 0o755)?;
        Ok(path)
    }
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).context(|| format!("cannot write {}", file.display()))
}

/// The files of a folder, in order.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_file()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let cannot = || format!("cannot list {}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).context(cannot)? {
        paths.push(entry.context(cannot)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.context(|| format!("cannot set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::scratch::Scratch;

    #[test]
    fn a_tree_holds_what_was_put_into_it_with_modes_of_its_own() {
        let scratch = Scratch::new().unwrap();
        let mut tree = Tree::new(scratch.file("root"));
        tree.write("usr/share/doc/b", "text", 0o644).unwrap();
        tree.write("etc/a", &"x".repeat(1025), 0o600).unwrap();
        tree.compress(&tree.path("usr/share/doc/b").clone(), "usr/share/doc/c").unwrap();
        let expected = ["etc/a", "usr/share/doc/b", "usr/share/doc/c.gz"].map(PathBuf::from);
        assert_eq!(tree.files().unwrap(), expected);
        assert_eq!(tree.size().unwrap(), 4);
        let mode = |place: &str| fs::metadata(tree.path(place)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(["usr/share", "etc/a", "usr/share/doc/c.gz"].map(mode), [0o755, 0o600, 0o644]);
    }
}
