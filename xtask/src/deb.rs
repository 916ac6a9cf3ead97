//! A Debian package of qev: the program, its units, its pages, an example of a configuration.
//!
//! ```text
//!   qev (release) ─┐
//!   contrib/       ├─► a tree of files ─► control files ─► dpkg-deb ─► qev_0.1.0-1_amd64.deb
//!   qev man,       │   (tree)             (control)
//!   completions   ─┘
//! ```
//!
//! Two packages of one program and one commit are the same to the byte: every file has the commit's time, or that of
//! `SOURCE_DATE_EPOCH`, and belongs to root.

mod control;
mod tree;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error};
use crate::lab::scratch::Scratch;
use crate::programs::{DPKG_DEB, DPKG_SHLIBDEPS, STRIP, output_of};
use crate::workspace;
use tree::Tree;

/// Where the project's other files lie, under the workspace's root.
const CONTRIB: &str = "contrib";

/// The package's revision of this version of qev.
const REVISION: u32 = 1;

/// Builds the package of a program and puts it into a folder; gives its path.
pub fn build(program: &Path, into: &Path) -> Result<PathBuf, Error> {
    let scratch = Scratch::new()?;
    let time = time()?;
    let mut tree = Tree::new(scratch.file("root"));
    files(&mut tree, program, &scratch, time)?;
    let architecture = output_of(Command::new("dpkg").arg("--print-architecture"))?;
    let package = control::Package {
        version: version(),
        architecture: architecture.trim().to_owned(),
        depends: shared_libraries(&tree.path("usr/bin/qev"), &scratch)?,
    };
    control::write(&mut tree, &package)?;
    let folder = into.canonicalize().or_else(|_| fs::create_dir_all(into).and_then(|()| into.canonicalize()));
    let folder = folder.context(|| format!("cannot make {}", into.display()))?;
    let deb = folder.join(format!("qev_{}_{}.deb", package.version, package.architecture));
    let mut pack = Command::new(DPKG_DEB.path()?);
    pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(tree.root()).arg(&deb);
    output_of(pack.env("SOURCE_DATE_EPOCH", time.to_string()))?;
    Ok(deb)
}

/// Builds the program for a package: in release, with no path of the machine that builds it.
pub fn program() -> Result<PathBuf, Error> {
    let target = workspace::target_dir()?;
    let (mut flags, mut of_c) = (env::var("RUSTFLAGS").unwrap_or_default(), env::var("CFLAGS").unwrap_or_default());
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    for (from, to) in [(home.as_deref(), "/usr/src/cargo"), (Some(workspace::root()), "/usr/src/qev")] {
        if let Some(from) = from {
            flags.push_str(&format!(" --remap-path-prefix={}={to}", from.display()));
            of_c.push_str(&format!(" -ffile-prefix-map={}={to}", from.display()));
        }
    }
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--locked", "-p", "qev", "--target-dir"]).arg(&target);
    build.env("RUSTFLAGS", flags).env("CFLAGS", of_c);
    output_of(&mut build)?;
    Ok(target.join("release").join("qev"))
}

fn version() -> String {
    format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"))
}

/// The time that every file has, in seconds since 1970.
fn time() -> Result<u64, Error> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output_of(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()))
            .map_err(|error| Error::because("without git, set SOURCE_DATE_EPOCH to the time of the source", error))?,
    };
    text.trim().parse().context(|| format!("SOURCE_DATE_EPOCH is '{}', no number of seconds", text.trim()))
}

/// Everything that is installed.
fn files(tree: &mut Tree, program: &Path, scratch: &Scratch, time: u64) -> Result<(), Error> {
    let contrib = workspace::root().join(CONTRIB);
    tree.copy(program, "usr/bin/qev", 0o755)?;
    output_of(
        Command::new(STRIP.path()?)
            .args(["--strip-unneeded", "--remove-section=.comment"])
            .arg(tree.path("usr/bin/qev")),
    )?;
    for unit in ["qev.service", "qev-attach.socket"] {
        tree.copy(&contrib.join("systemd").join(unit), &format!("lib/systemd/system/{unit}"), 0o644)?;
    }
    tree.copy(&contrib.join("sysusers.conf"), "usr/lib/sysusers.d/qev.conf", 0o644)?;
    tree.copy(&contrib.join("tmpfiles.conf"), "usr/lib/tmpfiles.d/qev.conf", 0o644)?;
    tree.copy(&contrib.join("config.toml"), "etc/qev/config.toml", 0o644)?;
    for (folder, file) in [("prometheus", "qev.rules.yml"), ("prometheus", "prometheus.yml"), ("grafana", "qev.json")] {
        let to = format!("usr/share/doc/qev/examples/{folder}/{file}");
        tree.copy(&contrib.join(folder).join(file), &to, 0o644)?;
    }
    tree.copy(&contrib.join("deb").join("copyright"), "usr/share/doc/qev/copyright", 0o644)?;
    tree.compress(&workspace::root().join("CHANGELOG.md"), "usr/share/doc/qev/changelog")?;
    let changelog = scratch.file("changelog");
    tree::write(&changelog, &control::changelog(&version(), time)?)?;
    tree.compress(&changelog, "usr/share/doc/qev/changelog.Debian")?;
    pages(tree, program, scratch)
}

/// The manual's pages and the shells' completions, which the program itself makes.
fn pages(tree: &mut Tree, program: &Path, scratch: &Scratch) -> Result<(), Error> {
    let man = scratch.file("man");
    fs::create_dir_all(&man).context(|| format!("cannot make {}", man.display()))?;
    output_of(Command::new(program).args(["man", "--dir"]).arg(&man))?;
    for page in tree::files_in(&man)? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tree.compress(&page, &format!("usr/share/man/man1/{name}"))?;
    }
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/qev"),
        ("zsh", "usr/share/zsh/vendor-completions/_qev"),
        ("fish", "usr/share/fish/vendor_completions.d/qev.fish"),
    ] {
        let script = output_of(Command::new(program).args(["completions", shell]))?;
        tree.write(place, &script, 0o644)?;
    }
    Ok(())
}

/// The packages of the libraries that the program is linked to, in the versions that it needs: `libc6 (>= 2.34), …`.
fn shared_libraries(program: &Path, scratch: &Scratch) -> Result<String, Error> {
    // dpkg-shlibdeps wants to be in a source package.
    let source = scratch.file("source");
    let debian = source.join("debian");
    fs::create_dir_all(&debian).context(|| format!("cannot make {}", debian.display()))?;
    tree::write(&debian.join("control"), "Source: qev\n\nPackage: qev\nArchitecture: any\n")?;
    let mut ask = Command::new(DPKG_SHLIBDEPS.path()?);
    ask.args(["-O", "-e"]).arg(program).current_dir(&source);
    let answer = output_of(&mut ask)?;
    let depends = answer.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    depends
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("dpkg-shlibdeps said nothing of shlibs:Depends, but: {}", answer.trim())))
}
