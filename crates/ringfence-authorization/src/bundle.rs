//! What a tier seeds a new tenant's store with.

use std::collections::BTreeMap;

use cedar_policy::PolicySet;
use ringfence_context::{
    TenantId,
    id::{IdError, StoreId},
};
use serde::{Deserialize, Serialize};

use crate::{
    compile::{CompiledStore, PolicyFault},
    document::StoreDocument,
};

/// Schema, static policies and templates of a tier, as text. Policies and templates are named by their `@id`
/// annotation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyBundle {
    /// The namespace of the schema.
    pub namespace: String,
    /// The schema, in Cedar's own syntax.
    pub schema: String,
    /// Policies and templates, in Cedar's own syntax, each with an `@id`.
    pub policies: String,
}

impl PolicyBundle {
    /// Whether a tenant's store can begin with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), PolicyFault> {
        self.of_any_tenant().map(drop)
    }

    pub(crate) fn of_any_tenant(&self) -> Result<StoreDocument, PolicyFault> {
        let fault = |error: IdError| PolicyFault::told(error.to_string());
        let store = StoreId::new("ps-any-tenant").map_err(fault)?;
        self.seed(store, TenantId::new("any-tenant").map_err(fault)?)
    }

    /// The store a new tenant starts with; it has been compiled once, so it is valid.
    ///
    /// # Errors
    /// What is wrong with the bundle.
    pub fn seed(&self, id: StoreId, tenant: TenantId) -> Result<StoreDocument, PolicyFault> {
        let parsed: PolicySet = crate::text::policies(&self.policies).map_err(PolicyFault::syntax)?;
        let mut policies = BTreeMap::new();
        for policy in parsed.policies() {
            let name = named(policy.annotation("id"))?;
            if policies.insert(name.to_owned(), policy.to_string()).is_some() {
                return Err(PolicyFault::duplicate(name));
            }
        }
        let mut templates = BTreeMap::new();
        for template in parsed.templates() {
            let name = named(template.annotation("id"))?;
            if templates.insert(name.to_owned(), template.to_string()).is_some()
                || policies.contains_key(name)
            {
                return Err(PolicyFault::duplicate(name));
            }
        }
        let document = StoreDocument {
            id,
            tenant,
            namespace: self.namespace.clone(),
            schema: self.schema.clone(),
            policies,
            templates,
            links: BTreeMap::new(),
        };
        CompiledStore::compile(&document, 0)?;
        Ok(document)
    }
}

fn named(annotation: Option<&str>) -> Result<&str, PolicyFault> {
    annotation.filter(|name| !name.is_empty()).ok_or_else(PolicyFault::unnamed)
}
