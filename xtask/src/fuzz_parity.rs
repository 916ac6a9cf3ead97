//! `cargo xtask fuzz-parity`: the same odd requests to a real QEMU and to `qev simulate`, and every byte of the answers
//! compared, times aside.
//!
//! ```text
//!   seed ─► Round: a setting and what its clients send          (round, request, commands, document, odd, random)
//!             │
//!             ▼            ┌─► qemu-system-x86_64 ─► frames ─┐
//!           Pair ──────────┤                                 ├─► agree, or a Difference        (pair, compare)
//!                          └─► qev simulate ───────► frames ─┘        │
//!                                                                     ▼
//!                                                     the fewest lines that still differ             (shrink)
//! ```
//!
//! Each round has a seed of its own: the first one is the seed given, the next is one more. So the seed that is printed
//! with a difference begins with that round.

mod commands;
mod compare;
mod document;
mod odd;
mod pair;
mod random;
mod request;
mod round;
mod shrink;

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xtask::Error;
use xtask::programs::QEMU;
use xtask::workspace;

use crate::{print, run as run_program};
use compare::{Counts, KEPT};
use pair::{Found, Pair, Programs};
use round::{Round, Session, Setting};

/// How often it is told how far this is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a difference is made smaller.
const SHRINK_FOR: Duration = Duration::from_secs(60);

/// With so many differences there is enough to mend.
const ENOUGH: usize = 10;

/// Compares for so long, in rounds: at least one.
pub(crate) fn run(seconds: u64, seed: Option<u64>) -> Result<(), Error> {
    if env::var_os(workspace::QEV_OVERRIDE).is_none() {
        run_program(workspace::cargo().args(["build", "--workspace"]).args(workspace::same_profile()?))?;
    }
    let programs = Programs { qemu: QEMU.path()?, qev: workspace::qev_program()? };
    let seed = seed.unwrap_or_else(seed_of_now);
    print(&format!("fuzz-parity: {} and {}, seed {seed}", programs.qemu.display(), programs.qev.display()));
    let mut tally = Tally::new();
    let mut next = seed;
    while tally.begin.elapsed() < Duration::from_secs(seconds) || tally.rounds() == 0 {
        tally.round(&programs, next)?;
        next = next.wrapping_add(1);
        if tally.differences >= ENOUGH {
            break;
        }
    }
    tally.summary();
    match tally.differences {
        0 => Ok(()),
        1 => Err(Error::new("QEMU and qev simulate answered differently once")),
        times => Err(Error::new(format!("QEMU and qev simulate answered differently {times} times"))),
    }
}

/// Another one each time, and short enough to be typed.
fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() % 1_000_000) * 1000
}

/// What was compared so far.
#[derive(Debug)]
struct Tally {
    begin: Instant,
    told: Instant,
    lines: u64,
    sessions: u64,
    by_setting: BTreeMap<String, (u64, u64)>,
    kept: Counts,
    differences: usize,
}

impl Tally {
    fn new() -> Tally {
        let now = Instant::now();
        Tally {
            begin: now,
            told: now,
            lines: 0,
            sessions: 0,
            by_setting: BTreeMap::new(),
            kept: Counts::new(),
            differences: 0,
        }
    }

    fn rounds(&self) -> u64 {
        self.by_setting.values().map(|(rounds, _)| rounds).sum()
    }

    /// Plays the round of a seed; a difference ends it.
    fn round(&mut self, programs: &Programs, seed: u64) -> Result<(), Error> {
        let round = Round::new(seed);
        let mut pair = Pair::start(programs, round.setting)?;
        let mut found = None;
        let mut lines = 0;
        let mut played = 0;
        for session in &round.sessions {
            played += 1;
            found = pair.play(session, &mut self.kept)?;
            lines += u64::try_from(session.pieces.len()).unwrap_or(0);
            if found.is_some() {
                break;
            }
        }
        self.lines += lines;
        self.sessions += u64::try_from(played).unwrap_or(0);
        let of_setting = self.by_setting.entry(round.setting.to_string()).or_default();
        *of_setting = (of_setting.0 + 1, of_setting.1 + lines);
        match found {
            None => found = pair.quit(&mut self.kept)?,
            Some(_) => pair.ends()?.iter().for_each(|end| print(&format!("fuzz-parity: {end}"))),
        }
        if let Some(found) = found {
            self.differences += 1;
            let sessions = round.sessions.get(..played).unwrap_or_default();
            report(programs, seed, round.setting, sessions, found)?;
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            print(&self.progress());
        }
        Ok(())
    }

    fn progress(&self) -> String {
        let took = self.begin.elapsed();
        let a_second = u128::from(self.lines) * 1000 / took.as_millis().max(1);
        format!(
            "fuzz-parity: {} s, {} request lines in {} sessions and {} rounds, {a_second} lines a second, {} differences",
            took.as_secs(),
            self.lines,
            self.sessions,
            self.rounds(),
            self.differences
        )
    }

    fn summary(&self) {
        print(&self.progress());
        for (setting, (rounds, lines)) in &self.by_setting {
            print(&format!("    {lines:>10} lines in {rounds} rounds: {setting}"));
        }
        for kept in KEPT {
            let times = self.kept.get(kept.name).copied().unwrap_or(0);
            print(&format!("    {times:>10} times differed on purpose: {}: {}", kept.name, kept.reason));
        }
    }
}

/// Makes a difference as small as it gets, and prints it.
fn report(programs: &Programs, seed: u64, setting: Setting, sessions: &[Session], found: Found) -> Result<(), Error> {
    print(&format!("\nfuzz-parity: a DIFFERENCE, seed {seed} ({setting}); making it smaller"));
    let deadline = Instant::now() + SHRINK_FOR;
    let mut trouble = None;
    let mut last = None;
    let smallest = shrink::smallest(sessions, |fewer| {
        if Instant::now() >= deadline || trouble.is_some() {
            return false;
        }
        match replay(programs, setting, fewer) {
            Ok(None) => false,
            Ok(Some(found)) => {
                last = Some(found);
                true
            }
            Err(error) => {
                trouble = Some(error);
                false
            }
        }
    });
    if let Some(error) = trouble {
        return Err(error);
    }
    let again = last.is_some();
    if !again {
        print("    it did not come again when the same was sent to two fresh machines: as it was then,");
    }
    let found = last.unwrap_or(found);
    let shown =
        if again { smallest.as_slice() } else { sessions.get(sessions.len().saturating_sub(1)..).unwrap_or_default() };
    for (number, session) in shown.iter().enumerate() {
        let how = if session.stepped { "one after the other" } else { "at once" };
        print(&format!("    client {}, {how}:", number + 1));
        for piece in &session.pieces {
            print(&format!("        {}", shortened(piece)));
        }
    }
    let frames = |title: &str, frames: &[Vec<u8>]| {
        print(&format!("    {title}:"));
        frames.iter().take(3).for_each(|frame| print(&format!("        {}", shortened(frame))));
        if frames.is_empty() {
            print("        (nothing)");
        }
    };
    frames("both said", &found.difference.before);
    frames("then QEMU", &found.difference.real);
    frames("then qev", &found.difference.simulated);
    print(&format!("    behind piece {}; again: cargo xtask fuzz-parity --seconds 1 --seed {seed}\n", found.piece + 1));
    Ok(())
}

/// The same to two fresh machines.
fn replay(programs: &Programs, setting: Setting, sessions: &[Session]) -> Result<Option<Found>, Error> {
    let mut pair = Pair::start(programs, setting)?;
    for session in sessions {
        if let Some(found) = pair.play(session, &mut Counts::new())? {
            return Ok(Some(found));
        }
    }
    pair.quit(&mut Counts::new())
}

/// Bytes as a person can read them, on one line.
fn shortened(bytes: &[u8]) -> String {
    const MOST: usize = 1500;
    let shown = bytes.get(..MOST).unwrap_or(bytes).escape_ascii();
    if bytes.len() > MOST { format!("{shown}… ({} bytes)", bytes.len()) } else { shown.to_string() }
}
