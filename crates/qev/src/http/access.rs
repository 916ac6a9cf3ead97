//! Who may ask, and how one comes in.
//!
//! ```text
//!   qev page ─► control socket ─► a one-time key ─► /login?token=… ─► a session: a cookie
//!                                 10 minutes, once                    7 days, also over a restart of the daemon
//!   qev page --token NAME ─► the file `tokens` ─► Authorization: Bearer …   until it is revoked
//!   the Unix socket ─► the kernel says who it is
//! ```

pub(crate) mod file;

use crate::exit::tell;
use crate::printer::now;
use axum::http::{HeaderMap, header};
pub(crate) use file::Role;
use file::{Entry, FileError, Hash, SESSION_SECONDS, Secret, Stamp, Tokens, hex};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a one-time key lasts, and how many there may be: the oldest goes for one more.
const KEY_LASTS: Duration = Duration::from_secs(600);
const KEYS: usize = 64;

/// Who asks, once it is known.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) role: Role,
    /// By what; the Unix socket needs nothing.
    hash: Option<Hash>,
}

/// Who asks is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Nothing was shown.
    NoToken,
    /// What was shown is nobody's, or not any more.
    WrongToken,
}

/// The keys, sessions and tokens of a daemon.
#[derive(Debug)]
pub(crate) struct Access {
    tokens: Tokens,
    /// What the cookie is called: one browser may know more daemons of one computer, and cookies do not tell ports apart.
    cookie: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stamp: Option<Stamp>,
    entries: Vec<Entry>,
    keys: VecDeque<Key>,
}

#[derive(Debug)]
struct Key {
    hash: Hash,
    role: Role,
    made: Instant,
}

impl Access {
    /// That of a state directory.
    ///
    /// # Errors
    ///
    /// When its file cannot be read, or says something else.
    pub(crate) fn open(state_dir: &Path) -> Result<Access, FileError> {
        let tokens = Tokens::of(state_dir);
        let stamp = tokens.stamp();
        let entries = tokens.read()?;
        let digest = hex(&Sha256::digest(state_dir.as_os_str().as_encoded_bytes()));
        let cookie = format!("qev-{}", digest.get(..8).unwrap_or_default());
        Ok(Access { tokens, cookie, state: Mutex::new(State { stamp, entries, keys: VecDeque::new() }) })
    }

    /// Whether there is any token that lasts.
    pub(crate) fn has_tokens(&self) -> bool {
        self.current().entries.iter().any(|entry| entry.name.is_some())
    }

    /// A key with which one comes in once.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes.
    pub(crate) fn key(&self, role: Role) -> std::io::Result<Secret> {
        let secret = Secret::new()?;
        let mut state = self.lock();
        if state.keys.len() >= KEYS {
            state.keys.pop_front();
        }
        state.keys.push_back(Key { hash: secret.hash(), role, made: Instant::now() });
        Ok(secret)
    }

    /// Takes a key: it counts once. Nothing when there is none, or it is too old.
    pub(crate) fn take_key(&self, key: &str) -> Option<Role> {
        let hash = Hash::of(key);
        let mut state = self.lock();
        state.keys.retain(|key| key.made.elapsed() < KEY_LASTS);
        let at = state.keys.iter().position(|key| key.hash == hash)?;
        state.keys.remove(at).map(|key| key.role)
    }

    /// Begins a session; its cookie, as a browser is told it. Writes to disk.
    ///
    /// # Errors
    ///
    /// When it cannot be kept.
    pub(crate) fn begin_session(&self, role: Role) -> Result<String, FileError> {
        let random = |source| FileError::Io { path: "/dev/urandom".into(), source };
        let secret = Secret::new().map_err(random)?;
        let entry = Entry { name: None, role, hash: secret.hash(), created: now() };
        self.tokens.change(now(), |entries| entries.push(entry))?;
        let Access { cookie, .. } = self;
        Ok(format!("{cookie}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={SESSION_SECONDS}", secret.reveal()))
    }

    /// Ends the session of whoever this is; what a browser is told then. Writes to disk.
    ///
    /// # Errors
    ///
    /// When that cannot be kept.
    pub(crate) fn end_session(&self, visitor: &Visitor) -> Result<String, FileError> {
        let ends = |entry: &Entry| entry.name.is_none() && Some(&entry.hash) == visitor.hash.as_ref();
        self.tokens.change(now(), |entries| entries.retain(|entry| !ends(entry)))?;
        Ok(format!("{}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0", self.cookie))
    }

    /// Who asks with these headers. A token that is shown counts alone.
    pub(crate) fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, Stranger> {
        let shown = match headers.get(header::AUTHORIZATION) {
            Some(said) => bearer(said.to_str().unwrap_or_default()).ok_or(Stranger::WrongToken)?,
            None => self.cookie_of(headers).ok_or(Stranger::NoToken)?,
        };
        let hash = Hash::of(shown);
        let role = self.role_of(&hash).ok_or(Stranger::WrongToken)?;
        Ok(Visitor { role, hash: Some(hash) })
    }

    /// Whether somebody who was let in still would be.
    pub(crate) fn is_still_in(&self, visitor: &Visitor) -> bool {
        visitor.hash.as_ref().is_none_or(|hash| self.role_of(hash).is_some())
    }

    fn role_of(&self, hash: &Hash) -> Option<Role> {
        let time = now();
        let state = self.current();
        // Hashes are compared, so how long that takes tells nothing about a token.
        state.entries.iter().find(|entry| entry.hash == *hash && entry.lasts(time)).map(|entry| entry.role)
    }

    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }

    /// As the file has it now: to look whether it is another takes a microsecond, and a token that was revoked is at once.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let stamp = self.tokens.stamp();
        if stamp != state.stamp {
            state.stamp = stamp;
            state.entries = self.tokens.read().unwrap_or_else(|error| {
                tell(&format!("nobody comes in over HTTP: {}", crate::daemon::recorder::in_words(&error)));
                Vec::new()
            });
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    /// Who came by the Unix socket: the kernel says who that is, and who let them.
    pub(crate) fn of_socket(uid: u32) -> Visitor {
        Visitor { role: Role::of_user(uid), hash: None }
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(said: &str) -> Option<&str> {
    let (scheme, token) = said.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::Scratch;
    use axum::http::HeaderValue;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    fn by_cookie(access: &Access, cookie: &str) -> Result<Role, Stranger> {
        let pair = cookie.split(';').next().unwrap();
        access.visitor(&with(header::COOKIE, &format!("other=1; {pair}; x"))).map(|visitor| visitor.role)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_opens_once_and_not_for_long() {
        let scratch = Scratch::new();
        let access = Access::open(&scratch.0).unwrap();
        let key = access.key(Role::Operate).unwrap();
        assert_eq!(access.take_key("another"), None);
        assert_eq!(access.take_key(key.reveal()), Some(Role::Operate));
        assert_eq!(access.take_key(key.reveal()), None);
        let late = access.key(Role::Read).unwrap();
        tokio::time::advance(KEY_LASTS).await;
        assert_eq!(access.take_key(late.reveal()), None);
        let first = access.key(Role::Read).unwrap();
        for _ in 0..KEYS {
            access.key(Role::Read).unwrap();
        }
        assert_eq!(access.take_key(first.reveal()), None);
    }

    #[test]
    fn a_session_is_known_to_the_next_daemon_until_it_is_ended() {
        let scratch = Scratch::new();
        let access = Access::open(&scratch.0).unwrap();
        let cookie = access.begin_session(Role::Read).unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=604800"), "{cookie}");
        let next = Access::open(&scratch.0).unwrap();
        assert_eq!(by_cookie(&next, &cookie), Ok(Role::Read));
        let pair = cookie.split(';').next().unwrap();
        let visitor = next.visitor(&with(header::COOKIE, pair)).unwrap();
        assert!(access.is_still_in(&visitor));
        next.end_session(&visitor).unwrap();
        assert!(!access.is_still_in(&visitor));
        assert_eq!(by_cookie(&access, &cookie), Err(Stranger::WrongToken));
    }

    #[test]
    fn a_token_counts_from_when_it_is_in_the_file_until_it_is_not() {
        let scratch = Scratch::new();
        let access = Access::open(&scratch.0).unwrap();
        let secret = Secret::new().unwrap();
        let headers = with(header::AUTHORIZATION, &format!("Bearer {}", secret.reveal()));
        assert_eq!(access.visitor(&headers).err(), Some(Stranger::WrongToken));
        assert!(!access.has_tokens());
        let entry = Entry { name: Some("a".to_owned()), role: Role::Read, hash: secret.hash(), created: now() };
        Tokens::of(&scratch.0).change(now(), |all| all.push(entry)).unwrap();
        assert_eq!(access.visitor(&headers).map(|visitor| visitor.role), Ok(Role::Read));
        assert!(access.has_tokens());
        std::fs::write(scratch.0.join("tokens"), "nonsense\n").unwrap();
        assert_eq!(access.visitor(&headers).err(), Some(Stranger::WrongToken));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let scratch = Scratch::new();
        let access = Access::open(&scratch.0).unwrap();
        assert_eq!(access.visitor(&HeaderMap::new()).err(), Some(Stranger::NoToken));
        for said in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x y"] {
            let headers = with(header::AUTHORIZATION, said);
            assert_eq!(access.visitor(&headers).err(), Some(Stranger::WrongToken), "{said}");
        }
    }
}
