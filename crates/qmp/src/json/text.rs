//! Checked text to values.

use super::scan::{Scanner, SyntaxError};
use super::{Object, Value};

/// The value that a document stands for. Of members with the same name the last one counts.
pub(super) fn parse(text: &str) -> Result<Value, SyntaxError> {
    let mut scanner = Scanner::new(text);
    // The scanner's own walk bounds the nesting, so the recursion below is bounded too.
    scanner.clone().value()?;
    let value = value(&mut scanner)?;
    scanner.end()?;
    Ok(value)
}

fn value(scanner: &mut Scanner<'_>) -> Result<Value, SyntaxError> {
    Ok(match scanner.peek() {
        Some(b'{') => {
            let mut members = Object::new();
            scanner.object(|scanner, name| {
                let name = name.text().into_owned();
                let value = value(scanner)?;
                members.insert(name, value);
                Ok::<_, SyntaxError>(())
            })?;
            Value::Object(members)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            scanner.array(|scanner| {
                items.push(value(scanner)?);
                Ok::<_, SyntaxError>(())
            })?;
            Value::Array(items)
        }
        Some(b'"') => Value::String(scanner.string()?.text().into_owned()),
        _ => match scanner.value()? {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            literal => number(literal),
        },
    })
}

/// As QEMU reads a number: 64 bits with sign if it fits, else without, else a double.
pub(super) fn number(literal: &str) -> Value {
    if let Ok(n) = literal.parse::<i64>() {
        return Value::Int(n);
    }
    if let Ok(n) = literal.parse::<u64>() {
        return Value::Uint(n);
    }
    // Rust reads "inf" and "nan" as C prints them, and overflows to infinity as C does.
    Value::Double(literal.parse().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::print::{Layout, Order};

    #[test]
    fn a_document_is_read_and_printed_as_qemu_would() {
        for (text, expected) in [
            (r#"{"b":1,"a":[1e3, 0.1,null ,true]}"#, r#"{"b": 1, "a": [1000, 0.10000000000000001, null, true]}"#),
            (
                "[18446744073709551615, 18446744073709551616, -9223372036854775808]",
                "[18446744073709551615, 1.8446744073709552e+19, -9223372036854775808]",
            ),
            ("[inf, -inf, 1.5e400, -0]", "[inf, -inf, inf, 0]"),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
        ] {
            let value = parse(text).unwrap();
            assert_eq!(value.print(Order::Given, Layout::Line), expected);
        }
    }

    #[test]
    fn many_members_are_all_there() {
        let text = format!("{{{}}}", (0..5000).map(|i| format!("\"m{}\":{i}", i % 4000)).collect::<Vec<_>>().join(","));
        let value = parse(&text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 4000);
        assert_eq!(value.get("m999"), Some(&Value::Int(4999)));
        assert_eq!(value.get("m1000"), Some(&Value::Int(1000)));
    }
}
