//! The guest's kernel: Debian's for virtual machines, fetched once and kept in `target/lab`.
//!
//! The package is unpacked, not installed: the machine the lab runs on keeps its own kernel. Which package it is
//! changes with every update of Debian, so apt is asked; once one is here, it is used until `target/lab` is deleted,
//! and nobody is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Say;
use crate::error::{Context, Error};
use crate::fetch::patiently;
use crate::programs::{self, output_of};
use crate::workspace;

/// Names the newest kernel for virtual machines by depending on it.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel and its modules, unpacked.
#[derive(Debug, Clone)]
pub struct Kernel {
    folder: PathBuf,
    release: String,
}

/// What apt says about a package that it would fetch.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    package: String,
    version: String,
    bytes: u64,
}

impl Kernel {
    /// The kernel kept in `target/lab`, fetched from Debian when there is none yet.
    pub fn obtain(say: Say<'_>) -> Result<Self, Error> {
        Self::obtain_in(&workspace::lab_cache()?.join("kernel"), say)
    }

    fn obtain_in(cache: &Path, say: Say<'_>) -> Result<Self, Error> {
        if let Some(kernel) = newest_kept(cache) {
            say(&format!("kernel {} unpacked (cached)", kernel.release));
            return Ok(kernel);
        }
        let offer = newest_offer(say)?;
        say(&format!("downloading {} {}, {}", offer.package, offer.version, megabytes(offer.bytes)));
        let kernel = fetch(&offer, cache, say)?;
        say(&format!("kernel {} unpacked into {}", kernel.release, kernel.folder.display()));
        Ok(kernel)
    }

    /// What `uname -r` says in the guest, such as `6.1.0-56-cloud-amd64`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// A module, by its path below `kernel/` and without its ending: `drivers/virtio/virtio_balloon`.
    pub fn module(&self, name: &str) -> Result<PathBuf, Error> {
        let modules = self.folder.join("lib/modules").join(&self.release).join("kernel");
        let module = modules.join(format!("{name}.ko"));
        if module.is_file() {
            return Ok(module);
        }
        let compressed = modules.join(format!("{name}.ko.xz"));
        let why = if compressed.is_file() { "; it is compressed, which Debian 12's are not" } else { "" };
        Err(Error::new(format!("kernel {} has no module {}{why}", self.release, module.display())))
    }

    /// The kernel of an unpacked package, if it is whole.
    fn unpacked_in(folder: &Path) -> Option<Self> {
        let release = fs::read_dir(folder.join("boot")).ok()?.flatten().find_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("vmlinuz-").map(str::to_owned)
        })?;
        let folder = folder.to_owned();
        folder.join("lib/modules").join(&release).is_dir().then_some(Self { folder, release })
    }
}

/// A folder has its final name only once it is complete, so each one found is a whole kernel.
fn newest_kept(cache: &Path) -> Option<Kernel> {
    let kept = fs::read_dir(cache).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let order = numbers_in(name.to_str()?);
        name.to_str()?.starts_with("linux-image-").then_some((order, entry.path()))
    });
    let (_, newest) = kept.max()?;
    Kernel::unpacked_in(&newest)
}

/// `linux-image-6.1.0-9-…` comes before `linux-image-6.1.0-10-…`.
fn numbers_in(package: &str) -> Vec<u64> {
    package.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn newest_offer(say: Say<'_>) -> Result<Offer, Error> {
    match ask_apt() {
        Ok(offer) => Ok(offer),
        Err(_) if programs::is_root() => {
            say("apt does not know the kernel's package yet: apt-get update");
            update_apt(say)?;
            ask_apt()
        }
        Err(error) => Err(Error::because(
            format!("apt does not know {NEWEST}; update its lists (sudo apt-get update), on Debian 12 for amd64"),
            error,
        )),
    }
}

fn ask_apt() -> Result<Offer, Error> {
    let depends = output_of(Command::new("apt-cache").args(["depends", NEWEST]))?;
    let package = first_dependency(&depends).ok_or_else(|| {
        Error::new(format!("apt-cache depends {NEWEST} names no kernel, but says: {}", depends.trim()))
    })?;
    let about = output_of(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
    offer_in(package, &about)
        .ok_or_else(|| Error::new(format!("apt-cache show {package} names no version and size: {}", about.trim())))
}

fn update_apt(say: Say<'_>) -> Result<(), Error> {
    patiently(say, "apt-get update", |_| output_of(Command::new("apt-get").arg("update")).map(|_| ()))
}

/// The package in the first line `  Depends: linux-image-…`.
fn first_dependency(depends: &str) -> Option<&str> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends:"))
        .map(str::trim)
        .find(|package| package.starts_with("linux-image-"))
}

fn offer_in(package: &str, about: &str) -> Option<Offer> {
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
    Some(Offer {
        package: package.to_owned(),
        version: field("Version")?.to_owned(),
        bytes: field("Size")?.parse().ok()?,
    })
}

/// Downloads and unpacks beside the cache's final place, then renames: what is interrupted is not taken for a kernel.
fn fetch(offer: &Offer, cache: &Path, say: Say<'_>) -> Result<Kernel, Error> {
    let unfinished = cache.join(format!("unfinished-{}", std::process::id()));
    let finished = cache.join(&offer.package);
    let fetched = download(offer, &unfinished, say).and_then(|archive| unpack(&archive, &unfinished, &finished));
    // Its content is of no use to anybody; a next attempt starts afresh.
    let _ = fs::remove_dir_all(&unfinished);
    fetched?;
    Kernel::unpacked_in(&finished)
        .ok_or_else(|| Error::new(format!("{} holds no kernel with modules", finished.display())))
}

fn download(offer: &Offer, folder: &Path, say: Say<'_>) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
    let download = || {
        let mut apt = Command::new("apt-get");
        // Root's apt otherwise downloads as a user who may not write here, and complains about it.
        if programs::is_root() {
            apt.args(["-o", "APT::Sandbox::User=root"]);
        }
        output_of(apt.args(["download", &offer.package]).current_dir(folder))
    };
    if let Err(error) = download() {
        if !programs::is_root() {
            let advice = format!("cannot download {}; are apt's lists old? sudo apt-get update", offer.package);
            return Err(Error::because(advice, error));
        }
        say(&format!("that version is gone, or the network is: apt-get update, and again ({})", error.story()));
        update_apt(say)?;
        patiently(say, "apt-get download", |_| download())?;
    }
    let archive = fs::read_dir(folder)
        .context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    archive.ok_or_else(|| Error::new(format!("apt-get download {} left no .deb file", offer.package)))
}

fn unpack(archive: &Path, unfinished: &Path, finished: &Path) -> Result<(), Error> {
    let content = unfinished.join("content");
    output_of(Command::new("dpkg").arg("-x").args([archive, &content]))?;
    match fs::rename(&content, finished) {
        // Another run has fetched it in the meantime: as good.
        Err(_) if Kernel::unpacked_in(finished).is_some() => Ok(()),
        renamed => renamed.context(|| format!("cannot make {}", finished.display())),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::scratch::Scratch;

    #[test]
    fn the_kernel_is_what_the_newest_depends_on() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: x\n";
        assert_eq!(first_dependency(depends), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(first_dependency("linux-image-cloud-amd64\n  Depends: <virtual>\n"), None);
        assert_eq!(first_dependency(""), None);
    }

    #[test]
    fn version_and_size_are_read_and_not_mixed_up() {
        let about =
            "Package: p\nVersion: 6.1.192-2\nInstalled-Size: 105548\nDescription: a\n Size: 1\nSize: 26713492\n";
        let offer = offer_in("p", about).unwrap();
        assert_eq!((offer.version.as_str(), offer.bytes), ("6.1.192-2", 26_713_492));
        assert_eq!(megabytes(offer.bytes), "26.7 MB");
        assert_eq!(offer_in("p", "Version: 1\n"), None);
    }

    #[test]
    fn the_newest_whole_kernel_is_used_without_asking_apt() {
        let cache = Scratch::new().unwrap();
        for name in ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "unfinished-1"] {
            let release = name.trim_start_matches("linux-image-");
            fs::create_dir_all(cache.path().join(name).join("lib/modules").join(release)).unwrap();
            fs::create_dir_all(cache.path().join(name).join("boot")).unwrap();
            fs::write(cache.path().join(name).join("boot").join(format!("vmlinuz-{release}")), "").unwrap();
        }
        let kernel = Kernel::obtain_in(cache.path(), &|_| ()).unwrap();
        assert_eq!(kernel.release(), "6.1.0-56-cloud-amd64");
        assert!(kernel.image().is_file());
        let error = kernel.module("drivers/virtio/virtio_balloon").unwrap_err();
        assert!(error.to_string().ends_with("/kernel/drivers/virtio/virtio_balloon.ko"), "{error}");
    }
}
