//! What a mistyped name may have meant.

use super::all;

const MOST: usize = 3;

/// No event's name is half as long: a longer one is not a mistyped name, and costs no comparison.
const LONGEST: usize = 64;

/// The events whose names come near this one, the nearest first: a few letters wrong, or a part of the name.
pub(super) fn nearest(name: &str) -> Vec<&'static str> {
    nearest_of(name, all().map(|explanation| explanation.event))
}

/// Those of some known names that come near this one, the nearest first and three at most: a few letters wrong, or a part
/// of the name. Upper and lower case are one here, and so are `-`, `_` and a space.
pub fn nearest_of<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed: Vec<u8> = name.bytes().take(LONGEST + 1).map(normal).collect();
    if typed.is_empty() || typed.len() > LONGEST {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|known| {
            let letters: Vec<u8> = known.bytes().map(normal).collect();
            let distance = distance(&typed, &letters);
            let is_part = typed.len() >= 3 && is_part(&typed, &letters);
            (distance <= 2.max(typed.len() / 5) || is_part).then_some((distance, known))
        })
        .collect();
    near.sort_unstable();
    // A name with a letter wrong is what was meant, whatever else holds a part of it.
    let closest = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| closest > 2 || *distance <= closest + 1);
    near.into_iter().take(MOST).map(|(_, name)| name).collect()
}

fn normal(letter: u8) -> u8 {
    match letter {
        b'-' | b' ' => b'_',
        letter => letter.to_ascii_uppercase(),
    }
}

fn is_part(part: &[u8], whole: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// How many letters must be inserted, left out, changed, or swapped with their neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        row.push(i + 1);
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&above, j) + usize::from(letter != other)).min(at(&above, j + 1) + 1);
            least = least.min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter) {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &[&str]) {
        assert_eq!(nearest(name), expected, "{name}");
    }

    #[test]
    fn a_letter_or_two_wrong() {
        check("GUEST_PANIKED", &["GUEST_PANICKED"]);
        check("shutdonw", &["SHUTDOWN"]);
        check("baloon-change", &["BALLOON_CHANGE"]);
        check("VNC_CONECTED", &["VNC_CONNECTED"]);
    }

    #[test]
    fn a_part_of_a_name() {
        check("quorum", &["QUORUM_FAILURE", "QUORUM_REPORT_BAD"]);
        check("panic", &["GUEST_PANICKED"]);
        check("ost", &["ACPI_DEVICE_OST", "NETDEV_VHOST_USER_CONNECTED", "NETDEV_VHOST_USER_DISCONNECTED"]);
    }

    #[test]
    fn any_names_can_be_the_known_ones() {
        assert_eq!(nearest_of("state_dri", ["run-dir", "state-dir"]), ["state-dir"]);
        assert_eq!(nearest_of("x", ["run-dir", "state-dir"]), [""; 0]);
    }

    #[test]
    fn what_comes_near_nothing() {
        check("", &[]);
        check("xyzzy", &[]);
        check(&"A".repeat(1_000_000), &[]);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("ab", "", 2), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
