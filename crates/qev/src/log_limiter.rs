//! Limits how many lines of the log others can cause: a QEMU that cannot be used dials again every second, and a local user
//! may connect as often as it likes.
//!
//! Lines are counted per origin and kind, and not per text, which a peer chooses.
//!
//! ```text
//!   a new text, fewer than 5 in this window ──► logged
//!   a text that was logged before, or more  ──► counted
//!   the window ends (1 min; twice as long each time, up to 1 h, while lines come) ──► one line with the count
//! ```

use crate::exit::tell;
use qev_record::plain::limited;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Lines of one origin and kind per window; the rest is counted.
const LINES: u64 = 5;

/// How long the first window is, and the longest. An origin and kind of which nothing came for the latter is forgotten.
const WINDOW: Duration = Duration::from_secs(60);
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);

/// How often it is looked whether windows have ended.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Pairs of origin and kind that are counted apart. Further origins are counted as one, [`Origin::Others`].
const KEYS: usize = 1024;

/// Texts of one origin and kind that are recognized when they come again. Then the oldest is forgotten.
const TEXTS: usize = 64;

/// Bytes of one line; what is beyond is cut off.
const LINE_BYTES: usize = 1024;

/// Who or what caused a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Processes of this user.
    User(u32),
    /// Something that the configuration or the command line names: a path, a machine, a libvirt.
    Configured(Arc<str>),
    /// This program itself.
    Qev,
    /// One of those that are too many to be counted apart.
    Others,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::User(uid) => write!(f, "user {uid}"),
            Origin::Configured(name) => f.write_str(name),
            Origin::Qev => f.write_str("qev"),
            Origin::Others => f.write_str("other origins"),
        }
    }
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogKind {
    /// A connection could not be accepted.
    AcceptFailed,
    /// Who dialled in cannot be used as a monitor.
    UnusableDialIn,
    /// A user has as many connections as it may have.
    TooManyDialIns,
    /// A process has as many monitors attached as it may have.
    TooManyMonitors,
    /// A monitor that is connected to cannot be used.
    UnusableMonitor,
    /// What a machine answers about itself is too long.
    AnswerTooLong,
    /// Monitors cannot be looked for.
    CannotLook,
    /// A libvirt, or what it says, cannot be used.
    Libvirt,
    /// A monitor is not shared.
    NotShared,
    /// A monitor will not stay open while the daemon is restarted.
    NotKept,
    /// A client of a shared monitor was turned away or cut off.
    SharedMonitorClient,
    /// A command of a client of a shared monitor was refused.
    RefusedCommand,
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogKind::AcceptFailed => "connections that could not be accepted",
            LogKind::UnusableDialIn => "dial-in connections that are not usable monitors",
            LogKind::TooManyDialIns => "dial-in connections beyond the limit per user",
            LogKind::TooManyMonitors => "monitors beyond the limit per process",
            LogKind::UnusableMonitor => "monitors that cannot be used",
            LogKind::AnswerTooLong => "machines with names or answers that are too long",
            LogKind::CannotLook => "monitors that cannot be looked for",
            LogKind::Libvirt => "problems with libvirt",
            LogKind::NotShared => "monitors that are not shared",
            LogKind::NotKept => "monitors that will not stay open while qev is restarted",
            LogKind::SharedMonitorClient => "clients of shared monitors that were turned away or cut off",
            LogKind::RefusedCommand => "refused commands on shared monitors",
        })
    }
}

/// The log of what others cause.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<(Origin, LogKind), Counted>,
}

/// What came of one origin and kind.
#[derive(Debug)]
struct Counted {
    /// When the window began, and how long it is.
    since: Instant,
    window: Duration,
    /// When the last came.
    last: Instant,
    logged: u64,
    /// Those that were not logged.
    more: u64,
    texts: VecDeque<u64>,
}

impl LogLimiter {
    /// Logs a line, or counts it.
    pub(crate) fn log(&self, origin: Origin, kind: LogKind, line: &str) {
        if self.is_logged(origin, kind, line, Instant::now()) {
            tell(&limited(line, LINE_BYTES));
        }
    }

    /// Says how many lines were counted until now, for the end of the program.
    pub(crate) fn finish(&self) {
        let now = Instant::now();
        for ((origin, kind), counted) in &mut self.lock().keys {
            counted.report(origin, *kind, now).iter().for_each(|line| tell(line));
        }
    }

    fn is_logged(&self, origin: Origin, kind: LogKind, line: &str, now: Instant) -> bool {
        let hash = self.hasher.hash_one(line);
        let mut state = self.lock();
        let mut key = (origin, kind);
        if state.keys.len() >= KEYS && !state.keys.contains_key(&key) {
            key.0 = Origin::Others;
        }
        let counted = state.keys.entry(key).or_insert_with(|| Counted::new(now));
        counted.last = now;
        let is_known = counted.texts.contains(&hash);
        if is_known || counted.logged >= LINES {
            counted.more += 1;
            return false;
        }
        counted.logged += 1;
        if counted.texts.len() >= TEXTS {
            counted.texts.pop_front();
        }
        counted.texts.push_back(hash);
        true
    }

    /// Ends the windows whose time is over, and returns what there is to be said of them.
    fn end_windows(&self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        self.lock().keys.retain(|(origin, kind), counted| {
            if now.saturating_duration_since(counted.since) >= counted.window {
                let was_busy = counted.more > 0;
                lines.extend(counted.report(origin, *kind, now));
                counted.window = if was_busy { (counted.window * 2).min(LONGEST_WINDOW) } else { WINDOW };
                (counted.since, counted.logged) = (now, 0);
            }
            now.saturating_duration_since(counted.last) < LONGEST_WINDOW
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn new(now: Instant) -> Counted {
        Counted { since: now, window: WINDOW, last: now, logged: 0, more: 0, texts: VecDeque::new() }
    }

    /// What was counted and not said yet.
    fn report(&mut self, origin: &Origin, kind: LogKind, now: Instant) -> Option<String> {
        let more = std::mem::take(&mut self.more);
        let minutes = now.saturating_duration_since(self.since).as_secs().div_ceil(60).max(1);
        let time = if minutes == 1 { "minute".to_owned() } else { format!("{minutes} minutes") };
        (more > 0).then(|| format!("{origin}: {more} more in the last {time}: {kind}"))
    }
}

/// Says from time to time how many lines were counted, for as long as the limiter is in use.
pub(crate) async fn report(limiter: Weak<LogLimiter>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(limiter) = limiter.upgrade() else { return };
        limiter.end_windows(Instant::now()).iter().for_each(|line| tell(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: LogKind = LogKind::UnusableDialIn;

    /// Says this many different lines of a user, and returns how many are logged.
    fn say(limiter: &LogLimiter, uid: u32, lines: u32, now: Instant) -> usize {
        (0..lines).filter(|line| limiter.is_logged(Origin::User(uid), KIND, &format!("{line}"), now)).count()
    }

    #[test]
    fn a_flood_of_different_lines_is_counted() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        assert_eq!(say(&limiter, 1000, 20_000, start), 5);
        assert_eq!(say(&limiter, 1001, 3, start), 3, "another user's lines are counted apart");
        assert!(limiter.end_windows(start + Duration::from_secs(59)).is_empty());
        let expected = "user 1000: 19995 more in the last minute: dial-in connections that are not usable monitors";
        assert_eq!(limiter.end_windows(start + WINDOW), [expected]);
        assert!(limiter.end_windows(start + 2 * WINDOW).is_empty(), "it has stopped");
    }

    #[test]
    fn a_line_that_comes_again_is_logged_once_and_reported_ever_less_often() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        let (mut logged, mut reports) = (0, Vec::new());
        for second in 0..24 * 3600 {
            let now = start + Duration::from_secs(second);
            logged += usize::from(limiter.is_logged(Origin::User(1000), KIND, "the same", now));
            reports.extend(limiter.end_windows(now));
        }
        assert_eq!(logged, 1);
        assert!(reports[0].contains(" more in the last minute: "), "{}", reports[0]);
        assert!(reports[1].contains(" 120 more in the last 2 minutes: "), "{}", reports[1]);
        assert!(reports.len() <= 30, "{} reports in a day", reports.len());
    }

    #[test]
    fn a_line_is_news_again_after_a_long_silence() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        assert_eq!(say(&limiter, 1000, 1, start), 1);
        assert_eq!(say(&limiter, 1000, 1, start + WINDOW), 0);
        limiter.end_windows(start + WINDOW + LONGEST_WINDOW);
        assert_eq!(say(&limiter, 1000, 1, start + WINDOW + LONGEST_WINDOW), 1);
    }

    #[test]
    fn many_origins_are_counted_as_one() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        let logged: usize = (0..100_000).map(|uid| say(&limiter, uid, 1, start)).sum();
        assert_eq!(logged, KEYS + 1, "the same text of the others is one");
        assert!(limiter.lock().keys.len() <= KEYS + 1);
    }
}
