//! `/proc/PID/stat`: when a process started, whether it is ending, and the status that it ends with.

use super::fate::Fate;

/// `PF_EXITING` of the kernel's flags: the process is ending.
const EXITING: u64 = 4;

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not begun to end.
    Lives,
    /// It is ending. Its status may be set already: the kernel sets it before it closes the process's files.
    IsEnding,
    /// It has ended, and its parent has not reaped it.
    HasEnded,
}

/// What matters of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) stage: Stage,
    /// In ticks since the host started.
    pub(super) start: u64,
    /// In the form of `wait(2)`. The kernel shows 0 to those who may not trace the process.
    status: u32,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub(super) fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &[u8]) -> Option<Stat> {
        // The second column is a name in parentheses, and may hold anything.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let columns: Vec<&str> = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
        // Counted as proc(5) does, the state is the third.
        let column = |number: usize| columns.get(number - 3).copied();
        let flags: u64 = column(9)?.parse().ok()?;
        let stage = match column(3)? {
            "Z" | "X" | "x" => Stage::HasEnded,
            _ if flags & EXITING != 0 => Stage::IsEnding,
            _ => Stage::Lives,
        };
        Some(Stat { stage, start: column(22)?.parse().ok()?, status: column(52)?.parse().ok()? })
    }

    /// How it ended, or is ending.
    pub(super) fn fate(&self) -> Fate {
        Fate::from_wait_status(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let mut line = b"7 (a) b) Z 1) Z 1 7 7 0 -1 4 ".to_vec();
        let rest: Vec<String> = (10..=52).map(|column| column.to_string()).collect();
        line.extend_from_slice(rest.join(" ").as_bytes());
        let stat = Stat::parse(&line).unwrap();
        assert_eq!(stat, Stat { stage: Stage::HasEnded, start: 22, status: 52 });
        for length in 0..line.len() - 2 {
            assert_eq!(Stat::parse(&line[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn a_process_that_is_ending_is_told_from_one_that_lives() {
        let check = |state: &str, flags: u64, expected: Stage| {
            let line = format!("7 (a) {state} 1 7 7 0 -1 {flags} {}", ["1"; 43].join(" "));
            assert_eq!(Stat::parse(line.as_bytes()).unwrap().stage, expected, "{line}");
        };
        check("S", 0, Stage::Lives);
        check("R", EXITING, Stage::IsEnding);
        check("Z", EXITING, Stage::HasEnded);
    }
}
