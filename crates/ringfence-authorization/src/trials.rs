//! The proposals that are tried, on this node as their records say (`govern/trial.rs`).
//!
//! Whatever is kept here was checked against the records when it was read, and is read again when one of them changes.
//! What can't be read or does not hold is not tried, and another tenant's trial goes on. Counting is each node's own; the
//! node that sees a share go too far stops serving it at once and writes that down, and the others follow.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ringfence_context::TenantId;
use ringfence_store::{Answer, Apply, News, Scope, StoreError, TENANT_KEY};

use crate::{
    CompiledStore, Governance,
    canary::{Began, Canaries, Canary, Ended},
    entities::ROUNDS,
    govern::{Author, GovernError, How, InForce, TRIAL, Trial, is_of_history},
    shadow::Shadows,
    stores::StoresError,
};

/// Pause before the end of a share is written down again where that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// What no answer of a proposal is remembered under.
const NONE: u64 = 0;

/// The trials of all tenants.
#[derive(Debug)]
pub struct Trials {
    governance: Governance,
    canaries: Arc<Canaries>,
    shadows: Arc<Shadows>,
}

impl Trials {
    /// Keeps these as the records of this governance say.
    pub fn new(governance: Governance, canaries: Arc<Canaries>, shadows: Arc<Shadows>) -> Self {
        Self { governance, canaries, shadows }
    }

    /// The tenants whose trials may differ from what is kept.
    async fn affected(&self, news: &News) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut kept: BTreeSet<TenantId> = self.canaries.tenants().chain(self.shadows.tenants()).collect();
        let News::Changed(keys) = news else {
            match self.governance.trial_tenants().await {
                Ok(tenants) => kept.extend(tenants),
                Err(error @ (StoreError::Tampered { .. } | StoreError::Unreadable { .. })) => {
                    tracing::error!(%error, "the rows that lead to trials were altered: none is begun");
                }
                Err(error) => return Err(error),
            }
            return Ok(kept);
        };
        let concerned = |key: &ringfence_store::RecordKey| match &key.scope {
            Scope::Tenant(tenant) if key.kind == TRIAL => Some(tenant.clone()),
            Scope::Tenant(tenant) if is_of_history(&key.kind) => kept.get(tenant).cloned(),
            Scope::Plane if key.kind == TENANT_KEY => {
                TenantId::new(&key.id).ok().filter(|tenant| kept.contains(tenant))
            }
            _ => None,
        };
        Ok(keys.iter().filter_map(concerned).collect())
    }

    /// The tenant's share, if one is to be begun; what is no longer in force is ended.
    async fn share(&self, tenant: &TenantId) -> Result<Option<InForce>, StoreError> {
        let found = in_force(tenant, self.governance.share_in_force(tenant).await)?;
        let record = found.as_ref().map(|found| found.trial.revision);
        if record.is_some() && self.canaries.record(tenant) == record {
            return Ok(None);
        }
        let why = match &found {
            Some(_) => Ended::Replaced,
            // The record says why, if there still is one.
            None => {
                let record = self.governance.share_get(tenant).await.ok().flatten();
                record.and_then(|trial| trial.ended).unwrap_or(Ended::BaseChanged)
            }
        };
        self.canaries.end(tenant, why);
        Ok(found)
    }

    /// The proposal to be asked beside what serves, if one is to be begun.
    async fn beside(&self, tenant: &TenantId) -> Result<Option<InForce>, StoreError> {
        let found = in_force(tenant, self.governance.beside_in_force(tenant).await)?;
        let record = found.as_ref().map(|found| found.trial.revision);
        if record.is_some() && self.shadows.record(tenant) == record {
            return Ok(None);
        }
        self.shadows.end(tenant);
        Ok(found)
    }

    async fn begin(&self, found: InForce) {
        let InForce { trial, document } = found;
        let Some(store) = compiled(document).await else { return };
        let (record, Trial { tenant, how, proposal, entry, .. }) = (trial.revision, trial.value);
        match how {
            How::Share { stage, base } => {
                let canary = self.canaries.begin(store, Began { record, entry, proposal, base, stage });
                tokio::spawn(written_down(self.governance.clone(), tenant, canary));
            }
            How::Beside => self.shadows.begin(store, record, proposal),
        }
    }
}

impl Apply for Trials {
    fn apply<'a>(&'a self, news: &'a News) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut new = Vec::new();
            for tenant in self.affected(news).await? {
                new.extend(self.share(&tenant).await?);
                new.extend(self.beside(&tenant).await?);
            }
            // What is over has ended: none of it waits for what has to be compiled first.
            self.canaries.confirmed();
            for found in new {
                self.begin(found).await;
            }
            Ok(())
        })
    }
}

/// What is in force of a tenant's. What does not hold for it alone is not in force; that the state can't be read is no
/// reason to believe so.
fn in_force(
    tenant: &TenantId,
    found: Result<Option<InForce>, GovernError>,
) -> Result<Option<InForce>, StoreError> {
    match found {
        Ok(found) => Ok(found),
        Err(GovernError::Stores(StoresError::Store(
            error @ (StoreError::Unavailable { .. } | StoreError::Full | StoreError::Newer { .. }),
        ))) => Err(error),
        Err(GovernError::Stores(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown))) => {
            Ok(None)
        }
        Err(error) => {
            tracing::error!(%tenant, %error, "what is tried of a tenant's policies does not hold and is not tried");
            Ok(None)
        }
    }
}

/// Off the threads that serve: it takes the processor for long where policies are many.
async fn compiled(document: crate::StoreDocument) -> Option<CompiledStore> {
    let tenant = document.tenant.clone();
    let compiling = tokio::task::spawn_blocking(move || {
        let store = CompiledStore::compile(&document, NONE)?;
        store.content.within_reach(ROUNDS);
        Ok::<_, crate::PolicyFault>(store)
    });
    match compiling.await {
        Ok(Ok(store)) => Some(store),
        Ok(Err(error)) => {
            tracing::error!(%tenant, %error, "a proposal can't be tried on this node");
            None
        }
        Err(error) => {
            tracing::error!(%tenant, %error, "a proposal can't be tried on this node");
            None
        }
    }
}

/// Writes down that this node has seen a share go too far, so that all nodes stop. This one has stopped by then.
async fn written_down(governance: Governance, tenant: TenantId, canary: Arc<Canary>) {
    let ended = canary.over().await;
    let Ended::Rise { .. } = ended else { return };
    tracing::warn!(%tenant, proposal = canary.report().proposal, %ended, "a proposal no longer decides for a share");
    loop {
        match governance.unstage(&tenant, Some(canary.entry()), Author::Plane, ended.clone()).await {
            Ok(_) => return,
            Err(GovernError::Stores(
                StoresError::Missing | StoresError::Store(StoreError::TenantUnknown),
            )) => {
                return;
            }
            Err(error) => tracing::warn!(%tenant, %error, "the end of a share is not on record yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
