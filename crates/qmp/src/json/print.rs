//! Values to text, as QEMU prints them: ASCII only, `", "` and `": "` between, doubles with 17 digits.
//!
//! QEMU keeps objects in a hash table of 512 chains and prints it chain by chain, so the order of members
//! on its wire looks arbitrary but is fixed: `timestamp, event, data`; `return, id`; `id, error`. With
//! [`Order::Qemu`] the same order comes out here.

use super::{Object, Value};
use std::fmt::Write as _;

/// The order in which the members of an object are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As QEMU's hash table orders them.
    Qemu,
    /// As they were put in.
    Given,
}

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On one line, with one space behind `,` and `:`.
    Line,
    /// Over many lines, four spaces deep, as a monitor with `pretty=on` prints it.
    Pretty,
}

impl Value {
    /// The value as text.
    pub fn print(&self, order: Order, layout: Layout) -> String {
        let mut printer = Printer { out: String::new(), order, layout, depth: 0 };
        printer.value(self);
        printer.out
    }
}

impl Object {
    /// The object as text.
    pub fn print(&self, order: Order, layout: Layout) -> String {
        let mut printer = Printer { out: String::with_capacity(USUAL), order, layout, depth: 0 };
        printer.object(self);
        printer.out
    }

    /// Names and values in the order of QEMU's hash table: the order in which it prints them.
    pub fn in_qemu_order(&self) -> Vec<(&str, &Value)> {
        // A chain of the table runs from its newest entry on; the sort keeps equal chains as they are.
        let mut members: Vec<_> = self.iter().rev().collect();
        if members.len() > FEW {
            members.sort_by_cached_key(|(name, _)| chain(name));
            return members;
        }
        // So few are faster put in their places one by one, with their chains beside them.
        let mut chains = [0; FEW];
        for at in 0..members.len() {
            let Some((name, _)) = members.get(at) else { break };
            let key = chain(name);
            let place = chains.iter().take(at).position(|known| *known > key).unwrap_or(at);
            if let (Some(chains), Some(members)) = (chains.get_mut(place..=at), members.get_mut(place..=at)) {
                chains.rotate_right(1);
                members.rotate_right(1);
                if let Some(first) = chains.first_mut() {
                    *first = key;
                }
            }
        }
        members
    }
}

/// On one line, in the order given.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.print(Order::Given, Layout::Line))
    }
}

/// What an object needs for its text, as far as one can guess: the data of most events fits.
const USUAL: usize = 128;

/// Up to this many members are sorted without a list of keys.
const FEW: usize = 16;

struct Printer {
    out: String,
    order: Order,
    layout: Layout,
    depth: usize,
}

impl Printer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Int(n) => integer(&mut self.out, *n),
            Value::Uint(n) => whole(&mut self.out, *n),
            Value::Double(n) => double(&mut self.out, *n),
            Value::String(s) => string(&mut self.out, s),
            Value::Array(items) => self.array(items),
            Value::Object(object) => self.object(object),
        }
    }

    fn array(&mut self, items: &[Value]) {
        self.out.push('[');
        self.depth += 1;
        for (i, item) in items.iter().enumerate() {
            self.separate(i);
            self.value(item);
        }
        self.close(']');
    }

    fn object(&mut self, object: &Object) {
        self.out.push('{');
        self.depth += 1;
        let members = match self.order {
            Order::Qemu => object.in_qemu_order(),
            Order::Given => object.iter().collect(),
        };
        for (i, (name, value)) in members.into_iter().enumerate() {
            self.separate(i);
            string(&mut self.out, name);
            self.out.push_str(": ");
            self.value(value);
        }
        self.close('}');
    }

    fn separate(&mut self, i: usize) {
        match (self.layout, i) {
            (Layout::Line, 0) => {}
            (Layout::Line, _) => self.out.push_str(", "),
            (Layout::Pretty, 0) => self.newline(),
            (Layout::Pretty, _) => {
                self.out.push(',');
                self.newline();
            }
        }
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if self.layout == Layout::Pretty {
            self.newline();
        }
        self.out.push(bracket);
    }

    fn newline(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("    ", self.depth));
    }
}

/// The bytes of a text as QEMU keeps them, who ends its strings with a NUL: one inside is `C0 80`.
pub(super) fn modified_utf8(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().flat_map(|byte| {
        let (first, second) = if byte == 0 { (0xC0, Some(0x80)) } else { (byte, None) };
        std::iter::once(first).chain(second)
    })
}

/// The chain of QEMU's 512-chain hash table in which this name lies.
fn chain(name: &str) -> u32 {
    let (mut length, mut sum) = (0_u32, 0_u32);
    for (i, byte) in modified_utf8(name).enumerate() {
        sum = sum.wrapping_add(u32::from(byte) << (i * 5 % 24));
        length = length.wrapping_add(1);
    }
    let value = 0x238F_13AF_u32.wrapping_mul(length).wrapping_add(sum);
    1_103_515_243_u32.wrapping_mul(value).wrapping_add(12345) % 512
}

/// Appends an integer: what `write!` does, without the way there.
pub(crate) fn integer(out: &mut String, n: i64) {
    if n < 0 {
        out.push('-');
    }
    whole(out, n.unsigned_abs());
}

fn whole(out: &mut String, mut n: u64) {
    // 2^64 - 1 has 20 digits.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit += u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        first = at;
        if n == 0 {
            break;
        }
    }
    let digits = digits.get(first..).unwrap_or_default();
    out.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

/// Appends a string with its quotes: everything below 0x20 and from 0x7F as `\uXXXX`, short escapes where JSON has them.
pub fn string(out: &mut String, s: &str) {
    out.push('"');
    let mut rest = s;
    // Nearly every string is plain from end to end.
    while let Some(plain) = rest.bytes().position(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\') {
        let (run, behind) = rest.split_at(plain);
        out.push_str(run);
        let mut chars = behind.chars();
        if let Some(c) = chars.next() {
            escape(out, c);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04X}");
            }
        }
    }
}

/// Appends a double as C's `%.17g` does, which is what QEMU uses: `0.1` comes out as `0.10000000000000001`.
fn double(out: &mut String, n: f64) {
    const DIGITS: i32 = 17;
    if n.is_nan() {
        out.push_str(if n.is_sign_negative() { "-nan" } else { "nan" });
        return;
    }
    if n.is_infinite() {
        out.push_str(if n > 0.0 { "inf" } else { "-inf" });
        return;
    }
    let scientific = format!("{n:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        out.push_str(without_trailing_zeros(&format!("{n:.decimals$}")));
    } else {
        out.push_str(without_trailing_zeros(mantissa));
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
    }
}

fn without_trailing_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl Into<Value>, expected: &str) {
        assert_eq!(value.into().print(Order::Qemu, Layout::Line), expected);
    }

    #[test]
    fn doubles_come_out_as_measured_on_a_real_qemu() {
        for (n, expected) in [
            (1e3, "1000"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (f64::INFINITY, "inf"),
            (-0.0, "-0"),
            (123_456_789_012_345_678_901.0, "1.2345678901234568e+20"),
            (1e21, "1e+21"),
            (1e-7, "9.9999999999999995e-08"),
            (18_446_744_073_709_551_616.0, "1.8446744073709552e+19"),
            (f64::NAN, "nan"),
        ] {
            check(n, expected);
        }
    }

    #[test]
    fn integers_come_out_as_they_are() {
        for n in [0, 1, -1, 9, 10, 99, 100, -1_234_567_890, i64::MIN, i64::MAX] {
            check(n, &n.to_string());
        }
        check(u64::MAX, &u64::MAX.to_string());
    }

    #[test]
    fn few_members_come_out_in_the_order_in_which_many_do() {
        // More names of one length than there are chains: some share one.
        let names: Vec<String> = (0..400).map(|n| format!("m{n:03}")).collect();
        for few in names.chunks(FEW) {
            let object: Object = few.iter().map(|name| (name.clone(), Value::Int(0))).collect();
            let mut sorted: Vec<&str> = few.iter().rev().map(String::as_str).collect();
            sorted.sort_by_key(|name| chain(name));
            let order: Vec<&str> = object.in_qemu_order().into_iter().map(|(name, _)| name).collect();
            assert_eq!(order, sorted);
        }
    }

    #[test]
    fn strings_come_out_as_ascii() {
        check("\u{7f}€😀\0x", r#""\u007F\u20AC\uD83D\uDE00\u0000x""#);
        check("a\"\\/\u{8}\u{c}\n\r\t'", r#""a\"\\/\b\f\n\r\t'""#);
    }

    #[test]
    fn members_come_out_in_the_order_of_qemus_hash_table() {
        let object = |names: &[&'static str]| names.iter().fold(Object::new(), |object, name| object.with(*name, 0));
        for (names, expected) in [
            (&["event", "data", "timestamp"][..], r#"{"timestamp": 0, "event": 0, "data": 0}"#),
            (&["id", "return"], r#"{"return": 0, "id": 0}"#),
            (&["id", "error"], r#"{"id": 0, "error": 0}"#),
            (&["q", "w", "e", "r", "t", "y"], r#"{"r": 0, "w": 0, "e": 0, "t": 0, "y": 0, "q": 0}"#),
            (
                &["device", "slot", "slot-type", "source", "status"],
                r#"{"device": 0, "source": 0, "status": 0, "slot": 0, "slot-type": 0}"#,
            ),
        ] {
            check(object(names), expected);
        }
    }

    #[test]
    fn pretty_is_four_spaces_deep() {
        let value = Value::from(Object::new().with("return", Object::new().with("a", vec![Value::Null, 1.into()])));
        assert_eq!(
            value.print(Order::Qemu, Layout::Pretty),
            "{\n    \"return\": {\n        \"a\": [\n            null,\n            1\n        ]\n    }\n}"
        );
    }
}
