//! What a request says: JSON read strictly, required members there and of their types, members nobody knows left out
//! (section 10.1.1).

use axum::http::{HeaderMap, header};
use ringfence_authorization::Facts;
use ringfence_context::{limits, strict_json};
use serde_json::{Map, Value};

use super::Failure;

/// The body's one object.
pub(super) type Members = Map<String, Value>;

/// A subject or a resource. Without id where it is what is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) properties: Facts,
}

/// A question (section 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evaluation {
    pub(super) subject: Entity,
    pub(super) action: String,
    pub(super) resource: Entity,
    /// The context, and with it the action's properties: Cedar's actions have none of their own.
    pub(super) facts: Facts,
}

/// Reads the body.
///
/// # Errors
/// [`Failure::Malformed`].
pub(super) fn members(headers: &HeaderMap, body: &[u8]) -> Result<Members, Failure> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().filter(|_| kinds.next().is_none()).and_then(|kind| kind.to_str().ok());
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(malformed("the content type is not application/json"));
    }
    match strict_json::value(body, limits::AUTHZEN_JSON_DEPTH) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(malformed("the body is not one JSON object, no key twice, nested at most 32 deep")),
    }
}

impl Evaluation {
    /// Reads a question, each of whose parts stands in `own`, or else whole in `otherwise` (section 7.1.1).
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub(super) fn read(own: &Members, otherwise: &Members) -> Result<Self, Failure> {
        let part = |name: &str| own.get(name).or_else(|| otherwise.get(name));
        let (action, facts) = action(part("action"), part("context"))?;
        Ok(Self {
            subject: Entity::read(part("subject"), "subject")?,
            action,
            resource: Entity::read(part("resource"), "resource")?,
            facts,
        })
    }
}

impl Entity {
    /// An entity that is fully identified.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub(super) fn read(value: Option<&Value>, part: &'static str) -> Result<Self, Failure> {
        let object = object(value, part)?;
        Ok(Self { id: text(object, part, "id")?, ..Self::sought(value, part)? })
    }

    /// An entity of which only the type counts.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub(super) fn sought(value: Option<&Value>, part: &'static str) -> Result<Self, Failure> {
        let object = object(value, part)?;
        let properties = facts(object.get("properties"), part)?;
        Ok(Self { kind: text(object, part, "type")?, id: String::new(), properties })
    }
}

/// The action's name, and the context with the action's properties in it.
///
/// # Errors
/// [`Failure::Malformed`]; also where both state one name differently.
pub(super) fn action(action: Option<&Value>, context: Option<&Value>) -> Result<(String, Facts), Failure> {
    let object = object(action, "action")?;
    let mut facts_of_all = context_of(context)?;
    for (name, value) in facts(object.get("properties"), "action")? {
        if facts_of_all.get(&name).is_some_and(|other| *other != value) {
            return Err(malformed("the action's properties and the context differ on one name"));
        }
        facts_of_all.insert(name, value);
    }
    Ok((text(object, "action", "name")?, facts_of_all))
}

/// The context.
///
/// # Errors
/// [`Failure::Malformed`].
pub(super) fn context_of(context: Option<&Value>) -> Result<Facts, Failure> {
    facts(context, "context")
}

fn object<'a>(value: Option<&'a Value>, part: &str) -> Result<&'a Members, Failure> {
    let value = value.ok_or_else(|| malformed(&format!("`{part}` is missing")))?;
    value.as_object().ok_or_else(|| malformed(&format!("`{part}` is not an object")))
}

fn text(object: &Members, part: &str, name: &str) -> Result<String, Failure> {
    let value = object.get(name).ok_or_else(|| malformed(&format!("`{part}.{name}` is missing")))?;
    let text = value.as_str().ok_or_else(|| malformed(&format!("`{part}.{name}` is not a string")))?;
    if text.is_empty() || text.len() > limits::AUTHZEN_NAME_BYTES {
        return Err(malformed(&format!("`{part}.{name}` is empty or too long")));
    }
    Ok(text.to_owned())
}

fn facts(value: Option<&Value>, part: &str) -> Result<Facts, Failure> {
    let Some(value) = value else { return Ok(Facts::new()) };
    let object =
        value.as_object().ok_or_else(|| malformed(&format!("what is said of `{part}` is not an object")))?;
    if object.len() > limits::AUTHZEN_PROPERTIES {
        return Err(malformed(&format!("too much is said of `{part}`")));
    }
    Ok(object.clone())
}

pub(super) fn malformed(what: &str) -> Failure {
    Failure::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Evaluation, Failure> {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let members = members(&headers, value.to_string().as_bytes())?;
        Evaluation::read(&members, &Members::new())
    }

    fn question() -> Value {
        json!({
            "subject": { "type": "user", "id": "alice" },
            "action": { "name": "read" },
            "resource": { "type": "record", "id": "record-1" },
        })
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut question = question();
        *question.pointer_mut(pointer).unwrap() = value;
        question
    }

    #[test]
    fn what_is_required_is_there_and_of_its_type() {
        read(&question()).unwrap();
        for bad in [
            changed("/subject", json!("alice")),
            changed("/subject", json!(null)),
            changed("/subject/id", json!(7)),
            changed("/subject/id", json!("")),
            changed("/action/name", json!(123)),
            changed("/resource", json!([])),
            changed("/resource", json!({ "type": "record" })),
            changed("/resource", json!({ "type": "record", "id": "x", "properties": [] })),
            changed("/action", json!({ "name": "read", "properties": "soft" })),
        ] {
            assert!(matches!(read(&bad), Err(Failure::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn an_actions_properties_join_the_context_and_do_not_contradict_it() {
        let mut question = question();
        question["action"]["properties"] = json!({ "soft": true });
        question["context"] = json!({ "ip": "10.0.0.1" });
        let facts = read(&question).unwrap().facts;
        assert_eq!(Value::Object(facts), json!({ "soft": true, "ip": "10.0.0.1" }));
        question["context"]["soft"] = json!(false);
        assert!(read(&question).is_err());
    }

    #[test]
    fn reject_authzen_json_depth() {
        let nested = |depth: usize| -> Value { (0..depth).fold(json!(1), |inner, _| json!([inner])) };
        // The body, `context` and `a` are two levels.
        let asked = |depth| {
            let mut question = question();
            question["context"] = json!({ "a": nested(depth) });
            question
        };
        assert!(read(&asked(limits::AUTHZEN_JSON_DEPTH - 2)).is_ok());
        assert!(read(&asked(limits::AUTHZEN_JSON_DEPTH - 1)).is_err());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        assert!(members(&headers, deep.as_bytes()).is_err());
    }

    #[test]
    fn reject_authzen_properties() {
        let many = |count: usize| -> Value {
            (0..count).map(|number| (format!("p{number}"), json!(number))).collect::<Facts>().into()
        };
        for at in ["subject", "resource", "action"] {
            let mut question = question();
            question[at]["properties"] = many(limits::AUTHZEN_PROPERTIES);
            assert!(read(&question).is_ok());
            question[at]["properties"] = many(limits::AUTHZEN_PROPERTIES + 1);
            assert!(read(&question).is_err(), "{at}");
        }
    }

    #[test]
    fn reject_authzen_name_bytes() {
        assert!(read(&changed("/subject/id", "x".repeat(limits::AUTHZEN_NAME_BYTES).into())).is_ok());
        assert!(read(&changed("/subject/id", "x".repeat(limits::AUTHZEN_NAME_BYTES + 1).into())).is_err());
    }
}
