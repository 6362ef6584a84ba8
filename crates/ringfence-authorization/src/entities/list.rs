//! What is stored, as it is shown; and the words of the tenant's schema, for whoever looks for entities by them.

use ringfence_context::{Refusal, TenantId};
use ringfence_store::Scope;
use serde::Serialize;

use crate::{
    compile::CompiledStore,
    entities::{
        EntityFault, Uid,
        record::{ENTITY, EntityRecord, kind_prefix},
    },
    question::Facts,
    stores::Stores,
};

/// A stored entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntityView {
    /// Its name.
    pub uid: Uid,
    /// What its writer said of it.
    pub attrs: Facts,
    /// What is directly above it.
    pub parents: Vec<Uid>,
    /// All that is above it.
    pub ancestors: Vec<Uid>,
}

/// What a tenant's schema has names for.
#[derive(Debug, Clone)]
pub struct Words(CompiledStore);

impl Words {
    /// The full name of the type that is meant by a name without namespace.
    pub fn type_name(&self, said: &str) -> Option<String> {
        self.0.content.vocabulary.kind_said(said).map(|(_, kind)| kind.name().to_string())
    }

    /// The actions that apply to a principal and a resource of these types, named without namespace, in order.
    pub fn actions(&self, principal: &str, resource: &str) -> Vec<String> {
        let vocabulary = &self.0.content.vocabulary;
        let (Some((_, principal)), Some((_, resource))) =
            (vocabulary.kind_said(principal), vocabulary.kind_said(resource))
        else {
            return Vec::new();
        };
        vocabulary.actions_of(principal, resource).into_iter().map(str::to_owned).collect()
    }

    /// Whether the schema has this action.
    pub fn has_action(&self, name: &str) -> bool {
        self.0.content.vocabulary.action(name).is_some()
    }
}

impl Stores {
    /// What the tenant's schema has names for.
    ///
    /// # Errors
    /// As [`crate::Decide::decide`].
    pub async fn words(&self, tenant: &TenantId) -> Result<Words, Refusal> {
        self.compiled(tenant).await.map(Words)
    }

    /// A stored entity.
    ///
    /// # Errors
    /// [`EntityFault::Missing`], or what the state refuses.
    pub async fn entity_get(&self, tenant: &TenantId, uid: &Uid) -> Result<EntityView, EntityFault> {
        let id = uid.record_id(tenant);
        let found = self.records.get::<EntityRecord>(&Scope::from(tenant), ENTITY, &id).await?;
        let found = found.map(|stored| stored.value).filter(|record| record.is_of(tenant, uid));
        found.map(EntityView::from).ok_or_else(|| EntityFault::Missing(uid.clone()))
    }

    /// Stored entities, of one full type or of all, each with its place: those after the place `after`, at most `limit`.
    /// Their order says nothing.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn entity_list(
        &self,
        tenant: &TenantId,
        kind: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, EntityView)>, EntityFault> {
        let prefix = kind.map(|kind| kind_prefix(tenant, kind)).unwrap_or_default();
        // A place before the type's would begin with other types' entities.
        let after = after.filter(|after| after.starts_with(&prefix)).unwrap_or(&prefix);
        let after = Some(after).filter(|after| !after.is_empty());
        let listed = self.records.list::<EntityRecord>(&Scope::from(tenant), ENTITY, after, limit).await?;
        let listed = listed.into_iter().take_while(|(id, _)| id.starts_with(&prefix));
        let of_kind = |record: &EntityRecord| kind.is_none_or(|kind| record.uid.kind == kind);
        Ok(listed
            .map(|(id, stored)| (id, stored.value))
            .filter(|(id, record)| {
                record.tenant == *tenant && record.uid.record_id(tenant) == *id && of_kind(record)
            })
            .map(|(id, record)| (id, record.into()))
            .collect())
    }
}

impl From<EntityRecord> for EntityView {
    fn from(record: EntityRecord) -> Self {
        let EntityRecord { tenant: _, uid, attrs, parents, ancestors, references: _ } = record;
        Self { uid, attrs, parents, ancestors }
    }
}
