//! The Python client `qemu.qmp`, a peer that the tests hold qev against, in an environment of its own in `target/lab`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::Error;
use xtask::error::Context;
use xtask::fetch::patiently;
use xtask::programs::{PYTHON, PYTHON_VENV, output_of};
use xtask::workspace;

use crate::{print, run};

const PACKAGE: &str = "qemu.qmp";
const VERSION: &str = "0.0.6";

/// Makes the environment if it is not there yet, and gives its Python.
pub(crate) fn prepare() -> Result<PathBuf, Error> {
    let folder = workspace::lab_cache()?.join("venv");
    let python = folder.join("bin").join("python");
    if installed_version(&python).is_ok_and(|version| version == VERSION) {
        print(&format!("{PACKAGE} {VERSION} is in {} (cached)", folder.display()));
        return Ok(python);
    }
    PYTHON_VENV.path()?;
    fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
    // Whatever is there is half-made, of another version, or of a Python that is gone.
    run(Command::new(PYTHON.path()?).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let wanted = format!("{PACKAGE}=={VERSION}");
    let arguments = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", &wanted];
    patiently(&print, "pip install", |_| run(Command::new(&python).args(arguments)))?;
    match installed_version(&python)? {
        version if version == VERSION => Ok(python),
        version => Err(Error::new(format!("asked pip for {wanted}, got version {version}"))),
    }
}

fn installed_version(python: &Path) -> Result<String, Error> {
    let question = format!("import importlib.metadata as m, {PACKAGE}; print(m.version('{PACKAGE}'))");
    output_of(Command::new(python).args(["-c", &question])).map(|version| version.trim().to_owned())
}
