//! Onboarding, suspension and off-boarding: steps that are idempotent, in an order that never leaves a tenant half open.
//!
//! A tenant is refused everywhere until its last step, and from the first step of leaving on. A crash between steps
//! leaves it in a state that says so; the same call resumes.

use std::{collections::BTreeMap, sync::Arc};

use ringfence_authorization::{
    Gate, Governance, Mode, Publishable, StoreDocument, Stores, StoresError, Terms,
    avp::owner_rows,
    govern::{Change, GovernError, Published, first},
    stores::{store_create, store_delete},
};
use ringfence_context::{
    By, Clock, TenantId,
    id::{ClientId, StoreId},
};
use ringfence_gateway::limit::RateLimits;
use ringfence_identity::{Directory, IdentityError, Pools};
use ringfence_store::{MapStep, Records, Revision, StoreError};

use crate::{
    access_key::AccessKeys,
    data::{Data, Shape},
    settings::TierPolicies,
    store_place::StorePlaces,
    tenant::{Tenant, TenantError, TenantStatus, Tenants},
};

/// The public client `ringfence token` signs in with.
pub const CLI_CLIENT: &str = "ringfence-cli";

/// How often a commit is made again that somebody else's got ahead of.
pub(crate) const TRIES: usize = 50;

/// What the steps work on.
#[derive(Clone)]
pub struct Workflow {
    /// The state.
    pub records: Records,
    /// Tenants.
    pub tenants: Tenants,
    /// Pools.
    pub pools: Pools,
    /// Issuers in memory.
    pub directory: Arc<Directory>,
    /// Policy stores in memory.
    pub stores: Arc<Stores>,
    /// Access keys.
    pub access_keys: AccessKeys,
    /// The database.
    pub data: Arc<Data>,
    /// Rates.
    pub limits: Arc<RateLimits>,
    /// What each tier seeds a store with.
    pub bundles: Arc<BTreeMap<String, TierPolicies>>,
    /// Where each tier's stores are kept, and how many there are.
    pub places: Arc<StorePlaces>,
    /// What stands in front of every change to a policy store.
    pub gate: Arc<Gate>,
    /// How their changes are governed.
    pub governance: Governance,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Workflow {
    /// Makes a tenant, or resumes making it.
    ///
    /// # Errors
    /// [`TenantError::Exists`] where the id is or was in use; what a step refuses, after which the same call resumes.
    pub async fn onboard(
        &self,
        id: TenantId,
        display_name: &str,
        tier: &str,
        by: &By,
    ) -> Result<Tenant, TenantError> {
        let policies = self.tier(tier)?;
        let tenant = self.onboard_begin(id, display_name, tier).await?;
        absent_is_fine(self.records.tenant_add(&tenant.id).await)?;
        exists_is_fine(self.pools.pool_create(&tenant.id, &tenant.display_name).await)?;
        let cli = ClientId::new(CLI_CLIENT)?;
        let loopback = vec!["http://127.0.0.1/callback".to_owned()];
        exists_is_fine(
            self.pools.client_create_public(&tenant.id, &cli, "Ringfence command line", loopback, by).await,
        )?;
        self.store_seed(&tenant, policies, by).await?;
        let pool = self.pools.pool_get(&tenant.id).await?;
        self.data.tenant_admit(&tenant, &pool.database_key()).await?;
        self.limits.tier_put(tenant.id.clone(), tier);
        self.status_put(&tenant.id, TenantStatus::Active).await
    }

    async fn onboard_begin(
        &self,
        id: TenantId,
        display_name: &str,
        tier: &str,
    ) -> Result<Tenant, TenantError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let shape = self.data.shape(tier);
            let taken = if shape == Shape::Server { self.tenants.server_list().await? } else { Vec::new() };
            let tenant = Tenant {
                id: id.clone(),
                display_name: display_name.to_owned(),
                tier: tier.to_owned(),
                place: self.data.draw(shape, &taken)?,
                held: false,
                status: TenantStatus::Onboarding,
            };
            match self.tenants.tenant_create(&tenant).await {
                Ok(()) => return Ok(tenant),
                Err(TenantError::Exists) => {}
                Err(error) => return Err(error),
            }
            match self.tenants.tenant_get(&id).await {
                // Its place was drawn when it was begun.
                Ok(found) if found.value.is_begun_as(&tenant) => return Ok(found.value),
                Ok(_) => return Err(TenantError::Exists),
                // Somebody else was given the server.
                Err(TenantError::Missing) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn tier(&self, tier: &str) -> Result<&TierPolicies, TenantError> {
        self.bundles.get(tier).ok_or_else(|| TenantError::Tier(tier.to_owned()))
    }

    /// Changes a tenant's policy store; enforced from the next question on. Says what is known of the result, and as which version.
    ///
    /// # Errors
    /// What is wrong with the result: then nothing changes.
    pub async fn policies_change(
        &self,
        id: &TenantId,
        edit: impl FnOnce(&mut StoreDocument) -> Result<(), GovernError>,
        change: Change,
    ) -> Result<Published, TenantError> {
        let terms = self.terms(id).await?;
        Ok(self.governance.change(id, edit, terms, change).await?)
    }

    /// What the tenant's tier asks of a change to its policies.
    ///
    /// # Errors
    /// [`TenantError::Missing`], [`TenantError::Tier`].
    pub async fn terms(&self, id: &TenantId) -> Result<Terms, TenantError> {
        let tenant = self.tenants.tenant_get(id).await?.value;
        Ok(self.tier(&tenant.tier)?.terms)
    }

    async fn store_seed(&self, tenant: &Tenant, policies: &TierPolicies, by: &By) -> Result<(), TenantError> {
        let Tenant { id, tier, .. } = tenant;
        match self.stores.document(id).await {
            Ok(_) => return Ok(()),
            Err(StoresError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        let document = policies.bundle.seed(StoreId::new(&format!("ps-{id}"))?, id.clone())?;
        let publishable = self.gate.check(document, policies.terms).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store_put(tier, &publishable, by).await {
                Err(StoresError::Store(StoreError::Conflict { .. })) if tries < TRIES => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Makes a new store where the tier's are kept: in a record of its own, if there may be one more.
    async fn store_put(&self, tier: &str, publishable: &Publishable, by: &By) -> Result<(), StoresError> {
        let counted = self.places.count(tier).await?;
        let (mode, exhausted) = self.places.place(tier).next(counted.count);
        let mut drafts = match mode {
            Mode::Own => store_create(publishable)?,
            Mode::Shared => self.stores.shared_create(publishable).await?,
        };
        drafts.extend(first(publishable, Change::onboarding(), self.clock.now())?);
        drafts.extend(counted.change(tier, None, Some(mode))?);
        let step = MapStep::StoreSeeded { place: mode.place().to_owned() };
        drafts.extend(self.records.map_entry(&publishable.document().tenant, &step, by).await?);
        self.records.commit(drafts).await?;
        self.places.tell(tier, exhausted);
        Ok(())
    }

    /// Removes a tenant's store, wherever it is kept.
    async fn store_remove(&self, tenant: &Tenant) -> Result<(), TenantError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let removed = async {
                let (document, _) = self.stores.document(&tenant.id).await?;
                let (mode, _) = self.stores.held(&tenant.id).await?;
                let mut drafts = store_delete(&document);
                drafts.extend(self.places.count(&tenant.tier).await?.change(
                    &tenant.tier,
                    Some(mode),
                    None,
                )?);
                Ok::<_, StoresError>(self.records.commit(drafts).await.map(drop)?)
            };
            match removed.await {
                Ok(()) | Err(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown)) => {
                    return Ok(());
                }
                Err(StoresError::Store(StoreError::Conflict { .. })) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Refuses the tenant everywhere, keeping its data.
    ///
    /// # Errors
    /// [`TenantError::Status`] where it is not active.
    pub async fn suspend(&self, id: &TenantId) -> Result<Tenant, TenantError> {
        self.status_check(id, &[TenantStatus::Active, TenantStatus::Suspended], "active").await?;
        let tenant = self.status_put(id, TenantStatus::Suspended).await?;
        self.pools.pool_suspend(id).await?;
        self.data.tenant_bar(&tenant).await?;
        self.current().await?;
        Ok(tenant)
    }

    /// Serves a suspended tenant again.
    ///
    /// # Errors
    /// [`TenantError::Status`] where it is not suspended.
    pub async fn resume(&self, id: &TenantId) -> Result<Tenant, TenantError> {
        self.status_check(id, &[TenantStatus::Suspended], "suspended").await?;
        let tenant = self.tenants.tenant_get(id).await?.value;
        self.data.tenant_admit(&tenant, &self.pools.pool_get(id).await?.database_key()).await?;
        self.pools.pool_resume(id).await?;
        self.status_put(id, TenantStatus::Active).await
    }

    /// Removes a tenant with its rows, or resumes removing it; says how many rows.
    ///
    /// # Errors
    /// What a step refuses, after which the same call resumes.
    pub async fn offboard(&self, id: &TenantId) -> Result<u64, TenantError> {
        let found = self.tenants.tenant_get(id).await?.value;
        if found.status == TenantStatus::Gone {
            return Err(TenantError::Missing);
        }
        self.data_move_none(id).await?;
        self.status_put(id, TenantStatus::Offboarding).await?;
        // One that began meanwhile ends by itself now; after this none begins.
        self.data_move_none(id).await?;
        missing_is_fine(self.pools.pool_suspend(id).await)?;
        self.data.tenant_bar(&found).await?;
        self.current().await?;
        let rows = self.data.tenant_rows_delete(&found).await?;
        self.store_remove(&found).await?;
        self.rows_delete(id).await?;
        missing_is_fine(self.pools.pool_delete(id).await)?;
        match self.records.tenant_shred(id).await {
            Ok(_) | Err(StoreError::TenantUnknown) => {}
            Err(error) => return Err(error.into()),
        }
        self.status_put(id, TenantStatus::Gone).await?;
        Ok(rows)
    }

    /// Removes the plane's rows that lead to a tenant's policy stores, trials, schedules and access keys; what they lead to is shredded.
    async fn rows_delete(&self, id: &TenantId) -> Result<(), TenantError> {
        let rows = async || -> Result<_, StoreError> {
            let mut rows = self.access_keys.tenant_rows(id).await?;
            rows.extend(owner_rows(&self.records, id).await?);
            rows.extend(self.governance.trial_rows(id).await?);
            rows.extend(self.governance.schedule_rows(id).await?);
            Ok(rows)
        };
        let rows = match rows().await {
            Err(StoreError::TenantUnknown) => return Ok(()),
            rows => rows?,
        };
        if !rows.is_empty() {
            self.records.commit(rows).await?;
        }
        Ok(())
    }

    /// Takes up what an earlier run left: rates of tenants, moves of policy stores and of rows, and tenants half made or half removed are
    /// said. Where a tier's policy stores were never counted, they are counted.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn take_up(&self) -> Result<(), TenantError> {
        self.moves_take_up().await?;
        let mut after: Option<String> = None;
        let mut uncounted = self.places.uncounted().await?;
        loop {
            let page = self.tenants.tenant_list(after.as_deref(), 500).await?;
            let Some(last) = page.last() else {
                self.places.counted(uncounted).await?;
                return self.data_moves_take_up().await;
            };
            after = Some(last.id.to_string());
            for tenant in page {
                if matches!(tenant.status, TenantStatus::Onboarding | TenantStatus::Offboarding) {
                    tracing::warn!(tenant = %tenant.id, status = ?tenant.status, "unfinished: repeat the command");
                }
                if let Some(count) = uncounted.get_mut(&tenant.tier) {
                    match self.stores.held(&tenant.id).await {
                        Ok((Mode::Own, _)) => count.own = count.own.saturating_add(1),
                        Ok((Mode::Shared, _)) => count.shared = count.shared.saturating_add(1),
                        Err(StoresError::Missing) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                self.data.tenant_take_up(&tenant).await;
                self.limits.tier_put(tenant.id, &tenant.tier);
            }
        }
    }

    async fn status_check(
        &self,
        id: &TenantId,
        allowed: &[TenantStatus],
        needed: &'static str,
    ) -> Result<(), TenantError> {
        let status = self.tenants.tenant_get(id).await?.value.status;
        if allowed.contains(&status) { Ok(()) } else { Err(TenantError::Status(status, needed)) }
    }

    async fn status_put(&self, id: &TenantId, status: TenantStatus) -> Result<Tenant, TenantError> {
        let (tenant, _) = self.tenant_change(id, |tenant| tenant.status = status).await?;
        self.current().await?;
        Ok(tenant)
    }

    /// Changes a tenant's record, and what this node knows of it.
    pub(crate) async fn tenant_change(
        &self,
        id: &TenantId,
        change: impl Fn(&mut Tenant),
    ) -> Result<(Tenant, Revision), TenantError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.tenants.tenant_get(id).await?;
            let mut tenant = found.value;
            change(&mut tenant);
            match self.tenants.tenant_put(&tenant, found.revision).await {
                Err(TenantError::Store(StoreError::Conflict { .. })) if tries < TRIES => {}
                outcome => {
                    let revision = outcome?;
                    self.data.places().put(&tenant);
                    return Ok((tenant, revision));
                }
            }
        }
    }

    /// Waits until memory has caught up with the state: what was changed is enforced from now on.
    async fn current(&self) -> Result<(), TenantError> {
        self.directory.reach(self.records.revision().await?).await;
        Ok(self.stores.refresh().await?)
    }
}

fn absent_is_fine<T>(outcome: Result<T, StoreError>) -> Result<(), StoreError> {
    match outcome {
        Ok(_) | Err(StoreError::TenantExists) => Ok(()),
        Err(error) => Err(error),
    }
}

fn exists_is_fine(outcome: Result<(), IdentityError>) -> Result<(), IdentityError> {
    match outcome {
        Err(IdentityError::Exists(_)) => Ok(()),
        outcome => outcome,
    }
}

fn missing_is_fine(outcome: Result<(), IdentityError>) -> Result<(), IdentityError> {
    match outcome {
        Err(IdentityError::Missing(_) | IdentityError::Store(StoreError::TenantUnknown)) => Ok(()),
        outcome => outcome,
    }
}
