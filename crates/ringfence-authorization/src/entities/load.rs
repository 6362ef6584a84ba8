//! Entities in memory, and what of them one decision needs: those it names, and in two rounds what they refer to
//! (SYSTEMS HJ-03).
//!
//! What is remembered is named by tenant, the revision of its entities, the schema it was read by and the entity, and put
//! there only once the state was seen to be at that revision still: so a decision never mixes two states, whichever
//! policies it is made by, and a change makes nothing false, only unneeded.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{Entity, EntityUid};
use cedar_policy_core::ast;
use ringfence_context::{Layer, Reason, Refusal, TenantId, limits, tally::Hits};
use ringfence_store::{Records, Revision, Scope, StoreError};

use crate::{
    compile::CompiledStore,
    content::Digest,
    entities::{
        Uid,
        record::{ENTITY, EntityRecord, HEAD, HEAD_ID, Head},
        reference,
    },
    question::Facts,
};

/// How often references are followed.
pub(crate) const ROUNDS: u32 = 2;

/// One stored entity, ready for a decision.
#[derive(Debug)]
pub(crate) struct Stored {
    /// With all ancestors as its parents.
    pub(crate) entity: Entity,
    pub(crate) attrs: Facts,
    pub(crate) parents: Vec<Uid>,
    pub(crate) ancestors: Vec<Uid>,
    references: Vec<EntityUid>,
    bytes: u64,
}

impl Stored {
    /// All that is above it.
    pub(crate) fn above(&self) -> Vec<EntityUid> {
        let entity: &ast::Entity = self.entity.as_ref();
        entity.ancestors().map(|uid| uid.clone().into()).collect()
    }

    /// The entities its attributes refer to.
    pub(crate) fn referred(&self) -> &[EntityUid] {
        &self.references
    }
}

/// Those of the entities looked for that there are.
pub(crate) type Loaded = HashMap<EntityUid, Arc<Stored>>;

/// Which state is read: a tenant's, at a revision of its entities, by the schema of the store that decides.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) store: &'a CompiledStore,
    /// The revision of the tenant's [`Head`]; nothing where it stores no entity.
    pub(crate) head: Option<Revision>,
}

/// Why entities could not be loaded.
#[derive(Debug)]
pub(crate) enum LoadFault {
    /// The state has moved on: begin again at its latest revision.
    Moved,
    Refused(Refusal),
}

impl From<StoreError> for LoadFault {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "stored entities can't be read");
        let (reason, detail) = match error {
            StoreError::Unavailable { .. } => {
                (Reason::DependencyUnavailable, "the tenant's entities can't be read")
            }
            _ => (Reason::StoreUnavailable, "a stored entity can't be read"),
        };
        Self::Refused(Refusal::new(Layer::Authorization, reason, detail))
    }
}

/// Entities in memory; least used ones go when there are more than the budget.
#[derive(Debug)]
pub(crate) struct EntityCache(quick_cache::sync::Cache<Key, Option<Arc<Stored>>, Weight>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    /// The revision of the tenant's [`Head`], which every change of its entities makes anew.
    head: Option<Revision>,
    /// Of the vocabulary it was read by.
    vocabulary: Digest,
    uid: EntityUid,
}

#[derive(Debug, Clone)]
struct Weight;

/// Bytes of an entry whose entity there is not: an estimate by counting fields.
const ENTRY: u64 = 256;

impl quick_cache::Weighter<Key, Option<Arc<Stored>>> for Weight {
    fn weight(&self, _: &Key, stored: &Option<Arc<Stored>>) -> u64 {
        ENTRY.saturating_add(stored.as_ref().map_or(0, |stored| stored.bytes))
    }
}

/// Which entities to look at next.
struct Walk {
    loaded: Loaded,
    seen: HashSet<EntityUid>,
    next: Vec<EntityUid>,
    rounds: u32,
}

impl Walk {
    fn new(roots: &[EntityUid]) -> Self {
        Self { loaded: Loaded::new(), seen: HashSet::new(), next: roots.to_vec(), rounds: 0 }
    }

    fn step(&mut self) -> Result<Vec<EntityUid>, Refusal> {
        if self.rounds > ROUNDS {
            return Ok(Vec::new());
        }
        self.rounds += 1;
        let mut now = std::mem::take(&mut self.next);
        now.retain(|uid| self.seen.insert(uid.clone()));
        if self.seen.len() > limits::ENTITIES_REACHED {
            let detail = "the question reaches more stored entities than one may";
            return Err(Refusal::new(Layer::Authorization, Reason::PolicyError, detail));
        }
        Ok(now)
    }

    fn found(&mut self, uid: EntityUid, stored: Option<Arc<Stored>>) {
        if let Some(stored) = stored {
            self.next.extend(stored.references.iter().cloned());
            self.loaded.insert(uid, stored);
        }
    }
}

impl EntityCache {
    /// At most `budget` bytes of them.
    pub(crate) fn new(budget: u64) -> Self {
        let expected = usize::try_from((budget / (4 * ENTRY)).min(4096)).unwrap_or(4096);
        Self(quick_cache::sync::Cache::with_weighter(expected, budget, Weight))
    }

    /// How often an entity was in memory.
    pub(crate) fn hits(&self) -> Hits {
        Hits { found: self.0.hits(), missed: self.0.misses() }
    }

    /// What a decision needs of these entities, if all of it is in memory.
    pub(crate) fn held(&self, at: Moment<'_>, roots: &[EntityUid]) -> Option<Result<Loaded, Refusal>> {
        if at.head.is_none() {
            return Some(Ok(Loaded::new()));
        }
        let mut walk = Walk::new(roots);
        loop {
            match walk.step() {
                Ok(now) if now.is_empty() => return Some(Ok(walk.loaded)),
                Ok(now) => {
                    for uid in now {
                        let stored = self.0.get(&at.key(&uid))?;
                        walk.found(uid, stored);
                    }
                }
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// The same, read where it is not in memory.
    ///
    /// # Errors
    /// [`LoadFault`].
    pub(crate) async fn load(
        &self,
        records: &Records,
        at: Moment<'_>,
        roots: &[EntityUid],
    ) -> Result<Loaded, LoadFault> {
        if at.head.is_none() {
            return Ok(Loaded::new());
        }
        let mut walk = Walk::new(roots);
        let mut read = Vec::new();
        loop {
            let now = walk.step().map_err(LoadFault::Refused)?;
            if now.is_empty() {
                break;
            }
            for uid in now {
                let key = at.key(&uid);
                let stored = match self.0.get(&key) {
                    Some(stored) => stored,
                    None => {
                        let stored = at.read(records, &uid).await?;
                        read.push((key, stored.clone()));
                        stored
                    }
                };
                walk.found(uid, stored);
            }
        }
        if !read.is_empty() {
            at.confirm(records).await?;
            for (key, stored) in read {
                self.0.insert(key, stored);
            }
        }
        Ok(walk.loaded)
    }
}

impl Moment<'_> {
    /// No policy reads further than what is loaded: it would take for absent what is only far.
    pub(crate) fn check_reach(&self) -> Result<(), Refusal> {
        if self.head.is_none() || self.store.content.within_reach(ROUNDS) {
            return Ok(());
        }
        let detail = "a policy reads further than stored entities are followed";
        Err(Refusal::new(Layer::Authorization, Reason::PolicyError, detail))
    }

    fn key(&self, uid: &EntityUid) -> Key {
        let vocabulary = self.store.content.vocabulary.digest();
        Key { tenant: self.tenant.clone(), head: self.head, vocabulary, uid: uid.clone() }
    }

    async fn read(&self, records: &Records, uid: &EntityUid) -> Result<Option<Arc<Stored>>, LoadFault> {
        let (scope, uid) = (Scope::from(self.tenant), Uid::from(uid));
        let found = records.get::<EntityRecord>(&scope, ENTITY, &uid.record_id(self.tenant)).await?;
        let Some(record) = found.map(|stored| stored.value) else { return Ok(None) };
        let refused =
            |detail| LoadFault::Refused(Refusal::new(Layer::Authorization, Reason::StoreUnavailable, detail));
        if !record.is_of(self.tenant, &uid) {
            return Err(refused("a stored entity says that it is another"));
        }
        let entity = record.to_cedar(&self.store.content.vocabulary).map_err(|error| {
            tracing::error!(tenant = %self.tenant, %error, "a stored entity does not fit the schema");
            refused("a stored entity does not fit the schema")
        })?;
        let size = serde_json::to_vec(&record).map_or(0, |text| text.len());
        let EntityRecord { attrs, parents, ancestors, .. } = record;
        Ok(Some(Arc::new(Stored {
            references: reference::of_entity(&entity).into_iter().collect(),
            bytes: u64::try_from(size.saturating_mul(8)).unwrap_or(u64::MAX),
            entity,
            attrs,
            parents,
            ancestors,
        })))
    }

    /// Nothing has changed since the tenant's store was looked up: what was read is of one state.
    async fn confirm(&self, records: &Records) -> Result<(), LoadFault> {
        let head = records.get::<Head>(&Scope::from(self.tenant), HEAD, HEAD_ID).await?;
        if head.map(|head| head.revision) == self.head { Ok(()) } else { Err(LoadFault::Moved) }
    }
}
