//! A QEMU's version, and the arguments that make it connect to us.

use qev_qmp::QemuVersion;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How long a QEMU may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of what it says is read.
const SAID: u64 = 4096;

/// Since when QEMU counts the time until it connects again in milliseconds; the option in seconds is gone in 10.2.
const MILLISECONDS: QemuVersion = QemuVersion::new(9, 2, 0);

/// A QEMU that has said its version.
pub(crate) struct Qemu {
    pub(crate) version: QemuVersion,
}

/// Why a program's version is not known.
#[derive(Debug)]
pub(crate) enum NotAQemu {
    Run { program: PathBuf, source: io::Error },
    Slow { program: PathBuf },
    Said { program: PathBuf, said: String },
}

impl fmt::Display for NotAQemu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAQemu::Run { program, .. } => {
                write!(f, "cannot run {}: name the QEMU that will run, such as /usr/bin/kvm", program.display())
            }
            NotAQemu::Slow { program } => {
                write!(f, "{} --version did not end in {PATIENCE:?}: name a QEMU", program.display())
            }
            NotAQemu::Said { program, said } => write!(
                f,
                "{} --version says '{}': expected 'QEMU emulator version …'; name a QEMU",
                program.display(),
                said.lines().next().unwrap_or_default().chars().take(80).collect::<String>().escape_debug()
            ),
        }
    }
}

impl std::error::Error for NotAQemu {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NotAQemu::Run { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Qemu {
    /// Runs the program to ask it for its version.
    pub(crate) async fn ask(program: &Path) -> Result<Qemu, NotAQemu> {
        let failed = |source| NotAQemu::Run { program: program.to_owned(), source };
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let mut said = Vec::new();
        let read = async {
            if let Some(stdout) = child.stdout.take() {
                stdout.take(SAID).read_to_end(&mut said).await?;
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(read) => read.map_err(failed)?,
            Err(_) => return Err(NotAQemu::Slow { program: program.to_owned() }),
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        match version(&said) {
            Some(version) => Ok(Qemu { version }),
            None => Err(NotAQemu::Said { program: program.to_owned(), said }),
        }
    }

    /// What it is to be given to connect to this path, and again a second after a loss.
    pub(crate) fn arguments(&self, path: &str) -> Vec<String> {
        let again = if self.version >= MILLISECONDS { "reconnect-ms=1000" } else { "reconnect=1" };
        // A comma in a value is written twice.
        let chardev = format!("socket,id=qev,path={},{again}", path.replace(',', ",,"));
        ["-chardev", &chardev, "-mon", "chardev=qev,mode=control"].map(str::to_owned).to_vec()
    }
}

/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`
fn version(said: &str) -> Option<QemuVersion> {
    let said = said.strip_prefix("QEMU emulator version ")?;
    let end = said.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(said.len());
    said.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (said, expected) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright\n", (7, 2, 22)),
            ("QEMU emulator version 9.2.0 (pve-qemu-kvm_9.2.0-2)\n", (9, 2, 0)),
            ("QEMU emulator version 10.2.0\n", (10, 2, 0)),
            ("QEMU emulator version 9.1.50-dirty\n", (9, 1, 50)),
        ] {
            assert_eq!(version(said), Some(QemuVersion::new(expected.0, expected.1, expected.2)), "{said}");
        }
        for said in ["", "QEMU emulator version", "QEMU emulator version x", "bash 5.2"] {
            assert_eq!(version(said), None, "{said}");
        }
    }
}
