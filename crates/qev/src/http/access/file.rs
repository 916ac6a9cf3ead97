//! The file `tokens` in the state directory: who may ask, a line each. It has hashes of tokens, never a token.
//!
//! ```text
//!   token   grafana  read     HASH  2026-11-22T11:35:10.000000Z        until it is revoked
//!   session -        operate  HASH  2026-11-22T11:35:10.000000Z        a browser that logged in: 7 days
//! ```
//!
//! The daemon and `qev page` both change it, one after the other, each by putting a new file in its place. Tokens are 256
//! bits from the kernel's generator, so a plain SHA-256 of one tells nothing about it.

use qev_journal::{LockError, LockFile, durable};
use qev_qmp::Timestamp;
use qev_record::time::{from_rfc3339, to_rfc3339};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How large the file may be: it is read whole.
const LARGEST: u64 = 1 << 20;

/// How many sessions there may be: the oldest is ended for one more.
pub(crate) const SESSIONS: usize = 256;

/// How many tokens there may be.
pub(crate) const TOKENS: usize = 1024;

/// How long a session lasts at most, in seconds.
pub(crate) const SESSION_SECONDS: i64 = 7 * 24 * 60 * 60;

/// How long a change waits for another one. A change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the name of a token may be.
const LONGEST_NAME: usize = 64;

/// What one may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// See everything, and change nothing.
    Read,
    /// Command machines, too.
    Operate,
}

/// A secret, in hexadecimal digits. It is told once and not kept.
pub(crate) struct Secret(String);

/// What is kept of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hash(String);

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is called; a session has no name.
    pub(crate) name: Option<String>,
    pub(crate) role: Role,
    pub(crate) hash: Hash,
    pub(crate) created: Timestamp,
}

/// The file cannot be read or written, or says something else.
#[derive(Debug)]
pub(crate) enum FileError {
    Io { path: PathBuf, source: io::Error },
    Lock(LockError),
    TooLarge { path: PathBuf },
    Line { path: PathBuf, line: usize },
    Full { path: PathBuf },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io { path, .. } => write!(f, "{} cannot be used", path.display()),
            FileError::Lock(error) => error.fmt(f),
            FileError::TooLarge { path } => write!(f, "{} is larger than {LARGEST} bytes", path.display()),
            FileError::Line { path, line } => write!(
                f,
                "{}, line {line}: expected token or session, a name, read or operate, a hash of 64 digits and a time: mend or \
                 remove the line",
                path.display()
            ),
            FileError::Full { path } => {
                write!(f, "{} has {TOKENS} tokens already: revoke one with qev page --revoke NAME", path.display())
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Io { source, .. } => Some(source),
            FileError::Lock(error) => error.source(),
            _ => None,
        }
    }
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
        }
    }

    /// That of a user of this computer whom the state directory lets in: root and who we are may do everything.
    pub(crate) fn of_user(uid: u32) -> Role {
        let is_ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
        if is_ours { Role::Operate } else { Role::Read }
    }

    /// The role of this name.
    pub(crate) fn named(name: &str) -> Option<Role> {
        [Role::Read, Role::Operate].into_iter().find(|role| role.as_str() == name)
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes.
    pub(crate) fn new() -> io::Result<Secret> {
        let mut bytes = [0; 32];
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        if got < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Secret(hex(&bytes)))
    }

    /// To be told, once.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl Hash {
    /// Of what somebody shows us.
    pub(crate) fn of(secret: &str) -> Hash {
        Hash(hex(&Sha256::digest(secret.as_bytes())))
    }
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a token may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= LONGEST_NAME && name != "-" && name.chars().all(is_part)
}

impl Entry {
    /// Whether it still counts.
    pub(crate) fn lasts(&self, now: Timestamp) -> bool {
        let age = now.seconds.saturating_sub(self.created.seconds);
        self.name.is_some() || age < SESSION_SECONDS
    }

    fn parse(line: &str) -> Option<Entry> {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next()?;
        let name = words.next()?;
        let role = Role::named(words.next()?)?;
        let hash = words.next().filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let created = from_rfc3339(words.next()?)?;
        let name = match kind {
            "token" if is_name(name) => Some(name.to_owned()),
            "session" if name == "-" => None,
            _ => return None,
        };
        words.next().is_none().then(|| Entry { name, role, hash: Hash(hash.to_ascii_lowercase()), created })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.name.as_ref().map_or(("session", "-"), |name| ("token", name));
        let Hash(hash) = &self.hash;
        write!(f, "{kind} {name} {} {hash} {}", self.role.as_str(), to_rfc3339(self.created))
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    state_dir: PathBuf,
    path: PathBuf,
}

/// Tells one state of the file from another: a new one is another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, i64, i64, u64);

impl Tokens {
    /// That of a state directory.
    pub(crate) fn of(state_dir: &Path) -> Tokens {
        Tokens { state_dir: state_dir.to_owned(), path: state_dir.join("tokens") }
    }

    /// The state it is in; `None` when there is none.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let file = std::fs::metadata(&self.path).ok()?;
        Some(Stamp(file.ino(), file.mtime(), file.mtime_nsec(), file.len()))
    }

    /// Everybody who may ask. No file is nobody.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line of it says something else: then nobody is let in by the others.
    pub(crate) fn read(&self) -> Result<Vec<Entry>, FileError> {
        let path = || self.path.clone();
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::Io { path: path(), source }),
            Ok(_) if text.len() > usize::try_from(LARGEST).unwrap_or(usize::MAX) => {
                return Err(FileError::TooLarge { path: path() });
            }
            Ok(_) => {}
        }
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(at, line)| Entry::parse(line).ok_or_else(|| FileError::Line { path: path(), line: at + 1 }))
            .collect()
    }

    /// Changes it, while nobody else does. What has expired goes with it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written; then it is as it was.
    pub(crate) fn change<T>(&self, now: Timestamp, change: impl FnOnce(&mut Vec<Entry>) -> T) -> Result<T, FileError> {
        self.change_within(PATIENCE, now, change)
    }

    /// The same, where another change may take this long.
    fn change_within<T>(
        &self,
        patience: Duration,
        now: Timestamp,
        change: impl FnOnce(&mut Vec<Entry>) -> T,
    ) -> Result<T, FileError> {
        let failed = |source| FileError::Io { path: self.path.clone(), source };
        // The file itself is replaced, and the directory can be locked by everybody who may read it.
        let _lock = LockFile::acquire(&self.state_dir.join("tokens.lock"), patience).map_err(FileError::Lock)?;
        let mut entries = self.read()?;
        let result = change(&mut entries);
        entries.retain(|entry| entry.lasts(now));
        let sessions = entries.iter().filter(|entry| entry.name.is_none()).count();
        let mut too_many = sessions.saturating_sub(SESSIONS);
        // They stand in the order in which they came.
        entries.retain(|entry| {
            let goes = entry.name.is_none() && too_many > 0;
            too_many -= usize::from(goes);
            !goes
        });
        if entries.iter().filter(|entry| entry.name.is_some()).count() > TOKENS {
            return Err(FileError::Full { path: self.path.clone() });
        }
        self.write(&entries).map_err(failed)?;
        Ok(result)
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let new = self.state_dir.join("tokens.new");
        let _ = std::fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        durable::give_to_owner_of_directory(&file, &new)?;
        let mut text =
            String::from("# Who may ask qev over HTTP: qev page makes, lists and revokes. Hashes, no tokens.\n");
        for entry in entries {
            text.push_str(&format!("{entry}\n"));
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        durable::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::Scratch;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: Timestamp = Timestamp { seconds: 1_795_347_310, microseconds: 0 };

    fn entry(name: Option<&str>, secret: &str, created: Timestamp) -> Entry {
        Entry { name: name.map(str::to_owned), role: Role::Read, hash: Hash::of(secret), created }
    }

    #[test]
    fn what_is_written_is_read_and_no_secret_is_in_it() {
        let scratch = Scratch::new();
        let tokens = Tokens::of(&scratch.0);
        assert_eq!(tokens.read().unwrap(), []);
        let secret = Secret::new().unwrap();
        let both = [entry(Some("grafana"), secret.reveal(), NOW), entry(None, "other", NOW)];
        tokens.change(NOW, |entries| entries.extend(both.clone())).unwrap();
        assert_eq!(tokens.read().unwrap(), both);
        let path = scratch.0.join("tokens");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(secret.reveal()));
    }

    #[test]
    fn a_session_lasts_a_week_and_a_token_until_it_is_revoked() {
        let scratch = Scratch::new();
        let tokens = Tokens::of(&scratch.0);
        let old = Timestamp { seconds: NOW.seconds - SESSION_SECONDS, ..NOW };
        let entries = [entry(Some("t"), "1", old), entry(None, "2", old), entry(None, "3", NOW)];
        tokens.change(NOW, |all| all.extend(entries.clone())).unwrap();
        assert_eq!(tokens.read().unwrap(), [entries[0].clone(), entries[2].clone()]);
    }

    #[test]
    fn the_oldest_session_ends_for_one_more() {
        let scratch = Scratch::new();
        let tokens = Tokens::of(&scratch.0);
        let sessions = (0..SESSIONS + 1).map(|n| entry(None, &n.to_string(), NOW));
        tokens.change(NOW, |all| all.extend(sessions)).unwrap();
        tokens.change(NOW, |all| all.push(entry(None, "last", NOW))).unwrap();
        let left = tokens.read().unwrap();
        assert_eq!((left.len(), &left[0].hash), (SESSIONS, &Hash::of("2")));
    }

    #[test]
    fn a_line_that_says_something_else_is_named_and_lets_nobody_in() {
        let scratch = Scratch::new();
        let tokens = Tokens::of(&scratch.0);
        let good = entry(Some("a"), "1", NOW).to_string();
        for wrong in [
            good.replace("read", "write"),
            good.replace("token", "tokens"),
            good.replace(" a ", " - "),
            good.clone() + " more",
            good[..40].to_owned(),
            "token".to_owned(),
        ] {
            std::fs::write(scratch.0.join("tokens"), format!("# comment\n\n{good}\n{wrong}\n")).unwrap();
            let error = tokens.read().unwrap_err().to_string();
            assert!(error.contains("tokens, line 4: expected token or session"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_lock_on_the_directory_is_in_nobodys_way() {
        let scratch = Scratch::new();
        let directory = File::open(&scratch.0).unwrap();
        directory.lock().unwrap();
        let tokens = Tokens::of(&scratch.0);
        tokens.change(NOW, |all| all.push(entry(Some("a"), "1", NOW))).unwrap();
        assert_eq!(tokens.read().unwrap().len(), 1);
        let lock = std::fs::metadata(scratch.0.join("tokens.lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn waiting_for_the_lock_has_a_limit_and_names_the_holder() {
        let scratch = Scratch::new();
        let held = LockFile::acquire(&scratch.0.join("tokens.lock"), Duration::ZERO).unwrap();
        let tokens = Tokens::of(&scratch.0);
        let error = tokens.change_within(Duration::from_millis(20), NOW, |_| ()).unwrap_err().to_string();
        let expected = format!("tokens.lock is locked by process {} (", std::process::id());
        assert!(error.contains(&expected) && error.ends_with("): end that process, or try again later"), "{error}");
        drop(held);
        tokens.change(NOW, |_| ()).unwrap();
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,80}") {
            let _ = Entry::parse(&line);
        }
    }
}
