//! The service's interface as data, and every request held against it.
//!
//! `model.json` lists the operations and shapes of Verified Permissions (API version 2021-12-01) with their constraints;
//! it is made by `tests/avp/model.py` from the SDK's own service model, and a test compares the two. An input that breaks
//! any constraint is refused before anything reads it. Two things are stricter than the SDKs expect: a member the
//! model does not know is refused, not ignored, and a pattern must match the whole text.

use std::collections::HashMap;

use regex::Regex;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::avp::error::Fault;

const SOURCE: &str = include_str!("model.json");

/// The interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    operations: HashMap<String, Operation>,
    shapes: HashMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    input: String,
    output: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold answers against it"))]
    errors: Vec<String>,
}

/// One shape: a type with its constraints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    members: HashMap<String, String>,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default, deserialize_with = "pattern")]
    pattern: Option<Regex>,
    #[serde(default, rename = "enum")]
    values: Vec<String>,
    #[serde(default)]
    union: bool,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold answers against it"))]
    exception: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Boolean,
    Timestamp,
}

impl Model {
    /// Reads the interface.
    ///
    /// # Errors
    /// Where `model.json` is not one: a fault of this build.
    pub fn read() -> Result<Self, serde_json::Error> {
        serde_json::from_str(SOURCE)
    }

    /// Whether there is such an operation.
    pub fn has(&self, operation: &str) -> bool {
        self.operations.contains_key(operation)
    }

    /// Everything that is wrong with an operation's input. `own_issuer` is the one issuer that may be named without
    /// `https`: the tenant's own, whose keys are not fetched over any wire.
    pub fn input_check(&self, operation: &str, input: &Value, own_issuer: Option<&str>) -> Vec<Fault> {
        let Some(operation) = self.operations.get(operation) else { return Vec::new() };
        self.check(&operation.input, input, own_issuer)
    }

    /// Everything that is wrong with an operation's answer.
    pub fn output_check(&self, operation: &str, output: &Value) -> Vec<Fault> {
        let Some(operation) = self.operations.get(operation) else { return Vec::new() };
        self.check(&operation.output, output, None)
    }

    fn check(&self, shape: &str, value: &Value, own_issuer: Option<&str>) -> Vec<Fault> {
        let mut walk = Walk { model: self, own_issuer, path: String::new(), faults: Vec::new() };
        walk.value(shape, value);
        walk.faults
    }
}

/// One walk over a value, beside the shapes it should have.
struct Walk<'a> {
    model: &'a Model,
    own_issuer: Option<&'a str>,
    path: String,
    faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, name: &str, value: &Value) {
        let model = self.model;
        let Some(shape) = model.shapes.get(name) else {
            return self.fault("has no known shape");
        };
        match (shape.kind, value) {
            (Kind::Structure, Value::Object(members)) => self.structure(shape, members),
            (Kind::List, Value::Array(items)) => self.list(shape, items),
            (Kind::Map, Value::Object(entries)) => self.map(shape, entries),
            (Kind::String | Kind::Timestamp, Value::String(text)) => self.string(name, shape, text),
            (Kind::Boolean, Value::Bool(_)) => {}
            (Kind::Integer, Value::Number(number)) => {
                self.number(shape, number.as_i64().filter(|number| i32::try_from(*number).is_ok()));
            }
            (Kind::Long, Value::Number(number)) => self.number(shape, number.as_i64()),
            (kind, _) => self.fault(kind.wanted()),
        }
    }

    fn structure(&mut self, shape: &'a Shape, members: &Map<String, Value>) {
        // Null is how JSON says that a member is absent.
        let given = || members.iter().filter(|(_, value)| !value.is_null());
        for name in &shape.required {
            if !given().any(|(given, _)| given == name) {
                self.at(&format!(".{name}"), |walk| walk.fault("is required"));
            }
        }
        if shape.union && given().count() != 1 {
            self.fault("must have exactly one of its members");
        }
        for (name, value) in given() {
            self.at(&format!(".{name}"), |walk| match shape.members.get(name) {
                Some(member) => walk.value(member, value),
                None => walk.fault("is not a member of this structure"),
            });
        }
    }

    fn list(&mut self, shape: &'a Shape, items: &[Value]) {
        self.size(shape, items.len(), "items");
        let Some(member) = &shape.member else { return };
        for (at, item) in items.iter().enumerate() {
            self.at(&format!("[{at}]"), |walk| walk.value(member, item));
        }
    }

    fn map(&mut self, shape: &'a Shape, entries: &Map<String, Value>) {
        self.size(shape, entries.len(), "entries");
        let (Some(key), Some(member)) = (&shape.key, &shape.value) else { return };
        for (name, value) in entries {
            self.at(&format!(".{name}"), |walk| {
                walk.value(key, &Value::String(name.clone()));
                walk.value(member, value);
            });
        }
    }

    fn string(&mut self, name: &str, shape: &Shape, text: &str) {
        self.size(shape, text.chars().count(), "characters");
        let own = name == "Issuer" && self.own_issuer == Some(text);
        if shape.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) && !own {
            self.fault("does not match the pattern of its type");
        }
        if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
            self.fault(&format!("must be one of {}", shape.values.join(", ")));
        }
    }

    fn number(&mut self, shape: &Shape, number: Option<i64>) {
        let Some(number) = number else { return self.fault(shape.kind.wanted()) };
        if let Some(min) = shape.min.filter(|min| number < *min) {
            self.fault(&format!("must be at least {min}"));
        }
        if let Some(max) = shape.max.filter(|max| number > *max) {
            self.fault(&format!("must be at most {max}"));
        }
    }

    fn size(&mut self, shape: &Shape, size: usize, of: &str) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if let Some(min) = shape.min.filter(|min| size < *min) {
            self.fault(&format!("must have at least {min} {of}"));
        }
        if let Some(max) = shape.max.filter(|max| size > *max) {
            self.fault(&format!("must have at most {max} {of}"));
        }
    }

    fn at(&mut self, step: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        let step = if self.path.is_empty() { step.trim_start_matches('.') } else { step };
        self.path.push_str(step);
        inside(self);
        self.path.truncate(length);
    }

    fn fault(&mut self, message: &str) {
        self.faults.push(Fault::new(self.path.clone(), message));
    }
}

impl Kind {
    const fn wanted(self) -> &'static str {
        match self {
            Self::Structure | Self::Map => "must be an object",
            Self::List => "must be a list",
            Self::String => "must be a string",
            Self::Integer => "must be a whole number of 32 bits",
            Self::Long => "must be a whole number of 64 bits",
            Self::Boolean => "must be true or false",
            Self::Timestamp => "must be a time as ISO 8601 writes it",
        }
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&format!("^(?:{text})$")).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
