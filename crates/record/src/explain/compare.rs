//! The catalogue beside what a QEMU says of its own events: does it know all that this QEMU may send?
//!
//! Only this direction is asked. That the catalogue has more is as it should be: it is that of all QEMUs up to 10.2, and a
//! QEMU's schema lacks what was left out when it was built.

use super::types::{self, Type};
use super::{Explanation, Member};
use qev_qmp::introspect::{JsonType, ObjectShape, Schema, Shape};
use std::fmt;

/// Something in a QEMU's schema that the catalogue does not have, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which event.
    pub event: String,
    /// Where in it: `data.info.type`; `None` for the event as a whole.
    pub at: Option<String>,
    /// What is different.
    pub what: What,
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The catalogue has no such event.
    Event,
    /// The catalogue has no such member.
    Member,
    /// The catalogue has no such value of the enum.
    Value(String),
    /// The catalogue has another type.
    Type {
        /// The catalogue's, as QEMU's source calls it.
        catalogue: &'static str,
        /// What the QEMU says of it.
        schema: &'static str,
    },
    /// The catalogue says that the member is always there.
    Optional,
    /// The schema does not have the type itself, so nobody can tell.
    Unknown,
}

impl What {
    /// Whether the QEMU may send what the catalogue lacks.
    pub fn is_lack(&self) -> bool {
        matches!(self, What::Event | What::Member | What::Value(_))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event)?;
        if let Some(at) = &self.at {
            write!(f, " {at}")?;
        }
        match &self.what {
            What::Event => f.write_str(": the catalogue lacks the event"),
            What::Member => f.write_str(": the catalogue lacks the member"),
            What::Value(value) => write!(f, ": the catalogue lacks the value '{value}'"),
            What::Type { catalogue, schema } => write!(f, ": {schema} in the schema, {catalogue} in the catalogue"),
            What::Optional => f.write_str(": may be absent by the schema, and is always there by the catalogue"),
            What::Unknown => f.write_str(": the schema does not say of what type it is"),
        }
    }
}

/// All differences, by event.
pub fn differences(schema: &Schema) -> Vec<Difference> {
    let mut found = Vec::new();
    for event in schema.events() {
        let Some(known) = Explanation::for_event(event).filter(|known| known.event == event) else {
            found.push(Difference { event: event.to_owned(), at: None, what: What::Event });
            continue;
        };
        let mut comparing = Comparing { schema, event, path: vec!["data"], found: &mut found };
        match schema.event(event) {
            Some(Shape::Object(shape)) => comparing.members(shape, known.members),
            _ => comparing.tell(What::Unknown),
        }
    }
    found
}

/// It goes down the catalogue, which has an end, whatever the schema's types are made of.
struct Comparing<'a> {
    schema: &'a Schema,
    event: &'a str,
    path: Vec<&'a str>,
    found: &'a mut Vec<Difference>,
}

impl<'a> Comparing<'a> {
    fn members(&mut self, shape: &'a ObjectShape, known: &[Member]) {
        for member in &shape.members {
            self.path.push(&member.name);
            match known.iter().find(|known| *known.name == *member.name) {
                Some(known) => {
                    if member.optional && !known.optional {
                        self.tell(What::Optional);
                    }
                    self.kind(&member.kind, known.kind);
                }
                None => self.tell(What::Member),
            }
            self.path.pop();
        }
    }

    /// The schema's type of this name, and the catalogue's.
    fn kind(&mut self, kind: &str, known: &'static str) {
        let schema = self.schema;
        let Some(shape) = schema.shape(kind) else { return self.tell(What::Unknown) };
        match (shape, types::find(known)) {
            (Shape::Enum(values), Some(Type::Enum(choices))) => {
                let lacking = values.iter().filter(|value| !choices.iter().any(|choice| *choice.name == ***value));
                for value in lacking {
                    self.tell(What::Value(value.to_string()));
                }
            }
            (Shape::Object(shape), Some(Type::Struct(known))) => self.members(shape, known),
            (Shape::Object(shape), Some(Type::Union { tag, branches })) => {
                self.members(shape, &[tag]);
                for (case, kind) in &shape.variants {
                    let Some((_, branch)) = branches.iter().find(|(value, _)| **value == **case) else {
                        // The tag lacks the value, which is told there.
                        continue;
                    };
                    self.kind(kind, branch);
                }
            }
            (Shape::Builtin(json), None) if named(known) == Some(*json) => {}
            (shape, _) => self.tell(What::Type { catalogue: known, schema: words(shape) }),
        }
    }

    fn tell(&mut self, what: What) {
        self.found.push(Difference { event: self.event.to_owned(), at: Some(self.path.join(".")), what });
    }
}

/// What a simple type is in a schema: there, all widths of integers are one.
fn named(kind: &str) -> Option<JsonType> {
    match kind {
        "str" => Some(JsonType::String),
        "bool" => Some(JsonType::Boolean),
        "int" | "size" | "uint16" | "uint32" | "uint64" => Some(JsonType::Int),
        "any" => Some(JsonType::Value),
        _ => None,
    }
}

fn words(shape: &Shape) -> &'static str {
    match shape {
        Shape::Builtin(json) => json.name(),
        Shape::Enum(_) => "an enum",
        Shape::Array(_) => JsonType::Array.name(),
        Shape::Object(_) => JsonType::Object.name(),
        Shape::Alternate(_) => "an alternate",
        _ => "a type of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Json;

    const REAL: &str = include_str!("../../../qmp/tests/data/schema-qemu-7.2.22.json");

    fn compare(schema: &str) -> Vec<String> {
        let schema = Schema::parse(&Json::parse(schema).unwrap()).unwrap();
        differences(&schema).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_catalogue_lacks_nothing_of_a_real_qemu() {
        assert_eq!(compare(REAL), [""; 0]);
    }

    #[test]
    fn what_a_qemu_of_tomorrow_has_more_or_otherwise_is_told() {
        for (from, to, expected) in [
            (r#""name": "STOP""#, r#""name": "HALT""#, &["HALT: the catalogue lacks the event"][..]),
            (
                r#"{"name": "core", "type": "int"}"#,
                r#"{"name": "core", "type": "str"}, {"name": "heart", "type": "str"}"#,
                &[
                    "GUEST_CRASHLOADED data.info.core: a string in the schema, uint32 in the catalogue",
                    "GUEST_CRASHLOADED data.info.heart: the catalogue lacks the member",
                    "GUEST_PANICKED data.info.core: a string in the schema, uint32 in the catalogue",
                    "GUEST_PANICKED data.info.heart: the catalogue lacks the member",
                ],
            ),
            (
                r#"["pause", "poweroff", "run"]"#,
                r#"["pause", "poweroff", "run", "doze"]"#,
                &[
                    "GUEST_CRASHLOADED data.action: the catalogue lacks the value 'doze'",
                    "GUEST_PANICKED data.action: the catalogue lacks the value 'doze'",
                ],
            ),
            (
                r#"[{"name": "actual", "type": "int"}]"#,
                r#"[{"name": "actual", "default": null, "type": "missing"}]"#,
                &[
                    "BALLOON_CHANGE data.actual: may be absent by the schema, and is always there by the catalogue",
                    "BALLOON_CHANGE data.actual: the schema does not say of what type it is",
                ],
            ),
        ] {
            assert!(REAL.contains(from), "{from}");
            assert_eq!(compare(&REAL.replace(from, to)), expected, "{to}");
        }
    }

    #[test]
    fn a_type_that_is_made_of_itself_ends_it() {
        let told = compare(
            r#"[{"name": "STOP", "meta-type": "event", "arg-type": "1"},
                {"name": "GUEST_PANICKED", "meta-type": "event", "arg-type": "1"},
                {"name": "1", "meta-type": "object", "members": [{"name": "action", "type": "1"}, {"name": "info", "type": "1"}],
                 "tag": "action", "variants": [{"case": "s390", "type": "1"}]}]"#,
        );
        assert!(told.contains(&"STOP data.action: the catalogue lacks the member".to_owned()), "{told:?}");
        assert!(told.contains(
            &"GUEST_PANICKED data.action: an object in the schema, GuestPanicAction in the catalogue".to_owned()
        ));
    }
}
