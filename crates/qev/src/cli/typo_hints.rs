//! Names of events, names of members and values that no record has. A condition with such a name is never met, and a test
//! that waits for it to fail passes for ever.
//!
//! QEMU may be newer than qev. So most findings are warnings; only a condition that no record of the selected events can
//! meet, by a catalogue that has each of these events, is an error.

use crate::exit::{Failure, tell};
use qev_record::explain::members::{self, Lookup};
use qev_record::explain::suggest::nearest_of;
use qev_record::filter::{Glob, Where};
use qev_record::record::MEMBERS;
use qev_record::{Explanation, Severity, explain, plain};
use std::collections::BTreeSet;

/// How many names a hint lists.
const LISTED: usize = 8;

/// The kinds of records.
const KINDS: [&str; 6] = ["event", "attached", "detached", "gap", "state", "audit"];

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A newer QEMU may know it.
    Warning(String),
    /// No record can meet the condition.
    Impossible(String),
}

/// Tells of what is not known on standard error, a line each.
///
/// # Errors
///
/// When no record of these events can meet one of the conditions.
pub(crate) fn check<'a>(events: impl IntoIterator<Item = &'a Glob>, wheres: &[Where]) -> Result<(), Failure> {
    let mut impossible = None;
    for finding in findings(events, wheres) {
        match finding {
            Finding::Warning(message) => tell(&message),
            Finding::Impossible(message) => impossible = impossible.or(Some(message)),
        }
    }
    impossible.map_or(Ok(()), |message| Err(Failure::usage(message)))
}

/// What is not known of the names and values in these events and conditions.
pub(crate) fn findings<'a>(events: impl IntoIterator<Item = &'a Glob>, wheres: &[Where]) -> Vec<Finding> {
    let events: Vec<&Glob> = events.into_iter().collect();
    let of_events = events.iter().filter_map(|glob| event(&glob.literal()?)).map(Finding::Warning);
    of_events.chain(wheres.iter().filter_map(|condition| member(&events, condition))).collect()
}

/// What is to be said of the name of an event.
fn event(name: &str) -> Option<String> {
    if explain::all().any(|known| known.event.eq_ignore_ascii_case(name)) {
        return None;
    }
    let near = nearest_of(name, explain::all().map(|known| known.event));
    let hint = match near.first() {
        Some(near) => format!("did you mean {near}?"),
        None => "qev explain lists those that it knows".to_owned(),
    };
    Some(format!("no event that qev knows is called '{}': {hint}", plain::name(name)))
}

/// What is to be said of a condition.
fn member(events: &[&Glob], condition: &Where) -> Option<Finding> {
    let member = condition.member();
    let inward = condition.path().split_once('.').map(|(_, inward)| inward);
    match (member, inward) {
        ("data", Some(inward)) => return data(events, condition, inward),
        ("timestamp", inward) if !matches!(inward, Some("seconds" | "microseconds")) => {
            let message = "a timestamp has the members timestamp.seconds and timestamp.microseconds";
            return Some(Finding::Warning(message.to_owned()));
        }
        ("severity", None) if condition.value().parse::<Severity>().is_err() => {
            let levels = Severity::ALL.map(Severity::as_str);
            return Some(Finding::Warning(no_value("a severity", condition.value(), &levels)));
        }
        ("kind", None) if !KINDS.contains(&condition.value()) => {
            return Some(Finding::Warning(no_value("a kind of records", condition.value(), &KINDS)));
        }
        ("event", None) => return event(condition.value()).map(Finding::Warning),
        _ if MEMBERS.contains(&member) => return None,
        _ => {}
    }
    let hint = match nearest_of(member, MEMBERS).first() {
        Some(near) => format!("did you mean {near}?"),
        None => format!("what an event carries is in its data: data.{}", plain::phrase(&condition.to_string())),
    };
    Some(Finding::Warning(format!("no record has a member '{}': {hint}", plain::name(member))))
}

/// What is to be said of a condition on the data.
fn data(events: &[&Glob], condition: &Where, inward: &str) -> Option<Finding> {
    let is_selected =
        |known: &&Explanation| events.is_empty() || events.iter().any(|glob| glob.matches_ignoring_case(known.event));
    let selected: Vec<&Explanation> = explain::all().filter(is_selected).collect();
    let (mut kinds, mut there) = (BTreeSet::new(), BTreeSet::new());
    for known in &selected {
        match known.look_up(inward) {
            Lookup::Known(kind) => drop(kinds.insert(kind)),
            Lookup::Unknown(paths) => there.extend(paths),
        }
    }
    if let Some(message) = misfit(condition, &kinds) {
        return Some(Finding::Warning(message));
    }
    if selected.is_empty() || !kinds.is_empty() {
        return None;
    }
    // A pattern may match an event that only a newer QEMU has.
    let is_known = |glob: &Glob| glob.literal().is_some_and(|name| Explanation::for_event(&name).is_some());
    let are_known = !events.is_empty() && events.iter().all(|glob| is_known(glob));
    let who = match (are_known, &*selected) {
        (true, [only]) => format!("{} has", only.event),
        (true, several) => {
            let names: Vec<_> = several.iter().map(|known| known.event).collect();
            format!("none of {} has", listed(&names, " and "))
        }
        (false, _) if events.is_empty() => "no event that qev knows has".to_owned(),
        (false, _) => {
            let globs: Vec<String> = events.iter().map(|glob| plain::name(&glob.to_string()).to_string()).collect();
            let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
            format!("no event that qev knows and that matches {} has", listed(&globs, " or "))
        }
    };
    let path = plain::name(condition.path());
    let what = if who.starts_with("no") { format!("a member {path}") } else { format!("no member {path}") };
    let near = nearest_of(inward, there.iter().map(String::as_str));
    let names: Vec<String> = there.iter().map(|name| format!("data.{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match (near.first(), are_known) {
        (Some(near), _) => format!(": did you mean data.{near}?"),
        (None, true) if names.is_empty() => ": there is nothing in its place".to_owned(),
        (None, true) => format!(": there is {}", listed(&names, " and ")),
        (None, false) => ": qev explain EVENT lists the members of an event".to_owned(),
    };
    let message = format!("{who} {what}{hint}");
    Some(if are_known { Finding::Impossible(message) } else { Finding::Warning(message) })
}

/// That a member of each of these types never has the value.
fn misfit(condition: &Where, kinds: &BTreeSet<&'static str>) -> Option<String> {
    let value = condition.value();
    let path = plain::name(condition.path());
    let mut known = BTreeSet::new();
    for kind in kinds {
        match members::values_of(kind) {
            Some(values) if values.contains(&value) => return None,
            Some(values) => known.extend(values),
            None if members::is_number(kind) && !is_number(value) => {}
            None => return None,
        }
    }
    match (kinds.is_empty(), known.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!("{path} is a number, and '{}' is not one", plain::name(value))),
        (false, false) => {
            let known: Vec<&str> = known.into_iter().collect();
            Some(no_value(&path.to_string(), value, &known))
        }
    }
}

/// Whether a text is a number as conditions take it.
fn is_number(text: &str) -> bool {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok()) || text.parse::<f64>().is_ok()
}

/// That something is never called so.
fn no_value(what: &str, value: &str, known: &[&str]) -> String {
    let hint = match nearest_of(value, known.iter().copied()).first() {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", listed(known, " and ")),
    };
    format!("{what} is never '{}', as far as qev knows: {hint}", plain::name(value))
}

/// `a, b and c`, a few of them.
fn listed(names: &[&str], last: &str) -> String {
    let (shown, more) = names.split_at(names.len().min(LISTED));
    match (shown.split_last(), more.len()) {
        (None, _) => String::new(),
        (Some((only, [])), 0) => (*only).to_owned(),
        (Some((end, others)), 0) => format!("{}{last}{end}", others.join(", ")),
        (Some(_), more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_event(glob: &str, expected: Option<&str>) {
        let globs = [glob.parse().unwrap()];
        let expected: Vec<_> = expected.map(|message| Finding::Warning(message.to_owned())).into_iter().collect();
        assert_eq!(findings(&globs, &[]), expected, "{glob}");
    }

    fn found(events: &[&str], condition: &str) -> Vec<Finding> {
        let globs: Vec<Glob> = events.iter().map(|glob| glob.parse().unwrap()).collect();
        findings(&globs, &[condition.parse().unwrap()])
    }

    fn check_member(condition: &str, expected: Option<&str>) {
        let expected: Vec<_> = expected.map(|message| Finding::Warning(message.to_owned())).into_iter().collect();
        assert_eq!(found(&[], condition), expected, "{condition}");
    }

    fn check_impossible(events: &[&str], condition: &str, expected: &str) {
        assert_eq!(found(events, condition), [Finding::Impossible(expected.to_owned())], "{events:?} {condition}");
    }

    fn check_warning(events: &[&str], condition: &str, expected: &str) {
        assert_eq!(found(events, condition), [Finding::Warning(expected.to_owned())], "{events:?} {condition}");
    }

    #[test]
    fn a_name_that_no_event_has_is_told_with_what_was_meant() {
        for known in ["GUEST_PANICKED", "guest_panicked", "GUEST_*", "X?", "[AB]"] {
            check_event(known, None);
        }
        let expected = "no event that qev knows is called 'GUEST_PANIKED': did you mean GUEST_PANICKED?";
        check_event("GUEST_PANIKED", Some(expected));
        let expected = r"no event that qev knows is called 'XYZZY\u{1b}': qev explain lists those that it knows";
        check_event("XYZZY\u{1b}", Some(expected));
    }

    #[test]
    fn a_path_that_begins_with_no_member_is_told_with_what_was_meant() {
        for known in ["data.action=pause", "seq=1", "missed.STOP=2", "departs.0.at=x", "timestamp.seconds=1"] {
            check_member(known, None);
        }
        check_member("dta.action=pause", Some("no record has a member 'dta': did you mean data?"));
        let expected = "no record has a member 'action': what an event carries is in its data: data.action=pause";
        check_member("action=pause", Some(expected));
        let expected = "a timestamp has the members timestamp.seconds and timestamp.microseconds";
        check_member("timestamp=1", Some(expected));
    }

    #[test]
    fn a_member_that_no_selected_event_has_is_an_error_when_all_of_them_are_known() {
        let expected = "GUEST_PANICKED has no member data.acton: did you mean data.action?";
        check_impossible(&["guest_panicked"], "data.acton=pause", expected);
        let expected = "none of BALLOON_CHANGE and GUEST_PANICKED has a member data.acton: did you mean data.action?";
        check_impossible(&["BALLOON_CHANGE", "GUEST_PANICKED"], "data.acton!=pause", expected);
        check_impossible(&["STOP"], "data.x=1", "STOP has no member data.x: there is nothing in its place");
        let expected = "BALLOON_CHANGE has no member data.bytes: there is data.actual";
        check_impossible(&["BALLOON_CHANGE"], "data.bytes=1", expected);
        let expected = "MEMORY_FAILURE has no member data.flags.recursiv: did you mean data.flags.recursive?";
        check_impossible(&["MEMORY_FAILURE"], "data.flags.recursiv=true", expected);
    }

    #[test]
    fn a_member_is_only_warned_of_when_a_newer_qemu_may_have_it() {
        let expected = "no event that qev knows has a member data.acton: did you mean data.action?";
        check_warning(&[], "data.acton=pause", expected);
        let expected = "no event that qev knows and that matches GUEST_PANICKE? has a member data.acton: did you mean \
                        data.action?";
        check_warning(&["GUEST_PANICKE?"], "data.acton=pause", expected);
        assert_eq!(found(&["GUEST_*"], "data.action=pause"), []);
        // Of an event that is not known nothing can be said but that.
        assert_eq!(found(&["NEW_EVENT"], "data.x=1").len(), 1);
        assert_eq!(found(&["NEW_*"], "data.x=1"), []);
    }

    #[test]
    fn a_value_that_a_member_never_has_is_warned_of() {
        let expected = "data.action is never 'puase', as far as qev knows: did you mean pause?";
        check_warning(&["GUEST_PANICKED"], "data.action=puase", expected);
        check_warning(&["BALLOON_CHANGE"], "data.actual=1G", "data.actual is a number, and '1G' is not one");
        for condition in ["data.actual=0x10", "data.actual=1e3", "data.actual!=5"] {
            assert_eq!(found(&["BALLOON_CHANGE"], condition), [], "{condition}");
        }
        let expected = "a severity is never 'eror', as far as qev knows: did you mean error?";
        check_warning(&[], "severity=eror", expected);
        let expected = "a kind of records is never 'lost', as far as qev knows: known are event, attached, detached, gap, \
                        state and audit";
        check_warning(&[], "kind=lost", expected);
        let expected = "no event that qev knows is called 'SHUTDWN': did you mean SHUTDOWN?";
        check_warning(&[], "event=SHUTDWN", expected);
    }
}
