//! Where an event departs from its type in the QEMU's own schema.
//!
//! A walk goes down the value and its type together. It ends with the value, whose depth has a bound; where a type leads
//! to another for the same value (an alternate, a variant), the steps are counted.

use super::{JsonType, MemberShape, ObjectShape, Schema, Shape};
use crate::event::Event;
use crate::json::{Object, Value};
use std::fmt;

/// So many departures of one event are told; that there are more is the last.
const MANY: usize = 16;

/// So many types in a row may be about the same value. QEMU has two.
const STEPS: usize = 8;

/// So much of a word from the wire is told, in characters.
const WORD: usize = 60;

/// Where and how an event departs from its schema, as a sentence: `data.action is 'doze', which is none of pause, run`.
///
/// Names and values in it come from the wire as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departure {
    /// This QEMU says that it has no such event.
    NoSuchEvent,
    /// A member is missing that is always there.
    Missing {
        /// Which, with those that it is inside of: `data.info.type`.
        at: String,
    },
    /// A member is there that the type does not have.
    Unknown {
        /// Which.
        at: String,
    },
    /// A value is of another kind.
    Misfit {
        /// Whose.
        at: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An enum has no such value.
    NoSuchValue {
        /// Whose.
        at: String,
        /// What it is.
        found: String,
        /// What it could be.
        values: String,
    },
    /// The schema is not complete, so nobody can tell.
    NoType {
        /// Whose type is not there.
        at: String,
    },
    /// There are more.
    More,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Departure::NoSuchEvent => f.write_str("this QEMU's schema has no such event"),
            Departure::Missing { at } => write!(f, "{at} is missing"),
            Departure::Unknown { at } => write!(f, "{at} is not in the schema"),
            Departure::Misfit { at, expected, found } => write!(f, "{at} is {found}, expected {expected}"),
            Departure::NoSuchValue { at, found, values } => write!(f, "{at} is '{found}', which is none of {values}"),
            Departure::NoType { at } => write!(f, "{at} is of a type that the schema does not have"),
            Departure::More => f.write_str("there is more"),
        }
    }
}

/// The departures of an event; none, when it is as the schema says.
pub type Departures = Vec<Departure>;

impl Schema {
    /// Where an event departs from what this QEMU says of it: at most 17 places.
    pub fn check(&self, event: &Event) -> Departures {
        let Some(kind) = self.events.get(event.name.as_str()) else { return vec![Departure::NoSuchEvent] };
        let mut walk = Walk { schema: self, path: vec![Step::Name("data")], found: Vec::new() };
        // An event without members has no data.
        let data = event.data.as_ref().map_or_else(|| Object::new().into(), crate::json::Json::value);
        walk.value(&data, kind, STEPS);
        walk.found
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Element(usize),
}

struct Walk<'a> {
    schema: &'a Schema,
    path: Vec<Step<'a>>,
    found: Departures,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &'a Value, kind: &str, steps: usize) {
        if self.is_enough() {
            return;
        }
        let schema = self.schema;
        let Some((shape, steps)) = schema.shape(kind).zip(steps.checked_sub(1)) else {
            return self.tell(|at| Departure::NoType { at });
        };
        match shape {
            Shape::Builtin(json) if json.fits(value) => {}
            Shape::Builtin(json) => self.misfit(value, json.name()),
            Shape::Enum(values) => self.choice(value, values),
            Shape::Array(kind) => match value.as_array() {
                Some(items) => {
                    for (at, item) in items.iter().enumerate() {
                        self.inside(Step::Element(at), |walk| walk.value(item, kind, STEPS));
                    }
                }
                None => self.misfit(value, JsonType::Array.name()),
            },
            Shape::Object(shape) => match value.as_object() {
                Some(object) => self.object(object, shape, steps),
                None => self.misfit(value, JsonType::Object.name()),
            },
            Shape::Alternate(kinds) => match kinds.iter().find(|kind| schema.may_be(value, kind, steps)) {
                Some(kind) => self.value(value, kind, steps),
                None => self.misfit(value, "of one of the alternate's types"),
            },
            // A meta-type of tomorrow: nobody here knows what it wants.
            Shape::Other(_) => {}
        }
    }

    fn choice(&mut self, value: &Value, values: &[Box<str>]) {
        let Some(found) = value.as_str() else { return self.misfit(value, JsonType::String.name()) };
        if !values.iter().any(|known| **known == *found) {
            let (found, values) = (short(found), short_list(values));
            self.tell(|at| Departure::NoSuchValue { at, found, values });
        }
    }

    fn object(&mut self, object: &'a Object, shape: &'a ObjectShape, steps: usize) {
        let shapes = self.with_variants(object, shape, steps);
        let known = |name: &str| shapes.iter().find_map(|shape| shape.member(name));
        for (name, value) in object.iter() {
            if self.is_enough() {
                return;
            }
            self.inside(Step::Name(name), |walk| match known(name) {
                Some(member) => walk.value(value, &member.kind, STEPS),
                None => walk.tell(|at| Departure::Unknown { at }),
            });
        }
        let all = shapes.iter().flat_map(|shape| &shape.members);
        for member in all.filter(|member| !member.optional && object.get(&member.name).is_none()) {
            self.inside(Step::Name(&member.name), |walk| walk.tell(|at| Departure::Missing { at }));
        }
    }

    /// The objects whose members this one has: a variant may have variants itself.
    fn with_variants(&mut self, object: &Object, shape: &'a ObjectShape, steps: usize) -> Vec<&'a ObjectShape> {
        let mut shapes = vec![shape];
        let mut last = shape;
        for _ in 0..steps {
            let tag = last.tag.as_deref().and_then(|tag| object.get(tag)).and_then(Value::as_str);
            let Some((_, kind)) = tag.and_then(|tag| last.variants.iter().find(|(case, _)| **case == *tag)) else {
                break;
            };
            match self.schema.shape(kind) {
                Some(Shape::Object(variant)) => last = variant,
                _ => {
                    self.tell(|at| Departure::NoType { at });
                    break;
                }
            }
            shapes.push(last);
        }
        shapes
    }

    fn inside(&mut self, step: Step<'a>, look: impl FnOnce(&mut Walk<'a>)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn misfit(&mut self, value: &Value, expected: &'static str) {
        let found = kind_of(value);
        self.tell(|at| Departure::Misfit { at, expected, found });
    }

    fn is_enough(&self) -> bool {
        self.found.len() > MANY
    }

    fn tell(&mut self, departure: impl FnOnce(String) -> Departure) {
        match self.found.len() {
            0..MANY => self.found.push(departure(self.place())),
            MANY => self.found.push(Departure::More),
            _ => {}
        }
    }

    /// `data.info.type`; of a deep place its beginning and its end.
    fn place(&self) -> String {
        const ENDS: usize = 8;
        let mut place = String::new();
        for (depth, step) in self.path.iter().enumerate() {
            let is_between = depth >= ENDS && depth + ENDS < self.path.len();
            match step {
                _ if is_between && depth == ENDS => place.push_str(".…"),
                _ if is_between => {}
                Step::Element(at) => place.push_str(&format!("[{at}]")),
                Step::Name(name) if place.is_empty() => place.push_str(&short(name)),
                Step::Name(name) => place.push_str(&format!(".{}", short(name))),
            }
        }
        place
    }
}

impl Schema {
    /// Whether a value may be of this type, by its kind alone, as QEMU tells alternates apart.
    fn may_be(&self, value: &Value, kind: &str, steps: usize) -> bool {
        match (self.shape(kind), steps.checked_sub(1)) {
            (Some(Shape::Builtin(json)), _) => json.fits(value),
            (Some(Shape::Enum(_)), _) => value.as_str().is_some(),
            (Some(Shape::Array(_)), _) => value.as_array().is_some(),
            (Some(Shape::Object(_)), _) => value.as_object().is_some(),
            // QEMU has no alternates of alternates.
            (Some(Shape::Alternate(_)) | None, _) | (_, None) => false,
            (Some(Shape::Other(_)), Some(_)) => true,
        }
    }
}

impl ObjectShape {
    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&MemberShape> {
        self.members.iter().find(|member| *member.name == *name)
    }
}

impl JsonType {
    /// What a value of it is called in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            JsonType::String => "a string",
            JsonType::Number => "a number",
            JsonType::Int => "an integer",
            JsonType::Boolean => "true or false",
            JsonType::Null => "null",
            JsonType::Object => "an object",
            JsonType::Array => "a list",
            JsonType::Value => "any value",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            JsonType::String => value.as_str().is_some(),
            JsonType::Number => matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)),
            JsonType::Int => matches!(value, Value::Int(_) | Value::Uint(_)),
            JsonType::Boolean => value.as_bool().is_some(),
            JsonType::Null => matches!(value, Value::Null),
            JsonType::Object => value.as_object().is_some(),
            JsonType::Array => value.as_array().is_some(),
            JsonType::Value => true,
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => JsonType::String.name(),
        Value::Double(_) => JsonType::Number.name(),
        Value::Int(_) | Value::Uint(_) => JsonType::Int.name(),
        Value::Bool(_) => JsonType::Boolean.name(),
        Value::Null => JsonType::Null.name(),
        Value::Object(_) => JsonType::Object.name(),
        Value::Array(_) => JsonType::Array.name(),
    }
}

fn short(word: &str) -> String {
    match word.char_indices().nth(WORD) {
        Some((at, _)) => format!("{}…", word.get(..at).unwrap_or_default()),
        None => word.to_owned(),
    }
}

fn short_list(values: &[Box<str>]) -> String {
    let shown: Vec<String> = values.iter().take(MANY).map(|value| short(value)).collect();
    let more = if values.len() > MANY { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;
    use crate::message::Message;

    fn real() -> Schema {
        Schema::parse(&Json::parse(include_str!("../../tests/data/schema-qemu-7.2.22.json")).unwrap()).unwrap()
    }

    fn check(schema: &Schema, event: &str) -> Vec<String> {
        let Ok(Message::Event(event)) = Message::decode(event.as_bytes()) else { panic!("{event}") };
        schema.check(&event).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_real_qemu_sent_is_as_its_schema_says() {
        let schema = real();
        let mut events = 0;
        for line in include_str!("../../tests/data/catalogue/qemu-7.2.22.jsonl").lines() {
            assert_eq!(check(&schema, line), [""; 0], "{line}");
            events += 1;
        }
        assert!(events > 50, "only {events}");
    }

    #[test]
    fn each_way_to_depart_is_told_in_words() {
        let schema = real();
        for (event, expected) in [
            (r#"{"event": "GUEST_ASCENDED"}"#, &["this QEMU's schema has no such event"][..]),
            (r#"{"event": "STOP"}"#, &[]),
            (r#"{"event": "STOP", "data": {}}"#, &[]),
            (r#"{"event": "STOP", "data": {"x": 1}}"#, &["data.x is not in the schema"]),
            (r#"{"event": "STOP", "data": []}"#, &["data is a list, expected an object"]),
            (r#"{"event": "BALLOON_CHANGE"}"#, &["data.actual is missing"]),
            (r#"{"event": "BALLOON_CHANGE", "data": {"actual": 18446744073709551615}}"#, &[]),
            (
                r#"{"event": "BALLOON_CHANGE", "data": {"actual": 1.5}}"#,
                &["data.actual is a number, expected an integer"],
            ),
            (
                r#"{"event": "GUEST_PANICKED", "data": {"action": "doze"}}"#,
                &["data.action is 'doze', which is none of pause, poweroff, run"],
            ),
            (
                r#"{"event": "GUEST_PANICKED", "data": {"action": "run", "info": {"type": "s390", "core": "0",
                    "psw-mask": 1, "arg1": 1, "reason": "unknown"}}}"#,
                &[
                    "data.info.core is a string, expected an integer",
                    "data.info.arg1 is not in the schema",
                    "data.info.psw-addr is missing",
                ],
            ),
        ] {
            assert_eq!(check(&schema, event), expected, "{event}");
        }
    }

    /// An event A of type 1, and these types.
    fn schema(types: &str) -> Schema {
        let text = format!(
            r#"[{{"name": "A", "meta-type": "event", "arg-type": "1"}}, {types},
                {{"name": "int", "meta-type": "builtin", "json-type": "int"}},
                {{"name": "str", "meta-type": "builtin", "json-type": "string"}}]"#
        );
        Schema::parse(&Json::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn alternates_lists_and_types_of_tomorrow() {
        let schema = schema(
            r#"{"name": "1", "meta-type": "object", "members": [{"name": "a", "type": "2"}]},
               {"name": "2", "meta-type": "alternate", "members": [{"type": "int"}, {"type": "3"}, {"type": "4"}]},
               {"name": "3", "meta-type": "array", "element-type": "str"},
               {"name": "4", "meta-type": "object", "members": [{"name": "b", "type": "5", "default": null}]},
               {"name": "5", "meta-type": "shape-of-tomorrow"}"#,
        );
        for (a, expected) in [
            ("1", &[][..]),
            (r#"["x"]"#, &[]),
            (r#"["x", 2]"#, &["data.a[1] is an integer, expected a string"]),
            ("{}", &[]),
            (r#"{"b": [null]}"#, &[]),
            (r#"{"c": 1}"#, &["data.a.c is not in the schema"]),
            ("true", &["data.a is true or false, expected of one of the alternate's types"]),
        ] {
            assert_eq!(check(&schema, &format!(r#"{{"event": "A", "data": {{"a": {a}}}}}"#)), expected, "{a}");
        }
    }

    #[test]
    fn odd_schemas_and_endless_events_end() {
        // An alternate of itself, a variant of itself, a member of itself, a type that is not there.
        let schema = schema(
            r#"{"name": "1", "meta-type": "object", "tag": "t", "members": [{"name": "t", "type": "str"},
                   {"name": "a", "type": "2", "default": null}, {"name": "b", "type": "1", "default": null},
                   {"name": "c", "type": "9", "default": null}],
                   "variants": [{"case": "x", "type": "1"}, {"case": "y", "type": "str"}]},
               {"name": "2", "meta-type": "alternate", "members": [{"type": "2"}, {"type": "2"}]}"#,
        );
        let data = |data: &str| check(&schema, &format!(r#"{{"event": "A", "data": {data}}}"#));
        assert_eq!(data(r#"{"t": "x"}"#), [""; 0]);
        assert_eq!(data(r#"{"t": "y"}"#), ["data is of a type that the schema does not have"]);
        assert_eq!(data(r#"{"t": "x", "a": 1}"#), ["data.a is an integer, expected of one of the alternate's types"]);
        assert_eq!(data(r#"{"t": "x", "c": 1}"#), ["data.c is of a type that the schema does not have"]);
        let deep = format!("{}{{}}{}", r#"{"t": "x", "b": "#.repeat(1000), "}".repeat(1000));
        let told = data(&deep);
        assert!(told.len() == 1 && told[0].ends_with(".b.t is missing") && told[0].len() < 100, "{told:?}");
        let many: Vec<String> = (0..100_000).map(|n| format!(r#""m{n}": {n}"#)).collect();
        let told = data(&format!("{{{}}}", many.join(", ")));
        assert_eq!((told.len(), &*told[16]), (17, "there is more"));
        let long = data(&format!(r#"{{"t": "x", "{}": 1}}"#, "n".repeat(1 << 20)));
        assert!(long[0].len() < 200);
    }
}
