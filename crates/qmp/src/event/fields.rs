//! Reading the data of an event member by member: known ones into their place, others kept.

use crate::json::scan::{Scanner, SyntaxError};
use crate::json::{Json, Object, Value};
use std::fmt;

/// The data of an event is not as its type wants it. The event itself is none the worse for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    /// Which event.
    pub event: &'static str,
    /// The member, or `None` for the data as a whole.
    pub member: Option<&'static str>,
    /// What should have been there.
    pub expected: &'static str,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.member {
            Some(member) => write!(f, "{}: expected member '{member}' to be {}", self.event, self.expected),
            None => write!(f, "{}: expected data that is {}", self.event, self.expected),
        }
    }
}

impl std::error::Error for EventError {}

/// Reads the `data` of one event.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) event: &'static str,
}

impl Fields {
    /// Calls `member` for each member of the data. It consumes the value if the name is one it knows (`true`), and
    /// leaves it if not (`false`): then the member goes to `extra`.
    pub(super) fn read<'a>(
        self,
        data: Option<&'a Json>,
        extra: &mut Object,
        mut member: impl FnMut(&str, &mut Scanner<'a>) -> Result<bool, EventError>,
    ) -> Result<(), EventError> {
        let data = data.ok_or(self.no_object())?;
        self.walk(&mut Scanner::new(data.as_text()), extra, &mut member)
    }

    /// The same for an object inside the data.
    pub(super) fn walk<'a>(
        self,
        scanner: &mut Scanner<'a>,
        extra: &mut Object,
        member: &mut impl FnMut(&str, &mut Scanner<'a>) -> Result<bool, EventError>,
    ) -> Result<(), EventError> {
        let walked = scanner.object(|scanner, name| {
            let name = name.text();
            if !member(&name, scanner).map_err(Stop::Misfit)? {
                let value = scanner.value()?;
                extra.insert(name.into_owned(), Json::checked(value).value());
            }
            Ok(())
        });
        if !extra.is_empty() {
            *extra = backwards(std::mem::take(extra));
        }
        walked.map_err(|stop| match stop {
            Stop::Misfit(error) => error,
            Stop::Syntax => self.no_object(),
        })
    }

    /// The integer that comes next.
    pub(super) fn integer<N: TryFrom<i64>>(
        self,
        scanner: &mut Scanner<'_>,
        member: &'static str,
    ) -> Result<N, EventError> {
        let expected = "an integer that fits its type";
        let misfit = EventError { event: self.event, member: Some(member), expected };
        let n = scanner.integer().map_err(|_| misfit.clone())?;
        N::try_from(n).map_err(|_| misfit)
    }

    /// The string that comes next.
    pub(super) fn string(self, scanner: &mut Scanner<'_>, member: &'static str) -> Result<Box<str>, EventError> {
        match scanner.string() {
            Ok(text) => Ok(text.text().into()),
            Err(_) => Err(EventError { event: self.event, member: Some(member), expected: "a string" }),
        }
    }

    /// The member must have been there.
    pub(super) fn required<T>(self, member: &'static str, value: Option<T>) -> Result<T, EventError> {
        value.ok_or(EventError { event: self.event, member: Some(member), expected: "present" })
    }

    fn no_object(self) -> EventError {
        EventError { event: self.event, member: None, expected: "an object" }
    }
}

/// Why a walk over the members ended early. The data is checked JSON, so bad syntax can only mean: not an object.
enum Stop {
    Misfit(EventError),
    Syntax,
}

impl From<SyntaxError> for Stop {
    fn from(_: SyntaxError) -> Stop {
        Stop::Syntax
    }
}

/// The members from the last to the first, in all objects inside too.
///
/// QEMU prints those that share a chain of its hash table from the newest to the oldest. So what was read off the wire must
/// be put in backwards to be printed as it was.
fn backwards(object: Object) -> Object {
    let members: Vec<_> = object.into_iter().collect();
    members.into_iter().rev().map(|(name, value)| (name, backwards_inside(value))).collect()
}

pub(super) fn backwards_inside(value: Value) -> Value {
    match value {
        Value::Object(object) => backwards(object).into(),
        Value::Array(items) => items.into_iter().map(backwards_inside).collect::<Vec<_>>().into(),
        other => other,
    }
}

/// Puts the members that have no place in a type back beside those that have, and never over them.
pub(super) fn put_back(object: &mut Object, extra: &Object) {
    for (name, value) in extra.iter() {
        if object.get(name).is_none() {
            object.insert(name.to_owned(), value.clone());
        }
    }
}

/// An enum of QEMU's whose values are names, and to which a later QEMU may add some.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A value that qev does not know, as it came.
            Other(Box<str>),
        }

        impl $name {
            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $wire,)*
                    $name::Other(name) => name,
                }
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> $name {
                match name {
                    $($wire => $name::$variant,)*
                    other => $name::Other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use open_enum;
