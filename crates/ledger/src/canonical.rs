//! Canonical JSON (RFC 8785): exactly one spelling per value, so that a digest of it means the value.
//!
//! Restricted to what every implementation reads alike: strings, booleans, null, integers that an IEEE
//! double holds exactly (RFC 8785 §3.2.2.3), arrays and objects. Not here: floating point, which is refused.

use serde_json::{Map, Value};

/// Largest canonical text in bytes: an entry bundle has a 16-bit length before each entry (C2SP tlog-tiles).
pub const CANONICAL_BYTES_MAX: usize = 65_535;
/// Largest magnitude of an integer: up to 2^53 a double holds every one exactly (RFC 8785 §3.2.2.3).
pub const INTEGER_MAX: i64 = 1 << 53;
/// Deepest nesting of arrays and objects: entries are nearly flat, and recursion must be bounded.
pub const DEPTH_MAX: usize = 16;

/// Why a value has no canonical form here, or why bytes are not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent, or one outside ±2^53.
    #[error("number `{0}` is not an integer between -9007199254740992 and 9007199254740992")]
    Number(String),
    /// Arrays and objects nested deeper than [`DEPTH_MAX`].
    #[error("value is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The canonical text would be longer than [`CANONICAL_BYTES_MAX`].
    #[error("value needs more than {CANONICAL_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The bytes are JSON in another spelling than the canonical one (order, spacing, escapes, duplicate names).
    #[error("JSON is not in its canonical spelling")]
    NotCanonical,
}

/// The canonical bytes of a value (RFC 8785 §3.2).
///
/// # Errors
/// [`CanonicalError`] when the value holds a number that is not a safe integer, nests too deep or is too large.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(512);
    write_value(value, &mut out)?;
    Ok(out)
}

/// Reads bytes that must already be canonical; a second spelling of the same value is refused.
///
/// # Errors
/// [`CanonicalError`] when the bytes are not JSON, hold a value outside the restriction, or are spelled otherwise.
pub fn from_bytes(bytes: &[u8]) -> Result<Value, CanonicalError> {
    if bytes.len() > CANONICAL_BYTES_MAX {
        return Err(CanonicalError::TooLarge);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
    if to_bytes(&value)? != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(value)
}

/// Appends the canonical bytes of a value.
pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    write_nested(value, out, 0)
}

/// Appends the canonical bytes of an object.
pub(crate) fn write_object(map: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    write_map(map, out, 0)
}

fn write_nested(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let integer = number.as_i64().filter(|i| i.unsigned_abs() <= INTEGER_MAX.unsigned_abs());
            let integer = integer.ok_or_else(|| CanonicalError::Number(number.to_string()))?;
            write_integer(integer, out);
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => write_array(items, out, depth)?,
        Value::Object(map) => write_map(map, out, depth)?,
    }
    if out.len() > CANONICAL_BYTES_MAX { Err(CanonicalError::TooLarge) } else { Ok(()) }
}

fn write_array(items: &[Value], out: &mut Vec<u8>, depth: usize) -> Result<(), CanonicalError> {
    if depth == DEPTH_MAX {
        return Err(CanonicalError::TooDeep);
    }
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_nested(item, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

fn write_map(map: &Map<String, Value>, out: &mut Vec<u8>, depth: usize) -> Result<(), CanonicalError> {
    if depth == DEPTH_MAX {
        return Err(CanonicalError::TooDeep);
    }
    // The map keeps insertion order in some builds and byte order in others; RFC 8785 §3.2.3 wants UTF-16 order.
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_unstable_by(|(a, _), (b, _)| utf16_order(a, b));
    out.push(b'{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_nested(value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn utf16_order(a: &str, b: &str) -> std::cmp::Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Appends an integer in decimal.
pub(crate) fn write_integer(integer: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = integer.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if integer < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a string with the escapes of RFC 8785 §3.2.2.2 and no others.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        let bytes = to_bytes(value).expect("has a canonical form");
        assert_eq!(String::from_utf8(bytes).expect("JSON is UTF-8"), expected);
    }

    #[test]
    fn members_are_sorted_by_utf16_code_units() {
        check(&json!({"b": 1, "a": [true, null, "x"], "": {}}), r#"{"":{},"a":[true,null,"x"],"b":1}"#);
        // RFC 8785 §3.2.3: the emoji's surrogates sort before U+FB33, though its UTF-8 bytes sort after.
        check(
            &json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7}),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}",
        );
    }

    #[test]
    fn strings_use_the_shortest_escapes() {
        check(&json!("€$\u{f}\nA'B\"\\\\\"/"), r#""€$\u000f\nA'B\"\\\\\"/""#);
        check(&json!("\u{8}\t\u{c}\r\u{7f}\u{2028}"), "\"\\b\\t\\f\\r\u{7f}\u{2028}\"");
    }

    #[test]
    fn integers_end_at_the_safe_range() {
        check(&json!(0), "0");
        check(&json!(-42), "-42");
        check(&json!(INTEGER_MAX), "9007199254740992");
        check(&json!(-INTEGER_MAX), "-9007199254740992");
        for refused in
            [json!(INTEGER_MAX + 1), json!(-INTEGER_MAX - 1), json!(u64::MAX), json!(1.5), json!(1.0)]
        {
            assert!(matches!(to_bytes(&refused), Err(CanonicalError::Number(_))), "{refused}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded_at_the_bound() {
        let fits = json!("x".repeat(CANONICAL_BYTES_MAX - 2));
        assert_eq!(to_bytes(&fits).map(|b| b.len()), Ok(CANONICAL_BYTES_MAX));
        assert_eq!(to_bytes(&json!("x".repeat(CANONICAL_BYTES_MAX - 1))), Err(CanonicalError::TooLarge));
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(to_bytes(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(to_bytes(&nested(DEPTH_MAX + 1)), Err(CanonicalError::TooDeep));
    }

    #[test]
    fn a_second_spelling_is_refused() {
        assert!(from_bytes(br#"{"a":1,"b":2}"#).is_ok());
        for other in [
            &br#"{"b":2,"a":1}"#[..],
            br#"{"a":1, "b":2}"#,
            br#"{"a":1,"a":1}"#,
            br#"{"a":"\u0041"}"#,
            br#"{"a":"\/"}"#,
        ] {
            assert_eq!(
                from_bytes(other),
                Err(CanonicalError::NotCanonical),
                "{}",
                String::from_utf8_lossy(other)
            );
        }
        for number in [&b"-0"[..], b"1e2", b"1.0"] {
            assert!(matches!(from_bytes(number), Err(CanonicalError::Number(_))));
        }
        for broken in [&b""[..], b"{", b"\"\xff\"", b"1 1", b"nul"] {
            assert!(matches!(from_bytes(broken), Err(CanonicalError::NotJson(_))));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_value(value in values()) {
            let bytes = to_bytes(&value).expect("small and within the restriction");
            prop_assert_eq!(from_bytes(&bytes), Ok(value));
        }
    }
}
