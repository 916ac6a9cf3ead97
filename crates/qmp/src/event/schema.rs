//! How an event is declared: a few lines that read like QEMU's schema, from which its type, its decoding and its encoding
//! come.
//!
//! ```text
//! event! {
//!     /// The tray of a removable drive opened or closed.
//!     DeviceTrayMoved = "DEVICE_TRAY_MOVED", since "1.1" {
//!         /// The name of the drive; empty if it has none.
//!         device: Box<str>;
//!         /// The id or the QOM path of the device.
//!         id: Option<Box<str>>, since "2.8";
//!         /// Whether it is open now.
//!         tray_open = "tray-open": bool;
//!     }
//! }
//! ```
//!
//! | | |
//! |---|---|
//! | `event! { Name = "NAME", since "…" { … } }` | an event: its type, its name, the first QEMU that sent it, its members |
//! | `event! { Name = "NAME", since "…"; }` | an event without data |
//! | `since "…", until "…"` | an event that is not sent any more: the last QEMU that did |
//! | `object! { Name { … } }` | a struct |
//! | `choice! { Name { Value = "value", … } }` | an enum, open to values of later QEMUs |
//! | `member: Type;` | a member that was always there |
//! | `member: Option<Type>;` | a member that may be absent |
//! | `member: Option<Type>, since "…";` | a member that is younger than its event, or its struct |
//! | `member = "its-name": Type;` | a member whose name is no name in Rust |
//!
//! Members stand in the order of QEMU's schema, those of a base type first: where two of them share a chain of QEMU's hash
//! table, the order of the declaration shows on the wire. Numbers are as wide as there: `int` is `i64`, `uint64` and `size`
//! are `u64`. An unknown member is kept in `extra`, which every struct has, and comes back when the value is encoded.
//!
//! A union is an enum of Rust's, written by hand: there are two.

// What the code behind a declaration needs, which finds it here wherever the declaration stands.
pub(super) use super::EventError;
pub(super) use super::fields::{Fields, open_enum, put_back};
pub(super) use crate::json::scan::Scanner;
pub(super) use crate::json::{Json, Object, Value};

use std::borrow::Cow;

/// A type of QEMU's schema: how a value of it is read from the wire and written to it.
pub(super) trait Wire: Sized {
    /// Reads the value that comes next. `member` is whose value it is: the error names it.
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<Self, EventError>;

    /// The value as it goes over the wire.
    fn value(&self) -> Value;
}

/// What a struct has for a member: the value, or an `Option` of it where some QEMU does not send it.
pub(super) trait Member: Sized {
    /// The value, when it is there.
    type Present: Wire;

    /// What the struct gets, after the whole object was read.
    fn found(present: Option<Self::Present>, fields: Fields, member: &'static str) -> Result<Self, EventError>;

    /// Puts the member into an object, if it is there.
    fn put(&self, object: &mut Object, member: &'static str);
}

impl<T: Wire> Member for T {
    type Present = T;

    fn found(present: Option<T>, fields: Fields, member: &'static str) -> Result<T, EventError> {
        fields.required(member, present)
    }

    fn put(&self, object: &mut Object, member: &'static str) {
        object.insert(member, self.value());
    }
}

impl<T: Wire> Member for Option<T> {
    type Present = T;

    fn found(present: Option<T>, _: Fields, _: &'static str) -> Result<Option<T>, EventError> {
        Ok(present)
    }

    fn put(&self, object: &mut Object, member: &'static str) {
        if let Some(value) = self {
            object.insert(member, value.value());
        }
    }
}

/// A struct of QEMU's schema, or the data of an event: `object!` implements it.
pub(super) trait Members: Sized {
    /// Reads the object that comes next.
    fn read_members(fields: Fields, scanner: &mut Scanner<'_>) -> Result<Self, EventError>;

    /// The members as they go over the wire.
    fn to_object(&self) -> Object;
}

/// The data of an event. An event without data is sent without any: that is an object without members too.
pub(super) fn decode<T: Members>(event: &'static str, data: Option<&Json>) -> Result<T, EventError> {
    let fields = Fields { event };
    match data {
        Some(data) => T::read_members(fields, &mut Scanner::new(data.as_text())),
        None => T::read_members(fields, &mut Scanner::new("{}")).map_err(|missing| EventError {
            member: None,
            expected: "an object",
            ..missing
        }),
    }
}

/// The data of an event, or none if it has no member.
pub(super) fn encode<T: Members>(event: &T) -> Option<Object> {
    Some(event.to_object()).filter(|data| !data.is_empty())
}

/// A member that was met in an object, its value still to be read.
pub(super) struct Met<'m, 'a> {
    pub(super) name: &'m str,
    fields: Fields,
    scanner: &'m mut Scanner<'a>,
}

impl Met<'_, '_> {
    /// Reads its value.
    pub(super) fn read<T: Wire>(&mut self, member: &'static str) -> Result<T, EventError> {
        T::read(self.fields, self.scanner, member)
    }
}

/// Walks over an object. `take` reads the value of a member that it knows (`true`), or leaves it to `extra` (`false`).
///
/// It is one function for all types, called through a pointer, because there are many types and few events.
pub(super) fn walk(
    fields: Fields,
    scanner: &mut Scanner<'_>,
    extra: &mut Object,
    take: &mut dyn FnMut(&mut Met<'_, '_>) -> Result<bool, EventError>,
) -> Result<(), EventError> {
    fields.walk(scanner, extra, &mut |name, scanner| take(&mut Met { name, fields, scanner }))
}

/// The member is there, but is something else.
pub(super) fn misfit(fields: Fields, member: &'static str, expected: &'static str) -> EventError {
    EventError { event: fields.event, member: Some(member), expected }
}

/// Reads a whole object of whatever members.
pub(super) fn any_object(
    fields: Fields,
    scanner: &mut Scanner<'_>,
    member: &'static str,
) -> Result<Object, EventError> {
    match Value::read(fields, scanner, member)? {
        Value::Object(object) => Ok(object),
        _ => Err(misfit(fields, member, "an object")),
    }
}

/// Reads a string without keeping it.
pub(super) fn text<'a>(
    fields: Fields,
    scanner: &mut Scanner<'a>,
    member: &'static str,
) -> Result<Cow<'a, str>, EventError> {
    scanner.string().map(|text| text.text()).map_err(|_| misfit(fields, member, "a string"))
}

/// `str`
impl Wire for Box<str> {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<Box<str>, EventError> {
        fields.string(scanner, member)
    }

    fn value(&self) -> Value {
        Value::from(&**self)
    }
}

/// `bool`
impl Wire for bool {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<bool, EventError> {
        match scanner.value() {
            Ok("true") => Ok(true),
            Ok("false") => Ok(false),
            _ => Err(misfit(fields, member, "true or false")),
        }
    }

    fn value(&self) -> Value {
        Value::Bool(*self)
    }
}

/// `int`
impl Wire for i64 {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<i64, EventError> {
        fields.integer(scanner, member)
    }

    fn value(&self) -> Value {
        Value::Int(*self)
    }
}

/// `uint64` and `size`
impl Wire for u64 {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<u64, EventError> {
        let number = scanner.value().ok().and_then(|number| number.parse().ok());
        number.ok_or(misfit(fields, member, "an integer that fits its type"))
    }

    fn value(&self) -> Value {
        Value::from(*self)
    }
}

/// `uint32`
impl Wire for u32 {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<u32, EventError> {
        fields.integer(scanner, member)
    }

    fn value(&self) -> Value {
        Value::from(*self)
    }
}

/// `uint16`
impl Wire for u16 {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<u16, EventError> {
        fields.integer(scanner, member)
    }

    fn value(&self) -> Value {
        Value::Int((*self).into())
    }
}

/// `any`
impl Wire for Value {
    fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<Value, EventError> {
        let value = scanner.value().map_err(|_| misfit(fields, member, "present"))?;
        Ok(super::fields::backwards_inside(Json::checked(value).value()))
    }

    fn value(&self) -> Value {
        self.clone()
    }
}

/// The name of a member on the wire: that of the field, unless another is given.
macro_rules! wire_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $wire:literal) => {
        $wire
    };
}

/// A struct of QEMU's schema.
macro_rules! object {
    ($(#[$attribute:meta])* $name:ident {
        $($(#[$doc:meta])* $field:ident $(= $wire:literal)? : $type:ty $(, since $since:literal)?;)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $(#[$doc])*
                $(#[doc = concat!("\n\nSince QEMU ", $since, ".")])?
                pub $field: $type,
            )*
            /// Members that qev does not know.
            pub extra: $crate::json::Object,
        }

        const _: () = {
            use $crate::event::schema::*;

            impl Members for $name {
                fn read_members(fields: Fields, scanner: &mut Scanner<'_>) -> Result<$name, EventError> {
                    $(let mut $field = None;)*
                    let mut extra = Object::new();
                    walk(fields, scanner, &mut extra, &mut |met| {
                        Ok(match met.name {
                            $(wire_name!($field $($wire)?) => {
                                $field = Some(met.read(wire_name!($field $($wire)?))?);
                                true
                            })*
                            _ => false,
                        })
                    })?;
                    Ok($name {
                        $($field: Member::found($field, fields, wire_name!($field $($wire)?))?,)*
                        extra,
                    })
                }

                fn to_object(&self) -> Object {
                    let mut object = Object::new();
                    $(Member::put(&self.$field, &mut object, wire_name!($field $($wire)?));)*
                    put_back(&mut object, &self.extra);
                    object
                }
            }

            impl Wire for $name {
                fn read(
                    fields: Fields,
                    scanner: &mut Scanner<'_>,
                    member: &'static str,
                ) -> Result<$name, EventError> {
                    match scanner.peek() {
                        Some(b'{') => Members::read_members(fields, scanner),
                        _ => Err(misfit(fields, member, "an object")),
                    }
                }

                fn value(&self) -> Value {
                    self.to_object().into()
                }
            }
        };
    };
}

/// An event of QEMU's schema.
macro_rules! event {
    // Without data.
    ($(#[$attribute:meta])* $name:ident = $wire:literal, since $since:literal $(, until $until:literal)?;) => {
        $crate::event::schema::event! {
            $(#[$attribute])* #[derive(Default)] $name = $wire, since $since $(, until $until)? {}
        }
    };
    ($(#[$attribute:meta])* $name:ident = $wire:literal, since $since:literal $(, until $until:literal)? {
        $($members:tt)*
    }) => {
        $crate::event::schema::object! {
            $(#[$attribute])*
            #[doc = concat!("\n\n`", $wire, "`, since QEMU ", $since $(, ", until QEMU ", $until)?, ".")]
            $name { $($members)* }
        }

        impl $name {
            /// The event's name.
            pub const NAME: &'static str = $wire;
        }

        impl From<$name> for $crate::event::Typed {
            fn from(event: $name) -> $crate::event::Typed {
                $crate::event::Typed::$name(event.into())
            }
        }
    };
}

/// An enum of QEMU's schema.
macro_rules! choice {
    ($(#[$attribute:meta])* $name:ident { $($values:tt)* }) => {
        $crate::event::schema::open_enum! { $(#[$attribute])* $name { $($values)* } }
        $crate::event::schema::by_name!($name);
    };
}

/// Lets an open enum be the type of a member.
macro_rules! by_name {
    ($name:ident) => {
        const _: () = {
            use $crate::event::schema::*;

            impl Wire for $name {
                fn read(fields: Fields, scanner: &mut Scanner<'_>, member: &'static str) -> Result<$name, EventError> {
                    text(fields, scanner, member).map(|name| (&*name).into())
                }

                fn value(&self) -> Value {
                    self.as_str().into()
                }
            }
        };
    };
}

pub(super) use {by_name, choice, event, object, wire_name};
