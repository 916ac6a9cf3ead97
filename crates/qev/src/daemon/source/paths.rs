//! A path that may have `*`, `?` and `[…]` in its components, as the shell has them, and the paths that there are for it.
//!
//! A `*` stands for no `/`, and for no leading `.`; what a pattern finds is bounded.

use qev_record::{Glob, GlobError};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// How many paths a pattern may find.
const MOST: usize = 16_384;

/// A path, or a pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// What has no pattern in it: the path, or the folder in which the patterns begin.
    base: PathBuf,
    /// The components from the first pattern on.
    patterns: Vec<Glob>,
}

/// The text is no path and no pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotPaths {
    /// It depends on the folder in which the daemon starts.
    Relative(PathBuf),
    /// A component is no pattern.
    Glob(GlobError),
}

impl fmt::Display for NotPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotPaths::Relative(path) => {
                write!(f, "expected a path that begins with a '/', and not '{}'", path.display())
            }
            NotPaths::Glob(_) => f.write_str("expected a path, or a pattern of paths"),
        }
    }
}

impl std::error::Error for NotPaths {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NotPaths::Glob(error) => Some(error),
            NotPaths::Relative(_) => None,
        }
    }
}

/// What there is for a pattern.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The paths that match.
    pub(super) paths: BTreeSet<PathBuf>,
    /// The folders in which a path that matches may appear, or one in which such a folder may.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The folders that may not be read, and why.
    pub(super) unreadable: BTreeMap<PathBuf, String>,
}

impl Paths {
    /// This path, whatever characters it has.
    pub(crate) fn one(path: PathBuf) -> Paths {
        Paths { base: path, patterns: Vec::new() }
    }

    /// Whether it is one path, named in full.
    pub(crate) fn is_one(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Looks what there is. It reads folders.
    pub(super) fn look(&self) -> Found {
        let mut found = Found::default();
        if self.is_one() {
            found.folders.extend(existing(self.base.parent().unwrap_or(&self.base)));
            // Whether it is there or not: who is named is asked for.
            found.paths.insert(self.base.clone());
            return found;
        }
        found.folders.extend(existing(&self.base));
        let mut here = vec![self.base.clone()];
        for pattern in &self.patterns {
            let mut next = Vec::new();
            for folder in here {
                let entries = match std::fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) => {
                        if error.kind() == io::ErrorKind::PermissionDenied {
                            found.unreadable.insert(folder, error.to_string());
                        }
                        continue;
                    }
                };
                found.folders.insert(folder.clone());
                let names = entries.flatten().map(|entry| entry.file_name());
                let matching = names.filter(|name| matches(pattern, name)).map(|name| folder.join(name));
                next.extend(matching.take(MOST.saturating_sub(next.len())));
            }
            here = next;
        }
        found.paths.extend(here);
        found
    }
}

/// The folder, or the nearest above it that there is.
fn existing(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

fn matches(pattern: &Glob, name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    (!name.starts_with('.') || pattern.to_string().starts_with('.')) && pattern.matches(name)
}

impl FromStr for Paths {
    type Err = NotPaths;

    fn from_str(text: &str) -> Result<Paths, NotPaths> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(NotPaths::Relative(path.to_owned()));
        }
        let (mut base, mut patterns) = (PathBuf::from("/"), Vec::new());
        for component in path.components() {
            let Component::Normal(name) = component else {
                if component == Component::ParentDir {
                    base.push("..");
                }
                continue;
            };
            let pattern: Glob = name.to_string_lossy().parse().map_err(NotPaths::Glob)?;
            match pattern.literal() {
                Some(name) if patterns.is_empty() => base.push(name),
                _ => patterns.push(pattern),
            }
        }
        Ok(Paths { base, patterns })
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.display().fmt(f)?;
        self.patterns.iter().try_for_each(|pattern| write!(f, "/{pattern}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn check(root: &Path, pattern: &str, paths: &[&str], folders: &[&str]) {
        let full = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<BTreeSet<_>>();
        let pattern = format!("{}/{pattern}", root.display());
        let found = pattern.parse::<Paths>().unwrap().look();
        assert_eq!(found, Found { paths: full(paths), folders: full(folders), ..Found::default() }, "{pattern}");
    }

    #[test]
    fn patterns_find_what_there_is_and_say_where_more_may_appear() {
        let folder = Folder(std::env::temp_dir().join(format!("qev-paths-{}", std::process::id())));
        let _ = std::fs::remove_dir_all(&folder.0);
        let root = &folder.0;
        for file in ["a/1.sock", "a/2.sock", "a/.3.sock", "a/4.log", "b/1.sock", "c"] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        check(root, "a/*.sock", &["a/1.sock", "a/2.sock"], &["a"]);
        check(root, "*/1.sock", &["a/1.sock", "b/1.sock"], &["", "a", "b"]);
        check(root, "a/.*", &["a/.3.sock"], &["a"]);
        check(root, "a/9.sock", &["a/9.sock"], &["a"]);
        check(root, "x/y/9.sock", &["x/y/9.sock"], &[""]);
        check(root, "x/*.sock", &[], &[""]);
    }

    #[test]
    fn what_is_no_pattern_of_paths_is_said() {
        assert!(matches!("vm.sock".parse::<Paths>(), Err(NotPaths::Relative(_))));
        assert!(matches!("/run/[a".parse::<Paths>(), Err(NotPaths::Glob(_))));
        let paths: Paths = "/run//vm/./*.sock".parse().unwrap();
        assert_eq!(paths.to_string(), "/run/vm/*.sock");
        assert!(!paths.is_one() && "/run/vm.sock".parse::<Paths>().unwrap().is_one());
    }
}
