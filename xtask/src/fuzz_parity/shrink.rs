//! From a session that shows a difference to the smallest that still does.
//!
//! Halves are left out, then quarters, down to single items: first clients, then what each of them sent, then bytes.

use super::request;
use super::round::Session;

/// The fewest of these items, in their order, with which `differs` is still true. It is taken to be true of all.
pub(super) fn fewest<T: Clone>(items: &[T], mut differs: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut left_out = false;
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let fewer = [kept.get(..at).unwrap_or_default(), kept.get(end..).unwrap_or_default()].concat();
            if differs(&fewer) {
                kept = fewer;
                left_out = true;
            } else {
                at = end;
            }
        }
        // What could be left out may make room for more of that size.
        if !left_out || size > 1 {
            size /= 2;
        }
    }
    kept
}

/// The smallest sessions with which `differs` is still true. It is taken to be true of all.
pub(super) fn smallest(sessions: &[Session], mut differs: impl FnMut(&[Session]) -> bool) -> Vec<Session> {
    // Most often the last client alone shows it.
    let alone = sessions.get(sessions.len().saturating_sub(1)..).unwrap_or_default();
    let mut kept =
        if differs(alone) { alone.to_vec() } else { fewest(sessions, |fewer| !fewer.is_empty() && differs(fewer)) };
    for at in 0..kept.len() {
        let Some(session) = kept.get(at).cloned() else { break };
        let mut with = |pieces: &[Vec<u8>]| {
            let mut sessions = kept.clone();
            if let Some(session) = sessions.get_mut(at) {
                session.pieces = pieces.to_vec();
            }
            differs(&sessions)
        };
        let mut pieces = fewest(&session.pieces, &mut with);
        for number in 0..pieces.len() {
            let Some(piece) = pieces.get(number).filter(|piece| request::may_be_cut(piece)).cloned() else { continue };
            let shorter = fewest(&piece, |bytes| {
                let mut trial = pieces.clone();
                if let Some(piece) = trial.get_mut(number) {
                    *piece = bytes.to_vec();
                }
                request::is_fair(bytes) && with(&trial)
            });
            if let Some(piece) = pieces.get_mut(number) {
                *piece = shorter;
            }
        }
        if let Some(session) = kept.get_mut(at) {
            session.pieces = pieces;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pieces: &[&str]) -> Session {
        Session { stepped: false, pieces: pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect() }
    }

    #[test]
    fn what_is_not_needed_is_left_out() {
        for (needed, expected) in [(&[3][..], &[3][..]), (&[0, 9], &[0, 9]), (&[4, 5, 6], &[4, 5, 6]), (&[], &[])] {
            let mut trials = 0;
            let found = fewest(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], |fewer| {
                trials += 1;
                needed.iter().all(|item| fewer.contains(item))
            });
            assert_eq!(found, expected);
            assert!(trials < 60, "{trials}");
        }
    }

    #[test]
    fn one_line_of_one_client_is_found_and_cut() {
        let sessions = [session(&["a", "b"]), session(&["c", "there is an X in it", "d"])];
        let found = smallest(&sessions, |sessions| {
            sessions.iter().flat_map(|session| &session.pieces).any(|piece| piece.contains(&b'X'))
        });
        assert_eq!(found, [session(&["X"])]);
    }

    #[test]
    fn what_takes_two_clients_keeps_two() {
        let sessions = [session(&["a", "one"]), session(&["b"]), session(&["two", "c"])];
        let has = |sessions: &[Session], what: &str| {
            sessions.iter().flat_map(|session| &session.pieces).any(|piece| piece == what.as_bytes())
        };
        let found = smallest(&sessions, |sessions| has(sessions, "one") && has(sessions, "two"));
        assert_eq!(found, [session(&["one"]), session(&["two"])]);
    }

    #[test]
    fn a_line_that_must_not_be_cut_stays_whole() {
        let line = "{\"execute\": \"object-add\", X}";
        let found = smallest(&[session(&["a", line])], |sessions| {
            sessions.iter().flat_map(|session| &session.pieces).any(|piece| piece.contains(&b'X'))
        });
        assert_eq!(found, [session(&[line])]);
    }
}
