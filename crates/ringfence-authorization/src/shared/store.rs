//! What tenants of a tier have in common, kept once and named by what it says.
//!
//! It guarantees that it never changes under them: its name is the digest of its text, so a text that was put in its place,
//! by whomever, is not what its name says and is refused. A tier with other policies has another shared store.

use std::{collections::BTreeMap, fmt};

use ringfence_store::{Draft, Kind, Scope, StoreError};
use serde::{Deserialize, Serialize};

use crate::{StoreDocument, TemplateLink, document::Text, shared::ConfinementFault};

/// Shared stores, by their names.
pub(crate) const SHARED_STORE: Kind = Kind::new("shared_policy_store");

static NO_LINKS: BTreeMap<String, TemplateLink> = BTreeMap::new();

/// Names a shared store: SHA-256 of all it says, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SharedId(String);

impl SharedId {
    /// Its spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SharedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SharedId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text));
        }
        Err("a shared store's name is 64 hexadecimal digits")
    }
}

impl From<SharedId> for String {
    fn from(id: SharedId) -> Self {
        id.0
    }
}

/// A shared store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedStore {
    /// The namespace of its schema.
    pub namespace: String,
    /// The schema.
    pub schema: String,
    /// Policies by id.
    pub policies: BTreeMap<String, String>,
    /// Templates by id.
    pub templates: BTreeMap<String, String>,
}

impl SharedStore {
    /// One that says what this document says.
    ///
    /// # Errors
    /// Where it has links: entities are some tenant's.
    pub fn of(document: &StoreDocument) -> Result<Self, ConfinementFault> {
        let StoreDocument { id: _, tenant: _, namespace, schema, policies, templates, links } =
            document.clone();
        if let Some(name) = links.keys().next() {
            return Err(ConfinementFault::linked(name));
        }
        Ok(Self { namespace, schema, policies, templates })
    }

    /// Its name.
    pub fn id(&self) -> SharedId {
        SharedId(self.text().digest().hex())
    }

    pub(crate) fn text(&self) -> Text<'_> {
        let Self { namespace, schema, policies, templates } = self;
        Text { namespace, schema, policies, templates, links: &NO_LINKS }
    }

    /// Whether one of its policies or templates has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.policies.contains_key(name) || self.templates.contains_key(name)
    }

    /// Its record. Written twice it is the same record.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub(crate) fn put(&self) -> Result<Draft, StoreError> {
        Draft::put(&Scope::Plane, SHARED_STORE, self.id().as_str(), self)
    }
}
