//! What a client gave as arguments, as text from which another QEMU reads the same values.
//!
//! QEMU's own printing is not that text: it prints the double `1e3` as `1000`, which is read as an integer, and what is too
//! large for a double as `inf`, which is not read at all. Here a double stays one, to the last bit.

use qev_qmp::json::print::string;
use qev_qmp::{Json, Object, Value};
use std::fmt::Write as _;

/// The text; nothing for no members, which means the same.
pub(super) fn text(arguments: &Object) -> Option<Json> {
    if arguments.is_empty() {
        return None;
    }
    let mut out = String::new();
    object(&mut out, arguments);
    // What is printed here can be read: it was values before.
    Json::parse(&out).ok()
}

fn value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        // Writing to a String cannot fail.
        Value::Int(n) => drop(write!(out, "{n}")),
        Value::Uint(n) => drop(write!(out, "{n}")),
        Value::Double(n) if n.is_infinite() => out.push_str(if *n > 0.0 { "1e999" } else { "-1e999" }),
        // QEMU takes no exponent behind a bare 0.
        Value::Double(n) if *n == 0.0 => out.push_str(if n.is_sign_negative() { "-0.0" } else { "0.0" }),
        // The shortest that reads the same, always with an exponent.
        Value::Double(n) => drop(write!(out, "{n:e}")),
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                self::separate(out, i);
                self::value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => object(out, members),
    }
}

/// In the order given: where two names share a chain of QEMU's hash table, it is the order of its answers.
fn object(out: &mut String, members: &Object) {
    out.push('{');
    for (i, (name, member)) in members.iter().enumerate() {
        separate(out, i);
        string(out, name);
        out.push_str(": ");
        value(out, member);
    }
    out.push('}');
}

fn separate(out: &mut String, i: usize) {
    if i > 0 {
        out.push_str(", ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qev_qmp::json::request::RequestReader;

    fn read(text: &str) -> Value {
        let mut reader = RequestReader::new();
        reader.feed(text.as_bytes());
        reader.next_document().unwrap().unwrap()
    }

    fn check(given: &str, expected: &str) {
        let Value::Object(arguments) = read(given) else { panic!("no object: {given}") };
        let printed = text(&arguments);
        assert_eq!(printed.as_ref().map_or("", Json::as_text), expected);
        if let Some(printed) = printed {
            assert_eq!(read(printed.as_text()), Value::Object(arguments));
        }
    }

    #[test]
    fn every_kind_of_number_stays_of_its_kind() {
        check("{}", "");
        check(r#"{"a":1e3,"b":0.1,"c":-0.0}"#, r#"{"a": 1e3, "b": 1e-1, "c": -0.0}"#);
        check(
            r#"{"a":18446744073709551615,"b":-9223372036854775808}"#,
            r#"{"a": 18446744073709551615, "b": -9223372036854775808}"#,
        );
        check(r#"{"a":18446744073709551616}"#, r#"{"a": 1.8446744073709552e19}"#);
        check(r#"{"a":[1.5e400,-1.5e400]}"#, r#"{"a": [1e999, -1e999]}"#);
    }

    #[test]
    fn quotes_escapes_and_order_are_those_that_mean_the_same() {
        check(r#"{'b':'it\'s "x"','a':[{},null,true]}"#, r#"{"b": "it's \"x\"", "a": [{}, null, true]}"#);
        check(r#"{"a":"\u0000é\ud83d\ude00"}"#, r#"{"a": "\u0000\u00E9\uD83D\uDE00"}"#);
    }

    proptest! {
        #[test]
        fn any_double_is_read_again_to_the_last_bit(bits in any::<u64>()) {
            let n = f64::from_bits(bits);
            prop_assume!(!n.is_nan());
            let arguments = Object::new().with("n", Value::Double(n));
            let printed = text(&arguments).unwrap();
            let Value::Object(read) = read(printed.as_text()) else { unreachable!() };
            let Some(Value::Double(again)) = read.get("n") else { panic!("{printed}") };
            prop_assert_eq!(again.to_bits(), n.to_bits());
        }
    }
}
