//! Introspection: what a QEMU says of its own events, in the reply to `query-qmp-schema` (since QEMU 2.5).
//!
//! ```text
//!   reply ── Schema::parse ──► events ─► their types ── Schema::check ──► where an event departs from it
//!            (bounded)          only these are kept
//! ```
//!
//! The reply is a list of entities: events, commands, and the types that these are made of, which have numbers for names.
//! It says nothing about meanings. All that a QEMU may send stands in it, and nothing else does: what this build of it
//! lacks is left out.

mod check;

pub use check::{Departure, Departures};

use crate::json::{Json, Object, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A reply may have so many bytes; QEMU's has 200 KiB.
const MAX_REPLY: usize = 8 << 20;

/// An entity may have so many; QEMU's biggest has 4 KiB.
const MAX_ENTITY: usize = 256 << 10;

/// A QEMU's events and their types.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    events: BTreeMap<Box<str>, Box<str>>,
    types: HashMap<Box<str>, Shape>,
}

/// What values of a type look like: QEMU's meta-types.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// A type that is not made of others.
    Builtin(JsonType),
    /// One of these strings.
    Enum(Vec<Box<str>>),
    /// A list of values of this type.
    Array(Box<str>),
    /// An object.
    Object(ObjectShape),
    /// A value of one of these types, told apart by their kind.
    Alternate(Vec<Box<str>>),
    /// A meta-type that qev does not know.
    Other(Box<str>),
}

/// An object's members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectShape {
    /// Those that it has in any case.
    pub members: Vec<MemberShape>,
    /// The member that decides which further ones it has.
    pub tag: Option<Box<str>>,
    /// For values of the tag, the object whose members stand beside these.
    pub variants: Vec<(Box<str>, Box<str>)>,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberShape {
    /// Its name.
    pub name: Box<str>,
    /// The name of its type in the schema.
    pub kind: Box<str>,
    /// Whether it may be absent.
    pub optional: bool,
}

/// The builtin types of QEMU's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `string`
    String,
    /// `number`
    Number,
    /// `int`
    Int,
    /// `boolean`
    Boolean,
    /// `null`
    Null,
    /// `object`, of whatever members.
    Object,
    /// `array`, of whatever elements.
    Array,
    /// `value`, which may be anything.
    Value,
}

/// The reply is not the schema of a QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is no list of entities with an event among them.
    NotASchema,
    /// It is too big to be one: so many bytes, of the whole or of one entity.
    TooBig(usize),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::NotASchema => f.write_str("not the schema of a QEMU: expected a list of entities with events"),
            SchemaError::TooBig(bytes) => write!(
                f,
                "not the schema of a QEMU: {bytes} bytes, expected at most {MAX_REPLY}, and {MAX_ENTITY} for an entity"
            ),
        }
    }
}

impl std::error::Error for SchemaError {}

impl Schema {
    /// Reads what `query-qmp-schema` returned. Of two entities with the same name the first counts, and what has no name
    /// is left out. Types that are not there are no error: [`Schema::check`] says where one is missed.
    ///
    /// # Errors
    ///
    /// When there is no event in it, or it is far bigger than any QEMU's.
    pub fn parse(reply: &Json) -> Result<Schema, SchemaError> {
        if reply.as_text().len() > MAX_REPLY {
            return Err(SchemaError::TooBig(reply.as_text().len()));
        }
        let mut schema = Schema { events: BTreeMap::new(), types: HashMap::new() };
        let mut too_big = None;
        reply.elements(|entity| {
            if entity.len() > MAX_ENTITY {
                too_big = Some(entity.len());
            } else {
                schema.take(&Json::checked(entity).value());
            }
        });
        match too_big {
            Some(bytes) => Err(SchemaError::TooBig(bytes)),
            None if schema.events.is_empty() => Err(SchemaError::NotASchema),
            None => {
                schema.forget_what_no_event_needs();
                Ok(schema)
            }
        }
    }

    /// The names of the events that this QEMU may send, sorted.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.events.keys().map(|name| &**name)
    }

    /// What the data of an event looks like; `None` when there is no such event, or its type is not there.
    pub fn event(&self, name: &str) -> Option<&Shape> {
        self.shape(self.events.get(name)?)
    }

    /// The type of this name.
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.types.get(name)
    }

    fn take(&mut self, entity: &Value) {
        let text = |member: &str| entity.get(member).and_then(Value::as_str).map(Box::<str>::from);
        let Some(name) = text("name") else { return };
        match text("meta-type").as_deref() {
            Some("command") | None => {}
            Some("event") => {
                if let Some(kind) = text("arg-type") {
                    self.events.entry(name).or_insert(kind);
                }
            }
            Some(meta) => {
                let shape = Shape::read(meta, entity);
                self.types.entry(name).or_insert(shape);
            }
        }
    }

    fn forget_what_no_event_needs(&mut self) {
        let mut needed: HashMap<Box<str>, Shape> = HashMap::new();
        let mut open: Vec<Box<str>> = self.events.values().cloned().collect();
        while let Some(name) = open.pop() {
            // Each is taken out once, so types that are made of themselves end it as well.
            if let Some(shape) = self.types.remove(&name) {
                open.extend(shape.made_of().cloned());
                needed.insert(name, shape);
            }
        }
        self.types = needed;
    }
}

impl Shape {
    fn read(meta: &str, entity: &Value) -> Shape {
        let list = |member: &str| entity.get(member).and_then(Value::as_array).unwrap_or_default();
        let text = |entity: &Value, member: &str| entity.get(member).and_then(Value::as_str).map(Box::<str>::from);
        match meta {
            "builtin" => match text(entity, "json-type").as_deref().and_then(JsonType::named) {
                Some(json) => Shape::Builtin(json),
                None => Shape::Other("builtin".into()),
            },
            "enum" => {
                // Since 6.2 as members, before as values; QEMUs between have both.
                let values = list("values").iter().filter_map(Value::as_str).map(Box::<str>::from);
                let members = list("members").iter().filter_map(|member| text(member, "name"));
                let mut all: Vec<Box<str>> = members.chain(values).collect();
                all.sort();
                all.dedup();
                Shape::Enum(all)
            }
            "array" => Shape::Array(text(entity, "element-type").unwrap_or_default()),
            "object" => Shape::Object(ObjectShape {
                members: list("members").iter().filter_map(MemberShape::read).collect(),
                tag: text(entity, "tag"),
                variants: list("variants").iter().filter_map(|v| Some((text(v, "case")?, text(v, "type")?))).collect(),
            }),
            "alternate" => Shape::Alternate(list("members").iter().filter_map(|m| text(m, "type")).collect()),
            other => Shape::Other(other.into()),
        }
    }

    /// The names of the types that it is made of.
    fn made_of(&self) -> Box<dyn Iterator<Item = &Box<str>> + '_> {
        match self {
            Shape::Array(kind) => Box::new(std::iter::once(kind)),
            Shape::Alternate(kinds) => Box::new(kinds.iter()),
            Shape::Object(object) => Box::new(
                object.members.iter().map(|member| &member.kind).chain(object.variants.iter().map(|(_, kind)| kind)),
            ),
            Shape::Builtin(_) | Shape::Enum(_) | Shape::Other(_) => Box::new(std::iter::empty()),
        }
    }
}

impl MemberShape {
    fn read(member: &Value) -> Option<MemberShape> {
        let member: &Object = member.as_object()?;
        Some(MemberShape {
            name: member.get("name")?.as_str()?.into(),
            kind: member.get("type")?.as_str()?.into(),
            // The default is always null: that there is one is what counts.
            optional: member.get("default").is_some(),
        })
    }
}

impl JsonType {
    fn named(name: &str) -> Option<JsonType> {
        Some(match name {
            "string" => JsonType::String,
            "number" => JsonType::Number,
            "int" => JsonType::Int,
            "boolean" => JsonType::Boolean,
            "null" => JsonType::Null,
            "object" => JsonType::Object,
            "array" => JsonType::Array,
            "value" => JsonType::Value,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Schema, SchemaError> {
        Schema::parse(&Json::parse(text).unwrap())
    }

    #[test]
    fn what_events_are_made_of_is_kept_and_nothing_else() {
        let schema = parse(include_str!("../tests/data/schema-qemu-7.2.22.json")).unwrap();
        assert_eq!(schema.events().count(), 52);
        let Some(Shape::Object(panic)) = schema.event("GUEST_PANICKED") else { panic!("no object") };
        let members: Vec<_> = panic.members.iter().map(|member| (&*member.name, member.optional)).collect();
        assert_eq!(members, [("action", false), ("info", true)]);
        let Some(Shape::Object(info)) = schema.shape(&panic.members[1].kind) else { panic!("no object") };
        assert_eq!(info.tag.as_deref(), Some("type"));
        assert_eq!(info.variants.iter().map(|(case, _)| &**case).collect::<Vec<_>>(), ["hyper-v", "s390"]);
        let Some(Shape::Enum(actions)) = schema.shape(&panic.members[0].kind) else { panic!("no enum") };
        assert_eq!(actions.iter().map(|action| &**action).collect::<Vec<_>>(), ["pause", "poweroff", "run"]);
        assert_eq!(schema.shape("626"), None, "an alternate that only commands have");
        assert_eq!(schema.shape("str"), Some(&Shape::Builtin(JsonType::String)));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let command = r#"[{"name": "stop", "meta-type": "command", "arg-type": "0"}]"#;
        for text in ["{}", "[]", "7", "[[]]", command, r#"[{"meta-type": "event"}]"#] {
            assert_eq!(parse(text), Err(SchemaError::NotASchema), "{text}");
        }
        let long = format!(r#"[{{"name": "{}", "meta-type": "enum"}}]"#, "x".repeat(MAX_ENTITY));
        assert!(matches!(parse(&long), Err(SchemaError::TooBig(_))));
        let many = format!("[{}0]", "0,".repeat(MAX_REPLY / 2));
        assert!(matches!(parse(&many), Err(SchemaError::TooBig(_))));
    }

    #[test]
    fn types_that_are_made_of_themselves_or_are_not_there_end_it_too() {
        let schema = parse(
            r#"[{"name": "A", "meta-type": "event", "arg-type": "1"}, {"name": "B", "meta-type": "event", "arg-type": "9"},
                {"name": "1", "meta-type": "object", "members": [{"name": "a", "type": "1"}, {"name": "b", "type": "2"}]},
                {"name": "2", "meta-type": "alternate", "members": [{"type": "2"}, {"type": "3"}]},
                {"name": "3", "meta-type": "array", "element-type": "3"}, {"name": "1", "meta-type": "array"},
                {"name": "4", "meta-type": "shape-of-tomorrow"}]"#,
        )
        .unwrap();
        assert_eq!(schema.types.len(), 3);
        assert!(schema.event("A").is_some() && schema.event("B").is_none());
    }
}
