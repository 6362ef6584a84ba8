//! Moves of tenants' policies between a store of their own and a shared one: begun, watched, ended; taken up again after a
//! crash. What is guaranteed of a move is in `ringfence_authorization::shared`.

use std::time::Duration;

use ringfence_authorization::{
    Mode, Review, SharedStore, StoresError,
    govern::GovernError,
    shared::{Compared, MoveState, StoreMove},
};
use ringfence_context::{By, TenantId, id::StoreId};
use ringfence_store::{Revision, StoreError};

use crate::{
    tenant::{Tenant, TenantError, TenantStatus},
    workflow::{TRIES, Workflow},
};

impl Workflow {
    /// Begins to move a tenant's policies, and ends it by itself when enough has been compared.
    ///
    /// # Errors
    /// [`TenantError::OwnStores`] where the tier may have no further store of its own; what the stores refuse: then nothing
    /// changes.
    pub async fn move_begin(
        &self,
        id: &TenantId,
        to: Mode,
        compared: Compared,
        by: &By,
    ) -> Result<StoreMove, TenantError> {
        let tenant = self.move_whose(id, to).await?;
        if self.tier(&tenant.tier)?.terms.review == Review::Required {
            return Ok(self.stores.move_propose(id, to, compared, by).await?);
        }
        self.move_commit(&tenant, to, compared, by, None).await
    }

    /// Begins the move that another has proposed.
    ///
    /// # Errors
    /// [`GovernError::OwnProposal`], [`StoresError::NoMove`]; as [`Self::move_begin`].
    pub async fn move_approve(&self, id: &TenantId, by: &By) -> Result<StoreMove, TenantError> {
        let (StoreMove { to, compared, .. }, who, revision) = self.stores.move_proposed(id).await?;
        if who == by.who {
            return Err(GovernError::OwnProposal.into());
        }
        let tenant = self.move_whose(id, to).await?;
        self.move_commit(&tenant, to, compared, by, Some(revision)).await
    }

    /// The tenant, whose store may be moved there now.
    async fn move_whose(&self, id: &TenantId, to: Mode) -> Result<Tenant, TenantError> {
        let tenant = self.tenants.tenant_get(id).await?.value;
        if !matches!(tenant.status, TenantStatus::Active | TenantStatus::Suspended) {
            return Err(TenantError::Status(tenant.status, "active"));
        }
        self.move_check(&tenant.tier, to).await?;
        Ok(tenant)
    }

    async fn move_commit(
        &self,
        tenant: &Tenant,
        to: Mode,
        compared: Compared,
        by: &By,
        proposed: Option<Revision>,
    ) -> Result<StoreMove, TenantError> {
        let id = &tenant.id;
        let bundle = &self.tier(&tenant.tier)?.bundle;
        let seed = bundle.seed(StoreId::new(&format!("ps-{id}"))?, id.clone())?;
        let base = SharedStore::of(&seed).map_err(StoresError::from)?;
        let begun = self.stores.move_begin(id, to, &base, compared, by, proposed).await?;
        tokio::spawn(self.clone().move_drive(begun.clone()));
        Ok(begun)
    }

    /// Stops a move: the tenant's policies stay where they are.
    ///
    /// # Errors
    /// [`StoresError::NoMove`].
    pub async fn move_stop(&self, id: &TenantId, by: &By) -> Result<StoreMove, TenantError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.stores.move_stop(id, "an operator stopped it", by).await {
                Err(StoresError::Store(StoreError::Conflict { .. })) if tries < TRIES => {}
                Err(StoresError::NoMove) => {
                    return Ok(self.stores.move_withdraw(id, "an operator withdrew it", by).await?);
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Takes up the moves an earlier run has begun: they are compared anew.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub(crate) async fn moves_take_up(&self) -> Result<(), TenantError> {
        for found in self.stores.move_list_open().await? {
            tracing::info!(tenant = %found.tenant, to = ?found.to, "a move of a policy store goes on");
            tokio::spawn(self.clone().move_drive(found));
        }
        Ok(())
    }

    async fn move_check(&self, tier: &str, to: Mode) -> Result<(), TenantError> {
        let used_up = self.places.place(tier).used_up(self.places.count(tier).await?.count);
        if to == Mode::Own && used_up { Err(TenantError::OwnStores(tier.to_owned())) } else { Ok(()) }
    }

    async fn move_drive(self, begun: StoreMove) {
        let tenant = begun.tenant;
        let Compared { questions, seconds } = begun.compared;
        match self.stores.move_watch(&tenant).await {
            Ok(watch) => {
                // However much was compared by then.
                let _ = tokio::time::timeout(Duration::from_secs(seconds), watch.enough(questions)).await;
            }
            Err(error) => tracing::warn!(%tenant, %error, "what a move compares can't be watched"),
        }
        match self.move_end(&tenant, begun.to).await {
            Ok(StoreMove { state: MoveState::Stopped(why), different, .. }) => {
                tracing::warn!(%tenant, different, why, "a move of a policy store was stopped: its tenant is served as before");
            }
            Ok(StoreMove { to, asked, .. }) => {
                tracing::info!(%tenant, ?to, asked, "a policy store was moved")
            }
            Err(TenantError::Policy(StoresError::NoMove | StoresError::Missing) | TenantError::Missing) => {}
            Err(error) => {
                tracing::warn!(%tenant, %error, "a move of a policy store could not be ended: stop it, or restart the plane");
            }
        }
    }

    async fn move_end(&self, id: &TenantId, to: Mode) -> Result<StoreMove, TenantError> {
        let tier = self.tenants.tenant_get(id).await?.value.tier;
        let from = if to == Mode::Own { Mode::Shared } else { Mode::Own };
        let mut tries = 0;
        loop {
            tries += 1;
            if let Err(error) = self.move_check(&tier, to).await {
                let by = By::plane(self.clock.now());
                return Ok(self.stores.move_stop(id, &error.to_string(), &by).await?);
            }
            let count = self.places.count(&tier).await?.change(&tier, Some(from), Some(to))?;
            match self.stores.move_finish(id, count.into_iter().collect()).await {
                Err(StoresError::Store(StoreError::Conflict { .. })) if tries < TRIES => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}
