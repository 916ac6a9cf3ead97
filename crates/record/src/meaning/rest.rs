//! What is said about every event but the five: the words come from the table in [`super::rules`].
//!
//! A rule has cases: the first whose condition holds says severity and sentence. A condition is empty (always),
//! `member` (it is there), or `member=value|value` (its text is one of these). A sentence holds, in braces, the
//! members whose values stand there:
//!
//! | in the sentence | what stands there |
//! |---|---|
//! | `{id}` | the value of `id`, or `?` when it is missing |
//! | `{device\|node-name}` | the first of these that is there and not empty |
//! | `{addr.host}` | a member of a member |
//! | `{size:size}` | a number of bytes, in binary units |
//! | `{msg:text}` | a message: more of it is shown than of a name |
//! | `[ at {offset}]` | all of this, or nothing when a member in it is missing |

use super::Meaning;
use super::rules::RULES;
use crate::plain::{self, Plain};
use crate::severity::Severity;
use crate::size::Size;
use qev_qmp::{Event, Json, Value};
use std::fmt::Write as _;

/// All cases of one event.
pub(super) struct Rule {
    pub(super) event: &'static str,
    pub(super) cases: &'static [Case],
}

/// What is said about an event when a condition holds.
pub(super) struct Case {
    pub(super) when: &'static str,
    pub(super) severity: Severity,
    pub(super) sentence: &'static str,
}

pub(super) fn meaning(event: &Event) -> Meaning {
    let name = event.name.as_str();
    let Ok(at) = RULES.binary_search_by_key(&name, |rule| rule.event) else { return unknown(event) };
    let cases = RULES.get(at).map(|rule| rule.cases).unwrap_or_default();
    let data = event.data.as_ref().map(Json::value).unwrap_or_default();
    match cases.iter().find(|case| holds(case.when, &data)) {
        Some(case) => Meaning::new(case.severity, fill(case.sentence, &data)),
        None => unknown(event),
    }
}

/// An event of tomorrow: its name, and as much of its data as a sentence may have.
fn unknown(event: &Event) -> Meaning {
    let mut sentence = format!("{}, which qev does not know", plain::name(event.name.as_str()));
    if let Some(data) = &event.data {
        // Writing to a String cannot fail.
        let _ = write!(sentence, ": {}", plain::phrase(&data.strict()));
    }
    Meaning::new(Severity::Notice, sentence)
}

fn holds(when: &str, data: &Value) -> bool {
    if when.is_empty() {
        return true;
    }
    let (path, values) = when.split_once('=').unwrap_or((when, ""));
    let Some(member) = member(data, path) else { return false };
    values.is_empty() || values.split('|').any(|value| has_text(member, value))
}

fn has_text(member: &Value, text: &str) -> bool {
    match member {
        Value::String(s) => s == text,
        Value::Bool(b) => text == if *b { "true" } else { "false" },
        _ => false,
    }
}

/// The member at a path such as `addr.host`, unless it is empty: an empty id is QEMU's way to say that there is none.
fn member<'a>(data: &'a Value, path: &str) -> Option<&'a Value> {
    let member = path.split('.').try_fold(data, |value, name| value.get(name))?;
    match member {
        Value::Null => None,
        Value::String(s) if s.is_empty() => None,
        member => Some(member),
    }
}

fn fill(sentence: &str, data: &Value) -> String {
    let mut out = String::with_capacity(sentence.len() + 32);
    let mut rest = sentence;
    while let Some((before, part)) = rest.split_once('[') {
        fill_part(&mut out, before, data);
        let (part, after) = part.split_once(']').unwrap_or((part, ""));
        let length = out.len();
        if !fill_part(&mut out, part, data) {
            out.truncate(length);
        }
        rest = after;
    }
    fill_part(&mut out, rest, data);
    out
}

/// Appends a part with its placeholders filled, and tells whether all of them were there.
fn fill_part(out: &mut String, part: &str, data: &Value) -> bool {
    let mut complete = true;
    let mut rest = part;
    while let Some((before, placeholder)) = rest.split_once('{') {
        out.push_str(before);
        let (placeholder, after) = placeholder.split_once('}').unwrap_or((placeholder, ""));
        let (paths, form) = placeholder.split_once(':').unwrap_or((placeholder, ""));
        match paths.split('|').find_map(|path| member(data, path)) {
            Some(value) => show(out, value, form),
            None => {
                complete = false;
                out.push('?');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    complete
}

fn show(out: &mut String, value: &Value, form: &str) {
    let limit = if form == "text" { plain::PHRASE } else { plain::NAME };
    // Writing to a String cannot fail.
    let _ = match (value, form) {
        (Value::Int(bytes), "size") => write!(out, "{}", Size::from(*bytes)),
        (Value::Uint(bytes), "size") => write!(out, "{}", Size::from(*bytes)),
        (Value::String(text), _) => write!(out, "{}", Plain::new(text, limit)),
        (other, _) => write!(out, "{}", Plain::new(&other.to_string(), limit)),
    };
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, event};
    use super::*;
    use crate::explain::{Explanation, types};
    use Severity::{Critical, Debug, Error, Info, Notice, Warning};

    #[test]
    fn a_machines_life() {
        check("STOP", "{}", Notice, "guest was paused");
        check("RESUME", "{}", Info, "guest is running");
        check("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#, Notice, "guest shut itself down");
        check("SHUTDOWN", r#"{"guest": false, "reason": "host-qmp-quit"}"#, Notice, "QEMU was told to quit");
        check(
            "SHUTDOWN",
            r#"{"guest": true, "reason": "guest-panic"}"#,
            Critical,
            "machine shuts down: its guest panicked",
        );
        check(
            "SHUTDOWN",
            r#"{"guest": false, "reason": "host-error"}"#,
            Critical,
            "machine shuts down: an error on the host",
        );
        check("SHUTDOWN", "{}", Notice, "machine shuts down");
        check("RESET", r#"{"guest": true, "reason": "guest-reset"}"#, Notice, "guest rebooted");
        check(
            "WATCHDOG",
            r#"{"action": "poweroff"}"#,
            Critical,
            "watchdog expired: the guest hangs; QEMU powers it off",
        );
        check("WATCHDOG", r#"{"action": "none"}"#, Warning, "watchdog expired: the guest hangs; QEMU does nothing");
    }

    #[test]
    fn disks() {
        check(
            "BLOCK_IO_ERROR",
            r#"{"device": "", "node-name": "n0", "operation": "write", "action": "stop", "nospace": true, "reason": "No space left on device"}"#,
            Critical,
            "disk n0: write failed (No space left on device); the guest is paused",
        );
        check(
            "BLOCK_IO_ERROR",
            r#"{"device": "hd0", "operation": "read", "action": "report", "reason": "Input/output error"}"#,
            Error,
            "disk hd0: read failed (Input/output error); the guest is told",
        );
        check(
            "BLOCK_IMAGE_CORRUPTED",
            r#"{"device": "hd0", "msg": "bad", "offset": 512, "size": 65536, "fatal": true}"#,
            Critical,
            "image of hd0 is corrupt and unusable: bad, 64 KiB at byte 512",
        );
        check("JOB_STATUS_CHANGE", r#"{"id": "j", "status": "running"}"#, Debug, "job j is running");
        check(
            "BLOCK_JOB_COMPLETED",
            r#"{"type": "mirror", "device": "d", "len": 10, "offset": 5, "speed": 0, "error": "full"}"#,
            Error,
            "mirror job d failed: full",
        );
    }

    #[test]
    fn members_that_are_missing_or_of_another_type() {
        check("DEVICE_DELETED", r#"{"path": "/machine/x"}"#, Info, "device /machine/x is gone");
        check("DEVICE_DELETED", "{}", Info, "device ? is gone");
        check("DEVICE_DELETED", "[1]", Info, "device ? is gone");
        check("DEVICE_DELETED", r#"{"device": {"a": 1}}"#, Info, r#"device {"a": 1} is gone"#);
        check("MEMORY_DEVICE_SIZE_CHANGE", r#"{"size": "x"}"#, Info, "memory device ? has x now");
    }

    #[test]
    fn an_event_of_tomorrow_is_shown_as_it_is() {
        check(
            "GUEST_ASCENDED",
            r#"{"to": "\u202e"}"#,
            Notice,
            r#"GUEST_ASCENDED, which qev does not know: {"to": "\u202e"}"#,
        );
        let bare = Meaning::of(&event(r#"{"event": "a\u001bb"}"#));
        assert_eq!(bare.sentence, r"a\u{1b}b, which qev does not know");
    }

    #[test]
    fn the_rules_are_sorted_or_they_would_not_be_found() {
        assert!(RULES.is_sorted_by(|a, b| a.event < b.event));
    }

    #[test]
    fn every_event_but_the_five_has_a_rule_that_always_says_something() {
        for name in qev_qmp::event::name::ALL {
            let rule = RULES.iter().find(|rule| rule.event == *name);
            let five = super::super::FIVE.iter().any(|explanation| explanation.event == *name);
            assert!(rule.is_some() != five, "{name}");
            assert!(rule.is_none_or(|rule| rule.cases.last().is_some_and(|case| case.when.is_empty())), "{name}");
        }
    }

    #[test]
    fn rules_name_members_and_values_that_there_are() {
        for rule in RULES {
            for case in rule.cases {
                let (path, values) = case.when.split_once('=').unwrap_or((case.when, ""));
                if !path.is_empty() {
                    let values = values.split('|').filter(|value| !value.is_empty());
                    values.for_each(|value| assert_value(rule.event, path, value));
                    assert_path(rule.event, path);
                }
                for placeholder in case.sentence.split('{').skip(1).filter_map(|s| s.split('}').next()) {
                    placeholder.split(':').next().unwrap().split('|').for_each(|path| assert_path(rule.event, path));
                }
            }
        }
    }

    fn assert_path(event: &str, path: &str) {
        assert!(!member_types(event, path).is_empty(), "{event} has no {path}");
    }

    fn assert_value(event: &str, path: &str, value: &str) {
        let known = member_types(event, path).iter().any(|kind| match types::find(kind) {
            Some(types::Type::Enum(values)) => values.iter().any(|v| v.name == value),
            _ => *kind == "bool" && matches!(value, "true" | "false"),
        });
        assert!(known, "{event}: {path} is never {value}");
    }

    /// The types that the member at this path can have.
    fn member_types(event: &str, path: &str) -> Vec<&'static str> {
        let explanation = Explanation::for_event(event).unwrap();
        let mut names = path.split('.');
        let first = names.next().unwrap();
        let start = explanation.members.iter().filter(|m| m.name == first).map(|m| m.kind).collect();
        names
            .fold(start, |kinds: Vec<_>, name| kinds.iter().flat_map(|kind| types::members_named(kind, name)).collect())
    }
}
