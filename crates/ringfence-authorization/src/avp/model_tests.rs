//! The interface, walked: every constraint of every input is one that is enforced.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::avp::OPERATIONS;

/// A value that has the shape, as plain as it can be.
fn plain(model: &Model, name: &str) -> Value {
    let shape = &model.shapes[name];
    match shape.kind {
        Kind::Structure => {
            let mut members = Map::new();
            for name in &shape.required {
                members.insert(name.clone(), plain(model, &shape.members[name]));
            }
            if shape.union {
                let mut names: Vec<_> = shape.members.iter().collect();
                names.sort_by_key(|(_, shape)| {
                    let deep = matches!(model.shapes[*shape].kind, Kind::List | Kind::Map | Kind::Structure);
                    (deep, (*shape).clone())
                });
                let (name, shape) = names[0];
                members.insert(name.clone(), plain(model, shape));
            }
            Value::Object(members)
        }
        Kind::List => {
            let count = usize::try_from(shape.min.unwrap_or(0)).unwrap();
            (0..count).map(|_| plain(model, shape.member.as_ref().unwrap())).collect()
        }
        Kind::Map => json!({}),
        Kind::String => Value::String(text(shape, usize::try_from(shape.min.unwrap_or(0).max(1)).unwrap())),
        Kind::Integer | Kind::Long => json!(shape.min.unwrap_or(0)),
        Kind::Boolean => json!(true),
        Kind::Timestamp => json!("2027-01-15T08:00:00.000Z"),
    }
}

/// A text of a shape that is at least so long.
fn text(shape: &Shape, length: usize) -> String {
    if let Some(value) = shape.values.first() {
        return value.clone();
    }
    let samples = [
        "a",
        "Action",
        "https://a",
        "2027-01-15",
        "1.0",
        "1d",
        "10.0.0.1",
        "a.a.a",
        "arn:a:a:a:a:a",
        "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1a2b3c4d5",
    ];
    let fits = |text: &str| shape.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
    for sample in samples {
        if sample.len() >= length && fits(sample) {
            return sample.to_owned();
        }
        let fill = ["a", "1", "1.", "::Action"];
        for fill in fill {
            let before = format!("{}{sample}", fill.repeat(length));
            let after = format!("{sample}{}", fill.repeat(length));
            for longer in [before, after] {
                if fits(&longer) {
                    return longer;
                }
            }
        }
    }
    panic!("no text of {length} fits {shape:?}")
}

/// Where in an input a shape is, and the shape.
struct Site {
    path: Vec<Step>,
    shape: String,
}

#[derive(Clone)]
enum Step {
    Member(String),
    Item,
    Entry,
}

fn sites(model: &Model, name: &str, path: &[Step], seen: &mut Vec<String>, found: &mut Vec<Site>) {
    found.push(Site { path: path.to_vec(), shape: name.to_owned() });
    if seen.iter().any(|shape| shape == name) {
        return;
    }
    seen.push(name.to_owned());
    let shape = &model.shapes[name];
    let mut below = |step: Step, shape: &str| sites(model, shape, &[path, &[step]].concat(), seen, found);
    let mut members: Vec<_> = shape.members.iter().collect();
    members.sort();
    for (member, shape) in members {
        below(Step::Member(member.clone()), shape);
    }
    if let Some(member) = &shape.member {
        below(Step::Item, member);
    }
    if let Some(value) = &shape.value {
        below(Step::Entry, value);
    }
    seen.pop();
}

/// The plain input with `value` at a path.
fn with(model: &Model, shape: &str, path: &[Step], value: Option<Value>) -> Value {
    let Some((first, rest)) = path.split_first() else { return value.unwrap_or(Value::Null) };
    let shape_of = &model.shapes[shape];
    let mut whole = plain(model, shape);
    match first {
        Step::Member(name) => {
            let members = whole.as_object_mut().unwrap();
            if shape_of.union {
                members.clear();
            }
            members.insert(name.clone(), with(model, &shape_of.members[name], rest, value));
        }
        Step::Item => {
            let items = whole.as_array_mut().unwrap();
            let item = with(model, shape_of.member.as_ref().unwrap(), rest, value);
            if items.is_empty() { items.push(item) } else { items[0] = item }
        }
        Step::Entry => {
            let item = with(model, shape_of.value.as_ref().unwrap(), rest, value);
            whole.as_object_mut().unwrap().insert("key".to_owned(), item);
        }
    }
    whole
}

fn spelled(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => text.push_str(&format!(".{name}")),
            Step::Item => text.push_str("[0]"),
            Step::Entry => text.push_str(".key"),
        }
    }
    text
}

/// Values that break a shape's own constraints, each with what it breaks.
fn breaking(model: &Model, shape: &Shape) -> Vec<(String, Value)> {
    let mut bad =
        vec![("type".to_owned(), if shape.kind == Kind::Boolean { json!("x") } else { json!(true) })];
    let sized = |size: i64| -> Value {
        let size = usize::try_from(size).unwrap();
        match shape.kind {
            Kind::List => (0..size).map(|_| plain(model, shape.member.as_ref().unwrap())).collect(),
            Kind::Map => {
                let value = plain(model, shape.value.as_ref().unwrap());
                Value::Object((0..size).map(|at| (format!("k{at}"), value.clone())).collect())
            }
            _ => Value::String("a".repeat(size)),
        }
    };
    let numeric = matches!(shape.kind, Kind::Integer | Kind::Long);
    if let Some(min) = shape.min.filter(|min| *min > 0) {
        bad.push(("min".to_owned(), if numeric { json!(min - 1) } else { sized(min - 1) }));
    }
    if let Some(max) = shape.max {
        bad.push(("max".to_owned(), if numeric { json!(max + 1) } else { sized(max + 1) }));
    }
    if let Some(pattern) = &shape.pattern {
        let odd = ["\n", "§", "%", "a b"].into_iter().find(|text| !pattern.is_match(text));
        bad.push(("pattern".to_owned(), json!(odd.expect("a text that does not match"))));
    }
    if !shape.values.is_empty() {
        bad.push(("enum".to_owned(), json!("NEITHER")));
    }
    if shape.kind == Kind::Structure {
        let mut unknown = plain(model, "Unit");
        unknown.as_object_mut().unwrap().insert("surprise".to_owned(), json!(1));
        bad.push(("unknown member".to_owned(), unknown));
    }
    if shape.union {
        bad.push(("no member of a union".to_owned(), json!({})));
        let two: Map<_, _> =
            shape.members.iter().take(2).map(|(name, shape)| (name.clone(), plain(model, shape))).collect();
        if two.len() == 2 {
            bad.push(("two members of a union".to_owned(), Value::Object(two)));
        }
    }
    bad
}

#[test]
fn every_constraint_of_every_input_is_enforced_and_names_its_field() {
    let model = Model::read().unwrap();
    let (mut checked, mut kinds) = (0, BTreeSet::new());
    for (name, operation) in &model.operations {
        let whole = plain(&model, &operation.input);
        assert_eq!(model.input_check(name, &whole, None), [], "{name} {whole}");
        let mut found = Vec::new();
        sites(&model, &operation.input, &[], &mut Vec::new(), &mut found);
        for Site { path, shape: of } in &found {
            let (at, shape) = (spelled(path), &model.shapes[of]);
            let good = with(&model, &operation.input, path, Some(plain(&model, of)));
            assert_eq!(model.input_check(name, &good, None), [], "{name} {at} {good}");
            for (what, value) in breaking(&model, shape) {
                let bad = with(&model, &operation.input, path, Some(value));
                let faults = model.input_check(name, &bad, None);
                assert!(
                    faults.iter().any(|fault| fault.path.starts_with(&at)),
                    "{name} {at} {what}: {faults:?}"
                );
                checked += 1;
                kinds.insert(what);
            }
            for member in &shape.required {
                let mut hollow = good.clone();
                hollow.pointer_mut(&pointer(path)).unwrap().as_object_mut().unwrap().shift_remove(member);
                let faults = model.input_check(name, &hollow, None);
                let wanted = if at.is_empty() { member.clone() } else { format!("{at}.{member}") };
                assert!(faults.iter().any(|fault| fault.path == wanted), "{name} {wanted}: {faults:?}");
                checked += 1;
                kinds.insert("required".to_owned());
            }
        }
    }
    println!("{checked} constraints: {kinds:?}");
    assert!(checked > 1000, "{checked}");
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

fn pointer(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Member(name) => format!("/{name}"),
            Step::Item => "/0".to_owned(),
            Step::Entry => "/key".to_owned(),
        })
        .collect()
}

#[test]
fn operations_and_the_model_are_the_same() {
    let model = Model::read().unwrap();
    let of_model: BTreeSet<&str> = model.operations.keys().map(String::as_str).collect();
    assert_eq!(OPERATIONS.iter().copied().collect::<BTreeSet<_>>(), of_model);
    assert_eq!(OPERATIONS.len(), 34);
    for operation in model.operations.values() {
        assert!(operation.errors.iter().all(|error| model.shapes[error].exception));
    }
}

#[test]
fn only_the_own_issuer_may_be_without_https() {
    let model = Model::read().unwrap();
    let input = |issuer: &str| {
        json!({
            "policyStoreId": "PS1",
            "configuration": { "openIdConnectConfiguration": {
                "issuer": issuer, "tokenSelection": { "accessTokenOnly": {} },
            } },
        })
    };
    let own = "http://127.0.0.1:8080/t/acme";
    let check = |issuer: &str, own: Option<&str>| {
        model.input_check("CreateIdentitySource", &input(issuer), own).is_empty()
    };
    assert!(check("https://idp.example", None) && check(own, Some(own)));
    assert!(!check(own, None) && !check("http://127.0.0.1:8080/t/globex", Some(own)));
}
