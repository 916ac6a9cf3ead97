//! The image files of a scenario's quorums: made for a machine, and gone with it.

use qev_machine::{QuorumConfig, SizeError, parse_size};
use qev_qmp::Value;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How large an image may be, in bytes. They are sparse, but a scenario is no place for surprises.
const MAX_SIZE: u64 = 1 << 30;

/// An image that is to be made: zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageFile {
    name: PathBuf,
    size: u64,
}

/// Why an image cannot be as given.
#[derive(Debug)]
pub(crate) enum ImageError {
    Name(String),
    NotASize { name: String, source: Option<SizeError> },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Name(name) => {
                write!(f, "'{}' is not the name of a file: expected one without '/'", name.escape_debug())
            }
            ImageError::NotASize { name, .. } => {
                write!(f, "'{}': expected its size as text, at most 1G, such as \"1M\"", name.escape_debug())
            }
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ImageError::NotASize { source: Some(source), .. } => Some(source),
            _ => None,
        }
    }
}

impl ImageFile {
    /// An image of this name, with the size that a scenario has for it.
    pub(super) fn new(name: &str, size: &Value) -> Result<ImageFile, ImageError> {
        let path = Path::new(name);
        if path.file_name() != Some(path.as_os_str()) {
            return Err(ImageError::Name(name.to_owned()));
        }
        let misfit = |source| ImageError::NotASize { name: name.to_owned(), source };
        let size = parse_size(size.as_str().ok_or(misfit(None))?, 1).map_err(|error| misfit(Some(error)))?;
        if size > MAX_SIZE {
            return Err(misfit(None));
        }
        Ok(ImageFile { name: path.to_owned(), size })
    }

    /// Whether a path of a quorum's child means it.
    pub(super) fn is(&self, path: &Path) -> bool {
        self.name == path
    }
}

/// The images of one machine, in a folder of their own, which goes away with this.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    /// Makes the images, and lets the quorums' children that mean them be them. Nothing, when there are none to make.
    pub(super) fn make(images: &[ImageFile], quorums: &mut [QuorumConfig]) -> io::Result<Option<Images>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if images.is_empty() {
            return Ok(None);
        }
        let folder = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("qev-simulate-{}-{count}", std::process::id()));
            match std::fs::create_dir(&folder) {
                Ok(()) => break folder,
                // A process that had our number was killed: its folder is not ours to use.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let made = Images { folder };
        for image in images {
            File::create_new(made.folder.join(&image.name))?.set_len(image.size)?;
        }
        for child in quorums.iter_mut().flat_map(|quorum| &mut quorum.children) {
            if images.iter().any(|image| image.is(&child.path)) {
                child.path = made.folder.join(&child.path);
            }
        }
        Ok(Some(made))
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        // What is left in a folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_made_for_the_children_that_mean_them_and_go_away() {
        let images = [ImageFile::new("a.raw", &"64k".into()).unwrap()];
        let mut quorums = ["q0,vote-threshold=1,children=x@a.raw:y@/b.raw".parse::<QuorumConfig>().unwrap()];
        let made = Images::make(&images, &mut quorums).unwrap().unwrap();
        let paths: Vec<_> = quorums[0].children.iter().map(|child| child.path.clone()).collect();
        assert_eq!(paths[0], made.folder.join("a.raw"));
        assert_eq!(std::fs::metadata(&paths[0]).unwrap().len(), 65536);
        assert_eq!(paths[1], Path::new("/b.raw"));
        drop(made);
        assert!(!paths[0].exists());
    }

    #[test]
    fn names_lead_nowhere_else_and_sizes_are_sizes() {
        for name in ["", ".", "..", "../a.raw", "/a.raw", "a/b.raw"] {
            assert!(matches!(ImageFile::new(name, &"1M".into()), Err(ImageError::Name(_))), "{name}");
        }
        for size in [Value::from("big"), Value::from(1), Value::from("2G")] {
            let error = ImageFile::new("a.raw", &size).unwrap_err().to_string();
            assert!(error.starts_with("'a.raw': expected its size as text"), "{error}");
        }
    }
}
