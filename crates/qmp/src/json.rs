//! JSON as QEMU reads and writes it, which is not quite JSON.
//!
//! QEMU takes single-quoted strings, prints ASCII only, orders the members of an object by a hash, prints
//! doubles with 17 digits, and writes `inf` for a number that overflowed. A client that stops at any of
//! these loses its place in the stream; a server that does not do them is told apart from QEMU. So both
//! directions live here:
//!
//! - [`Value`] and [`Object`]: a document as values; what commands and replies are made of.
//! - [`Json`]: one checked JSON document as text; how the `data` of an event is carried, byte for byte.
//! - [`mod@print`]: values to text, laid out as QEMU lays them out.
//! - [`scan`]: text to checked text, without building values; what makes events cheap.
//! - [`request`]: bytes of a client to values, with QEMU's limits and QEMU's error messages.

pub mod print;
pub mod request;
pub mod scan;

mod lexer;
mod raw;
mod text;
mod unvisited;
mod utf8;

pub use raw::{Json, NotJson};

use std::borrow::Cow;
use std::collections::HashMap;

/// One JSON value, with the three kinds of number that QEMU tells apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits 64 bits with sign.
    Int(i64),
    /// An integer from 2^63 to 2^64 - 1; smaller ones are [`Value::Int`].
    Uint(u64),
    /// Any other number; infinite when QEMU printed `inf`.
    Double(f64),
    /// A string, escapes resolved.
    String(String),
    /// `[…]`
    Array(Vec<Value>),
    /// `{…}`
    Object(Object),
}

impl Value {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The integer, if it is one and is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(n) => u64::try_from(*n).ok(),
            Value::Uint(n) => Some(*n),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The member of this name, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name)
    }

    /// What QEMU's error messages call this kind of value: `string`, `int`, `number`, `boolean`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Uint(_) => "int",
            Value::Double(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $to:expr;)*) => {
        $(impl From<$from> for Value { fn from($it: $from) -> Value { $to } })*
    };
}

value_from! {
    bool => |it| Value::Bool(it);
    i64 => |it| Value::Int(it);
    i32 => |it| Value::Int(it.into());
    u32 => |it| Value::Int(it.into());
    u64 => |it| i64::try_from(it).map_or(Value::Uint(it), Value::Int);
    f64 => |it| Value::Double(it);
    &str => |it| Value::String(it.to_owned());
    String => |it| Value::String(it);
    Vec<Value> => |it| Value::Array(it);
    Object => |it| Value::Object(it);
}

/// The members of an object in the order in which they were put in.
///
/// Printing may order them as QEMU would: see [`print::Order`].
#[derive(Clone, Debug, Default)]
pub struct Object {
    // Most names are QEMU's and known when this is compiled: those cost nothing.
    members: Vec<(Name, Value)>,
    /// Where each name is, once there are many: an object of a million members must not take a million times a million
    /// comparisons.
    #[expect(clippy::box_collection, reason = "nearly no object has one, and each would pay for its room")]
    index: Option<Box<HashMap<Name, usize>>>,
}

/// Up to this many members, looking at each is faster than an index.
const FEW: usize = 16;

/// The name of a member.
pub type Name = Cow<'static, str>;

impl Object {
    /// An object without members.
    pub fn new() -> Object {
        Object::default()
    }

    /// Adds a member, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<Name>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        if let Some((_, old)) = self.position(&name).and_then(|at| self.members.get_mut(at)) {
            *old = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.members.len());
        }
        self.members.push((name, value));
        if self.index.is_none() && self.members.len() > FEW {
            self.build_index();
        }
    }

    /// The same, for building an object in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<Name>, value: impl Into<Value>) -> Object {
        self.insert(name, value);
        self
    }

    /// The value of the member of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(self.position(name)?).map(|(_, value)| value)
    }

    /// The value of the member of this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let at = self.position(name)?;
        self.members.get_mut(at).map(|(_, value)| value)
    }

    /// The member that QEMU names when it expected only members of these names and visited them in this order: of several
    /// that it did not expect, the one that comes first in a hash table.
    pub fn unexpected(&self, visited: &[&str]) -> Option<&str> {
        if self.iter().all(|(name, _)| visited.contains(&name)) {
            return None;
        }
        unvisited::first(self.in_qemu_order().into_iter().map(|(name, _)| name), visited)
    }

    /// Takes the member of this name out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let (_, value) = self.members.remove(self.position(name)?);
        if self.index.take().is_some() {
            self.build_index();
        }
        Some(value)
    }

    /// Names and values, in the order in which they were put in.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> + ExactSizeIterator {
        self.members.iter().map(|(n, v)| (&**n, v))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn position(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.members.iter().position(|(known, _)| known == name),
        }
    }

    fn build_index(&mut self) {
        let positions = self.members.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
        self.index = Some(Box::new(positions.collect()));
    }
}

/// Two objects are equal when they have the same members, in whatever order.
impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<N: Into<Name>> FromIterator<(N, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(members: I) -> Object {
        let mut object = Object::new();
        for (name, value) in members {
            object.insert(name, value);
        }
        object
    }
}

impl IntoIterator for Object {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<(Name, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_make_objects_differ() {
        let ab = Object::new().with("a", 1).with("b", 2);
        let ba = Object::new().with("b", 2).with("a", 1);
        assert_eq!(ab, ba);
        assert_ne!(ab, Object::new().with("a", 1));
    }

    #[test]
    fn an_integer_has_one_kind_whatever_it_came_as() {
        assert_eq!(Value::from(7_u64), Value::from(7_i64));
        assert_eq!(Value::from(u64::MAX), Value::Uint(u64::MAX));
        assert_eq!(Value::Int(-1).as_u64(), None);
    }

    #[test]
    fn many_members_are_found_and_taken_out_like_few() {
        let name = |i: i64| format!("m{i}");
        let mut object: Object = (0..100_i64).map(|i| (name(i), Value::Int(i))).collect();
        object.insert(name(99), 0);
        for i in 0..100 {
            assert_eq!(object.remove(&name(i)), Some(Value::Int(if i == 99 { 0 } else { i })));
            assert_eq!(object.get(&name(i)), None);
        }
        assert!(object.is_empty());
    }

    #[test]
    fn inserting_a_name_again_replaces_its_value() {
        let mut object = Object::new().with("a", 1).with("b", 2);
        object.insert("a", 3);
        assert_eq!(object.get("a"), Some(&Value::Int(3)));
        assert_eq!(object.remove("a"), Some(Value::Int(3)));
        assert_eq!(object.len(), 1);
    }
}
