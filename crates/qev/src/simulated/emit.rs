//! What the guest's `emit` is given, held against what QEMU's schema has: what is missing, of another type, or not there.
//!
//! The machine itself refuses what its types cannot hold. Those are open, because a later QEMU may add to them; here
//! nothing is, so that a slip in a test's data is found where it was made. Members of any release up to 10.2 are fine, and
//! those that came later than their event may be left out. The document's five may be in either dialect.

use qev_qmp::event::{Event, PanicAction, QuorumOpType, SlotType, Typed};
use qev_qmp::{Json, Object, QmpError, Value};
use qev_record::explain::types::{self, Choice, Type};
use qev_record::explain::{Explanation, Member};

/// The command.
pub(super) const COMMAND: &str = "emit";

/// How to emit it all the same.
const ANYHOW: &str = "; with \"unchecked\": true it is emitted as it is";

/// Checks the arguments of `emit`, unless they say that they are not to be.
pub(super) fn check(arguments: &Object) -> Result<(), QmpError> {
    if arguments.get("unchecked") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    // What is no text, or no object, is the machine's to refuse.
    let Some(name) = arguments.get("event").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let none = Object::new();
    let data = match arguments.get("data") {
        None => &none,
        Some(Value::Object(data)) => data,
        Some(_) => return Ok(()),
    };
    let found = Explanation::find(name).map_err(|error| refused(&error.to_string()))?;
    if found.event != name {
        return Err(refused(&format!("no event '{name}': expected {}", found.event)));
    }
    let wrong = match found.dialects {
        Some(_) => of_the_five(name, data),
        None => members(found.members, data, ""),
    };
    wrong.map_err(|wrong| refused(&format!("{name}: {wrong}")))
}

fn refused(why: &str) -> QmpError {
    QmpError::generic(format!("{why}{ANYHOW}"))
}

/// The five, which are written in two ways and know both.
fn of_the_five(name: &str, data: &Object) -> Result<(), String> {
    let data = (!data.is_empty()).then(|| Json::from(data));
    let event = Event { timestamp: None, name: name.into(), data, extra: None };
    let typed = event.typed().map_err(|error| {
        let text = error.to_string();
        text.strip_prefix(&format!("{name}: ")).unwrap_or(&text).to_owned()
    })?;
    let unknown = |extra: &Object, known: &str| match extra.iter().next() {
        Some((member, _)) => Err(no_member(member, "", known)),
        None => Ok(()),
    };
    let value = |member: &str, given: &str, known: &str| {
        Err(format!("member '{member}': '{given}' is no value of it: expected one of {known}"))
    };
    match typed {
        Typed::AcpiDeviceOst(event) => {
            unknown(&event.extra, "device, slot, slot-type, source, status")?;
            unknown(&event.extra_beside_info, "info")?;
            match &event.slot_type {
                SlotType::Other(given) => value("slot-type", given, "DIMM, CPU"),
                _ => Ok(()),
            }
        }
        Typed::BalloonChange(event) => unknown(&event.extra, "actual"),
        Typed::GuestPanicked(event) => {
            unknown(&event.extra, "action, info")?;
            match &event.action {
                PanicAction::Other(given) => value("action", given, "pause, poweroff, run"),
                _ => Ok(()),
            }
        }
        Typed::QuorumFailure(event) => unknown(&event.extra, "reference, sector-num, sectors-count"),
        Typed::QuorumReportBad(event) => {
            unknown(&event.extra, "type, error, node-name, sector-num, sectors-count")?;
            match &event.op {
                Some(QuorumOpType::Other(given)) => value("type", given, "read, write, flush"),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The members of an object; `within` is where it is, with a dot behind it.
fn members(expected: &[Member], object: &Object, within: &str) -> Result<(), String> {
    for member in expected {
        let path = format!("{within}{}", member.name);
        match object.get(member.name) {
            Some(given) => value(member.kind, given, &path)?,
            None if member.optional || member.since.is_some() => {}
            None => return Err(format!("member '{path}' is missing: expected {}", described(member.kind))),
        }
    }
    let unknown = object.iter().find(|(name, _)| expected.iter().all(|member| member.name != *name));
    unknown.map_or(Ok(()), |(name, _)| Err(no_member(name, within, &listed(expected.iter().map(|member| member.name)))))
}

fn no_member(name: &str, within: &str, known: &str) -> String {
    let known = if known.is_empty() { "none".to_owned() } else { format!("one of {known}") };
    format!("no member '{within}{name}': expected {known}")
}

fn value(kind: &str, given: &Value, path: &str) -> Result<(), String> {
    let misfit = || Err(format!("member '{path}': expected {}, got {given}", described(kind)));
    if let Some(item) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        let Value::Array(items) = given else { return misfit() };
        return items.iter().enumerate().try_for_each(|(i, given)| value(item, given, &format!("{path}[{i}]")));
    }
    let fits = match kind {
        "any" => true,
        "str" => given.as_str().is_some(),
        "bool" => given.as_bool().is_some(),
        "int" => matches!(given, Value::Int(_)),
        "size" | "uint64" => given.as_u64().is_some(),
        "uint32" => given.as_u64().is_some_and(|n| u32::try_from(n).is_ok()),
        "uint16" => given.as_u64().is_some_and(|n| u16::try_from(n).is_ok()),
        _ => return typed(kind, given, path),
    };
    if fits { Ok(()) } else { misfit() }
}

/// A value of an enum, a struct or a union.
fn typed(kind: &str, given: &Value, path: &str) -> Result<(), String> {
    let within = format!("{path}.");
    match (types::find(kind), given) {
        (Some(Type::Enum(choices)), Value::String(name)) if choices.iter().any(|choice| choice.name == name) => Ok(()),
        (Some(Type::Struct(expected)), Value::Object(object)) => members(expected, object, &within),
        (Some(Type::Union { tag, branches }), Value::Object(object)) => {
            value(tag.kind, object.get(tag.name).unwrap_or(&Value::Null), &format!("{within}{}", tag.name))?;
            let tagged = object.get(tag.name).and_then(Value::as_str);
            let branch = branches.iter().find(|(name, _)| Some(*name) == tagged);
            let mut expected = vec![tag];
            if let Some(Type::Struct(more)) = branch.and_then(|(_, kind)| types::find(kind)) {
                expected.extend(more);
            }
            members(&expected, object, &within)
        }
        // Nothing is known that it could be held against.
        (None, _) => Ok(()),
        _ => Err(format!("member '{path}': expected {}, got {given}", described(kind))),
    }
}

fn described(kind: &str) -> String {
    if kind.starts_with('[') {
        return "an array".to_owned();
    }
    match (kind, types::find(kind)) {
        ("str", _) => "text".to_owned(),
        ("bool", _) => "true or false".to_owned(),
        ("int", _) => "an integer".to_owned(),
        ("size" | "uint64", _) => "an integer from 0 to 18446744073709551615".to_owned(),
        ("uint32", _) => "an integer from 0 to 4294967295".to_owned(),
        ("uint16", _) => "an integer from 0 to 65535".to_owned(),
        (_, Some(Type::Enum(choices))) => format!("one of {}", listed(choices.iter().map(|Choice { name, .. }| *name))),
        (_, Some(_)) => "an object".to_owned(),
        _ => "a value".to_owned(),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        match Json::parse(text).unwrap().value() {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    fn check(arguments: &str, expected: &str) {
        let desc = super::check(&object(arguments)).unwrap_err().desc;
        let why = desc.strip_suffix(ANYHOW).unwrap_or_else(|| panic!("{desc}"));
        assert_eq!(why, expected, "{arguments}");
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_named() {
        check(r#"{"event": "RTC_CHANGE"}"#, "RTC_CHANGE: member 'offset' is missing: expected an integer");
        check(
            r#"{"event": "RTC_CHANGE", "data": {"offset": "7"}}"#,
            "RTC_CHANGE: member 'offset': expected an integer, got \"7\"",
        );
        check(
            r#"{"event": "RTC_CHANGE", "data": {"offset": 7, "of": 1}}"#,
            "RTC_CHANGE: no member 'of': expected one of offset, qom-path",
        );
        check(r#"{"event": "STOP", "data": {"x": 1}}"#, "STOP: no member 'x': expected none");
        check(
            r#"{"event": "WATCHDOG", "data": {"action": "bark"}}"#,
            "WATCHDOG: member 'action': expected one of reset, shutdown, poweroff, pause, debug, none, inject-nmi, got \"bark\"",
        );
        check(
            r#"{"event": "BLOCK_WRITE_THRESHOLD", "data": {"node-name": "a", "amount-exceeded": -1, "write-threshold": 0}}"#,
            "BLOCK_WRITE_THRESHOLD: member 'amount-exceeded': expected an integer from 0 to 18446744073709551615, got -1",
        );
        check(
            r#"{"event": "DUMP_COMPLETED", "data": {"result": {"status": "done", "completed": 1, "total": 1}}}"#,
            "DUMP_COMPLETED: member 'result.status': expected one of none, active, completed, failed, got \"done\"",
        );
    }

    #[test]
    fn the_five_are_checked_in_either_dialect() {
        check(
            r#"{"event": "BALLOON_CHANGE", "data": {"actual": "x"}}"#,
            "BALLOON_CHANGE: expected member 'actual' to be an integer that fits its type",
        );
        check(
            r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1, "x": 1}}"#,
            "BALLOON_CHANGE: no member 'x': expected one of actual",
        );
        check(
            r#"{"event": "GUEST_PANICKED", "data": {"action": "scream"}}"#,
            "GUEST_PANICKED: member 'action': 'scream' is no value of it: expected one of pause, poweroff, run",
        );
        check(
            r#"{"event": "ACPI_DEVICE_OST", "data": {"slot": "0", "slot-type": "GPU", "source": 1, "status": 0}}"#,
            "ACPI_DEVICE_OST: member 'slot-type': 'GPU' is no value of it: expected one of DIMM, CPU",
        );
        for fine in [
            r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q", "sector-num": 1, "sector-count": 1}}"#,
            r#"{"event": "QUORUM_FAILURE", "data": {"reference": "q", "sector-num": 1, "sectors-count": 1}}"#,
            r#"{"event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
        ] {
            assert_eq!(super::check(&object(fine)), Ok(()), "{fine}");
        }
    }

    #[test]
    fn a_name_that_no_qemu_sends_is_refused_with_what_was_meant() {
        let desc = super::check(&object(r#"{"event": "RTC_CHANGED", "data": {}}"#)).unwrap_err().desc;
        assert!(desc.contains("RTC_CHANGED") && desc.contains("RTC_CHANGE?"), "{desc}");
        check(r#"{"event": "rtc-change"}"#, "no event 'rtc-change': expected RTC_CHANGE");
        for fine in
            [r#"{"event": "NOSUCH", "unchecked": true}"#, r#"{"event": "STOP", "data": {"x": 1}, "unchecked": true}"#]
        {
            assert_eq!(super::check(&object(fine)), Ok(()), "{fine}");
        }
    }
}
