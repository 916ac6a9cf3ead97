//! Names of events and of members that nobody knows: a mistyped one is never met, and a test that waits for it to fail
//! passes for ever. It is told, and is no error: QEMU may be newer than qev.

use crate::exit::tell;
use qev_record::filter::{Glob, Where};
use qev_record::record::MEMBERS;
use qev_record::{explain, plain};

/// Tells of what is not known, a line each.
pub(crate) fn tell_of<'a>(events: impl IntoIterator<Item = &'a Glob>, wheres: &[Where]) {
    let events = events.into_iter().filter_map(event);
    events.chain(wheres.iter().filter_map(member)).for_each(|line| tell(&line));
}

/// What is to be said of the name of an event; of a pattern nothing.
fn event(glob: &Glob) -> Option<String> {
    let name = glob.literal()?;
    if explain::all().any(|known| known.event.eq_ignore_ascii_case(&name)) {
        return None;
    }
    let near = explain::suggest::nearest_of(&name, explain::all().map(|known| known.event));
    let hint = match near.first() {
        Some(near) => format!("did you mean {near}?"),
        None => "qev explain lists those that it knows".to_owned(),
    };
    Some(format!("no event that qev knows is called '{}': {hint}", plain::name(&name)))
}

/// What is to be said of the path of a condition.
fn member(condition: &Where) -> Option<String> {
    let member = condition.member();
    if MEMBERS.contains(&member) {
        return None;
    }
    let hint = match explain::suggest::nearest_of(member, MEMBERS).first() {
        Some(near) => format!("did you mean {near}?"),
        None => format!("what an event carries is in its data: data.{}", plain::phrase(&condition.to_string())),
    };
    Some(format!("no record has a member '{}': {hint}", plain::name(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_event(glob: &str, expected: Option<&str>) {
        assert_eq!(event(&glob.parse().unwrap()).as_deref(), expected, "{glob}");
    }

    fn check_member(condition: &str, expected: Option<&str>) {
        assert_eq!(member(&condition.parse().unwrap()).as_deref(), expected, "{condition}");
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
        for known in ["data.action=pause", "seq=1", "missed.STOP=2", "departs.0.at=x"] {
            check_member(known, None);
        }
        check_member("dta.action=pause", Some("no record has a member 'dta': did you mean data?"));
        let expected = "no record has a member 'action': what an event carries is in its data: data.action=pause";
        check_member("action=pause", Some(expected));
    }
}
