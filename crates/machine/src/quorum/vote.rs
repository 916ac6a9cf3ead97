//! Who wins: the rules by which QEMU's quorum counts votes.
//!
//! Answers with the same content are one version. The version with most votes wins, if it has as many as the threshold;
//! of versions with equally many the one that turned up last, that is whose first child comes latest. Losers are named
//! from the version that turned up last to the first, and within a version from the last child to the first.

/// How a vote went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a, V> {
    /// This answer is right, and these children, by their numbers, are wrong.
    Winner {
        /// The answer that won.
        answer: &'a V,
        /// Who gave another one, in the order in which they are reported.
        losers: Vec<usize>,
    },
    /// No version has enough votes.
    NoQuorum,
}

/// Answers of one content, and who gave them.
struct Version<'a, V> {
    answer: &'a V,
    votes: Vec<usize>,
}

/// Counts the votes of those who answered: the number of each child, and its answer, in the children's order.
pub(crate) fn vote<'a, V: PartialEq>(answers: &[(usize, &'a V)], threshold: usize) -> Outcome<'a, V> {
    let versions = versions(answers);
    let Some(winner) = winner(&versions).filter(|winner| winner.votes.len() >= threshold) else {
        return Outcome::NoQuorum;
    };
    let others = versions.iter().rev().filter(|version| version.answer != winner.answer);
    let losers = others.flat_map(|version| version.votes.iter().rev().copied()).collect();
    Outcome::Winner { answer: winner.answer, losers }
}

/// The error that most of the failed children gave, by the same rules but without a threshold.
pub(crate) fn most_common<E: PartialEq + Copy>(errors: &[E]) -> Option<E> {
    let errors: Vec<_> = errors.iter().enumerate().collect();
    winner(&versions(&errors)).map(|winner| *winner.answer)
}

fn versions<'a, V: PartialEq>(answers: &[(usize, &'a V)]) -> Vec<Version<'a, V>> {
    let mut versions: Vec<Version<'a, V>> = Vec::new();
    for (child, answer) in answers {
        match versions.iter_mut().find(|version| version.answer == *answer) {
            Some(version) => version.votes.push(*child),
            None => versions.push(Version { answer, votes: vec![*child] }),
        }
    }
    versions
}

fn winner<'b, 'a, V>(versions: &'b [Version<'a, V>]) -> Option<&'b Version<'a, V>> {
    // Of equals this gives the last, which is the version that turned up last.
    versions.iter().max_by_key(|version| version.votes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Children's contents as letters, `-` for one that failed; the winner and the losers, or nobody.
    fn check(contents: &str, threshold: usize, expected: Option<(char, &[usize])>) {
        let contents: Vec<char> = contents.chars().collect();
        let answers: Vec<_> = contents.iter().enumerate().filter(|(_, c)| **c != '-').collect();
        let expected = match expected {
            Some((winner, losers)) => {
                let answer = contents.iter().find(|c| **c == winner).unwrap();
                Outcome::Winner { answer, losers: losers.to_vec() }
            }
            None => Outcome::NoQuorum,
        };
        assert_eq!(vote(&answers, threshold), expected, "{contents:?}");
    }

    #[test]
    fn votes_go_as_measured_on_a_real_qemu() {
        check("AAA", 2, Some(('A', &[])));
        check("ABA", 2, Some(('A', &[1])));
        check("ABACA", 2, Some(('A', &[3, 1])));
        check("ABBBA", 2, Some(('B', &[4, 0])));
        check("ABCCC", 2, Some(('C', &[1, 0])));
        check("ABA", 3, None);
        check("ABC", 2, None);
        check("A-B", 2, None);
        check("A-B", 1, Some(('B', &[0])));
    }

    #[test]
    fn a_tie_goes_to_the_version_that_turned_up_last() {
        check("ABBCA", 2, Some(('B', &[3, 4, 0])));
        check("ABAB", 2, Some(('B', &[2, 0])));
        check("ABBA", 2, Some(('B', &[3, 0])));
        check("AB", 1, Some(('B', &[0])));
    }

    #[test]
    fn the_error_of_a_request_is_voted_on_too() {
        assert_eq!(most_common(&["EIO", "ENOSPC"]), Some("ENOSPC"));
        assert_eq!(most_common(&["EIO", "ENOSPC", "ENOSPC"]), Some("ENOSPC"));
        assert_eq!(most_common(&["ENOSPC", "EIO", "ENOSPC"]), Some("ENOSPC"));
        assert_eq!(most_common::<u8>(&[]), None);
    }

    proptest! {
        #[test]
        fn everyone_who_answered_is_counted_once(contents in "[ABC-]{0,12}", threshold in 1_usize..6) {
            let contents: Vec<char> = contents.chars().collect();
            let answers: Vec<_> = contents.iter().enumerate().filter(|(_, c)| **c != '-').collect();
            let votes = |answer: char| answers.iter().filter(|(_, c)| **c == answer).count();
            match vote(&answers, threshold) {
                Outcome::NoQuorum => prop_assert!("ABC".chars().all(|answer| votes(answer) < threshold)),
                Outcome::Winner { answer, losers } => {
                    prop_assert!(votes(*answer) >= threshold);
                    prop_assert!("ABC".chars().all(|other| votes(other) <= votes(*answer)));
                    prop_assert_eq!(losers.len() + votes(*answer), answers.len());
                    prop_assert!(losers.iter().all(|loser| contents[*loser] != *answer));
                }
            }
        }
    }
}
