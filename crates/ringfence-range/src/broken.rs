//! Broken parts, put into the places of whole ones.

use std::sync::Arc;

use http::HeaderMap;
use ringfence_authorization::{CompiledStore, Decide, Question, Warming};
use ringfence_context::{
    DatabaseContext, DatabaseToken, Permit, Refusal, StoreAnswer, TenantId, UnixTime, VerifyAccess,
    broken::{AnyTxn, BrokenAccess},
    database::Backend,
    id::{StoreId, Subject},
    txn::VerifyTxn,
};
use ringfence_control::{Parts, Plane};
use ringfence_gateway::Strip;
use ringfence_guard::{
    Admission, Admit, Contexts, MintContexts,
    proxy::{Caps, Placement, Placements},
};
use ringfence_identity::{
    PreTokenHook,
    hook::{HookAnswer, HookClaims},
};

use crate::{
    layer::{ALLY, ATTACKER, BYSTANDER, Layer, VICTIM},
    overheard::Overheard,
};

/// The verifier of access tokens that these breaks leave.
pub(crate) fn access(broken: &[Layer]) -> Arc<dyn VerifyAccess> {
    Arc::new(BrokenAccess {
        signature: broken.contains(&Layer::Signature),
        binding: broken.contains(&Layer::IssuerBinding),
    })
}

/// The parts of the plane that these breaks leave.
pub(crate) fn parts(plane: &Plane, broken: &[Layer]) -> Parts {
    let is = |layer| broken.contains(&layer);
    let mut parts = Parts::serving(plane);
    parts.access = access(broken);
    parts.gateway_access = Arc::clone(&parts.access);
    if is(Layer::Signature) {
        parts.txn = Arc::new(AnyTxn);
    }
    if is(Layer::Hook) {
        parts.hook = Arc::new(WrongHook { whole: parts.hook });
    }
    if is(Layer::Authorization) {
        parts.decide = Arc::new(AlwaysAllows);
        parts.gateway_decide = Arc::new(AlwaysAllows);
    }
    if is(Layer::Headers) {
        parts.strip = Arc::new(NoStrip);
    }
    if is(Layer::Gateway) {
        parts.gateway_access = Arc::new(BrokenAccess { signature: true, binding: true });
        parts.gateway_decide = Arc::new(AlwaysAllows);
        parts.strip = Arc::new(NoStrip);
    }
    let admission = Admission {
        issuers: Arc::clone(&plane.workflow.directory) as _,
        access: Arc::clone(&parts.access),
        txn: Arc::clone(&parts.txn),
    };
    parts.admit = Arc::new(admission);
    if is(Layer::Placement) {
        parts.placements = Arc::new(WrongMap { whole: parts.placements });
    }
    if is(Layer::Guard) {
        parts.admit = Arc::new(LetsIn { whole: parts.admit });
        parts.contexts = Arc::new(PassesThrough { whole: MintContexts::new(plane.keys.guard.clone()) });
    }
    parts.contexts = Arc::new(Overheard::new(parts.contexts, &plane.dir));
    parts
}

/// Says the victim's tenant for members of the attacker's.
struct WrongHook {
    whole: Arc<dyn PreTokenHook>,
}

impl PreTokenHook for WrongHook {
    fn claims<'a>(&'a self, pool: &'a TenantId, subject: &'a Subject) -> HookAnswer<'a> {
        Box::pin(async move {
            let claims = self.whole.claims(pool, subject).await?;
            match TenantId::new(VICTIM) {
                Ok(tenant_id) if pool.as_str() == ATTACKER => Ok(HookClaims { tenant_id, ..claims }),
                _ => Ok(claims),
            }
        })
    }
}

/// A policy store that permits everything, whoever's it is.
struct AlwaysAllows;

impl Decide for AlwaysAllows {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let tenant = question.context.tenant();
        let internal = Refusal::new(
            ringfence_context::Layer::Authorization,
            ringfence_context::Reason::Internal,
            "a store's id",
        );
        Ok(StoreAnswer {
            store: StoreId::new(&format!("ps-{tenant}")).map_err(|_| internal)?,
            store_tenant: tenant.clone(),
            allow: true,
            determining: Vec::new(),
            errors: Vec::new(),
            revision: 0,
        })
    }

    fn revision(&self, _: &TenantId) -> Result<Option<(u64, bool)>, Refusal> {
        Ok(Some((0, true)))
    }

    fn decide_by(&self, _: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.decide(question)
    }

    fn policies_revision(&self, _: &TenantId) -> Result<u64, Refusal> {
        Ok(0)
    }

    fn warm<'a>(&'a self, _: &'a TenantId) -> Warming<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Sends everything on.
struct NoStrip;

impl Strip for NoStrip {
    fn strip(&self, _: &mut HeaderMap) {}
}

/// Leads the attacker's tenants to where a victim's rows are.
struct WrongMap {
    whole: Arc<dyn Placements>,
}

impl Placements for WrongMap {
    fn placement(&self, tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal> {
        match TenantId::new(BYSTANDER) {
            Ok(victim) if [ATTACKER, ALLY].contains(&tenant.as_str()) => self.whole.placement(&victim),
            _ => self.whole.placement(tenant),
        }
    }

    fn caps(&self, tenant: &TenantId) -> Option<Caps> {
        self.whole.caps(tenant)
    }
}

/// Lets in whom the whole part refuses, without a permit.
struct LetsIn {
    whole: Arc<dyn Admit>,
}

impl Admit for LetsIn {
    fn admit(
        &self,
        user: &TenantId,
        token: &DatabaseToken,
        now: UnixTime,
    ) -> Result<Option<Permit>, Refusal> {
        Ok(self.whole.admit(user, token, now).unwrap_or(None))
    }

    fn still(&self, _: &Permit, _: UnixTime) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Begins a transaction without a context where there is nothing to mint one from.
struct PassesThrough {
    whole: MintContexts,
}

impl Contexts for PassesThrough {
    fn context(
        &self,
        permit: Option<&Permit>,
        backend: Backend,
        now: UnixTime,
    ) -> Result<Option<DatabaseContext>, Refusal> {
        Ok(self.whole.context(permit, backend, now).unwrap_or(None))
    }
}

/// The verifier of `Txn-Token`s that these breaks leave.
pub(crate) fn txn(plane: &Plane, broken: &[Layer]) -> Arc<dyn VerifyTxn> {
    if broken.contains(&Layer::Signature) { Arc::new(AnyTxn) } else { Arc::new(plane.txn_verifier()) }
}
