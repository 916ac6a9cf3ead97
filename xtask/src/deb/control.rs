//! What the package says of itself, and the scripts that run when it is installed and removed.

use std::path::Path;
use std::process::Command;

use super::CONTRIB;
use super::tree::Tree;
use crate::error::Error;
use crate::programs::output_of;
use crate::workspace;

const MAINTAINER: &str = "the qev authors <qev@packages.debian.org>";

const DESCRIPTION: &str = "every QEMU event, caught, kept and delivered
 QEMU says it once, on a socket that one program may hold: the guest panicked,
 a replica of the disk gives bad data, the memory will not unplug. qev holds
 the monitors, keeps every event durably, and says in plain words what it
 means and what to do about it.
 .
 The daemon listens for QEMUs that connect to it, and reads those that are
 named in its configuration or that libvirt runs. It can also play a QEMU,
 for tests of software that manages QEMU.
";

/// The scripts of the package's maintainer.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// What differs from package to package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) depends: String,
}

/// Writes the files in `DEBIAN`. To be done last: they hold the size and sums of the others.
pub(super) fn write(tree: &mut Tree, package: &Package) -> Result<(), Error> {
    let files = tree.files()?;
    let conffiles: Vec<String> =
        files.iter().filter(|file| file.starts_with("etc")).map(|file| format!("/{}\n", file.display())).collect();
    let mut sums = Command::new("md5sum");
    sums.args(files.iter().filter(|file| !file.starts_with("etc"))).current_dir(tree.root());
    let sums = output_of(&mut sums)?;
    let control = control(package, tree.size()?);
    tree.write("DEBIAN/control", &control, 0o644)?;
    tree.write("DEBIAN/conffiles", &conffiles.concat(), 0o644)?;
    tree.write("DEBIAN/md5sums", &sums, 0o644)?;
    let scripts = workspace::root().join(CONTRIB).join("deb");
    for script in SCRIPTS {
        tree.copy(&scripts.join(script), &Path::new("DEBIAN").join(script).to_string_lossy(), 0o755)?;
    }
    Ok(())
}

fn control(package: &Package, size: u64) -> String {
    let Package { version, architecture, depends } = package;
    format!(
        "Package: qev\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {size}\nDepends: {depends}\nSuggests: libvirt-clients, qemu-system\nSection: admin\n\
         Priority: optional\nDescription: {DESCRIPTION}"
    )
}

/// Debian's changelog, which tells of packages. What changed in qev is in its own.
pub(super) fn changelog(version: &str, time: u64) -> Result<String, Error> {
    let date =
        output_of(Command::new("date").args(["--utc", "--rfc-email", &format!("--date=@{time}")]).env("LC_ALL", "C"))?;
    Ok(format!(
        "qev ({version}) unstable; urgency=medium\n\n  * Built from the source of this version; changelog.gz says what changed.\n\n \
         -- {MAINTAINER}  {}\n",
        date.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_has_a_line_for_each_field() {
        let package =
            Package { version: "1.2-1".into(), architecture: "amd64".into(), depends: "libc6 (>= 2.34)".into() };
        let control = control(&package, 42);
        for line in
            ["Package: qev", "Version: 1.2-1", "Depends: libc6 (>= 2.34)", "Installed-Size: 42", "Section: admin"]
        {
            assert!(control.lines().any(|found| found == line), "{line} in:\n{control}");
        }
        // What goes on belongs to the description: it is set in by a space.
        let (_, description) = control.split_once("Description: ").unwrap();
        assert!(description.lines().skip(1).all(|line| line.starts_with(' ')), "{description}");
        assert!(control.ends_with('\n'));
    }

    #[test]
    fn the_changelog_has_the_time_of_the_source() {
        let text = changelog("1.2-1", 86_400).unwrap();
        assert!(text.starts_with("qev (1.2-1) unstable;"), "{text}");
        assert!(text.ends_with(">  Fri, 02 Jan 1970 00:00:00 +0000\n"), "{text}");
    }
}
