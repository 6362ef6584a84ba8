//! Facts for a decision, taken from where the route table says: the query or a JSON body, read strictly.

use bytes::Bytes;
use ringfence_authorization::Facts;
use ringfence_context::{Refusal, strict_json};
use serde_json::Value;

use crate::target::malformed;

/// Where a fact comes from: `query:name` or `body:/json/pointer` (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource {
    /// A query parameter; may stand once.
    Query(String),
    /// A value in a JSON body.
    Body(String),
}

impl FactSource {
    /// Reads a source.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("body", pointer)) if pointer.starts_with('/') => Ok(Self::Body(pointer.to_owned())),
            _ => Err(format!(
                "\"{text}\" is not the source of a fact: write \"query:name\" or \"body:/pointer\""
            )),
        }
    }
}

/// Whether any fact is in the body, so that it must be read before the decision.
pub fn need_body(sources: &[(String, FactSource)]) -> bool {
    sources.iter().any(|(_, source)| matches!(source, FactSource::Body(_)))
}

/// Collects the facts of a request. What is absent is left out: a policy asks with `has`.
///
/// # Errors
/// A refusal where the query names a fact twice, or the body is not strict JSON: the backend might read it otherwise.
pub fn collect(
    sources: &[(String, FactSource)],
    query: Option<&str>,
    body: &Bytes,
) -> Result<Facts, Refusal> {
    let mut facts = Facts::new();
    let document: Option<Value> = if need_body(sources) {
        Some(strict_json::object(body).map_err(|_| malformed("body is not strict JSON"))?)
    } else {
        None
    };
    for (name, source) in sources {
        let found = match source {
            FactSource::Query(parameter) => query_value(query.unwrap_or_default(), parameter)?,
            FactSource::Body(pointer) => {
                document.as_ref().and_then(|document| document.pointer(pointer)).cloned()
            }
        };
        if let Some(value) = found.filter(|value| !value.is_null()) {
            facts.insert(name.clone(), value);
        }
    }
    Ok(facts)
}

fn query_value(query: &str, parameter: &str) -> Result<Option<Value>, Refusal> {
    let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == parameter);
    let first = values.next();
    if values.next().is_some() {
        return Err(malformed("a query parameter the decision needs stands twice"));
    }
    // A whole number is Cedar's Long; everything else is its String.
    Ok(first.map(|(_, value)| {
        value.parse::<i64>().map_or_else(|_| Value::String(value.into_owned()), Value::from)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(source: &str, query: &str, body: &str, expected: Option<Value>) {
        let sources = vec![("fact".to_owned(), FactSource::parse(source).unwrap())];
        let facts = collect(&sources, Some(query), &Bytes::copy_from_slice(body.as_bytes()));
        assert_eq!(facts.map(Value::Object).ok(), expected, "{source} {query} {body}");
    }

    #[test]
    fn facts_have_one_reading_or_the_request_is_refused() {
        check("query:n", "n=5", "", Some(json!({"fact": 5})));
        check("query:n", "n=a%20b", "", Some(json!({"fact": "a b"})));
        check("query:n", "m=5", "", Some(json!({})));
        check("query:n", "n=5&n=6", "", None);
        check("query:n", "n=5&%6e=6", "", None);
        check("body:/amount", "", r#"{"amount":5}"#, Some(json!({"fact": 5})));
        check("body:/a/0/b", "", r#"{"a":[{"b":7}]}"#, Some(json!({"fact": 7})));
        check("body:/amount", "", r#"{"amount":null}"#, Some(json!({})));
        check("body:/amount", "", r#"{"amount":5,"amount":6}"#, None);
        check("body:/amount", "", "amount=5", None);
        check("body:/amount", "", "", None);
    }
}
