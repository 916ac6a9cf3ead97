//! The table of `qev machines`: all columns where there is room, fewer on a terminal that is too narrow.
//!
//! | output | columns | note |
//! |---|---|---|
//! | no terminal, or one that is wide enough | all | in its column |
//! | a narrower terminal | as many as fit, from the left | on lines of its own, below its machine |

use crate::daemon::roster::MachineStatus;
use jiff::tz::TimeZone;
use qev_qmp::Timestamp;
use qev_record::plain;

/// How wide a column of what machines call themselves may be, and one of paths: as long as a socket's may be.
const WIDEST: usize = 24;
const PATH: usize = 107;

/// What is told of each machine, and how wide it may be.
const COLUMNS: [(&str, usize); 10] = [
    ("MACHINE", WIDEST),
    ("STATE", WIDEST),
    ("SINCE", WIDEST),
    ("RUN STATE", WIDEST),
    ("EVENTS", WIDEST),
    ("QEMU", WIDEST),
    ("SESSION", WIDEST),
    ("CLIENTS", WIDEST),
    ("SHARED AT", PATH),
    ("NOTE", 0),
];

/// How many of the columns, from the left, a narrow terminal may show.
const NARROW: usize = 8;

/// How many characters of a machine's name are left at least where it has to be cut.
const SHORTEST: usize = 8;

/// What stands before a note that has a line of its own.
const INDENT: &str = "    ";

/// Between two columns.
const SPACE: &str = "  ";

type Row = [String; COLUMNS.len()];

/// The lines of the table. `width` is that of the terminal, if it is shown on one.
pub(super) fn lines(machines: &[MachineStatus], zone: &TimeZone, width: Option<usize>) -> Vec<String> {
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    let rows: Vec<Row> = std::iter::once(head).chain(machines.iter().map(|machine| row(machine, zone))).collect();
    let wide = wide(&rows);
    match width {
        Some(width) if wide.iter().any(|line| length(line) > width) => narrow(&rows, width),
        _ => wide,
    }
}

fn row(machine: &MachineStatus, zone: &TimeZone) -> Row {
    let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| plain::name(text).to_string());
    // A path is of use only when it is whole.
    let path = |path: &str| plain::Plain::new(path, usize::MAX).to_string();
    let (clients, shared_at) = match &machine.share {
        Some(share) => (share.clients.to_string(), path(&share.path)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    [
        text(Some(&machine.machine)),
        machine.state.to_owned(),
        to_the_second(machine.since, zone),
        text(machine.run_state.as_deref()),
        machine.events.to_string(),
        text(machine.qemu.as_deref()),
        text(machine.session.as_deref()),
        clients,
        shared_at,
        machine.note.as_deref().map_or_else(String::new, |note| plain::phrase(note).to_string()),
    ]
}

fn to_the_second(time: Timestamp, zone: &TimeZone) -> String {
    let time = time.micros().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    match time {
        Some(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// How wide each column is.
fn widths(rows: &[Row]) -> [usize; COLUMNS.len()] {
    let mut widths = COLUMNS.map(|_| 0);
    for row in rows {
        for ((width, (_, most)), cell) in widths.iter_mut().zip(COLUMNS).zip(row) {
            *width = length(cell).max(*width).min(most);
        }
    }
    widths
}

/// Every column, and the note in the last one.
fn wide(rows: &[Row]) -> Vec<String> {
    let widths = widths(rows);
    rows.iter().map(|row| joined(row, &widths)).collect()
}

/// Each cell padded to the width of its column.
fn joined<'a>(cells: impl IntoIterator<Item = &'a String>, widths: &[usize]) -> String {
    let cells: Vec<_> = cells.into_iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join(SPACE).trim_end().to_owned()
}

/// As many columns as fit, and the note below.
fn narrow(rows: &[Row], room: usize) -> Vec<String> {
    let mut widths = widths(rows);
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + SPACE.len() * widths.len().saturating_sub(1);
    let fits = |count: &usize| widths.get(..*count).is_some_and(|widths| total(widths) <= room);
    // Name and state are always told: where there is no room for both, the name is cut.
    let count = (2..=NARROW).rev().find(fits).unwrap_or(2);
    let shown = widths.get_mut(..count).unwrap_or_default();
    let too_many = total(shown).saturating_sub(room);
    if let Some(name) = shown.first_mut() {
        *name = name.saturating_sub(too_many).max(SHORTEST.min(*name));
    }
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let mut cells: Vec<String> = row.iter().take(count).cloned().collect();
        if let (Some(name), Some(width)) = (cells.first_mut(), shown.first()) {
            *name = cut(name, *width);
        }
        lines.push(joined(&cells, shown));
        // The head of the column of notes is not needed above a note with a line of its own.
        let note = row.last().filter(|note| number > 0 && !note.is_empty());
        lines.extend(note.into_iter().flat_map(|note| wrapped(note, room)));
    }
    lines
}

fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A text in lines of this width, indented. A word that is longer stays whole: it may be a path.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if length(line) + 1 + length(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, state: &'static str, note: &str) -> MachineStatus {
        let mut machine =
            MachineStatus::not_attached(name, state, Timestamp::from_micros(0), "/run/x".to_owned(), note.to_owned());
        if note.is_empty() {
            machine.note = None;
            machine.run_state = Some("running".into());
            machine.qemu = Some("7.2.22".into());
            machine.session = Some("pid-12345@67890".into());
        }
        machine
    }

    const NOTE: &str =
        "held by another client, process 4711 (libvirtd): qev watch does not take a monitor from anybody";

    fn machines() -> Vec<MachineStatus> {
        vec![machine("web1", "attached", ""), machine("db1", "held", NOTE)]
    }

    #[test]
    fn nothing_is_left_out_or_cut_where_there_is_no_terminal() {
        let lines = lines(&machines(), &TimeZone::UTC, None);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].ends_with("SHARED AT  NOTE"), "{lines:?}");
        assert!(lines[1].contains("pid-12345@67890"), "{lines:?}");
        assert!(lines[2].ends_with(NOTE), "{lines:?}");
        assert_eq!(super::lines(&machines(), &TimeZone::UTC, Some(300)), lines);
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_and_the_note_below() {
        let lines = lines(&machines(), &TimeZone::UTC, Some(80));
        let expected = [
            "MACHINE  STATE     SINCE                RUN STATE  EVENTS  QEMU",
            "web1     attached  1970-01-01 00:00:00  running    0       7.2.22",
            "db1      held      1970-01-01 00:00:00  -          0       -",
            "    held by another client, process 4711 (libvirtd): qev watch does not take a",
            "    monitor from anybody",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn every_line_fits_whatever_the_machines_are_called() {
        let long = "a-machine-with-a-very-long-name";
        let machines = [machine(long, "unresponsive", ""), machine("b", "held", NOTE)];
        for width in 24..200 {
            for line in lines(&machines, &TimeZone::UTC, Some(width)) {
                assert!(length(&line) <= width, "{width}: {line}");
            }
        }
        let narrow = lines(&machines, &TimeZone::UTC, Some(30));
        assert_eq!(narrow[1], "a-machine-with-…  unresponsive");
    }
}
