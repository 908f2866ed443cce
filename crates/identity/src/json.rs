//! Strict JSON for headers, claims and keys: one object, no key twice, bounded depth, nothing after.
//!
//! Two parsers that disagree about a repeated key are two readings of one signed text; so it has none.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of arrays and objects: twice what a full `act` chain in a token needs.
pub(crate) const DEPTH_MAX: usize = 24;

/// The text is not one strict JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotStrict;

/// Parses one object. The caller has bounded the size.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, NotStrict> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut json).map_err(|_| NotStrict)?;
    json.end().map_err(|_| NotStrict)?;
    object(value).ok_or(NotStrict)
}

/// The same within a larger document, whose size the caller has bounded.
pub(crate) fn deserialize_object<'de, D: Deserializer<'de>>(d: D) -> Result<Map<String, Value>, D::Error> {
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(d)?;
    object(value).ok_or_else(|| D::Error::custom("expected an object"))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(deeper)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_one_reading() {
        for bad in [
            "",
            "{}{}",
            "[]",
            "null",
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"\u0062":2}]}"#,
            r#"{"a":1,}"#,
            "{\"a\":\"\u{1}\"}",
            "{'a':1}",
        ] {
            assert_eq!(parse_object(bad.as_bytes()), Err(NotStrict), "{bad}");
        }
        let good = parse_object(br#" {"a":[1,-2,0.5,true,null,"x",{"a":{}}],"b":{}} "#).expect("strict");
        assert_eq!(good.len(), 2);
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(NotStrict));
    }

    // case: TOK-13
    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert_eq!(parse_object(nested(DEPTH_MAX).as_bytes()), Err(NotStrict));
        assert_eq!(parse_object(nested(100_000).as_bytes()), Err(NotStrict));
    }
}
