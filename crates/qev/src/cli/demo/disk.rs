//! The demo's disk: three replicas in files, made so that reading them tells who is wrong.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How large a replica is, in bytes.
const SIZE: usize = 1 << 20;

/// Where replica c1 alone differs, in bytes: sectors 8 to 15.
pub(super) const POKED: std::ops::Range<usize> = 4096..8192;

/// Where no two replicas agree, in bytes: sector 128.
pub(super) const TORN: std::ops::Range<usize> = 65536..66048;

/// Three replicas in a folder of their own, which goes away with this.
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Writes the replicas, into a folder whose name begins so.
    pub(super) fn write(name: &str) -> io::Result<Disk> {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let disk = Disk { folder };
        for (number, path) in (0_u8..).zip(disk.replicas()) {
            let mut image = vec![0xA5_u8; SIZE];
            if number == 1
                && let Some(poked) = image.get_mut(POKED)
            {
                poked.fill(0xEE);
            }
            if let Some(torn) = image.get_mut(TORN) {
                torn.fill(number);
            }
            fs::write(path, image)?;
        }
        Ok(disk)
    }

    /// The files of replicas c0, c1 and c2.
    pub(super) fn replicas(&self) -> [PathBuf; 3] {
        ["c0.raw", "c1.raw", "c2.raw"].map(|name| self.path().join(name))
    }

    fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left in a folder for temporary files does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
