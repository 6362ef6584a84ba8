//! JSON read strictly: an object that names a key twice is refused, at every depth.
//!
//! RFC 7519 section 4 lets a reader refuse duplicates or take the last; two readers that differ can be played against
//! each other, so ours refuses.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::limits;

/// Reads `bytes` as one JSON object and then as `T`.
///
/// # Errors
/// A message that says what is wrong: not JSON, not an object, a key twice, too deep, or not a `T`.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let value = value(bytes, limits::JSON_DEPTH)?;
    if !value.is_object() {
        return Err(de::Error::custom("not a JSON object"));
    }
    T::deserialize(value)
}

/// Reads `bytes` as one JSON value of at most `deepest` levels of nesting.
///
/// # Errors
/// A message that says what is wrong: not JSON, a key twice, or too deep.
pub fn value(bytes: &[u8], deepest: usize) -> Result<Value, serde_json::Error> {
    let Strict(value) = serde_json::from_slice(bytes)?;
    if depth(&value) > deepest {
        return Err(de::Error::custom("nested too deeply"));
    }
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
            if fields.contains_key(&key) {
                return Err(de::Error::custom("an object names a key twice"));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, accepted: bool) {
        assert_eq!(object::<Value>(input.as_bytes()).is_ok(), accepted, "{input}");
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_depth() {
        check(r#"{"a":1,"b":[{"c":2}]}"#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":{"b":1,"b":2}}"#, false);
        check(r#"{"a":[{"b":1,"b":2}]}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
    }

    #[test]
    fn only_one_object_is_read() {
        check("[]", false);
        check("1", false);
        check("{} {}", false);
        check("", false);
    }

    #[test]
    fn reject_json_depth() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        check(&nested(limits::JSON_DEPTH), true);
        check(&nested(limits::JSON_DEPTH + 1), false);
        check(&nested(10_000), false);
    }
}
