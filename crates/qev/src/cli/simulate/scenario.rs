//! Scenarios: what happens to a machine, as JSON Lines in a file. `docs/scenario.md` describes the format.
//!
//! The whole file is read and checked before the machine starts: nobody should wait an hour for a slip in its last line.
//! Four scenarios are part of the program, under `crates/qev/scenarios/`.

pub(crate) mod images;
mod line;
#[cfg(test)]
mod tests;

use crate::exit::{Exit, Failure};
use crate::simulated::script::{Beginning, Script, Step};
use images::{ImageFile, Images};
use line::{Line, LineError, Names};
use qev_machine::{DiskConfig, MachineConfig, Memory, PanicPolicy, QuorumConfig, Smp, WatchdogModel, WatchdogPolicy};
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// The scenarios that come with the program.
const SHIPPED: [(&str, &str); 4] = [
    ("calm-day", include_str!("../../../scenarios/calm-day.jsonl")),
    ("crashing-guest", include_str!("../../../scenarios/crashing-guest.jsonl")),
    ("dying-disk", include_str!("../../../scenarios/dying-disk.jsonl")),
    ("memory-that-will-not-unplug", include_str!("../../../scenarios/memory-that-will-not-unplug.jsonl")),
];

/// How large a scenario may be, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// A scenario that was read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    name: Arc<str>,
    beginning: Beginning,
    machine: MachineOptions,
    steps: Arc<[Step]>,
}

/// What a scenario says about the machine that it needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct MachineOptions {
    memory: Option<Memory>,
    smp: Option<Smp>,
    balloon: bool,
    panic: Option<PanicPolicy>,
    watchdog: Option<WatchdogModel>,
    watchdog_action: Option<WatchdogPolicy>,
    disks: Vec<DiskConfig>,
    quorums: Vec<QuorumConfig>,
    images: Vec<ImageFile>,
}

/// Why there is no scenario to be played.
#[derive(Debug)]
enum ScenarioError {
    NoSuch,
    Empty,
    TooLarge,
    Unreadable(std::io::Error),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScenarioError::NoSuch => {
                let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
                write!(f, "no such scenario: expected the path of a file, or one of {}", names.join(", "))
            }
            ScenarioError::Empty => f.write_str(
                "no line has a command: expected lines such as {\"at\": 1.5, \"guest\": \"panic\"} \
                 (docs/scenario.md has them all)",
            ),
            ScenarioError::Unreadable(_) => {
                f.write_str("cannot be read: expected a file of JSON Lines (docs/scenario.md describes them)")
            }
            ScenarioError::TooLarge => write!(f, "larger than {} MiB: make several scenarios of it", MAX_SIZE >> 20),
        }
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ScenarioError::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl Scenario {
    /// Reads the scenario of this name or in this file.
    pub(super) fn find(wanted: &Path) -> Result<Scenario, Failure> {
        let name = wanted.display().to_string();
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Scenario::parse(&name, text);
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(wanted).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
        match read {
            Ok(size) if size as u64 > MAX_SIZE => Err(Failure::usage(ScenarioError::TooLarge).about(name)),
            Ok(_) => Scenario::parse(&name, &String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::usage(ScenarioError::NoSuch).about(name))
            }
            Err(error) => Err(Failure::usage(ScenarioError::Unreadable(error)).about(name)),
        }
    }

    /// Reads and checks every line.
    fn parse(name: &str, text: &str) -> Result<Scenario, Failure> {
        let names = Names::known();
        let mut scenario = Scenario {
            name: name.into(),
            beginning: Beginning::default(),
            machine: MachineOptions::default(),
            steps: Arc::default(),
        };
        let mut steps: Vec<Step> = Vec::new();
        let mut first = true;
        for (number, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let bad = |error: LineError| Failure::usage(error).about(format_args!("{name}, line {number}"));
            match line::parse(text, &names).map_err(bad)? {
                Line::Machine { .. } if !first => return Err(bad(LineError::NotFirst)),
                Line::Machine { beginning, options } => {
                    scenario.beginning = beginning;
                    scenario.machine = *options;
                }
                Line::Step(step) => {
                    if let Some(last) = steps.last().filter(|last| last.at > step.at) {
                        return Err(bad(LineError::Backwards { at: step.at, before: last.at, line: last.line }));
                    }
                    steps.push(Step { line: number, ..*step });
                }
            }
            first = false;
        }
        if steps.is_empty() {
            return Err(Failure::usage(ScenarioError::Empty).about(name));
        }
        scenario.steps = steps.into();
        Ok(scenario)
    }

    /// Makes the machine what the scenario needs, and the images that go with it.
    pub(super) fn configure(&self, config: &mut MachineConfig) -> Result<Option<Images>, Failure> {
        let MachineOptions { memory, smp, balloon, panic, watchdog, watchdog_action, disks, quorums, images } =
            &self.machine;
        config.memory = memory.unwrap_or(config.memory);
        config.smp = smp.unwrap_or(config.smp);
        config.balloon |= balloon;
        config.panic = panic.unwrap_or(config.panic);
        config.watchdog = watchdog.or(config.watchdog);
        config.watchdog_action = watchdog_action.unwrap_or(config.watchdog_action);
        config.disks.clone_from(disks);
        config.quorums.clone_from(quorums);
        Images::make(images, &mut config.quorums)
            .map_err(|error| Failure::new(Exit::Failed, error).about("making the scenario's images"))
    }

    /// What one machine plays.
    pub(super) fn script(&self) -> Script {
        Script::new(Arc::clone(&self.name), Arc::clone(&self.steps), self.beginning)
    }

    /// How many files each machine has open for it.
    pub(super) fn files(&self) -> usize {
        self.machine.quorums.iter().map(|quorum| quorum.children.len()).sum()
    }

    /// Whether several machines would write to the same files.
    pub(super) fn shares_files(&self) -> bool {
        let mut children = self.machine.quorums.iter().flat_map(|quorum| &quorum.children);
        children.any(|child| !self.machine.images.iter().any(|image| image.is(&child.path)))
    }
}
