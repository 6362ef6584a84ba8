//! Types for a backend, from a tenant's schema (SYSTEMS HJ-10): an id type for each entity type, so that a payment's id is
//! nowhere taken for an account's; actions as an enum; attributes and contexts as records.
//!
//! It guarantees that equal schemas give equal texts, and that nothing a schema says becomes code: names are letters, digits
//! and `_` made from what it says, everything else is an escaped literal or a comment on its own line. Whoever may write a
//! tenant's schema is not thereby somebody who may write the backend.

mod names;
mod python;
mod read;
mod rust;
mod typescript;

use std::collections::BTreeMap;

use ringfence_context::key::sha256;
use serde::Deserialize;

use crate::{StoreDocument, compile::PolicyFault, text};

/// What the types are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, of the standard library alone.
    Rust,
    /// TypeScript.
    Typescript,
    /// Python 3.10 or later.
    Python,
}

/// A schema as a backend sees it. Everything is in the order of its names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    entities: Vec<EntityKind>,
    /// By the type of the actions: one for each namespace that has some.
    actions: Vec<ActionKind>,
    /// Records, in an order in which each is named before it is used.
    records: Vec<Record>,
}

/// An entity type.
#[derive(Debug, PartialEq, Eq)]
struct EntityKind {
    /// As the schema names it: `Ledger::Payment`.
    full: String,
    /// As the types do: `Payment`.
    name: String,
    notes: Vec<String>,
    /// The only ids there are, if it is an enumeration.
    choices: Option<Vec<String>>,
    /// If it has tags.
    tags: Option<Tags>,
}

/// The tags of an entity type.
#[derive(Debug, PartialEq, Eq)]
struct Tags {
    name: String,
    /// What each of them is.
    shape: Shape,
}

/// The actions of one namespace.
#[derive(Debug, PartialEq, Eq)]
struct ActionKind {
    full: String,
    name: String,
    members: Vec<Action>,
}

#[derive(Debug, PartialEq, Eq)]
struct Action {
    id: String,
    notes: Vec<String>,
}

/// A record of named fields.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    name: String,
    notes: Vec<String>,
    fields: Vec<Field>,
}

#[derive(Debug, PartialEq, Eq)]
struct Field {
    /// As the schema names it.
    key: String,
    notes: Vec<String>,
    optional: bool,
    shape: Shape,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Text,
    Long,
    Bool,
    /// An extension type, in Cedar's own spelling of its values.
    Extension(Extension),
    Set(Box<Shape>),
    /// The record of this name.
    Record(String),
    /// A reference to an entity: the name of its id type.
    Id(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    Ip,
    Decimal,
    Datetime,
    Duration,
}

impl Extension {
    const ALL: [Self; 4] = [Self::Ip, Self::Decimal, Self::Datetime, Self::Duration];

    fn name(self) -> &'static str {
        match self {
            Self::Ip => "IpAddress",
            Self::Decimal => "Decimal",
            Self::Datetime => "Datetime",
            Self::Duration => "Duration",
        }
    }

    fn cedar(self) -> &'static str {
        match self {
            Self::Ip => "ipaddr",
            Self::Decimal => "decimal",
            Self::Datetime => "datetime",
            Self::Duration => "duration",
        }
    }

    fn named(cedar: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.cedar() == cedar)
    }
}

impl Model {
    /// The extension types it speaks of, in order.
    fn extensions(&self) -> Vec<Extension> {
        fn has(shape: &Shape, wanted: Extension) -> bool {
            match shape {
                Shape::Extension(found) => *found == wanted,
                Shape::Set(element) => has(element, wanted),
                Shape::Text | Shape::Long | Shape::Bool | Shape::Record(_) | Shape::Id(_) => false,
            }
        }
        let fields = || self.records.iter().flat_map(|record| &record.fields).map(|field| &field.shape);
        let tags = || self.entities.iter().filter_map(|kind| kind.tags.as_ref()).map(|tags| &tags.shape);
        let used = |wanted: &Extension| fields().chain(tags()).any(|shape| has(shape, *wanted));
        Extension::ALL.into_iter().filter(used).collect()
    }
}

/// The types of a store's schema.
///
/// # Errors
/// [`PolicyFault`] where the schema can't be read.
pub fn types(document: &StoreDocument, language: Language) -> Result<String, PolicyFault> {
    let fragment = text::schema_fragment(&document.schema).map_err(|fault| unread(&fault))?;
    let json = fragment.to_json_value().map_err(|fault| unread(&fault))?;
    let namespaces: BTreeMap<String, read::Namespace> =
        serde_json::from_value(json).map_err(|fault| unread(&fault))?;
    let model = read::model(&namespaces);
    let digest: String =
        sha256(document.schema.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = [
        "Written by `ringfence policy types`; what is changed here is lost.".to_owned(),
        format!("From the schema of the tenant \"{}\", SHA-256 {digest}.", document.tenant),
    ];
    Ok(match language {
        Language::Rust => rust::write(&model, &head),
        Language::Typescript => typescript::write(&model, &head),
        Language::Python => python::write(&model, &head),
    })
}

fn unread(fault: &dyn std::fmt::Display) -> PolicyFault {
    PolicyFault::schema(fault)
}
