//! The guest's only file system: busybox, an `init` that takes orders over the console, and a few kernel modules.
//!
//! The kernel unpacks a `cpio` archive of the "newc" kind, which is simple enough to write here: no program is
//! needed, and no folder with device nodes that only root could make.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::kernel::Kernel;
use crate::error::{Context, Error};
use crate::programs::{BUSYBOX, output_of};

/// The line by which the guest says that it is up.
pub const READY: &str = "qev-lab: ready";

/// The line by which the guest says how an order ended; a status follows.
pub const STATUS: &str = "qev-lab: status";

/// Each needs those before it. `pvpanic-mmio` drives the ISA device that QEMU calls `pvpanic`.
const MODULES: [&str; 10] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/virtio/virtio_balloon",
    "drivers/block/virtio_blk",
    "drivers/misc/pvpanic/pvpanic",
    "drivers/misc/pvpanic/pvpanic-mmio",
    "drivers/misc/pvpanic/pvpanic-pci",
];

/// Each order runs in a shell of its own: an error in one must not end the first process, since the kernel panics
/// without it. Lines are announced by an empty one, in case the kernel has just written half a line of its own.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
/bin/busybox stty -echo
/bin/busybox --install -s /bin
export PATH=/bin
for module in /modules/*.ko; do
    insmod "$module" || echo "cannot load $module"
done
printf '\n@READY@\n'
while read -r order; do
    sh -c "$order" </dev/null
    printf '\n@STATUS@ %s\n' "$?"
done
"#;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CONSOLE: u32 = 0o020_600;

/// An initramfs that is being put together.
#[derive(Debug, Default)]
pub struct Initramfs {
    archive: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// The lab's guest: drivers for the balloon and the panic device, and `init`.
    pub fn with_drivers(kernel: &Kernel) -> Result<Self, Error> {
        let mut initramfs = Self::default();
        for folder in ["bin", "dev", "modules"] {
            initramfs.add(folder, FOLDER, (0, 0), &[])?;
        }
        // The kernel wants a console before `init` has mounted anything on /dev.
        initramfs.add("dev/console", CONSOLE, (5, 1), &[])?;
        initramfs.add_file("bin/busybox", PROGRAM, &BUSYBOX.path()?)?;
        for (place, module) in MODULES.iter().enumerate() {
            // `init` loads them in the order of their names.
            let name = module.rsplit('/').next().unwrap_or(module);
            initramfs.add_file(&format!("modules/{place:02}-{name}.ko"), FILE, &kernel.module(module)?)?;
        }
        let init = INIT.replace("@READY@", READY).replace("@STATUS@", STATUS);
        initramfs.add("init", PROGRAM, (0, 0), init.as_bytes())?;
        Ok(initramfs)
    }

    /// Adds a program of this machine's and the libraries that it runs with, so that the guest can run it by its name.
    pub fn add_program(&mut self, program: &Path) -> Result<(), Error> {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.add_file(&format!("bin/{name}"), PROGRAM, program)?;
        let needed = output_of(Command::new("ldd").arg(program))?;
        for library in libraries(&needed) {
            let path = library.trim_start_matches('/');
            for (end, _) in path.match_indices('/') {
                // The kernel does not mind a folder that is there already.
                self.add(path.get(..end).unwrap_or_default(), FOLDER, (0, 0), &[])?;
            }
            self.add_file(path, PROGRAM, Path::new(library))?;
        }
        Ok(())
    }

    /// Writes the finished archive.
    pub fn write(mut self, path: &Path) -> Result<(), Error> {
        self.add("TRAILER!!!", 0, (0, 0), &[])?;
        fs::write(path, &self.archive).context(|| format!("cannot write {}", path.display()))
    }

    fn add_file(&mut self, name: &str, mode: u32, source: &Path) -> Result<(), Error> {
        let content = fs::read(source).context(|| format!("cannot read {}", source.display()))?;
        self.add(name, mode, (0, 0), &content)
    }

    /// An entry is a header of thirteen numbers in hexadecimal, the name with a zero byte, and the content, each
    /// padded to a multiple of four. `device` is the major and minor number of a device node.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<(), Error> {
        let too_large = || format!("{name} is too large for an initramfs");
        let content_length = u32::try_from(content.len()).context(too_large)?;
        let name_length = u32::try_from(name.len() + 1).context(too_large)?;
        self.entries += 1;
        let (owner, group, links, changed, on_device, checksum) = (0, 0, 1, 0, (0, 0), 0);
        let header = [
            self.entries,
            mode,
            owner,
            group,
            links,
            changed,
            content_length,
            on_device.0,
            on_device.1,
            device.0,
            device.1,
            name_length,
            checksum,
        ];
        self.archive.extend_from_slice(b"070701");
        for number in header {
            self.archive.extend_from_slice(format!("{number:08X}").as_bytes());
        }
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.push(0);
        self.pad();
        self.archive.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }
}

/// The files that `ldd` names: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader without an arrow.
fn libraries(needed: &str) -> Vec<&str> {
    needed.split_whitespace().filter(|word| word.starts_with('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_its_libraries_and_its_loader() {
        let needed = "\tlinux-vdso.so.1 (0x00007f98)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f99)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f9a)\n";
        assert_eq!(libraries(needed), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(libraries("\tnot a dynamic executable\n").is_empty());
    }

    /// A reader of one's own: names, modes and contents of an archive, up to its trailer.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701");
            let (mode, length, name_length) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(archive[at + 110..at + 110 + name_length - 1].to_vec()).unwrap();
            let content = (at + 110 + name_length).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(content, archive.len());
                return found;
            }
            found.push((name, mode, archive[content..content + length].to_vec()));
            at = (content + length).next_multiple_of(4);
        }
    }

    #[test]
    fn what_is_added_can_be_read_back_whatever_its_length() {
        let mut initramfs = Initramfs::default();
        for length in 0..9_usize {
            initramfs.add(&"n".repeat(length + 1), FILE, (0, 0), &vec![b'x'; length]).unwrap();
        }
        initramfs.add("TRAILER!!!", 0, (0, 0), &[]).unwrap();
        let read = entries(&initramfs.archive);
        assert_eq!(read.len(), 9);
        for (length, (name, mode, content)) in read.into_iter().enumerate() {
            assert_eq!((name.len(), mode, content.len()), (length + 1, FILE, length));
        }
    }

    #[test]
    fn init_says_what_the_console_is_searched_for() {
        let init = INIT.replace("@READY@", READY).replace("@STATUS@", STATUS);
        assert!(init.contains("'\\nqev-lab: ready\\n'") && init.contains("'\\nqev-lab: status %s\\n'"));
        assert!(!init.contains('@'));
    }
}
