//! Changes of the entity store: each keeps the transitive closure, in one commit, or changes nothing.
//!
//! What is above an entity is written into it, so a write of an entity writes all below it again, up to a limit. All
//! changes of one tenant touch its [`Head`] at the revision they began from: two at once can't both be right, and the
//! later one begins again.

use std::collections::{BTreeSet, HashMap, HashSet};

use ringfence_context::{TenantId, limits};
use ringfence_store::{Draft, Expect, Kind, Records, Revision, Scope, StoreError};

use crate::{
    entities::{
        EntityFault, EntityForm, Uid,
        record::{CHILD, ENTITY, EntityRecord, Fitting, HEAD, HEAD_ID, Head, REFERRER},
    },
    stores::Stores,
};

/// How often a change begins again because another was faster.
const ATTEMPTS: usize = 16;

const PAGE: u32 = 500;

/// One change of one tenant's entities.
struct Change<'a> {
    records: &'a Records,
    tenant: &'a TenantId,
    scope: Scope,
    /// The revision it begins from.
    head: Option<Revision>,
    /// How many entities there will be.
    count: u64,
    /// What has been read, and how it will be.
    known: HashMap<Uid, Option<EntityRecord>>,
}

impl Stores {
    /// Writes an entity, and again all that are below it. The next decision sees it.
    ///
    /// # Errors
    /// [`EntityFault`]: then nothing has changed.
    pub async fn entity_put(&self, tenant: &TenantId, form: EntityForm) -> Result<Revision, EntityFault> {
        let store = self.compiled(tenant).await?;
        let fitting = form.check(&store.content.vocabulary, tenant)?;
        for _ in 0..ATTEMPTS {
            let mut change = Change::begin(&self.records, tenant).await?;
            let drafts = change.put(fitting.clone()).await?;
            if let Some(revision) = self.entities_commit(change, drafts).await? {
                return Ok(revision);
            }
        }
        Err(EntityFault::Busy)
    }

    /// Deletes an entity that nothing is below and nothing refers to.
    ///
    /// # Errors
    /// [`EntityFault`]: then nothing has changed.
    pub async fn entity_delete(&self, tenant: &TenantId, uid: &Uid) -> Result<Revision, EntityFault> {
        for _ in 0..ATTEMPTS {
            let mut change = Change::begin(&self.records, tenant).await?;
            let drafts = change.delete(uid).await?;
            if let Some(revision) = self.entities_commit(change, drafts).await? {
                return Ok(revision);
            }
        }
        Err(EntityFault::Busy)
    }

    /// Commits, and lets the next decision see it; nothing where another change was faster.
    async fn entities_commit(
        &self,
        change: Change<'_>,
        mut drafts: Vec<Draft>,
    ) -> Result<Option<Revision>, EntityFault> {
        let expect = change.head.map_or(Expect::Absent, Expect::Revision);
        let head = Head { tenant: change.tenant.clone(), count: change.count };
        drafts.push(Draft::put(&change.scope, HEAD, HEAD_ID, &head)?.expect(expect));
        match self.records.commit(drafts).await {
            Ok(revision) => {
                self.refresh().await?;
                Ok(Some(revision))
            }
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl<'a> Change<'a> {
    async fn begin(records: &'a Records, tenant: &'a TenantId) -> Result<Self, EntityFault> {
        let scope = Scope::from(tenant);
        let head = records.get::<Head>(&scope, HEAD, HEAD_ID).await?;
        if head.as_ref().is_some_and(|head| head.value.tenant != *tenant) {
            return Err(EntityFault::OtherTenant);
        }
        let (head, count) = head.map(|head| (head.revision, head.value.count)).unzip();
        Ok(Self { records, tenant, scope, head, count: count.unwrap_or(0), known: HashMap::new() })
    }

    async fn put(&mut self, fitting: Fitting) -> Result<Vec<Draft>, EntityFault> {
        let Fitting { form: EntityForm { uid, attrs, parents }, references } = fitting;
        let before = self.get(&uid).await?;
        if before.is_none() {
            self.count = self.count.saturating_add(1);
        }
        if self.count > limits::ENTITIES_STORED {
            let most = usize::try_from(limits::ENTITIES_STORED).unwrap_or(usize::MAX);
            return Err(EntityFault::TooMany("entities", most));
        }
        let mut ancestors: BTreeSet<Uid> = parents.iter().cloned().collect();
        for parent in &parents {
            ancestors.extend(self.get(parent).await?.into_iter().flat_map(|parent| parent.ancestors));
        }
        if ancestors.contains(&uid) {
            return Err(EntityFault::Cycle(uid));
        }
        check_ancestors(&ancestors)?;
        let record = EntityRecord {
            tenant: self.tenant.clone(),
            uid: uid.clone(),
            attrs,
            parents,
            ancestors: ancestors.into_iter().collect(),
            references,
        };
        let moved = before.as_ref().is_none_or(|before| before.ancestors != record.ancestors);
        let (above, referred) = before.map(|before| (before.parents, before.references)).unwrap_or_default();
        let mut drafts = self.links(CHILD, &uid, &above, &record.parents)?;
        drafts.extend(self.links(REFERRER, &uid, &referred, &record.references)?);
        self.known.insert(uid.clone(), Some(record.clone()));
        drafts.push(self.draft(&record)?);
        if moved {
            drafts.extend(self.below(&uid).await?);
        }
        Ok(drafts)
    }

    async fn delete(&mut self, uid: &Uid) -> Result<Vec<Draft>, EntityFault> {
        let record = self.get(uid).await?.ok_or_else(|| EntityFault::Missing(uid.clone()))?;
        if let Some(child) = self.linked(CHILD, uid, 1).await?.pop() {
            return Err(EntityFault::Parent(child));
        }
        // It may refer to itself.
        let referrers = self.linked(REFERRER, uid, 2).await?;
        if let Some(referrer) = referrers.into_iter().find(|referrer| referrer != uid) {
            return Err(EntityFault::Referrer(referrer));
        }
        let mut drafts = vec![Draft::delete(&self.scope, ENTITY, &uid.record_id(self.tenant))];
        drafts.extend(self.links(CHILD, uid, &record.parents, &[])?);
        drafts.extend(self.links(REFERRER, uid, &record.references, &[])?);
        self.count = self.count.saturating_sub(1);
        Ok(drafts)
    }

    /// All below an entity, as they will be.
    async fn below(&mut self, top: &Uid) -> Result<Vec<Draft>, EntityFault> {
        let mut below: Vec<Uid> = Vec::new();
        let mut seen: HashSet<Uid> = HashSet::from([top.clone()]);
        let mut next = vec![top.clone()];
        while let Some(uid) = next.pop() {
            let room = limits::ENTITY_DESCENDANTS.saturating_sub(below.len()).saturating_add(1);
            for child in self.linked(CHILD, &uid, room).await? {
                if seen.insert(child.clone()) {
                    below.push(child.clone());
                    next.push(child);
                }
            }
            if below.len() > limits::ENTITY_DESCENDANTS {
                return Err(EntityFault::TooMany("entities below it", limits::ENTITY_DESCENDANTS));
            }
        }
        let mut waiting: HashSet<Uid> = below.iter().cloned().collect();
        let mut drafts = Vec::new();
        // Parents first: what is above an entity is known once it is known of all its parents.
        while !below.is_empty() {
            let before = below.len();
            for uid in std::mem::take(&mut below) {
                let Some(mut record) = self.get(&uid).await? else {
                    waiting.remove(&uid);
                    continue;
                };
                if record.parents.iter().any(|parent| waiting.contains(parent)) {
                    below.push(uid);
                    continue;
                }
                waiting.remove(&uid);
                let mut ancestors: BTreeSet<Uid> = record.parents.iter().cloned().collect();
                for parent in &record.parents {
                    let parent = self.get(parent).await?;
                    ancestors.extend(parent.into_iter().flat_map(|parent| parent.ancestors));
                }
                check_ancestors(&ancestors)?;
                let ancestors: Vec<Uid> = ancestors.into_iter().collect();
                if record.ancestors != ancestors {
                    record.ancestors = ancestors;
                    drafts.push(self.draft(&record)?);
                    self.known.insert(uid, Some(record));
                }
            }
            if below.len() == before {
                return Err(EntityFault::Cycle(top.clone()));
            }
        }
        Ok(drafts)
    }

    /// The records that lead from what an entity names to it: those it gains, and those it has no more.
    fn links(&self, kind: Kind, uid: &Uid, old: &[Uid], new: &[Uid]) -> Result<Vec<Draft>, EntityFault> {
        let mut drafts = Vec::new();
        for named in new.iter().filter(|named| !old.contains(named)) {
            drafts.push(Draft::put(&self.scope, kind, &named.link_id(self.tenant, uid), uid)?);
        }
        for named in old.iter().filter(|named| !new.contains(named)) {
            drafts.push(Draft::delete(&self.scope, kind, &named.link_id(self.tenant, uid)));
        }
        Ok(drafts)
    }

    /// The entities that name one as their parent, or refer to it, at most `most`.
    async fn linked(&self, kind: Kind, uid: &Uid, most: usize) -> Result<Vec<Uid>, EntityFault> {
        let prefix = uid.link_prefix(self.tenant);
        let (mut after, mut found) = (prefix.clone(), Vec::new());
        loop {
            let page = self.records.list::<Uid>(&self.scope, kind, Some(&after), PAGE).await?;
            let full = page.len() == PAGE as usize;
            for (id, child) in page {
                if !id.starts_with(&prefix) || found.len() >= most {
                    return Ok(found);
                }
                found.push(child.value);
                after = id;
            }
            if !full {
                return Ok(found);
            }
        }
    }

    fn draft(&self, record: &EntityRecord) -> Result<Draft, EntityFault> {
        Ok(Draft::put(&self.scope, ENTITY, &record.uid.record_id(self.tenant), record)?)
    }

    async fn get(&mut self, uid: &Uid) -> Result<Option<EntityRecord>, EntityFault> {
        if let Some(known) = self.known.get(uid) {
            return Ok(known.clone());
        }
        let found =
            self.records.get::<EntityRecord>(&self.scope, ENTITY, &uid.record_id(self.tenant)).await?;
        let found = found.map(|stored| stored.value);
        if found.as_ref().is_some_and(|record| !record.is_of(self.tenant, uid)) {
            return Err(EntityFault::OtherTenant);
        }
        self.known.insert(uid.clone(), found.clone());
        Ok(found)
    }
}

fn check_ancestors(ancestors: &BTreeSet<Uid>) -> Result<(), EntityFault> {
    if ancestors.len() > limits::ENTITY_ANCESTORS {
        return Err(EntityFault::TooMany("entities above it", limits::ENTITY_ANCESTORS));
    }
    Ok(())
}
