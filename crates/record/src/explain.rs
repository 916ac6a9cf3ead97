//! What each event is: when it is emitted, since when, what it carries, how it is throttled, what to do about it.
//!
//! The document's five are explained in full, in the files of [`crate::meaning`]; of every other event QEMU sent up to
//! 10.2 the [`catalogue`](all) has the facts.

mod catalogue;
pub mod compare;
pub mod members;
pub mod suggest;
pub mod types;

use crate::meaning::FIVE;
use crate::plain;
use std::fmt;

/// What is to be known about one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Its name on the wire.
    pub event: &'static str,
    /// The first QEMU that sent it.
    pub since: &'static str,
    /// The last QEMU that sent it; `None` when 10.2 still does.
    pub until: Option<&'static str>,
    /// When it is emitted, to be read behind "emitted when".
    pub emitted: &'static str,
    /// What its data has, as QEMU sends it. For `ACPI_DEVICE_OST` those of its `info` too, which is all that the
    /// document has.
    pub members: &'static [Member],
    /// How QEMU holds it back when there are many.
    pub throttle: Option<Throttle>,
    /// What else is good to know, a paragraph each.
    pub details: &'static [&'static str],
    /// How the document's form differs from QEMU's. The document has the five only.
    pub dialects: Option<&'static str>,
    /// What to do about it, when the data is not at hand; [`crate::advice`] knows more.
    pub advice: Option<&'static str>,
}

/// One member of an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its type as QEMU's schema calls it: `str`, `int`, `bool`, `size`, `uint64`, `any`, or one that [`types::find`]
    /// knows.
    pub kind: &'static str,
    /// Whether it may be absent from a QEMU that knows it.
    pub optional: bool,
    /// The first QEMU that sent it, when that is later than the event itself.
    pub since: Option<&'static str>,
    /// What a number counts: `bytes`, `sectors of 512 bytes`, `seconds`.
    pub unit: Option<&'static str>,
    /// What it means; empty where the name says it.
    pub meaning: &'static str,
}

/// How QEMU holds events back: at most one a second, the first at once, then the last of each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The first QEMU that did so.
    pub since: &'static str,
    /// What is counted apart; `None` when all events of this name of a machine are counted together.
    pub per: Option<&'static str>,
}

/// A member of this name and type, for the tables.
pub(crate) const fn member(name: &'static str, kind: &'static str) -> Member {
    Member { name, kind, optional: false, since: None, unit: None, meaning: "" }
}

impl Member {
    pub(crate) const fn optional(mut self) -> Member {
        self.optional = true;
        self
    }

    pub(crate) const fn since(mut self, version: &'static str) -> Member {
        self.since = Some(version);
        self
    }

    pub(crate) const fn unit(mut self, unit: &'static str) -> Member {
        self.unit = Some(unit);
        self
    }

    pub(crate) const fn says(mut self, meaning: &'static str) -> Member {
        self.meaning = meaning;
        self
    }
}

impl Explanation {
    pub(crate) const fn new(
        event: &'static str,
        since: &'static str,
        emitted: &'static str,
        members: &'static [Member],
    ) -> Explanation {
        Explanation {
            event,
            since,
            until: None,
            emitted,
            members,
            throttle: None,
            details: &[],
            dialects: None,
            advice: None,
        }
    }

    pub(crate) const fn until(mut self, version: &'static str) -> Explanation {
        self.until = Some(version);
        self
    }

    pub(crate) const fn throttled(mut self, since: &'static str, per: Option<&'static str>) -> Explanation {
        self.throttle = Some(Throttle { since, per });
        self
    }

    pub(crate) const fn details(mut self, details: &'static [&'static str]) -> Explanation {
        self.details = details;
        self
    }

    pub(crate) const fn dialects(mut self, dialects: &'static str) -> Explanation {
        self.dialects = Some(dialects);
        self
    }

    pub(crate) const fn advice(mut self, advice: &'static str) -> Explanation {
        self.advice = Some(advice);
        self
    }

    /// The explanation of an event. Upper or lower case, `_` or `-`, as it is easiest to type.
    pub fn for_event(name: &str) -> Option<&'static Explanation> {
        let same = |c: u8, typed: u8| c == typed.to_ascii_uppercase() || (c == b'_' && typed == b'-');
        all().find(|explanation| {
            explanation.event.len() == name.len()
                && explanation.event.bytes().zip(name.bytes()).all(|(c, typed)| same(c, typed))
        })
    }

    /// The same, with an error that suggests what may have been meant.
    ///
    /// # Errors
    ///
    /// When no QEMU up to 10.2 sent an event of this name.
    pub fn find(name: &str) -> Result<&'static Explanation, NoSuchEvent> {
        Explanation::for_event(name)
            .ok_or_else(|| NoSuchEvent { name: name.into(), suggestions: suggest::nearest(name) })
    }
}

/// Every event that is explained: the document's five first, then the rest by name.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    FIVE.into_iter().chain(catalogue::REST)
}

/// No QEMU that qev knows sends an event of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchEvent {
    /// The name that was asked for.
    pub name: Box<str>,
    /// The names that come near it, the nearest first; none when nothing does.
    pub suggestions: Vec<&'static str>,
}

impl fmt::Display for NoSuchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no event {}", plain::name(&self.name))?;
        match self.suggestions.split_last() {
            None => Ok(()),
            Some((only, [])) => write!(f, "; did you mean {only}?"),
            Some((last, others)) => write!(f, "; did you mean {} or {last}?", others.join(", ")),
        }
    }
}

impl std::error::Error for NoSuchEvent {}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::event::name::ALL;
    use std::collections::BTreeSet;

    #[test]
    fn every_event_that_a_qemu_sent_is_explained_once() {
        let explained: Vec<_> = all().map(|explanation| explanation.event).collect();
        let names: BTreeSet<_> = explained.iter().copied().collect();
        assert_eq!(names.len(), explained.len());
        assert_eq!(names, ALL.iter().copied().collect());
    }

    #[test]
    fn the_documents_five_come_first_and_in_full() {
        for explanation in all().take(5) {
            assert!(!explanation.details.is_empty(), "{}", explanation.event);
            assert!(explanation.dialects.is_some() && explanation.advice.is_some(), "{}", explanation.event);
            assert!(explanation.members.iter().all(|member| !member.meaning.is_empty()), "{}", explanation.event);
        }
    }

    #[test]
    fn the_facts_make_sense() {
        for explanation in all() {
            let name = explanation.event;
            let since = version(explanation.since);
            assert!(explanation.until.is_none_or(|until| version(until) >= since), "{name}");
            assert!(explanation.throttle.is_none_or(|throttle| version(throttle.since) >= since), "{name}");
            assert!(!explanation.emitted.is_empty() && !explanation.emitted.ends_with('.'), "{name}");
            let names: BTreeSet<_> = explanation.members.iter().map(|member| member.name).collect();
            assert_eq!(names.len(), explanation.members.len(), "{name}");
            for member in explanation.members {
                assert!(member.since.is_none_or(|v| version(v) > since), "{name}: {}", member.name);
                assert!(types::is_known(member.kind), "{name}: {} is a {}", member.name, member.kind);
            }
        }
    }

    #[test]
    fn every_text_reads_safely_on_a_terminal() {
        for explanation in all() {
            let texts = [explanation.emitted].into_iter().chain(explanation.details.iter().copied());
            let meanings = explanation.members.iter().map(|member| member.meaning);
            for text in texts.chain(meanings).chain(explanation.dialects).chain(explanation.advice) {
                assert!(!text.chars().any(crate::plain::acts) && !text.contains("  "), "{text}");
            }
        }
    }

    fn version(text: &str) -> (u32, u32) {
        let (major, minor) = text.split_once('.').unwrap();
        (major.parse().unwrap(), minor.parse().unwrap())
    }

    #[test]
    fn names_may_be_typed_as_it_is_easiest() {
        for name in ["GUEST_PANICKED", "guest_panicked", "guest-panicked"] {
            assert_eq!(Explanation::for_event(name).map(|e| e.event), Some("GUEST_PANICKED"));
        }
        assert_eq!(Explanation::for_event("panicked"), None);
    }

    #[test]
    fn a_mistyped_name_is_told_what_may_have_been_meant() {
        let error = |name| Explanation::find(name).unwrap_err().to_string();
        assert_eq!(error("GUEST_PANIKED"), "no event GUEST_PANIKED; did you mean GUEST_PANICKED?");
        assert_eq!(error("QUORUM"), "no event QUORUM; did you mean QUORUM_FAILURE or QUORUM_REPORT_BAD?");
        assert_eq!(error("XYZZY"), "no event XYZZY");
        assert_eq!(error("\u{1b}[2J"), r"no event \u{1b}[2J");
    }
}
