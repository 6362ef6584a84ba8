//! Why a check passes or fails: the decision with what determined it, the stored entities it used, each with the way to
//! every ancestor, and what was looked for and is not stored (SYSTEMS HJ-11).
//!
//! It is an answer to a person, not a permit: nothing in the chain believes one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use cedar_policy::EntityUid;
use ringfence_context::{Refusal, TenantId};
use serde::Serialize;

use crate::{
    entities::{
        Uid,
        decide::with,
        load::{LoadFault, Loaded, Moment, Stored},
        merge::Terms,
    },
    question::{Facts, Principal, Resource},
    stores::{Stores, unavailable},
};

/// How often an explanation begins again because the state has moved on under it.
const ATTEMPTS: usize = 4;

/// A check to be explained.
#[derive(Debug)]
pub struct Asked<'a> {
    /// May whom.
    pub principal: &'a Principal,
    /// What.
    pub action: &'a str,
    /// On which.
    pub resource: &'a Resource,
    /// Cedar's `context`.
    pub facts: &'a Facts,
}

/// Why it passes or fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What would be decided; a policy that fails is no permit.
    pub decision: bool,
    /// The policies that determine it: those that permit, or if any forbids those that forbid.
    pub determining: Vec<String>,
    /// The policies that could not be evaluated, and why.
    pub errors: Vec<String>,
    /// The stored entities that took part.
    pub used: Vec<Used>,
    /// Entities that were looked for and are not stored.
    pub missing: Vec<String>,
    /// The revision it was made at.
    pub revision: u64,
}

/// One stored entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Its name.
    pub uid: String,
    /// Its stored attributes.
    pub attrs: Facts,
    /// For each of its ancestors, one shortest way there.
    pub ancestors: BTreeMap<String, Vec<String>>,
}

impl Stores {
    /// Explains a check of this tenant's.
    ///
    /// # Errors
    /// As [`crate::Decide::decide`].
    pub async fn explain(&self, tenant: &TenantId, asked: &Asked<'_>) -> Result<Explanation, Refusal> {
        for _ in 0..ATTEMPTS {
            match self.explain_once(tenant, asked).await {
                Err(LoadFault::Moved) => self.residents.forget(tenant),
                Err(LoadFault::Refused(refusal)) => return Err(refusal),
                Ok(explained) => return Ok(explained),
            }
        }
        Err(unavailable("the tenant's entities keep changing"))
    }

    async fn explain_once(&self, tenant: &TenantId, asked: &Asked<'_>) -> Result<Explanation, LoadFault> {
        let store = self.compiled(tenant).await.map_err(LoadFault::Refused)?;
        let Asked { principal, action, resource, facts } = *asked;
        let Principal { kind, id, roles, attributes } = principal;
        let terms =
            Terms { tenant, kind, id, roles, stated: Some(attributes), job: None, action, resource, facts };
        let at = Moment { tenant, store: &store, head: store.entities };
        at.check_reach().map_err(LoadFault::Refused)?;
        let refused = |misfit: super::merge::Misfit| LoadFault::Refused(misfit.into());
        let prepared = terms.prepare(&store.content.vocabulary).map_err(refused)?;
        let loaded = self.entities.load(&self.records, at, &prepared.roots()).await?;
        let merged = prepared.merge(&loaded).map_err(refused)?;
        let roots = with(&prepared, merged.wanted(&loaded));
        let loaded = self.entities.load(&self.records, at, &roots).await?;
        let above: Vec<EntityUid> =
            loaded.values().flat_map(|stored| &stored.ancestors).filter_map(Uid::to_cedar).collect();
        let around = self.entities.load(&self.records, at, &above).await?;
        let referred = loaded.values().flat_map(|stored| stored.referred());
        let mut missing: Vec<String> = roots
            .iter()
            .chain(referred)
            .filter(|uid| !loaded.contains_key(uid))
            .map(ToString::to_string)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        let mut used: Vec<Used> = loaded.iter().map(|(uid, stored)| shown(uid, stored, &around)).collect();
        used.sort_by(|one, other| one.uid.cmp(&other.uid));
        let (request, entities) = prepared.finish(merged, &loaded).map_err(refused)?;
        let answer = store.answer_in_cedar(&request, &entities);
        Ok(Explanation {
            decision: answer.allow && answer.errors.is_empty() && answer.store_tenant == *tenant,
            determining: answer.determining,
            errors: answer.errors,
            used,
            missing,
            revision: answer.revision,
        })
    }
}

fn shown(uid: &EntityUid, stored: &Stored, around: &Loaded) -> Used {
    let mut from: HashMap<Uid, Vec<Uid>> = HashMap::new();
    let mut next: VecDeque<(Uid, Vec<Uid>)> =
        stored.parents.iter().map(|parent| (parent.clone(), vec![parent.clone()])).collect();
    while let Some((at, way)) = next.pop_front() {
        if from.contains_key(&at) {
            continue;
        }
        let above = at.to_cedar().and_then(|at| around.get(&at));
        for parent in above.into_iter().flat_map(|stored| &stored.parents) {
            let way = way.iter().chain([parent]).cloned().collect();
            next.push_back((parent.clone(), way));
        }
        from.insert(at, way);
    }
    let ancestors =
        from.into_iter().map(|(at, way)| (at.to_string(), way.iter().map(ToString::to_string).collect()));
    Used { uid: uid.to_string(), attrs: stored.attrs.clone(), ancestors: ancestors.collect() }
}
