//! What stands behind the `?` of an address: the filters of `qev log`, by the same names.
//!
//! A parameter that nobody knows is an error that names it: it would be a wish that is not granted.

use super::problem::Problem;
use crate::cli::typo_hints::{self, Finding};
use crate::cli::when;
use crate::daemon::follow::Wanted;
use qev_record::explain::suggest;
use qev_record::{Filter, Kind, plain};
use std::fmt::Display;
use std::str::FromStr;

/// The filters, which every question about records has.
pub(crate) const FILTERS: [&str; 9] =
    ["event", "where", "machine", "severity", "since", "until", "grep", "kind", "others"];

/// The parameters that were not taken yet, in their order.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a query, which may be none.
    pub(crate) fn of(query: Option<&str>) -> Parameters {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Parameters(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Every value of a parameter that may come more than once.
    pub(crate) fn take_all<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, Problem> {
        let taken: Vec<_> = self.0.extract_if(.., |(known, _)| known == name).collect();
        taken.iter().map(|(_, value)| value.parse().map_err(|error| misfit(name, value, &error))).collect()
    }

    /// The value of a parameter that comes once.
    pub(crate) fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        self.take_with(name, |value| value.parse().map_err(|error| misfit(name, value, &error)))
    }

    /// The same, as `read` takes it.
    pub(crate) fn take_with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        let mut values = self.0.extract_if(.., |(known, _)| known == name);
        let first = values.next();
        if values.count() > 0 {
            return Err(Problem::wrong(format!("'{name}' is there more than once: say it once")));
        }
        first.map(|(_, value)| read(&value)).transpose()
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &mut self,
        name: &str,
        allowed: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        self.take_with(name, |value| {
            let number = value.parse().ok().filter(|number| allowed.contains(number));
            number.ok_or_else(|| {
                let [least, most] = [allowed.start(), allowed.end()];
                let bounds = if *most == u64::MAX { String::new() } else { format!(" from {least} to {most}") };
                Problem::wrong(format!("{name}={}: expected a whole number{bounds}", plain::name(value)))
            })
        })
    }

    /// A point in time as `qev log --since` takes it.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<qev_qmp::Timestamp>, Problem> {
        self.take_with(name, |value| when::parse(value).map_err(|error| misfit(name, value, &error)))
    }

    /// One of these words.
    pub(crate) fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        self.take_with(name, |value| {
            let found = words.iter().find(|(word, _)| *word == value);
            found.map(|(_, meant)| *meant).ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Problem::wrong(format!("{name}={}: expected {}", plain::name(value), known.join(" or ")))
            })
        })
    }

    /// The filters.
    pub(crate) fn wanted(&mut self) -> Result<Wanted, Problem> {
        let filter = Filter {
            events: self.take_all("event")?,
            wheres: self.take_all("where")?,
            machines: self.take_all("machine")?,
            severity: self.take("severity")?,
            since: self.time("since")?,
            until: self.time("until")?,
            text: self.take("grep")?,
            ..Filter::default()
        };
        let findings = typo_hints::findings(&filter.events, &filter.wheres);
        for finding in findings {
            if let Finding::Impossible(message) = finding {
                return Err(Problem::wrong(format!("where: {message}")));
            }
        }
        let kinds: Vec<String> = self.take_all("kind")?;
        let kinds = kinds.iter().map(|kind| known_kind(kind)).collect::<Result<_, _>>()?;
        let others = self.one_of("others", &[("true", true), ("false", false)])?.unwrap_or(false);
        Ok(Wanted { filter, others, kinds })
    }

    /// There is nothing else. `known` are those that there could be, beside the filters where these are asked for.
    pub(crate) fn end(self, known: &[&str]) -> Result<(), Problem> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        let near = suggest::nearest_of(name, known.iter().copied());
        let hint = match (near.first(), known) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, []) => "it has none".to_owned(),
            (None, known) => format!("known are {}", known.join(", ")),
        };
        Err(Problem::wrong(format!("there is no parameter '{}' here: {hint}", plain::name(name))))
    }
}

fn misfit(name: &str, value: &str, error: &impl Display) -> Problem {
    Problem::wrong(format!("{name}={}: {error}", plain::name(value)))
}

fn known_kind(name: &str) -> Result<Kind, Problem> {
    match Kind::from(name) {
        Kind::Other(name) => Err(Problem::wrong(format!(
            "kind={}: expected event, attached, detached, gap, state or audit",
            plain::name(&name)
        ))),
        kind => Ok(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(query: &str) -> Result<Wanted, String> {
        let mut parameters = Parameters::of(Some(query));
        let wanted = parameters.wanted();
        wanted.and_then(|wanted| parameters.end(&FILTERS).map(|()| wanted)).map_err(|problem| problem.detail)
    }

    fn check_wrong(query: &str, expected: &str) {
        let detail = wanted(query).unwrap_err();
        assert!(detail.contains(expected), "{query}: {detail}");
    }

    #[test]
    fn the_filters_are_those_of_qev_log() {
        let wanted = wanted(
            "event=GUEST_*&event=STOP&where=data.action%3Dpause&machine=web%2A&severity=warning&since=@1795347310\
             &until=2026-11-22T11:35:10Z&grep=Kernel+panic&kind=gap&kind=audit&others=true",
        )
        .unwrap();
        assert_eq!(wanted.filter.events.len(), 2);
        assert_eq!(wanted.filter.machines, ["web*".parse().unwrap()]);
        assert_eq!(wanted.filter.since.unwrap().seconds, 1_795_347_310);
        assert_eq!(wanted.filter.text, Some("Kernel panic".parse().unwrap()));
        assert_eq!(wanted.kinds, [Kind::Gap, Kind::Audit]);
        assert!(wanted.others);
    }

    #[test]
    fn nothing_said_is_everything() {
        assert_eq!(wanted("").unwrap(), Wanted::default());
        assert_eq!(Parameters::of(None).wanted().unwrap(), Wanted::default());
    }

    #[test]
    fn what_is_not_known_is_told_with_what_was_meant() {
        check_wrong("machines=web1", "there is no parameter 'machines' here: did you mean machine?");
        check_wrong("q=1", "known are event, where, machine");
        check_wrong("since=soon", "since=soon: 'soon' is not a time: expected one such as -1h");
        check_wrong("severity=bad", "severity=bad: ");
        check_wrong("where=pause", "where=pause: ");
        check_wrong("where=data.actual%3E5", "there is no operator >; write 'data.actual=5' or 'data.actual!=5'");
        check_wrong("event=GUEST_PANICKED&where=data.acton=pause", "did you mean data.action?");
        check_wrong("grep=", "grep=: the text to search for is empty");
        check_wrong(&format!("grep={}", "a".repeat(257)), "at most 256 are allowed");
        check_wrong("event=%5B", "event=[: ");
        check_wrong("kind=events", "kind=events: expected event, attached, detached, gap, state or audit");
        check_wrong("since=-1h&since=-2h", "'since' is there more than once");
        check_wrong("others=yes", "others=yes: expected true or false");
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "\\PC{0,60}") {
            let _ = wanted(&query);
        }
    }
}
