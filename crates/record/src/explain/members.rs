//! Whether an event has a member, by the catalogue: `action`, or `info.type` inside a struct.

use super::types::{self, Type};
use super::{Explanation, Member};

/// What the catalogue says of a path into the data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// There is a member at the path, of this type of QEMU's schema; `any` where the catalogue cannot tell.
    Known(&'static str),
    /// There is none. These are the paths that the catalogue has in its place.
    Unknown(Vec<String>),
}

/// Names that QEMU's vendors may add to any event, and those of experiments.
const ANYWHERE: [&str; 2] = ["__", "x-"];

/// Names that the document has where QEMU has others.
const OF_DOCUMENT: [(&str, &str); 1] = [("sector-count", "sectors-count")];

impl Explanation {
    /// Looks for a path in the data of this event: names with points between them, such as `info.type`.
    pub fn look_up(&self, path: &str) -> Lookup {
        let mut members = self.members.to_vec();
        let mut before = String::new();
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if ANYWHERE.iter().any(|prefix| name.starts_with(prefix)) {
                return Lookup::Known("any");
            }
            let of_qemu = OF_DOCUMENT.iter().find(|(document, _)| *document == name).map(|(_, qemu)| *qemu);
            let is_it = |member: &&Member| member.name == name || Some(member.name) == of_qemu;
            let Some(found) = members.iter().find(is_it).copied() else {
                return Lookup::Unknown(members.iter().map(|member| format!("{before}{}", member.name)).collect());
            };
            if names.peek().is_none() || found.kind == "any" {
                return Lookup::Known(if names.peek().is_none() { found.kind } else { "any" });
            }
            before.push_str(name);
            before.push('.');
            members = members_of(found.kind);
        }
        Lookup::Unknown(Vec::new())
    }
}

/// The members that a value of a type may have.
fn members_of(kind: &str) -> Vec<Member> {
    match types::find(kind) {
        Some(Type::Struct(members)) => members.to_vec(),
        Some(Type::Union { tag, branches }) => {
            let of_branches = branches.iter().flat_map(|(_, branch)| members_of(branch));
            std::iter::once(tag).chain(of_branches).collect()
        }
        Some(Type::Enum(_)) | None => Vec::new(),
    }
}

/// The values that a member of a type may have, where they are few.
pub fn values_of(kind: &str) -> Option<Vec<&'static str>> {
    match (types::find(kind), kind) {
        (Some(Type::Enum(choices)), _) => Some(choices.iter().map(|choice| choice.name).collect()),
        (None, "bool") => Some(vec!["true", "false"]),
        _ => None,
    }
}

/// Returns whether a member of a type is a number.
pub fn is_number(kind: &str) -> bool {
    matches!(kind, "int" | "size" | "uint16" | "uint32" | "uint64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(event: &str, path: &str) -> Lookup {
        Explanation::for_event(event).unwrap().look_up(path)
    }

    fn check_known(event: &str, path: &str, kind: &'static str) {
        assert_eq!(look_up(event, path), Lookup::Known(kind), "{event} {path}");
    }

    fn check_unknown(event: &str, path: &str, there: &[&str]) {
        let there = there.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(look_up(event, path), Lookup::Unknown(there), "{event} {path}");
    }

    #[test]
    fn finds_members_and_members_of_structs_and_unions() {
        check_known("BALLOON_CHANGE", "actual", "int");
        check_known("GUEST_PANICKED", "action", "GuestPanicAction");
        check_known("GUEST_PANICKED", "info.type", "GuestPanicInformationType");
        check_known("GUEST_PANICKED", "info.psw-addr", "uint64");
        check_known("ACPI_DEVICE_OST", "info.device", "str");
        check_known("MEMORY_FAILURE", "flags.recursive", "bool");
    }

    #[test]
    fn finds_members_of_the_documents_form() {
        check_known("QUORUM_FAILURE", "sector-count", "int");
        check_known("ACPI_DEVICE_OST", "slot-type", "ACPISlotType");
    }

    #[test]
    fn tells_what_is_there_when_a_member_is_not() {
        check_unknown("BALLOON_CHANGE", "actaul", &["actual"]);
        check_unknown("BALLOON_CHANGE", "actual.x", &[]);
        check_unknown("MEMORY_FAILURE", "flags.recursiv", &["flags.action-required", "flags.recursive"]);
        check_unknown("STOP", "reason", &[]);
    }

    #[test]
    fn says_nothing_of_what_may_be_anything() {
        check_known("COMMAND_DROPPED", "id", "any");
        check_known("COMMAND_DROPPED", "id.x.y", "any");
        check_known("STOP", "__com.redhat_reason", "any");
        check_known("STOP", "x-new", "any");
    }

    #[test]
    fn the_values_of_an_enum_are_known() {
        assert_eq!(values_of("GuestPanicAction"), Some(vec!["pause", "poweroff", "run"]));
        assert_eq!(values_of("bool"), Some(vec!["true", "false"]));
        assert_eq!(values_of("str"), None);
        assert!(is_number("size") && !is_number("str"));
    }
}
