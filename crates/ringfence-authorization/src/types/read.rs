//! Reads a schema in Cedar's JSON form into what a backend sees of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Action, ActionKind, EntityKind, Extension, Field, Model, Record, Shape, Tags,
    names::{Names, comment, pascal},
};

/// Names a file has whatever the schema says: its own, and those of the languages.
const TAKEN: &[&str] = &[
    "Self",
    "IpAddress",
    "Decimal",
    "Datetime",
    "Duration",
    "String",
    "Option",
    "Some",
    "None",
    "Into",
    "Debug",
    "Clone",
    "Copy",
    "PartialEq",
    "Eq",
    "PartialOrd",
    "Ord",
    "Hash",
    "Readonly",
    "Record",
    "ReadonlyArray",
    "Enum",
    "ClassVar",
    "FrozenSet",
    "Mapping",
    "Optional",
    "True",
    "False",
];

/// How deep common types may name one another. Cedar refuses circles; this ends one all the same.
const DEPTH: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Namespace {
    common_types: BTreeMap<String, Kind>,
    entity_types: BTreeMap<String, EntityType>,
    actions: BTreeMap<String, ActionType>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EntityType {
    shape: Option<Kind>,
    tags: Option<Kind>,
    #[serde(rename = "enum")]
    choices: Option<Vec<String>>,
    annotations: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ActionType {
    applies_to: Option<AppliesTo>,
    annotations: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AppliesTo {
    context: Option<Kind>,
}

/// A type where it is used; `attributes`, `element` and `name` belong to records, sets and names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    element: Option<Box<Kind>>,
    attributes: BTreeMap<String, Kind>,
    required: Option<bool>,
    annotations: BTreeMap<String, Value>,
}

struct Reading<'a> {
    namespaces: &'a BTreeMap<String, Namespace>,
    names: Names,
    /// The names of entity types, by their full ones.
    ids: BTreeMap<String, String>,
    /// The records of common types that were read, by their full names.
    common: BTreeMap<String, Shape>,
    records: Vec<Record>,
}

/// What a backend sees of a schema.
pub(super) fn model(namespaces: &BTreeMap<String, Namespace>) -> Model {
    let mut reading = Reading {
        namespaces,
        names: Names::without(TAKEN),
        ids: BTreeMap::new(),
        common: BTreeMap::new(),
        records: Vec::new(),
    };
    // Where there is one namespace, its name says nothing.
    let prefix = |namespace: &str| if namespaces.len() > 1 { pascal_of(namespace) } else { String::new() };
    for (namespace, said) in namespaces {
        for name in said.entity_types.keys() {
            let given = reading.names.take_type(format!("{}{}Id", prefix(namespace), pascal(name)));
            reading.ids.insert(full(namespace, name), given);
        }
    }
    let (mut entities, mut actions) = (Vec::new(), Vec::new());
    for (namespace, said) in namespaces {
        for (name, kind) in &said.entity_types {
            entities.push(reading.entity(namespace, &prefix(namespace), name, kind));
        }
        if !said.actions.is_empty() {
            actions.push(reading.actions(namespace, &prefix(namespace), &said.actions));
        }
    }
    Model { entities, actions, records: reading.records }
}

impl Reading<'_> {
    fn entity(&mut self, namespace: &str, prefix: &str, name: &str, kind: &EntityType) -> EntityKind {
        let base = format!("{prefix}{}", pascal(name));
        if let Some(shape) = &kind.shape {
            let notes = vec![format!("The attributes of a `{}`.", full(namespace, name))];
            self.record_named(namespace, &format!("{base}Attributes"), notes, shape);
        }
        let tags = kind.tags.as_ref().map(|tags| {
            let name = self.names.take_type(format!("{base}Tags"));
            Tags { name, shape: self.shape(namespace, &format!("{base}Tag"), tags, 0) }
        });
        let full = full(namespace, name);
        EntityKind {
            name: self.ids.get(&full).cloned().unwrap_or_default(),
            full,
            notes: notes(&kind.annotations),
            choices: kind.choices.clone(),
            tags,
        }
    }

    fn actions(
        &mut self,
        namespace: &str,
        prefix: &str,
        actions: &BTreeMap<String, ActionType>,
    ) -> ActionKind {
        let name = self.names.take_type(format!("{prefix}Action"));
        let mut members = Vec::new();
        for (id, action) in actions {
            let context = action.applies_to.as_ref().and_then(|applies| applies.context.as_ref());
            if let Some(context) = context {
                let notes = vec!["What a request says beside principal, action and resource.".to_owned()];
                self.record_named(namespace, &format!("{prefix}{}Context", pascal(id)), notes, context);
            }
            members.push(Action { id: id.clone(), notes: notes(&action.annotations) });
        }
        ActionKind { full: full(namespace, "Action"), name, members }
    }

    /// A record under a name of its own, if it has any fields; also where it is a common type.
    fn record_named(&mut self, namespace: &str, name: &str, notes: Vec<String>, kind: &Kind) {
        let mut found = (namespace.to_owned(), kind.clone());
        for _ in 0..DEPTH {
            match self.common_type(&found.0, &found.1) {
                Some((at, name)) => {
                    let Some(kind) = self.namespaces.get(&at).and_then(|said| said.common_types.get(&name))
                    else {
                        return;
                    };
                    found = (at, kind.clone());
                }
                None => break,
            }
        }
        let (namespace, kind) = found;
        if kind.kind == "Record" && !kind.attributes.is_empty() {
            self.record(&namespace, name, notes, &kind, 0);
        }
    }

    fn record(
        &mut self,
        namespace: &str,
        name: &str,
        notes_of: Vec<String>,
        kind: &Kind,
        depth: usize,
    ) -> String {
        let name = self.names.take_type(name.to_owned());
        let mut fields = Vec::new();
        for (key, kind) in &kind.attributes {
            let shape = self.shape(namespace, &format!("{name}{}", pascal(key)), kind, depth);
            let optional = kind.required == Some(false);
            fields.push(Field { key: key.clone(), notes: notes(&kind.annotations), optional, shape });
        }
        self.records.push(Record { name: name.clone(), notes: notes_of, fields });
        name
    }

    fn shape(&mut self, namespace: &str, name: &str, kind: &Kind, depth: usize) -> Shape {
        let depth = depth.saturating_add(1);
        if depth > DEPTH {
            return Shape::Text;
        }
        if let Some((at, common)) = self.common_type(namespace, kind) {
            return self.common(&at, &common, depth);
        }
        match kind.kind.as_str() {
            "Set" => {
                let element = kind.element.as_deref().cloned().unwrap_or_default();
                Shape::Set(Box::new(self.shape(namespace, &format!("{name}Element"), &element, depth)))
            }
            "Record" => Shape::Record(self.record(namespace, name, notes(&kind.annotations), kind, depth)),
            "String" => Shape::Text,
            "Long" => Shape::Long,
            "Boolean" | "Bool" => Shape::Bool,
            "Entity" | "EntityOrCommon" | "Extension" => {
                self.named(namespace, kind.name.as_deref().unwrap_or_default())
            }
            other => self.named(namespace, other),
        }
    }

    /// The common type a use names, and where it is.
    fn common_type(&self, namespace: &str, kind: &Kind) -> Option<(String, String)> {
        let name = match kind.kind.as_str() {
            "EntityOrCommon" => kind.name.as_deref()?,
            "Set" | "Record" | "String" | "Long" | "Boolean" | "Bool" | "Entity" | "Extension" => {
                return None;
            }
            named => named,
        };
        let there = |at: &str, name: &str| {
            self.namespaces.get(at).is_some_and(|said| said.common_types.contains_key(name))
        };
        match name.rsplit_once("::") {
            Some((at, name)) => there(at, name).then(|| (at.to_owned(), name.to_owned())),
            None if self.ids.contains_key(&full(namespace, name)) && !there(namespace, name) => None,
            None => [namespace, ""]
                .into_iter()
                .find(|at| there(at, name))
                .map(|at| (at.to_owned(), name.to_owned())),
        }
    }

    /// A common type is one record, however often it is used.
    fn common(&mut self, at: &str, name: &str, depth: usize) -> Shape {
        let key = full(at, name);
        if let Some(shape) = self.common.get(&key) {
            return shape.clone();
        }
        let Some(kind) = self.namespaces.get(at).and_then(|said| said.common_types.get(name)) else {
            return Shape::Text;
        };
        let prefix = if self.namespaces.len() > 1 { pascal_of(at) } else { String::new() };
        let shape = self.shape(at, &format!("{prefix}{}", pascal(name)), &kind.clone(), depth);
        self.common.insert(key, shape.clone());
        shape
    }

    /// An entity type, or what Cedar has by itself.
    fn named(&self, namespace: &str, name: &str) -> Shape {
        let entity = self.ids.get(&full(namespace, name)).or_else(|| self.ids.get(name));
        if let Some(id) = entity {
            return Shape::Id(id.clone());
        }
        let own = name.strip_prefix("__cedar::").unwrap_or(name);
        match own {
            "Long" => Shape::Long,
            "Bool" | "Boolean" => Shape::Bool,
            own => Extension::named(own).map_or(Shape::Text, Shape::Extension),
        }
    }
}

fn full(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}::{name}") }
}

fn pascal_of(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { pascal(namespace) }
}

/// What annotations say: `@doc` as it is, others under their names.
fn notes(annotations: &BTreeMap<String, Value>) -> Vec<String> {
    let doc = annotations.get("doc").and_then(Value::as_str).map(comment).unwrap_or_default();
    let others = annotations.iter().filter(|(name, _)| *name != "doc");
    let said =
        others.flat_map(|(name, value)| comment(&format!("{name}: {}", value.as_str().unwrap_or_default())));
    doc.into_iter().chain(said).collect()
}
