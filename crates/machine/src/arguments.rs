//! The arguments of a command, checked as QEMU checks them and with what QEMU says.

use qev_qmp::{Object, QmpError, Value};

/// The arguments of one command. Each is taken in the order of the command's definition, as QEMU checks them; what
/// is left at the end is unexpected.
#[derive(Debug)]
pub(crate) struct Arguments {
    members: Object,
    /// Whose values were taken.
    taken: Vec<&'static str>,
}

impl Arguments {
    pub(crate) fn new(arguments: Object) -> Arguments {
        Arguments { members: arguments, taken: Vec::new() }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        let value = self.members.get_mut(name).filter(|_| !self.taken.contains(&name))?;
        self.taken.push(name);
        Some(std::mem::take(value))
    }

    /// The string that must be there.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<String, QmpError> {
        self.optional_string(name)?.ok_or_else(|| missing(name))
    }

    /// The string, if it is there.
    pub(crate) fn optional_string(&mut self, name: &'static str) -> Result<Option<String>, QmpError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "string")),
        }
    }

    /// The integer that must be there.
    pub(crate) fn integer(&mut self, name: &'static str) -> Result<i64, QmpError> {
        self.optional_integer(name)?.ok_or_else(|| missing(name))
    }

    /// The integer, if it is there.
    pub(crate) fn optional_integer(&mut self, name: &'static str) -> Result<Option<i64>, QmpError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Int(n)) => Ok(Some(n)),
            Some(_) => Err(wrong_type(name, "integer")),
        }
    }

    /// The unsigned number, if it is there, in the range of its type.
    pub(crate) fn optional_unsigned<N: TryFrom<u64> + Bounded>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<N>, QmpError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        if !matches!(value, Value::Int(_) | Value::Uint(_)) {
            return Err(wrong_type(name, "integer"));
        }
        let in_range = value.as_u64().and_then(|n| N::try_from(n).ok());
        in_range
            .map(Some)
            .ok_or_else(|| QmpError::generic(format!("Parameter '{name}' expects a number from 0 to {}", N::LARGEST)))
    }

    /// The unsigned number that must be there, in the range of its type.
    pub(crate) fn unsigned<N: TryFrom<u64> + Bounded>(&mut self, name: &'static str) -> Result<N, QmpError> {
        self.optional_unsigned(name)?.ok_or_else(|| missing(name))
    }

    /// The number of bytes that must be there (`uint64`). QEMU takes a negative one for what it is in two's complement.
    pub(crate) fn uint64(&mut self, name: &'static str) -> Result<u64, QmpError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Value::Int(n)) => Ok(n.cast_unsigned()),
            Some(Value::Uint(n)) => Ok(n),
            Some(_) => Err(QmpError::generic(format!("Parameter '{name}' expects uint64"))),
        }
    }

    /// The truth value, if it is there.
    pub(crate) fn optional_boolean(&mut self, name: &'static str) -> Result<Option<bool>, QmpError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(b)),
            Some(_) => Err(wrong_type(name, "boolean")),
        }
    }

    /// The object, if it is there.
    pub(crate) fn optional_object(&mut self, name: &'static str) -> Result<Option<Object>, QmpError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong_type(name, "object")),
        }
    }

    /// One of these names, if it is there.
    pub(crate) fn optional_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, QmpError> {
        let Some(given) = self.optional_string(name)? else { return Ok(None) };
        if let Some((_, choice)) = choices.iter().find(|(choice, _)| *choice == given) {
            return Ok(Some(*choice));
        }
        let names: Vec<_> = choices.iter().map(|(choice, _)| format!("'{choice}'")).collect();
        let names = names.join(", ");
        Err(QmpError::generic(format!("Parameter '{name}' does not accept value '{given}': expected one of {names}")))
    }

    /// Ignores an argument that a real QEMU takes and that changes nothing here.
    pub(crate) fn ignore(&mut self, name: &'static str) {
        self.take(name);
    }

    /// All of them, for commands whose arguments depend on one of them.
    pub(crate) fn all(self) -> Object {
        self.members
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), QmpError> {
        match self.members.unexpected(&self.taken) {
            Some(name) => Err(unexpected(name)),
            None => Ok(()),
        }
    }
}

/// A type of unsigned number, for the message that says what it holds.
pub(crate) trait Bounded {
    const LARGEST: u64;
}

impl Bounded for u32 {
    const LARGEST: u64 = 0xFFFF_FFFF;
}

impl Bounded for u64 {
    const LARGEST: u64 = u64::MAX;
}

pub(crate) fn missing(name: &str) -> QmpError {
    QmpError::generic(format!("Parameter '{name}' is missing"))
}

pub(crate) fn unexpected(name: &str) -> QmpError {
    QmpError::generic(format!("Parameter '{name}' is unexpected"))
}

fn wrong_type(name: &str, expected: &str) -> QmpError {
    QmpError::generic(format!("Invalid parameter type for '{name}', expected: {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments::new(Object::new().with("text", "x").with("number", -1).with("flag", true).with("huge", u64::MAX))
    }

    fn check<T: std::fmt::Debug>(result: Result<T, QmpError>, expected: &str) {
        assert_eq!(result.unwrap_err().desc, expected);
    }

    #[test]
    fn the_messages_are_those_of_a_real_qemu() {
        check(arguments().string("value"), "Parameter 'value' is missing");
        check(arguments().integer("value"), "Parameter 'value' is missing");
        check(arguments().uint64("value"), "Parameter 'value' is missing");
        check(arguments().string("number"), "Invalid parameter type for 'number', expected: string");
        check(arguments().integer("text"), "Invalid parameter type for 'text', expected: integer");
        check(arguments().integer("huge"), "Invalid parameter type for 'huge', expected: integer");
        check(arguments().uint64("text"), "Parameter 'text' expects uint64");
        check(arguments().optional_boolean("text"), "Invalid parameter type for 'text', expected: boolean");
        check(arguments().end(), "Parameter 'number' is unexpected");
    }

    #[test]
    fn numbers_of_the_guests_socket_say_their_range() {
        check(arguments().unsigned::<u32>("number"), "Parameter 'number' expects a number from 0 to 4294967295");
        check(arguments().unsigned::<u32>("huge"), "Parameter 'huge' expects a number from 0 to 4294967295");
        check(arguments().unsigned::<u32>("text"), "Invalid parameter type for 'text', expected: integer");
        assert_eq!(arguments().unsigned::<u64>("huge"), Ok(u64::MAX));
        check(
            arguments().optional_choice("text", &[("accept", 1), ("ignore", 2)]),
            "Parameter 'text' does not accept value 'x': expected one of 'accept', 'ignore'",
        );
    }

    #[test]
    fn what_was_taken_is_not_left() {
        let mut arguments = arguments();
        assert_eq!(arguments.string("text").unwrap(), "x");
        assert_eq!(arguments.uint64("number").unwrap(), u64::MAX);
        assert_eq!(arguments.optional_boolean("flag"), Ok(Some(true)));
        assert_eq!(arguments.optional_object("info"), Ok(None));
        arguments.ignore("huge");
        assert_eq!(arguments.end(), Ok(()));
    }
}
