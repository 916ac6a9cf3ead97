//! A round: one machine's configuration, and what its clients send one after the other. All of it comes from a seed.

use super::random::Random;
use super::request::{self, Allowed};
use std::fmt;

/// How the two machines of a round are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) machine: MachineKind,
    /// Messages are spread over lines.
    pub(super) pretty: bool,
    /// `cont` is among what is sent.
    pub(super) runs: bool,
}

/// What a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MachineKind {
    /// A `pc` without any device.
    Bare,
    /// A `q35` with a balloon, slots for DIMMs, a quorum, a name and a UUID.
    Equipped,
}

impl fmt::Display for MachineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MachineKind::Bare => "bare pc",
            MachineKind::Equipped => "q35 with balloon, DIMM slots and quorum",
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pretty = if self.pretty { ", pretty" } else { "" };
        let runs = if self.runs { ", runs at times" } else { "" };
        write!(f, "{}{pretty}{runs}", self.machine)
    }
}

/// What one client sends, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Each piece waits for its answer; otherwise all are sent at once.
    pub(super) stepped: bool,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// One pair of machines and the clients that come to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) setting: Setting,
    pub(super) sessions: Vec<Session>,
}

/// How many clients come to a pair of machines.
const SESSIONS: usize = 24;

const NEGOTIATE: &[u8] = b"{\"execute\": \"qmp_capabilities\"}\n";
const NEGOTIATE_OOB: &[u8] = b"{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}\n";

impl Round {
    /// The round of this seed.
    pub(super) fn new(seed: u64) -> Round {
        let mut random = Random::new(seed);
        let machine = if random.one_in(2) { MachineKind::Equipped } else { MachineKind::Bare };
        // A guest without an operating system would act on devices in its own way.
        let runs = machine == MachineKind::Bare && random.one_in(3);
        let setting = Setting { machine, pretty: random.one_in(6), runs };
        let mut sessions: Vec<_> = (0..SESSIONS).map(|_| session(&mut random, setting)).collect();
        if machine == MachineKind::Equipped {
            let pieces = [vec![NEGOTIATE.to_vec()], request::spoilt_reads()].concat();
            let at = random.below(sessions.len());
            sessions.insert(at, Session { stepped: false, pieces });
        }
        Round { setting, sessions }
    }
}

fn session(random: &mut Random, setting: Setting) -> Session {
    let runs = setting.runs;
    let kind = random.below(10);
    let (first, allowed) = match kind {
        // With it enabled, two threads of QEMU race for the next answer: so the next is not asked for before it is there.
        // And what gives many errors at once may end QEMU 7.2 (an assertion in `handle_qmp_command`).
        0 | 1 => (Some(NEGOTIATE_OOB), Allowed { runs, stepped: true, oob: true, broken: false }),
        2 => (Some(NEGOTIATE), Allowed { runs, stepped: true, oob: true, broken: true }),
        // Who has not negotiated may do so at any time: whether it is to enable it is seen to below.
        3 => (None, Allowed { runs, stepped: false, oob: false, broken: true }),
        _ => (Some(NEGOTIATE), Allowed { runs, stepped: false, oob: true, broken: true }),
    };
    let mut pieces: Vec<_> = first.into_iter().map(<[u8]>::to_vec).collect();
    let count = if allowed.stepped { random.between(5, 25) } else { random.between(20, 80) };
    pieces.extend((0..count).map(|_| request::piece(random, allowed)));
    if first.is_none() {
        pieces.retain(|piece| !piece.windows(3).any(|window| window == b"oob"));
    }
    Session { stepped: allowed.stepped, pieces }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_round_and_another_seed_another() {
        assert_eq!(Round::new(7), Round::new(7));
        assert_ne!(Round::new(7).sessions, Round::new(8).sessions);
    }

    #[test]
    fn every_setting_and_every_kind_of_session_comes() {
        let rounds: Vec<_> = (0..200).map(Round::new).collect();
        for expected in
            ["bare pc", "bare pc, pretty", "bare pc, runs at times", "q35 with balloon, DIMM slots and quorum"]
        {
            assert!(rounds.iter().any(|round| round.setting.to_string() == expected), "{expected}");
        }
        let sessions = || rounds.iter().flat_map(|round| &round.sessions);
        assert!(sessions().any(|session| session.stepped && session.pieces[0] == NEGOTIATE_OOB));
        assert!(sessions().any(|session| !session.stepped && session.pieces[0] != NEGOTIATE));
        assert!(rounds.iter().all(|round| !(round.setting.runs && round.setting.machine == MachineKind::Equipped)));
    }
}
