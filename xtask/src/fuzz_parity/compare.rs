//! Whether two machines said the same: frame by frame, byte by byte, but for the time.
//!
//! What differs on purpose is listed here ([`KEPT`]), each as narrow as can be, with its reason; it is counted, and
//! nothing else is let pass.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What one machine said to a piece or a session.
pub(super) type Frames = Vec<Vec<u8>>;

/// A difference that is meant to be.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
    /// Whether this is all that makes the two frames differ.
    is_all: fn(real: &[u8], simulated: &[u8]) -> bool,
}

/// All differences that are meant to be.
pub(super) const KEPT: &[Kept] = &[Kept {
    name: "package",
    reason: "the version names qev as the package, so that nobody takes a simulated machine for a QEMU by mistake",
    is_all: only_the_package_differs,
}];

/// How often each of [`KEPT`] was met.
pub(super) type Counts = BTreeMap<&'static str, u64>;

/// What the two said where they do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What came before on both sides, at most a few.
    pub(super) before: Frames,
    pub(super) real: Frames,
    pub(super) simulated: Frames,
}

/// How many frames of agreement are shown before a difference.
const BEFORE: usize = 2;

/// Compares; `None` when they agree. With `any_order` the frames are compared as a set, for where QEMU's order is a race.
pub(super) fn difference(
    real: &Frames,
    simulated: &Frames,
    any_order: bool,
    counts: &mut Counts,
) -> Option<Difference> {
    let (mut real, mut simulated) = (real.clone(), simulated.clone());
    if any_order {
        real.sort_by(|a, b| timeless(a).cmp(&timeless(b)));
        simulated.sort_by(|a, b| timeless(a).cmp(&timeless(b)));
    }
    let differing = real.iter().zip(&simulated).position(|(real, simulated)| !agree(real, simulated, counts));
    let from = match differing {
        Some(at) => at,
        None if real.len() == simulated.len() => return None,
        None => real.len().min(simulated.len()),
    };
    let before = real.get(from.saturating_sub(BEFORE)..from).unwrap_or_default().to_vec();
    Some(Difference { before, real: real.split_off(from), simulated: simulated.split_off(from) })
}

fn agree(real: &[u8], simulated: &[u8], counts: &mut Counts) -> bool {
    let (real, simulated) = (timeless(real), timeless(simulated));
    if real == simulated {
        return true;
    }
    let kept = KEPT.iter().find(|kept| (kept.is_all)(&real, &simulated));
    if let Some(kept) = kept {
        *counts.entry(kept.name).or_default() += 1;
    }
    kept.is_some()
}

/// An event without its time; anything else as it is.
fn timeless(frame: &[u8]) -> Cow<'_, [u8]> {
    let first = frame.iter().position(|byte| !b"{\r\n ".contains(byte));
    if !first.and_then(|at| frame.get(at..)).is_some_and(|text| text.starts_with(b"\"timestamp\": {")) {
        return frame.into();
    }
    let Some(end) = frame.iter().position(|&byte| byte == b'}') else { return frame.into() };
    let (time, rest) = frame.split_at(end);
    let mut timeless: Vec<u8> = Vec::with_capacity(frame.len());
    for &byte in time {
        match byte {
            b'0'..=b'9' if timeless.last() == Some(&b'#') => {}
            b'0'..=b'9' => timeless.push(b'#'),
            _ => timeless.push(byte),
        }
    }
    timeless.extend_from_slice(rest);
    timeless.into()
}

/// The greeting, `query-version` and `info version` name the package, behind the version number.
fn only_the_package_differs(real: &[u8], simulated: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [b"\"package\": \"", b"\"return\": \"7.2.22"];
    NAMES.iter().any(|name| {
        let Some(at) = real.windows(name.len()).position(|window| window == *name) else { return false };
        let (Some(head), Some(others)) =
            (real.get(..at + name.len()), simulated.strip_prefix(real.get(..at + name.len()).unwrap_or_default()))
        else {
            return false;
        };
        let rest = |text: &[u8]| {
            text.iter().position(|&byte| matches!(byte, b'"' | b'\\')).map(|end| text.split_at(end).1.to_vec())
        };
        let package = real.get(head.len()..).unwrap_or_default();
        others.starts_with(b"qev ") && rest(package).is_some() && rest(package) == rest(others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(frames: &[&str]) -> Frames {
        frames.iter().map(|frame| frame.as_bytes().to_vec()).collect()
    }

    fn check(real: &[&str], simulated: &[&str], any_order: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let found = difference(&frames(real), &frames(simulated), any_order, &mut Counts::new())?;
        Some((found.real.concat(), found.simulated.concat()))
    }

    #[test]
    fn a_byte_that_differs_is_found() {
        assert_eq!(check(&["{\"return\": {}}", "a"], &["{\"return\": {}}", "a"], false), None);
        assert_eq!(
            check(&["x", "{\"return\": 1}"], &["x", "{\"return\": 2}"], false),
            Some((b"{\"return\": 1}".to_vec(), b"{\"return\": 2}".to_vec()))
        );
        // A space is a byte.
        assert!(check(&["{\"return\":1}"], &["{\"return\": 1}"], false).is_some());
    }

    #[test]
    fn a_frame_too_many_is_found() {
        assert_eq!(check(&["a", "b"], &["a"], false), Some((b"b".to_vec(), vec![])));
        assert_eq!(check(&[], &["a"], true), Some((vec![], b"a".to_vec())));
    }

    #[test]
    fn order_counts_but_where_it_is_a_race() {
        assert!(check(&["a", "b"], &["b", "a"], false).is_some());
        assert_eq!(check(&["a", "b"], &["b", "a"], true), None);
        assert!(check(&["a", "b"], &["b", "b"], true).is_some());
    }

    #[test]
    fn only_the_time_of_an_event_may_differ() {
        let event = |seconds, name| {
            format!("{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": 5}}, \"event\": \"{name}\"}}")
        };
        assert_eq!(check(&[&event(1, "STOP")], &[&event(22, "STOP")], false), None);
        assert!(check(&[&event(1, "STOP")], &[&event(1, "RESUME")], false).is_some());
        // Somebody's id that looks like a time is none.
        assert!(
            check(
                &["{\"id\": {\"timestamp\": {\"seconds\": 1}}}"],
                &["{\"id\": {\"timestamp\": {\"seconds\": 2}}}"],
                false
            )
            .is_some()
        );
        let pretty = |seconds| {
            format!(
                "{{\r\n    \"timestamp\": {{\r\n        \"seconds\": {seconds}\r\n    }},\r\n    \"event\": \"STOP\"\r\n}}"
            )
        };
        assert_eq!(check(&[&pretty(1)], &[&pretty(2)], false), None);
    }

    #[test]
    fn the_package_is_let_pass_and_counted_and_nothing_beside_it() {
        let mut counts = Counts::new();
        let version =
            |package: &str, id: u8| frames(&[&format!("{{\"return\": {{\"package\": \"{package}\"}}, \"id\": {id}}}")]);
        assert_eq!(difference(&version("Debian", 1), &version("qev 0.1.0", 1), false, &mut counts), None);
        assert_eq!(counts.get("package"), Some(&1));
        assert!(difference(&version("Debian", 1), &version("qev 0.1.0", 2), false, &mut counts).is_some());
        assert!(difference(&version("Debian", 1), &version("other", 1), false, &mut counts).is_some());
        assert_eq!(
            check(&["{\"return\": \"7.2.22Debian\\r\\n\"}"], &["{\"return\": \"7.2.22qev 0.1.0\\r\\n\"}"], false),
            None
        );
    }
}
