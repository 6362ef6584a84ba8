//! A change of a store as somebody writes it down: what is put and what is deleted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::GovernError;
use crate::StoreDocument;

/// Changes of one store, made together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreEdit {
    /// Policies to write, by name.
    pub put: BTreeMap<String, String>,
    /// Policies, static or linked, to delete.
    pub delete: Vec<String>,
    /// Templates to write, by name.
    pub put_templates: BTreeMap<String, String>,
    /// Templates to delete.
    pub delete_templates: Vec<String>,
    /// The schema, where it changes.
    pub schema: Option<String>,
}

impl StoreEdit {
    /// Writes one policy.
    pub fn put(name: String, text: String) -> Self {
        Self { put: BTreeMap::from([(name, text)]), ..Self::default() }
    }

    /// Deletes one policy.
    pub fn delete(name: String) -> Self {
        Self { delete: vec![name], ..Self::default() }
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// [`GovernError::Nothing`] where what is to be deleted is not there.
    pub fn apply(self, document: &mut StoreDocument) -> Result<(), GovernError> {
        let Self { put, delete, put_templates, delete_templates, schema } = self;
        for name in delete {
            let (policy, link) = (document.policies.remove(&name), document.links.remove(&name));
            if policy.is_none() && link.is_none() {
                return Err(GovernError::Nothing("policy", name));
            }
        }
        for name in delete_templates {
            if document.templates.remove(&name).is_none() {
                return Err(GovernError::Nothing("template", name));
            }
        }
        document.policies.extend(put);
        document.templates.extend(put_templates);
        if let Some(schema) = schema {
            document.schema = schema;
        }
        Ok(())
    }
}
